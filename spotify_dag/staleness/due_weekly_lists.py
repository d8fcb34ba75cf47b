"""Whose list of this week is missing, and which lists nobody wants or keeps any more: found by comparing tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from spotify_dag.project import Project
from spotify_dag.schemas import USERS, WEEKLY_PLAYLISTS, buckets_of, user_buckets
from spotify_dag.tracks.weekly_lists import kept_weeks

if TYPE_CHECKING:
    import polars as pl


def missing_lists(project: Project, week: str, buckets: Sequence[int] | None = None) -> dict[int, list[str]]:
    """Return the users who want a list, are in the lake and have none of a week, by bucket.

    It costs with the number of users who want lists, not with that of all.
    """
    import polars as pl

    lake = project.lake
    having = lake.scan(WEEKLY_PLAYLISTS, buckets).filter(pl.col("week") == week).select("user_id").collect()
    without = sorted(project.inbox.weekly.users() - set(having["user_id"]))
    among = buckets_of(without, lake.n_buckets)
    if buckets is not None:
        among = sorted(set(among) & set(buckets))
    if not among or project.track_model.card() is None:
        return {}
    users = lake.scan(USERS, among).filter(pl.col("user_id").is_in(without)).select("user_id").collect()
    missing: dict[int, list[str]] = {}
    for user in users["user_id"].sort():
        missing.setdefault(user_buckets([user], lake.n_buckets)[0], []).append(user)
    return missing


def surplus_lists(project: Project, buckets: Sequence[int] | None = None, now: datetime | None = None) -> pl.DataFrame:
    """Return the lists (``user_bucket, user_id, week``) of weeks that are over, and of users who want none any more."""
    import polars as pl

    keys = project.lake.scan(WEEKLY_PLAYLISTS, buckets).select("user_bucket", "user_id", "week")
    asked_for = pl.col("user_id").is_in(sorted(project.inbox.weekly.users()))
    return keys.filter(~asked_for | (pl.col("week") < kept_weeks(now)[-1])).collect()


def stale_weekly_lists(
    project: Project, buckets: Sequence[int] | None = None, now: datetime | None = None
) -> list[int]:
    """Return the buckets, of some or of all, in which a list of this week is missing or another one is to go."""
    missing = missing_lists(project, kept_weeks(now)[0], buckets)
    return sorted({*missing, *surplus_lists(project, buckets, now)["user_bucket"]})
