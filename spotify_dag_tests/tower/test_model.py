"""The tower: unit vectors from any mix of known and unknown, the same in any batch, and an anchor of pure taste."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from spotify_dag.tower.inputs import TowerInputs
from spotify_dag.tower.model import ENCODE_ROWS, UserTower, to_tensors

DIMS = (6, 5, 6, 3)
SMALL = {"hidden": 16, "part_out": 8, "dim": 7, "anchor_dim": 4}


def tower(seed: int = 0, part_dims: tuple[int, ...] = DIMS, **config: float) -> UserTower:
    """Return a tower with random weights, the vectors that stand for absent embeddings included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = UserTower(part_dims, **(SMALL | config))
        torch.nn.init.normal_(made.absent)
    return made


def some_users(
    count: int, *, known: np.ndarray | None = None, part_dims: tuple[int, ...] = DIMS, seed: int = 0
) -> TowerInputs:
    rng = np.random.default_rng(seed)
    parts = tuple(rng.normal(loc=2, size=(count, dim)).astype(np.float32) for dim in part_dims)
    known = np.ones((count, len(part_dims)), np.float32) if known is None else known
    return TowerInputs(parts, known, rng.random((count, 4)).astype(np.float32))


def changed(inputs: TowerInputs, part: int, value: float, *, known: float) -> TowerInputs:
    """Return inputs with one embedding filled with ``value``, known or not."""
    parts, mask = list(inputs.parts), inputs.known.copy()
    parts[part] = np.full_like(parts[part], value)
    mask[:, part] = known
    return TowerInputs(tuple(parts), mask, inputs.statistics)


def reference(model: UserTower, inputs: TowerInputs, row: int) -> list[float]:
    """Return the user vector of one user in double precision, from the weights and the formulas."""
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x])

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x)

    joined = []
    for number, part in enumerate(inputs.parts):
        if inputs.known[row, number]:
            scaled = (part[row] - weights[f"centre_{number}"]) / weights[f"scale_{number}"]
            inside = gelu(linear(f"part_towers.{number}.0", scaled))
            joined.append(linear(f"part_towers.{number}.3", inside))
        else:
            joined.append(weights["absent"][number])
    x = np.concatenate([*joined, inputs.statistics[row]])
    normed = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights["joint.0.weight"] + weights["joint.0.bias"]
    learned = unit(linear("skip", x) + linear("joint.4", gelu(linear("joint.1", normed))))
    anchored = np.zeros(weights["anchor"].shape[1])
    if inputs.known[row, 0]:
        anchored = unit((inputs.parts[0][row] - weights["centre_0"]) @ weights["anchor"])
    return unit(np.concatenate([learned, model.config["anchor_weight"] * anchored])).tolist()


