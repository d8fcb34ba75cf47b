"""What is new or changed inside a bucket, user by user, so that nobody else is read, embedded or indexed again.

What a run has to do it finds in the tables, as `staleness` does for buckets, so a run that follows a killed one does
what that left. A bucket that is asked for although nothing in it is stale, or most of it is, is made anew as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS, RAW_PLAYLISTS, REJECTS, USER_EMBEDDINGS, USERS
from spotify_dag.sources.base import RequestSource
from spotify_dag.sources.ingestion import Ingestion, carried_over, requests_of_buckets, source_versions
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.user_index import UserIndex

if TYPE_CHECKING:
    import polars as pl

WHOLE_SHARE = 0.25
"""With a larger share of its users changed, a bucket is made anew as a whole: that reads everything, but once."""
WHOLE_USERS = 500


@dataclass(frozen=True)
class Changes:
    """What has to be made anew."""

    whole: list[int] = field(default_factory=list)
    """Buckets, with all of their users."""
    some: list[int] = field(default_factory=list)
    """Buckets of which only ``users`` are."""
    users: list[str] = field(default_factory=list)
    """Users of ``some`` who are new, changed or gone."""


def changed_users(
    wanted: pl.DataFrame, present: pl.DataFrame, buckets: Sequence[int], *, among: pl.DataFrame | None = None
) -> Changes:
    """Compare two frames that begin with ``user_bucket, user_id`` and have equal columns.

    Parameters
    ----------
    wanted, present
        One row per user of ``buckets``: what they should be made from, and were made from.
    buckets
        The buckets of the run.
    among
        All users of these buckets (``user_bucket``), where ``wanted`` is not all of them.
    """
    import polars as pl

    key = wanted.columns
    missing = wanted.join(present, on=key, how="anti", nulls_equal=True)
    gone = present.join(wanted, on="user_id", how="anti")
    stale = pl.concat([frame.select("user_bucket", "user_id") for frame in (missing, gone)]).unique()
    counts = dict(stale["user_bucket"].value_counts().iter_rows())
    users = dict((wanted if among is None else among)["user_bucket"].value_counts().iter_rows())

    def is_whole(bucket: int) -> bool:
        count = counts.get(bucket, 0)
        return not count or count > WHOLE_USERS or count > WHOLE_SHARE * users.get(bucket, 0)

    some = [bucket for bucket in buckets if not is_whole(bucket)]
    chosen = stale.filter(pl.col("user_bucket").is_in(some)).sort("user_bucket", "user_id")
    return Changes([bucket for bucket in buckets if bucket not in some], some, chosen["user_id"].to_list())


def changed_features(project: Project, buckets: Sequence[int]) -> Changes:
    """Return whose user embeddings were not made from what they listen to now, with the present settings."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version"]
    version = pl.lit(feature_version(project)).alias("feature_version")
    users = project.lake.scan(USERS, buckets).with_columns(version).select(columns).collect()
    return changed_users(users, project.lake.scan(USER_EMBEDDINGS, buckets).select(columns).collect(), buckets)


