"""The lake: Delta tables partitioned by user bucket, read with polars, queried with DuckDB.

An asset replaces its buckets in one atomic commit, so readers see either the old rows or the new ones. Delta's
runtime does not survive ``fork``: start other processes with ``spawn``, which is Dagster's default.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from spotify_dag.schemas import TABLES, Table

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa
    from deltalake import DeltaTable

CHUNK_ROWS = 2_000_000
"""Rows a transform holds at once: large enough to be vectorised, small enough for a laptop."""


@dataclass(frozen=True)
class Lake:
    """The Delta tables under one root."""

    root: Path
    n_buckets: int

    def uri(self, table: Table) -> str:
        """Return where a table lives."""
        return str(self.root / table.name)

    def exists(self, table: Table) -> bool:
        """Whether the table was ever written."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(self.uri(table))

    def scan(self, table: Table, buckets: Iterable[int] | None = None) -> pl.LazyFrame:
        """Return the rows of a table, or of some of its buckets, as of now; no rows where it was never written."""
        import polars as pl

        if not self.exists(table):
            return table.empty().lazy()
        frame = pl.scan_delta(_open(self.uri(table)))
        # A table that an earlier version of the program made may lack a column that came later.
        later = set(table.column_names) - set(frame.collect_schema().names())
        absent = [pl.lit(None, dtype).alias(name) for name, dtype in table.polars_schema().items() if name in later]
        frame = frame.with_columns(absent).select(table.column_names)
        return frame if buckets is None else frame.filter(pl.col("user_bucket").is_in(list(buckets)))

    def replace(self, table: Table, buckets: Sequence[int], frames: Iterable[pl.DataFrame]) -> dict[int, int]:
        """Replace buckets of a table by the rows of ``frames``, streamed, in one commit.

        Parameters
        ----------
        table, buckets
            What to replace; a bucket that no row belongs to ends up empty.
        frames
            Frames with the table's columns, in any order of buckets; one is held at a time.

        Returns
        -------
        dict
            Rows written per bucket, zeros included.

        Raises
        ------
        ValueError
            If a row belongs to another bucket or breaks the table's schema; nothing is written then.
        """
        rows = dict.fromkeys(buckets, 0)

        def counted() -> Iterator[pl.DataFrame]:
            for frame in frames:
                for bucket, count in frame["user_bucket"].value_counts().iter_rows():
                    if bucket not in rows:
                        raise ValueError(f"Table '{table.name}': a row of bucket {bucket} in a write of {buckets}.")
                    rows[bucket] += count
                yield frame

        self._write(table, counted(), mode="overwrite", predicate=_in_buckets(buckets))
        return rows

    def replace_users(self, table: Table, buckets: Sequence[int], users: Sequence[str], rows: pl.DataFrame) -> None:
        """Replace what a table has of some users of some buckets by ``rows``, in one commit.

        Rows of others stay in their files, unread if none of these users is in the table yet. Whoever calls this is the
        only one to write to these buckets.
        """
        import polars as pl

        present = self.scan(table, buckets).filter(pl.col("user_id").is_in(users)).head(1).collect()
        if present.height:
            # By digest: Delta writes the condition to its log, where nobody would look for a user.
            named = ", ".join(f"'{hashlib.sha256(user.encode()).hexdigest()}'" for user in users)
            predicate = f"{_in_buckets(buckets)} and encode(sha256(user_id), 'hex') in ({named})"
            self._write(table, [rows], mode="overwrite", predicate=predicate)
        elif rows.height:
            self.append(table, [rows])

    def append(self, table: Table, frames: Iterable[pl.DataFrame]) -> None:
        """Add rows to a table in one commit."""
        self._write(table, frames, mode="append")

    def _write(self, table: Table, frames: Iterable[pl.DataFrame], **how: Any) -> None:
        import pyarrow as pa
        from deltalake import WriterProperties, write_deltalake
        from deltalake.exceptions import DeltaError

        schema = _arrow_schema(table)
        self._create(table, schema)
        problems: list[Exception] = []

        def batches() -> Iterator[pa.RecordBatch]:
            try:
                for frame in _one_ahead(frames):
                    yield from table.conform(frame).to_arrow().cast(schema).to_batches()
            except Exception as error:
                problems.append(error)
                raise

        try:
            write_deltalake(
                self.uri(table),
                pa.RecordBatchReader.from_batches(schema, batches()),
                partition_by=[table.partition_by],
                schema_mode="merge",
                writer_properties=WriterProperties(compression="ZSTD"),
                **how,
            )
        except DeltaError:
            if problems:  # Delta tells of it in its own words: say what went wrong in the frames instead
                raise problems[0] from None
            raise

    def _create(self, table: Table, schema: pa.Schema) -> None:
        """Make an empty table elsewhere and move it into place: of several writers, all find the one that came first.

        Created in place, a table changes under the writers that it races with, and their commits fail.
        """
        from deltalake import DeltaTable

        if self.exists(table):
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".new-") as scratch:
            made = Path(scratch) / table.name
            DeltaTable.create(str(made), schema, partition_by=[table.partition_by])
            try:
                made.rename(self.root / table.name)
            except OSError:
                if not self.exists(table):
                    raise

    def chunks(self, table: Table, buckets: Sequence[int], rows: int = CHUNK_ROWS) -> Iterator[list[int]]:
        """Split buckets into groups of about ``rows`` rows of ``table``, at least one bucket each."""
        import polars as pl

        counts = dict(self.scan(table, buckets).group_by("user_bucket").agg(pl.len()).collect().iter_rows())
        group: list[int] = []
        held = 0
        for bucket in buckets:
            if group and held + counts.get(bucket, 0) > rows:
                yield group
                group, held = [], 0
            group.append(bucket)
            held += counts.get(bucket, 0)
        if group:
            yield group

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Return the version and the number of rows of every table that was written: which data is here now."""
        import polars as pl

        found = {}
        for table in TABLES:
            if self.exists(table):
                opened = _open(self.uri(table))
                rows = pl.scan_delta(opened).select(pl.len()).collect().item()
                found[table.name] = {"version": opened.version(), "rows": rows}
        return found

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with a view per table that was written, over its current files."""
        import duckdb

        connection = duckdb.connect()
        for table in TABLES:
            if not self.exists(table):
                continue
            files = _open(self.uri(table)).file_uris()
            if not files:
                connection.register(table.name, table.empty().to_arrow())
                continue
            listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
            columns = ", ".join(table.column_names)
            connection.execute(
                f"create view {table.name} as select {columns} from read_parquet([{listed}], hive_partitioning = true)"  # noqa: S608
            )
        return connection


