"""Drop listening once it is old, and users that their source no longer has.

Of a user whose listening is dropped, tastes, embeddings and vector stay as they are, and so does the row in ``users``
that says what they were made from: nothing is stale because of it. ``users.dropped_at`` says since when.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.lifecycle.forget import remove
from spotify_dag.lifecycle.orphaned_text import OrphanedText
from spotify_dag.schemas import (
    ARTIST_GENRES,
    LISTENING_MONTHS,
    RAW_PLAYLISTS,
    REJECTS,
    USERS,
    WEEKLY_PLAYLISTS,
    user_buckets,
)
from spotify_dag.sources import listed_mirrors
from spotify_dag.sources.listenbrainz.dump import drop_old_bases
from spotify_dag.sources.spotify.store import Database, Mirror, mirrors

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.schemas import Table
    from spotify_dag.stores.lake import Lake


_NOT_OF_TASTES = ("release_year_embedding", "playlists", "tracks", "mean_popularity", "explicit_ratio")
"""What only playlist items tell of a user, and no encoder has a part in."""


class RetentionError(SpotifyDagError):
    """It is not said how long anything is kept. The message says how to."""


@dataclass
class Retained:
    """What retention did."""

    users_dropped: int = 0
    """Users whose listening was dropped now; what was made of it stays."""
    rows_dropped: dict[str, int] = field(default_factory=dict)
    """Rows per table."""
    users_removed: list[str] = field(default_factory=list)
    """Users that their source has been without for longer than the grace period."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def retain(project: Project, now: datetime | None = None) -> Retained:
    """Drop what is older than ``SPOTIFY_DAG_RETENTION_DAYS``, if that is set, and remove users gone for too long."""
    now = now or datetime.now(UTC)
    done = Retained()
    if project.settings.retention_days is not None:
        drop_old(project, now, done)
    remove_gone(project, now, done)
    return done


def drop_old(project: Project, now: datetime, done: Retained) -> None:
    """Drop playlist items, rejects and content read or handed in too long ago; noted in ``done``.

    The tables come first: killed before the sources are emptied, they are read once more, and dropped the next time.

    Raises
    ------
    RetentionError
        If ``SPOTIFY_DAG_RETENTION_DAYS`` is not set.
    """
    import polars as pl

    if project.settings.retention_days is None:
        raise RetentionError("Nothing says how long to keep what was read. Set SPOTIFY_DAG_RETENTION_DAYS, e.g. to 90.")
    before = now - timedelta(days=project.settings.retention_days)
    old = project.inbox.requests.handed_in_before(before)
    mirrored = {}
    for path in mirrors(project.settings):
        with closing(Database(path)) as database:
            mirrored[path] = Mirror(database).old_users(before.timestamp())
            old += mirrored[path]
    with listed_mirrors(project.settings) as others:
        listed = [mirror.old_users(before.timestamp()) for mirror in others]
    old += [user for users in listed for user in users]
    aged = (pl.col("fetched_at") < before) | pl.col("user_id").is_in(old)
    newly = aged & pl.col("dropped_at").is_null() & (pl.col("rows_kept") > 0)
    mark = pl.when(newly).then(pl.lit(now)).otherwise("dropped_at").cast(pl.Datetime("us", "UTC")).alias("dropped_at")
    lake = project.lake
    for bucket in range(lake.n_buckets):
        with lake.buckets_locked([bucket]):
            done.users_dropped += lake.scan(USERS, [bucket]).filter(newly).select(pl.len()).collect().item()
            lake.rewrite(USERS, bucket, lambda rows: rows.with_columns(mark))
            dropped = users_dropped(lake, [bucket])["user_id"].to_list()
            theirs = pl.col("user_id").is_in(dropped).fill_null(False)
            for table, gone in (
                (RAW_PLAYLISTS, theirs),
                (LISTENING_MONTHS, theirs),
                (REJECTS, theirs | (pl.col("fetched_at") < before)),
                (WEEKLY_PLAYLISTS, theirs),
            ):
                count = lake.rewrite(table, bucket, lambda rows, gone=gone: rows.remove(gone))  # type: ignore[misc]
                done.rows_dropped[table.name] = done.rows_dropped.get(table.name, 0) + count
    project.inbox.requests.drop_content(before)
    for path, user_ids in mirrored.items():
        with closing(Database(path)) as database:
            Mirror(database).drop_contents(user_ids)
    with listed_mirrors(project.settings) as others:
        for mirror, user_ids in zip(others, listed, strict=True):
            mirror.drop_contents(user_ids)
    drop_old_bases(project.settings.local_data, before.timestamp())


def remove_gone(project: Project, now: datetime, done: Retained) -> None:
    """Remove users that their source has been without for ``SPOTIFY_DAG_GONE_DAYS``; noted in ``done``.

    As when they are forgotten, but without a tombstone: should they come back, they are read again.
    """
    import polars as pl

    before = now - timedelta(days=project.settings.gone_days)
    gone = project.lake.scan(USERS).filter(pl.col("gone_since") < before).select("user_id").collect()
    for user_id in gone["user_id"].sort():
        with project.lake.buckets_locked(user_buckets([user_id], project.lake.n_buckets)):
            remove(project, user_id)
        done.users_removed.append(user_id)
    if done.users_removed:
        OrphanedText(project, done.users_removed[-1]).remove()


def users_dropped(lake: Lake, buckets: list[int]) -> pl.DataFrame:
    """Return the users (``user_id``) whose listening was dropped."""
    import polars as pl

    return lake.scan(USERS, buckets).filter(pl.col("dropped_at").is_not_null()).select("user_id").collect()


def with_dropped(lake: Lake, table: Table, buckets: list[int], made: pl.DataFrame) -> pl.DataFrame:
    """Return rows made anew, with those of users whose listening was dropped as they were.

    Parameters
    ----------
    lake, table, buckets
        Where the rows belong: `schemas.USER_TASTES` or `schemas.USER_EMBEDDINGS`.
    made
        All rows of these buckets, made from what is left. With other features than before, embeddings are those made
        anew, from tastes, which are kept; what tastes do not tell is as it was.
    """
    import polars as pl

    users = users_dropped(lake, buckets)
    before = lake.scan(table, buckets).join(users.lazy(), on="user_id", how="semi").collect()
    if "feature_version" in table.column_names:
        anew = [name for name in table.column_names if name not in _NOT_OF_TASTES]
        other = before.join(made.select("user_id", "feature_version"), on=["user_id", "feature_version"], how="anti")
        remade = made.select(anew).join(other.select("user_id", *_NOT_OF_TASTES), on="user_id")
        before = pl.concat([before.join(remade, on="user_id", how="anti"), table.conform(remade)])
        # What they leave out cannot be taken out of what is gone: else they would be made anew for ever.
        before = before.update(made.select("user_id", "content_hash"), on="user_id", how="left")
    rest = made.join(before.select("user_id").unique(), on="user_id", how="anti")
    return pl.concat([table.conform(rest), before])


def with_artists_of_dropped(lake: Lake, buckets: list[int], made: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `schemas.ARTIST_GENRES` made anew; artists that only dropped rows spoke of stay as they were.

    Buckets without users whose listening was dropped need none.
    """
    import polars as pl

    having = lake.scan(USERS, buckets).filter(pl.col("dropped_at").is_not_null()).select("user_bucket").unique()
    before = lake.scan(ARTIST_GENRES, buckets).join(having, on="user_bucket", how="semi").collect()
    new = before.join(made, on=["user_bucket", "artist_key"], how="anti")
    return pl.concat([ARTIST_GENRES.conform(made), new])
