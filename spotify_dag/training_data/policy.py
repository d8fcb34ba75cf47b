"""The data policy: which users a tower may be trained on.

Spotify's Developer Policy forbids training on data of its Web API. Users whose source is ``spotify`` are matched and
indexed, but not trained on, unless the operator sets ``SPOTIFY_DAG_TRAIN_ON_SPOTIFY``. So it is with ``lastfm-api`` and
``SPOTIFY_DAG_TRAIN_ON_LASTFM``: the terms of Last.fm forbid commercial use. Files that people hand in are another
source.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, USERS
from spotify_dag.stores.bucket_state import of_buckets

if TYPE_CHECKING:
    import polars as pl

WEB_API_SOURCE, LASTFM_SOURCE = "spotify", "lastfm-api"
SHAREABLE = {"listenbrainz": "CC0-1.0", "listenbrainz-dump": "CC0-1.0", "synthetic": "CC0-1.0"}
"""Sources whose data allows that weights trained on it are given to anybody, with the licence of the data.

Others do not, or not for sure: data sets for research (``lastfm``, ``mpd``), tables of unknown origin
(``spotify-songs``), and what people handed in to be matched (``export``). See docs/reference/data-policy.md.
"""
LEAST_USERS = 2
"""The least number of users to train on: the task is to tell users apart."""


def may_be_trained_on(project: Project) -> pl.Expr:
    """Return a condition on the column ``source``: true for rows that may be trained on."""
    import polars as pl

    return ~pl.col("source").is_in(not_trained_on(project))


def not_trained_on(project: Project) -> list[str]:
    """Return the sources that must not be trained on, as the operator has said."""
    settings = project.settings
    allowed = {WEB_API_SOURCE: settings.train_on_spotify, LASTFM_SOURCE: settings.train_on_lastfm}
    return [source for source, is_allowed in allowed.items() if not is_allowed]


def trainable_users(project: Project, buckets: Iterable[int] | None = None) -> pl.LazyFrame:
    """Return the rows of `schemas.USER_EMBEDDINGS` of users that a tower may be trained on, of some buckets or all."""
    return _learnable_users(project, buckets).filter(may_be_trained_on(project))


def _learnable_users(project: Project, buckets: Iterable[int] | None) -> pl.LazyFrame:
    """Return the rows of users that a tower could learn from, whatever their source forbids."""
    import polars as pl

    embedded = pl.col("unembedded_reason").is_null()
    # A tower learns from listening. Retention deletes listening but leaves embeddings, so such users are left out.
    dropped = project.lake.scan(USERS, buckets).filter(pl.col("dropped_at").is_not_null())
    return project.lake.scan(USER_EMBEDDINGS, buckets).filter(embedded).join(dropped, on="user_id", how="anti")


def trainable_counts(project: Project) -> dict[int, int]:
    """Return how many users of each bucket a tower may be trained on; buckets without any are left out."""
    lake, without = project.lake, not_trained_on(project)

    def by_source(buckets: list[int]) -> dict[int, dict[str, int]]:
        import polars as pl

        counted: dict[int, dict[str, int]] = {bucket: {} for bucket in buckets}
        counts = _learnable_users(project, buckets).group_by("user_bucket", "source").agg(pl.len()).collect()
        for bucket, source, count in counts.iter_rows():
            counted[bucket][source] = count
        return counted

    counts = of_buckets(lake, "trainable", lambda: lake.fingerprints((USERS, USER_EMBEDDINGS)), by_source)
    allowed = {
        bucket: sum(count for source, count in sources.items() if source not in without)
        for bucket, sources in counts.items()
    }
    return {bucket: count for bucket, count in allowed.items() if count}


def forbids_sharing(sources: Iterable[str]) -> list[str]:
    """Return those of the training sources of a model that forbid giving it away; all must allow it."""
    return sorted(set(sources) - set(SHAREABLE))


def training_digest(project: Project) -> str:
    """Return a fingerprint of the users a tower would be trained on now, and of their listening and features."""
    columns = ["user_id", "content_hash", "feature_version"]
    rows = training_sample(project, training_buckets(project)).select(columns).collect()
    return f"{rows.height}-{rows.hash_rows().sum() or 0:016x}"


def nothing_to_train_on(project: Project) -> str | None:
    """Return why a tower cannot be trained, and what can be done; None if it can."""
    import polars as pl

    trainable = sum(trainable_counts(project).values())
    if trainable >= LEAST_USERS:
        return None
    dropped = project.lake.scan(USERS).filter(pl.col("dropped_at").is_not_null()).select(pl.len()).collect().item()
    if dropped:
        return (
            f"Nothing to train on: the listening of {dropped:,} users was dropped for its age "
            "(SPOTIFY_DAG_RETENTION_DAYS). Hand it in again, or add users: spotify-dag run --source …"
        )
    rows = project.lake.scan(USER_EMBEDDINGS).filter(pl.col("unembedded_reason").is_null())
    embedded = rows.select(pl.len()).collect().item()
    if embedded == trainable:
        return (
            f"Nothing to train on: a tower takes at least {LEAST_USERS} users, and there are {embedded}. "
            "Add users: spotify-dag run --source …"
        )
    return (
        f"Nothing to train on: {embedded - trainable:,} of {embedded:,} users come from the Spotify Web API or that of "
        "Last.fm, whose terms forbid training on them. Add users of another source (listenbrainz, export, synthetic), "
        "for example: spotify-dag run --source synthetic. Or import a model: spotify-dag models import. Or, where you "
        "are allowed to, set SPOTIFY_DAG_TRAIN_ON_SPOTIFY=true, or SPOTIFY_DAG_TRAIN_ON_LASTFM=true."
    )


def training_buckets(project: Project) -> list[int]:
    """Return the first buckets that together hold at most `Settings.train_users` trainable users; at least one bucket.

    A hash spreads users over buckets, so the first buckets are a fair sample.
    """
    # Buckets that were split follow each other: the sample stays nearly the same.
    of_origin = project.lake.of_origin
    counts = sorted(trainable_counts(project).items(), key=lambda item: (item[0] % of_origin, item[0]))
    within: list[int] = []
    held = 0
    for bucket, count in counts:
        held += count
        if within and held > project.settings.train_users:
            break
        within.append(bucket)
    return within


def training_sample(project: Project, buckets: Iterable[int]) -> pl.LazyFrame:
    """Return the rows of `trainable_users` of `training_buckets` that are trained on: `Settings.train_users` at most.

    A bucket that alone has more gives the users with the smallest hashes, so new users change few of them.
    """
    import polars as pl

    # Of an order of its own: in one bucket the hashes that made the buckets are all alike.
    order = pl.col("user_id").hash(seed=project.settings.seed)
    return trainable_users(project, buckets).filter(order.rank("ordinal") <= project.settings.train_users)
