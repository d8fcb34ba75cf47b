"""The registry: a version is its weights, every training is a run, and no kill leaves what the next run cannot mend."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import pytest
import torch

from spotify_dag.stores.model_registry import (
    CARD_FILE,
    WEIGHTS_FILE,
    NoModelError,
    Registry,
    RegistryError,
    write_atomically,
)
from spotify_dag.tower.gate import Decision, decide
from spotify_dag.tower.tower_model import UserModel
from spotify_dag_tests.small_models import assert_same_vectors, small_model, small_users

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.medium  # servers on loopback, or a trained tower

METRICS = {"mrr": 0.5, "hit@10": 0.8, "coverage": 0.9, "random_pair_cosine": 0.1}
HISTORY = [{"epoch": 0, "mrr": 0.25, "loss": 4.0}, {"epoch": 1, "mrr": 0.5, "loss": 3.0}]
CARD = {
    "feature_version": "f1",
    "training": {"epochs": 2, "seed": 0},
    "snapshot": {"users": {"version": 3, "rows": 50}},
}
PICTURE = b"\x89PNG..."


@pytest.fixture
def registry(tmp_path: Path, empty_store: Path) -> Registry:
    (tmp_path / "models").mkdir()
    shutil.copy(empty_store, tmp_path / "models" / "mlflow.db")
    return Registry(tmp_path / "models")


def client(registry: Registry) -> MlflowClient:
    """Return MLflow's own client, to look at what was recorded."""
    from mlflow import MlflowClient

    uri = f"sqlite:///{registry.root / 'mlflow.db'}"
    return MlflowClient(uri, uri)


def keep(registry: Registry, made: UserModel, **metrics: float) -> str:
    return registry.save(made, CARD, metrics=METRICS | metrics, history=HISTORY, plots={"curve": PICTURE})


def verdict(passed: bool) -> Decision:
    good = {"mrr": 0.5, "random_pair_cosine": 0.1, "weights_finite": 1.0}
    decision = decide(good, None, {"svd": {"mrr": 0.4 if passed else 0.6}})
    assert decision.passed == passed
    return decision


def runs(registry: Registry) -> list[Any]:
    found = client(registry)
    return found.search_runs([experiment.experiment_id for experiment in found.search_experiments()])


ENCODE = """
import sys
from pathlib import Path
import numpy as np
from spotify_dag.stores.model_registry import Registry
from spotify_dag_tests.small_models import small_users
root, version, file = sys.argv[1:]
np.save(file, Registry(Path(root)).load(version).encode(*small_users()))
"""


def tower(seed: int) -> UserModel:
    return small_model(seed)


