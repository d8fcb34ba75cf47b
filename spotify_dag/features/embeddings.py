"""Tastes to user embeddings: weighted sums of text vectors, and a fixed-length encoding of release years."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.features.tastes import items

if TYPE_CHECKING:
    import polars as pl

DECADES = np.arange(1950, 2031, 10)
"""Centres of the soft decade histogram; years outside fall on the first or last one."""
RELEASE_YEAR_DIM = len(DECADES) + 3
FEATURES_CODE = "1"
"""Raise when the meaning of an embedding changes: every user is then embedded again."""


@dataclass(frozen=True)
class TextVectors:
    """Vectors of strings: ``texts`` (``text`` column, unique) and ``vectors`` ``[len(texts), dim]`` float32."""

    texts: pl.DataFrame
    vectors: np.ndarray

    def rows(self, texts: pl.Series) -> np.ndarray:
        """Return the vector of each of ``texts``, ``[len(texts), dim]``; zero where one is null or has no vector."""
        import polars as pl

        places = pl.DataFrame({"text": texts}).join(
            self.texts.with_row_index("place"), on="text", how="left", maintain_order="left"
        )["place"]
        rows = np.zeros((len(texts), self.vectors.shape[1]), np.float32)
        has_vector = places.is_not_null().to_numpy()
        rows[has_vector] = self.vectors[places.drop_nulls().to_numpy()]
        return rows


def user_embeddings(
    users: pl.DataFrame,
    raw: pl.LazyFrame,
    tastes: pl.DataFrame,
    text_vectors: TextVectors,
    *,
    top_artist_count: int,
    playlists_count: int | None = None,
    feature_version: str = "",
) -> pl.DataFrame:
    """Return the feature row of every user.

    Parameters
    ----------
    users
        Rows of `schemas.USERS`: the users to embed.
    raw, tastes
        Their rows of `schemas.RAW_PLAYLISTS` and `schemas.USER_TASTES`.
    text_vectors
        Vectors of (at least) the genres and artist names in ``tastes``.
    top_artist_count, playlists_count
        How many artists, and playlists, of a user count.
    feature_version
        Written to every row.

    Returns
    -------
    Rows of `schemas.USER_EMBEDDINGS`, one per user, in the order of ``users``. A part without data is null; a user
    with no part at all has an ``unembedded_reason``.
    """
    import polars as pl

    index = users.select("user_id").with_row_index("user")
    # In one order, so that sums of floats are rounded alike whatever order the rows came in.
    tastes = tastes.join(index, on="user_id").sort("user", "kind", "name")
    genres = tastes.filter(pl.col("kind") == "genre")
    # Ties are broken by name: the same listening then gives the same row, in whatever order it came.
    rank = pl.struct(-pl.col("weight"), "name").rank("ordinal").over("user", "kind")
    artists = tastes.filter((pl.col("kind") == "artist") & (rank <= top_artist_count))
    years = tastes.filter(pl.col("kind") == "year")
    parts = {
        "genre_embedding": _text_mean(genres, "weight", text_vectors, users.height),
        "artist_embedding": _text_mean(artists, "weight", text_vectors, users.height),
        "playlist_embedding": _text_mean(genres, "size_weight", text_vectors, users.height),
        "release_year_embedding": release_year_embedding(
            years["user"].to_numpy(), years["name"].cast(pl.Int32).to_numpy(), years["weight"].to_numpy(), users.height
        ),
    }
    statistics = _statistics(items(raw, playlists_count), users)
    embedded = pl.any_horizontal(pl.col(name).is_not_null() for name in parts)
    return (
        users.select("user_bucket", "user_id", "source", "content_hash")
        .hstack([_nullable(name, *part) for name, part in parts.items()])
        .hstack(statistics)
        .with_columns(
            pl.lit(feature_version).alias("feature_version"),
            pl.when(~embedded).then(pl.lit("no usable playlist item")).alias("unembedded_reason"),
        )
    )


def release_year_embedding(
    user: np.ndarray, year: np.ndarray, weight: np.ndarray, n_users: int
) -> tuple[np.ndarray, np.ndarray]:
    """Encode the release years of users.

    Parameters
    ----------
    user, year, weight
        ``[rows]``: user number, release year, share of the user's listening from that year.
    n_users
        Number of users.

    Returns
    -------
    embedding
        ``[n_users, 12]`` float32: a soft histogram over decade centres 1950 … 2030 (a year between two centres counts
        for both, in proportion) that sums to 1; mean as (year - 1990) / 40; standard deviation / 40 years; share of
        listening whose year is unknown.
    has_years
        ``[n_users]`` bool: whether any year is known.
    """
    width = len(DECADES)
    place = np.clip((year - DECADES[0]) / 10, 0, width - 1)
    low = np.minimum(place.astype(np.int64), width - 2)
    high_share = place - low
    cells = n_users * width
    histogram = np.bincount(user * width + low, weight * (1 - high_share), cells)
    histogram += np.bincount(user * width + low + 1, weight * high_share, cells)
    histogram = histogram.reshape(n_users, width)

    total = np.bincount(user, weight, n_users)
    has_years = total > 0
    safe = np.where(has_years, total, 1)
    mean = np.bincount(user, weight * year, n_users) / safe
    spread = np.sqrt(np.bincount(user, weight * (year - mean[user]) ** 2, n_users) / safe)
    summary = np.stack([(mean - 1990) / 40, spread / 40, np.clip(1 - total, 0, 1)], axis=1)
    return np.hstack([histogram / safe[:, None], summary]).astype(np.float32), has_years


def _text_mean(
    weighted: pl.DataFrame, weight: str, text_vectors: TextVectors, n_users: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weighted mean of text vectors per user.

    Parameters
    ----------
    weighted
        ``user`` (user number), ``name`` and the column ``weight``; weights need not sum to 1.

    Returns
    -------
    Means, ``[n_users, dim]`` float32, and which users have any vector, ``[n_users]`` bool.
    """
    import polars as pl
    import torch

    rows = (
        weighted.join(text_vectors.texts.with_row_index("vector"), left_on="name", right_on="text")
        .with_columns(pl.col(weight).cast(pl.Float64))
        .with_columns((pl.col(weight) / pl.col(weight).sum().over("user")).cast(pl.Float32).alias("share"))
        .sort("user", "name")
    )
    counts = np.bincount(rows["user"].to_numpy(), minlength=n_users)
    offsets = np.concatenate([[0], counts.cumsum()[:-1]])
    means = torch.nn.functional.embedding_bag(
        torch.from_numpy(rows["vector"].to_numpy().astype(np.int64)),
        torch.from_numpy(np.require(text_vectors.vectors, requirements="W")),  # torch warns of read-only arrays
        torch.from_numpy(offsets.astype(np.int64)),
        mode="sum",
        per_sample_weights=torch.from_numpy(rows["share"].to_numpy(writable=True)),
    )
    return means.numpy(), counts > 0


