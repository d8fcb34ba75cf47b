"""Join artists to genres: by id, then by name as written, then by normalised name. Missing stays missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def artist_key(name: pl.Expr) -> pl.Expr:
    """Return the normalised name: accents, case, punctuation, spaces and a leading "The" removed, "&" read as "and".

    A name of punctuation only ("!!!") is its own key.
    """
    import polars as pl

    # Only accents and emoji variants are removed. Other marks belong to the spelling: vowels in Devanagari, voicing in
    # Kana.
    accents = r"[\x{300}-\x{36F}\x{FE00}-\x{FE0F}]+"
    folded = name.str.normalize("NFKD").str.replace_all(accents, "").str.to_lowercase()
    spelled = folded.str.replace_all("&", " and ", literal=True).str.replace(r"^\s*the\s+(\S)", "$1")
    key = spelled.str.replace_all(r"[^\p{L}\p{M}\p{N}]+", "")
    return pl.when(key.str.contains(r"[\p{L}\p{N}]")).then(key).otherwise(folded.str.strip_chars())


def bucket_artists(raw: pl.LazyFrame) -> pl.DataFrame:
    """Return the distinct artists of each bucket with their number of rows.

    Parameters
    ----------
    raw
        Rows of `schemas.RAW_PLAYLISTS`.

    Returns
    -------
    ``user_bucket, artist_key, artist_name`` (most frequent spelling), ``artist_id`` (most frequent), ``rows``.
    """
    import polars as pl

    spellings = raw.group_by("user_bucket", "artist_name", "artist_id").agg(pl.len().alias("rows")).collect()
    return (
        spellings.with_columns(artist_key(pl.col("artist_name")).alias("artist_key"))
        .with_columns(
            pl.col("rows").sum().over("user_bucket", "artist_name").alias("name_rows"),
            pl.col("rows").sum().over("user_bucket", "artist_key", "artist_id").alias("id_rows"),
        )
        .sort("id_rows", "artist_id", descending=[True, False], nulls_last=True)
        .group_by("user_bucket", "artist_key", maintain_order=True)
        .agg(
            pl.col("artist_name").sort_by("name_rows", "artist_name", descending=[True, False]).first(),
            pl.col("artist_id").drop_nulls().first(),
            pl.col("rows").sum(),
        )
    )


def match_genres(artists: pl.DataFrame, tables: list[tuple[str | None, pl.DataFrame]]) -> pl.DataFrame:
    """Add ``genres`` and ``matched_by`` to artists.

    Parameters
    ----------
    artists
        ``artist_key, artist_name, artist_id`` and any other column.
    tables
        Genre tables (``artist_id, artist_name, genres``), best first. With a label, that label is the
        ``matched_by`` of its artists; without one, ``matched_by`` says how it matched: ``id`` or ``name``.

    Returns
    -------
    ``artists`` with ``genres`` (list, null where unknown) and ``matched_by``, in the same order.
    """
    import polars as pl

    matched = artists.with_columns(
        pl.lit(None, pl.List(pl.String)).alias("genres"), pl.lit(None, pl.String).alias("matched_by")
    )
    for label, table in tables:
        with_genres = table.filter(pl.col("genres").list.len() > 0)
        for column, key, how in (
            ("artist_id", pl.col("artist_id"), "id"),
            ("artist_name", pl.col("artist_name").str.strip_chars().str.to_lowercase(), "name"),
            ("artist_name", artist_key(pl.col("artist_name")), "name"),
        ):
            genres_by_key = (
                with_genres.filter(pl.col(column).is_not_null())
                .select(key.alias("key_"), pl.col("genres").alias("new_genres_"))
                .unique("key_", keep="first", maintain_order=True)
            )
            matched = (
                matched.with_columns(key.alias("key_"))
                .join(genres_by_key, on="key_", how="left", maintain_order="left")
                .with_columns(
                    pl.when(pl.col("genres").is_null() & pl.col("new_genres_").is_not_null())
                    .then(pl.lit(label or how))
                    .otherwise("matched_by")
                    .alias("matched_by"),
                    pl.coalesce("genres", "new_genres_").alias("genres"),
                )
                .drop("key_", "new_genres_")
            )
    return matched


def genre_coverage(artist_genres: pl.LazyFrame) -> float | None:
    """Return the share of playlist items whose artist has a genre, 0 to 1; None without items.

    Parameters
    ----------
    artist_genres
        Rows of `schemas.ARTIST_GENRES`.
    """
    import polars as pl

    counts = artist_genres.select(
        pl.col("rows").filter(pl.col("genres").is_not_null()).sum().alias("covered"), pl.col("rows").sum()
    )
    covered, rows = counts.collect().row(0)
    return covered / rows if rows else None
