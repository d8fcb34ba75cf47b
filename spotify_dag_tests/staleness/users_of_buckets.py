"""Rows of users by bucket, written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import polars as pl

from spotify_dag.schemas import USER_EMBEDDINGS, USERS, user_buckets

READ_AT = datetime(2026, 1, 5, tzinfo=UTC)


def users_in(bucket: int, n_buckets: int, count: int) -> list[str]:
    """Return ids of users whose bucket it is."""
    names = [f"user-{number}" for number in range(40 * count * n_buckets)]
    return [name for name, own in zip(names, user_buckets(names, n_buckets), strict=True) if own == bucket][:count]


def users_of(
    bucket: int, contents: Mapping[str, int], n_buckets: int, opted_in: Mapping[str, bool] | None = None
) -> pl.DataFrame:
    """Return rows of `schemas.USERS`: what each user's listening hashes to, and who may be shown; by default all."""
    shown = opted_in or {}
    rows = [
        {"user_bucket": bucket, "user_id": user, "source": "synthetic", "fetched_at": READ_AT, "rows_kept": 1,
         "content_hash": content, "opted_in": shown.get(user, True)}
        for user, content in contents.items()
    ]  # fmt: skip
    return USERS.conform(pl.DataFrame(rows)) if rows else USERS.empty()


def embeddings_of(users: pl.DataFrame, version: str) -> pl.DataFrame:
    """Return rows of `schemas.USER_EMBEDDINGS` made from rows of users."""
    made = users.select("user_bucket", "user_id", "source", "content_hash").with_columns(
        feature_version=pl.lit(version), playlists=pl.lit(1), tracks=pl.lit(1)
    )
    return USER_EMBEDDINGS.conform(made)


def indexed(embeddings: pl.DataFrame, users: pl.DataFrame) -> pl.DataFrame:
    """Return rows of a user index made from rows of embeddings and users."""
    shown = users.select("user_id", "opted_in")
    rows = embeddings.join(shown, on="user_id").select(
        "user_id", "user_bucket", "content_hash", "feature_version", "opted_in"
    )
    return rows.with_columns(vector=pl.lit([1.0, 0.0], pl.Array(pl.Float32, 2)))
