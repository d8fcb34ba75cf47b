"""Find the new, changed and gone users inside a bucket. No other user is read, embedded or indexed again.

As `stale_buckets` does for buckets, this compares tables. So a run after a killed one does what is left. A bucket is
made anew as a whole if most of it is stale, or if somebody asks for it although nothing in it is stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS, LISTENING_MONTHS, RAW_PLAYLISTS, REJECTS, USER_EMBEDDINGS, USERS
from spotify_dag.sources import REQUEST_SOURCES
from spotify_dag.sources.handed_in import RequestSource, wish
from spotify_dag.sources.ingestion import Ingestion, carried_over
from spotify_dag.staleness.stale_buckets import feature_version, versions_of_sources
from spotify_dag.stores.user_index import UserIndex

if TYPE_CHECKING:
    import polars as pl

WHOLE_SHARE = 0.25
"""If a larger share of its users changed, a bucket is made anew as a whole: that reads everything, but only once."""
WHOLE_USERS = 500


@dataclass(frozen=True)
class Changes:
    """The buckets and users to make again."""

    whole: list[int] = field(default_factory=list)
    """Buckets to make again with all of their users."""
    some: list[int] = field(default_factory=list)
    """Buckets in which only ``users`` are made again."""
    users: list[str] = field(default_factory=list)
    """The new, changed and gone users of the buckets ``some``."""
    versions: list[tuple[str, int, str]] = field(default_factory=list)
    """Source, bucket and version of what users handed in, as they were before the users were looked for."""


def changed_users(
    expected: pl.DataFrame, present: pl.DataFrame, buckets: Sequence[int], *, among: pl.DataFrame | None = None
) -> Changes:
    """Compare two frames that begin with ``user_bucket, user_id`` and have equal columns.

    Parameters
    ----------
    expected, present
        One row per user of ``buckets``: what their data should be made from, and what it was made from.
    buckets
        The buckets of the run.
    among
        All users of these buckets (column ``user_bucket``), if ``expected`` has only some of them.
    """
    import polars as pl

    key = expected.columns
    missing = expected.join(present, on=key, how="anti", nulls_equal=True)
    gone = present.join(expected, on="user_id", how="anti")
    stale = pl.concat([frame.select("user_bucket", "user_id") for frame in (missing, gone)]).unique()
    counts = dict(stale["user_bucket"].value_counts().iter_rows())
    users = dict((expected if among is None else among)["user_bucket"].value_counts().iter_rows())

    def is_whole(bucket: int) -> bool:
        count = counts.get(bucket, 0)
        return not count or count > WHOLE_USERS or count > WHOLE_SHARE * users.get(bucket, 0)

    some = [bucket for bucket in buckets if not is_whole(bucket)]
    chosen = stale.filter(pl.col("user_bucket").is_in(some)).sort("user_bucket", "user_id")
    return Changes([bucket for bucket in buckets if bucket not in some], some, chosen["user_id"].to_list())


def changed_features(project: Project, buckets: Sequence[int]) -> Changes:
    """Return the users whose embeddings were not made from what counts for them now, with the present settings."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version"]
    version = pl.lit(feature_version(project)).alias("feature_version")
    users = project.preferences.hashed(project.lake.scan(USERS, buckets), buckets)
    expected = users.with_columns(version).select(columns).collect()
    return changed_users(expected, project.lake.scan(USER_EMBEDDINGS, buckets).select(columns).collect(), buckets)


def changed_vectors(project: Project, index: UserIndex, buckets: Sequence[int]) -> Changes:
    """Return the users whose rows in ``index`` were not made from the present embeddings, or have another opt-in."""
    import polars as pl

    columns = ["user_bucket", "user_id", "content_hash", "feature_version", "opted_in"]
    embedded = project.lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("unembedded_reason").is_null())
    shown = project.lake.scan(USERS, buckets).select("user_id", "opted_in")
    expected = embedded.join(shown, on="user_id", how="left").select(columns).collect()
    return changed_users(expected, index.rows(buckets).select(columns), buckets)


def changed_requests(project: Project, buckets: Sequence[int]) -> Changes:
    """Return the users to read again.

    A bucket is read as a whole if another source changed than those of users who are handed in one by one.
    """
    import polars as pl

    count, n_buckets = project.settings.profiles_count, project.lake.n_buckets
    sources = project.inbox.sources()
    # Before users are looked for: somebody who comes in meanwhile makes the bucket stale again.
    versions = versions_of_sources(project, sources, buckets)
    by_request = {source.name: source for source in sources if isinstance(source, RequestSource)}
    together = {version for version in versions if version[0] not in by_request}
    read = project.lake.scan(INGESTS, buckets).select("source", "user_bucket", "source_version").collect()
    read = read.filter(~pl.col("source").is_in(list(by_request)))
    differing = {bucket for _, bucket, _ in together.symmetric_difference(read.rows())}
    same = [bucket for bucket in buckets if bucket not in differing]
    columns = {"user_bucket": pl.Int32, "user_id": pl.String, "handed_in": pl.String}
    requested = pl.concat(
        [
            pl.DataFrame(schema=columns),
            *(
                source.requests.rows(same, n_buckets, count).select("user_bucket", "user_id", wish())
                for source in by_request.values()
            ),
        ]
    )
    users = project.lake.scan(USERS, same).select(*columns).collect()
    changes = changed_users(requested, users.drop_nulls("handed_in"), same, among=users)
    return Changes(
        sorted([*differing, *changes.whole]), changes.some, changes.users,
        [version for version in versions if version[0] in by_request],
    )  # fmt: skip


