"""What is known of users as arrays: every number in its place, what is unknown zero and masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.exceptions import PolarsError

from spotify_dag.features.embeddings import RELEASE_YEAR_DIM, TextVectors
from spotify_dag.schemas import ARTIST_GENRES, EMBEDDINGS, USER_EMBEDDINGS, USER_TASTES
from spotify_dag.tower.inputs import Catalogue, Listening, catalogue, listening, weights

TEXTS = {
    "Beyoncé": [1, 0], "BEYONCE": [9, 9], "The Beatles": [0, 1], "Nobody": [5, 5], "pop": [2, 0], "rock": [0, 4],
    "soul": [4, 2],
}  # fmt: skip
ARTISTS = [
    (1, "beatles", "The Beatles", ["rock", "pop"]),
    (0, "beyonce", "Beyoncé", ["pop", "soul"]),
    (1, "beyonce", "BEYONCE", ["pop"]),
    (0, "nobody", "Nobody", None),
    (0, "mute", "Mute", ["rock"]),  # its name has no vector
]
YEARS = [float(number) for number in range(RELEASE_YEAR_DIM)]
ROWS: list[dict[str, Any]] = [
    {"user_id": "b", "genre_embedding": [1.0, 2.0], "artist_embedding": [3.0, 4.0], "playlist_embedding": [6.0, 7.0],
     "release_year_embedding": YEARS, "mean_popularity": 40.0, "explicit_ratio": 0.25, "tracks": 7},
    {"user_id": "a", "genre_embedding": None, "artist_embedding": [0.0, 0.0], "playlist_embedding": None,
     "release_year_embedding": None, "mean_popularity": None, "explicit_ratio": 0.0, "tracks": 1},
    {"user_id": "c", "genre_embedding": None, "artist_embedding": None, "playlist_embedding": None,
     "release_year_embedding": None, "mean_popularity": 0.0, "explicit_ratio": None, "tracks": 0},
]  # fmt: skip
TASTES = [
    ("b", "genre", "rock", 0.75),
    ("b", "genre", "pop", 0.25),
    ("b", "artist", "The Beatles", 0.5),
    ("b", "artist", "Beyoncé", 0.3),
    ("b", "artist", "BEYONCE", 0.2),
    ("b", "year", "1967", 1.0),
    ("a", "artist", "Nobody", 1.0),
    ("a", "artist", "Not in the catalogue", 1.0),
    ("stranger", "artist", "Nobody", 1.0),
]


def some_artists(rows: list[Any] = ARTISTS) -> pl.DataFrame:
    schema = ARTIST_GENRES.polars_schema()
    columns = ("user_bucket", "artist_key", "artist_name", "genres")
    return pl.DataFrame(rows, {name: schema[name] for name in columns}, orient="row")


def texts() -> TextVectors:
    return TextVectors(pl.DataFrame({"text": list(TEXTS)}), np.array(list(TEXTS.values()), np.float32))


def embeddings(rows: list[dict[str, Any]] = ROWS) -> pl.DataFrame:
    schema = USER_EMBEDDINGS.polars_schema()
    columns = ["user_id", *EMBEDDINGS, "mean_popularity", "explicit_ratio", "tracks"]
    return pl.DataFrame(rows, {name: schema[name] for name in columns})


def tastes(rows: list[Any] = TASTES) -> pl.DataFrame:
    schema = USER_TASTES.polars_schema()
    return pl.DataFrame(rows, {name: schema[name] for name in ("user_id", "kind", "name", "weight")}, orient="row")


@pytest.fixture
def known() -> Catalogue:
    return catalogue(some_artists(), texts())


@pytest.fixture
def users(known: Catalogue) -> Listening:
    return listening(embeddings(), tastes(), known)


class TestCatalogue:
    def test_artists_come_once_in_the_order_of_their_keys(self, known: Catalogue) -> None:
        assert known.artists.names == ["beatles", "beyonce", "mute", "nobody"]
        assert known.genres.names == ["pop", "rock", "soul"]

    def test_content_is_the_name_beside_the_mean_of_the_genres(self, known: Catalogue) -> None:
        assert known.artists.content.tolist() == [
            [0, 1, 1, 2],  # rock and pop
            [9, 9, 2, 0],  # of two spellings, and their genres, the first one stands
            [0, 0, 0, 4],
            [5, 5, 0, 0],
        ]
        assert known.genres.content.tolist() == [[2, 0], [0, 4], [4, 2]]
        assert known.artists.content.dtype == known.genres.content.dtype == np.float32

    def test_the_order_of_rows_does_not_matter(self, known: Catalogue) -> None:
        for seed in range(3):
            again = catalogue(some_artists().sample(fraction=1, shuffle=True, seed=seed), texts())
            assert again.artists.names == known.artists.names
            assert np.array_equal(again.artists.content, known.artists.content)
            assert np.array_equal(again.genres.content, known.genres.content)

    def test_nothing_at_all(self) -> None:
        empty = catalogue(some_artists([]), texts())
        assert (empty.artists.names, empty.genres.names) == ([], [])
        assert (empty.artists.content.shape, empty.genres.content.shape) == ((0, 4), (0, 2))


class TestListening:
    def test_embeddings_and_their_masks(self, users: Listening) -> None:
        assert [part.tolist() for part in users.embeddings] == [
            [[1, 2], [0, 0], [0, 0]],
            [[3, 4], [0, 0], [0, 0]],
            [[6, 7], [0, 0], [0, 0]],
            [YEARS, [0] * RELEASE_YEAR_DIM, [0] * RELEASE_YEAR_DIM],
        ]
        # The second user's artist embedding is zero and known; the third's is unknown.
        assert users.known.tolist() == [[True] * 4, [False, True, False, False], [False] * 4]

    def test_statistics_are_scaled_and_unknown_ones_are_no_number(self, users: Listening) -> None:
        expected = np.array([[0.4, 0.25], [np.nan, 0], [0, np.nan]])
        np.testing.assert_allclose(users.statistics, expected, atol=1e-7)

    def test_shares_by_name(self, users: Listening) -> None:
        # Two spellings of one artist are one artist.
        expected = np.array([[0.5, 0.5, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
        np.testing.assert_allclose(users.artists.toarray(), expected, atol=1e-7)
        assert users.genres.toarray().tolist() == [[0.25, 0.75, 0], [0, 0, 0], [0, 0, 0]]

    def test_numbers_of_items_and_types(self, users: Listening) -> None:
        assert users.tracks.tolist() == [7, 1, 0]
        assert users.tracks.dtype == np.int64
        floats = (*users.embeddings, users.statistics, users.artists, users.genres)
        assert {array.dtype for array in floats} == {np.dtype(np.float32)}

    def test_the_order_of_tastes_does_not_matter(self, users: Listening, known: Catalogue) -> None:
        again = listening(embeddings(), tastes(TASTES[::-1]), known)
        assert (again.artists != users.artists).nnz == (again.genres != users.genres).nnz == 0

    def test_take(self, users: Listening) -> None:
        taken = users.take(np.array([2, 0, 2]))
        assert len(taken) == 3
        assert taken.embeddings[0].tolist() == [[0, 0], [1, 2], [0, 0]]
        assert taken.known[:, 0].tolist() == [False, True, False]
        assert taken.tracks.tolist() == [0, 7, 0]
        assert taken.genres.toarray().tolist() == [[0, 0, 0], [0.25, 0.75, 0], [0, 0, 0]]
        assert taken.artists[1].toarray().tolist() == users.artists[0].toarray().tolist()
        np.testing.assert_array_equal(taken.statistics, users.statistics[[2, 0, 2]])

    def test_nobody(self, known: Catalogue) -> None:
        nobody = listening(embeddings([]), tastes(), known)
        assert len(nobody) == 0
        assert [part.shape for part in nobody.embeddings] == [(0, 2), (0, 2), (0, 2), (0, RELEASE_YEAR_DIM)]
        assert (nobody.artists.shape, nobody.genres.shape) == ((0, 4), (0, 3))

    def test_an_embedding_of_another_length_is_refused(self, known: Catalogue) -> None:
        with pytest.raises(PolarsError):
            listening(embeddings([ROWS[0] | {"genre_embedding": [1.0, 2.0, 3.0]}]), tastes(), known)


def test_weights_of_one_name_are_summed(known: Catalogue) -> None:
    rows = pl.DataFrame(
        {"user": [1, 1, 0], "name": ["rock", "rock", "pop"], "weight": [2.0, 3.0, 7.0]},
        {"user": pl.UInt32, "name": pl.String, "weight": pl.Float64},
    )
    assert weights(rows, known.genres, 3).toarray().tolist() == [[7, 0, 0], [0, 5, 0], [0, 0, 0]]
