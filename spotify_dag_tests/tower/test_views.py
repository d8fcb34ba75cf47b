"""Two halves of a user's listening: nothing in both, nothing lost, drawn anew by each seed."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.embeddings import TextVectors
from spotify_dag.schemas import EMBEDDINGS, RAW_PLAYLISTS, USERS
from spotify_dag.tower.views import TrainingData, halves

By = Literal["item", "playlist"]
Key = tuple[str, str, int]
KEY = ["user_id", "playlist_id", "position"]
ARTISTS = [f"artist {number}" for number in range(8)]

# User -> items of each playlist.
SIZES = {
    "even": [10, 10, 10, 10],
    "odd": [7, 1, 3, 5, 9],
    "pair": [30, 2],
    "single list": [11],
    "single items": [1, 1, 1, 1, 1],
    "one item": [1],
}


def listening(sizes: dict[str, list[int]] = SIZES) -> pl.DataFrame:
    rows = [
        (0, user, f"list {number}", number, position, ARTISTS[(7 * number + position) % 8], 1970 + position, None)
        for user, playlists in sizes.items()
        for number, size in enumerate(playlists)
        for position in range(size)
    ]
    schema = RAW_PLAYLISTS.polars_schema()
    columns = [
        "user_bucket", "user_id", "playlist_id", "playlist_position", "position", "artist_name", "release_year",
        "plays",
    ]  # fmt: skip
    return pl.DataFrame(rows, {name: schema[name] for name in columns}, orient="row")


def keys(frame: pl.DataFrame) -> set[Key]:
    found = frame.select(KEY).rows()
    assert len(set(found)) == len(found)
    return set(found)


@pytest.mark.parametrize("by", ["item", "playlist"])
class TestHalves:
    @pytest.mark.parametrize("seed", range(5))
    def test_disjoint_and_complete(self, by: By, seed: int) -> None:
        raw = listening()
        first, second = halves(raw, by=by, seed=seed)
        assert first.columns == second.columns == raw.columns
        assert keys(first) & keys(second) == set()
        assert pl.concat([first, second]).sort(KEY).equals(raw.sort(KEY))

    def test_the_order_of_rows_does_not_matter(self, by: By) -> None:
        raw = listening()
        first, second = halves(raw, by=by, seed=3)
        for shuffle in range(3):
            again = halves(raw.sample(fraction=1, shuffle=True, seed=shuffle), by=by, seed=3)
            assert (keys(again[0]), keys(again[1])) == (keys(first), keys(second))

    def test_a_user_is_split_as_if_alone(self, by: By) -> None:
        raw = listening()
        together = halves(raw, by=by, seed=3)
        for user in SIZES:
            alone = halves(raw.filter(pl.col("user_id") == user), by=by, seed=3)
            for one, all_ in zip(alone, together, strict=True):
                assert keys(one) == {key for key in keys(all_) if key[0] == user}

    def test_the_same_seed_splits_alike_and_another_does_not(self, by: By) -> None:
        raw = listening()
        splits = {seed: frozenset(keys(halves(raw, by=by, seed=seed)[0])) for seed in range(12)}
        assert keys(halves(raw, by=by, seed=0)[0]) == splits[0]
        assert len(set(splits.values())) == 12

    def test_users_with_the_same_playlists_are_split_apart(self, by: By) -> None:
        first, _ = halves(listening({f"user {number}": [5] * 6 for number in range(30)}), by=by, seed=0)
        splits = {
            frozenset(key[1:] for key in some)
            for _, rows in first.group_by("user_id")
            for some in [rows.select(KEY).rows()]
        }
        # Of 30 users, some may draw the same of the 20 ways to halve 6 playlists, but not many.
        assert len(splits) > 12

    def test_each_item_is_as_often_in_one_half_as_in_the_other(self, by: By) -> None:
        raw = listening({"even": [10, 10, 10, 10]})
        counts = Counter(key for seed in range(200) for key in keys(halves(raw, by=by, seed=seed)[0]))
        # 100 times each, with a standard deviation of 7: five of them to either side.
        assert {key for key in keys(raw) if not 65 < counts[key] < 135} == set()

    def test_one_item_leaves_a_half_empty(self, by: By) -> None:
        raw = listening({"one item": [1]})
        for seed in range(5):
            assert sorted(half.height for half in halves(raw, by=by, seed=seed)) == [0, 1]

    def test_no_rows(self, by: By) -> None:
        first, second = halves(listening({}), by=by, seed=0)
        assert (first.height, second.height) == (0, 0)


def test_by_item_halves_hold_as_many_items() -> None:
    for seed in range(5):
        first, second = halves(listening(), by="item", seed=seed)
        counts = Counter(first["user_id"].to_list()), Counter(second["user_id"].to_list())
        for user, sizes in SIZES.items():
            assert (counts[0][user], counts[1][user]) == ((sum(sizes) + 1) // 2, sum(sizes) // 2)


def test_by_item_a_playlist_is_in_both_halves() -> None:
    raw = listening({"even": [10, 10, 10, 10]})
    first, second = halves(raw, by="item", seed=0)
    assert set(first["playlist_id"]) == set(second["playlist_id"]) == set(raw["playlist_id"])


def test_by_playlist_halves_hold_as_many_whole_playlists() -> None:
    for seed in range(5):
        first, second = halves(listening(), by="playlist", seed=seed)
        for user, sizes in SIZES.items():
            if len(sizes) > 1:
                lists = [set(half.filter(pl.col("user_id") == user)["playlist_id"]) for half in (first, second)]
                assert lists[0] & lists[1] == set()
                assert [len(some) for some in lists] == [(len(sizes) + 1) // 2, len(sizes) // 2]


def test_by_playlist_a_single_one_is_split_by_item() -> None:
    for seed in range(5):
        first, second = halves(listening({"single list": [11]}), by="playlist", seed=seed)
        assert (first.height, second.height) == (6, 5)


def training_data(sizes: dict[str, list[int]], *, playlists_count: int | None = None) -> TrainingData:
    users = USERS.polars_schema()
    rng = np.random.default_rng(0)
    raw = listening(sizes).with_columns(popularity=pl.col("position").cast(pl.Float32), explicit=pl.lit(False))
    texts = [*ARTISTS, "rock", "pop"]
    return TrainingData(
        users=pl.DataFrame(
            [(0, user, "test", 1) for user in sizes],
            {name: users[name] for name in ("user_bucket", "user_id", "source", "content_hash")},
            orient="row",
        ),
        raw=raw,
        artist_genres=pl.DataFrame(
            {
                "user_bucket": [0] * 8,
                "artist_key": [artist.replace(" ", "") for artist in ARTISTS],
                "artist_name": ARTISTS,
                "genres": [["rock"], ["pop"], ["rock", "pop"], None] * 2,
            },
            {
                "user_bucket": pl.Int32,
                "artist_key": pl.String,
                "artist_name": pl.String,
                "genres": pl.List(pl.String),
            },
        ),
        text_vectors=TextVectors(pl.DataFrame({"text": texts}), rng.normal(size=(10, 4)).astype(np.float32)),
        top_artist_count=50,
        playlists_count=playlists_count,
    )


class TestTrainingData:
    @pytest.mark.parametrize("by", ["item", "playlist"])
    def test_views_are_of_the_same_users_and_of_their_halves(self, by: By) -> None:
        data = training_data(SIZES)
        first, second = data.views(by=by, seed=4)
        assert first["user_id"].to_list() == second["user_id"].to_list() == list(SIZES)
        half, other = halves(data.raw, by=by, seed=4)
        for view, rows in ((first, half), (second, other)):
            counts = Counter(rows["user_id"].to_list())
            assert view["tracks"].to_list() == [counts[user] for user in SIZES]
            means = [rows.filter(pl.col("user_id") == user)["popularity"].mean() for user in SIZES]
            assert view["mean_popularity"].to_list() == pytest.approx(means)
        assert [first["unembedded_reason"][-1], second["unembedded_reason"][-1]] == [None, "no usable playlist item"]
        assert first["genre_embedding"].to_list()[0] != second["genre_embedding"].to_list()[0]

    def test_the_whole_is_what_serves(self) -> None:
        data = training_data(SIZES)
        embedded = data.embed(data.raw)
        assert embedded["tracks"].to_list() == [sum(sizes) for sizes in SIZES.values()]
        assert embedded["playlists"].to_list() == [len(sizes) for sizes in SIZES.values()]
        assert embedded.select(pl.col(name).is_not_null().all() for name in EMBEDDINGS[1:2]).row(0) == (True,)

    @pytest.mark.parametrize("by", ["item", "playlist"])
    @pytest.mark.parametrize(("playlists_count", "items"), [(1, 10), (2, 20), (3, 30), (4, 40), (None, 40)])
    def test_only_playlists_that_count_are_split(self, by: By, playlists_count: int | None, items: int) -> None:
        sizes = {f"user {number}": [10, 10, 10, 10] for number in range(20)}
        first, second = training_data(sizes, playlists_count=playlists_count).views(by=by, seed=0)
        assert [one + other for one, other in zip(first["tracks"], second["tracks"], strict=True)] == [items] * 20
        smaller = items // 2 if by == "item" or playlists_count == 1 else items // 20 * 10
        assert second["tracks"].to_list() == [smaller] * 20
