"""The tower: unit vectors from any mix of known and unknown, the same in any batch, and an anchor of pure taste."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from spotify_dag.tower.mix import Mix
from spotify_dag.tower.parts import N_STATISTICS, PARTS, TowerInputs
from spotify_dag.tower.tower_model import (
    ANCHOR_PARTS,
    ANCHOR_STATISTICS,
    ENCODE_ROWS,
    FACTORS,
    UserModel,
    UserTower,
    to_tensors,
)
from spotify_dag.tower.training import TrainedModel
from spotify_dag.tower.views import Halved
from spotify_dag_tests.small_models import assert_same_vectors

DIMS = (6, 5, 6, 3, 4, 4)
AXES = 5
MIX = Mix(anchor=1.0, factors=1.0, axes=1.0, kept=AXES)
SMALL: dict[str, Any] = {"hidden": 16, "part_out": 8, "dim": 7, "anchor_dim": 4, "mix": MIX}
ANCHOR = slice(7, 11)
CPU = torch.device("cpu")
# Everything, nothing, each part alone, and each missing.
MASKS = np.array([[1] * 6, [0] * 6, *np.eye(6, dtype=int).tolist(), *(1 - np.eye(6, dtype=int)).tolist()], np.float32)


def tower(seed: int = 0, part_dims: tuple[int, ...] = DIMS, **config: Any) -> UserTower:
    """Return a tower with random weights, the vectors that stand for absent parts included."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = UserTower(part_dims, **(SMALL | config))
        torch.nn.init.normal_(made.absent)
    return made


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def some_users(count: int, *, known: np.ndarray | None = None, seed: int = 0) -> TowerInputs:
    """Return users as `BoundMap` makes them: parts of unit length, or zero where unknown."""
    rng = np.random.default_rng(seed)
    known = np.ones((count, len(DIMS)), np.float32) if known is None else known
    parts = [rng.normal(size=(count, dim)) for dim in DIMS]
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) * known[:, [n]] for n, part in enumerate(parts)]
    statistics = np.hstack([rng.normal(size=(count, N_STATISTICS)), np.ones((count, N_STATISTICS))])
    return TowerInputs(
        tuple(part.astype(np.float32) for part in unit), known, statistics.astype(np.float32),
        unit[FACTORS].astype(np.float32), unit_rows(rng.normal(size=(count, AXES))).astype(np.float32),
    )  # fmt: skip


def changed(inputs: TowerInputs, part: int, value: float, *, known: float) -> TowerInputs:
    """Return inputs with one part filled with ``value``, known or not."""
    parts, mask = list(inputs.parts), inputs.known.copy()
    parts[part] = np.full_like(parts[part], value)
    mask[:, part] = known
    return TowerInputs(tuple(parts), mask, inputs.statistics, inputs.factors, inputs.axes)


def views_of(count: int = 60, *, seed: int = 3) -> tuple[TowerInputs, TowerInputs]:
    """Return two halves of users that agree in the first two dimensions of every part more than in the rest."""
    rng = np.random.default_rng(seed)
    taste = [rng.normal(size=(count, dim)) for dim in DIMS]
    noise = np.array([0.2, 0.2, 2, 2, 2, 2])
    sides = []
    for _ in range(2):
        parts = [own + noise[: own.shape[1]] * rng.normal(size=own.shape) for own in taste]
        unit = tuple((part / np.linalg.norm(part, axis=1, keepdims=True)).astype(np.float32) for part in parts)
        plain = some_users(count, seed=int(rng.integers(1_000)))
        sides.append(TowerInputs(unit, plain.known, plain.statistics, plain.factors, plain.axes))
    return sides[0], sides[1]


def anchored_tower(**config: Any) -> UserTower:
    model = tower(**config)
    model.fit_anchor([views_of()])
    return model


