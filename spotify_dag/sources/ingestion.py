"""Read registered sources into the rows of the lake, batch by batch, for some buckets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spotify_dag.schemas import INGESTS, LISTENING_MONTHS, RAW_PLAYLISTS, REJECTS, USERS, Table, user_buckets
from spotify_dag.sources.base import (
    RECORD_COLUMNS,
    Batch,
    RefreshedSource,
    ResumeLaterError,
    Source,
)
from spotify_dag.sources.handed_in import RequestSource

if TYPE_CHECKING:
    import polars as pl


def source_version(source: Source, profiles_count: int | None) -> str:
    """Return a fingerprint of what ingesting ``source`` would read."""
    return source.version() if profiles_count is None else f"{source.version()}-first{profiles_count}"


def source_versions(
    source: Source, *, n_buckets: int, profiles_count: int | None, buckets: Sequence[int] | None = None
) -> dict[int, str]:
    """Return `source_version` per bucket, of some or of all; of a source of single users, of those that have any.

    Of a source that is looked at again, a bucket's version changes with each of its turns.
    """
    buckets = range(n_buckets) if buckets is None else buckets
    if isinstance(source, RequestSource):
        return source.requests.versions(buckets, n_buckets, profiles_count)
    version = source_version(source, profiles_count)
    if isinstance(source, RefreshedSource):
        return {bucket: f"{version}-{source.refreshed_since(bucket):.0f}" for bucket in buckets}
    return dict.fromkeys(buckets, version)


class Ingestion:
    """One pass over sources. `records` streams the playlist items; the small tables are ready once it is exhausted.

    Parameters
    ----------
    sources
        What to read.
    buckets, n_buckets
        Which users to keep: those of these buckets out of ``n_buckets``.
    profiles_count
        At most this many users of each source, the first ones; None for all.
    now
        Becomes ``fetched_at``.
    forgotten
        Tells who of some users was forgotten: they are read over, and not counted.
    batches
        Reads a source; its own batches by default. `read_once` has those of a run beside others.
    """

    def __init__(
        self, sources: Sequence[Source], *, buckets: Sequence[int], n_buckets: int, profiles_count: int | None,
        now: datetime, forgotten: Callable[[list[str]], set[str]] = lambda _users: set(),
        batches: Callable[[Source], Iterator[Batch]] = lambda source: source.batches(),
    ) -> None:  # fmt: skip
        self._forgotten = forgotten
        self._batches = batches
        self.buckets = list(buckets)
        self.sources: list[Source] = []
        self._versions: list[tuple[str, int, str]] = []
        for source in sources:
            # Before anything is read: a file that changes meanwhile is then read again the next time.
            versions = source_versions(source, n_buckets=n_buckets, profiles_count=profiles_count, buckets=self.buckets)
            self._versions += [(source.name, bucket, version) for bucket, version in versions.items()]
            if isinstance(source, RequestSource):
                self.sources.append(source.only(source.requests.rows(self.buckets, n_buckets, profiles_count)))
            else:
                self.sources.append(source)
        self.n_buckets = n_buckets
        self.profiles_count = profiles_count
        self.now = now
        self.interrupted: dict[str, ResumeLaterError] = {}
        """Sources that could not be read to their end, by name."""
        self._users: list[pl.DataFrame] = []
        self._rejects: list[pl.DataFrame] = []
        self._months: list[pl.DataFrame] = []
        self._reads: list[pl.DataFrame] = []

    def records(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[pl.DataFrame]:
        """Yield rows of `schemas.RAW_PLAYLISTS`; ``progress`` hears each batch."""
        for source in self.sources:
            try:
                yield from self._records(source, progress)
            except ResumeLaterError as error:
                self.interrupted[source.name] = error

    def _records(self, source: Source, progress: Callable[[int], None]) -> Iterator[pl.DataFrame]:
        seen = 0
        for batch in self._batches(source):
            # Not before the next batch is asked for: instead of one, the source may say that it is not at its end.
            if self.profiles_count is not None and seen >= self.profiles_count:
                break
            buckets, allowed = self._buckets_of(batch, seen)
            seen += buckets
            yield self._take(source, batch, allowed)
            progress(1)

    def users(self) -> pl.DataFrame:
        """Return rows of `schemas.USERS`."""
        return _collected(USERS, self._users)

    def months(self) -> pl.DataFrame:
        """Return rows of `schemas.LISTENING_MONTHS`."""
        return _collected(LISTENING_MONTHS, self._months)

    def rejects(self) -> pl.DataFrame:
        """Return rows of `schemas.REJECTS`."""
        return _collected(REJECTS, self._rejects)

    def ingests(self) -> pl.DataFrame:
        """Return rows of `schemas.INGESTS`: one per bucket and source read to its end that has a version there."""
        import polars as pl

        schema = {"source": pl.String, "user_bucket": pl.Int32, "source_version": pl.String}
        whole = [version for version in self._versions if version[0] not in self.interrupted]
        grid = pl.DataFrame(whole, schema=schema, orient="row")
        key = ["user_bucket", "source"]
        counts = ["rows_read", "rows_kept", "rows_rejected", "users"]
        empty = {"user_bucket": pl.Int32, "source": pl.String, **dict.fromkeys(counts, pl.Int64)}
        read = pl.concat([pl.DataFrame(schema=empty), *self._reads]).group_by(key).agg(pl.col(counts).sum())
        return INGESTS.conform(
            grid.join(read, on=key, how="left").with_columns(
                pl.col(counts).fill_null(0), pl.lit(self.now).alias("fetched_at")
            )
        )

    def _buckets_of(self, batch: Batch, seen: int) -> tuple[int, pl.DataFrame]:
        """Return how many users of the batch count, and those of them that are wanted with their buckets."""
        import polars as pl

        user_ids = batch.rows_read["user_id"].to_list()
        if self.profiles_count is not None:
            user_ids = user_ids[: self.profiles_count - seen]
        # Made from Python strings: columns of the batch would keep all of its memory alive as long as these are kept.
        numbered = pl.DataFrame(
            {"user_id": user_ids, "user_bucket": user_buckets(user_ids, self.n_buckets)},
            schema={"user_id": pl.String, "user_bucket": pl.Int32},
        )
        here = numbered.filter(pl.col("user_bucket").is_in(self.buckets))
        return len(user_ids), here.filter(~pl.col("user_id").is_in(self._forgotten(here["user_id"].to_list())))

    def _take(self, source: Source, batch: Batch, allowed: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        stamped = [pl.lit(batch.marked or source.name).alias("source"), pl.lit(self.now).alias("fetched_at")]
        content = batch.records.select(RECORD_COLUMNS)
        hashed = content.select("user_id", content.hash_rows().alias("row_hash"))
        counted = hashed.group_by("user_id").agg(
            # A sum is the same in any order, and wraps around: equal content, equal hash.
            pl.col("row_hash").sum().reinterpret(signed=True).alias("content_hash"),
            pl.len().cast(pl.Int32).alias("rows_kept"),
        )
        nobody = {"user_id": pl.String, "opted_in": pl.Boolean, "handed_in": pl.String}
        asked = pl.DataFrame(schema=nobody) if batch.asked is None else batch.asked
        users = allowed.join(counted, on="user_id", how="left").join(asked, on="user_id", how="left")
        # Who was handed in is shown only if a request says so; other sources are of public listening.
        shown = pl.col("opted_in").fill_null(batch.asked is None)
        users = users.with_columns(pl.col("rows_kept", "content_hash").fill_null(0), shown, *stamped)
        gone = {
            "user_id": list(batch.gone),
            "gone_since": [datetime.fromtimestamp(at, UTC) for at in batch.gone.values()],
        }
        since = pl.DataFrame(gone, schema={"user_id": pl.String, "gone_since": pl.Datetime("us", "UTC")})
        users = users.join(since, on="user_id", how="left")
        self._users.append(users)
        if batch.months is not None:
            self._months.append(batch.months.join(allowed, on="user_id"))
        # A row that names no user is filed under its file, so that it belongs to one bucket too.
        rejects = batch.rejects.with_columns(pl.coalesce("user_id", "file").alias("owner"))
        forgotten = self._forgotten(rejects["user_id"].drop_nulls().unique().to_list())
        rejects = rejects.filter(~pl.col("user_id").is_in(forgotten).fill_null(False))
        owners = rejects["owner"].unique()
        filed = pl.DataFrame({"owner": owners, "user_bucket": user_buckets(owners.to_list(), self.n_buckets)}).cast(
            {"user_bucket": pl.Int32, "owner": pl.String}
        )
        rejects = rejects.join(filed, on="owner").filter(pl.col("user_bucket").is_in(self.buckets))
        if self.profiles_count is not None:
            rejects = rejects.join(allowed, on="user_id", how="semi")
        self._rejects.append(rejects.with_columns(stamped))
        dropped = rejects.filter("dropped").unique(["file", "row", "user_id"])
        number = pl.Int64
        self._reads += [
            users.join(batch.rows_read, on="user_id").select(
                "user_bucket",
                pl.lit(source.name).alias("source"),
                pl.col("rows_read", "rows_kept").cast(number),
                pl.lit(0, number).alias("rows_rejected"),
                pl.lit(1, number).alias("users"),
            ),
            dropped.select(
                "user_bucket",
                pl.lit(source.name).alias("source"),
                pl.col("user_id").is_null().cast(number).alias("rows_read"),
                pl.lit(0, number).alias("rows_kept"),
                pl.lit(1, number).alias("rows_rejected"),
                pl.lit(0, number).alias("users"),
            ),
        ]
        return RAW_PLAYLISTS.conform(content.join(allowed, on="user_id", maintain_order="left").with_columns(stamped))


def carried_over(users: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """Return ``users`` as read; those with nothing left to read are as they were before.

    Retention drops what was read of a user and keeps what was made of it: nothing is not what they listen to now.

    Parameters
    ----------
    users, before
        Rows of `schemas.USERS`: as read now, and as they are in the lake.
    """
    import polars as pl

    now = users.filter(pl.col("rows_kept") == 0).select("user_id", "opted_in", "handed_in", "gone_since")
    dropped = before.filter(pl.col("dropped_at").is_not_null()).drop("opted_in", "handed_in", "gone_since")
    carried = dropped.join(now, on="user_id").select(users.columns)
    return pl.concat([users.join(carried, on="user_id", how="anti"), carried])


def _collected(table: Table, frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return table.conform(pl.concat(frames)) if frames else table.empty()
