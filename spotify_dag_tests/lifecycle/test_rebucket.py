"""Splitting buckets: every user where the hash says, no answer changed, nothing made anew, and no kill that matters."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spotify_dag.app.snapshot import Snapshot
from spotify_dag.features.genres import artist_key, bucket_artists
from spotify_dag.layout import LayoutChangedError
from spotify_dag.lifecycle import rebucket as module
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.lifecycle.rebucket import SplitError, planned, rebucket
from spotify_dag.orchestration.stages import due_stages
from spotify_dag.project import Project
from spotify_dag.root import Root
from spotify_dag.schemas import (
    ARTIST_GENRES,
    INGESTS,
    RAW_PLAYLISTS,
    REJECTS,
    TABLES,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    user_buckets,
)
from spotify_dag.settings import Settings
from spotify_dag.stores.preferences import Preference
from spotify_dag.tracks.blend_answers import BlendWish
from spotify_dag.tracks.track_answers import ContinueRequest
from spotify_dag_tests.staleness.test_changed_users import hand_in
from spotify_dag_tests.waiting import GUARD, until

BEFORE, AFTER = 2, 8
USER = "synthetic-000007"
PEOPLE = [f"synthetic-{number:06d}" for number in range(6)]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def root(project: Project) -> Project:
    """A copy of the small base, in which two users said something, as one opens it who sets no number."""
    project.check_layout()
    project.preferences.change(USER, [Preference("artist", "Air")])
    project.preferences.change(PEOPLE[0], [Preference("genre", "jazz")])
    project.used_preferences.take_over(project.preferences, range(BEFORE))
    return opened(project.settings.data)


def opened(data: Root) -> Project:
    return Project.open(Settings(data=data))


def rows_of(project: Project) -> dict[str, pl.DataFrame]:
    return {one.name: project.lake.scan(one).collect() for one in TABLES}


def answers(project: Project) -> dict[str, Any]:
    """Return what users are told, by the tables and by the app's snapshot."""
    seed = project.lake.scan(RAW_PLAYLISTS).sort("user_id", "position").select("track_id").head(1).collect().item()
    snapshot = Snapshot.read(project)
    people = [snapshot.person(user, shown=False) for user in PEOPLE]
    return {
        "matches": [[m.as_dict() for m in found] for found in project.matcher.recommend(PEOPLE, 10)[1]],
        "of the app": [[m.as_dict() for m in snapshot.matches(person, 10)] for person in people],
        "users": snapshot.users,
        "search": project.track_answers.search("love", 10),
        "continued": project.track_answers.continued(ContinueRequest(tracks=[seed], count=10)),
        "blend": project.blends.blended(PEOPLE[:3], BlendWish(tracks=10)),
        "left out": [project.preferences.left_out(range(project.lake.n_buckets)).sort("user_id").rows()],
        "said": [project.preferences.of(user) for user in (USER, *PEOPLE)],
    }


def due(project: Project) -> list[str]:
    return [f"{stage.stage}: {stage.reason}" for stage in due_stages(project)]


def assert_divided(project: Project, before: dict[str, pl.DataFrame]) -> None:
    """Assert that every table has the rows that it had, each in its bucket, and says of a bucket what is in it."""
    into = project.lake.n_buckets
    after = rows_of(project)
    for one in TABLES:
        if one in (ARTIST_GENRES, INGESTS):
            continue
        expected = before[one.name]
        if one.partition_by == "user_bucket":
            owners = expected.select(pl.coalesce("user_id", "file") if one is REJECTS else "user_id").to_series()
            expected = expected.with_columns(pl.Series("user_bucket", user_buckets(owners.to_list(), into), pl.Int32))
        assert sorted(map(repr, after[one.name].rows())) == sorted(map(repr, expected.rows())), one.name
    genres = dict(before["artist_genres"].select("artist_key", "genres").iter_rows())
    counted = bucket_artists(after["raw_playlists"].lazy()).select("user_bucket", "artist_key", "rows")
    assert sorted(after["artist_genres"].select(counted.columns).rows()) == sorted(counted.rows())
    assert all(genres[key] == found for key, found in after["artist_genres"].select("artist_key", "genres").iter_rows())
    read = after["ingests"].sort("user_bucket")
    assert read["user_bucket"].to_list() == list(range(into))
    counts = ["users", "rows_read", "rows_kept", "rows_rejected"]
    assert read.select(counts).sum().equals(before["ingests"].select(counts).sum())
    for index in project.user_indexes():
        rows = index.rows()
        assert rows["user_bucket"].to_list() == user_buckets(rows["user_id"].to_list(), into)


