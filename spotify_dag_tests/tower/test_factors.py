"""Factors: who listens to the same lies together, a new user is placed as if always there, a new name by its text."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.tower.factors import PREDICTED_CONFIDENCE, Factors, FactorSettings, Vocabulary, unit, with_fixed_signs

BLOCKS, PER_BLOCK, USERS = 4, 12, 120
SETTINGS = FactorSettings(dim=8)


def vocabulary() -> Vocabulary:
    """Return names whose text tells their block, with some noise."""
    rng = np.random.default_rng(0)
    content = np.repeat(np.eye(BLOCKS), PER_BLOCK, axis=0) + 0.1 * rng.normal(size=(BLOCKS * PER_BLOCK, BLOCKS))
    return Vocabulary([f"{block}-{n}" for block in range(BLOCKS) for n in range(PER_BLOCK)], content.astype(np.float32))


def some_shares(seed: int = 1, unheard: int = 2) -> csr_matrix:
    """Return users who each listen to five names of a block; nobody to the last ``unheard`` names of any."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((USERS, BLOCKS * PER_BLOCK), np.float32)
    for user in range(USERS):
        chosen = rng.choice(PER_BLOCK - unheard, 5, replace=False) + PER_BLOCK * (user % BLOCKS)
        dense[user, chosen] = rng.dirichlet(np.ones(5))
    return csr_matrix(dense)


@pytest.fixture(scope="module")
def factors() -> Factors:
    return Factors.fit(some_shares(), vocabulary(), SETTINGS)


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return unit(first) @ unit(second).T


BLOCK = np.repeat(np.arange(BLOCKS), PER_BLOCK)
UNHEARD = np.flatnonzero(np.arange(BLOCKS * PER_BLOCK) % PER_BLOCK >= PER_BLOCK - 2)


class TestFit:
    def test_only_names_that_somebody_listens_to_are_learned(self, factors: Factors) -> None:
        heard = np.setdiff1d(np.arange(BLOCKS * PER_BLOCK), UNHEARD)
        assert list(factors.names) == [vocabulary().names[number] for number in heard]
        assert factors.vectors.shape == (40, 8)
        assert factors.n_users == USERS
        assert factors.users.tolist() == np.diff(some_shares().tocsc().indptr)[heard].tolist()
        assert factors.gram == pytest.approx(factors.vectors.T @ factors.vectors, rel=1e-4)

    def test_names_of_one_block_lie_together(self, factors: Factors) -> None:
        block = np.array([int(name[0]) for name in factors.names])
        likeness = cosine(factors.vectors, factors.vectors)
        same = block[:, None] == block
        # Eight dimensions leave room to tell names of one block apart, but none for blocks to meet.
        assert likeness[same].mean() > 0.4
        assert np.abs(likeness[~same]).mean() < 0.2

    def test_the_same_matrix_and_seed_give_the_same_factors(self, factors: Factors) -> None:
        again = Factors.fit(some_shares(), vocabulary(), SETTINGS)
        assert again.vectors == pytest.approx(factors.vectors, abs=1e-5)
        assert again.from_text == pytest.approx(factors.from_text, abs=1e-5)
        assert not np.allclose(Factors.fit(some_shares(), vocabulary(), SETTINGS, seed=1).vectors, factors.vectors)

    def test_nobody_listens_to_anything(self) -> None:
        empty = Factors.fit(csr_matrix((3, BLOCKS * PER_BLOCK), dtype=np.float32), vocabulary(), SETTINGS)
        assert empty.vectors.shape == (0, 8)
        loadings = empty.over(vocabulary())
        assert not loadings.vectors.any()
        assert np.isfinite([*loadings.popularity, *loadings.confidence]).all()
        assert not empty.fold_in(some_shares(), loadings).any()


