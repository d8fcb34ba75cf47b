"""Playlist items to tastes: what share of a user's listening goes to each genre, artist and year.

These shares are the weights of the user embeddings. A match is explained with the same shares. So the explanation and
the vector always agree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key

if TYPE_CHECKING:
    import polars as pl


def items(raw: pl.LazyFrame, playlists_count: int | None) -> pl.LazyFrame:
    """Return the items that count, with their ``item_weight``.

    An item of a playlist weighs 1. An entry of a library with play counts weighs log(1 + plays): with raw counts one
    heavy favourite would decide everything. Weights are whole multiples of 2^-20. So their sums are exact and do not
    depend on the order of the rows.

    Parameters
    ----------
    raw
        Rows of `schemas.RAW_PLAYLISTS`.
    playlists_count
        At most this many playlists of a user count, in their order; None for all.

    Returns
    -------
    The rows that count, with ``item_weight`` (float64) added.
    """
    import polars as pl

    weight = (pl.col("plays").log1p() * 2**20).round() / 2**20

    counted = raw if playlists_count is None else raw.filter(pl.col("playlist_position") < playlists_count)
    return counted.with_columns(weight.fill_null(1.0).alias("item_weight"))


def user_tastes(raw: pl.LazyFrame, artist_genres: pl.DataFrame, *, playlists_count: int | None = None) -> pl.DataFrame:
    """Return the tastes of every user in ``raw``.

    Parameters
    ----------
    raw
        Rows of `schemas.RAW_PLAYLISTS`.
    artist_genres
        Rows of `schemas.ARTIST_GENRES` of the same buckets.
    playlists_count
        At most this many playlists of a user count, in their order; None for all.

    Returns
    -------
    Rows of `schemas.USER_TASTES`, sorted by user, kind and descending ``size_weight``. Per user, the weights of artists
    sum to 1, and those of years to the share of items with a year. Weights of genres are shares among items with a
    genre: they sum to 1.
    """
    import polars as pl

    user = ["user_bucket", "user_id"]
    counted = items(raw, playlists_count)
    listened = (
        counted.group_by(*user, "playlist_id", "artist_name")
        .agg(pl.col("item_weight").sum())
        .collect(engine="streaming")
    )
    spelling = (
        listened.select("user_bucket", "artist_name")
        .unique()
        .with_columns(artist_key(pl.col("artist_name")).alias("artist_key"))
        .join(
            artist_genres.select("user_bucket", "artist_key", pl.col("artist_name").alias("name"), "genres"),
            on=["user_bucket", "artist_key"],
        )
        .drop("artist_key")
    )
    listened = listened.join(spelling, on=["user_bucket", "artist_name"])
    artists = _shares(listened.group_by(*user, "name").agg(pl.col("item_weight").sum()), user)
    years = counted.group_by(*user, "release_year").agg(pl.col("item_weight").sum()).collect(engine="streaming")
    return pl.concat(
        [
            _genre_shares(listened, user).select(*user, pl.lit("genre").alias("kind"), "name", "weight", "size_weight"),
            artists.select(*user, pl.lit("artist").alias("kind"), "name", "weight", "size_weight"),
            _shares(years, user)
            .filter(pl.col("release_year").is_not_null())
            .select(
                *user, pl.lit("year").alias("kind"), pl.col("release_year").cast(pl.String).alias("name"), "weight",
                "size_weight",
            ),
        ]
    ).sort(*user, "kind", "size_weight", "name", descending=[False, False, False, True, False])  # fmt: skip


def _shares(weighted: pl.DataFrame, user: list[str]) -> pl.DataFrame:
    """Turn item weights into shares of the user's whole listening."""
    import polars as pl

    share = (pl.col("item_weight") / pl.col("item_weight").sum().over(user)).cast(pl.Float32)
    return weighted.with_columns(share.alias("weight"), share.alias("size_weight"))


def _genre_shares(listened: pl.DataFrame, user: list[str]) -> pl.DataFrame:
    """Return the genre weights of users.

    An item's weight is shared equally among its artist's genres. ``weight`` is the mean over playlists of the share
    within the playlist; ``size_weight`` is the share over all items.
    """
    import polars as pl

    weight = pl.col("item_weight")
    playlists = pl.col("playlist_id").n_unique().over(user)
    return (
        listened.filter(pl.col("genres").list.len() > 0)
        .with_columns(
            (weight / weight.sum().over([*user, "playlist_id"]) / playlists).alias("weight"),
            (weight / weight.sum().over(user)).alias("size_weight"),
        )
        .group_by(*user, "name")
        .agg(pl.col("genres").first(), pl.col("weight").sum(), pl.col("size_weight").sum())
        .with_columns(pl.col("weight", "size_weight") / pl.col("genres").list.len())
        .drop("name")
        .explode("genres")
        .group_by(*user, pl.col("genres").alias("name"))
        .agg(pl.col("weight").sum().cast(pl.Float32), pl.col("size_weight").sum().cast(pl.Float32))
    )