class TestSplit:
    def test_rows_are_where_the_hash_says_and_no_answer_changes(self, root: Project) -> None:
        before, told, waits = rows_of(root), answers(root), due(root)
        index = root.user_index(root.published() or "").rows(with_vectors=True)
        done = rebucket(root, AFTER)
        assert (done.n_buckets, done.before, done.copied) == (AFTER, BEFORE, BEFORE)
        after = opened(root.settings.data)
        assert after.lake.n_buckets == AFTER
        assert_divided(after, before)
        assert answers(after) == told
        assert due(after) == waits
        lake = after.lake
        users = lake.scan(USERS).group_by("user_bucket").agg(pl.len(), pl.col("rows_kept").sum()).sort("user_bucket")
        read = lake.scan(INGESTS).filter(pl.col("users") > 0).sort("user_bucket")
        assert read.select("user_bucket", "users", "rows_kept").collect().rows() == users.collect().rows()
        same = after.user_index(after.published() or "").rows(with_vectors=True)
        assert same.drop("user_bucket").equals(index.drop("user_bucket"))
        assert list(done.reindexed.values()) == [sum(b >= BEFORE for b in same["user_bucket"])]

    def test_it_is_split_again(self, root: Project) -> None:
        before, told = rows_of(root), answers(root)
        rebucket(root, 4)
        rebucket(opened(root.settings.data), 16)
        after = opened(root.settings.data)
        assert after.layout().made_with == BEFORE
        assert [other.n_buckets for other in after.lake.left_over()] == [4]
        assert_divided(after, before)
        assert answers(after) == told

    def test_users_who_were_handed_in_are_not_read_again(self, root: Project) -> None:
        for number in range(6):
            hand_in(root, f"{number}", ["Radiohead", "Air"])
        bring_up(root)
        hand_in(root, "late", ["Radiohead"])
        root.inbox.requests.sweep()
        assert due(root)[0].startswith("ingest")
        rebucket(root, AFTER)
        after = opened(root.settings.data)
        (stage, *_) = due_stages(after)
        assert (stage.stage, stage.buckets) == ("ingest", user_buckets(["export-late"], AFTER))
        bring_up(after)
        assert after.lake.scan(USERS).filter(user_id="export-late").collect().height == 1

    def test_artists_stay_of_users_whose_listening_was_dropped(self, root: Project) -> None:
        dropped = [USER, *PEOPLE]
        mark = pl.when(pl.col("user_id").is_in(dropped)).then(datetime.now(UTC)).cast(pl.Datetime("us", "UTC"))
        gone = pl.col("user_id").is_in(dropped)
        for bucket in range(BEFORE):
            root.lake.rewrite(USERS, bucket, lambda rows: rows.with_columns(mark.alias("dropped_at")))
            root.lake.rewrite(RAW_PLAYLISTS, bucket, lambda rows: rows.remove(gone))
        rebucket(root, AFTER)
        lake = opened(root.settings.data).lake
        tastes = lake.scan(USER_TASTES).filter(kind="artist").collect()
        assert {*tastes["user_id"]} >= {*dropped}

        named = tastes.select("user_bucket", artist_key(pl.col("name")).alias("artist_key"))
        assert named.join(lake.scan(ARTIST_GENRES).collect(), on=named.columns, how="anti").is_empty()

    def test_who_goes_on_with_the_tables_of_before_is_never_answered_wrongly(self, root: Project) -> None:
        told = root.matcher.recommend([USER], 10)[1][0]
        rebucket(root, AFTER)
        assert root.matcher.recommend([USER], 10)[1][0] == told
        with pytest.raises(LayoutChangedError, match="were split into 8 meanwhile"):
            root.lake.replace(USERS, [0], [])
        tidy(opened(root.settings.data), timedelta(0))
        with pytest.raises(LayoutChangedError):
            root.matcher.recommend([USER], 10)
        assert root.now().matcher.recommend([USER], 10)[1][0] == told

    def test_what_is_left_behind_is_deleted_after_a_while(self, root: Project) -> None:
        rebucket(root, AFTER)
        after = opened(root.settings.data)
        tidy(after)
        assert [other.n_buckets for other in after.lake.left_over()] == [BEFORE]
        tidy(after, timedelta(0))
        assert after.lake.left_over() == []
        assert not (after.lake.root / "users").exists()
        assert after.lake.scan(USERS).collect().height == 40


