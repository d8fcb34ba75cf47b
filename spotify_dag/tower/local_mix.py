"""Choose the mix of weights that were given away, on users of the base that takes them.

The giver cannot know it: halves of one list share few artists, playlists of one person share many (`tower.mix`). A few
dozen users of the base can tell. They are too few to name the best of many mixes. So there are few to choose from, and
the giver's mix stays unless another one is better beyond chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tower.inputs import Listening
from spotify_dag.tower.metrics import ranks
from spotify_dag.tower.mix import Blocks, Mix, MixedCosines
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.views import By, Halved

if TYPE_CHECKING:
    from spotify_dag.tower.tower_model import UserModel

LEAST_USERS, MOST_USERS = 20, 500
"""Choosing takes at least so many users, and asks at most so many."""
HALVINGS: tuple[By, ...] = ("playlist",) * 8
"""Of each user, each drawn anew: what one halving says of a user is mostly chance."""
ERROR = 0.05
"""Where no mix is better than the giver's, one is taken for better with at most this probability."""
LOCAL_MIXES = (
    Mix(axes=0.5, kept=128, power=0.0),
    Mix(axes=16.0, kept=256, power=0.5),
    Mix(axes=16.0, kept=256, power=0.75),
    Mix(axes=16.0, kept=256, power=1.0),
)
"""The mixes beside the giver's: one that is coarser than most, then nearly nothing but axes, down to single artists."""


@dataclass(frozen=True)
class LocalChoice:
    """What users of a base made of weights that were given away."""

    model: UserModel
    users: int
    """Who could choose; fewer than `LEAST_USERS` chose nothing."""
    given_mrr: float
    """Mean reciprocal rank of these users' own halves by the giver's mix; NaN where nobody chose."""
    mrr: float
    """The same by the mix of ``model``. It flatters: the mix was chosen by it."""
    changed: bool
    """Whether the mix is another than the giver's."""


def choose_here(given: UserModel, halved: Halved) -> LocalChoice:
    """Return the model with the mix that users of this base find themselves by, the giver's unless another is better.

    Only how well own halves are found is asked. Among so few users everybody is a neighbour of everybody: how useful
    neighbours are here says nothing of how useful they will be.

    Components of the giver belong to the giver's mix: with another one the model has none. Its score scale is then
    that of these users.

    Parameters
    ----------
    given
        The model as it was given away.
    halved
        Users of this base, with `HALVINGS`.
    """
    asking = halved.take(np.flatnonzero(halved.usable))
    if len(asking) < LEAST_USERS:
        return LocalChoice(given, len(asking), np.nan, np.nan, changed=False)
    mixes = [mix for mix in LOCAL_MIXES if _can_be_mixed(given, mix)]
    judged = np.mean([_reciprocal_ranks(given, mixes, *halves, asking) for halves in asking.halves], axis=0)
    chosen = better_than_first(judged, ERROR)
    mrr = judged.mean(axis=1)
    model = given if chosen == 0 else _with_mix(given, mixes[chosen - 1], asking)
    return LocalChoice(model, len(asking), float(mrr[0]), float(mrr[chosen]), changed=chosen > 0)


def better_than_first(judged: np.ndarray, error: float) -> int:
    """Return the number of the best one of those that are better than the first beyond chance; 0 where none is.

    Each is compared with the first by a one-sided paired t test (Student 1908), at the level ``error`` over their
    number (Bonferroni's inequality: Dunn 1961).

    Parameters
    ----------
    judged
        ``[ways, users]``: how well each way serves each user.
    error
        Probability, at most, of another number than 0 where no way is better than the first.
    """
    from scipy.stats import t as student

    ways, users = judged.shape
    if ways < 2:
        return 0
    gained = judged - judged[0]
    least = student.ppf(1 - error / (ways - 1), users - 1) * gained.std(axis=1, ddof=1) / np.sqrt(users)
    better = gained.mean(axis=1) > least
    return int(np.argmax(np.where(better, judged.mean(axis=1), -np.inf))) if better.any() else 0


def _can_be_mixed(model: UserModel, mix: Mix) -> bool:
    """Return whether the model has the latent axes of a mix; those of older versions hold the axes of one mix only."""
    own = model.tower.mix
    return model.parts.latent.whole or (mix.kept, mix.power) == (own.kept, own.power)


def _reciprocal_ranks(
    model: UserModel, mixes: Sequence[Mix], first: Listening, second: Listening, users: Halved
) -> np.ndarray:
    """Return reciprocal ranks of own halves by the model and by each mix, ``[1 + mixes, users]``."""
    bound = model.parts.over(users.catalogue)

    def blocks(half: Listening) -> Blocks:
        inputs = bound(half)
        return Blocks(*model.tower.blocks(inputs), inputs.factors, inputs.axes)

    cosines = MixedCosines(blocks(first), blocks(second), model.parts.latent.strengths)
    as_given = model.encode(first, users.catalogue) @ model.encode(second, users.catalogue).T
    own = np.arange(len(users))
    return np.stack([1 / ranks(by, own) for by in (as_given, *map(cosines, mixes))])


def _with_mix(given: UserModel, mix: Mix, users: Halved) -> UserModel:
    tower = copy(given.tower)
    tower.mix = mix
    model = replace(given, tower=tower, components=None, broad=0.0)
    first, second = users.judging
    vectors, asked, shown = (model.encode(part, users.catalogue) for part in (users.whole, first, second))
    return replace(model, scale=ScoreScale.fit(vectors, asked, shown, first.tracks))
