"""Users who were handed in one by one: their requests as rows of a table, and the sources that read some of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self, runtime_checkable

from pydantic import AwareDatetime, ConfigDict, Field

from spotify_dag.schemas import user_buckets
from spotify_dag.sources.base import MAX_NAME, Source

if TYPE_CHECKING:
    import polars as pl

RequestSourceName = Literal["export"]
"""Sources of users who are handed in one by one."""


@dataclass(frozen=True)
class UserRequest:
    """One user who was handed in: their id, where their listening is, and what they agreed to.

    ``pydantic.TypeAdapter(UserRequest)`` reads and checks those that come from outside.
    """

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    source: RequestSourceName
    user_id: Annotated[str, Field(pattern=r"^[^\s\p{C}]+$", max_length=MAX_NAME)]
    content: Annotated[str, Field(pattern=r"^[0-9a-f]{16}-[0-9a-f]{16}\.parquet$")]
    """Name of the file with their listening."""
    opted_in: bool
    """Whether others may be told of them."""
    requested_at: AwareDatetime

    @property
    def wish(self) -> tuple[str, str, bool]:
        """What there is to read: equal when handing in again changed nothing."""
        return self.source, self.content, self.opted_in


COLUMNS = [field.name for field in fields(UserRequest)]


def request_rows(requests: Iterable[UserRequest] = ()) -> pl.DataFrame:
    """Return requests as rows of `COLUMNS`."""
    import polars as pl

    types = {"opted_in": pl.Boolean(), "requested_at": pl.Datetime("us", "UTC")}
    rows = [[getattr(request, name) for name in COLUMNS] for request in requests]
    return pl.DataFrame(rows, schema={name: types.get(name, pl.String()) for name in COLUMNS}, orient="row")


def requests_in(rows: pl.DataFrame) -> list[UserRequest]:
    """Return rows of `COLUMNS` as requests."""
    return [UserRequest(*row) for row in rows.select(COLUMNS).iter_rows()]


def wish() -> pl.Expr:
    """Return what there is to read of a request, as one word: ``users.handed_in``."""
    import polars as pl

    shown = pl.when("opted_in").then(pl.lit("public")).otherwise(pl.lit("private"))
    return pl.format("{}-{}", pl.col("content").str.strip_suffix(".parquet"), shown).alias("handed_in")


def bucket_versions(rows: pl.DataFrame) -> dict[int, str]:
    """Return, by bucket, a fingerprint of who handed in what, and under which conditions.

    Parameters
    ----------
    rows
        `COLUMNS` and ``user_bucket``.
    """
    import polars as pl

    opted_in = pl.when("opted_in").then(pl.lit("True")).otherwise(pl.lit("False"))
    # The backslash and the n stand in every fingerprint that was ever stored: without them all is read again.
    lines = rows.select("user_bucket", pl.format("{}|{}|{}\\n", "user_id", "content", opted_in).alias("line"))
    texts = {bucket: theirs["line"].str.join("")[0] for (bucket,), theirs in lines.group_by("user_bucket")}
    return {bucket: hashlib.sha256(texts[bucket].encode()).hexdigest()[:16] for bucket in sorted(texts)}


class Requests(Protocol):
    """Who was handed in, of one source. With ``first``, only so many users count: the first ones."""

    def rows(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> pl.DataFrame:
        """Return `COLUMNS` and ``user_bucket`` of some buckets out of ``n_buckets``, bucket by bucket."""

    def rows_of(self, user_ids: Sequence[str], first: int | None = None) -> pl.DataFrame:
        """Return `COLUMNS` of some users, those of them who were handed in."""

    def versions(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> dict[int, str]:
        """Return `bucket_versions` of some buckets, those that have any users."""


@dataclass(frozen=True, eq=False)
class GivenRequests:
    """Requests that are in memory, in their order."""

    given: pl.DataFrame
    """`COLUMNS`."""

    @classmethod
    def of(cls, requests: Iterable[UserRequest]) -> Self:
        """Return these requests."""
        return cls(request_rows(requests))

    def rows(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> pl.DataFrame:
        """Return those of some buckets."""
        import polars as pl

        counted = self.given if first is None else self.given.head(first)
        places = pl.Series("user_bucket", user_buckets(counted["user_id"].to_list(), n_buckets), dtype=pl.Int32)
        theirs = counted.select(COLUMNS).with_columns(places).filter(pl.col("user_bucket").is_in(buckets))
        return theirs.sort("user_bucket", maintain_order=True)

    def rows_of(self, user_ids: Sequence[str], first: int | None = None) -> pl.DataFrame:
        """Return those of some users."""
        import polars as pl

        counted = self.given if first is None else self.given.head(first)
        return counted.select(COLUMNS).filter(pl.col("user_id").is_in(user_ids))

    def versions(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> dict[int, str]:
        """Return the versions of some buckets."""
        return bucket_versions(self.rows(buckets, n_buckets, first))


@runtime_checkable
class RequestSource(Source, Protocol):
    """A source of users who were handed in one by one. It can read some and leave the others."""

    @property
    def requests(self) -> Requests:
        """Who was handed in."""

    def only(self, rows: pl.DataFrame) -> RequestSource:
        """Return the source with some of its requests, rows of `COLUMNS`."""