class TestAfterwards:
    def test_somebody_new_is_added(self, root: Project) -> None:
        rebucket(root, AFTER)
        after = opened(root.settings.data)
        hand_in(after, "new", ["Radiohead", "Air"])
        assert bring_up(after)[:2] == ["ingest", "features"]
        assert len(after.matcher.recommend(["export-new"], 10)[1][0]) == 10

    def test_somebody_is_forgotten(self, root: Project) -> None:
        rebucket(root, AFTER)
        after = opened(root.settings.data)
        assert forget(after, USER).total > 0
        assert find_mentions(after, USER).counts == {}
        assert after.lake.scan(USERS).collect().height == 39

    def test_one_who_opened_the_root_before_forgets_where_the_user_is_now(self, root: Project) -> None:
        rebucket(root, AFTER)
        assert forget(root, USER).total > 0
        assert find_mentions(opened(root.settings.data), USER).counts == {}


class TestChangesMeanwhile:
    """Between a split that was killed and the call that goes on, and just before the switch."""

    def half(self, root: Project) -> None:
        """Copy everything, and stop before the switch."""

        def stop(_divided: Project) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            rebucket(root, AFTER, record=stop)
        assert opened(root.settings.data).lake.n_buckets == BEFORE

    def test_what_is_unchanged_is_not_copied_again(self, root: Project) -> None:
        told = answers(root)
        self.half(root)
        assert answers(opened(root.settings.data)) == told
        assert planned(root, AFTER).copied == BEFORE
        assert rebucket(root, AFTER).copied == 0

    def test_somebody_is_forgotten_in_the_copy_too(self, root: Project) -> None:
        self.half(root)
        for _ in range(2):  # a second time there is nothing left of them to change a file
            forget(root, USER)
            assert find_mentions(root, USER).counts == {}
        before = rows_of(root)
        assert rebucket(root, AFTER).copied == 1
        assert_divided(opened(root.settings.data), before)

    def test_somebody_is_forgotten_just_before_the_switch(self, root: Project) -> None:
        def forget_now(_divided: Project) -> None:
            forget(root, USER)

        rebucket(root, AFTER, record=forget_now)
        after = opened(root.settings.data)
        assert find_mentions(after, USER).counts == {}
        assert after.lake.scan(USERS).collect().height == after.lake.scan(USER_EMBEDDINGS).collect().height == 39

    def test_a_run_comes_between(self, root: Project) -> None:
        bring_up(root)
        self.half(root)
        hand_in(root, "new", ["Radiohead", "Air"])
        assert bring_up(root)[:2] == ["ingest", "features"]
        told = answers(root)
        assert rebucket(root, AFTER).copied == 1
        after = opened(root.settings.data)
        assert answers(after) == told
        assert after.lake.scan(USERS, user_buckets(["export-new"], AFTER)).filter(user_id="export-new").collect().height

    def test_another_number_begins_anew(self, root: Project) -> None:
        before = rows_of(root)
        self.half(root)
        assert rebucket(root, 4).copied == BEFORE
        after = opened(root.settings.data)
        assert not list(after.lake.root.glob("*-8"))
        assert_divided(after, before)

    def test_a_split_that_nobody_finishes_is_deleted_after_a_day(self, root: Project) -> None:
        self.half(root)
        tidy(root, timedelta(0))
        assert planned(root, AFTER).copied == BEFORE
        long_ago = time.time() - 2 * 86_400
        for place in (root.lake.root / ".split.json", *root.lake.root.glob("*-8")):
            os.utime(place, (long_ago, long_ago))
        tidy(root)
        assert not list(root.lake.root.glob("*-8"))
        assert planned(root, AFTER).copied == 0