class TestOver:
    def test_in_the_order_of_any_vocabulary(self, factors: Factors) -> None:
        names = vocabulary()
        order = np.random.default_rng(2).permutation(len(names.names))[:30]
        some = Vocabulary([names.names[number] for number in order], names.content[order])
        whole, part = factors.over(names), factors.over(some)
        for field in dataclasses.fields(whole):
            assert np.array_equal(getattr(part, field.name), getattr(whole, field.name)[order]), field.name

    def test_a_name_nobody_listens_to_is_placed_by_its_text_near_its_like(self, factors: Factors) -> None:
        loadings = factors.over(vocabulary())
        assert np.flatnonzero(~loadings.known).tolist() == UNHEARD.tolist()
        assert np.linalg.norm(loadings.vectors[UNHEARD], axis=1).min() > 0.1
        likeness = cosine(loadings.vectors[UNHEARD], loadings.vectors[loadings.known])
        same = BLOCK[UNHEARD][:, None] == BLOCK[loadings.known]
        assert likeness[same].min() > likeness[~same].max()
        assert likeness[same].mean() > likeness[~same].mean() + 0.5

    def test_popularity_is_the_log_of_the_share_of_users(self, factors: Factors) -> None:
        loadings = factors.over(vocabulary())
        users = np.diff(some_shares().tocsc().indptr)
        assert loadings.popularity == pytest.approx(np.log((users + 0.5) / (USERS + 0.5)), rel=1e-5)

    def test_rare_names_count_more_and_predicted_ones_little(self, factors: Factors) -> None:
        loadings = factors.over(vocabulary())
        users = np.diff(some_shares().tocsc().indptr)
        expected = np.sqrt(np.log((1 + USERS) / (1 + users)) / factors.typical_idf)
        assert loadings.confidence[loadings.known] == pytest.approx(expected[loadings.known], rel=1e-5)
        assert loadings.confidence[UNHEARD] == pytest.approx(PREDICTED_CONFIDENCE * expected[UNHEARD], rel=1e-5)
        listened = np.average(expected[loadings.known] ** 2, weights=users[loadings.known])
        assert listened == pytest.approx(1, rel=1e-4)

    def test_by_text_alone_every_name_is_new(self, factors: Factors) -> None:
        loadings = factors.over(vocabulary(), by_name=False)
        assert not loadings.known.any()
        assert loadings.vectors == pytest.approx(vocabulary().content @ factors.from_text, abs=1e-6)


class TestFoldIn:
    def test_it_is_the_least_squares_of_the_paper(self, factors: Factors) -> None:
        shares, loadings = some_shares(seed=7), factors.over(vocabulary())
        found = factors.fold_in(shares, loadings)
        for user in (0, 50, 119):
            row = shares[user]
            names = loadings.vectors[row.indices].astype(np.float64)
            # implicit takes alpha times the value as the confidence in a name, and 1 in all others.
            confidence = SETTINGS.alpha * row.data * row.nnz * loadings.confidence[row.indices]
            left = factors.gram + names.T @ ((confidence - 1)[:, None] * names) + SETTINGS.ridge * np.eye(8)
            expected = np.linalg.solve(left, names.T @ confidence)
            assert found[user] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-3)

    def test_a_user_alone_is_placed_as_among_others(self, factors: Factors) -> None:
        shares, loadings = some_shares(seed=7), factors.over(vocabulary())
        together = factors.fold_in(shares, loadings)
        for user in range(0, USERS, 17):
            assert factors.fold_in(shares[user], loadings)[0] == pytest.approx(together[user], abs=1e-5)

    def test_and_whatever_vocabulary_comes_along(self, factors: Factors) -> None:
        shares, names = some_shares(seed=7), vocabulary()
        together = factors.fold_in(shares, factors.over(names))
        for user in range(0, USERS, 17):
            own = shares[user].indices
            small = Vocabulary([names.names[number] for number in own], names.content[own])
            alone = factors.fold_in(csr_matrix(shares[user].toarray()[:, own]), factors.over(small))
            assert alone[0] == pytest.approx(together[user], abs=1e-5)

    def test_new_users_lie_with_their_block(self, factors: Factors) -> None:
        found = factors.fold_in(some_shares(seed=7), factors.over(vocabulary()))
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(USERS), abs=1e-5)
        block = np.arange(USERS) % BLOCKS
        same = block[:, None] == block
        likeness = found @ found.T
        assert likeness[same].mean() > likeness[~same].mean() + 0.5

    def test_a_user_of_new_names_only_lies_there_too(self, factors: Factors) -> None:
        loadings = factors.over(vocabulary())
        dense = np.zeros((BLOCKS, BLOCKS * PER_BLOCK), np.float32)
        for number in UNHEARD:
            dense[BLOCK[number], number] = 0.5
        new = factors.fold_in(csr_matrix(dense), loadings)
        known = factors.fold_in(some_shares(seed=7), loadings)
        nearest = np.argsort(-(new @ known.T), axis=1)[:, :10]
        assert (nearest % BLOCKS == np.arange(BLOCKS)[:, None]).all()

    def test_a_user_without_any_name_is_nowhere(self, factors: Factors) -> None:
        nothing = csr_matrix((2, BLOCKS * PER_BLOCK), dtype=np.float32)
        assert not factors.fold_in(nothing, factors.over(vocabulary())).any()


