"""The two systems this project grew out of, as their code describes them and with their labels put right.

Only ``spotify-dag evaluate`` loads this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from spotify_dag.tower.evaluation import Encoders, Fit, Sample, Training
from spotify_dag.tower.factors import unit
from spotify_dag.tower.hyperparameters import SEED_PRESET
from spotify_dag.tower.user_baselines import tower
from spotify_dag.tower.views import Halved

PAIRS = 20_000
"""Pairs of users labelled alike, at most: there are as many as users squared."""
ALIKE = 0.8
"""Cosine of concatenated embeddings above which two users are labelled alike (``similarity_threshold``)."""
WIDTHS = (256, 128, 128)
EPOCHS, BATCH, LEARNING_RATE, DROPOUT = 10, 32, 1e-3, 0.2
TRAINING_SHARE = 0.8
CHUNK = 20_000


def seed_systems() -> dict[str, Fit]:
    """Return the seed systems by name."""
    return {
        "seed three towers": tower(SEED_PRESET),
        "seed three towers (labels fixed)": tower(replace(SEED_PRESET, loss="cosine")),
        "seed two towers": partial(_fit_pair_towers, pairs=_pairs_by_threshold),
        "seed two towers (labels fixed)": partial(_fit_pair_towers, pairs=_pairs_of_halves),
    }


Pairs = Callable[[Halved, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Of users, their ``[users, width]`` concatenated embeddings and a generator: two aligned sides of pairs labelled 1."""


def _fit_pair_towers(training: Training, *, pairs: Pairs) -> Encoders:
    """Train a user and a candidate tower on pairs labelled alike, and as many random ones labelled unlike.

    Binary cross-entropy on the cosine of both towers, Adam, the last fifth of the pairs held out.
    """
    rng = np.random.default_rng(training.seed)
    whole = _concatenated(training.users.whole.embeddings)
    first, second = pairs(training.users, whole, rng)
    random = whole[rng.integers(0, len(whole), len(first))]
    order = rng.permutation(2 * len(first))
    asked = np.concatenate([first, first])[order]
    shown = np.concatenate([second, random])[order]
    label = np.repeat(np.array([1, 0], np.float32), len(first))[order]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        towers = [_network(whole.shape[1]) for _ in range(2)]
        _train(towers, (asked, shown, label), int(len(order) * TRAINING_SHARE))
    return Encoders(_encoder(towers[0]), _encoder(towers[1]))


def _pairs_by_threshold(_users: Halved, whole: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return random pairs of users whose cosine is above `ALIKE`."""
    drawn = rng.integers(0, len(whole), (2, 20 * PAIRS))
    drawn = drawn[:, drawn[0] != drawn[1]]
    chunks = np.array_split(drawn, max(1, drawn.shape[1] // CHUNK), axis=1)
    alike = np.concatenate([(whole[a] * whole[b]).sum(axis=1) > ALIKE for a, b in chunks])
    positive = drawn[:, alike][:, :PAIRS]
    return whole[positive[0]], whole[positive[1]]


def _pairs_of_halves(users: Halved, _whole: np.ndarray, _rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the two halves of each user, of one halving after the other."""
    sides = [tuple(_concatenated(half.embeddings) for half in pair) for pair in users.halves]
    first, second = (np.concatenate([pair[side] for pair in sides])[:PAIRS] for side in (0, 1))
    return first, second


def _network(width: int) -> nn.Module:
    hidden, middle, out = WIDTHS
    return nn.Sequential(
        nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(hidden, middle), nn.ReLU(),
        nn.Linear(middle, out),
    )  # fmt: skip


def _train(towers: Sequence[nn.Module], pairs: Sequence[np.ndarray], count: int) -> None:
    """Train both towers on the first ``count`` of asked, shown and labels."""
    optimiser = torch.optim.Adam([weight for network in towers for weight in network.parameters()], lr=LEARNING_RATE)
    asked, shown, label = (torch.from_numpy(np.ascontiguousarray(side[:count])) for side in pairs)
    for _ in range(EPOCHS):
        for rows in torch.randperm(count).split(BATCH):
            cosine = nn.functional.cosine_similarity(towers[0](asked[rows]), towers[1](shown[rows]))
            loss = nn.functional.binary_cross_entropy(cosine.clamp(1e-7, 1 - 1e-7), label[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()


def _encoder(network: nn.Module) -> Callable[[Sample], np.ndarray]:
    network.eval()

    def encode(sample: Sample) -> np.ndarray:
        with torch.inference_mode():
            return unit(network(torch.from_numpy(_concatenated(sample.listening.embeddings))).numpy())

    return encode


def _concatenated(embeddings: tuple[np.ndarray, ...]) -> np.ndarray:
    return unit(np.hstack(embeddings))
