"""Tower versions on disk, and the one pointer that says which version serves.

A version is named after the digest of its weights, so equal training gives the same version. Weights are safetensors;
no pickle is ever loaded. The pointer names the model and its user index together and is switched by one rename, so a
query vector never meets an index of another version.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import write_atomically

if TYPE_CHECKING:
    from spotify_dag.tower.model import UserTower


class NoModelError(SpotifyDagError):
    """There is no such model. The message says how to get one."""


@dataclass(frozen=True)
class Registry:
    """The models under one root."""

    root: Path

    def save(self, tower: UserTower, card: dict[str, Any]) -> str:
        """Keep a tower with its model card (parameters, data, metrics); return its version."""
        from safetensors.torch import save

        weights = save({name: tensor.contiguous() for name, tensor in tower.state_dict().items()})
        digest = hashlib.sha256(weights).hexdigest()
        version = f"tower-{digest[:12]}"
        card = {**card, "model_version": version, "weights_sha256": digest, "config": tower.config}
        folder = self.root / version
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "tower.safetensors", weights)
        write_atomically(folder / "model.json", _json(card))
        write_atomically(self.root / "latest.json", _json({"model_version": version}))
        return version

    def card(self, version: str) -> dict[str, Any]:
        """Return the model card of a version."""
        path = self.root / version / "model.json"
        if not path.is_file():
            raise NoModelError(f"Unknown model version '{version}'.")
        return json.loads(path.read_text())

    def load(self, version: str) -> UserTower:
        """Return a tower, ready to encode.

        Raises
        ------
        NoModelError
            If there is no such version, or its weights are not the ones that were saved.
        """
        from safetensors.torch import load

        from spotify_dag.tower.model import UserTower

        card = self.card(version)
        weights = (self.root / version / "tower.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
            raise NoModelError(
                f"The weights of '{version}' were changed since training. Train again: spotify-dag run --train"
            )
        tower = UserTower(**card["config"])
        tower.load_state_dict(load(weights))
        return tower.eval()

    def latest(self) -> str | None:
        """Return the version trained last, or None."""
        return self._pointer("latest.json")

    def champion(self) -> str | None:
        """Return the version that serves, or None."""
        return self._pointer("champion.json")

    def promote(self, version: str) -> None:
        """Make a version, whose user index is complete, the one that serves."""
        self.card(version)
        write_atomically(self.root / "champion.json", _json({"model_version": version}))

    def _pointer(self, name: str) -> str | None:
        path = self.root / name
        return json.loads(path.read_text())["model_version"] if path.is_file() else None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True).encode()
