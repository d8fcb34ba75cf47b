"""Kernel principal components: inner products are the squared cosine, then strong components are held back."""

from __future__ import annotations

import numpy as np
import pytest

from spotify_dag.tower.factors import unit
from spotify_dag.tower.kernel import LANDMARKS, KernelComponents, landmarks_of
from spotify_dag_tests.small_models import small_model, small_users


def users(count: int, seed: int = 0, dim: int = 12) -> np.ndarray:
    """Return unit vectors that all lean one way, as those of listeners do."""
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) + 0.4)


def test_of_landmarks_inner_products_are_squared_cosines() -> None:
    vectors = users(60)
    found = KernelComponents.fit(vectors, 60, 0.0).project(vectors)
    assert found @ found.T == pytest.approx(np.maximum(vectors @ vectors.T, 0) ** 2, abs=1e-4)


def test_of_others_they_are_near_them_the_nearer_the_more_components() -> None:
    vectors, others = users(400), users(50, seed=1)
    expected = np.maximum(others @ others.T, 0) ** 2
    errors = []
    for dim in (5, 40, 200):
        found = KernelComponents.fit(vectors, dim, 0.0).project(others)
        errors.append(np.abs(found @ found.T - expected).mean())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 3


def test_a_component_is_divided_by_its_strength_to_the_power() -> None:
    vectors = users(80)
    plain, held = (KernelComponents.fit(vectors, 8, power) for power in (0.0, 0.5))
    strengths = np.sqrt(np.linalg.eigvalsh(np.maximum(vectors @ vectors.T, 0).astype(float) ** 2)[::-1][:8])
    ratio = np.linalg.norm(held.axes, axis=0) / np.linalg.norm(plain.axes, axis=0)
    assert ratio == pytest.approx((strengths / strengths[0]) ** -0.5, rel=1e-3)


def test_signs_do_not_depend_on_how_a_solver_rounds() -> None:
    vectors = users(80)
    axes = KernelComponents.fit(vectors, 40, 0.5).axes
    # In another order the same is computed, but rounded otherwise.
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(80)
        again = np.empty_like(axes)
        again[order] = KernelComponents.fit(vectors[order], 40, 0.5).axes
        assert again == pytest.approx(axes, abs=1e-3)


def test_users_differ_more_once_common_directions_are_held_back() -> None:
    vectors = users(80)
    means = []
    for power in (0.0, 0.5, 1.0):
        found = KernelComponents.fit(vectors, 40, power).project(vectors)
        means.append((found @ found.T)[~np.eye(80, dtype=bool)].mean())
    assert (vectors @ vectors.T)[~np.eye(80, dtype=bool)].mean() > means[0] > means[1] > means[2]


def test_alike_users_and_nobody_do_no_harm() -> None:
    vectors = np.repeat(users(3), 20, axis=0)
    components = KernelComponents.fit(vectors, 512, 0.5)
    assert components.axes.shape == (60, 3)
    found = components.project(np.vstack([vectors[:1], np.zeros((1, 12), np.float32)]))
    assert np.isfinite(found).all()
    assert np.linalg.norm(found, axis=1).tolist() == pytest.approx([1, 0], abs=1e-6)


def test_somebody_alone_is_placed_as_among_others() -> None:
    components, many = KernelComponents.fit(users(100), 30, 0.5), users(9_000, seed=2)
    together = components.project(many)
    for row in (0, 8_191, 8_192, 8_999):
        assert components.project(many[row : row + 1])[0] == pytest.approx(together[row], abs=1e-5)


def test_landmarks_are_some_of_the_users() -> None:
    few, many = np.arange(5, 60), np.arange(0, 3 * LANDMARKS, 2)
    assert landmarks_of(few, 0).tolist() == few.tolist()
    chosen = landmarks_of(many, 0)
    assert len(np.unique(chosen)) == LANDMARKS
    assert np.isin(chosen, many).all()
    assert chosen.tolist() == landmarks_of(many, 0).tolist() != landmarks_of(many, 1).tolist()


def test_a_user_vector_is_the_components_beside_anchor_and_factors() -> None:
    model, (listening, catalogue) = small_model(0), small_users()
    assert model.components is not None
    mixed = model.mixed(listening, catalogue)
    broad = unit(mixed[:, 4 : 4 + 2 + 4])  # after the learned four: two of the anchor, four factors
    fine = model.components.project(mixed)
    vectors = model.encode(listening, catalogue)
    expected = (fine @ fine.T + 0.4 * broad @ broad.T) / 1.4
    assert vectors @ vectors.T == pytest.approx(expected, abs=1e-5)


def test_a_landmark_that_goes_leaves_nothing_and_others_hardly_move() -> None:
    vectors, others = users(400), users(50, seed=1)
    components = KernelComponents.fit(vectors, 40, 0.5)
    gone = np.array([3, 77])
    left = components.without(gone)
    assert not left.landmarks[gone].any()
    assert not left.axes[gone].any()
    assert np.array_equal(np.delete(left.landmarks, gone, axis=0), np.delete(vectors, gone, axis=0))
    assert np.sum(components.project(others) * left.project(others), axis=1).min() > 0.99
    assert np.flatnonzero(~left.without(np.array([3, 5])).landmarks.any(axis=1)).tolist() == [3, 5, 77]
