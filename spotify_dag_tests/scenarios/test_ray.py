"""Runs on a Ray cluster: four ranges of buckets at once on two nodes. One dies. The tables are those of one machine.

``spotify-dag up`` is started as on a machine beside the cluster, with ``deploy/dagster-ray.yaml``. The data root is in
object storage where Ceph is installed, else in a folder that both nodes see.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest
from dagster import DagsterEventType
from polars.testing import assert_frame_equal

from spotify_dag.definitions import build_definitions
from spotify_dag.locks import locked
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.partitions import tagged_buckets
from spotify_dag.orchestration.runs_under_way import runs_under_way
from spotify_dag.project import Project
from spotify_dag.root import Root
from spotify_dag.schemas import TABLES, TEXT_VECTORS, USER_EMBEDDINGS
from spotify_dag.settings import Settings
from spotify_dag.staleness.stale_buckets import stale_features, stale_ingests
from spotify_dag_tests.conftest import REPOSITORY
from spotify_dag_tests.scenarios.ray_nodes import HEAD, OTHER, RayNodes
from spotify_dag_tests.scenarios.servers import Ceph, Postgres, free_port
from spotify_dag_tests.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow]

CONFIG = REPOSITORY / "deploy" / "dagster-ray.yaml"
BUCKETS, RANGES, USERS = 16, 4, 60
"""So many ranges run at once: each takes one core of the cluster."""
WORLD = {"users": USERS, "playlists": 3, "tracks": 20}
LONG = 900.0
"""Seconds until a test gives up: eight processes that import everything share the cores."""


@pytest.fixture
def variables(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The settings of an installation on a cluster: a data root that all machines see, and where its locks are."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIG, home / "dagster.yaml")
    settings = {
        "DAGSTER_HOME": str(home),
        "SPOTIFY_DAG_POSTGRES_URL": postgres.url,
        "SPOTIFY_DAG_N_BUCKETS": str(BUCKETS),
        "SPOTIFY_DAG_BUCKETS_PER_RUN": str(BUCKETS // RANGES),
        "SPOTIFY_DAG_LOCAL": str(tmp_path / "local"),
        "SPOTIFY_DAG_DATA": str(tmp_path / "data"),
    }
    if not Ceph.missing():
        ceph: Ceph = request.getfixturevalue("ceph")
        name = f"bucket-{uuid4().hex[:12]}"
        ceph.make_bucket(name)
        settings |= {**ceph.variables, "SPOTIFY_DAG_DATA": f"s3://{name}/root"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@contextmanager
def up(log: Path, variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the daemon, the code server and the UI, as on a machine beside the cluster."""
    command = [sys.executable, "-m", "spotify_dag", "up", "--no-app", "--no-simulator", "--port", str(free_port())]
    with monkeypatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        process = subprocess.Popen(command, stdout=log.open("wb"), stderr=subprocess.STDOUT)
    try:
        until(lambda: "watches, schedules and runs" in log.read_text())
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(120)


def ticked(instance: dg.DagsterInstance, sensor: str) -> tuple[str, str] | None:
    """Return both ids of a sensor that has ticked; None before its first tick."""
    for state in instance.all_instigator_state():
        ids = state.instigator_origin_id, state.selector_id
        if state.instigator_name == sensor and instance.get_ticks(*ids, limit=1):
            return ids
    return None


def at_step(instance: dg.DagsterInstance, step: str) -> dict[str, list[int]]:
    """Return the runs that have begun a step, and their buckets."""
    return {
        run.run_id: tagged_buckets(run.tags)
        for run in runs_under_way(instance)
        if any(event.step_key == step for event in instance.all_logs(run.run_id, DagsterEventType.STEP_START))
    }


def made_again(instance: dg.DagsterInstance, run: str) -> list[list[int]]:
    """Return the buckets of each run that made a killed run again, and ended well."""
    again = [other for other in instance.get_runs() if other.root_run_id == run]
    return [tagged_buckets(other.tags) for other in again if other.is_success]


def tables(project: Project) -> dict[str, pl.DataFrame]:
    frames = {table.name: project.lake.scan(table).collect() for table in TABLES if project.lake.exists(table)}
    return {
        name: frame.select(pl.exclude(pl.Datetime)).sort(pl.all().exclude(pl.List, pl.Array))
        for name, frame in frames.items()
    }


