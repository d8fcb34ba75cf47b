"""User embeddings as arrays: every number in its place, what is unknown zero and masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.exceptions import PolarsError

from spotify_dag.schemas import EMBEDDINGS, USER_EMBEDDINGS
from spotify_dag.tower.inputs import TowerInputs, part_dims, tower_inputs

ROWS: list[dict[str, Any]] = [
    {"genre_embedding": [1.0, 2.0], "artist_embedding": [3.0, 4.0, 5.0], "playlist_embedding": [6.0, 7.0],
     "release_year_embedding": [8.0], "mean_popularity": 40.0, "explicit_ratio": 0.25},
    {"genre_embedding": None, "artist_embedding": [0.0, 0.0, 0.0], "playlist_embedding": None,
     "release_year_embedding": None, "mean_popularity": None, "explicit_ratio": 0.0},
    {"genre_embedding": None, "artist_embedding": None, "playlist_embedding": None,
     "release_year_embedding": [9.0], "mean_popularity": 0.0, "explicit_ratio": None},
]  # fmt: skip


def embeddings(rows: list[dict[str, Any]]) -> pl.DataFrame:
    schema = USER_EMBEDDINGS.polars_schema()
    columns = [*EMBEDDINGS, "mean_popularity", "explicit_ratio"]
    return pl.DataFrame(rows, {name: schema[name] for name in columns})


@pytest.fixture
def inputs() -> TowerInputs:
    return tower_inputs(embeddings(ROWS), (2, 3, 2, 1))


def test_parts_and_their_masks(inputs: TowerInputs) -> None:
    assert [part.tolist() for part in inputs.parts] == [
        [[1, 2], [0, 0], [0, 0]],
        [[3, 4, 5], [0, 0, 0], [0, 0, 0]],
        [[6, 7], [0, 0], [0, 0]],
        [[8], [0], [9]],
    ]
    # The second user's artist embedding is zero and known; the third's is unknown.
    assert inputs.known.tolist() == [[1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]]


def test_statistics_are_scaled_and_followed_by_whether_they_are_known(inputs: TowerInputs) -> None:
    expected = [[0.4, 0.25, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert inputs.statistics == pytest.approx(np.array(expected), abs=1e-7)


def test_everything_is_float32(inputs: TowerInputs) -> None:
    assert {array.dtype for array in (*inputs.parts, inputs.known, inputs.statistics)} == {np.dtype(np.float32)}


def test_take(inputs: TowerInputs) -> None:
    taken = inputs.take(np.array([2, 0, 2]))
    assert len(taken) == 3
    assert [part.tolist() for part in taken.parts] == [
        [[0, 0], [1, 2], [0, 0]],
        [[0, 0, 0], [3, 4, 5], [0, 0, 0]],
        [[0, 0], [6, 7], [0, 0]],
        [[9], [8], [9]],
    ]
    assert taken.known.tolist() == [[0, 0, 0, 1], [1, 1, 1, 1], [0, 0, 0, 1]]
    assert taken.statistics.tolist() == inputs.statistics[[2, 0, 2]].tolist()


def test_nobody() -> None:
    inputs = tower_inputs(embeddings([]), (2, 3, 2, 1))
    assert len(inputs) == 0
    assert [part.shape for part in inputs.parts] == [(0, 2), (0, 3), (0, 2), (0, 1)]
    assert (inputs.known.shape, inputs.statistics.shape) == ((0, 4), (0, 4))


def test_an_embedding_nobody_has_is_masked_for_all() -> None:
    inputs = tower_inputs(embeddings(ROWS[1:]), (2, 3, 2, 1))
    assert inputs.parts[0].tolist() == [[0, 0], [0, 0]]
    assert inputs.known[:, 0].tolist() == [0, 0]


def test_part_dims() -> None:
    assert part_dims(embeddings(ROWS)) == (2, 3, 2, 1)
    assert part_dims(embeddings(ROWS[1:])) == (1, 3, 1, 1)
    assert part_dims(embeddings([])) == (1, 1, 1, 1)


def test_an_embedding_of_another_length_is_refused() -> None:
    with pytest.raises(PolarsError):
        tower_inputs(embeddings(ROWS), (2, 4, 2, 1))


def test_four_lengths_are_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        tower_inputs(embeddings(ROWS), (2, 3, 2))
