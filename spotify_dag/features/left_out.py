"""Which items of a user count for taste: all but those of artists, genres and playlists that the user left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key

if TYPE_CHECKING:
    import polars as pl


def same_name(text: pl.Expr) -> pl.Expr:
    """Return names of genres and playlists as they are compared: without case and spaces around them."""
    return text.str.strip_chars().str.to_lowercase()


def counted_items(raw: pl.LazyFrame, artist_genres: pl.LazyFrame, left_out: pl.DataFrame) -> pl.LazyFrame:
    """Return the items that count.

    Parameters
    ----------
    raw
        Rows of `schemas.RAW_PLAYLISTS`.
    artist_genres
        Rows of `schemas.ARTIST_GENRES` of the same buckets.
    left_out
        ``user_id, kind, key``: kind is ``artist`` (the key is an `artist_key`), ``genre`` (all artists of the genre) or
        ``playlist`` (by title or id); these two keys are a `same_name`.

    Returns
    -------
    The rows of ``raw`` that no row of ``left_out`` names, in any order.
    """
    import polars as pl

    if left_out.is_empty():
        return raw
    theirs = pl.col("user_id").is_in(left_out["user_id"].unique().implode())

    def of_kind(kind: str) -> pl.LazyFrame:
        return left_out.lazy().filter(pl.col("kind") == kind).select("user_id", "key")

    named = raw.filter(theirs).with_columns(
        artist_key(pl.col("artist_name")).alias("artist_key"),
        same_name(pl.col("playlist_name")).alias("title_key"),
        same_name(pl.col("playlist_id")).alias("id_key"),
    )
    of_genres = (
        artist_genres.select("user_bucket", "artist_key", "genres")
        .explode("genres")
        .with_columns(same_name(pl.col("genres")).alias("key"))
        .join(of_kind("genre"), on="key")
        .select("user_id", "user_bucket", "artist_key")
    )
    counted = (
        named.join(of_kind("artist"), left_on=["user_id", "artist_key"], right_on=["user_id", "key"], how="anti")
        .join(of_genres, on=["user_id", "user_bucket", "artist_key"], how="anti")
        .join(of_kind("playlist"), left_on=["user_id", "title_key"], right_on=["user_id", "key"], how="anti")
        .join(of_kind("playlist"), left_on=["user_id", "id_key"], right_on=["user_id", "key"], how="anti")
        .drop("artist_key", "title_key", "id_key")
    )
    return pl.concat([raw.filter(~theirs), counted])