def local_tables(data: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, pl.DataFrame]:
    """The tables as one process makes them in a folder."""
    with monkeypatch.context() as patched:
        for name in ("SPOTIFY_DAG_LOCAL", "SPOTIFY_DAG_POSTGRES_URL", "DAGSTER_HOME"):
            patched.delenv(name)
        project = Project.open(Settings(data=data, n_buckets=BUCKETS))
        project.check_layout()
        project.inbox.register_source("synthetic", WORLD)
        definitions = build_definitions(settings=project.settings)
        with dg.DagsterInstance.ephemeral() as instance:
            stages = [stage.stage for stage in bring_up_to_date(project, definitions, instance, only_features=True)]
        assert stages == ["ingest", "features"]
        return tables(project)


@pytest.mark.timeout(2400)
def test_four_ranges_at_once_and_a_node_that_dies(
    variables: dict[str, str], ray_nodes: RayNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each node has a folder of its own, as each machine has.
    ray_nodes.start({node: {**variables, "SPOTIFY_DAG_LOCAL": str(tmp_path / node)} for node in (HEAD, OTHER)})
    project = Project.open(Settings())
    project.check_layout()
    instance = dg.DagsterInstance.from_config(variables["DAGSTER_HOME"])
    encoding = project.lake.root / ".locks" / f"encoding-{project.encoder.digest}"
    with instance, up(tmp_path / "up.log", ray_nodes.variables, monkeypatch):
        until(lambda: ticked(instance, "automation"))  # it starts what comes after its first look
        until(lambda: ticked(instance, "catch_up"))
        instance.stop_sensor(*ticked(instance, "catch_up"), None)  # the stages after these are not looked at here
        with locked(encoding):  # all wait here, in the middle of the stage
            begun = time.monotonic()
            project.inbox.register_source("synthetic", WORLD)
            until(lambda: len(at_step(instance, "text_vectors")) == RANGES, LONG)
            ranges = at_step(instance, "text_vectors")
            print(f"four ranges at text_vectors: {time.monotonic() - begun:.0f} s")
            # The daemon may look while what is new is still being reported. The rest are then ranges that wait.
            buckets = [bucket for some in ranges.values() for bucket in some]
            assert len(set(buckets)) == len(buckets)
            assert max(map(len, ranges.values())) <= BUCKETS // RANGES
            on_head, on_other = ray_nodes.runs_on(HEAD), ray_nodes.runs_on(OTHER)
            assert (len(on_head), len(on_other)) == (2, 2)
            assert on_head | on_other == set(ranges)
            ray_nodes.kill(OTHER)
            killed = time.monotonic()
        until(lambda: all(instance.get_run_by_id(run).is_failure for run in on_other), LONG)
        print(f"the killed runs are known as failed: {time.monotonic() - killed:.0f} s")
        until(lambda: all(instance.get_run_by_id(run).is_success for run in on_head), LONG)
        until(lambda: all(made_again(instance, run) == [ranges[run]] for run in on_other), LONG)
        until(lambda: not runs_under_way(instance) and is_up_to_date(project), LONG)
        print(f"all is done: {time.monotonic() - begun:.0f} s")
        for lock in (encoding, *(project.lake.root / ".locks" / f"bucket-{bucket}" for bucket in range(BUCKETS))):
            until(partial(is_free, lock))  # a run that has succeeded lets go when its process ends
    _is_what_one_machine_makes(project, local_tables(tmp_path / "alone", monkeypatch))


def is_up_to_date(project: Project) -> bool:
    return stale_ingests(project, project.inbox.sources()) == stale_features(project) == []


def is_free(lock: Root) -> bool:
    with locked(lock, wait=False) as got:
        return got


def _is_what_one_machine_makes(project: Project, alone: dict[str, pl.DataFrame]) -> None:
    together = tables(project)
    assert is_up_to_date(project)
    assert together["user_embeddings"].height == USERS
    texts = together["text_vectors"]["text"]
    assert len(texts) == texts.n_unique()
    assert together.keys() == alone.keys()
    for name, frame in alone.items():
        # Strings of one length are encoded together: in another company the last digits of a vector are others.
        exact = name not in {TEXT_VECTORS.name, USER_EMBEDDINGS.name}
        assert_frame_equal(together[name], frame, check_exact=exact, abs_tol=0.005)
