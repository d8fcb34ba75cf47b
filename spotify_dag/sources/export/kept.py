"""What is kept of an export: one Parquet file per user, and the source that yields what is in them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Self

from spotify_dag.root import Root
from spotify_dag.schemas import RAW_PLAYLISTS, REJECTS
from spotify_dag.sources.base import RECORD_COLUMNS, REJECT_COLUMNS, Batch, Fault, rejects_of
from spotify_dag.sources.handed_in import GivenRequests, Requests, wish

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
        Who handed in what.
    folder
        Where the files are that the requests name.
    """

    requests: Requests
    folder: Root
    name = "export"

    def only(self, rows: pl.DataFrame) -> Self:
        """Return the source with some of its requests."""
        return replace(self, requests=GivenRequests(rows))

    def version(self) -> str:
        """Return a fingerprint of who handed in what, and under which conditions."""
        return self.requests.versions([0], 1).get(0, "")

    def as_handed_in(self) -> Iterator[pl.DataFrame]:
        """Yield what its users handed in, as it was written."""
        import polars as pl

        for content in self._rows()["content"]:
            yield pl.read_parquet(io.BytesIO((self.folder / content).read_bytes()))

    def n_batches(self) -> int:
        """Return the number of batches."""
        return -(-self._rows().height // BATCH_USERS)

    def batches(self) -> Iterator[Batch]:
        """Yield some users at a time. A file that cannot be read is one reject: its user then has no listening."""
        for rows in self._rows().iter_slices(BATCH_USERS):
            frames = [self._read(*row) for row in rows.select("user_id", "content").iter_rows()]
            yield replace(_batch(frames), asked=rows.select("user_id", "opted_in", wish()))

    def artist_genres(self) -> None:
        """Return None: one person's file must not change the genres of an artist for everybody."""

    def _rows(self) -> pl.DataFrame:
        return self.requests.rows([0], 1)  # of one bucket out of one: everybody

    def _read(self, user_id: str, content: str) -> pl.DataFrame:
        import polars as pl

        try:
            return read_kept(self.folder / content).with_columns(pl.lit(user_id).alias("user_id"))
        except (OSError, pl.exceptions.PolarsError) as error:
            reason = (
                f"what was handed in is {'gone' if isinstance(error, FileNotFoundError) else 'damaged'}: add it again"
            )
            return kept_frame(None, rejects_of([Fault(None, user_id, "content", content, reason)], file=content))


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
