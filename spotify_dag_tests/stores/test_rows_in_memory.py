"""Rows in memory give the answers of the index that they were read from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spotify_dag.stores import rows_in_memory
from spotify_dag.stores.rows_in_memory import RowsInMemory, highest
from spotify_dag.stores.user_index import UserIndex
from spotify_dag_tests.stores.test_user_index import drawn, rows

pytestmark = pytest.mark.medium


def test_the_index_and_its_rows_in_memory_say_the_same(tmp_path: Path) -> None:
    index = UserIndex(tmp_path / "vectors", "tower-test")
    assert index.in_memory() is None
    users = ["Anna", "anton", "bert", *(f"user-{number:03d}" for number in range(300))]
    about = rows(users, 1, drawn(len(users))).with_columns(
        pl.col("user_id").str.slice(0, 4).alias("source"), pl.int_range(pl.len()).cast(pl.Int32).alias("tracks"),
        pl.lit(b"packed").alias("taste"), (pl.int_range(pl.len()) % 3 > 0).alias("opted_in"),
    )  # fmt: skip
    index.replace([1], about)
    held = index.in_memory()
    assert held is not None
    assert (held.shown(), held.feature_version()) == (index.shown(), index.feature_version())
    columns = ["tracks", "source", "taste", "opted_in"]
    for one, other in zip(
        held.search(drawn(9, seed=4), 12, columns), index.search(drawn(9, seed=4), 12, columns), strict=True
    ):
        assert [row["score"] for row in one] == pytest.approx([row.pop("score") for row in other], abs=1e-6)
        assert [{name: row[name] for name in ("user_id", *columns)} for row in one] == other
    some = ["user-007", "Anna", "nobody"]
    by_id = {row["user_id"]: row for row in index.of(some, [*columns, "vector"])}
    assert len(by_id) == 2
    for row in held.of(some, [*columns, "vector"]):
        expected = by_id[row["user_id"]]
        np.testing.assert_allclose(row.pop("vector"), expected.pop("vector").astype("f4"), atol=1e-3)
        assert row == expected
    for beginning in ("AN", "user-1", "x"):
        expected_ids = {row["user_id"] for row in index.beginning_with(beginning, [], 500)}
        assert {row["user_id"] for row in held.beginning_with(beginning, [], 500)} == expected_ids
    assert [row["user_id"] for row in held.beginning_with("user", [], 2)] == ["user-001", "user-002"]
    assert {row["user_id"] for row in held.sample([], 999)} == {row["user_id"] for row in index.sample([], 999)}
    assert len(held.sample([], 10)) == 10


@pytest.mark.parametrize("count", [0, 1, 3, 40, 200])
@pytest.mark.parametrize("values", [3, 10**6])
def test_no_score_outside_is_higher_than_the_highest(count: int, values: int) -> None:
    rng = np.random.default_rng(count)
    for size in (200, 203, 2_000):
        scores = rng.integers(0, values, size).astype(np.float32)
        scores[rng.random(size) < 0.3] = -np.inf
        places = highest(scores, min(count, size))
        seen = int((scores > -np.inf).sum())
        assert min(count, seen) <= len(places) <= seen
        assert np.isfinite(scores[places]).all()
        others = np.delete(scores, places)
        assert not count or len(places) == seen or others.max() < scores[places].min()
        # Of many scores that all differ, few are told beside those that were asked for.
        assert values == 3 or size < 2_000 or len(places) <= 1.3 * count + 8


def test_by_principal_axes_first_the_nearest_are_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_in_memory, "COMPARED_ROWS", 1_000)
    rng = np.random.default_rng(0)
    users, dim = 20_000, 256
    # As user vectors are: variance falls off from direction to direction, and never to zero.
    vectors = (rng.normal(size=(users, dim)) * (np.arange(dim) + 1) ** -0.5).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    held = RowsInMemory({"user_id": [f"u{number:05d}" for number in range(users)], "opted_in": [True] * users}, vectors)
    assert held._axes.shape == (dim, 64)
    hits = 0
    for number, found in enumerate(held.search(vectors[:50], 10)):
        truth = {f"u{row:05d}" for row in np.argsort(-(vectors @ vectors[number]))[:10]}
        hits += len(truth & {row["user_id"] for row in found})
    assert hits >= 499