def _in_buckets(buckets: Sequence[int]) -> str:
    return f"user_bucket in ({', '.join(map(str, buckets))})"


def _open(uri: str) -> DeltaTable:
    from deltalake import DeltaTable

    class LocalTable(DeltaTable):
        """Says where its files are as paths: Delta quotes spaces and letters beyond ASCII, and nobody unquotes them."""

        def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
            return [unquote(file) for file in super().file_uris(*args, **kwargs)]

    return LocalTable(uri)


def _one_ahead(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Make frames in a thread of their own, one while the one before is written.

    The writer pulls them from inside Delta's async runtime, where nothing that uses Delta may run.
    """
    with ThreadPoolExecutor(1) as pool:
        iterator = iter(frames)
        ahead = pool.submit(next, iterator, None)
        while (frame := ahead.result()) is not None:
            ahead = pool.submit(next, iterator, None)
            yield frame


def _arrow_schema(table: Table) -> pa.Schema:
    import pyarrow as pa

    plain = {"string_view": pa.string(), "large_string": pa.string()}

    def simplify(dtype: pa.DataType) -> pa.DataType:
        if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
            return pa.list_(simplify(dtype.value_type))
        return plain.get(str(dtype), dtype)

    nullable = {column.name: column.nullable for column in table.columns}
    return pa.schema(
        pa.field(field.name, simplify(field.type), nullable=nullable[field.name])
        for field in table.empty().to_arrow().schema
    )
