"""Weights that anybody may use: a folder with safetensors, a card for machines and one for people (`README.md`).

The folder is laid out as a model repository of Hugging Face.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError, on_one_line
from spotify_dag.files import write_atomically
from spotify_dag.stores.model_card import INTENDED_USE

if TYPE_CHECKING:
    from torch import Tensor

    from spotify_dag.tower.tower_model import UserModel

WEIGHTS, CARD, README = "tower.safetensors", "model.json", "README.md"
FORMATS = (1, 2)
"""That are read; the last one is written. Those of format 1 hold the latent axes of one mix, not all of them."""
HUB = "hf:"
MOST_CARD_BYTES = 1 << 20


class SharedWeightsError(SpotifyDagError):
    """Weights that cannot be given away, or used. The message says why, and what can be done."""


def write_shared(place: str, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write weights into a folder, or to a repository ``hf:OWNER/NAME``.

    Raises
    ------
    SharedWeightsError
        If the repository cannot be written.
    """
    from safetensors.torch import save

    weights = save(dict(tensors))
    card = {"format": FORMATS[-1], "weights_sha256": hashlib.sha256(weights).hexdigest(), **card}
    machine_card = json.dumps(card, indent=2, sort_keys=True).encode()
    files = {WEIGHTS: weights, README: _readme(card).encode(), CARD: machine_card}
    if not place.startswith(HUB):
        for name, content in files.items():
            write_atomically(Path(place) / name, content)
        return
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            api, repository = HfApi(), _repository(place)
            api.create_repo(repository, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Weights of spotify-dag")
        except Exception as error:  # whatever the package raises: network, name, login
            raise SharedWeightsError(
                f"{place} cannot be written: {on_one_line(error)}. Log in with: hf auth login"
            ) from error


def read_shared(place: str) -> tuple[UserModel, dict[str, Any]]:
    """Return the model in a folder, or in a repository ``hf:OWNER/NAME``, and its card.

    Raises
    ------
    SharedWeightsError
        If there is none, if it was changed, or if this version of the program builds towers in another way.
    """
    from safetensors.torch import load

    from spotify_dag.tower.tower_model import UserModel

    with _fetched(place) as folder:
        try:
            card_bytes = (folder / CARD).read_bytes()
            weights = (folder / WEIGHTS).read_bytes()
        except OSError as error:
            raise SharedWeightsError(
                f"'{place}' has no {CARD} and {WEIGHTS}. Give a folder that spotify-dag models export wrote, or "
                "hf:OWNER/NAME."
            ) from error
    try:
        card = json.loads(card_bytes[: MOST_CARD_BYTES + 1])
        known_format, digest, config = card["format"], card["weights_sha256"], card["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise SharedWeightsError(f"The card {CARD} of '{place}' cannot be read: {error!r}. Export it again.") from error
    if known_format not in FORMATS:
        raise SharedWeightsError(
            f"'{place}' has format {known_format!r}; this program reads {FORMATS[0]} to {FORMATS[-1]}. "
            "Update one of them."
        )
    if hashlib.sha256(weights).hexdigest() != digest:
        raise SharedWeightsError(f"The weights of '{place}' are not those of its card: they were changed or cut short.")
    try:
        tensors = load(weights)
        model = UserModel.restore(config, tensors)
    except Exception as error:  # what is in the file is somebody else's: anything can be wrong with it
        raise SharedWeightsError(
            f"The weights of '{place}' do not fit the tower of this program: {type(error).__name__}. They were written "
            f"by spotify-dag {card.get('package', '?')}."
        ) from error
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise SharedWeightsError(f"The weights of '{place}' are not all finite: they cannot be used.")
    return model, card


@contextmanager
def _fetched(place: str) -> Iterator[Path]:
    if not place.startswith(HUB):
        yield Path(place)
        return
    from huggingface_hub import snapshot_download

    with tempfile.TemporaryDirectory() as folder:
        fetched = Path(folder) / "weights"  # where a folder is there, the package takes it for what was fetched before
        try:
            snapshot_download(_repository(place), local_dir=fetched, allow_patterns=[WEIGHTS, CARD, README])
        except Exception as error:  # whatever the package raises: network, name, login
            raise SharedWeightsError(f"{place} cannot be read: {on_one_line(error)}") from error
        yield fetched


def _repository(place: str) -> str:
    name = place.removeprefix(HUB)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise SharedWeightsError(f"'{place}' names no repository. Write it as hf:OWNER/NAME.")
    return name


def _readme(card: Mapping[str, Any]) -> str:
    """Return the card for people, with the front matter that Hugging Face reads."""
    import yaml

    trained_on, metrics = card["trained_on"], card["held_out"]
    front: dict[str, Any] = {
        "license": card["license"].lower(),
        "library_name": "spotify-dag",
        "tags": ["music", "recommender-system", "user-embeddings"],
    }
    if "mrr" in metrics:
        front["model-index"] = [
            {
                "name": card["model_version"],
                "results": [
                    {
                        "task": {"type": "other", "name": "Finding the other half of a user's listening"},
                        "dataset": {"type": "other", "name": ", ".join(trained_on["sources"])},
                        "metrics": [{"type": "mrr", "value": round(metrics["mrr"], 4)}],
                    }
                ],
            }
        ]
    sources = "\n".join(
        f"| {name} | {users:,} | {card['licences'][name]} |" for name, users in trained_on["sources"].items()
    )
    return f"""---
{yaml.safe_dump(front, sort_keys=False).strip()}
---

# {card["model_version"]}

{INTENDED_USE}

Use it: `spotify-dag models import FOLDER`, or `spotify-dag models import hf:OWNER/NAME`.

## Training data

| source | users | licence of the listens |
|---|---|---|
{sources}

No user's vector or id is in these files. In the place of users stand {card["groups"]:,} means of five users or more.
Artists with fewer than three listeners are left out.

## Features

Text encoder: `{card["encoder"]}`, features {card["features"]}. Weights work with this encoder alone.
"""
