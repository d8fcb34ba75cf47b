"""User embeddings against a loop over playlists and items, and release years by hand."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.embeddings import RELEASE_YEAR_DIM, TextVectors, release_year_embedding, user_embeddings
from spotify_dag.features.tastes import user_tastes
from spotify_dag.schemas import EMBEDDINGS, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS

DIM = 5
GENRES = ["ambient", "blues", "country", "disco", "emo"]
ARTISTS: dict[str, list[str] | None] = {
    "Ada": ["ambient"],
    "Bob": ["blues", "country"],
    "Cyd": ["country", "disco", "emo"],
    "Dot": None,
    "Eve": ["emo", "ambient"],
    "Flo": None,
}
_rng = random.Random(7)
VECTORS = {text: [_rng.gauss(0, 1) for _ in range(DIM)] for text in [*GENRES, *ARTISTS]}


class Item(NamedTuple):
    user: str
    playlist: int
    artist: str
    year: int | None = None
    popularity: float | None = None
    explicit: bool | None = None


def raw(rows: Sequence[Item]) -> pl.LazyFrame:
    columns: dict[str, Any] = {
        "user_bucket": [0] * len(rows),
        "user_id": [row.user for row in rows],
        "playlist_id": [f"list-{row.playlist}" for row in rows],
        "playlist_position": [row.playlist for row in rows],
        "artist_name": [row.artist for row in rows],
        "release_year": [row.year for row in rows],
        "popularity": [row.popularity for row in rows],
        "explicit": [row.explicit for row in rows],
        "plays": [None] * len(rows),
    }
    schema = RAW_PLAYLISTS.polars_schema()
    return pl.LazyFrame(columns, {name: schema[name] for name in columns})


def users(*names: str) -> pl.DataFrame:
    columns = {
        "user_bucket": [0] * len(names),
        "user_id": names,
        "source": ["test"] * len(names),
        "content_hash": [100 + number for number in range(len(names))],
    }
    schema = USERS.polars_schema()
    return pl.DataFrame(columns, {name: schema[name] for name in columns})


def text_vectors(texts: Sequence[str] = tuple(VECTORS)) -> TextVectors:
    vectors = np.array([VECTORS[text] for text in texts], np.float32).reshape(len(texts), DIM)
    return TextVectors(pl.DataFrame({"text": list(texts)}, {"text": pl.String}), vectors)


def embed(
    who: pl.DataFrame, rows: Sequence[Item], *, top_artist_count: int = 50, playlists_count: int | None = None
) -> pl.DataFrame:
    genres = pl.DataFrame(
        [(0, name.lower(), name, genres) for name, genres in ARTISTS.items()],
        {"user_bucket": pl.Int32, "artist_key": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)},
        orient="row",
    )
    tastes = user_tastes(raw(rows), genres, playlists_count=playlists_count)
    return user_embeddings(
        who,
        raw(rows),
        tastes,
        text_vectors(),
        top_artist_count=top_artist_count,
        playlists_count=playlists_count,
        feature_version="v1",
    )


def mean(vectors: Sequence[Sequence[float]], shares: Sequence[float] | None = None) -> list[float]:
    shares = shares or [1.0] * len(vectors)
    return [
        math.fsum(share * vector[place] for share, vector in zip(shares, vectors, strict=True)) / math.fsum(shares)
        for place in range(len(vectors[0]))
    ]


def reference(rows: Sequence[Item], top_artist_count: int) -> dict[str, list[float]]:
    """Return the text embeddings of one user, one playlist and one item at a time."""
    playlists: dict[int, list[list[float]]] = defaultdict(list)
    for row in rows:
        if genres := ARTISTS[row.artist]:
            playlists[row.playlist].append(mean([VECTORS[genre] for genre in genres]))
    ordered = sorted(Counter(row.artist for row in rows).items(), key=lambda pair: (-pair[1], pair[0]))
    top = ordered[:top_artist_count]
    found = {"artist_embedding": mean([VECTORS[name] for name, _ in top], [count for _, count in top])}
    if playlists:
        found["genre_embedding"] = mean([mean(items) for items in playlists.values()])
        found["playlist_embedding"] = mean(
            [mean(items) for items in playlists.values()], [len(items) for items in playlists.values()]
        )
    return found


def listening(user: str, seed: int) -> list[Item]:
    """Return random listening, every artist at hand, in 1 to 4 playlists."""
    rng = random.Random(seed)
    return [
        Item(
            user,
            playlist,
            rng.choice(list(ARTISTS)),
            rng.choice([None, *range(1940, 2040)]),
            rng.choice([None, float(rng.randrange(101))]),
            rng.choice([None, True, False]),
        )
        for playlist in range(rng.randint(1, 4))
        for _ in range(rng.randint(1, 8))
    ]


class TestTextEmbeddings:
    def test_the_genres_of_two_playlists_by_hand(self) -> None:
        rows = [*(Item("u", 0, "Ada") for _ in range(3)), Item("u", 1, "Bob"), Item("u", 1, "Dot")]
        row = embed(users("u"), rows).row(0, named=True)
        ambient, blues, country = (VECTORS[genre] for genre in ("ambient", "blues", "country"))
        assert row["genre_embedding"] == pytest.approx(
            [0.5 * a + 0.25 * b + 0.25 * c for a, b, c in zip(ambient, blues, country, strict=True)], abs=1e-6
        )
        assert row["playlist_embedding"] == pytest.approx(
            [0.75 * a + 0.125 * b + 0.125 * c for a, b, c in zip(ambient, blues, country, strict=True)], abs=1e-6
        )
        assert row["artist_embedding"] == pytest.approx(
            [0.6 * a + 0.2 * b + 0.2 * d for a, b, d in zip(*(VECTORS[n] for n in ("Ada", "Bob", "Dot")), strict=True)],
            abs=1e-6,
        )

    @pytest.mark.parametrize("top_artist_count", [1, 2, 3, 50])
    def test_many_users_are_each_what_a_loop_gives(self, top_artist_count: int) -> None:
        names = [f"user-{number}" for number in range(25)]
        listened = {name: listening(name, number) for number, name in enumerate(names)}
        rows = [row for some in listened.values() for row in some]
        random.Random(1).shuffle(rows)
        embedded = embed(users(*names), rows, top_artist_count=top_artist_count)
        assert embedded["user_id"].to_list() == names
        for row in embedded.iter_rows(named=True):
            expected = reference(listened[row["user_id"]], top_artist_count)
            for name in EMBEDDINGS[:3]:
                if name in expected:
                    assert row[name] == pytest.approx(expected[name], abs=1e-5), (row["user_id"], name)
                else:
                    assert row[name] is None

    def test_of_artists_heard_alike_the_first_by_name_count(self) -> None:
        rows = [Item("u", 0, name) for name in ("Flo", "Dot", "Ada", "Cyd", "Dot", "Bob")]
        for order in (rows, rows[::-1]):
            row = embed(users("u"), order, top_artist_count=3).row(0, named=True)
            expected = mean([VECTORS["Dot"], VECTORS["Ada"], VECTORS["Bob"]], [2, 1, 1])
            assert row["artist_embedding"] == pytest.approx(expected, abs=1e-6)

    def test_each_user_has_a_top_of_its_own(self) -> None:
        rows = [Item("a", 0, "Ada"), Item("a", 0, "Ada"), Item("a", 0, "Bob"), Item("b", 0, "Bob")]
        found = embed(users("a", "b"), rows, top_artist_count=1)["artist_embedding"].to_list()
        assert found[0] == pytest.approx(VECTORS["Ada"], abs=1e-6)
        assert found[1] == pytest.approx(VECTORS["Bob"], abs=1e-6)

    def test_only_the_first_playlists_count(self) -> None:
        rows = [Item("u", 0, "Ada", 1980, 10, True), Item("u", 1, "Bob", 2000, 90, False)]
        first = embed(users("u"), rows, playlists_count=1)
        assert first.equals(embed(users("u"), rows[:1]))
        assert first.select("playlists", "tracks", "mean_popularity", "explicit_ratio").row(0) == (1, 1, 10.0, 1.0)


class TestRows:
    def test_one_row_per_user_in_order_and_conform(self) -> None:
        rows = [Item("b", 0, "Ada", 1990), Item("a", 0, "Bob"), Item("stranger", 0, "Cyd")]
        embedded = embed(users("b", "silent", "a"), rows)
        assert embedded.select("user_id", "source", "content_hash", "feature_version", "unembedded_reason").rows() == [
            ("b", "test", 100, "v1", None),
            ("silent", "test", 101, "v1", "no usable playlist item"),
            ("a", "test", 102, "v1", None),
        ]
        assert sorted(embedded.columns) == sorted(USER_EMBEDDINGS.column_names)
        assert {name: embedded.schema[name] for name in USER_EMBEDDINGS.column_names} == dict(
            USER_EMBEDDINGS.polars_schema()
        )

    def test_a_part_that_cannot_be_known_is_null_and_so_is_nothing_else(self) -> None:
        rows = [
            Item("year", 0, "Ada", 1990),
            Item("genre", 0, "Ada"),
            Item("artist", 0, "Dot"),
            Item("age", 0, "Flo", 1),
        ]
        embedded = embed(users("year", "genre", "artist", "age", "silent"), rows)
        assert embedded.select(pl.col(name).is_not_null() for name in EMBEDDINGS).rows() == [
            (True, True, True, True),
            (True, True, True, False),
            (False, True, False, False),
            (False, True, False, True),
            (False, False, False, False),
        ]
        lengths = embedded.select(pl.col(name).list.len() for name in EMBEDDINGS).row(0)
        assert lengths == (DIM, DIM, DIM, RELEASE_YEAR_DIM)

    def test_statistics(self) -> None:
        rows = [
            Item("u", 0, "Ada", popularity=10, explicit=True),
            Item("u", 0, "Bob", popularity=40),
            Item("u", 2, "Bob", explicit=False),
            Item("u", 2, "Bob", explicit=False),
            Item("v", 0, "Ada"),
        ]
        columns = ["playlists", "tracks", "mean_popularity", "explicit_ratio"]
        found = embed(users("v", "silent", "u"), rows).select(columns).rows()
        assert found == [(1, 1, None, None), (0, 0, None, None), (2, 4, 25.0, pytest.approx(1 / 3))]

    def test_many_users_at_once_are_the_same_one_by_one(self) -> None:
        names = [f"user-{number}" for number in range(12)]
        rows = [row for number, name in enumerate(names) for row in listening(name, 100 + number)]
        together = embed(users(*names), rows, top_artist_count=3)
        for number, name in enumerate(names):
            who = users(*names)[number : number + 1]
            alone = embed(who, [row for row in rows if row.user == name], top_artist_count=3).row(0, named=True)
            for column, value in together.row(number, named=True).items():
                if isinstance(value, list | float):
                    assert alone[column] == pytest.approx(value, abs=1e-6), (name, column)
                else:
                    assert alone[column] == value, (name, column)

    def test_nobody(self) -> None:
        assert embed(users(), [Item("stranger", 0, "Ada")]).height == 0

    def test_nobody_has_any_listening_and_there_is_no_vector(self) -> None:
        nothing = text_vectors(())
        embedded = user_embeddings(users("a", "b"), raw([]), USER_TASTES.empty(), nothing, top_artist_count=5)
        assert (
            embedded.select(*EMBEDDINGS, "unembedded_reason").rows()
            == [(None, None, None, None, "no usable playlist item")] * 2
        )


def years(*pairs: tuple[int, float]) -> list[float]:
    """Return the embedding of one user of ``(year, share)`` pairs."""
    year, weight = (np.array(column) for column in zip(*pairs, strict=True))
    embedding, known = release_year_embedding(np.zeros(len(pairs), np.uint32), year, weight.astype(np.float32), 1)
    assert known.tolist() == [True]
    assert embedding.shape == (1, RELEASE_YEAR_DIM)
    assert embedding.dtype == np.float32
    return embedding[0].tolist()


class TestReleaseYears:
    # 1950  1960  1970  1980  1990  2000  2010  2020  2030 | (mean - 1990) / 40, deviation / 40, share unknown
    @pytest.mark.parametrize(
        ("pairs", "expected"),
        [
            ([(1990, 1.0)], [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
            ([(1950, 1.0)], [1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0]),
            ([(2030, 1.0)], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0]),
            ([(1993, 1.0)], [0, 0, 0, 0, 0.7, 0.3, 0, 0, 0, 0.075, 0, 0]),
            ([(2029, 1.0)], [0, 0, 0, 0, 0, 0, 0, 0.1, 0.9, 0.975, 0, 0]),
            ([(1930, 1.0)], [1, 0, 0, 0, 0, 0, 0, 0, 0, -1.5, 0, 0]),
            ([(2050, 1.0)], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1.5, 0, 0]),
            ([(1970, 0.5), (2010, 0.5)], [0, 0, 0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.5, 0]),
            ([(1985, 0.75), (2005, 0.25)], [0, 0, 0, 0.375, 0.375, 0.125, 0.125, 0, 0, 0, math.sqrt(75) / 40, 0]),
            # A quarter known: the histogram is of what is known, the rest is said apart.
            ([(1995, 0.25)], [0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0.125, 0, 0.75]),
            ([(1980, 0.1), (2000, 0.3)], [0, 0, 0, 0.25, 0, 0.75, 0, 0, 0, 0.125, math.sqrt(75) / 40, 0.6]),
        ],
    )
    def test_by_hand(self, pairs: list[tuple[int, float]], expected: list[float]) -> None:
        assert years(*pairs) == pytest.approx(expected, abs=1e-6)

    def test_each_user_apart_and_one_without_years(self) -> None:
        user, year = np.array([2, 0, 2], np.uint32), np.array([2000, 1960, 1980], np.int32)
        embedding, known = release_year_embedding(user, year, np.array([0.5, 1.0, 0.5], np.float32), 4)
        assert known.tolist() == [True, False, True, False]
        assert embedding[0].tolist() == pytest.approx([0, 1, 0, 0, 0, 0, 0, 0, 0, -0.75, 0, 0])
        assert embedding[2].tolist() == pytest.approx([0, 0, 0, 0.5, 0, 0.5, 0, 0, 0, 0, 0.25, 0])
        assert np.isfinite(embedding).all()

    def test_the_histogram_of_random_years_sums_to_one_and_keeps_their_mean(self) -> None:
        rng = np.random.default_rng(3)
        user, year = rng.integers(0, 20, 400), rng.integers(1950, 2031, 400)
        weight = rng.random(400) / 100
        embedding, known = release_year_embedding(user, year, weight, 20)
        assert known.all()
        assert embedding[:, :9].sum(axis=1) == pytest.approx(np.ones(20), abs=1e-6)
        for number in range(20):
            mine = [(y, w) for u, y, w in zip(user, year, weight, strict=True) if u == number]
            total = math.fsum(w for _, w in mine)
            average = math.fsum(y * w for y, w in mine) / total
            spread = math.sqrt(math.fsum(w * (y - average) ** 2 for y, w in mine) / total)
            # A soft histogram is exact in the mean: between two centres, a year is their weighted mean.
            centre = math.fsum(
                (1950 + 10 * place) * share for place, share in enumerate(embedding[number, :9].tolist())
            )
            assert centre == pytest.approx(average, abs=1e-2)
            assert embedding[number, 9:].tolist() == pytest.approx(
                [(average - 1990) / 40, spread / 40, 1 - total], abs=1e-5
            )

    def test_a_user_embedding_says_the_share_of_unknown_years(self) -> None:
        rows = [Item("u", 0, "Ada", 1990), Item("u", 0, "Bob"), Item("u", 1, "Bob", 2000), Item("u", 1, "Dot")]
        row = embed(users("u"), rows).row(0, named=True)
        assert row["release_year_embedding"] == pytest.approx(
            [0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0.125, 0.125, 0.5], abs=1e-6
        )
