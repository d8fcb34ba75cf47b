"""What the cosine of two users is made of, chosen on users that are kept from training.

How much each block of the user vector says depends on the data. Halves of a list of plays share no artist, so broad
directions find a user's other half; playlists of one person share many, and the finest axes, near single artists, do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tower.factors import unit
from spotify_dag.tower.metrics import answers

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Mix:
    """Weights of the blocks of a user vector; the cosine of two users is the weighted mean of their cosines."""

    anchor: float = 1.0
    """Of the anchor, against the learned 1, like all of them."""
    factors: float = 1.0
    """Of folded-in artist factors."""
    axes: float = 2.0
    """Of the latent axes."""
    kept: int = 128
    """So many latent axes are looked at."""
    power: float = 0.0
    """And small ones are raised by their strength to minus this."""

    def weigh_axes(self, axes: np.ndarray, strengths: np.ndarray) -> np.ndarray:
        """Return where users lie by the axes of this mix, ``[users, kept]`` float32: rows of unit length, or zero.

        Parameters
        ----------
        axes
            ``[users, dim]`` float32: where they lie by all latent axes, as they come.
        strengths
            ``[dim]`` float32: of these axes.
        """
        return unit(axes[:, : self.kept] / strengths[: self.kept] ** self.power)


DEFAULT_MIX = Mix()
NETWORK_ALONE = Mix(anchor=0.0, factors=0.0, axes=0.0, kept=0)
_AXES = ((128, 0.0), (128, 0.5), (256, 0.5), (256, 1.0))
_GRID = list(product(enumerate(_AXES), enumerate((2.0, 1.0, 4.0, 8.0, 16.0, 0.5)), enumerate((1.0, 0.5))))
MIXES = tuple(
    Mix(anchor=anchor, axes=weight, kept=kept, power=power)
    for (_, (kept, power)), (_, weight), (_, anchor) in sorted(
        _GRID, key=lambda choice: choice[0][0] + choice[1][0] + 3 * choice[2][0]
    )
)
"""Mixes to choose from, those first that are to be had where the data does not tell: what friends share, which training
cannot see, is best kept by the anchor and few, broad axes."""
USEFULNESS = 4.0
"""A neighbourhood that is 1 % more useful (NDCG) makes up for own halves found 4 % less well (MRR)."""


@dataclass(frozen=True)
class Blocks:
    """Users as the blocks of their vectors, each ``[users, dim]``; ``axes`` with all latent axes, as they come."""

    learned: np.ndarray
    anchor: np.ndarray
    factors: np.ndarray
    axes: np.ndarray


@dataclass(frozen=True)
class Panel:
    """Users who ask and users who answer: ways to compare users are tried on them. As `metrics.answers` takes them."""

    own: np.ndarray
    asked: csr_matrix
    targets: csr_matrix
    libraries: csr_matrix

    def judge(self, cosines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how well ``[asking, answering]`` cosines serve each who asks: reciprocal rank of the own half, NDCG.

        The cosines are written to.
        """
        answered = answers(lambda rows: cosines[rows], self.own, self.asked, self.targets, self.libraries)
        return 1 / answered.rank, np.nan_to_num(answered.ndcg)


def preferred(judged: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    """Return the number of the first of several ways to compare users that is not told from the best one.

    Of two, the better one finds users' own halves (reciprocal rank) and has useful neighbours (NDCG@20), the latter
    counted `USEFULNESS` times. One that is within a standard error of the best, user by user, is as good (Breiman et
    al. 1984).

    Parameters
    ----------
    judged
        What a `Panel` says of each, the preferred ones first.
    """
    rank, use = (np.stack(side) for side in zip(*judged, strict=True))
    value = rank / max(rank[0].mean(), 1e-9) + USEFULNESS * use / max(use[0].mean(), 1e-9)
    lost = value[int(np.argmax(value.mean(axis=1)))] - value
    error = lost.std(axis=1, ddof=1) / np.sqrt(lost.shape[1])
    return int(np.flatnonzero(lost.mean(axis=1) <= error)[0])


class MixedCosines:
    """Cosines of users by any mix of their blocks; what mixes have in common is computed once.

    Parameters
    ----------
    first, second
        Halves of listening: of those who ask, and of those who answer.
    strengths
        Of all latent axes.
    """

    def __init__(self, first: Blocks, second: Blocks, strengths: np.ndarray) -> None:
        self._sides, self._strengths = (first, second), strengths
        names = ("learned", "anchor", "factors")
        self._plain = {name: _inner(*(getattr(side, name) for side in self._sides)) for name in names}
        self._by_axes: dict[tuple[int, float], _Inner] = {}

    def __call__(self, mix: Mix) -> np.ndarray:
        """Return the cosines of those who ask with those who answer, ``[asking, answering]``."""
        kind = (mix.kept, mix.power)
        if kind not in self._by_axes:
            self._by_axes[kind] = _inner(*(mix.weigh_axes(side.axes, self._strengths) for side in self._sides))
        weighed = [
            (1.0, self._plain["learned"]), (mix.anchor, self._plain["anchor"]), (mix.factors, self._plain["factors"]),
            (mix.axes, self._by_axes[kind]),
        ]  # fmt: skip
        total = sum(weight * cosines for weight, (cosines, _) in weighed)
        norms = [np.sqrt(sum(weight * lengths[side] for weight, (_, lengths) in weighed)) for side in (0, 1)]
        return total / np.outer(*norms)


def choose(first: Blocks, second: Blocks, panel: Panel, strengths: np.ndarray, mixes: Sequence[Mix]) -> Mix:
    """Return the `preferred` one of ``mixes``.

    Parameters
    ----------
    first, second, strengths
        As `MixedCosines` takes them.
    panel
        These users.
    mixes
        What to choose from, the preferred ones first.
    """
    cosines = MixedCosines(first, second, strengths)
    return mixes[preferred([panel.judge(cosines(mix)) for mix in mixes])]


_Inner = tuple[np.ndarray, list[np.ndarray]]


def _inner(first: np.ndarray, second: np.ndarray) -> _Inner:
    """Return inner products of rows, ``[first, second]``, and the squared length of each row of both sides."""
    return first @ second.T, [(side**2).sum(axis=1) for side in (first, second)]
