"""The rows of a bucket as they are once the bucket is split: what `rebucket` writes, and nothing computed anew.

Rows of users go where their user goes. Two tables say something of a whole bucket. An artist goes, with the genres that
were found, to each part in which somebody listens to it. What was read of a source is counted by part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.schemas import (
    ARTIST_GENRES,
    INGESTS,
    RAW_PLAYLISTS,
    REJECTS,
    USER_TASTES,
    USERS,
    Table,
    user_buckets,
)
from spotify_dag.sources.handed_in import RequestSource, wish
from spotify_dag.sources.ingestion import source_versions

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.stores.lake import Lake

Allotted = Counter[tuple[str, int]]
"""Numbers by source and part."""


def divided(project: Project, there: Project, table: Table, buckets: Sequence[int]) -> Iterator[pl.DataFrame]:
    """Yield the rows of some buckets of a table as they are in a divided project, without those of forgotten users."""
    lake, into = project.lake, there.lake.n_buckets
    if table is INGESTS:
        yield _ingests(project, there, buckets)
        return
    for bucket in buckets:
        if table is ARTIST_GENRES:
            yield _artists(lake, bucket, into)
        else:
            yield _of_users(project, table, bucket, into)


def _of_users(project: Project, table: Table, bucket: int, into: int) -> pl.DataFrame:
    import polars as pl

    rows = project.lake.scan(table, [bucket]).collect()
    # As when it was read: a reject that names no user is filed under its file.
    owner = pl.coalesce("user_id", "file") if table is REJECTS else pl.col("user_id")
    forgotten = project.tombstones.among(rows["user_id"].unique().drop_nulls())
    rows = rows.filter(~pl.col("user_id").is_in(forgotten).fill_null(False)) if forgotten else rows
    return _placed(rows.with_columns(owner.alias("owner")), "owner", into).drop("owner").select(table.column_names)


def _placed(rows: pl.DataFrame, owner: str, into: int) -> pl.DataFrame:
    """Return rows in their order, with ``user_bucket`` as it is out of ``into``."""
    import polars as pl

    owners = rows[owner].unique()
    places = pl.DataFrame({owner: owners, "user_bucket": user_buckets(owners.to_list(), into)}).cast(
        {owner: pl.String, "user_bucket": pl.Int32}
    )
    return rows.drop("user_bucket", strict=False).join(places, on=owner, how="left", maintain_order="left")


def _artists(lake: Lake, bucket: int, into: int) -> pl.DataFrame:
    """Return the artists of a bucket in each part that has them, with the number of its items there.

    Of users whose listening was dropped, tastes name the artists; how many items there were is as it was.
    """
    import polars as pl

    heard = lake.scan(RAW_PLAYLISTS, [bucket]).group_by("user_id", "artist_name").agg(pl.len().alias("items"))
    weighed = lake.scan(USER_TASTES, [bucket]).filter(pl.col("kind") == "artist")
    named = pl.concat(
        [heard, weighed.select("user_id", artist_name="name", items=pl.lit(0, pl.UInt32))], how="vertical_relaxed"
    ).collect()
    counted = (
        _placed(named.with_columns(artist_key(pl.col("artist_name")).alias("artist_key")), "user_id", into)
        .group_by("artist_key", "user_bucket")
        .agg(pl.col("items").sum())
        .sort("user_bucket")
    )
    rows = lake.scan(ARTIST_GENRES, [bucket]).collect().drop("user_bucket")
    parts = rows.join(counted, on="artist_key", maintain_order="left")
    items = pl.when(pl.col("items") > 0).then("items").otherwise("rows")
    return ARTIST_GENRES.conform(parts.with_columns(items.alias("rows")))


def _ingests(project: Project, there: Project, buckets: Sequence[int]) -> pl.DataFrame:
    """Return what was read, by part. Of users who were handed in one by one, the version says who is in the part."""
    import polars as pl

    lake, into, count = project.lake, there.lake.n_buckets, project.settings.profiles_count
    read = lake.scan(INGESTS, buckets).collect()
    after = [part for bucket in buckets for part in range(bucket, into, lake.n_buckets)]
    by_request = {
        source.name: _Requests(
            source_versions(source, n_buckets=lake.n_buckets, profiles_count=count, buckets=buckets),
            source_versions(source, n_buckets=into, profiles_count=count, buckets=after),
            source.requests.rows(after, into, count).select("user_bucket", "user_id", wish()),
        )
        for source in project.inbox.sources()
        if isinstance(source, RequestSource)
    }
    rows = []
    for bucket in buckets:
        parts = range(bucket, into, lake.n_buckets)
        of_bucket = read.filter(pl.col("user_bucket") == bucket)
        users = _placed(lake.scan(USERS, [bucket]).collect(), "user_id", into)
        counts = _counts(lake, bucket, of_bucket, users, parts)
        for row in of_bucket.iter_rows(named=True):
            source, version = row["source"], row["source_version"]
            theirs = users.filter(pl.col("source") == source).drop_nulls("handed_in")
            for part in parts:
                if source in by_request:
                    handed_in = theirs.filter(pl.col("user_bucket") == part).select("user_id", "handed_in").rows()
                    version = by_request[source].version(row["source_version"], bucket, part, handed_in)
                if version is not None:
                    numbers = {name: counts[name][source, part] for name in counts}
                    rows.append({**row, **numbers, "user_bucket": part, "source_version": version})
    return INGESTS.conform(pl.DataFrame(rows, schema=INGESTS.polars_schema(), orient="row"))


@dataclass(frozen=True)
class _Requests:
    """Who was handed in one by one, of one source."""

    before: dict[int, str]
    """Version of each bucket."""
    after: dict[int, str]
    """Version of each part."""
    wishes: pl.DataFrame
    """``user_bucket, user_id, handed_in``, by part."""

    def version(self, read: str, bucket: int, part: int, handed_in: list[tuple[str, str]]) -> str | None:
        """Return what a part was read as, of a bucket read as ``read``; None if nobody there was handed in.

        A part in which everybody was read as they were handed in is as good as one of a bucket read to its end.
        """
        asked = self.wishes.filter(user_bucket=part).select("user_id", "handed_in").rows()
        return self.after.get(part) if read == self.before.get(bucket) or set(asked) == set(handed_in) else read


def _counts(lake: Lake, bucket: int, read: pl.DataFrame, users: pl.DataFrame, parts: range) -> dict[str, Allotted]:
    """Return ``users``, ``rows_kept``, ``rows_rejected`` and ``rows_read`` of a bucket, each by source and part."""
    import polars as pl

    rejected = lake.scan(REJECTS, [bucket]).filter("dropped").collect().unique(["file", "row", "user_id"])
    rejected = _placed(rejected.with_columns(pl.coalesce("user_id", "file").alias("owner")), "owner", parts.stop)
    key = ["source", "user_bucket"]
    counted = {
        "users": users.group_by(key).agg(pl.len()),
        "rows_kept": users.group_by(key).agg(pl.col("rows_kept").cast(pl.Int64).sum()),
        "rows_rejected": rejected.group_by(key).agg(pl.len()),
    }
    totals = {name: dict(read.select("source", name).iter_rows()) for name in (*counted, "rows_read")}
    counts = {
        name: _allotted(totals[name], Counter({(source, part): n for source, part, n in rows.iter_rows()}), parts)
        for name, rows in counted.items()
    }
    both = counts["rows_kept"] + counts["rows_rejected"]
    return counts | {"rows_read": _allotted(totals["rows_read"], both, parts)}


def _allotted(totals: dict[str, int], counted: Allotted, parts: range) -> Allotted:
    """Return the total of each source by part: as counted by part, and what nobody was counted for with the first part.

    Users of a simulated service are marked otherwise than the source that they were read from. They count for the
    sources that have more than was counted.
    """
    left, allotted = dict(totals), Allotted()

    def take(source: str, part: int, count: int) -> int:
        taken = min(count, left[source])
        left[source] -= taken
        allotted[source, part] += taken
        return count - taken

    others = Counter[int]()
    for (source, part), count in sorted(counted.items()):
        if source in left:
            take(source, part, count)
        else:
            others[part] += count
    for part, rest in sorted(others.items()):
        remaining = rest
        for source in sorted(left):
            remaining = take(source, part, remaining)
    for source, rest in left.items():
        allotted[source, parts[0]] += rest
    return allotted