class TestVersions:
    def test_a_loaded_tower_gives_the_same_vectors(self, registry: Registry) -> None:
        made = tower(1)
        loaded = registry.load(keep(registry, made))
        assert not loaded.tower.training
        assert loaded.config == made.config
        vectors = made.encode(*small_users())
        assert vectors.shape == (40, 4 + 2 + 4 + 6)
        assert_same_vectors(loaded.encode(*small_users()), vectors)

    @pytest.mark.process
    @pytest.mark.parametrize("kernels", [{"OPENBLAS_CORETYPE": "Nehalem"}, {"ATEN_CPU_CAPABILITY": "default"}])
    def test_another_processor_gives_the_same_vectors(self, registry: Registry, kernels: dict[str, str]) -> None:
        """A tower trained on one machine answers on another: the libraries' other kernels stand for it."""
        made = tower(1)
        version = keep(registry, made)
        file = registry.root / "vectors.npy"
        done = subprocess.run(
            [sys.executable, "-c", ENCODE, registry.root, version, file], env={**os.environ, **kernels}, check=False
        )
        assert done.returncode == 0
        assert_same_vectors(np.load(file), made.encode(*small_users()))

    def test_equal_weights_are_one_version_and_two_runs(self, registry: Registry) -> None:
        made = tower(1)
        first, again, other = (keep(registry, model) for model in (made, made, tower(2)))
        assert first == again != other
        assert first.startswith("tower-")
        assert len(first) == len("tower-") + 12
        registered = client(registry).search_model_versions("name = 'user_tower'")
        assert sorted(entry.tags["model_version"] for entry in registered) == sorted([first, other])
        assert [run.info.status for run in runs(registry)] == ["FINISHED"] * 3
        assert registry.latest() == other
        keep(registry, made)
        assert registry.latest() == first
        assert [row["model_version"] for row in registry.versions()] == [first, other]

    def test_the_card_says_what_was_given_and_what_it_is_a_card_of(self, registry: Registry) -> None:
        version = registry.save(
            tower(1), {"users": 3, "model_version": "made up"}, metrics={"mrr": 0.5, "auc": float("nan")}, history=[]
        )
        card = registry.card(version)
        assert card["users"] == 3
        assert card["model_version"] == version
        assert card["weights_sha256"].startswith(version.removeprefix("tower-"))
        assert card["config"]["tower"]["dim"] == 4
        assert card["metrics"] == {"mrr": 0.5, "auc": None, "weights_finite": 1.0}
        assert card["code"]["package"]

    def test_a_run_holds_all_that_is_known_of_a_training(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        (run,) = runs(registry)
        assert run.info.run_name == version
        assert run.data.params["training.epochs"] == "2"
        assert run.data.params["snapshot.users.version"] == "3"
        assert run.data.params["config.tower.hidden"] == "8"
        assert run.data.params["code.package"]
        assert run.data.metrics["mrr"] == 0.5
        assert run.data.metrics["hit_at_10"] == 0.8
        curve = client(registry).get_metric_history(run.info.run_id, "epoch/mrr")
        assert [(point.step, point.value) for point in curve] == [(0, 0.25), (1, 0.5)]
        kept = Path(client(registry).download_artifacts(run.info.run_id, ""))
        files = {file.relative_to(kept).as_posix() for file in kept.rglob("*") if file.is_file()}
        assert files == {
            "MODEL_CARD.md",
            "history.json",
            "landmark_users.json",
            "model.json",
            "plots/curve.png",
            "tower.safetensors",
        }
        assert (kept / "plots" / "curve.png").read_bytes() == PICTURE
        readable = (kept / "MODEL_CARD.md").read_text()
        assert readable == registry.readable_card(version)
        assert readable.startswith(f"# {version}\n")
        assert "| users.rows | 50 |" in readable

    def test_listed_versions_say_how_good_they_are_and_what_became_of_them(self, registry: Registry) -> None:
        first, second, third = (keep(registry, tower(seed), mrr=seed / 10) for seed in (1, 2, 3))
        registry.promote(first, verdict(True))
        registry.promote(second, verdict(True))
        registry.record_decision(third, verdict(False))
        rows = registry.versions()
        assert [row["model_version"] for row in rows] == [third, second, first]
        assert [row["status"] for row in rows] == ["challenger", "champion", "retired"]
        assert [row["metrics"]["mrr"] for row in rows] == [0.3, 0.2, 0.1]
        assert not any(name.startswith("epoch") for name in rows[0]["metrics"])
        assert [row["decision"]["passed"] for row in rows] == [False, True, True]
        assert "mrr vs svd is 0.5; it must be > 0.6" in rows[0]["decision"]["summary"]
        assert registry.decision(third) == rows[0]["decision"]
        assert [row["run_id"] for row in rows] == [run.info.run_id for run in runs(registry)]

    def test_what_others_register_under_the_name_is_none_of_ours(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        for tags in ({}, {"model_version": "../../elsewhere", "trained_at": "9"}):
            client(registry).create_model_version("user_tower", "/elsewhere", runs(registry)[0].info.run_id, tags=tags)
        assert [row["model_version"] for row in registry.versions()] == [version]
        client(registry).set_registered_model_alias("user_tower", "champion", "2")
        assert registry.champion() is None
        for attempt in (registry.card, registry.promote):
            with pytest.raises(NoModelError, match="Unknown model version"):
                attempt("../../elsewhere")

    def test_a_copied_root_writes_nothing_into_the_old_one(self, registry: Registry, tmp_path: Path) -> None:
        version = keep(registry, tower(1))
        registry.promote(version)
        before = sorted(registry.root.rglob("*"))
        copy = Registry(Path(shutil.copytree(registry.root, tmp_path / "copy")))
        other = keep(copy, tower(2))
        assert sorted(registry.root.rglob("*")) == before
        assert registry.latest() == version
        assert [row["model_version"] for row in copy.versions()] == [other, version]
        assert copy.champion() == version
        copy.promote(other)
        assert copy.rollback() == version

    def test_without_a_store_nothing_is_known_and_none_is_made(self, tmp_path: Path) -> None:
        bare = Registry(tmp_path / "models")
        assert bare.latest() is None
        assert bare.champion() is None
        assert bare.versions() == []
        bare.finish_promotion()
        for attempt in (bare.card, bare.load, bare.promote, bare.decision):
            with pytest.raises(NoModelError, match="Unknown model version 'tower-none'"):
                attempt("tower-none")
        with pytest.raises(NoModelError, match="no champion to roll back from"):
            bare.rollback()
        assert not bare.root.exists()


class TestWeights:
    @pytest.mark.parametrize("place", [0, 1_000, -1])
    def test_altered_weights_are_refused(self, registry: Registry, place: int) -> None:
        version = keep(registry, tower(1))
        weights = registry.root / version / WEIGHTS_FILE
        content = bytearray(weights.read_bytes())
        content[place] ^= 1
        weights.write_bytes(content)
        with pytest.raises(NoModelError, match=f"The weights of '{version}' were changed .* spotify-dag run --train"):
            registry.load(version)

    def test_weights_cut_short_are_refused(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        weights = registry.root / version / WEIGHTS_FILE
        weights.write_bytes(weights.read_bytes()[:-1])
        with pytest.raises(NoModelError, match="were changed since training"):
            registry.load(version)

    def test_weights_cut_short_are_put_back_from_the_run(self, registry: Registry) -> None:
        made = tower(1)
        version = keep(registry, made)
        weights = registry.root / version / WEIGHTS_FILE
        assert registry.damaged(version) is None
        for length in (0, 5, 500, len(weights.read_bytes()) - 1):
            weights.write_bytes(weights.read_bytes()[:length])
            assert registry.damaged(version) is None
            assert_same_vectors(registry.load(version).encode(*small_users()), made.encode(*small_users()))

    def test_where_the_copy_is_cut_short_too_that_is_told(self, registry: Registry) -> None:
        made = tower(1)
        version = keep(registry, made)
        for weights in registry.root.rglob(WEIGHTS_FILE):
            weights.write_bytes(weights.read_bytes()[:-1])
        for _ in range(2):
            said = registry.damaged(version) or ""
            assert re.search(r"was cut short, and so was its copy in MLflow.*run --train", said)
        keep(registry, made)
        assert registry.damaged(version) is None

    def test_other_weights_are_refused_even_with_a_card_that_fits_them(self, registry: Registry) -> None:
        version, other = keep(registry, tower(1)), keep(registry, tower(2))
        for name in (WEIGHTS_FILE, CARD_FILE):
            shutil.copy(registry.root / other / name, registry.root / version / name)
        with pytest.raises(NoModelError, match="were changed since training"):
            registry.load(version)

    def test_weights_that_are_not_finite_are_recorded_but_never_loaded(self, registry: Registry) -> None:
        made = tower(1)
        with torch.no_grad():
            made.tower.state_dict()["absent"][0, 0] = float("nan")
        version = keep(registry, made)
        assert registry.card(version)["metrics"]["weights_finite"] == 0
        for attempt in (registry.load, registry.promote):
            with pytest.raises(NoModelError, match=f"The weights of '{version}' are not all finite"):
                attempt(version)
        assert registry.champion() is None

    @pytest.mark.parametrize("change", [{"layers": 3}, {"hidden": 32}])
    def test_a_tower_of_another_build_is_refused(self, registry: Registry, change: dict[str, int]) -> None:
        version = keep(registry, tower(1))
        card = registry.card(version)
        card["config"]["tower"] |= change
        write_atomically(registry.root / version / CARD_FILE, json.dumps(card).encode())
        with pytest.raises(NoModelError, match=f"'{version}' was trained by spotify-dag .* does not fit"):
            registry.load(version)

    def test_a_card_that_is_none_is_named(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        path = registry.root / version / CARD_FILE
        path.write_text('{"model_ver')
        with pytest.raises(NoModelError, match=f"The card of '{version}', {path}, is not JSON"):
            registry.card(version)
        path.unlink()
        assert registry.card(version)["model_version"] == version

    def test_lost_files_are_fetched_from_the_run(self, registry: Registry) -> None:
        made = tower(1)
        version = keep(registry, made)
        shutil.rmtree(registry.root / version)
        assert_same_vectors(registry.load(version).encode(*small_users()), made.encode(*small_users()))
        assert (registry.root / version / WEIGHTS_FILE).is_file()

    def test_files_that_are_gone_for_good_are_named(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        (registry.root / version / WEIGHTS_FILE).unlink()
        shutil.rmtree(registry.root / "artifacts")
        with pytest.raises(NoModelError, match=f"tower.safetensors of '{version}' is gone: .* run --train"):
            registry.load(version)
        (registry.root / version / CARD_FILE).unlink()
        with pytest.raises(NoModelError, match=f"model.json of '{version}' is gone"):
            registry.card(version)

    @pytest.mark.process
    def test_what_serves_needs_no_mlflow(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        (registry.root / "mlflow.db").unlink()
        code = f"""
import sys
from pathlib import Path
from spotify_dag.stores.model_registry import Registry
registry = Registry(Path({str(registry.root)!r}))
width = registry.load({version!r}).tower.config["dim"]
print(registry.card({version!r})["model_version"], width, "mlflow" in sys.modules)
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [version, "4", "False"]


class TestChampion:
    def test_it_is_whoever_was_promoted_last(self, registry: Registry) -> None:
        first, second = keep(registry, tower(1)), keep(registry, tower(2))
        assert (registry.latest(), registry.champion()) == (second, None)
        for version in (first, second, second, first):
            registry.promote(version)
            assert registry.champion() == version
        assert registry.latest() == second

    def test_rollback_goes_back_to_whom_it_replaced(self, registry: Registry) -> None:
        first, second, third = (keep(registry, tower(seed)) for seed in (1, 2, 3))
        registry.promote(first)
        with pytest.raises(NoModelError, match=f"'{first}' is the first champion: there is none to go back to"):
            registry.rollback()
        registry.promote(third)
        registry.promote(third)
        registry.promote(second)
        assert [registry.rollback(), registry.champion()] == [third, third]
        assert [registry.rollback(), registry.champion()] == [first, first]
        with pytest.raises(NoModelError, match="there is none to go back to"):
            registry.rollback()

    def test_nobody_rolls_back_to_what_cannot_be_loaded(self, registry: Registry) -> None:
        first, second = keep(registry, tower(1)), keep(registry, tower(2))
        registry.promote(first)
        registry.promote(second)
        (registry.root / first / WEIGHTS_FILE).write_bytes(b"")
        with pytest.raises(NoModelError, match="were changed"):
            registry.rollback()
        assert registry.champion() == second

    def test_an_unknown_version_does_not_dethrone_the_champion(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        registry.promote(version)
        with pytest.raises(NoModelError):
            registry.promote("tower-none")
        assert registry.champion() == version

    def test_only_what_passed_and_never_was_champion_is_promoted_later(self, registry: Registry) -> None:
        first, second = keep(registry, tower(1)), keep(registry, tower(2))
        registry.promote(first, verdict(True))
        registry.record_decision(second, verdict(False))
        registry.finish_promotion()
        assert registry.champion() == first
        registry.record_decision(second, verdict(True))
        registry.finish_promotion()
        assert registry.champion() == second
        registry.rollback()
        registry.finish_promotion()  # a person's choice stands
        assert registry.champion() == first


KILLED_AT_A_STEP = """
import os, shutil, signal, sys
from pathlib import Path
from mlflow import MlflowClient
from spotify_dag_tests.stores.test_model_registry import keep, verdict
from spotify_dag.stores.model_registry import Registry

WRITES = (
    "create_experiment", "create_run", "log_batch", "log_artifacts", "set_terminated", "create_registered_model",
    "create_model_version", "set_model_version_tag", "set_registered_model_alias", "rename_experiment",
)
before, roots, trained = map(Path, sys.argv[1:])
made = Registry(trained).load(Registry(trained).latest())
warm = Registry(Path(shutil.copytree(before, roots.parent / "warm")))  # imports, once, all that is needed
warm.promote(keep(warm, made), verdict(True))
for step in range(100):
    root = Path(shutil.copytree(before, roots / f"{step:02d}"))
    child = os.fork()
    if child == 0:
        left = [step]
        def counted(write):
            def call(*arguments, **named):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return write(*arguments, **named)
            return call
        for name in WRITES:
            setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
        registry = Registry(root)
        registry.promote(keep(registry, made), verdict(True))
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
"""


@pytest.mark.process
@pytest.mark.slow
def test_killed_between_any_two_steps_the_next_run_finishes(registry: Registry, tmp_path: Path) -> None:
    """One process is killed before its first write to MLflow, another before its second, and so on to the last."""
    former = keep(registry, tower(1))
    registry.promote(former, verdict(True))
    roots, trained = tmp_path / "killed", Registry(tmp_path / "trained")
    made = trained.load(keep(trained, tower(2)))  # once: weights made twice need not be the same to the last bit
    subprocess.run([sys.executable, "-c", KILLED_AT_A_STEP, registry.root, roots, trained.root], check=True)
    *killed, whole = [Registry(root) for root in sorted(roots.iterdir())]
    assert len(killed) >= 10
    new = whole.champion()
    assert new not in (None, former)
    mended = []
    for left in killed:
        # What the next run does: finish what passed, train what nobody judged. Here that gives the same weights.
        left.finish_promotion()
        if left.latest() != new or left.decision(new) is None:
            assert left.champion() == former
            assert keep(left, made) == new
            left.promote(new, verdict(True))
            mended.append(left)
        states = [(row["model_version"], row["status"]) for row in left.versions()]
        assert states == [(new, "champion"), (former, "retired")]
        assert len(client(left).search_model_versions("name = 'user_tower'")) == 2
        assert {run.info.status for run in runs(left)} <= {"FINISHED", "KILLED"}
        assert left.rollback() == former
    assert 0 < len(mended) < len(killed)  # some were killed after the gate was asked


class TestStore:
    @pytest.mark.slow
    def test_another_database_can_be_named(self, registry: Registry, tmp_path: Path, empty_store: Path) -> None:
        shutil.copy(empty_store, tmp_path / "shared.db")
        here, there = (Registry(tmp_path / name, f"sqlite:///{tmp_path / 'shared.db'}") for name in ("here", "there"))
        version = keep(here, tower(1))
        here.promote(version)
        assert there.champion() == version
        assert_same_vectors(there.load(version).encode(*small_users()), tower(1).encode(*small_users()))
        assert (there.root / version / WEIGHTS_FILE).is_file()
        assert registry.champion() is None

    def test_a_store_that_is_none_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "mlflow.db").write_bytes(b"not a database" * 1_000)
        with pytest.raises(
            RegistryError, match=f"The model registry {tmp_path}/mlflow.db cannot be used: .*trains anew"
        ):
            Registry(tmp_path).champion()

    def test_a_server_that_is_not_there_is_named_without_its_password(self, tmp_path: Path) -> None:
        registry = Registry(tmp_path, "http://somebody:secret@127.0.0.1:9/mlflow")
        with pytest.raises(
            RegistryError, match=r"MLflow at http://127\.0\.0\.1:9/mlflow cannot be used: nobody"
        ) as refused:
            registry.champion()
        assert "secret" not in str(refused.value) + repr(registry)
        assert "SPOTIFY_DAG_MLFLOW_URI" in str(refused.value)

    @pytest.mark.process
    @pytest.mark.slow
    def test_mlflow_prints_nothing_while_a_store_is_made_and_reports_to_nobody(self, tmp_path: Path) -> None:
        code = """
import sys
from pathlib import Path
from spotify_dag.stores.model_registry import Registry
from spotify_dag_tests.small_models import small_model
print(Registry(Path(sys.argv[1])).save(small_model(0), {}, metrics={"mrr": 0.5}, history=[]))
from mlflow.telemetry import get_telemetry_client
from mlflow.telemetry.utils import _IS_IN_CI_ENV_OR_TESTING
print(get_telemetry_client(), _IS_IN_CI_ENV_OR_TESTING)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path],
            # Of itself MLflow reports nothing from a test.
            env={name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        assert done.stdout.splitlines() == [Registry(tmp_path).latest(), "None False"]


MLFLOW_SERVER = """
import os, sys
folder, port = sys.argv[1:]
os.environ.update({
    "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db", "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
    "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{folder}/mlflow.db", "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{folder}/artifacts", "MLFLOW_DISABLE_TELEMETRY": "true",
})
from mlflow.server import app
app.run("127.0.0.1", int(port))
"""


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[str]:
    """MLflow's own server, which the slim MLflow that is installed lacks the libraries of."""
    for library in ("flask", "flask_cors", "graphene", "huey"):
        pytest.importorskip(library, reason=f"MLflow's server needs {library}")
    (tmp_path / "server").mkdir()
    shutil.copy(empty_store, tmp_path / "server" / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", MLFLOW_SERVER, tmp_path / "server", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/health", timeout=1):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


class TestServer:
    @pytest.mark.process
    def test_two_machines_share_one(self, server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        here, there = (Registry(tmp_path / name, server) for name in ("here", "there"))
        assert (there.latest(), there.champion(), there.versions()) == (None, None, [])
        first, second = keep(here, tower(1)), keep(here, tower(2))
        here.promote(first, verdict(True))
        here.promote(second)
        assert (there.latest(), there.champion()) == (second, second)
        assert_same_vectors(there.load(first).encode(*small_users()), tower(1).encode(*small_users()))
        assert there.rollback() == here.champion() == first
        assert [(row["model_version"], row["status"]) for row in there.versions()] == [
            (second, "retired"),
            (first, "champion"),
        ]
        assert there.decision(first) == verdict(True).as_dict()
        files = {path.name for path in (there.root / first).iterdir()}
        assert files == {WEIGHTS_FILE, CARD_FILE}
        assert not (here.root / "mlflow.db").exists()
        assert capfd.readouterr().out == ""

    def test_what_is_no_mlflow_is_named(self, tmp_path: Path) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as other:
            threading.Thread(target=other.serve_forever, daemon=True).start()
            uri = f"http://127.0.0.1:{other.server_port}"
            with pytest.raises(RegistryError, match=f"MLflow at {uri} cannot be used: .*SPOTIFY_DAG_MLFLOW_URI"):
                Registry(tmp_path, uri).champion()
            other.shutdown()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the operating system refuse to write more: the nearest to a full disk that a test can make."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestWriteAtomically:
    def test_it_writes_and_leaves_nothing_else(self, tmp_path: Path) -> None:
        for content in (b"one", b"", b"x" * 100_000):
            write_atomically(tmp_path / "new" / "folder" / "file.json", content)
            assert (tmp_path / "new" / "folder" / "file.json").read_bytes() == content
        assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["file.json"]

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
    def test_the_umask_says_who_may_read_it(self, tmp_path: Path, umask: int, mode: int) -> None:
        before = os.umask(umask)
        try:
            write_atomically(tmp_path / "file.json", b"{}")
        finally:
            os.umask(before)
        assert (tmp_path / "file.json").stat().st_mode & 0o777 == mode

    def test_when_the_disk_is_full_the_old_content_stays(self, tmp_path: Path) -> None:
        file = tmp_path / "file.json"
        write_atomically(file, b"old")
        with files_of_at_most(1_000), pytest.raises(OSError, match="File too large"):
            write_atomically(file, b"x" * 100_000)
        assert file.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [file]

    def test_when_the_name_is_taken_by_a_folder_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "file.json").mkdir()
        with pytest.raises(IsADirectoryError):
            write_atomically(tmp_path / "file.json", b"new")
        assert [path.name for path in tmp_path.iterdir()] == ["file.json"]

    def test_a_save_that_fails_leaves_the_pointer_as_it_was(self, registry: Registry) -> None:
        version = keep(registry, tower(1))
        registry.promote(version)
        with files_of_at_most(1_000), pytest.raises(OSError, match="File too large"):
            keep(registry, tower(2))
        assert (registry.latest(), registry.champion()) == (version, version)
        assert not [path for path in registry.root.rglob("*") if path.suffix == ".tmp"]
        registry.load(version)

    def test_readers_see_one_content_or_the_other(self, tmp_path: Path) -> None:
        file = tmp_path / "pointer.json"
        contents = [json.dumps({"model_version": letter * 5_000}).encode() for letter in "ab"]
        write_atomically(file, contents[0])
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                for content in contents:
                    write_atomically(file, content)

        writers = [threading.Thread(target=write) for _ in range(2)]
        for writer in writers:
            writer.start()
        try:
            seen = {file.read_bytes() for _ in range(2_000)}
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert seen <= set(contents)
        assert list(tmp_path.iterdir()) == [file]