class TestRefused:
    @pytest.mark.parametrize(
        ("into", "said"),
        [
            (3, "2 buckets cannot be split into 3: it takes a multiple of 2 that is larger"),
            (1, "2 buckets cannot be split into 1"),
            (2, "2 buckets cannot be split into 2"),
            (0, "2 buckets cannot be split into 0"),
            (-4, "2 buckets cannot be split into -4"),
            (8192, "4096 at most. For example 4, 8, 16, 32."),
        ],
    )
    def test_a_number_that_cannot_be(self, root: Project, into: int, said: str) -> None:
        with pytest.raises(SplitError, match=said):
            rebucket(root, into)
        assert not (root.lake.root / ".split.json").exists()

    def test_nobody_to_split(self, tmp_path: Path) -> None:
        with pytest.raises(SplitError, match="has no users, so there are no buckets to split"):
            rebucket(opened(tmp_path), 128)
        assert list(tmp_path.iterdir()) == []

    def test_a_variable_that_would_contradict(self, project: Project) -> None:
        with pytest.raises(SplitError, match="SPOTIFY_DAG_N_BUCKETS is set to 2, which contradicts"):
            rebucket(project, AFTER)

    def test_a_full_disk(self, root: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        full = shutil.disk_usage(root.settings.data)._replace(free=1_000)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: full)
        with pytest.raises(
            SplitError, match=r"MiB of tables beside the present ones, and the disk of .* has 0 MiB left"
        ):
            rebucket(root, AFTER)

    def test_a_run_that_goes_on(self, root: Project) -> None:
        with pytest.raises(SplitError, match=r"A run is going on\. Buckets are split when no run is going on"):
            rebucket(root, AFTER, busy=lambda: "A run is going on.")

    def test_a_run_that_began_meanwhile_is_waited_for(self, root: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "WAIT_SECONDS", 0.01)
        reasons: Iterator[str | None] = iter([None, "Run 1.", "Run 2.", None])
        heard: list[str] = []
        rebucket(root, AFTER, busy=lambda: next(reasons), waiting=heard.append)
        assert heard == ["Run 1.", "Run 2."]


def split_when_told(data: Path, ready: Event, go: Event) -> None:
    project = opened(data)
    planned(project, AFTER)  # imports
    ready.set()
    go.wait()
    rebucket(project, AFTER)


def ask(data: Path, told: str, started: Event, stop: Event) -> None:
    """Ask all the time, as one process after another does; another answer ends this one with an error."""
    while not stop.is_set():
        found = [match.as_dict() for match in opened(data).matcher.recommend([USER], 10)[1][0]]
        assert json.dumps(found) == told
        started.set()


@pytest.mark.slow
@pytest.mark.process
def test_killed_and_called_again_while_others_ask(root: Project) -> None:
    drawn, data = random.Random(1), root.settings.data
    bring_up(root)
    before, told = rows_of(root), answers(root)
    started, stop = SPAWN.Event(), SPAWN.Event()
    found = json.dumps([match.as_dict() for match in root.matcher.recommend([USER], 10)[1][0]])
    asking = SPAWN.Process(target=ask, args=(data, found, started, stop))
    asking.start()
    assert started.wait(GUARD)
    killed = 0
    try:
        for _ in range(3):
            ready, go = SPAWN.Event(), SPAWN.Event()
            process = SPAWN.Process(target=split_when_told, args=(data, ready, go))
            process.start()
            assert ready.wait(GUARD)
            go.set()
            time.sleep(drawn.uniform(0.05, 0.4))
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join(GUARD)
            killed += process.exitcode == -signal.SIGKILL
            if (now := opened(data)).lake.n_buckets == BEFORE:
                assert answers(now) == told
                assert due(now) == []
        if opened(data).lake.n_buckets == BEFORE:
            rebucket(opened(data), AFTER)
        until(lambda: opened(data).lake.n_buckets == AFTER)
        time.sleep(0.2)
    finally:
        stop.set()
        asking.join(GUARD)
    assert killed
    assert asking.exitcode == 0
    after = opened(data)
    assert_divided(after, before)
    assert answers(after) == told
    assert due(after) == []


def bring_up(project: Project) -> list[str]:
    import dagster as dg

    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date

    project.inbox.requests.sweep()
    definitions = build_definitions(settings=project.settings, overrides={"project": project})
    with dg.DagsterInstance.ephemeral() as instance:
        return [stage.stage for stage in bring_up_to_date(project, definitions, instance)]
