"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Tests look at stores with MLflow's own client, which reports usage to its makers unless told not to.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# Several processes run tests: threads of two on the same cores would mostly wait for one another.
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

REPOSITORY = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes minutes: at the end, one process would work on it while the others have nothing to do."""
    items.sort(key=lambda item: item.path.name != "test_main_job.py")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of the real data sets, which are not part of the repository."""
    folder = Path(os.environ.get("SPOTIFY_DAG_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SPOTIFY_DAG_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def hetrec_path(test_data: Path) -> Path:
    """Folder of HetRec-2011 Last.fm."""
    folder = test_data / "hetrec2011-lastfm-2k"
    if not folder.is_dir():
        pytest.skip(f"no HetRec-2011 at {folder}")
    return folder


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store with nothing in it: making one takes two seconds, copying it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_experiments()
    return path


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` fills, once for all processes that run tests: they read it, and change copies."""
    from spotify_dag.files import locked

    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder, done = shared / name, shared / f"{name}.done"
    with locked(shared / f"{name}.lock"):
        if not done.is_file():
            make(folder)
            done.touch()
    return folder


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let ``--screenshots`` write the pictures that the documentation shows."""
    parser.addoption("--screenshots", action="store_true", help="write docs/screenshots/app")
