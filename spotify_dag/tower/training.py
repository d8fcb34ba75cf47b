"""Train a tower: set users aside to choose by, fit, choose, fit on everybody, measure the scale of scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.choose import choose_model, with_components, with_mix
from spotify_dag.tower.fit import Epoch, Fitted, TrainingError, fit
from spotify_dag.tower.hyperparameters import VALIDATION_USERS, TrainingSettings
from spotify_dag.tower.metrics import own_half
from spotify_dag.tower.mix import Mix
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.tower_model import UserModel
from spotify_dag.tower.views import Halved

MIN_VALIDATION_USERS = 20


@dataclass(frozen=True)
class TrainedModel:
    """A model with how its training went."""

    model: UserModel
    history: list[Epoch] = field(repr=False)
    """Per epoch: ``epoch, loss, mrr, hit@1, hit@10`` on the validation users."""
    metrics: dict[str, float]
    """``validation_mrr, validation_hit@1, validation_hit@10``, ``mix_…``, number of ``components`` (0 for none),
    ``random_pair_cosine``, and numbers of users. Validation users chose, so their figures flatter."""


@dataclass(frozen=True)
class _Split:
    """Row numbers of the users that can be halved."""

    everybody: np.ndarray
    validation: np.ndarray
    refit: bool
    """Whether everybody is trained on after the choice."""

    @classmethod
    def of(cls, halved: Halved, settings: TrainingSettings) -> _Split:
        rng = np.random.default_rng(settings.seed)
        rows = rng.permutation(np.flatnonzero(halved.usable))
        least, most = VALIDATION_USERS
        share = int(len(rows) * settings.validation_share)
        aside = min(share, most) if share >= least else min(least, len(rows) // 3)
        validation = np.sort(rows[: aside if aside >= MIN_VALIDATION_USERS else 0])
        return cls(np.sort(rows), validation, share < least and len(validation) > 0)

    @property
    def training(self) -> np.ndarray:
        return np.setdiff1d(self.everybody, self.validation)

    @property
    def watched(self) -> np.ndarray:
        return self.validation if len(self.validation) else self.everybody


def train_tower(
    halved: Halved, settings: TrainingSettings, progress: Callable[[Epoch], None] = lambda _: None
) -> TrainedModel:
    """Train a tower: the epoch with the best validation MRR, and the mix that serves the validation users best.

    A tenth of the users is set aside to choose by. Where that is too few, a third is, in a trial, and everybody is
    trained on afterwards with what was chosen. Where a third is too few too, nothing is chosen and the training users
    are measured.

    Parameters
    ----------
    halved
        The users to train on, with at least one halving.
    settings
        How to train. The same data and settings give the same weights, up to how the processor rounds.
    progress
        Hears each epoch of the history.

    Raises
    ------
    TrainingError
        If fewer than two users have two halves, or an embedding or a loss is not finite.
    """
    _check(halved)
    split = _Split.of(halved, settings)
    with torch.random.fork_rng(devices=[]), _one_thread():
        trial = fit(halved, split.training, split.validation, settings, progress)
        choice = choose_model(trial, halved, split.validation, split.training, settings)
        asked, shown = (choice.model.encode(half.take(split.watched), halved.catalogue) for half in halved.judging)
        rest = halved.judging[1].take(np.setdiff1d(split.everybody, split.watched))
        validation = own_half(asked, np.concatenate([shown, choice.model.encode(rest, halved.catalogue)]))
        model = choice.model
        if split.refit:
            last = fit(halved, split.everybody, split.validation[:0], settings, progress, epochs=trial.epochs)
            model = _as_chosen(last, choice.mix, choice.model, halved, split.everybody, settings)
        vectors = model.encode(halved.whole.take(split.everybody), halved.catalogue)
        scale = ScoreScale.fit(vectors, asked, shown, halved.judging[0].tracks[split.watched])
    metrics = {
        **{f"validation_{name}": value for name, value in validation.items()},
        **{f"mix_{name}": float(value) for name, value in asdict(choice.mix).items()},
        "components": float(0 if model.components is None else model.components.axes.shape[1]),
        "random_pair_cosine": random_pair_cosine(vectors, np.random.default_rng(settings.seed)),
        "training_users": float(len(split.everybody if split.refit else split.training)),
        "validation_users": float(len(split.validation)),
    }
    return TrainedModel(replace(model, scale=scale), trial.history, metrics)


def _as_chosen(
    fitted: Fitted, mix: Mix, chosen: UserModel, halved: Halved, training: np.ndarray, settings: TrainingSettings
) -> UserModel:
    model = with_mix(fitted, mix)
    return model if chosen.components is None else with_components(model, halved, training, settings)


def random_pair_cosine(vectors: np.ndarray, rng: np.random.Generator, pairs: int = 20_000) -> float:
    """Return the mean cosine of random pairs of unit vectors; near 1 when training has collapsed."""
    first, second = rng.integers(0, len(vectors), (2, pairs))
    different = first != second
    return float((vectors[first[different]] * vectors[second[different]]).sum(axis=1).mean())


def _check(halved: Halved) -> None:
    usable = int(halved.usable.sum())
    if usable < 2:
        raise TrainingError(
            f"{usable} of {len(halved)} users have listening that can be split in two; training needs at least 2. "
            "Add users: spotify-dag run --source …"
        )
    for number, name in enumerate(EMBEDDINGS):
        sides = [halved.whole, *(side for pair in halved.halves for side in pair)]
        if not all(np.isfinite(side.embeddings[number]).all() for side in sides):
            raise TrainingError(
                f"Column '{name}' holds a number that is not finite; check the encoder (SPOTIFY_DAG_ENCODER)."
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one processor thread meanwhile.

    The matrices are small: threads spend their time waiting for each other. On two busy cores HetRec trains in 10 s on
    one thread and 32 s on two. The weights are then the same whatever the number of cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
