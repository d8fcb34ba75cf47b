"""Settings of the next training: a named preset, or the defaults with the settings that ``tune`` found."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import write_atomically
from spotify_dag.project import Project
from spotify_dag.root import Root
from spotify_dag.tower.tuning import SPACE, Tuned

if TYPE_CHECKING:
    from spotify_dag.tower.hyperparameters import TrainingSettings


class TrainingConfigError(SpotifyDagError):
    """Settings of training that cannot be used. The message names the file, the value and the remedy."""


def training_config(project: Project) -> Root:
    """Return the file of the settings that ``tune`` found."""
    return project.settings.data / "training.json"


def save_training_settings(project: Project, tuned: Tuned) -> None:
    """Write the settings that ``tune`` found, in place of earlier ones."""
    content = {**asdict(tuned), "date": datetime.now(UTC).isoformat("T", "seconds")}
    write_atomically(training_config(project), json.dumps(content, indent=2).encode())


def load_training_settings(project: Project) -> TrainingSettings:
    """Return the settings of the next training, by the preset and the seed of the project's settings.

    Raises
    ------
    TrainingConfigError
        If the file that ``tune`` wrote is damaged, or holds other settings.
    """
    from spotify_dag.tower.hyperparameters import SEED_PRESET, TrainingSettings

    if project.settings.training_preset == "seed-2025":
        return replace(SEED_PRESET, seed=project.settings.seed)
    return replace(TrainingSettings(), **_tuned(training_config(project)), seed=project.settings.seed)


def _tuned(path: Root) -> dict[str, Any]:
    """Return the settings in a file; empty if there is no file."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    settings = content.get("settings") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise _unusable(path, "it has no 'settings'")
    for name, value in settings.items():
        span = SPACE.get(name)
        if span is None:
            raise _unusable(path, f"there is no setting '{name}'")
        if not span.holds(value):
            kind = "a whole number" if span.whole else "a number"
            raise _unusable(path, f"{name} is {value!r}; it must be {kind} from {span.low:g} to {span.high:g}")
    return settings


def _unusable(path: Root, what: str) -> TrainingConfigError:
    return TrainingConfigError(
        f"The training settings {path} cannot be used: {what}. Delete the file to train with the defaults, or make it "
        "anew: spotify-dag tune"
    )