def reference(model: UserTower, inputs: TowerInputs, row: int) -> list[float]:
    """Return the user vector of one user in double precision, from the weights and the formulas."""
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x])

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x)

    statistics = inputs.statistics[row].astype(np.float64)
    parts = [part[row].astype(np.float64) * known for part, known in zip(inputs.parts, inputs.known[row], strict=True)]
    scaled = [part * math.sqrt(len(part)) for part in parts]
    joined = [
        linear(f"part_towers.{number}.3", gelu(linear(f"part_towers.{number}.0", part)))
        if inputs.known[row, number]
        else weights["absent"][number]
        for number, part in enumerate(scaled)
    ]
    x = np.concatenate([*joined, statistics])
    normed = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights["joint.0.weight"] + weights["joint.0.bias"]
    learned = linear("linear", np.concatenate([*scaled, statistics])) + linear(
        "joint.4", gelu(linear("joint.1", normed))
    )
    weighted = [ANCHOR_PARTS.get(name, 1) * part for name, part in zip(PARTS, parts, strict=True)]
    stacked = np.concatenate([*weighted, ANCHOR_STATISTICS * statistics[:N_STATISTICS]])
    anchored = (stacked - weights["anchor_centre"]) @ weights["anchor"]
    blocks = [
        unit(learned), math.sqrt(model.mix.anchor) * unit(anchored),
        math.sqrt(model.mix.factors) * inputs.factors[row], math.sqrt(model.mix.axes) * inputs.axes[row],
    ]  # fmt: skip
    return unit(np.concatenate(blocks)).tolist()


class TestVectors:
    def test_they_are_what_the_formulas_say(self) -> None:
        model = anchored_tower(mix=Mix(anchor=0.8, factors=1.3, axes=0.6, kept=AXES))
        inputs = some_users(len(MASKS), known=MASKS)
        vectors = model.encode(inputs)
        for row in range(len(MASKS)):
            assert vectors[row].tolist() == pytest.approx(reference(model, inputs, row), abs=1e-5)

    def test_they_are_different_unit_vectors_whatever_is_known(self) -> None:
        known = np.array(list(itertools.product([0, 1], repeat=6)), np.float32)
        vectors = anchored_tower().encode(some_users(64, known=known))
        assert vectors.shape == (64, 7 + 4 + 4 + AXES)
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(64), abs=1e-6)
        assert len(np.unique(vectors.round(4), axis=0)) == 64

    def test_a_new_tower_says_nothing_that_is_not_finite_of_a_user_without_anything(self) -> None:
        nothing = TowerInputs(
            tuple(np.zeros((1, dim), np.float32) for dim in DIMS), np.zeros((1, 6), np.float32),
            np.zeros((1, 2 * N_STATISTICS), np.float32), np.zeros((1, 4), np.float32),
            np.zeros((1, AXES), np.float32),
        )  # fmt: skip
        assert np.linalg.norm(UserTower(DIMS, **SMALL).encode(nothing)) == pytest.approx(1, abs=1e-6)

    @pytest.mark.parametrize("part", range(6))
    def test_absent_is_not_zero(self, part: int) -> None:
        model, inputs = anchored_tower(), some_users(10)
        absent, here = (model.encode(changed(inputs, part, 0, known=known)) for known in (0, 1))
        assert np.abs(absent - here).max(axis=1).min() > 1e-3

    @pytest.mark.parametrize("part", range(6))
    def test_what_an_absent_part_holds_does_not_matter(self, part: int) -> None:
        model, inputs = anchored_tower(), some_users(10)
        zero, other = (model.encode(changed(inputs, part, value, known=0)) for value in (0, 1000))
        assert_same_vectors(zero, other)

    @pytest.mark.parametrize("part", range(6))
    def test_every_part_counts(self, part: int) -> None:
        model, inputs = anchored_tower(), some_users(10)
        low, high = (model.encode(changed(inputs, part, value, known=1)) for value in (-0.3, 0.3))
        assert np.abs(low - high).max(axis=1).min() > 1e-3

    def test_statistics_count(self) -> None:
        model, inputs = anchored_tower(), some_users(10)
        other = TowerInputs(inputs.parts, inputs.known, -inputs.statistics, inputs.factors, inputs.axes)
        assert np.abs(model.encode(inputs) - model.encode(other)).max(axis=1).min() > 1e-3

    def test_parts_that_are_not_looked_at_count_nowhere(self) -> None:
        model = anchored_tower(parts=("genre_embedding", "release_year_embedding"))
        first, second = some_users(10), some_users(10, seed=1)
        others = TowerInputs(
            tuple((first if number in (0, 3) else second).parts[number] for number in range(6)),
            first.known, first.statistics, first.factors, first.axes,
        )  # fmt: skip
        assert_same_vectors(model.encode(first), model.encode(others))
        assert model.anchor_centre.numpy()[6:17].tolist() == [0] * 11
        assert model.anchor_centre.numpy()[:6].any()