class TestVectors:
    def test_they_are_what_the_formulas_say(self) -> None:
        known = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)
        model, inputs = tower(), some_users(16, known=known)
        model.fit_scaling(inputs)
        vectors = model.encode(inputs)
        for row in range(16):
            assert vectors[row].tolist() == pytest.approx(reference(model, inputs, row), abs=1e-5)

    def test_they_are_unit_vectors_whatever_is_known(self) -> None:
        known = np.array(list(itertools.product([0, 1], repeat=4)), np.float32)
        model, inputs = tower(), some_users(16, known=known)
        model.fit_scaling(inputs)
        vectors = model.encode(inputs)
        assert vectors.shape == (16, 7 + 4)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(16), abs=1e-6)
        assert len(np.unique(vectors.round(4), axis=0)) == 16

    def test_a_new_tower_says_nothing_that_is_not_finite_of_a_user_without_anything(self) -> None:
        nothing = TowerInputs(
            tuple(np.zeros((1, dim), np.float32) for dim in DIMS),
            np.zeros((1, 4), np.float32),
            np.zeros((1, 4), np.float32),
        )
        assert np.linalg.norm(UserTower(DIMS, **SMALL).encode(nothing)) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("part", range(4))
    def test_absent_is_not_zero_and_not_average(self, part: int) -> None:
        model, inputs = tower(), some_users(10)
        model.fit_scaling(inputs)
        centre = float(getattr(model, f"centre_{part}").mean())
        absent = model.encode(changed(inputs, part, 0, known=0))
        for value in (0.0, centre):
            here = model.encode(changed(inputs, part, value, known=1))
            assert np.abs(absent - here).max(axis=1).min() > 1e-3

    @pytest.mark.parametrize("part", range(4))
    def test_what_an_absent_embedding_holds_does_not_matter(self, part: int) -> None:
        model, inputs = tower(), some_users(10)
        model.fit_scaling(inputs)
        zero, other = (model.encode(changed(inputs, part, value, known=0)) for value in (0, 1000))
        assert np.array_equal(zero, other)

    @pytest.mark.parametrize("part", range(4))
    def test_every_embedding_counts(self, part: int) -> None:
        model, inputs = tower(), some_users(10)
        model.fit_scaling(inputs)
        low, high = (model.encode(changed(inputs, part, value, known=1)) for value in (1, 3))
        assert np.abs(low - high).max(axis=1).min() > 1e-3

    def test_statistics_count(self) -> None:
        model, inputs = tower(), some_users(10)
        other = TowerInputs(inputs.parts, inputs.known, 1 - inputs.statistics)
        assert np.abs(model.encode(inputs) - model.encode(other)).max() > 1e-3


class TestEncode:
    def test_in_chunks_it_is_the_same_as_at_once(self) -> None:
        count = 2 * ENCODE_ROWS + 3
        model, inputs = tower(), some_users(count)
        model.fit_scaling(inputs)
        model.eval()
        with torch.inference_mode():
            at_once = model(*to_tensors(inputs, torch.device("cpu"))).numpy()
        assert model.encode(inputs) == pytest.approx(at_once, abs=1e-6)

    def test_many_users_are_the_same_one_by_one(self) -> None:
        model, inputs = tower(), some_users(20)
        model.fit_scaling(inputs)
        alone = np.concatenate([model.encode(inputs.take(np.array([row]))) for row in range(20)])
        assert model.encode(inputs) == pytest.approx(alone, abs=1e-6)

    def test_dropout_is_for_training_only(self) -> None:
        model, inputs = tower(dropout=0.5), some_users(20)
        model.train()
        first = model.encode(inputs)
        assert np.array_equal(first, model.train().encode(inputs))
        with torch.no_grad():
            model.train()
            noisy = model(*to_tensors(inputs, torch.device("cpu"))).numpy()
        assert np.abs(noisy - first).max() > 1e-2

    def test_nobody(self) -> None:
        assert tower().encode(some_users(0)).shape == (0, 7 + 4)

    def test_weights_and_config_are_all_there_is_to_keep(self) -> None:
        model, inputs = tower(), some_users(30)
        model.fit_scaling(inputs)
        again = UserTower(**model.config)
        again.load_state_dict(model.state_dict())
        assert np.array_equal(again.encode(inputs), model.encode(inputs))
        assert not np.allclose(UserTower(**model.config).encode(inputs), model.encode(inputs))

    def test_config_holds_what_it_was_made_with(self) -> None:
        assert tower(anchor_weight=0.5, dropout=0.1).config == {
            "part_dims": [6, 5, 6, 3],
            "hidden": 16,
            "part_out": 8,
            "dim": 7,
            "dropout": 0.1,
            "anchor_dim": 4,
            "anchor_weight": 0.5,
        }


