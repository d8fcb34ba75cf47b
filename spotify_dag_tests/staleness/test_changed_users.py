"""Users who come one by one end in the same tables as users who came together, and nobody else is touched."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from samples.export_files import HEADING_A, row_a, table
from spotify_dag.definitions import build_definitions
from spotify_dag.locks import locked
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_GENRES,
    INGESTS,
    RAW_PLAYLISTS,
    REJECTS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
    user_buckets,
)
from spotify_dag.settings import Settings
from spotify_dag.sources.export.reading import Reading
from spotify_dag.staleness.changed_users import changed_features, changed_requests, changed_users, read_requests
from spotify_dag.staleness.stale_buckets import stale_ingests
from spotify_dag_tests.waiting import until

pytestmark = pytest.mark.slow

MADE = (RAW_PLAYLISTS, USERS, INGESTS, REJECTS, ARTIST_GENRES, USER_TASTES, USER_EMBEDDINGS)


def hand_in(project: Project, name: str, artists: list[str], *, opted_in: bool = True) -> None:
    """Hand in a playlist of some artists; an empty name is a row that is left out."""
    file = project.settings.local_data / "in.csv"
    file.write_bytes(table(HEADING_A, [row_a(number, [artist]) for number, artist in enumerate(artists)]))
    user = f"export-{name}"
    project.inbox.requests.hand_in("export", user, Reading(file, user).frames(), opted_in=opted_in)
    project.inbox.requests.sweep()
    file.unlink()


def leave(project: Project, name: str) -> None:
    """Take one user out of the inbox."""
    project.inbox.requests.taken_in.remove(f"export-{name}")


def bring_up(project: Project, instance: dg.DagsterInstance) -> list[str]:
    definitions = build_definitions(settings=project.settings)
    return [run.stage for run in bring_up_to_date(project, definitions, instance)]


def content(project: Project) -> dict[str, pl.DataFrame]:
    tables = {
        it.name: project.lake.scan(it).drop("fetched_at", strict=False).collect().sort(it.key or "file") for it in MADE
    }
    return tables | {"user_index": project.matcher.index()[0].rows(with_vectors=True)}


def files(project: Project, it: Table) -> set[str]:
    from deltalake import DeltaTable

    return set(DeltaTable(project.lake.uri(it)).file_uris())


def test_one_by_one_is_as_together(project: Project, tmp_path: Path, instance: dg.DagsterInstance) -> None:
    import shutil

    together = Project.open(project.settings.model_copy(update={"data": tmp_path / "together"}))
    shutil.copytree(project.settings.data, together.settings.data)

    def made() -> list[str]:  # tracks wait for the second user, and are tested elsewhere
        return [stage for stage in bring_up(project, instance) if stage != "tracks"]

    first = {"anna": ["Radiohead", "Björk", "Björk", ""], "ben": ["Radiohead", "Somebody Unheard"], "eve": ["Muse"]}
    for name, artists in first.items():
        hand_in(project, name, artists)
        assert made() == ["ingest", "features", "index"]
    # Changed, private now, gone; and one whose spelling of an artist becomes the most frequent one of the bucket.
    hand_in(project, "ben", ["Metallica", "Muse"])
    assert made() == ["ingest", "features", "index"]
    hand_in(project, "eve", ["Muse"], opted_in=False)
    assert made() == ["ingest", "index"]
    leave(project, "anna")
    assert made() == ["ingest", "features", "index"]
    hand_in(project, "zoe", ["BJÖRK"] * 5 + ["MUSE"] * 5)
    assert made() == ["ingest", "features", "index"]
    assert bring_up(project, instance) == []

    hand_in(together, "ben", ["Metallica", "Muse"])
    hand_in(together, "eve", ["Muse"], opted_in=False)
    hand_in(together, "zoe", ["BJÖRK"] * 5 + ["MUSE"] * 5)
    bring_up(together, instance)
    expected = content(together)
    for name, frame in content(project).items():
        assert_frame_equal(frame, expected[name], abs_tol=1e-5)


def test_files_of_others_are_carried_over_unread(project: Project, instance: dg.DagsterInstance) -> None:
    before = {it.name: files(project, it) for it in (RAW_PLAYLISTS, USERS, USER_TASTES, USER_EMBEDDINGS)}
    hand_in(project, "anna", ["Radiohead", "Muse"])
    bring_up(project, instance)
    for it in (RAW_PLAYLISTS, USERS, USER_TASTES, USER_EMBEDDINGS):
        assert before[it.name] < files(project, it)
        (added,) = files(project, it) - before[it.name]
        assert set(pl.read_parquet(added)["user_id"]) == {"export-anna"}


def test_a_spelling_that_tips_changes_whoever_listens_to_the_artist(
    project: Project, instance: dg.DagsterInstance
) -> None:
    name = project.lake.scan(ARTIST_GENRES).sort("rows", descending=True).collect()["artist_name"][0]
    (bucket,) = user_buckets(["export-zoe"], 2)
    items = project.lake.scan(RAW_PLAYLISTS, [bucket]).filter(pl.col("artist_name") == name)
    listeners = items.select("user_id").unique().collect()["user_id"].to_list()
    index = project.matcher.index()[0]
    before = {row["user_id"]: row["vector"] for row in index.rows(with_vectors=True).iter_rows(named=True)}
    hand_in(project, "zoe", [name.upper()] * 400)
    bring_up(project, instance)
    tastes = project.lake.scan(USER_TASTES).filter(pl.col("user_id").is_in(listeners), kind="artist").collect()
    assert name.upper() in set(tastes["name"])
    assert name not in set(tastes["name"])
    after = {row["user_id"]: row["vector"] for row in index.rows(with_vectors=True).iter_rows(named=True)}
    assert len(after) == 41
    assert all(after[user] == before[user] for user in set(before) - set(listeners))
    assert bring_up(project, instance) == []


def bring_up_elsewhere(data: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        bring_up(Project.open(Settings(data=data, n_buckets=2)), instance)


def test_killed_between_raw_rows_and_users_nothing_is_doubled(project: Project, instance: dg.DagsterInstance) -> None:
    """The rows are there already when the run is made again."""
    hand_in(project, "anna", ["Radiohead", "Muse"])

    def raw_rows() -> int:
        return project.lake.scan(RAW_PLAYLISTS).filter(user_id="export-anna").collect().height

    run = multiprocessing.get_context("spawn").Process(target=bring_up_elsewhere, args=(project.settings.data,))
    with locked(project.lake.root / ".locks" / USERS.name):  # so the run gets as far as here, and no further
        run.start()
        until(lambda: raw_rows() or not run.is_alive())
        run.kill()
        run.join()
    assert raw_rows() == 2
    assert project.lake.scan(USERS).filter(user_id="export-anna").collect().is_empty()
    bring_up(project, instance)
    assert raw_rows() == 2
    assert project.lake.scan(USERS).filter(user_id="export-anna").collect()["rows_kept"].to_list() == [2]


def test_who_comes_in_while_a_bucket_is_read_makes_it_stale_again(
    project: Project, instance: dg.DagsterInstance
) -> None:
    n_buckets = project.lake.n_buckets
    (bucket,) = user_buckets(["export-anna"], n_buckets)
    late = next(
        name for name in (f"ben{n}" for n in range(99)) if user_buckets([f"export-{name}"], n_buckets) == [bucket]
    )
    hand_in(project, "anna", ["Radiohead", "Muse"])
    changes = changed_requests(project, [bucket])
    hand_in(project, late, ["Muse"])
    assert (changes.some, changes.users) == ([bucket], ["export-anna"])
    read_requests(project, changes, datetime.now(UTC))
    assert stale_ingests(project, project.inbox.sources()) == [bucket]
    bring_up(project, instance)
    assert stale_ingests(project, project.inbox.sources()) == []
    taken_in = project.lake.scan(USERS).filter(pl.col("handed_in").is_not_null()).select("user_id").collect()
    assert sorted(taken_in["user_id"]) == ["export-anna", f"export-{late}"]


def test_a_bucket_that_is_not_stale_is_made_anew_as_a_whole(project: Project) -> None:
    assert changed_features(project, [0, 1]).whole == [0, 1]
    assert changed_requests(project, [0, 1]).whole == [0, 1]


def test_who_is_new_changed_or_gone() -> None:
    columns = {"user_bucket": pl.Int32, "user_id": pl.String, "hash": pl.Int64}

    def users(*rows: tuple[int, str, int]) -> pl.DataFrame:
        return pl.DataFrame(rows, schema=columns, orient="row")

    same = [(0, f"u{number}", 0) for number in range(20)]
    wanted, present = users(*same, (0, "new", 1), (0, "other", 2)), users(*same, (0, "other", 1), (0, "gone", 1))
    found = changed_users(wanted, present, [0, 1])
    assert (found.whole, found.some, found.users) == ([1], [0], ["gone", "new", "other"])
    assert changed_users(users((0, "new", 1)), present, [0]).whole == [0]
