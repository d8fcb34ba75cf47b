"""Two views of one user: disjoint halves of the listening, made into user embeddings by the very code that serves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from spotify_dag.features.embeddings import TextVectors, user_embeddings
from spotify_dag.features.genres import artist_key
from spotify_dag.features.tastes import items, user_tastes
from spotify_dag.tower.inputs import Catalogue, Gathered, Listening, catalogue, listening, weights

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

By = Literal["item", "playlist"]
HALVED_AT_ONCE = 5_000


def halves(raw: pl.DataFrame, *, by: By, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split the listening of every user in two.

    By playlist, a user with a single one is split by item. The split depends on the rows and the seed only, not on
    the order of rows. A user with a single item has one empty half.

    Returns
    -------
    Two frames with the columns of ``raw``, disjoint, together all of its rows.
    """
    import polars as pl

    unit = pl.col("playlist_id")
    if by == "item":
        item = pl.struct("playlist_id", "position")
    else:
        single = unit.n_unique().over("user_id") < 2
        item = pl.struct(unit, pl.when(single).then("position"))
    # Every second unit in the order of a hash: halves of equal size, drawn anew by each seed.
    turn = pl.struct("user_id", item.alias("unit")).hash(seed).rank("dense").over("user_id") % 2
    split = raw.with_columns(turn.alias("turn"))
    return tuple(split.filter(pl.col("turn") == side).drop("turn") for side in (1, 0))  # type: ignore[return-value]


def first_items(raw: pl.DataFrame, count: int, *, seed: int) -> pl.DataFrame:
    """Return at most ``count`` items of one playlist of every user, drawn by ``seed``."""
    import polars as pl

    playlist = pl.struct("user_id", "playlist_id").hash(seed)
    first_playlist = raw.filter(playlist == playlist.min().over("user_id"))
    item = pl.struct("user_id", "playlist_id", "position").hash(seed)
    return first_playlist.filter(item.rank("ordinal").over("user_id") <= count)


@dataclass(frozen=True)
class Halved:
    """Users with the halves of their listening: what a tower is trained and judged on."""

    whole: Listening
    halves: Sequence[tuple[Listening, Listening]]
    """Halvings, each drawn anew; rows are the users of ``whole``."""
    catalogue: Catalogue

    def __len__(self) -> int:
        return len(self.whole)

    def take(self, rows: np.ndarray) -> Halved:
        """Return some users."""
        return Halved(self.whole.take(rows), [(a.take(rows), b.take(rows)) for a, b in self.halves], self.catalogue)

    @property
    def judging(self) -> tuple[Listening, Listening]:
        """The halving that choices are judged by: by playlist, as matches are evaluated."""
        return self.halves[-1]

    @property
    def usable(self) -> np.ndarray:
        """``[users]`` bool: who has something in both halves of every halving."""
        sides = [side.tracks > 0 for pair in self.halves for side in pair]
        return np.logical_and.reduce(sides, initial=True) & (self.whole.tracks > 0)


@dataclass(frozen=True)
class UserData:
    """The rows of some users, as the lake has them."""

    users: pl.DataFrame
    """Rows of `schemas.USERS`."""
    raw: pl.DataFrame
    """Rows of `schemas.RAW_PLAYLISTS`."""
    artist_genres: pl.DataFrame
    """Rows of `schemas.ARTIST_GENRES`."""
    text_vectors: TextVectors
    top_artist_count: int
    playlists_count: int | None

    def take(self, rows: np.ndarray | slice) -> UserData:
        """Return some users, with the artists and vectors of all."""
        import polars as pl

        users = self.users[rows]
        return replace(self, users=users, raw=self.raw.filter(pl.col("user_id").is_in(users["user_id"].implode())))

    def counted(self) -> pl.DataFrame:
        """Return the playlist items that count: a half of playlists that do not count would be an empty one."""
        return items(self.raw.lazy(), self.playlists_count).drop("item_weight").collect()

    def catalogue(self) -> Catalogue:
        """Return the artists and genres of these users."""
        return catalogue(self.artist_genres, self.text_vectors)

    def listening(self, raw: pl.DataFrame, catalogue: Catalogue) -> Listening:
        """Return all users as arrays, from ``raw``, a part of their listening."""
        tastes = user_tastes(raw.lazy(), self.artist_genres, playlists_count=self.playlists_count)
        embeddings = user_embeddings(
            self.users,
            raw.lazy(),
            tastes,
            self.text_vectors,
            top_artist_count=self.top_artist_count,
            playlists_count=self.playlists_count,
        )
        return listening(embeddings, tastes, catalogue)

    def counts(self, raw: pl.DataFrame, catalogue: Catalogue) -> csr_matrix:
        """Return ``[users, artists]`` play counts of ``raw``; an item of a playlist counts once."""
        import polars as pl

        index = self.users.select("user_id").with_row_index("user")
        played = (
            raw.with_columns(artist_key(pl.col("artist_name")).alias("name"), pl.col("plays").fill_null(1))
            .join(index, on="user_id")
            .with_columns(pl.col("plays").cast(pl.Float64).alias("weight"))
        )
        return weights(played, catalogue.artists, self.users.height)

    def halved(
        self,
        by: Sequence[By],
        *,
        seed: int,
        progress: Callable[[float], None] = lambda _: None,
        at_once: int = HALVED_AT_ONCE,
    ) -> Halved:
        """Return the users with one halving per entry of ``by``.

        Parameters
        ----------
        by
            How each halving splits.
        seed
            Of the splits.
        progress
            Hears how much more is done, in halvings.
        at_once
            Users whose listening is halved at a time: what it takes in between is many times the size of the result.
        """
        known = self.catalogue()
        whole = Gathered(self.users.height)
        pairs = [(Gathered(self.users.height), Gathered(self.users.height)) for _ in by]
        for begin in range(0, max(self.users.height, 1), at_once):
            some = self.take(slice(begin, begin + at_once))
            counted = some.counted()
            whole.add(some.listening(counted, known))
            for number, kind in enumerate(by):
                split = halves(counted, by=kind, seed=seed * 1_000 + number)
                for gathered, half in zip(pairs[number], split, strict=True):
                    gathered.add(some.listening(half, known))
                progress(some.users.height / max(self.users.height, 1))
        return Halved(whole.listening(), [(first.listening(), second.listening()) for first, second in pairs], known)
