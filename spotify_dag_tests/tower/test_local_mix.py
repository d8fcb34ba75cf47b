"""A few users choose the mix of weights that were given away, where another one is better beyond chance."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest

from spotify_dag.tower.factors import LatentAxes
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.tower.local_mix import HALVINGS, LEAST_USERS, LOCAL_MIXES, LocalChoice, better_than_first, choose_here
from spotify_dag.tower.metrics import own_half
from spotify_dag.tower.mix import MIXES, Blocks, Mix, MixedCosines
from spotify_dag.tower.score import SHARES
from spotify_dag.tower.tower_model import UserModel
from spotify_dag.tower.training import TrainedModel, train_tower
from spotify_dag.tower.views import Halved, UserData
from spotify_dag_tests.small_models import assert_same_vectors, small_model, small_users
from spotify_dag_tests.tower.worlds import QUICK

GIVING, CHOOSING = 60, 40
COARSE, FINE = Mix(axes=0.5, kept=16), LOCAL_MIXES[-1]


def mixed(model: UserModel, mix: Mix) -> UserModel:
    """Return a model with another mix."""
    tower = copy(model.tower)
    tower.mix = mix
    return replace(model, tower=tower)


@pytest.fixture(scope="module")
def users(world: UserData) -> Halved:
    return world.halved(HALVINGS, seed=3)


@pytest.fixture(scope="module")
def giver(users: Halved) -> TrainedModel:
    settings = replace(QUICK, components=0, mixes=(COARSE,))
    return train_tower(Halved(users.whole, users.halves[-2:], users.catalogue).take(np.arange(GIVING)), settings)


@pytest.fixture(scope="module")
def choice(giver: TrainedModel, users: Halved) -> LocalChoice:
    return choose_here(giver.model, users.take(np.arange(GIVING, GIVING + CHOOSING)))


def mrr(model: UserModel, users: Halved) -> float:
    first, second = users.judging
    return own_half(model.encode(first, users.catalogue), model.encode(second, users.catalogue))["mrr"]


@pytest.mark.medium
class TestChooseHere:
    def test_what_some_choose_serves_others(self, giver: TrainedModel, choice: LocalChoice, users: Halved) -> None:
        others = users.take(np.arange(GIVING + CHOOSING, len(users)))
        assert (choice.changed, choice.users) == (True, CHOOSING)
        assert choice.model.tower.mix in LOCAL_MIXES[1:]
        assert choice.mrr > choice.given_mrr + 0.05
        assert mrr(choice.model, others) > mrr(giver.model, others) + 0.05

    def test_the_model_that_was_given_stays_as_it_is(self, giver: TrainedModel, choice: LocalChoice) -> None:
        assert giver.model.tower.mix == COARSE
        assert choice.model.tower.absent is giver.model.tower.absent

    def test_scores_are_those_of_the_users_here(self, choice: LocalChoice, users: Halved) -> None:
        here = users.take(np.arange(GIVING, GIVING + CHOOSING))
        vectors = choice.model.encode(here.whole, users.catalogue)
        pairs = (vectors @ vectors.T)[np.triu_indices(CHOOSING, 1)]
        share = choice.model.scale.percent(np.quantile(pairs, [0.1, 0.5, 0.9]))
        np.testing.assert_allclose(share, [10, 50, 90], atol=1.5)

    def test_components_of_the_giver_leave_with_its_mix(self, giver: TrainedModel, users: Halved) -> None:
        landmarks = giver.model.encode(users.whole.take(np.arange(GIVING)), users.catalogue)
        given = replace(giver.model, components=KernelComponents.fit(landmarks, 16, 0.5), broad=0.5)
        choice = choose_here(given, users.take(np.arange(GIVING, GIVING + CHOOSING)))
        assert choice.changed
        assert (choice.model.components, choice.model.broad) == (None, 0.0)
        assert given.components is not None

    def test_a_mix_stays_that_no_other_is_better_than(self, giver: TrainedModel, users: Halved) -> None:
        given = mixed(giver.model, FINE)
        choice = choose_here(given, users.take(np.arange(GIVING, GIVING + CHOOSING)))
        assert (choice.model, choice.changed, choice.users) == (given, False, CHOOSING)
        assert choice.mrr == choice.given_mrr

    def test_few_users_choose_nothing(self, giver: TrainedModel, users: Halved) -> None:
        choice = choose_here(giver.model, users.take(np.arange(LEAST_USERS - 1)))
        assert (choice.model, choice.changed, choice.users) == (giver.model, False, LEAST_USERS - 1)
        assert np.isnan(choice.mrr)

    def test_weights_with_the_axes_of_one_mix_keep_it(self, giver: TrainedModel, users: Halved) -> None:
        given = older(mixed(giver.model, COARSE))
        choice = choose_here(given, users.take(np.arange(GIVING, GIVING + CHOOSING)))
        assert (choice.model, choice.changed) == (given, False)


def older(model: UserModel) -> UserModel:
    """Return a model as older versions made them: with the axes of its mix, weighed, and no others."""
    latent, mix = model.parts.latent, model.tower.mix
    strengths = latent.strengths[: mix.kept]
    vectors = latent.vectors[:, : mix.kept] / strengths**mix.power
    return replace(model, parts=replace(model.parts, latent=LatentAxes(latent.names, vectors, np.ones_like(strengths))))


@pytest.mark.parametrize("mix", [COARSE, Mix(axes=4.0, kept=8, power=0.5), FINE], ids=str)
def test_older_models_encode_as_they_did(mix: Mix) -> None:
    listening, catalogue = small_users()
    model = mixed(replace(small_model(0), components=None), mix)
    assert model.parts.latent.whole
    assert not older(model).parts.latent.whole
    assert_same_vectors(older(model).encode(listening, catalogue), model.encode(listening, catalogue))


@pytest.mark.parametrize("mix", [*LOCAL_MIXES, MIXES[0], COARSE], ids=str)
def test_cosines_by_a_mix_are_those_of_its_model(mix: Mix) -> None:
    (first, catalogue), model = small_users(30), mixed(replace(small_model(0), components=None), mix)
    inputs = model.parts.over(catalogue)(first)
    blocks = Blocks(*model.tower.blocks(inputs), inputs.factors, inputs.axes)
    vectors = model.encode(first, catalogue)
    found = MixedCosines(blocks, blocks, model.parts.latent.strengths)(mix)
    np.testing.assert_allclose(found, vectors @ vectors.T, atol=2e-6)
    assert len(model.scale.cosines) == len(SHARES)


class TestBetterThanFirst:
    def test_by_a_table_of_the_t_distribution(self) -> None:
        # Gains of five users: mean 2, standard deviation 2.5 ** .5, so t = 2 / .5 ** .5 = 2.83. One-sided, with 4
        # degrees of freedom, t is 2.13 at 5 %, 2.78 at 2.5 % and 3.00 at 2 %.
        gains = np.array([0.0, 1, 2, 3, 4])
        none = np.zeros(5)
        assert better_than_first(np.stack([none, gains]), 0.05) == 1
        assert better_than_first(np.stack([none, gains]), 0.02) == 0
        assert better_than_first(np.stack([none, -gains, gains]), 0.05) == 2
        assert better_than_first(np.stack([none, none, -gains, gains]), 0.05) == 0

    def test_the_best_of_the_better_ones_is_taken_and_not_a_better_one_by_chance(self) -> None:
        steady, more = np.array([1.0, 1.1, 0.9, 1.0]), np.array([2.0, 2.1, 1.9, 2.0])
        lucky = np.array([40.0, 0.0, 0.0, 0.0])
        assert better_than_first(np.stack([np.zeros(4), steady, more, lucky]), 0.05) == 2

    def test_ways_that_differ_by_chance_alone_are_rarely_better(self) -> None:
        rng = np.random.default_rng(0)
        picked = [better_than_first(rng.normal(size=(5, 50)), 0.05) for _ in range(400)]
        # 400 draws at 5 %: 20 expected, and 33 with three standard deviations.
        assert 0 < np.count_nonzero(picked) <= 33

    def test_one_way_alone_is_taken(self) -> None:
        assert better_than_first(np.ones((1, 9)), 0.05) == 0