class TestScaling:
    def test_centre_and_scale_by_hand(self) -> None:
        parts = (
            np.array([[1, 0], [3, 4], [100, 100]], np.float32),
            np.array([[5], [5], [5]], np.float32),
            np.array([[0, 0, 0]] * 3, np.float32),
            np.array([[1], [2], [6]], np.float32),
        )
        known = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 1, 0, 1]], np.float32)
        model = tower(part_dims=(2, 1, 3, 1))
        model.fit_scaling(TowerInputs(parts, known, np.zeros((3, 4), np.float32)))
        # The third user's genre embedding is unknown; the centre of the others is (2, 2), each sqrt(5) away.
        assert model.centre_0.tolist() == [2, 2]
        assert float(model.scale_0) == pytest.approx(math.sqrt(5 / 2))
        assert model.centre_1.tolist() == [5]
        assert float(model.scale_1) == pytest.approx(1e-6)
        # Nobody has a playlist embedding: it stays as it is.
        assert (model.centre_2.tolist(), float(model.scale_2)) == ([0, 0, 0], 1)
        assert model.centre_3.tolist() == [3]
        assert float(model.scale_3) == pytest.approx(math.sqrt((4 + 1 + 9) / 3))

    def test_scaled_embeddings_have_unit_variance_per_dimension(self) -> None:
        model, inputs = tower(), some_users(500)
        model.fit_scaling(inputs)
        for number, part in enumerate(inputs.parts):
            scaled = (part - getattr(model, f"centre_{number}").numpy()) / float(getattr(model, f"scale_{number}"))
            assert scaled.mean(axis=0) == pytest.approx(np.zeros(DIMS[number]), abs=1e-4)
            assert (scaled**2).mean() == pytest.approx(1, rel=1e-4)


class TestAnchor:
    def test_it_is_the_principal_components_of_the_genre_embedding(self) -> None:
        model, inputs = tower(), some_users(200)
        stretched = inputs.parts[0] * np.array([1, 5, 2, 4, 3, 0.5], np.float32)
        inputs = TowerInputs((stretched, *inputs.parts[1:]), inputs.known, inputs.statistics)
        model.fit_scaling(inputs)
        anchor = model.anchor.numpy()
        assert anchor.T @ anchor == pytest.approx(np.eye(4), abs=1e-5)
        _, directions = np.linalg.eigh(np.cov(stretched.astype(np.float64).T))
        for number in range(4):
            assert abs(directions[:, -1 - number] @ anchor[:, number]) == pytest.approx(1, abs=1e-4)

    def test_fewer_users_than_components_leave_zeros(self) -> None:
        model, inputs = tower(anchor_dim=5), some_users(3)
        model.fit_scaling(inputs)
        assert np.abs(model.anchor.numpy()).sum(axis=0)[3:].tolist() == [0, 0]
        assert np.linalg.norm(model.encode(inputs), axis=1) == pytest.approx(np.ones(3), abs=1e-6)

    def test_fitting_again_leaves_nothing_of_the_first_fit(self) -> None:
        once, twice = tower(), tower()
        twice.fit_scaling(some_users(50, seed=1))
        for model in (once, twice):
            model.fit_scaling(some_users(2, seed=2))
        assert torch.equal(once.anchor, twice.anchor)

    @pytest.mark.parametrize("weight", [0.0, 0.7, 3.0])
    def test_the_cosine_of_two_users_is_the_weighted_mean_of_learned_and_anchor(self, weight: float) -> None:
        inputs = some_users(40)
        model, learned = tower(anchor_weight=weight), tower(anchor_weight=0.0)
        for one in (model, learned):
            one.fit_scaling(inputs)
        centred = inputs.parts[0] - inputs.parts[0].mean(axis=0)
        taste = centred @ model.anchor.numpy()
        taste /= np.linalg.norm(taste, axis=1, keepdims=True)
        vectors, free = model.encode(inputs), learned.encode(inputs)[:, :7]
        expected = (free @ free.T + weight**2 * taste @ taste.T) / (1 + weight**2)
        assert vectors @ vectors.T == pytest.approx(expected, abs=1e-5)

    def test_without_genres_a_user_is_placed_by_the_rest(self) -> None:
        known = np.ones((10, 4), np.float32)
        known[:5, 0] = 0
        model, inputs = tower(), some_users(10, known=known)
        model.fit_scaling(inputs)
        vectors = model.encode(inputs)
        assert np.abs(vectors[:5, 7:]).max() == 0
        assert np.linalg.norm(vectors[5:, 7:], axis=1) == pytest.approx(np.full(5, 0.7 / math.sqrt(1.49)), abs=1e-5)