class TestJoin:
    @pytest.mark.parametrize("weights", [(0.0, 0.0, 0.0), (0.5, 1.0, 0.0), (1.0, 2.0, 8.0)])
    def test_the_cosine_of_two_users_is_the_weighted_mean_over_blocks(
        self, weights: tuple[float, float, float]
    ) -> None:
        anchor, factors, axes = weights
        model = anchored_tower(mix=Mix(anchor=anchor, factors=factors, axes=axes, kept=AXES))
        inputs = some_users(40)
        with torch.inference_mode():
            model.eval()
            blocks = [block.numpy() for block in model(*to_tensors(inputs, CPU))]
        for block in blocks:
            assert np.linalg.norm(block, axis=1) == pytest.approx(np.ones(40), abs=1e-5)
        cosines = [block @ block.T for block in (*blocks, inputs.factors, inputs.axes)]
        expected = sum(weight * cosine for weight, cosine in zip((1, *weights), cosines, strict=True))
        expected /= 1 + sum(weights)
        vectors = model.encode(inputs)
        assert vectors @ vectors.T == pytest.approx(expected, abs=1e-5)

    def test_a_user_without_known_artists_is_placed_by_the_rest(self) -> None:
        inputs = some_users(10)
        inputs.factors[:5] = 0
        inputs.axes[:5] = 0
        vectors = anchored_tower().encode(inputs)
        assert np.abs(vectors[:5, 11:]).max() == 0
        assert np.linalg.norm(vectors[5:, 11:], axis=1) == pytest.approx(np.full(5, math.sqrt(2 / 4)), abs=1e-5)


class TestEncode:
    def test_in_chunks_it_is_the_same_as_at_once(self) -> None:
        inputs = some_users(ENCODE_ROWS + 3)
        model = anchored_tower().eval()
        with torch.inference_mode():
            at_once = [block.numpy() for block in model(*to_tensors(inputs, CPU))]
        for one, other in zip(model.blocks(inputs), at_once, strict=True):
            assert one == pytest.approx(other, abs=1e-6)

    def test_many_users_are_the_same_one_by_one(self) -> None:
        model, inputs = anchored_tower(), some_users(20)
        alone = np.concatenate([model.encode(inputs.take(np.array([row]))) for row in range(20)])
        assert model.encode(inputs) == pytest.approx(alone, abs=1e-6)

    def test_nobody(self) -> None:
        assert tower().encode(some_users(0)).shape == (0, 15 + AXES)

    def test_dropout_does_not_touch_what_is_served(self) -> None:
        model, inputs = anchored_tower(dropout=0.9), some_users(5)
        model.train()
        assert_same_vectors(model.encode(inputs), model.encode(inputs))

    def test_config_holds_what_it_was_made_with(self) -> None:
        assert tower(dropout=0.1, parts=("genre_embedding",)).config == {
            "part_dims": [6, 5, 6, 3, 4, 4], "hidden": 16, "part_out": 8, "dim": 7, "dropout": 0.1, "anchor_dim": 4,
            "anchor_ridge": 0.3, "anchor_power": 0.125, "parts": ["genre_embedding"],
        }  # fmt: skip


