"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import dagster as dg

    from spotify_dag.project import Project

# What takes seconds to import is imported late: the process that hands out the tests reads this, too, and runs none.

# Tests look at stores with MLflow's own client, which reports usage to its makers unless told not to.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# Several processes run tests: threads of two on the same cores would mostly wait for one another.
for library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# What a shell starts in the background does not hear Ctrl-C, and processes that tests start would not either.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parents[1]
WORLDS = {"built", "connected", "install", "trained"}
"""Fixtures that make a whole data root or serve one, train a tower, or simulate a service: in half a minute."""
SHARED = {"connected": "app", "four": "processes", "halved": "tower", "trained": "tower"}
"""Fixtures that take seconds, and the group of tests that use them: one of the processes that run tests makes them."""


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a data root, keep together what shares a fixture, and begin with what others wait for."""
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if WORLDS & fixtures:
            item.add_marker("medium")
        for group in {SHARED[name] for name in SHARED.keys() & fixtures}:
            item.add_marker(pytest.mark.xdist_group(group))
    first = next(filter(_needs_built, items), None)
    # What takes minutes, else one process works on it alone at the end. Then one makes the data root, and the others do
    # what needs none.
    items.sort(key=lambda item: (item.path.name != "test_main_job.py", item is not first, _needs_built(item)))


def _needs_built(item: pytest.Item) -> bool:
    return "built" in getattr(item, "fixturenames", ())


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their length: ids of megabytes are sent between processes several times for each test."""
    return f"{argname} of {len(val)}" if isinstance(val, str | bytes) and len(val) > 200 else None


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

    def make(folder: Path) -> None:
        from mlflow import MlflowClient

        folder.mkdir()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        MlflowClient(uri, uri).search_experiments()

    return made_once(tmp_path_factory, "store", make) / "mlflow.db"


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that ``make`` fills, once for all processes that run tests: they read it, and change copies."""
    from spotify_dag.locks import locked

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


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Data root of 40 users in two buckets, up to date; made by one of the processes that run tests."""
    return made_once(tmp_path_factory, "built", lambda folder: _build(folder / "data", empty_store)) / "data"


def _build(data: Path, empty_store: Path) -> None:
    import dagster as dg

    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

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
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    shutil.copytree(built, tmp_path / "data")
    return Project.open(Settings(data=tmp_path / "data", n_buckets=2))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance that forgets."""
    import dagster as dg

    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
