"""Dagster's records in SQLite: quick, and visible to later processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DatabaseError

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.dagster_internals import storage
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.settings import Settings

RECORD = """
import os, signal, sys
from pathlib import Path
import dagster as dg
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.settings import Settings

def record(instance, name):
    for number in range(20):
        instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=str(number)))

with open_instance(Project.open(Settings(data=Path(sys.argv[1])))) as instance:
    record(instance, "before")
    if child := os.fork():
        record(instance, "parent")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    else:
        record(instance, "child")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(Settings(data=tmp_path))


@pytest.mark.process
@pytest.mark.slow
def test_what_forked_and_killed_processes_recorded_is_there(project: Project) -> None:
    done = subprocess.run([sys.executable, "-c", RECORD, project.settings.data], check=False)
    assert done.returncode == -signal.SIGKILL
    # With Dagster's own storage: any tool may read these files.
    with dg.DagsterInstance.local_temp(str(project.settings.data / "dagster")) as instance:
        for name in ("before", "parent", "child"):
            assert len(instance.get_materialized_partitions(dg.AssetKey(name))) == 20


@pytest.mark.medium
def test_an_event_does_not_wait_for_the_disk(project: Project) -> None:
    with open_instance(project) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("one"))
        index = project.settings.data / "dagster" / "history" / "runs" / "index.db"
        assert index.with_name("index.db-wal").stat().st_size > 0  # not yet moved into the file
        with storage.own_engine(f"sqlite:///{index}").connect() as connection:
            assert connection.execute(text("pragma synchronous")).scalar() == 1  # at a move only, not at a commit


@pytest.mark.medium
def test_opening_an_instance_again_reads_no_migrations(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster opens its instance at every tick of a sensor."""
    from alembic.script import ScriptDirectory

    with open_instance(project) as instance:
        ref = instance.get_ref()
        monkeypatch.setattr(ScriptDirectory, "_load_revisions", lambda _: pytest.fail("migrations are read again"))
        with dg.DagsterInstance.from_ref(ref) as again:
            parts = (again.run_storage, again.event_log_storage, again.schedule_storage)
            versions = [part.alembic_version() for part in parts]
    assert all(current is not None and current == newest for current, newest in versions)


def test_other_files_are_as_they_were(project: Project, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}", poolclass=NullPool)
    with engine.connect() as connection:
        assert connection.execute(text("pragma journal_mode = wal")).scalar() == "wal"
    with open_instance(project), engine.connect() as connection:
        assert connection.execute(text("pragma synchronous")).scalar() == 2
    assert str(tmp_path / "other.db") not in storage._kept


@pytest.mark.medium
def test_no_more_files_than_so_many_stay_open(project: Project) -> None:
    folder = project.settings.data / "dagster"
    with open_instance(project):
        for number in range(storage.KEPT_OPEN + 5):
            engine = storage.own_engine(f"sqlite:///{folder / str(number)}.db")
            with engine.connect() as connection:
                connection.execute(text("pragma journal_mode = wal"))
            with engine.connect():
                assert str(folder / f"{number}.db") in storage._kept
    held = {os.readlink(file) for file in Path("/proc/self/fd").iterdir() if file.is_symlink()}
    assert sum(file.endswith(".db") and str(folder) in file for file in held) <= storage.KEPT_OPEN


@pytest.mark.medium
def test_what_is_no_database_is_told_by_whoever_uses_it(project: Project) -> None:
    folder = project.settings.data / "dagster"
    folder.mkdir(parents=True)
    (folder / "broken.db").write_bytes(b"no database" * 100)
    engine = storage.own_engine(f"sqlite:///{folder / 'broken.db'}")
    with open_instance(project), engine.connect() as connection, pytest.raises(DatabaseError, match="not a database"):
        connection.execute(text("select 1 from sqlite_master"))


@pytest.mark.slow
def test_a_killed_run_gives_its_place_in_a_pool_back_with_the_next(project: Project) -> None:
    project.check_layout()
    project.inbox.register_source("synthetic", {"users": 2, "playlists": 1, "tracks": 3})
    with open_instance(project) as instance:
        records = instance.event_log_storage
        records.initialize_concurrency_limit_to_default("training")
        claimed = records.claim_concurrency_slot("training", "a-run-that-is-no-more", "model_training")
        assert claimed.is_claimed
        assert not records.claim_concurrency_slot("training", "next", "model_training").is_claimed
        records.free_concurrency_slot_for_step("next", "model_training")
        next(bring_up_to_date(project, build_definitions(settings=project.settings), instance))
        assert records.claim_concurrency_slot("training", "next", "model_training").is_claimed
