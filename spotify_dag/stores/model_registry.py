"""The model registry: versions of the tower, in MLflow and as files.

Every training is an MLflow run. A version is named after the digest of its weights. So equal training gives the same
version, registered once. The *champion* is an MLflow alias, moved by the gate or by a person. The *published* version
is another fact, kept beside the user index (`stores.user_index.UserIndex.publish`).

Answering needs no MLflow: `card` and `load` read ``<root>/<version>/``, and ask MLflow only for files that are not
there. Weights are safetensors; no pickle is ever loaded.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version as package_version
from itertools import chain
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from spotify_dag.errors import SpotifyDagError, on_one_line
from spotify_dag.files import paths_below, write_atomically
from spotify_dag.root import ObjectPath, Root
from spotify_dag.stores.model_card import flat, render
from spotify_dag.tower.gate import Decision

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from torch import Tensor

    from spotify_dag.tower.tower_model import UserModel

MODEL = "user_tower"
"""Name of the registered model, and of the experiment that holds its runs."""
CHAMPION = "champion"
HELD_OUT = "held_out_"
"""Prefix of measures on users kept from all training."""
WEIGHTS_FILE = "tower.safetensors"
CARD_FILE = "model.json"
READABLE_CARD_FILE = "MODEL_CARD.md"
LANDMARKS_FILE = "landmark_users.json"
"""Whose the landmarks of a version are, so that they can be taken out; digests, no names."""
REACH_SECONDS = 10
_VERSION = re.compile(r"tower-[0-9a-f]{12}")
_TRAIN_AGAIN = "Train again: spotify-dag run --train"
_PARAMS_PER_CALL, _METRICS_PER_CALL = 100, 1_000  # MLflow's limits


class NoModelError(SpotifyDagError):
    """There is no such model, or it must not be used. The message says why, and how to get one."""


class RegistryError(SpotifyDagError):
    """MLflow does not answer, or refuses. The message has its address and its error."""


@dataclass(frozen=True)
class Registry:
    """The tower versions of one data root.

    Parameters
    ----------
    root
        Place of weights and cards.
    uri
        Another MLflow: a server (``https://…``) or a database (``postgresql://…``).
    local
        Folder of MLflow's SQLite store and artifacts, unless ``uri`` is given; by default the root.
    """

    root: Root
    uri: str | None = field(default=None, repr=False)  # it may hold a password
    local: Path | None = None

    def save(
        self,
        model: UserModel,
        card: Mapping[str, Any],
        *,
        metrics: Mapping[str, float],
        history: Sequence[Mapping[str, float]],
        plots: Mapping[str, bytes] | None = None,
        landmark_users: Sequence[str] = (),
    ) -> str:
        """Write a trained tower to files, record its training as an MLflow run, and return its version.

        Parameters
        ----------
        model
            The trained model. Weights that are not finite are recorded, too, but `load` refuses them.
        card
            The model card: parameters, data snapshot and more. Added here: the version, the digest, the configuration
            of the tower, the version of the code, and the metrics.
        metrics
            Metrics of the tower. Added here: ``weights_finite``, 1 or 0. Values that are not finite are null in the
            card.
        history
            Per epoch: ``epoch`` and its metrics.
        plots
            PNG pictures by name.
        landmark_users
            Which user each landmark of the model is, by a digest that only this data root can make.

        Raises
        ------
        RegistryError
            If MLflow does not accept the run.
        """
        from safetensors.torch import save

        tensors = model.tensors()
        weights = save(tensors)
        digest = hashlib.sha256(weights).hexdigest()
        version = f"tower-{digest[:12]}"
        measured = _finite_or_none({**metrics, "weights_finite": float(_all_finite(tensors))})
        added = {"model_version": version, "weights_sha256": digest, "config": model.config, "code": code_version()}
        card = {**card, **added, "metrics": measured}
        files = {
            WEIGHTS_FILE: weights,
            READABLE_CARD_FILE: render(card).encode(),
            "history.json": json.dumps(list(history), indent=2).encode(),
            **{f"plots/{name}.png": picture for name, picture in (plots or {}).items()},
            LANDMARKS_FILE: json.dumps(list(landmark_users)).encode(),
            CARD_FILE: _json(card),  # last: if there is a card, all files are there
        }
        for name, content in files.items():
            write_atomically(self.root / version / name, content)
        with self._asked() as client:
            self._log_run(client, card, history)
        return version

    def card(self, version: str) -> dict[str, Any]:
        """Return the model card of a version.

        Raises
        ------
        NoModelError
            If there is no such version, or its card is gone or cannot be read.
        """
        path = self._file(version, CARD_FILE)
        try:
            return json.loads(path.read_bytes())
        except ValueError as error:
            raise NoModelError(
                f"The card of '{version}', {path}, is not JSON: {error}. Delete it, and it is fetched from its run"
            ) from error

    def readable_card(self, version: str) -> str:
        """Return the model card of a version as Markdown."""
        return render(self.card(version))

    def load(self, version: str) -> UserModel:
        """Return a model, ready to encode.

        Raises
        ------
        NoModelError
            If there is no such version, if its weights are gone, changed or not finite, or if this version of the
            program builds towers in another way.
        """
        from safetensors.torch import load

        from spotify_dag.tower.tower_model import UserModel

        card = self.card(version)
        weights = self._file(version, WEIGHTS_FILE).read_bytes()
        digest = hashlib.sha256(weights).hexdigest()
        trained = str(card.get("trained_sha256", card["weights_sha256"]))
        if digest != card["weights_sha256"] or not trained.startswith(version.removeprefix("tower-")):
            raise NoModelError(f"The weights of '{version}' were changed since training. {_TRAIN_AGAIN}")
        try:
            tensors = load(weights)
            model = UserModel.restore(card["config"], tensors)
        except (TypeError, KeyError, RuntimeError) as error:
            raise NoModelError(
                f"'{version}' was trained by spotify-dag {card['code']['package']}, and does not fit the tower of this "
                f"one ({code_version()['package']}). {_TRAIN_AGAIN}"
            ) from error
        if not _all_finite(tensors):
            raise NoModelError(f"The weights of '{version}' are not all finite: it cannot be used. {_TRAIN_AGAIN}")
        return model

    def damaged(self, version: str) -> str | None:
        """Say how the weights of a version are damaged, by their length alone; None where they are whole.

        Weights that were cut short are put back from the version's run in MLflow, where they are whole.
        """
        path = self.root / version / WEIGHTS_FILE
        if path.is_file() and _is_whole(path):
            return None
        path.unlink(missing_ok=True)
        try:
            fetched = self._file(version, WEIGHTS_FILE)
        except NoModelError as error:
            return str(error)
        if _is_whole(fetched):
            return None
        fetched.unlink()
        return f"{path} was cut short, and so was its copy in MLflow. {_TRAIN_AGAIN}"

    def redact(self, change: Callable[[dict[str, np.ndarray], list[str]], dict[str, np.ndarray] | None]) -> int:
        """Take something out of every version that is kept, copies of MLflow on this machine included.

        A version keeps its name, which is after what was trained; its card says the digest of what is left.

        Parameters
        ----------
        change
            Is given the tensors and whose the landmarks are; returns other tensors, or None where nothing changes.

        Returns
        -------
        How many files were written anew.
        """
        from safetensors.numpy import load, save

        written = 0
        places = chain.from_iterable(map(paths_below, {self.root, self._local}))
        for path in sorted((path for path in places if path.name == WEIGHTS_FILE), key=str):
            card_path, owners_path = path.with_name(CARD_FILE), path.with_name(LANDMARKS_FILE)
            owners = json.loads(owners_path.read_bytes()) if owners_path.is_file() else []
            changed = change(load(path.read_bytes()), owners)
            if changed is None:
                continue
            weights, card = save(changed), json.loads(card_path.read_bytes())
            card["trained_sha256"] = card.get("trained_sha256", card["weights_sha256"])
            card["weights_sha256"] = hashlib.sha256(weights).hexdigest()
            # The card last: killed in between, the same is taken out again, and the card is mended.
            write_atomically(path, weights)
            write_atomically(card_path, _json(card))
            written += 1
        return written

    def versions(self) -> list[dict[str, Any]]:
        """Return every version, the one trained last first.

        Returns
        -------
        Dictionaries with these keys:

        =================  =========================================================================================
        ``model_version``  the version
        ``status``         champion; challenger: never was champion; retired: was champion
        ``created``        ISO 8601
        ``metrics``        named as in MLflow: ``hit_at_10``
        ``decision``       `Decision.as_dict` of the gate; None if the gate was never asked
        ``run_id``         of MLflow
        =================  =========================================================================================
        """
        if not self._known:
            return []
        with self._asked() as client:
            champion = self._champion(client)
            versions = []
            for entry in self._entries(client):
                version = entry.tags["model_version"]
                former = "retired" if "promoted_at" in entry.tags else "challenger"
                logged = client.get_run(str(entry.run_id)).data.metrics
                versions.append(
                    {
                        "model_version": version,
                        "status": CHAMPION if version == champion else former,
                        "created": datetime.fromtimestamp(entry.creation_timestamp / 1000, UTC).isoformat(
                            "T", "seconds"
                        ),
                        "metrics": _finite_or_none(
                            {name: value for name, value in logged.items() if not name.startswith("epoch/")}
                        ),
                        "decision": _decision(entry),
                        "run_id": entry.run_id,
                    }
                )
            return versions

    def latest(self) -> str | None:
        """Return the version trained last, or None."""
        if not self._known:
            return None
        with self._asked() as client:
            return next((entry.tags["model_version"] for entry in self._entries(client)), None)

    def champion(self) -> str | None:
        """Return the champion, or None."""
        if not self._known:
            return None
        with self._asked() as client:
            return self._champion(client)

    def decision(self, version: str) -> dict[str, Any] | None:
        """Return the gate's decision about a version (`Decision.as_dict`), or None if it was never asked."""
        if not self._known:
            raise _unknown(version)
        with self._asked() as client:
            return _decision(self._entry(client, version))

    def record_decision(self, version: str, decision: Decision) -> None:
        """Record the gate's decision about a version."""
        if not self._known:
            raise _unknown(version)
        with self._asked() as client:
            number = self._entry(client, version).version
            client.set_model_version_tag(MODEL, number, "gate", json.dumps(decision.as_dict()))

    def record_measurement(self, version: str, metrics: Mapping[str, float]) -> None:
        """Keep how good a version is on users kept from all of its training; `versions` names these ``held_out_…``.

        Parameters
        ----------
        version
            Which one.
        metrics
            Measures by name, and the number of ``users`` measured. What is not finite is left out.
        """
        from mlflow.entities import Metric

        if not self._known:
            raise _unknown(version)
        with self._asked() as client:
            moment = int(time.time() * 1_000)
            measured = [
                Metric(_allowed(f"{HELD_OUT}{name}"), float(value), moment, 0)
                for name, value in metrics.items()
                if isfinite(value)
            ]
            client.log_batch(str(self._entry(client, version).run_id), metrics=measured)

    def measurement(self, version: str) -> dict[str, float]:
        """Return what `record_measurement` kept of a version, named as MLflow has it (``hit_at_10``); empty if none."""
        if not self._known:
            raise _unknown(version)
        with self._asked() as client:
            logged = client.get_run(str(self._entry(client, version).run_id)).data.metrics
        return {name.removeprefix(HELD_OUT): value for name, value in logged.items() if name.startswith(HELD_OUT)}

    def promote(self, version: str, decision: Decision | None = None) -> None:
        """Make a version champion.

        Parameters
        ----------
        version
            The version. If it is the champion, nothing changes.
        decision
            The gate's decision, recorded with the version; None if a person promotes it.

        Raises
        ------
        NoModelError
            If there is no such version, or it cannot be loaded.
        """
        self.load(version)
        if decision is not None:
            self.record_decision(version, decision)
        with self._asked() as client:
            number, champion = self._entry(client, version).version, self._champion(client)
            # The alias moves in one step. The former champion is written down before it, and the time after it: so
            # `finish_promotion` sees whether a promotion was killed on the way.
            if champion not in (None, version):
                client.set_model_version_tag(MODEL, number, "replaced", champion)
            client.set_registered_model_alias(MODEL, CHAMPION, number)
            client.set_model_version_tag(MODEL, number, "promoted_at", _now())

    def finish_promotion(self) -> None:
        """Promote the version trained last if it passed the gate, but the run was killed before the promotion."""
        if not self._known:
            return
        with self._asked() as client:
            latest = next(iter(self._entries(client)), None)
        if latest is not None and "promoted_at" not in latest.tags and (_decision(latest) or {}).get("passed"):
            self.promote(latest.tags["model_version"])

    def rollback(self) -> str:
        """Make the version before the present champion champion again; return it.

        Raises
        ------
        NoModelError
            If there was no champion before, or it cannot be loaded any more.
        """
        champion = self.champion()
        if champion is None:
            raise NoModelError("There is no champion to roll back from. See: spotify-dag models list")
        with self._asked() as client:
            former = self._entry(client, champion).tags.get("replaced")
        if former is None:
            raise NoModelError(f"'{champion}' is the first champion: there is none to go back to.")
        self.load(former)
        with self._asked() as client:
            client.set_registered_model_alias(MODEL, CHAMPION, self._entry(client, former).version)
        return former

    def _file(self, version: str, name: str) -> Root:
        """Return the path of a file of a version; it is fetched from MLflow if it is not here."""
        path = self.root / version / name
        # People type names of versions: a name that is a path must not be followed.
        if _VERSION.fullmatch(version) and path.is_file():
            return path
        if not self._known:
            raise _unknown(version)
        with self._asked() as client:
            run = str(self._entry(client, version).run_id)
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    fetched = Path(client.download_artifacts(run, name, scratch))
                except Exception as error:
                    # Each kind of artifact store raises other errors for a missing file.
                    raise NoModelError(
                        f"{name} of '{version}' is gone: neither at {path} nor in MLflow's run {run}. {_TRAIN_AGAIN}"
                    ) from error
                write_atomically(path, fetched.read_bytes())
        return path

    def _log_run(self, client: MlflowClient, card: Mapping[str, Any], history: Sequence[Mapping[str, float]]) -> None:
        """Record one training, and register its version last. So the run of a registered version is complete."""
        from mlflow.entities import Metric, Param

        version = card["model_version"]
        experiment = self._experiment(client)
        # Logging takes about a second, so a run that still has this status was killed. A live one sets it again at its
        # end.
        for unfinished in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
            client.set_terminated(unfinished.info.run_id, "KILLED")
        readable = (self.root / version / READABLE_CARD_FILE).read_text()
        run = client.create_run(
            experiment,
            run_name=version,
            tags={
                "model_version": version,
                "mlflow.note.content": readable[:5_000],
                "mlflow.source.git.commit": card["code"]["git_commit"] or "",
            },
        )
        parameters = {name: value for name, value in card.items() if name != "metrics"}
        params = [Param(_allowed(name), str(value)[:500]) for name, value in flat(parameters).items()]
        moment = run.info.start_time
        metrics = [
            Metric(_allowed(name), nan if value is None else value, moment, 0)
            for name, value in card["metrics"].items()
        ]
        for entry in history:
            step = int(entry["epoch"])
            metrics += [Metric(_allowed(f"epoch/{name}"), float(value), moment, step) for name, value in entry.items()]
        for start in range(0, len(params), _PARAMS_PER_CALL):
            client.log_batch(run.info.run_id, params=params[start : start + _PARAMS_PER_CALL])
        for start in range(0, len(metrics), _METRICS_PER_CALL):
            client.log_batch(run.info.run_id, metrics=metrics[start : start + _METRICS_PER_CALL])
        with _on_disk(self.root / version) as folder:
            client.log_artifacts(run.info.run_id, str(folder))
        client.set_terminated(run.info.run_id)
        self._register(client, version, card["weights_sha256"], run)

    def _register(self, client: MlflowClient, version: str, digest: str, run: Any) -> None:
        if not client.search_registered_models(f"name = '{MODEL}'"):
            client.create_registered_model(MODEL, description="Maps user embeddings to user vectors.")
        registered = [entry for entry in self._entries(client) if entry.tags["model_version"] == version]
        if registered:
            client.set_model_version_tag(MODEL, registered[0].version, "trained_at", _now())
        else:
            tags = {"model_version": version, "weights_sha256": digest, "trained_at": _now()}
            client.create_model_version(MODEL, run.info.artifact_uri, run.info.run_id, tags=tags)

    def _entries(self, client: MlflowClient) -> list[ModelVersion]:
        """Return the registered versions, the one trained last first."""
        entries: dict[str, ModelVersion] = {}
        for entry in client.search_model_versions(f"name = '{MODEL}'", max_results=10_000):
            # On a shared server other programs register versions, too. Only those that `save` made are ours.
            if "trained_at" not in entry.tags or not _VERSION.fullmatch(entry.tags.get("model_version", "")):
                continue
            # Two machines that register the same weights at once make two entries. The first one counts.
            first = entries.setdefault(entry.tags["model_version"], entry)
            if int(entry.version) < int(first.version):
                entries[entry.tags["model_version"]] = entry
        return sorted(entries.values(), key=lambda entry: (entry.tags["trained_at"], int(entry.version)), reverse=True)

    def _entry(self, client: MlflowClient, version: str) -> ModelVersion:
        for entry in self._entries(client):
            if entry.tags["model_version"] == version:
                return entry
        raise _unknown(version)

    def _champion(self, client: MlflowClient) -> str | None:
        for model in client.search_registered_models(f"name = '{MODEL}'"):
            number = str(model.aliases.get(CHAMPION))
            for entry in self._entries(client):
                if str(entry.version) == number:
                    return entry.tags["model_version"]
        return None

    def _experiment(self, client: MlflowClient) -> str:
        """Return the id of the experiment that runs are logged to; it is made if there is none."""
        location = None if self._is_server else (self._local / "artifacts").resolve().as_uri()
        experiment = client.get_experiment_by_name(MODEL)
        if experiment is not None and location not in (None, experiment.artifact_location):
            # The data root was copied or moved. MLflow keeps absolute paths, so runs would be written into the old
            # root.
            former = f"{MODEL} in {experiment.artifact_location} until {_now()}"
            client.rename_experiment(experiment.experiment_id, former)
            experiment = None
        if experiment is not None:
            return str(experiment.experiment_id)
        return str(client.create_experiment(MODEL, artifact_location=location))

    @property
    def _database(self) -> Path:
        return self._local / "mlflow.db"

    @property
    def _local(self) -> Path:
        return self.local or Path(self.root)

    @property
    def _is_server(self) -> bool:
        return self.uri is not None and urlsplit(self.uri).scheme in ("http", "https")

    @property
    def _known(self) -> bool:
        """Whether there is an MLflow store. Asking a local store that does not exist would create it."""
        return self.uri is not None or self._database.is_file()

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        if self._is_server:
            self._reach()
        else:
            self._local.mkdir(parents=True, exist_ok=True)
        uri = self.uri or f"sqlite:///{self._database.resolve()}"
        return MlflowClient(tracking_uri=uri, registry_uri=uri)

    def _reach(self) -> None:
        """Raise at once if the server does not answer. MLflow itself would retry for minutes."""
        import requests

        try:
            requests.get(f"{str(self.uri).rstrip('/')}/health", timeout=REACH_SECONDS)
        except requests.RequestException as error:
            raise self._problem("nobody answers") from error

    @contextmanager
    def _asked(self) -> Iterator[MlflowClient]:
        """Yield the client. Its errors become a `RegistryError` with the address."""
        _quiet_mlflow()
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._client
        except (MlflowException, SQLAlchemyError) as error:
            raise self._problem(on_one_line(error)) from error

    def _problem(self, what: str) -> RegistryError:
        if self.uri is None:
            return RegistryError(
                f"The model registry {self._database} cannot be used: {what}. Put it back from a backup, or move it "
                "away: the next spotify-dag run trains anew"
            )
        parts = urlsplit(self.uri)
        shown = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()  # no password in a message
        return RegistryError(f"MLflow at {shown} cannot be used: {what}. Check SPOTIFY_DAG_MLFLOW_URI, or unset it")


@contextmanager
def _on_disk(folder: Root) -> Iterator[Path]:
    """Yield a folder of this machine with what is in a folder, as MLflow reads files alone."""
    if isinstance(folder, Path):
        yield folder
        return
    with tempfile.TemporaryDirectory() as scratch:
        for path in folder.objects():
            copy = Path(scratch) / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
        yield Path(scratch)


def code_version() -> dict[str, str | None]:
    """Return the version of the package and, in a checkout, the git commit, with ``+`` if files differ from it."""
    root = Path(__file__).parents[2]
    return {"package": package_version("spotify-dag"), "git_commit": _git_commit(root)}


def _git_commit(root: Path) -> str | None:
    # Only in this checkout: an installed package may lie inside the checkout of another project.
    if not (root / ".git").exists():
        return None
    try:
        from git import Repo
        from git.exc import GitError
    except ImportError:  # there is no git on this machine
        return None
    try:
        with Repo(root) as repository:
            return repository.head.commit.hexsha + "+" * repository.is_dirty()
    except (GitError, OSError, ValueError):  # no commit yet, or not a repository that can be read
        return None


def _quiet_mlflow() -> None:
    """Import MLflow without its telemetry, progress bars and printed addresses."""
    # MLflow reads these from the environment only, the first one at import. It would print addresses of runs between
    # the lines of --json, and draw bars on top of ours.
    os.environ.update(
        MLFLOW_DISABLE_TELEMETRY="true",
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR="false",
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT="true",
    )
    import mlflow  # noqa: F401 (it sets its own log level when it is imported)

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _all_finite(tensors: Mapping[str, Tensor]) -> bool:
    import torch

    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


def _allowed(name: str) -> str:
    """Return a name as MLflow takes it: ``hit@10`` becomes ``hit_at_10``."""
    return re.sub(r"[^\w/.\- :]", "_", name.replace("@", "_at_"))


def _finite_or_none(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Return metrics as JSON can hold them."""
    return {name: float(value) if isfinite(value) else None for name, value in metrics.items()}


def _is_whole(weights: Root) -> bool:
    """Return whether a file of safetensors is as long as its head says (https://github.com/huggingface/safetensors)."""
    if isinstance(weights, ObjectPath):
        return True  # it was put as a whole
    with weights.open("rb") as file:
        length = file.read(8)
        size = int.from_bytes(length, "little")
        if len(length) < 8 or size > weights.stat().st_size:
            return False
        try:
            head = json.loads(file.read(size))
            ends = [tensor["data_offsets"][1] for name, tensor in head.items() if name != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return False
    return weights.stat().st_size == 8 + size + max(ends, default=0)


def _decision(entry: ModelVersion) -> dict[str, Any] | None:
    return json.loads(entry.tags["gate"]) if "gate" in entry.tags else None


def _unknown(version: str) -> NoModelError:
    return NoModelError(f"Unknown model version '{version}'. See which there are: spotify-dag models list")


def _now() -> str:
    """Return the time in microseconds, as text that sorts as the time does."""
    return f"{time.time_ns() // 1_000:020d}"


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
