"""Two views of one user: disjoint halves of the listening, made into user embeddings by the very code that serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spotify_dag.features.embeddings import TextVectors, user_embeddings
from spotify_dag.features.tastes import items, user_tastes

if TYPE_CHECKING:
    import polars as pl


def halves(raw: pl.DataFrame, *, by: Literal["item", "playlist"], seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
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


@dataclass(frozen=True)
class TrainingData:
    """The listening a tower is trained on."""

    users: pl.DataFrame
    """Rows of `schemas.USERS`."""
    raw: pl.DataFrame
    """Rows of `schemas.RAW_PLAYLISTS`."""
    artist_genres: pl.DataFrame
    """Rows of `schemas.ARTIST_GENRES`."""
    text_vectors: TextVectors
    top_artist_count: int
    playlists_count: int | None

    def embed(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return the user embeddings of all users from ``raw``, a part of their listening."""
        tastes = user_tastes(raw.lazy(), self.artist_genres, playlists_count=self.playlists_count)
        return user_embeddings(
            self.users,
            raw.lazy(),
            tastes,
            self.text_vectors,
            top_artist_count=self.top_artist_count,
            playlists_count=self.playlists_count,
        )

    def views(self, *, by: Literal["item", "playlist"], seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the user embeddings of two halves, row by row of the same users."""
        # Only what counts is split: a half of playlists that do not count would be an empty one.
        counted = items(self.raw.lazy(), self.playlists_count).drop("item_weight").collect()
        first, second = halves(counted, by=by, seed=seed)
        return self.embed(first), self.embed(second)
