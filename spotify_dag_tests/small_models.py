"""Models small enough to make by the dozen, of users drawn at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.sparse import random_array

from spotify_dag.features.embeddings import RELEASE_YEAR_DIM
from spotify_dag.tower.factors import FactorSettings, Vocabulary
from spotify_dag.tower.inputs import STATISTICS, Catalogue, Listening
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.tower.mix import Mix
from spotify_dag.tower.parts import PartMap
from spotify_dag.tower.score import SHARES, ScoreScale
from spotify_dag.tower.tower_model import UserModel, UserTower

WIDTH = 8
SAME_COSINE = 1 - 1e-6
"""Two vectors above this cosine are the same one. A processor decides in which order terms are summed, and some look at
where in memory the numbers lie: sums in single precision differ by 3e-7."""
ARTISTS, GENRES = 30, 12
MIX = Mix(anchor=0.5, factors=0.8, axes=2.0, kept=6, power=0.5)


def small_users(users: int = 40, seed: int = 0) -> tuple[Listening, Catalogue]:
    """Return users with random embeddings and tastes; some lack an embedding or a statistic."""
    rng = np.random.default_rng(seed)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def shares(names: int) -> object:
        return random_array((users, names), density=0.3, format="csr", dtype=np.float32, random_state=rng)

    known = rng.random((users, 4)) < 0.8
    parts = [numbers(users, WIDTH) for _ in range(3)] + [numbers(users, RELEASE_YEAR_DIM)]
    statistics = np.where(rng.random((users, len(STATISTICS))) < 0.8, numbers(users, len(STATISTICS)), np.nan)
    listening = Listening(
        tuple(part * known[:, number : number + 1] for number, part in enumerate(parts)), known,
        statistics.astype(np.float32), shares(ARTISTS), shares(GENRES), rng.integers(1, 100, users),
    )  # fmt: skip
    artists = Vocabulary([f"artist {number}" for number in range(ARTISTS)], numbers(ARTISTS, 2 * WIDTH))
    genres = Vocabulary([f"genre {number}" for number in range(GENRES)], numbers(GENRES, WIDTH))
    return listening, Catalogue(artists, genres)


def assert_same_vectors(found: np.ndarray, expected: np.ndarray) -> None:
    """Assert that each row of unit vectors is, up to rounding, the one expected."""
    assert found.shape == expected.shape
    assert (found.astype(np.float64) * expected).sum(axis=1).min() > SAME_COSINE


def small_model(seed: int) -> UserModel:
    """Return a model that no training made better: every weight of the network is drawn."""
    listening, catalogue = small_users()
    parts, _ = PartMap.fit(listening, catalogue, factors=FactorSettings(dim=4), axes=WIDTH, seed=seed)
    torch.manual_seed(seed)
    dims = [part.shape[1] for part in parts.over(catalogue)(listening).parts]
    tower = UserTower(dims, hidden=8, part_out=4, dim=4, anchor_dim=2, dropout=0.5, mix=MIX)
    with torch.no_grad():
        for tensor in tower.state_dict().values():
            tensor.normal_().abs_().add_(0.1)
    model = UserModel(parts, tower.eval(), ScoreScale(np.linspace(-1, 1, len(SHARES), dtype=np.float32), 5.0))
    components = KernelComponents.fit(model.encode(listening, catalogue), 10, 0.5)
    return replace(model, components=components, broad=0.4)