def changed_vectors(project: Project, index: UserIndex, buckets: Sequence[int]) -> Changes:
    """Return whose vectors in ``index`` were not made from the present user embeddings, or are shown when they hide."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version", "opted_in"]
    embedded = project.lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("unembedded_reason").is_null())
    shown = project.lake.scan(USERS, buckets).select("user_id", "opted_in")
    wanted = embedded.join(shown, on="user_id", how="left").select(columns).collect()
    return changed_users(wanted, index.rows(buckets).select(columns), buckets)


def changed_requests(project: Project, buckets: Sequence[int]) -> Changes:
    """Return who has to be read again. A bucket is whole unless only users changed who were handed in one by one."""
    import polars as pl

    count, n_buckets = project.settings.profiles_count, project.lake.n_buckets
    sources = project.inbox.sources()
    together = [source for source in sources if not isinstance(source, RequestSource)]
    versions = {
        (bucket, source.name, version)
        for source in together
        for bucket, version in source_versions(source, n_buckets=n_buckets, profiles_count=count).items()
        if bucket in buckets
    }
    by_request = [source for source in sources if isinstance(source, RequestSource)]
    read = project.lake.scan(INGESTS, buckets).select("user_bucket", "source", "source_version").collect()
    read = read.filter(~pl.col("source").is_in([source.name for source in by_request]))
    differing = {bucket for bucket, *_ in versions.symmetric_difference(read.rows())}
    same = [bucket for bucket in buckets if bucket not in differing]
    wanted = [
        (bucket, request.user_id, request.wish)
        for source in by_request
        for bucket, requests in requests_of_buckets(source, n_buckets, count).items()
        if bucket in same
        for request in requests
    ]
    columns = {"user_bucket": pl.Int32, "user_id": pl.String, "handed_in": pl.String}
    users = project.lake.scan(USERS, same).select(*columns).collect()
    known = users.drop_nulls("handed_in")
    changes = changed_users(pl.DataFrame(wanted, schema=columns, orient="row"), known, same, among=users)
    return Changes(sorted([*differing, *changes.whole]), changes.some, changes.users)


def read_requests(project: Project, changes: Changes, now: datetime) -> Ingestion:
    """Read users who were handed in one by one, and write down what is new of them."""
    import polars as pl

    lake, count = project.lake, project.settings.profiles_count
    sources = [source for source in project.inbox.sources() if isinstance(source, RequestSource)]
    whole = Ingestion(
        sources,
        buckets=changes.some,
        n_buckets=lake.n_buckets,
        profiles_count=count,
        now=now,
        forgotten=project.tombstones.among,
    )
    chosen = set(changes.users)
    some = Ingestion(
        [source.only([request for request in source.requests if request.user_id in chosen]) for source in sources],
        buckets=changes.some, n_buckets=lake.n_buckets, profiles_count=None, now=now,
        forgotten=project.tombstones.among,
    )  # fmt: skip
    rows = pl.concat([RAW_PLAYLISTS.empty(), *some.records()])
    lake.replace_users(RAW_PLAYLISTS, changes.some, changes.users, rows)
    users = carried_over(some.users(), lake.scan(USERS, changes.some).collect())
    lake.replace_users(USERS, changes.some, changes.users, users)
    lake.replace_users(REJECTS, changes.some, changes.users, some.rejects())
    # Last: a run killed before this line is a run that has to be made again.
    lake.replace(INGESTS, changes.some, [_ingests(project, changes.some, whole)])
    return some


def _ingests(project: Project, buckets: Sequence[int], whole: Ingestion) -> pl.DataFrame:
    """Return rows of `schemas.INGESTS`: what other sources have there, and what the users who are in now add up to."""
    import polars as pl

    lake, key = project.lake, ["user_bucket", "source"]
    versions = whole.ingests()
    others = lake.scan(INGESTS, buckets).filter(~pl.col("source").is_in([source.name for source in whole.sources]))
    users = lake.scan(USERS, buckets).filter(pl.col("handed_in").is_not_null())
    kept = users.group_by(key).agg(pl.col("rows_kept").sum().cast(pl.Int64), pl.len().alias("users")).collect()
    rejected = lake.scan(REJECTS, buckets).filter("dropped").unique(["file", "row", "user_id"])
    counted = versions.drop("rows_read", "rows_kept", "rows_rejected", "users").join(kept, on=key, how="left").join(
        rejected.group_by(key).agg(pl.len().alias("rows_rejected")).collect(), on=key, how="left"
    )  # fmt: skip
    counted = counted.with_columns(pl.col("rows_kept", "users", "rows_rejected").cast(pl.Int64).fill_null(0))
    counted = counted.with_columns((pl.col("rows_kept") + pl.col("rows_rejected")).alias("rows_read"))
    return pl.concat([others.collect(), INGESTS.conform(counted)])


def mark_stale(project: Project, buckets: Sequence[int], before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Make users stale whose artists are spelled otherwise, or have other genres, than when they were embedded.

    Somebody new in a bucket can bring the id of an artist, or tip which spelling is the most frequent. Marked in the
    index first and in the embeddings then, before the artists are written: a run that is killed leaves too many marked.

    Parameters
    ----------
    before, after
        Rows of `schemas.ARTIST_GENRES` of these buckets.

    Returns
    -------
    The number of users marked.
    """
    import polars as pl

    told = ["user_bucket", "artist_key", "artist_name", "genres"]
    others = before.select(told).join(after.select(told), on=["user_bucket", "artist_key"], how="left", suffix="_after")
    changed = others.filter(
        pl.col("artist_name").ne_missing(pl.col("artist_name_after"))
        | pl.col("genres").ne_missing(pl.col("genres_after"))
    ).select("user_bucket", "artist_key")
    if changed.is_empty():
        return 0
    listening = project.lake.scan(RAW_PLAYLISTS, buckets).select("user_bucket", "user_id", "artist_name").unique()
    keyed = listening.with_columns(artist_key(pl.col("artist_name")).alias("artist_key"))
    users = keyed.join(changed.lazy(), on=["user_bucket", "artist_key"], how="semi").select("user_id").unique()
    embedded = project.lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("feature_version") != "")
    rows = embedded.join(users, on="user_id", how="semi").collect()
    if rows.height:
        marked = rows["user_id"].to_list()
        for index in UserIndex.all(project.vectors):
            index.mark_stale(marked)
        stale = rows.with_columns(pl.lit("").alias("feature_version"))
        project.lake.replace_users(USER_EMBEDDINGS, buckets, marked, stale)
    return rows.height
