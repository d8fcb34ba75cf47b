"""Two halves of a user's listening: nothing in both, nothing lost, drawn anew by each seed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.embeddings import TextVectors
from spotify_dag.schemas import RAW_PLAYLISTS, USERS
from spotify_dag.tower.inputs import Listening
from spotify_dag.tower.views import UserData, first_items, halves

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


class TestFirstItems:
    def test_at_most_so_many_items_of_one_playlist(self) -> None:
        raw = listening()
        for count in (1, 3, 10, 100):
            some = first_items(raw, count, seed=1)
            assert some.columns == raw.columns
            assert keys(some) <= keys(raw)
            for user, sizes in SIZES.items():
                of_user = some.filter(pl.col("user_id") == user)
                assert of_user["playlist_id"].n_unique() == 1
                size = sizes[int(of_user["playlist_id"][0].split()[1])]
                assert of_user.height == min(count, size)

    def test_drawn_by_the_seed_and_not_by_the_order_of_rows(self) -> None:
        raw = listening()
        some = keys(first_items(raw, 3, seed=1))
        assert keys(first_items(raw.sample(fraction=1, shuffle=True, seed=5), 3, seed=1)) == some
        assert len({frozenset(keys(first_items(raw, 3, seed=seed))) for seed in range(8)}) == 8

    def test_not_always_the_first_ones(self) -> None:
        drawn = {key[2] for seed in range(40) for key in keys(first_items(listening({"even": [10]}), 2, seed=seed))}
        assert drawn == set(range(10))


def user_data(sizes: dict[str, list[int]], *, playlists_count: int | None = None) -> UserData:
    users = USERS.polars_schema()
    rng = np.random.default_rng(0)
    raw = listening(sizes).with_columns(popularity=pl.col("position").cast(pl.Float32), explicit=pl.lit(False))
    texts = [*ARTISTS, "rock", "pop"]
    return UserData(
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


def same(first: Listening, second: Listening) -> bool:
    """Return whether two listenings are equal, up to rounding."""
    arrays: list[Any] = [
        [*one.embeddings, one.known, one.statistics, one.artists.toarray(), one.genres.toarray(), one.tracks]
        for one in (first, second)
    ]
    return all(
        np.allclose(a, b, rtol=1e-6, atol=1e-7, equal_nan=a.dtype.kind == "f") for a, b in zip(*arrays, strict=True)
    )


class TestHalved:
    @pytest.mark.parametrize("by", ["item", "playlist"])
    def test_rows_are_users_and_sides_their_halves(self, by: By) -> None:
        data = user_data(SIZES)
        halved = data.halved((by,), seed=4)
        assert len(halved) == len(SIZES)
        assert len(halved.halves) == 1
        for side, rows in zip(halved.halves[0], halves(data.raw, by=by, seed=4_000), strict=True):
            counts = Counter(rows["user_id"].to_list())
            assert side.tracks.tolist() == [counts[user] for user in SIZES]
            means = [rows.filter(pl.col("user_id") == user)["popularity"].mean() for user in SIZES]
            expected = [np.nan if mean is None else mean / 100 for mean in means]
            assert side.statistics[:, 0] == pytest.approx(np.array(expected), nan_ok=True)
            assert same(side, data.listening(rows, halved.catalogue))

    def test_shares_are_of_the_half(self) -> None:
        data = user_data({"even": [10, 10, 10, 10]})
        halved = data.halved(("playlist",), seed=0)
        for side, rows in zip(halved.halves[0], halves(data.raw, by="playlist", seed=0), strict=True):
            counts = Counter(rows["artist_name"].to_list())
            expected = [counts[artist] / 20 for artist in ARTISTS]
            assert side.artists.toarray()[0] == pytest.approx(expected)

    def test_the_whole_is_what_serves(self) -> None:
        data = user_data(SIZES)
        halved = data.halved((), seed=4)
        assert halved.whole.tracks.tolist() == [sum(sizes) for sizes in SIZES.values()]
        assert same(halved.whole, data.listening(data.raw, halved.catalogue))

    def test_halvings_are_drawn_anew_by_number_and_by_seed(self) -> None:
        data = user_data(SIZES)
        halved = data.halved(("item", "item"), seed=1)
        assert not same(halved.halves[0][0], halved.halves[1][0])
        assert same(halved.halves[1][0], data.halved(("playlist", "item"), seed=1).halves[1][0])
        assert not same(halved.halves[0][0], data.halved(("item",), seed=2).halves[0][0])

    def test_who_has_something_in_both_halves_is_usable(self) -> None:
        halved = user_data(SIZES).halved(("item", "playlist"), seed=0)
        assert dict(zip(SIZES, halved.usable.tolist(), strict=True)) == {user: user != "one item" for user in SIZES}

    def test_take(self) -> None:
        halved = user_data(SIZES).halved(("item", "playlist"), seed=0)
        rows = np.array([4, 0])
        taken = halved.take(rows)
        assert len(taken) == 2
        assert same(taken.whole, halved.whole.take(rows))
        for pair, all_ in zip(taken.halves, halved.halves, strict=True):
            assert all(same(side, one.take(rows)) for side, one in zip(pair, all_, strict=True))

    def test_progress_hears_of_each(self) -> None:
        heard: list[float] = []
        user_data(SIZES).halved(("item", "playlist", "item"), seed=0, progress=heard.append)
        assert heard == [1, 1, 1]

    @pytest.mark.parametrize("at_once", [1, 2, 100])
    @pytest.mark.medium
    def test_a_few_at_a_time_or_all_at_once(self, at_once: int) -> None:
        data = user_data(SIZES, playlists_count=3)
        kinds: list[By] = ["item", "playlist"]
        heard: list[float] = []
        halved, expected = (
            data.halved(kinds, seed=1, at_once=at_once, progress=heard.append),
            data.halved(kinds, seed=1),
        )
        assert sum(heard) == pytest.approx(len(kinds))
        assert same(halved.whole, expected.whole)
        for pair, expected_pair in zip(halved.halves, expected.halves, strict=True):
            assert all(same(side, other) for side, other in zip(pair, expected_pair, strict=True))

    def test_nobody(self) -> None:
        assert (
            len(dataclasses.replace(user_data(SIZES), users=user_data(SIZES).users.clear()).halved(("item",), seed=0))
            == 0
        )

    @pytest.mark.parametrize("by", ["item", "playlist"])
    @pytest.mark.parametrize(("playlists_count", "items"), [(1, 10), (2, 20), (3, 30), (4, 40), (None, 40)])
    @pytest.mark.medium
    def test_only_playlists_that_count_are_split(self, by: By, playlists_count: int | None, items: int) -> None:
        sizes = {f"user {number}": [10, 10, 10, 10] for number in range(20)}
        halved = user_data(sizes, playlists_count=playlists_count).halved((by,), seed=0)
        first, second = halved.halves[0]
        assert halved.whole.tracks.tolist() == [items] * 20
        assert (first.tracks + second.tracks).tolist() == [items] * 20
        smaller = items // 2 if by == "item" or playlists_count == 1 else items // 20 * 10
        assert second.tracks.tolist() == [smaller] * 20


class TestCounts:
    def test_items_count_once_and_libraries_by_their_plays(self) -> None:
        data = user_data({"even": [8, 3], "other": [2]})
        known = data.catalogue()
        assert known.artists.names == sorted(known.artists.names) == [name.replace(" ", "") for name in ARTISTS]
        counts = data.counts(data.raw, known).toarray()
        # The second list of "even" begins with artist 7.
        assert counts.tolist() == [[2, 2, 1, 1, 1, 1, 1, 2], [1, 1, 0, 0, 0, 0, 0, 0]]
        played = data.raw.with_columns(plays=pl.when(pl.col("user_id") == "other").then(pl.col("position") * 10 + 5))
        assert data.counts(played, known).toarray()[1].tolist() == [5, 15, 0, 0, 0, 0, 0, 0]
        assert data.counts(played, known).toarray()[0].tolist() == counts[0].tolist()

    def test_without_rows_nobody_listens_to_anything(self) -> None:
        data = user_data(SIZES)
        empty = data.counts(data.raw.head(0), data.catalogue())
        assert (empty.shape, empty.nnz) == ((len(SIZES), 8), 0)
