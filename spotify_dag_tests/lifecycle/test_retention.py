"""What was read goes, what was made of it stays and goes on answering; users who are gone go after a while."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from samples.export_files import HEADING_A, row_a, table
from spotify_dag.cli.main import app
from spotify_dag.cli.run_summary import summary
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.retention import retain
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.settings import Settings
from spotify_dag.sources.synthetic import CATALOGUE

pytestmark = pytest.mark.slow

LATER = datetime.now(UTC) + timedelta(days=100)


def bring_up(project: Project, instance: dg.DagsterInstance) -> dict[str, int]:
    project.inbox.requests.sweep()
    definitions = build_definitions(settings=project.settings)
    return {stage.stage: stage.buckets for stage in bring_up_to_date(project, definitions, instance)}


def add(project: Project, folder: Path, name: str, start: int = 0) -> None:
    with CATALOGUE.open() as catalogue:
        artists = [row["name"] for row in csv.DictReader(catalogue)][start : start + 15]
    (folder / f"{name}.csv").write_bytes(table(HEADING_A, [row_a(n, [artist]) for n, artist in enumerate(artists)]))
    arguments = ["--data", str(project.settings.data), "add", str(folder / f"{name}.csv"), "--as", name]
    assert CliRunner().invoke(app, arguments).exit_code == 0


@pytest.fixture
def kept(project: Project) -> Project:
    """The small base, with listening kept for 90 days at most."""
    return Project.open(project.settings.model_copy(update={"retention_days": 90.0}))


@pytest.fixture(autouse=True)
def _two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")


def made(project: Project) -> dict[str, pl.DataFrame]:
    """Return what was made of listening, in an order of its own."""
    lake = project.lake
    index = project.user_index(project.published() or "").rows(with_vectors=True)
    tables = {one.name: lake.scan(one).sort(one.key).collect() for one in (USER_TASTES, USER_EMBEDDINGS, ARTIST_GENRES)}
    return tables | {"index": index}


def test_what_was_made_stays_and_nothing_is_stale(kept: Project, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    add(kept, tmp_path, "anna")
    bring_up(kept, instance)
    rows = kept.lake.scan(RAW_PLAYLISTS).collect().height
    before, answers = made(kept), kept.matcher.recommend(["export-anna"], 10)
    done = retain(kept, LATER)
    assert (done.users_dropped, done.rows_dropped["raw_playlists"]) == (41, rows)
    assert kept.lake.scan(RAW_PLAYLISTS).collect().height == 0
    assert not list(kept.inbox.requests.content.glob("*.parquet"))
    for name, frame in made(kept).items():
        assert_frame_equal(frame, before[name])
    assert kept.matcher.recommend(["export-anna"], 10) == answers
    assert bring_up(kept, instance) == {}
    assert retain(kept, LATER).users_dropped == 0


def test_somebody_new_takes_nothing_from_whom_retention_emptied(
    kept: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    add(kept, tmp_path, "anna")
    bring_up(kept, instance)
    before = made(kept)
    retain(kept, LATER)
    for number in range(4):  # into both buckets
        add(kept, tmp_path, f"new-{number}", 20)
    stages = bring_up(kept, instance)
    assert stages["features"] == 2
    after = made(kept)
    anna = pl.col("user_id") == "export-anna"
    for name in ("user_tastes", "user_embeddings", "index"):
        # The tower encodes a bucket at a time, and rounds with the number of rows.
        assert_frame_equal(after[name].filter(anna), before[name].filter(anna), abs_tol=1e-4)
    gone = kept.lake.scan(USERS).filter(pl.col("dropped_at").is_not_null()).collect()
    assert gone.height == 41  # nobody else was read again, either
    assert kept.lake.scan(RAW_PLAYLISTS).filter(anna).collect().height == 0
    assert bring_up(kept, instance) == {}
    kept.matcher.recommend(["export-anna"], 5)


def test_other_features_are_made_from_the_tastes_that_are_kept(
    kept: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    add(kept, tmp_path, "anna")
    other = Project.open(kept.settings.model_copy(update={"top_artist_count": 3}))
    bring_up(other, instance)
    expected = embedding(other)
    bring_up(kept, instance)
    assert embedding(kept)["artist_embedding"] != expected["artist_embedding"]
    retain(kept, LATER)
    assert bring_up(other, instance) == {"features": 2}
    assert any("dropped for its age" in note for note in summary(other)["notes"])
    assert embedding(other) == expected
    assert bring_up(other, instance) == {}


def embedding(project: Project) -> dict[str, object]:
    return project.lake.scan(USER_EMBEDDINGS).filter(user_id="export-anna").collect().row(0, named=True)


def test_without_a_limit_nothing_is_dropped_and_the_command_says_so(project: Project) -> None:
    before = project.lake.snapshot()
    assert retain(project, LATER).rows_dropped == {}
    assert project.lake.snapshot() == before
    told = CliRunner().invoke(app, ["--data", str(project.settings.data), "retention"])
    assert (told.exit_code, "Set SPOTIFY_DAG_RETENTION_DAYS, e.g. to 90" in told.output) == (1, True)


def test_who_is_gone_is_kept_for_a_while_and_may_come_back(project: Project, instance: dg.DagsterInstance) -> None:
    user = "synthetic-000007"
    bucket = project.lake.scan(USERS).filter(user_id=user).collect()["user_bucket"].item()
    since = datetime.now(UTC)
    mark = pl.when(user_id=user).then(pl.lit(since)).cast(pl.Datetime("us", "UTC")).alias("gone_since")
    project.lake.rewrite(USERS, bucket, lambda rows: rows.with_columns(mark))
    assert retain(project, since + timedelta(days=29)).users_removed == []
    project.matcher.recommend([user], 3)
    assert retain(project, since + timedelta(days=31)).users_removed == [user]
    assert find_mentions(project, user).total == 0
    assert user not in project.tombstones
    project.inbox.register_source("synthetic", {"users": 41, "playlists": 2, "tracks": 10})
    bring_up(project, instance)
    assert project.lake.scan(USERS).filter(user_id=user).collect()["gone_since"].to_list() == [None]


def test_the_schedules_run(kept: Project) -> None:
    """Ticked for real: each asks for its run, and the run does the work."""
    definitions, before = build_definitions(settings=kept.settings), kept.lake.snapshot()
    with dg.instance_for_test() as instance:
        for name in ("housekeeping", "retention"):
            schedule = definitions.resolve_schedule_def(f"{name}_schedule")
            assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
            with dg.build_schedule_context(instance=instance, scheduled_execution_time=LATER) as context:
                (request,) = schedule.evaluate_tick(context).run_requests
            job = definitions.resolve_job_def(name)
            assert job.execute_in_process(instance=instance, tags=request.tags).success
    assert kept.lake.snapshot()["raw_playlists"]["rows"] == before["raw_playlists"]["rows"]  # nothing is 90 days old


def test_settings_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_RETENTION_DAYS", "0")
    with pytest.raises(ValueError, match="greater than 0"):
        Settings()
