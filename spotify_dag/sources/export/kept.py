"""What is kept of an export: one Parquet file per user, and the source that yields what is in them."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Self

from spotify_dag.root import Root
from spotify_dag.schemas import RAW_PLAYLISTS, REJECTS
from spotify_dag.sources.base import RECORD_COLUMNS, REJECT_COLUMNS, Batch, Fault, UserRequest, rejects_of

if TYPE_CHECKING:
    import polars as pl

KEPT_COLUMNS = [*RECORD_COLUMNS, *(name for name in REJECT_COLUMNS if name not in RECORD_COLUMNS), "month"]
"""Records; with a ``reason`` the rejects beside them; with a ``month`` counts: see `months_frame`."""
MONTHS = "a count of a month"
"""What stands as the reason of rows that count a month: they are no records."""
BATCH_USERS = 100
"""Users of a batch: some 100,000 rows."""


def kept_frame(records: pl.DataFrame | None, rejects: pl.DataFrame) -> pl.DataFrame:
    """Return records and rejects as one frame of `KEPT_COLUMNS`."""
    import polars as pl

    empty = _no_rows()
    return pl.concat([empty, *([] if records is None else [records]), rejects], how="diagonal_relaxed").cast(
        empty.schema
    )


def months_frame(months: pl.DataFrame) -> pl.DataFrame:
    """Return `listening_months.COLUMNS` as `KEPT_COLUMNS`: kind, name and count are ``field, value, plays``."""
    import polars as pl

    named = months.select("month", field="kind", value="name", plays="count")
    return kept_frame(None, named.with_columns(pl.lit(MONTHS).alias("reason"), pl.lit(False).alias("dropped")))


def kept_months(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the counts of months in a frame of `KEPT_COLUMNS`: ``user_id, month, kind, name, count``."""
    import polars as pl

    counts = rows.filter(pl.col("month").is_not_null())
    return counts.select("user_id", "month", kind="field", name="value", count="plays")


@cache
def _no_rows() -> pl.DataFrame:
    import polars as pl

    schema = {**REJECTS.polars_schema(), **RAW_PLAYLISTS.polars_schema(), "month": pl.Int32()}
    return pl.DataFrame(schema={name: schema[name] for name in KEPT_COLUMNS})


def read_kept(file: Root) -> pl.DataFrame:
    """Return a frame of `KEPT_COLUMNS` from a file; columns that it was written without are null.

    Raises
    ------
    OSError, polars.exceptions.PolarsError
        If there is no such file, or it is damaged.
    """
    import polars as pl

    content = file.read_bytes()
    present = [name for name in pl.read_parquet_schema(io.BytesIO(content)) if name in KEPT_COLUMNS]
    return kept_frame(None, pl.read_parquet(io.BytesIO(content), columns=present))


def kept_records(file: Root) -> pl.DataFrame | None:
    """Return the records in a file, without the rejects beside them; None where it is gone or damaged."""
    import polars as pl

    try:
        return read_kept(file).filter(pl.col("reason").is_null()).select(RECORD_COLUMNS)
    except (OSError, pl.exceptions.PolarsError):
        return None


@dataclass(frozen=True)
class ExportSource:
    """Users who handed in their own files.

    Parameters
    ----------
    requests
        Who handed in what, in the order in which they are read.
    folder
        Where the files are that the requests name.
    """

    requests: tuple[UserRequest, ...]
    folder: Root
    name = "export"

    def only(self, requests: Sequence[UserRequest]) -> Self:
        """Return the source with these of its requests."""
        return replace(self, requests=tuple(requests))

    def version(self) -> str:
        """Return a fingerprint of who handed in what, and under which conditions."""
        digest = hashlib.sha256()
        for request in self.requests:
            digest.update(f"{request.user_id}|{request.content}|{request.opted_in}\\n".encode())
        return digest.hexdigest()[:16]

    def handed_in(self, request: UserRequest) -> pl.DataFrame:
        """Return what one of its users handed in, as it was written."""
        import polars as pl

        return pl.read_parquet(io.BytesIO((self.folder / request.content).read_bytes()))

    def n_batches(self) -> int:
        """Return the number of batches."""
        return -(-len(self.requests) // BATCH_USERS)

    def batches(self) -> Iterator[Batch]:
        """Yield some users at a time. A file that cannot be read is one reject: its user then has no listening."""
        for start in range(0, len(self.requests), BATCH_USERS):
            yield _batch([self._read(request) for request in self.requests[start : start + BATCH_USERS]])

    def artist_genres(self) -> None:
        """Return None: one person's file must not change the genres of an artist for everybody."""

    def _read(self, request: UserRequest) -> pl.DataFrame:
        import polars as pl

        try:
            return read_kept(self.folder / str(request.content)).with_columns(pl.lit(request.user_id).alias("user_id"))
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = (
                f"what was handed in is {'gone' if isinstance(error, FileNotFoundError) else 'damaged'}: add it again"
            )
            fault = Fault(None, request.user_id, "content", request.content, reason)
            return kept_frame(None, rejects_of([fault], file=str(request.content)))


def _batch(frames: Sequence[pl.DataFrame]) -> Batch:
    import polars as pl

    rows = pl.concat(frames)
    is_record = pl.col("reason").is_null()
    records = rows.filter(is_record).select(RECORD_COLUMNS).with_columns(
        # Without gaps: settings ask for the first playlists of everybody.
        (pl.col("playlist_position").rank("dense").over("user_id") - 1).cast(pl.Int32)
    )  # fmt: skip
    # Counted as ingestion counts them: a row with two faults is one row.
    row = pl.when(is_record).then(pl.int_range(pl.len())).otherwise(-1)
    counted = (
        rows.filter(is_record | pl.col("dropped"))
        .with_columns(row.alias("record"))
        .unique(["record", "file", "row", "user_id"])
    )
    read = counted.group_by("user_id").agg(pl.len().alias("rows_read"))
    users = rows.select(pl.col("user_id").unique(maintain_order=True))
    read = users.join(read, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col("rows_read").fill_null(0)
    )
    rejects = rows.filter(~is_record & pl.col("month").is_null()).select(REJECT_COLUMNS)
    return Batch(records, rejects, read, months=kept_months(rows))
