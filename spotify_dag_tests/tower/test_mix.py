"""The mix that is chosen is the one with which users find themselves and useful neighbours, where that can be told."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from spotify_dag.tower.factors import unit
from spotify_dag.tower.mix import MIXES, NETWORK_ALONE, Blocks, Mix, Panel, choose

USERS, AXES = 120, 256
STRENGTHS = np.geomspace(1, 0.05, AXES).astype(np.float32)


def users(*, telling: str, noise: float = 0.5) -> tuple[Blocks, Blocks, csr_matrix]:
    """Return halves of users who are alike in one block only, and what they listen to: what eleven others do too."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(USERS // 12), 12)
    own = {"learned": 16, "anchor": 16, "factors": 16, "axes": AXES}

    def block(name: str, shared: np.ndarray) -> np.ndarray:
        drawn = rng.normal(size=shared.shape)
        values = shared + noise * drawn if name == telling else drawn
        return unit(values * (STRENGTHS if name == "axes" else 1))

    truth = {
        name: rng.normal(size=(USERS // 12, dim))[group] / 2 + rng.normal(size=(USERS, dim))
        for name, dim in own.items()
    }
    first, second = (Blocks(**{name: block(name, truth[name]) for name in own}) for _ in range(2))
    artists = np.zeros((USERS, 20 * USERS // 12), np.float32)
    for user in range(USERS):
        artists[user, 20 * group[user] + rng.permutation(20)[:10]] = 1
    return first, second, csr_matrix(artists)


def chosen(telling: str, mixes: tuple[Mix, ...] = MIXES, **more: float) -> Mix:
    first, second, artists = users(telling=telling, **more)
    halves = artists.copy(), artists.copy()
    for side, half in enumerate(halves):
        half.data = np.where(np.arange(half.nnz) % 2 == side, half.data, 0).astype(np.float32)
        half.eliminate_zeros()
    return choose(first, second, Panel(np.arange(USERS), *halves, artists), STRENGTHS, mixes)


def test_axes_that_tell_weigh_much_down_to_the_smallest() -> None:
    mix = chosen("axes", noise=1.0)
    assert (mix.kept, mix.power) == (256, 1.0)
    assert mix.axes >= 8


def test_axes_that_do_not_tell_weigh_little() -> None:
    assert chosen("learned", noise=1.5).axes <= MIXES[0].axes


def test_an_anchor_that_tells_stays_and_one_that_does_not_weighs_less() -> None:
    assert chosen("anchor", noise=1.5).anchor == 1.0
    assert chosen("learned", noise=1.5).anchor == 0.5


def test_where_all_find_everybody_the_preferred_one_is_taken() -> None:
    first, _, artists = users(telling="axes", noise=0.0)
    panel = Panel(np.arange(USERS), artists, artists, artists)
    assert choose(first, first, panel, STRENGTHS, MIXES) == MIXES[0]


def test_it_is_one_of_those_offered() -> None:
    assert chosen("axes", (NETWORK_ALONE, Mix(axes=1.0))) == Mix(axes=1.0)
    assert len(set(MIXES)) == len(MIXES)
