"""Shares of listening, computed by hand and against a loop over items."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_dag.features.tastes import items, user_tastes
from spotify_dag.schemas import RAW_PLAYLISTS, USER_TASTES

Tastes = dict[tuple[str, str, str], tuple[float, float]]

ARTISTS = {
    "The Cure": ("cure", "The Cure", ["goth", "new wave"]),
    "CURE": ("cure", "The Cure", ["goth", "new wave"]),
    "Björk": ("bjork", "Björk", ["art pop", "electronica", "new wave"]),
    "Slayer": ("slayer", "Slayer", ["metal"]),
    "!!!": ("!!!", "!!!", None),
    "Nobody": ("nobody", "Nobody", []),
}
"""Per spelling: artist key, the name in the lake, genres."""


class Item(NamedTuple):
    user: str
    playlist: int
    artist: str
    year: int | None = None
    plays: int | None = None


def raw(rows: Sequence[Item]) -> pl.LazyFrame:
    """Return items as rows of the lake; playlist numbers are also their positions."""
    columns: dict[str, Any] = {
        "user_bucket": [len(row.user) for row in rows],
        "user_id": [row.user for row in rows],
        "source": ["test"] * len(rows),
        "playlist_id": [f"list-{row.playlist}" for row in rows],
        "playlist_position": [row.playlist for row in rows],
        "position": list(range(len(rows))),
        "artist_name": [row.artist for row in rows],
        "release_year": [row.year for row in rows],
        "plays": [row.plays for row in rows],
    }
    schema = RAW_PLAYLISTS.polars_schema()
    return pl.LazyFrame(columns, {name: schema[name] for name in columns})


def artist_genres(buckets: Sequence[int] = (1, 2, 3)) -> pl.DataFrame:
    known = {key: (name, genres) for key, name, genres in ARTISTS.values()}
    rows = [(bucket, key, name, genres) for bucket in buckets for key, (name, genres) in known.items()]
    schema: dict[str, Any] = {
        "user_bucket": pl.Int32,
        "artist_key": pl.String,
        "artist_name": pl.String,
        "genres": pl.List(pl.String),
    }
    return pl.DataFrame(rows, schema, orient="row")


def weights(tastes: pl.DataFrame) -> Tastes:
    """Return ``(user, kind, name) -> (weight, size_weight)``, every row once."""
    found = {row[:3]: row[3:] for row in tastes.select("user_id", "kind", "name", "weight", "size_weight").rows()}
    assert len(found) == tastes.height
    return found


def reference(rows: Sequence[Item], playlists_count: int | None = None) -> Tastes:
    """Return what `user_tastes` should: one item at a time."""
    found: dict[tuple[str, str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for user in {row.user for row in rows}:
        mine = [row for row in rows if row.user == user and (playlists_count is None or row.playlist < playlists_count)]

        def size(some: Sequence[Item]) -> float:
            return math.fsum(1.0 if row.plays is None else math.log(1 + row.plays) for row in some)

        tagged = [row for row in mine if ARTISTS[row.artist][2]]
        playlists = {row.playlist for row in tagged}
        for row in mine:
            whole = size([row]) / size(mine)
            names = [("artist", ARTISTS[row.artist][1])] + ([("year", str(row.year))] if row.year is not None else [])
            for kind, name in names:
                found[user, kind, name][0] += whole
                found[user, kind, name][1] += whole
        for row in tagged:
            genres = ARTISTS[row.artist][2] or []
            within = size([row]) / size([other for other in tagged if other.playlist == row.playlist])
            for genre in genres:
                found[user, "genre", genre][0] += within / len(playlists) / len(genres)
                found[user, "genre", genre][1] += size([row]) / size(tagged) / len(genres)
    return {key: (weight, size_weight) for key, (weight, size_weight) in found.items()}


def assert_close(found: Tastes, expected: Tastes) -> None:
    assert found.keys() == expected.keys()
    for key, pair in expected.items():
        assert found[key] == pytest.approx(pair, rel=1e-5), key


class TestByHand:
    # Two playlists: one of three items, all metal; one of a single item, half goth and half new wave.
    TWO = (*(Item("u", 0, "Slayer", 1986) for _ in range(3)), Item("u", 1, "The Cure", 1989))

    def test_each_playlist_counts_the_same_in_weight_and_by_its_items_in_size_weight(self) -> None:
        assert weights(user_tastes(raw(self.TWO), artist_genres())) == {
            ("u", "genre", "metal"): (0.5, 0.75),
            ("u", "genre", "goth"): (0.25, 0.125),
            ("u", "genre", "new wave"): (0.25, 0.125),
            ("u", "artist", "Slayer"): (0.75, 0.75),
            ("u", "artist", "The Cure"): (0.25, 0.25),
            ("u", "year", "1986"): (0.75, 0.75),
            ("u", "year", "1989"): (0.25, 0.25),
        }

    def test_rows_are_conform_and_begin_with_what_weighs_most(self) -> None:
        tastes = user_tastes(raw([*self.TWO, *(row._replace(user="ab") for row in self.TWO)]), artist_genres())
        assert tastes.equals(USER_TASTES.conform(tastes))
        assert tastes["user_bucket"].to_list() == [1] * 7 + [2] * 7
        assert tastes.filter(pl.col("user_id") == "u").select("kind", "name").rows() == [
            ("artist", "Slayer"),
            ("artist", "The Cure"),
            ("genre", "metal"),
            ("genre", "goth"),
            ("genre", "new wave"),
            ("year", "1986"),
            ("year", "1989"),
        ]

    def test_unknown_years_and_genres_are_left_out_of_years_and_genres_only(self) -> None:
        rows = [Item("u", 0, "Slayer", None), Item("u", 0, "!!!", 2004), Item("u", 1, "!!!"), Item("u", 1, "Nobody")]
        # The second playlist has no genre at all: it takes nothing from the first.
        assert weights(user_tastes(raw(rows), artist_genres())) == {
            ("u", "genre", "metal"): (1.0, 1.0),
            ("u", "artist", "!!!"): (0.5, 0.5),
            ("u", "artist", "Slayer"): (0.25, 0.25),
            ("u", "artist", "Nobody"): (0.25, 0.25),
            ("u", "year", "2004"): (0.25, 0.25),
        }

    def test_spellings_of_one_artist_are_one_artist(self) -> None:
        rows = [Item("u", 0, "The Cure"), Item("u", 0, "CURE"), Item("u", 1, "CURE"), Item("u", 1, "Slayer")]
        assert weights(user_tastes(raw(rows), artist_genres())) == {
            ("u", "genre", "goth"): (0.375, 0.375),
            ("u", "genre", "new wave"): (0.375, 0.375),
            ("u", "genre", "metal"): (0.25, 0.25),
            ("u", "artist", "The Cure"): (0.75, 0.75),
            ("u", "artist", "Slayer"): (0.25, 0.25),
        }

    def test_plays_are_damped(self) -> None:
        # log(1 + 15) is four times log(1 + 1).
        rows = [Item("u", 0, "Slayer", 1986, plays=15), Item("u", 0, "The Cure", 1989, plays=1)]
        found = weights(user_tastes(raw(rows), artist_genres()))
        assert found["u", "artist", "Slayer"] == pytest.approx((0.8, 0.8))
        assert found["u", "genre", "metal"] == pytest.approx((0.8, 0.8))
        assert found["u", "genre", "goth"] == pytest.approx((0.1, 0.1))
        assert found["u", "year", "1989"] == pytest.approx((0.2, 0.2))

    @pytest.mark.parametrize(
        ("plays", "weight"), [(None, 1.0), (1, 0.6931472), (7, 2.0794415), (10_000_000, 16.118096)]
    )
    def test_the_weight_of_an_item(self, plays: int | None, weight: float) -> None:
        (found,) = items(raw([Item("u", 0, "Slayer", plays=plays)]), None).collect()["item_weight"]
        assert found == pytest.approx(weight, abs=2**-20)
        assert (found * 2**20).is_integer(), "sums of weights would depend on the order of rows"

    def test_only_the_first_playlists_count(self) -> None:
        rows = [Item("u", 2, "Slayer", 1986), Item("u", 0, "The Cure", 1989), Item("u", 1, "!!!", 2004)]
        assert weights(user_tastes(raw(rows), artist_genres(), playlists_count=2)) == {
            ("u", "genre", "goth"): (0.5, 0.5),
            ("u", "genre", "new wave"): (0.5, 0.5),
            ("u", "artist", "The Cure"): (0.5, 0.5),
            ("u", "artist", "!!!"): (0.5, 0.5),
            ("u", "year", "1989"): (0.5, 0.5),
            ("u", "year", "2004"): (0.5, 0.5),
        }

    def test_an_artist_has_the_genres_of_its_bucket(self) -> None:
        genres = artist_genres((1,)).vstack(
            pl.DataFrame({"artist_key": ["slayer"], "artist_name": ["SLAYER"], "genres": [["thrash"]]}).select(
                pl.lit(2, pl.Int32).alias("user_bucket"), "artist_key", "artist_name", "genres"
            )
        )
        assert weights(user_tastes(raw([Item("u", 0, "Slayer"), Item("uu", 0, "Slayer")]), genres)) == {
            ("u", "genre", "metal"): (1.0, 1.0),
            ("u", "artist", "Slayer"): (1.0, 1.0),
            ("uu", "genre", "thrash"): (1.0, 1.0),
            ("uu", "artist", "SLAYER"): (1.0, 1.0),
        }

    def test_no_rows(self) -> None:
        assert user_tastes(raw([]), artist_genres()).equals(USER_TASTES.empty())


listening = st.lists(
    st.builds(
        Item,
        user=st.sampled_from(["a", "b", "cc"]),
        playlist=st.integers(0, 3),
        artist=st.sampled_from(sorted(ARTISTS)),
        year=st.none() | st.integers(1950, 1954),
        plays=st.none() | st.integers(1, 10**9),
    ),
    max_size=25,
)


class TestAgainstALoop:
    @settings(max_examples=60, deadline=None)
    @given(rows=listening, playlists_count=st.none() | st.integers(1, 4))
    @pytest.mark.medium
    def test_weights(self, rows: list[Item], playlists_count: int | None) -> None:
        found = weights(user_tastes(raw(rows), artist_genres(), playlists_count=playlists_count))
        assert_close(found, reference(rows, playlists_count))

    @settings(max_examples=30, deadline=None)
    @given(rows=listening)
    def test_shares_sum_to_one(self, rows: list[Item]) -> None:
        sums: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0])
        for (user, kind, _), pair in weights(user_tastes(raw(rows), artist_genres())).items():
            assert all(0 < share <= 1 for share in pair)
            sums[user, kind] = [total + share for total, share in zip(sums[user, kind], pair, strict=True)]
        for (_, kind), totals in sums.items():
            if kind == "year":
                assert max(totals) <= 1 + 1e-5
            else:
                assert totals == pytest.approx([1, 1], rel=1e-5)

    @settings(max_examples=30, deadline=None)
    @given(rows=listening, data=st.data())
    @pytest.mark.medium
    def test_the_order_of_rows_does_not_matter(self, rows: list[Item], data: st.DataObject) -> None:
        shuffled = data.draw(st.permutations(rows))
        assert user_tastes(raw(shuffled), artist_genres()).equals(user_tastes(raw(rows), artist_genres()))

    @settings(max_examples=30, deadline=None)
    @given(rows=listening)
    @pytest.mark.medium
    def test_a_user_does_not_depend_on_the_others(self, rows: list[Item]) -> None:
        together = weights(user_tastes(raw(rows), artist_genres()))
        alone: Tastes = {}
        for user in {row.user for row in rows}:
            alone |= weights(user_tastes(raw([row for row in rows if row.user == user]), artist_genres()))
        assert_close(together, alone)
