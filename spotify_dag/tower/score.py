"""A score people can read: how unusual a likeness is, and how far the data of two users can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

PAIRS = 400_000
# Dense towards the top, where matches are: one in 100,000 random pairs is still told from one in 1,000.
SHARES = np.concatenate([np.linspace(0, 0.99, 100), 1 - np.logspace(-2, -5, 61)[1:]])
"""Shares of random pairs at which `ScoreScale.cosines` stand."""


@dataclass(frozen=True)
class ScoreScale:
    """What cosines of one model version mean.

    Parameters
    ----------
    cosines
        ``[len(SHARES)]`` float32: the cosine below which that share of random pairs of users lies.
    trust_at
        Number of playlist items at which half of a user vector is signal.
    """

    cosines: np.ndarray
    trust_at: float

    @classmethod
    def fit(
        cls, vectors: np.ndarray, first: np.ndarray, second: np.ndarray, tracks: np.ndarray, seed: int = 0
    ) -> ScoreScale:
        """Measure the scale on users.

        Parameters
        ----------
        vectors
            ``[users, dim]`` unit vectors of whole users.
        first, second
            ``[held-out users, dim]`` unit vectors of the halves of users' listening.
        tracks
            ``[held-out users]``: number of items in a half.

        Notes
        -----
        A vector from n items is signal to the share n / (n + trust_at) (Spearman 1910, Brown 1910); so likely the
        halves of one user agree, above what random pairs do. ``trust_at`` is the least-squares fit of that.
        """
        rng = np.random.default_rng(seed)
        pairs = rng.integers(0, len(vectors), (2, PAIRS))
        pairs = pairs[:, pairs[0] != pairs[1]]
        cosines = np.concatenate(
            [
                (vectors[part[0]] * vectors[part[1]]).sum(axis=1)
                for part in np.array_split(pairs, max(pairs.shape[1] // 20_000, 1), axis=1)
            ]
        )
        if not len(cosines):
            cosines = np.zeros(1)
        chance = cosines.mean()
        agreement = np.clip(((first * second).sum(axis=1) - chance) / max(1 - chance, 1e-6), 0, 1)
        # A grid over all sane values: one number, no local minimum to fall into.
        grid = np.logspace(-1, 3, 161)
        error = [((agreement - tracks / (tracks + value)) ** 2).sum() for value in grid]
        return cls(np.quantile(cosines, SHARES).astype(np.float32), float(grid[int(np.argmin(error))]))

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"cosines": self.cosines.tolist(), "trust_at": self.trust_at}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ScoreScale:
        """Return the scale that `as_dict` was taken from."""
        return cls(np.asarray(values["cosines"], np.float32), values["trust_at"])

    def percent(self, cosine: np.ndarray | float) -> np.ndarray:
        """Return the percentage of random pairs of users that are less alike than ``cosine``, 0 to 100."""
        with_one, shares = np.append(self.cosines, 1.0), np.append(SHARES, 1.0)
        return 100 * np.interp(cosine, np.maximum.accumulate(with_one), shares)

    def confidence(self, tracks: np.ndarray | int, others: np.ndarray | int) -> np.ndarray:
        """Return how far a score can be trusted, 0 to 1: the correlation of measured with true likeness.

        Parameters
        ----------
        tracks, others
            Numbers of playlist items of the two users.

        Notes
        -----
        The square root of the product of both reliabilities (correction for attenuation: Spearman 1904).
        """
        reliability = [np.asarray(number) / (np.asarray(number) + self.trust_at) for number in (tracks, others)]
        return np.sqrt(reliability[0] * reliability[1])
