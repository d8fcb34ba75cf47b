"""A small base, made once by the real graph, and copies of it to spoil."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.run import bring_up_to_date
from spotify_dag.resources.project import Project
from spotify_dag.settings import Settings
from spotify_dag_tests.conftest import made_once
from spotify_dag_tests.orchestration.hook import Hook


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Data root of 40 users in two buckets, up to date; made by one of the processes that run tests."""
    return made_once(tmp_path_factory, "built", lambda folder: _build(folder / "data", empty_store)) / "data"


def _build(data: Path, empty_store: Path) -> None:
    project = Project.open(Settings(data=data, n_buckets=2))
    project.registry.root.mkdir(parents=True)
    shutil.copy(empty_store, project.registry.root / "mlflow.db")
    project.inbox.register_source("synthetic", {"users": 40, "playlists": 2, "tracks": 10})
    definitions = build_definitions(settings=project.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        stages = [stage.stage for stage in bring_up_to_date(project, definitions, instance)]
    assert stages == ["ingest", "features", "tracks", "train", "index"]


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Project:
    """A copy of the small base."""
    shutil.copytree(built, tmp_path / "data")
    return Project.open(Settings(data=tmp_path / "data", n_buckets=2))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that forgets."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that listens."""
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()