class TestAnchor:
    def test_it_solves_the_discriminants_of_between_against_within(self) -> None:
        first, second = views_of()
        model = tower(anchor_power=0.0, anchor_ridge=0.5)
        model.fit_anchor([(first, second)])
        stacks = [
            np.hstack(
                [
                    *(ANCHOR_PARTS.get(name, 1) * part for name, part in zip(PARTS, side.parts, strict=True)),
                    ANCHOR_STATISTICS * side.statistics[:, :N_STATISTICS],
                ]
            ).astype(np.float64)
            for side in (first, second)
        ]
        both = np.concatenate(stacks)
        assert model.anchor_centre.numpy() == pytest.approx(both.mean(axis=0), abs=1e-5)
        # Half the variance of a difference of two halves is the variance within a user.
        within = (stacks[0] - stacks[1]).T @ (stacks[0] - stacks[1]) / len(both)
        between = np.cov(both.T, bias=True) - within
        within += 0.5 * np.trace(within) / len(within) * np.eye(len(within))
        ratios, directions = np.linalg.eig(np.linalg.solve(within, between))
        best = directions.real[:, np.argsort(-ratios.real)[:4]]
        for number in range(4):
            mine = model.anchor.numpy()[:, number]
            cosine = mine @ best[:, number] / np.linalg.norm(mine) / np.linalg.norm(best[:, number])
            assert abs(cosine) == pytest.approx(1, abs=1e-3)

    def test_halves_agree_in_it_more_than_in_what_it_is_made_of(self) -> None:
        first, second = views_of()
        model = tower()
        model.fit_anchor([views_of(400, seed=4)])
        model.eval()
        with torch.inference_mode():
            anchors = [model(*to_tensors(side, CPU))[1].numpy() for side in (first, second)]

        def above_chance(one: np.ndarray, other: np.ndarray) -> float:
            return float((one * other).sum(axis=1).mean() - (one @ other.T).mean())

        plain = [np.hstack(side.parts) / math.sqrt(6) for side in (first, second)]
        assert above_chance(*anchors) > above_chance(*plain) + 0.1

    def test_several_halvings_are_as_one_of_more_users(self) -> None:
        pairs = [views_of(40, seed=seed) for seed in (1, 2)]
        whole = tuple(
            TowerInputs(
                tuple(np.concatenate([pair[side].parts[number] for pair in pairs]) for number in range(6)),
                *(
                    np.concatenate([getattr(pair[side], name) for pair in pairs])
                    for name in ("known", "statistics", "factors", "axes")
                ),
            )
            for side in (0, 1)
        )
        one, two = tower(), tower()
        one.fit_anchor([(whole[0], whole[1])])
        two.fit_anchor(pairs)
        assert two.anchor_centre.numpy() == pytest.approx(one.anchor_centre.numpy(), abs=1e-6)
        assert np.abs(two.anchor.numpy()) == pytest.approx(np.abs(one.anchor.numpy()), abs=1e-3)

    def test_few_users_and_more_discriminants_than_there_is_to_tell(self) -> None:
        model = tower(anchor_dim=50)
        model.fit_anchor([views_of(2)])
        assert torch.isfinite(model.anchor).all()
        assert np.linalg.norm(model.encode(some_users(3)), axis=1) == pytest.approx(np.ones(3), abs=1e-6)

    def test_fitting_again_leaves_nothing_of_the_first_fit(self) -> None:
        once, twice = tower(), anchored_tower()
        for model in (once, twice):
            model.fit_anchor([views_of(5, seed=9)])
        assert once.anchor.numpy() == pytest.approx(twice.anchor.numpy(), abs=1e-4)
        assert once.anchor_centre.numpy() == pytest.approx(twice.anchor_centre.numpy(), abs=1e-6)


class TestUserModel:
    def test_tensors_and_config_are_all_there_is_to_keep(
        self, trained: TrainedModel, halved: Halved, tmp_path: Path
    ) -> None:
        path = tmp_path / "model.safetensors"
        save_file(trained.model.tensors(), path)
        config = json.loads(json.dumps(trained.model.config))
        again = UserModel.restore(config, load_file(path))
        expected = trained.model.encode(halved.whole, halved.catalogue)
        assert_same_vectors(again.encode(halved.whole, halved.catalogue), expected)
        cosines = np.linspace(-1, 1, 50)
        assert np.array_equal(again.scale.percent(cosines), trained.model.scale.percent(cosines))
        assert again.scale.trust_at == trained.model.scale.trust_at
        # What was restored is kept as the very same bytes: versions are named after them.
        save_file(again.tensors(), tmp_path / "again.safetensors")
        assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()

    def test_a_user_alone_is_the_same_as_among_others(self, trained: TrainedModel, halved: Halved) -> None:
        together = trained.model.encode(halved.whole, halved.catalogue)
        for row in (0, 77, 149):
            alone = trained.model.encode(halved.whole.take(np.array([row])), halved.catalogue)
            assert alone[0] == pytest.approx(together[row], abs=1e-5)

    def test_by_text_alone_users_are_placed_elsewhere_but_not_nowhere(
        self, trained: TrainedModel, halved: Halved
    ) -> None:
        known = trained.model.encode(halved.whole, halved.catalogue)
        text = trained.model.encode(halved.whole, halved.catalogue, artists_by_name=False)
        assert np.linalg.norm(text, axis=1) == pytest.approx(np.ones(150), abs=1e-5)
        likeness = (known * text).sum(axis=1)
        assert likeness.max() < 0.999
        assert likeness.mean() > (known @ text.T).mean() + 0.1