class TestAligned:
    def test_a_turned_fit_is_turned_back(self, factors: Factors) -> None:
        turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))
        turn = turn.astype(np.float32)
        turned = dataclasses.replace(
            factors, vectors=factors.vectors @ turn, gram=turn.T @ factors.gram @ turn,
            from_text=factors.from_text @ turn,
        )  # fmt: skip
        back = turned.aligned(factors)
        assert back.vectors == pytest.approx(factors.vectors, abs=1e-4)
        assert back.gram == pytest.approx(factors.gram, abs=1e-3)
        assert back.from_text == pytest.approx(factors.from_text, abs=1e-4)

    def test_only_the_axes_change(self, factors: Factors) -> None:
        other = Factors.fit(some_shares(seed=8), vocabulary(), SETTINGS, seed=8)
        aligned = other.aligned(factors)
        assert aligned.vectors @ aligned.vectors.T == pytest.approx(other.vectors @ other.vectors.T, abs=1e-3)
        shares, names = some_shares(seed=9), vocabulary()
        before, after = (one.fold_in(shares, one.over(names)) for one in (other, aligned))
        assert after @ after.T == pytest.approx(before @ before.T, abs=1e-3)
        assert np.square(aligned.vectors - factors.vectors).sum() < np.square(other.vectors - factors.vectors).sum()

    def test_nothing_in_common(self, factors: Factors) -> None:
        none = dataclasses.replace(factors, names=[f"other {name}" for name in factors.names])
        aligned = none.aligned(factors)
        assert np.linalg.norm(aligned.vectors, axis=1) == pytest.approx(
            np.linalg.norm(factors.vectors, axis=1), rel=1e-4
        )


def test_unit_leaves_zero_at_zero() -> None:
    assert unit(np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_signs_of_eigenvectors_are_fixed() -> None:
    directions = np.array([[0.6, 0.7071068, -0.1], [-0.8, -0.7071067, 0.2]], np.float32)
    expected = [[-0.6, 0.7071068, -0.1], [0.8, -0.7071067, 0.2]]
    for signs in ([1, 1, 1], [-1, 1, -1], [-1, -1, -1]):
        found = with_fixed_signs(directions * np.array(signs, np.float32))
        assert found == pytest.approx(np.array(expected))
        assert found.dtype == np.float32
    assert with_fixed_signs(np.empty((3, 0))).shape == (3, 0)
    assert with_fixed_signs(np.zeros((2, 2))).tolist() == [[0, 0], [0, 0]]