def _statistics(counted: pl.LazyFrame, users: pl.DataFrame) -> pl.DataFrame:
    """Return playlists, tracks, mean popularity and explicit ratio of each user, in the order of ``users``."""
    import polars as pl

    statistics = (
        counted.group_by("user_id")
        .agg(
            pl.col("playlist_id").n_unique().cast(pl.Int32).alias("playlists"),
            pl.len().cast(pl.Int32).alias("tracks"),
            pl.col("popularity").cast(pl.Float64).mean().cast(pl.Float32).alias("mean_popularity"),
            pl.col("explicit").mean().cast(pl.Float32).alias("explicit_ratio"),
        )
        .collect(engine="streaming")
    )
    return (
        users.select("user_id")
        .join(statistics, on="user_id", how="left", maintain_order="left")
        .with_columns(pl.col("playlists", "tracks").fill_null(0))
        .drop("user_id")
    )


def _nullable(name: str, values: np.ndarray, present: np.ndarray) -> pl.Series:
    """Return rows ``[users, dim]`` as a column of lists, null where ``known`` (``[users]`` bool) is false."""
    import polars as pl

    column = pl.Series(name, values, dtype=pl.Array(pl.Float32, values.shape[1])).arr.to_list()
    return pl.select(pl.when(pl.Series(present)).then(column).alias(name)).to_series()