def read_requests(project: Project, changes: Changes, now: datetime) -> Ingestion:
    """Read the changed users who were handed in one by one, and write their rows."""
    import polars as pl

    lake, count = project.lake, project.settings.profiles_count
    sources = [source for source in project.inbox.sources() if isinstance(source, RequestSource)]
    some = Ingestion(
        [source.only(source.requests.rows_of(changes.users, count)) for source in sources],
        buckets=changes.some, n_buckets=lake.n_buckets, profiles_count=None, now=now,
        forgotten=project.tombstones.among,
    )  # fmt: skip
    rows = pl.concat([RAW_PLAYLISTS.empty(), *some.records()])
    lake.replace_users(RAW_PLAYLISTS, changes.some, changes.users, rows)
    users = carried_over(some.users(), lake.scan(USERS, changes.some).collect())
    lake.replace_users(USERS, changes.some, changes.users, users)
    lake.replace_users(LISTENING_MONTHS, changes.some, changes.users, some.months())
    lake.replace_users(REJECTS, changes.some, changes.users, some.rejects())
    # Last: a run that is killed before this line is made again.
    lake.replace(INGESTS, changes.some, [_ingests(project, changes, now)])
    return some


def _ingests(project: Project, changes: Changes, now: datetime) -> pl.DataFrame:
    """Return rows of `schemas.INGESTS`: those of other sources as they are, and new counts of users handed in."""
    import polars as pl

    lake, key, buckets = project.lake, ["user_bucket", "source"], changes.some
    schema = {"source": pl.String, "user_bucket": pl.Int32, "source_version": pl.String}
    versions = pl.DataFrame(changes.versions, schema=schema, orient="row").filter(pl.col("user_bucket").is_in(buckets))
    others = lake.scan(INGESTS, buckets).filter(~pl.col("source").is_in(list(REQUEST_SOURCES)))
    users = lake.scan(USERS, buckets).filter(pl.col("handed_in").is_not_null())
    per_source = users.group_by(key).agg(pl.col("rows_kept").sum().cast(pl.Int64), pl.len().alias("users")).collect()
    rejected = lake.scan(REJECTS, buckets).filter("dropped").unique(["file", "row", "user_id"])
    counted = versions.with_columns(pl.lit(now).alias("fetched_at")).join(per_source, on=key, how="left").join(
        rejected.group_by(key).agg(pl.len().alias("rows_rejected")).collect(), on=key, how="left"
    )  # fmt: skip
    counted = counted.with_columns(pl.col("rows_kept", "users", "rows_rejected").cast(pl.Int64).fill_null(0))
    counted = counted.with_columns((pl.col("rows_kept") + pl.col("rows_rejected")).alias("rows_read"))
    return pl.concat([others.collect(), INGESTS.conform(counted)])


def mark_stale(project: Project, buckets: Sequence[int], before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Mark users as stale whose artists got another spelling or other genres since the users were embedded.

    A new user of a bucket can bring the id of an artist, or change which spelling is the most frequent. Users are
    marked in the index first, then in the embeddings, and all that before the artists are written. So a killed run
    leaves too many users marked, never too few.

    Parameters
    ----------
    before, after
        Rows of `schemas.ARTIST_GENRES` of these buckets.

    Returns
    -------
    The number of users marked.
    """
    import polars as pl

    columns = ["user_bucket", "artist_key", "artist_name", "genres"]
    both = before.select(columns).join(
        after.select(columns), on=["user_bucket", "artist_key"], how="left", suffix="_after"
    )
    changed = both.filter(
        pl.col("artist_name").ne_missing(pl.col("artist_name_after"))
        | pl.col("genres").ne_missing(pl.col("genres_after"))
    ).select("user_bucket", "artist_key")
    if changed.is_empty():
        return 0
    listening = project.lake.scan(RAW_PLAYLISTS, buckets).select("user_bucket", "user_id", "artist_name").unique()
    keyed = listening.with_columns(artist_key(pl.col("artist_name")).alias("artist_key"))
    users = keyed.join(changed.lazy(), on=["user_bucket", "artist_key"], how="semi").select("user_id").unique()
    rows = _not_marked(project, buckets).join(users, on="user_id", how="semi").collect()
    for index in UserIndex.all(project.vectors) if rows.height else ():
        index.mark_stale(rows["user_id"].to_list())
    _mark(project, buckets, rows)
    return rows.height


def take_preferences(project: Project, buckets: Sequence[int]) -> None:
    """Have the tastes of some buckets made with the preferences that users have now.

    Users who changed theirs are marked first. So they are made anew although the run is killed, and they undo it.
    """
    import polars as pl

    used, present = project.used_preferences, project.preferences
    before, after = used.digests(buckets), present.digests(buckets)
    changed = [user for user in before.keys() | after.keys() if before.get(user, 0) != after.get(user, 0)]
    if changed:
        _mark(project, buckets, _not_marked(project, buckets).filter(pl.col("user_id").is_in(changed)).collect())
    used.take_over(present, buckets)


def _not_marked(project: Project, buckets: Sequence[int]) -> pl.LazyFrame:
    """Return the rows of `schemas.USER_EMBEDDINGS` of some buckets that were not marked stale yet."""
    import polars as pl

    return project.lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("feature_version") != "")


def _mark(project: Project, buckets: Sequence[int], rows: pl.DataFrame) -> None:
    """Mark rows of `schemas.USER_EMBEDDINGS` as stale."""
    import polars as pl

    stale = rows.with_columns(pl.lit("").alias("feature_version"))
    project.lake.replace_users(USER_EMBEDDINGS, buckets, rows["user_id"].to_list(), stale)
