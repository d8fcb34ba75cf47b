"""Four runs of ranges of buckets at once, in processes of their own: batches are read once, strings encoded once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.orchestration.runs_under_way import runs_under_way
from spotify_dag.project import Project
from spotify_dag.schemas import TABLES, TEXT_VECTORS
from spotify_dag.settings import Settings
from spotify_dag.sources.base import Batch
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag.staleness.stale_buckets import stale_features, stale_ingests
from spotify_dag_tests.waiting import GUARD, until

pytestmark = [pytest.mark.slow, pytest.mark.process]

SPAWN = multiprocessing.get_context("spawn")
BUCKETS, USERS = 16, 5_000
RANGES = [("00", "03"), ("04", "07"), ("08", "11"), ("12", "15")]


def opened(data: Path) -> Project:
    return Project.open(Settings(data=data, n_buckets=BUCKETS))


def count_batches(file: Path, pause: float = 0) -> None:
    """Have this process write a line to a file for every batch that it reads of the source."""
    read = SyntheticSource.batches

    def counted(source: SyntheticSource) -> Iterator[Batch]:
        for batch in read(source):
            with file.open("a") as lines:
                lines.write(f"{os.getpid()}\n")
            yield batch
            time.sleep(pause)

    SyntheticSource.batches = counted  # type: ignore[assignment, method-assign]


def make(data: Path, stage: str, first: str, last: str) -> None:
    definitions = build_definitions(settings=Settings(data=data, n_buckets=BUCKETS))
    job = definitions.resolve_job_def(stage)
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with open_instance(opened(data)) as instance:
        assert job.execute_in_process(instance=instance, tags=tags, run_config=quiet).success


def make_range(data: Path, first: str, last: str, file: Path, pause: float) -> None:
    count_batches(file, pause)
    make(data, "ingest", first, last)
    make(data, "features", first, last)


def start(project: Project, file: Path, pause: float = 0) -> list[Any]:
    """Start the runs. Their buckets are locked until all of them are on record, so that none is done before."""
    runs = [SPAWN.Process(target=make_range, args=(project.settings.local_data, *ends, file, pause)) for ends in RANGES]
    with project.lake.buckets_locked(range(BUCKETS)), open_instance(project) as instance:
        for run in runs:
            run.start()
        until(lambda: len(runs_under_way(instance)) == len(RANGES))
    return runs


def base(data: Path) -> Project:
    project = opened(data)
    project.inbox.register_source("synthetic", {"users": USERS, "playlists": 1, "tracks": 4})
    return project


def rows_of(project: Project) -> dict[str, list[str]]:
    """Return the rows of every table, without the time at which they were read."""
    frames = {table.name: project.lake.scan(table).collect() for table in TABLES}
    return {name: sorted(map(repr, frame.drop("fetched_at", strict=False).rows())) for name, frame in frames.items()}


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, list[str]]:
    """The tables as one run makes them."""
    project = base(tmp_path / "alone")
    make(project.settings.local_data, "ingest", "00", "15")
    make(project.settings.local_data, "features", "00", "15")
    assert not list((project.lake.root / ".read-once").glob("synthetic*"))
    return rows_of(project)


def test_all_are_read_once_and_the_tables_are_those_of_one_run(tmp_path: Path, alone: dict[str, list[str]]) -> None:
    project, file = base(tmp_path / "together"), tmp_path / "batches"
    for run in start(project, file):
        run.join(GUARD)
        assert run.exitcode == 0
    (source,) = project.inbox.sources()
    batches = source.n_batches()
    assert batches is not None
    assert batches > 3
    assert len(file.read_text().splitlines()) == batches
    assert len(set(file.read_text().split())) == 1
    together = rows_of(project)
    texts = project.lake.scan(TEXT_VECTORS).select("text").collect()["text"]
    assert len(texts) == texts.n_unique()
    # Strings of one length are encoded together: in another company the last digits of a vector are others.
    for name in set(together) - {"text_vectors", "user_embeddings"}:
        assert together[name] == alone[name], name
    assert len(together["text_vectors"]) == len(alone["text_vectors"])
    assert len(together["user_embeddings"]) == USERS
    assert stale_ingests(project, project.inbox.sources()) == stale_features(project) == []
    assert not list((project.lake.root / ".read-once").glob("synthetic*"))


def test_the_one_who_reads_is_killed_and_another_reads(tmp_path: Path) -> None:
    project, file = base(tmp_path / "data"), tmp_path / "batches"
    runs = start(project, file, 0.2)
    until(lambda: file.is_file() and file.read_text().count("\n") >= 2)
    reader = int(file.read_text().split()[0])
    os.kill(reader, signal.SIGKILL)
    for run in runs:
        run.join(GUARD)
    assert sorted(run.exitcode for run in runs) == [-signal.SIGKILL, 0, 0, 0]
    killed = next(ends for run, ends in zip(runs, RANGES, strict=True) if run.pid == reader)
    left = stale_ingests(project, project.inbox.sources())
    assert left == list(range(int(killed[0]), int(killed[1]) + 1))
    lines = file.read_text().split()
    batches = project.inbox.sources()[0].n_batches()
    assert lines.count(lines[-1]) == batches
    assert len(set(lines)) == 2
    # What is left of the killed run is left there for it, and read once more by nobody.
    make(project.settings.local_data, "ingest", *killed)
    assert len(file.read_text().split()) == len(lines)
    assert stale_ingests(project, project.inbox.sources()) == []
