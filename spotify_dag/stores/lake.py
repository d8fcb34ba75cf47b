"""The lake: Delta tables partitioned by user bucket, read with polars, queried with DuckDB.

An asset replaces its buckets in one atomic commit. Readers see the old rows or the new ones, never both. Delta's
runtime does not survive ``fork`` once it has worked: start other processes with ``spawn``, or fork before.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import delete_folder, names_in, paths_below
from spotify_dag.layout import refuse_other_layout
from spotify_dag.locks import locked, locked_in_order
from spotify_dag.root import ObjectPath, Root, listed
from spotify_dag.schemas import TABLES, USERS, Column, Table, polars_dtype
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa
    from deltalake import DeltaTable

# Delta makes one thread per core. The writer blocks one of them while it waits for frames, and frames are read with
# Delta, too. On a single core both would wait for ever. Delta reads the variable when it is first used.
if (os.cpu_count() or 1) == 1 or (hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) == 1):
    os.environ.setdefault("TOKIO_WORKER_THREADS", "2")

CHUNK_ROWS = 2_000_000
"""Rows that a transform holds at one time: enough for vectorised work, few enough for the memory of a laptop."""

ROW_FILE = "data_file"
"""The column of `Lake.scan_files` that no table has."""

COMMIT_RETRIES = 1_000
"""Versions that others may commit while one commit looks for its place; Delta's own 15 are few beside busy writers."""

CHECKPOINT_COMMITS = "10"
"""Commits between two checkpoints: who opens a table reads each commit since the last one. A hundred take 25 ms."""


class LakeError(SpotifyDagError):
    """The lake was made by another version of this software. The message names the table and the remedy."""


@dataclass(frozen=True)
class Lake:
    """The Delta tables under one root."""

    root: Root
    n_buckets: int
    tombstones: Tombstones | None = None
    """Forgotten users: their rows are never written."""
    made_with: int | None = None
    """The number of buckets when the data root was made, if it was another."""
    is_present: bool = True
    """False for tables of a split that is being made, or that were left behind by one."""

    @property
    def of_origin(self) -> int:
        """The number of buckets when the data root was made: what was one bucket then goes by its remainder."""
        return self.made_with or self.n_buckets

    def folder(self, table: Table) -> Root:
        """Return the folder of a table. A table by user bucket has another one after each split."""
        is_split = table.partition_by == "user_bucket" and self.n_buckets != self.of_origin
        return self.root / (f"{table.name}-{self.n_buckets}" if is_split else table.name)

    def uri(self, table: Table) -> str:
        """Return the path of a table, or its URI."""
        return str(self.folder(table))

    def divided(self, n_buckets: int) -> Lake:
        """Return the tables of the same data root with another number of buckets, which are not those that answer."""
        return replace(self, n_buckets=n_buckets, made_with=self.of_origin, is_present=False)

    def left_over(self) -> list[Lake]:
        """Return the tables of other numbers of buckets: of a split that is being made, and of one that was made."""
        names = {table.name for table in TABLES if table.partition_by == "user_bucket"}
        folders = [folder.name.rpartition("-") for folder in self.root.glob("*-*") if folder.name[0] != "."]
        numbers = {int(number) for name, _, number in folders if name in names and number.isdigit()}
        if any((self.root / name).is_dir() for name in names):
            numbers.add(self.of_origin)
        return [self.divided(number) for number in sorted(numbers - {self.n_buckets})]

    def drop(self) -> None:
        """Delete all tables by user bucket, of a lake that does not answer."""
        for table in TABLES:
            if table.partition_by == "user_bucket" and self.folder(table).is_dir():
                with self._writing(table, alone=True):
                    delete_folder(self.folder(table))

    def exists(self, table: Table) -> bool:
        """Whether the table was ever written."""
        from deltalake import DeltaTable

        return DeltaTable.is_deltatable(self.uri(table))

    def version(self, table: Table) -> int:
        """Return the version of a table by the names in its log, which costs nothing; -1 where it was never written.

        It is for callers that ask every second whether something changed. To read rows, open the table with Delta.
        """
        names = names_in(self.folder(table) / "_delta_log")
        return max((int(name[:20]) for name in names if name.endswith(".json") and name[:20].isdigit()), default=-1)

    def files(self, table: Table, *columns: str) -> dict[Any, list[Any]]:
        """Return what the log says of the files of each bucket: ``path``, ``size_bytes`` or ``num_records``.

        A tuple for each file if several are asked for. Of a table that is not by user bucket, by the values of its
        ``partition_by``.
        """
        if not self.exists(table):
            return {}
        actions = _open(self.uri(table)).get_add_actions(flatten=True)
        files: dict[Any, list[Any]] = {}
        names = (f"partition.{table.partition_by}", *columns)
        for part, *said in zip(*(actions.column(name).to_pylist() for name in names), strict=True):
            files.setdefault(part, []).append(said[0] if len(said) == 1 else tuple(said))
        return files

    def file_uris(self, table: Table) -> list[str]:
        """Return the files of the newest version of a table: paths, or URIs."""
        return list(_open(self.uri(table)).file_uris()) if self.exists(table) else []

    def fingerprints(self, tables: Iterable[Table]) -> dict[int, str]:
        """Return a fingerprint of the files of each bucket in some tables: a bucket that is written has other files.

        It costs with the number of files, as no row is read.
        """
        names: dict[int, list[str]] = {bucket: [] for bucket in range(self.n_buckets)}
        for table in tables:
            for bucket, paths in self.files(table, "path").items():
                names[bucket] += [f"{table.name} {path}" for path in paths]
        return {
            bucket: hashlib.sha256("\n".join(sorted(some)).encode()).hexdigest()[:16] for bucket, some in names.items()
        }

    def row_counts(self, table: Table) -> dict[int, int]:
        """Return the rows of each bucket that has some, as the log says; no row is read."""
        counts = {bucket: sum(rows) for bucket, rows in self.files(table, "num_records").items()}
        return {bucket: count for bucket, count in counts.items() if count}

    def scan(self, table: Table, buckets: Iterable[int] | None = None) -> pl.LazyFrame:
        """Return the present rows of a table, or of some of its buckets; no rows if it was never written."""
        import polars as pl

        if not self.exists(table):
            self._refuse_other_layout()  # else the users would seem to be gone
            return table.empty().lazy()
        opened = _open(self.uri(table))
        new = self._new_columns(table, opened)
        added = [pl.lit(None, polars_dtype(column.dtype)).alias(column.name) for column in new]
        frame = pl.scan_delta(opened).with_columns(added).select(table.column_names)
        return frame if buckets is None else frame.filter(pl.col("user_bucket").is_in(list(buckets)))

    def scan_files(self, table: Table, paths: Sequence[str]) -> pl.LazyFrame:
        """Return the rows of some files of a table. The column `ROW_FILE` has each row's path, as `files` has it."""
        import polars as pl

        whole = {f"{self.uri(table)}/{unquote(path)}": path for path in paths}
        schema = table.polars_schema()
        rows = pl.scan_parquet(
            list(whole), hive_partitioning=True, hive_schema={table.partition_by: schema[table.partition_by]},
            schema=schema, missing_columns="insert", include_file_paths=ROW_FILE,
        )  # fmt: skip
        return rows.with_columns(pl.col(ROW_FILE).replace_strict(whole))

    def stored_schema(self, table: Table) -> pl.Schema:
        """Return the columns of a table on disk; if it was never written, those of its schema."""
        import polars as pl

        if not self.exists(table):
            return table.polars_schema()
        return pl.scan_delta(_open(self.uri(table))).collect_schema()

    def replace(self, table: Table, buckets: Sequence[int], frames: Iterable[pl.DataFrame]) -> dict[int, int]:
        """Replace buckets of a table by the rows of ``frames``, in one commit. Frames are streamed.

        Parameters
        ----------
        table, buckets
            What to replace. A bucket without rows in ``frames`` becomes empty.
        frames
            Frames with the table's columns, in any order of buckets; one is held at a time.

        Returns
        -------
        dict
            Rows given per bucket, zeros included.

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
        """Replace the rows of some users by ``rows``, in one commit. Rows of other users stay in their files.

        The caller must hold the lock on these buckets: there must be no other writer.

        Parameters
        ----------
        table, buckets, users
            The rows to replace: those of ``users``, who are all in ``buckets``.
        rows
            The new rows, with the table's columns. A user without rows leaves the table.
        """
        import polars as pl

        if not users:
            return
        of_users = self.scan(table, buckets).filter(pl.col("user_id").is_in(users))
        if rows.is_empty() and of_users.head(1).collect().is_empty():
            return
        # By digest: Delta writes the condition to its log, and an id there would survive a deletion. New users are not
        # appended: Delta may refuse an append while another writer replaces another bucket.
        named = ", ".join(f"'{user_digest(user)}'" for user in users)
        self._commit_rows(
            table, rows, mode="overwrite", predicate=f"{_in_buckets(buckets)} and md5(user_id) in ({named})"
        )

    def overwrite(self, table: Table, frames: Iterable[pl.DataFrame], *, part: str | None = None) -> None:
        """Replace a whole table, or the part of it whose ``partition_by`` equals ``part``, in one commit."""
        quoted = None if part is None else part.replace("'", "''")
        predicate = None if quoted is None else f"{table.partition_by} = '{quoted}'"
        self._write(table, frames, mode="overwrite", predicate=predicate)

    def append(self, table: Table, rows: pl.DataFrame) -> None:
        """Add rows to a table in one commit."""
        self._commit_rows(table, rows, mode="append")

    def rewrite(self, table: Table, bucket: int, change: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
        """Replace the rows of a bucket by what ``change`` makes of them. There is no other writer meanwhile.

        Returns
        -------
        By how many rows the bucket became smaller. If ``change`` changes nothing, nothing is written.
        """
        if not self.exists(table):
            return 0
        with self._writing(table, alone=True):
            return self._rewrite(table, bucket, change)

    def expunge(self, table: Table, bucket: int, gone: pl.Expr) -> int:
        """Remove rows of a bucket from a table and from the disk; return how many there were.

        All files of older versions of the bucket are deleted, because they hold the rows, too. So are files that killed
        writers left. A reader of an older version then gets an error that a file is missing.

        ``gone`` is evaluated here, not by Delta: Delta would write the condition to its log.
        """
        if not self.exists(table):
            return 0
        with self._writing(table, alone=True):
            count = self._rewrite(table, bucket, lambda rows: rows.remove(gone))
            folder = self.folder(table) / f"user_bucket={bucket}"
            current = set(_open(self.uri(table)).file_uris())
            for file in [file for file in folder.glob("*") if str(file) not in current]:
                file.unlink()
        return count

    def purge(self, table: Table, gone: pl.DataFrame) -> int:
        """Remove rows from a table that is not of users, and from the disk; return how many there were.

        Every file of older versions is deleted with them, as `expunge` does. File by file, so that a large table is not
        held in memory.

        Parameters
        ----------
        table
            Which one.
        gone
            Columns of the table: rows that have the same values in these go.
        """
        import polars as pl

        if gone.is_empty() or not self.exists(table):
            return 0
        with self._writing(table, alone=True):
            before = _open(self.uri(table)).file_uris()
            rows = self.scan(table).select(pl.len()).collect().item()
            left = (
                pl.scan_parquet(file, hive_partitioning=True).collect().join(gone, on=gone.columns, how="anti")
                for file in before
            )
            self._commit(table, left, mode="overwrite")
            current = set(_open(self.uri(table)).file_uris())
            for file in list(paths_below(self.folder(table))):
                if file.suffix == ".parquet" and str(file) not in current and "_delta_log" not in file.parts:
                    file.unlink()
            return rows - int(self.scan(table).select(pl.len()).collect().item())

    def _rewrite(self, table: Table, bucket: int, change: Callable[[pl.DataFrame], pl.DataFrame]) -> int:
        rows = self.scan(table, [bucket]).collect()
        changed = change(rows)
        if not changed.equals(rows):
            self._commit(table, [changed], mode="overwrite", predicate=_in_buckets([bucket]))
        return rows.height - changed.height

    def _new_columns(self, table: Table, opened: DeltaTable) -> list[Column]:
        """Return the columns that a table lacks because an older version made it. They are read as null.

        Raises
        ------
        LakeError
            If one of the missing columns may not be null.
        """
        present = {field.name for field in opened.schema().fields}
        new = [column for column in table.columns if column.name not in present]
        if required := [column.name for column in new if not column.nullable]:
            raise LakeError(
                f"Table '{table.name}' in {self.root} was made by an older version, without {', '.join(required)}. "
                f"Everything in the lake is made from the inbox: delete {self.root}, then spotify-dag run"
            )
        return new

    def tidy(self, table: Table, keep: timedelta) -> int | None:
        """Join small files, and delete files and log entries that only versions older than ``keep`` need.

        Returns
        -------
        The number of files deleted, those left by killed writers included. None if there is another writer: the table
        is then left for the next time.
        """
        from deltalake import WriterProperties

        if not self.exists(table):
            return 0
        with self._writing(table, alone=True, wait=False) as alone:
            if not alone:
                return None
            opened = _open(self.uri(table))
            per_partition = Counter(str(Path(file).parent) for file in opened.file_uris())
            if max(per_partition.values(), default=0) > 1:
                opened.optimize.compact(writer_properties=WriterProperties(compression="ZSTD"))
            folder, since = self.folder(table), time.time() - keep.total_seconds()
            log = folder / "_delta_log"
            needed = set(opened.file_uris()) | {str(folder / path) for path in _removed_since(log, since)}
            unneeded = [
                file
                for file in paths_below(folder)
                if file.suffix == ".parquet" and str(file) not in needed and log not in file.parents
            ]
            if not (log / f"{opened.version():020d}.checkpoint.parquet").exists():
                opened.create_checkpoint()
            unneeded += _old_log(log, since)
            for file in unneeded:
                file.unlink(missing_ok=True)
        return len(unneeded)

    def cut_log(self, table: Table) -> None:
        """Delete the log of all versions but the present one. Older versions can no longer be opened."""
        with self._writing(table, alone=True):
            opened = _open(self.uri(table))
            opened.create_checkpoint()
            log = self.folder(table) / "_delta_log"
            for file in log.glob("*.*"):
                if file.name.split(".")[0].isdigit() and int(file.name.split(".")[0]) < opened.version():
                    file.unlink()

    def user_ids_like(self, start: str) -> list[str]:
        """Return the user ids that begin with ``start``."""
        import polars as pl

        ids = self.scan(USERS).select("user_id").filter(pl.col("user_id").str.starts_with(start))
        return ids.collect()["user_id"].to_list()

    @contextmanager
    def buckets_locked(
        self, buckets: Iterable[int], waiting: Callable[[], None] = lambda: None, *, seconds: float = inf
    ) -> Iterator[None]:
        """Hold the locks that a run has on its buckets from its first step to its last.

        In ascending order, so that of two who want the same buckets one goes first and neither waits for ever.

        Parameters
        ----------
        buckets
            Which ones.
        waiting
            Called once if somebody else has one of them.
        seconds
            Longest wait for one bucket; the block then runs without its lock.
        """
        locks = (self.root / ".locks" / f"bucket-{bucket}" for bucket in sorted(set(buckets)))
        with locked_in_order(locks, seconds=seconds, waiting=waiting):
            yield

    @contextmanager
    def _writing(self, table: Table, *, alone: bool = False, wait: bool = True) -> Iterator[bool]:
        """Hold the lock to write to a table, together with other writers or alone.

        A caller that waits to be alone keeps new writers out. Do not enter this twice: between the two, another process
        may begin to wait to be alone, and both would wait for ever.

        Yields
        ------
        Whether the lock is held. It is False only if ``wait`` is false and there is another writer.

        Raises
        ------
        LayoutChangedError
            If the buckets were split meanwhile: what is written here would be lost.
        """
        lock = self.root / ".locks" / self.folder(table).name
        with ExitStack() as held:
            with locked(lock.with_name(f"{lock.name}.gate"), wait=wait) as first:
                got = first and held.enter_context(locked(lock, wait=wait, shared=not alone))
            self._refuse_other_layout()
            yield got

    @contextmanager
    def all_locked(self) -> Iterator[None]:
        """Hold the locks of all tables by user bucket, alone: nobody writes to them meanwhile, nor does this process.

        Writers hold one of them at a time, so nobody waits for ever.
        """
        with ExitStack() as held:
            for table in TABLES:
                if table.partition_by == "user_bucket":
                    held.enter_context(self._writing(table, alone=True))
            yield

    def _refuse_other_layout(self) -> None:
        if self.is_present:
            refuse_other_layout(self.root.parent, self.n_buckets)

    def _without_forgotten(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows without those of forgotten users.

        Called while the lock is held. A deletion that begins later waits for this write to end.
        """
        import polars as pl

        if self.tombstones is None or "user_id" not in frame.columns:
            return frame
        forgotten = self.tombstones.among(frame["user_id"].unique().drop_nulls())
        return frame.filter(~pl.col("user_id").is_in(forgotten).fill_null(False)) if forgotten else frame

    def _write(self, table: Table, frames: Iterable[pl.DataFrame], **how: Any) -> None:
        """Commit frames, without the rows of forgotten users, beside other writers."""
        with self._writing(table):
            self._commit(table, map(self._without_forgotten, frames), **how)

    def _commit_rows(self, table: Table, rows: pl.DataFrame, **how: Any) -> None:
        """Commit rows that stay the same whatever others commit meanwhile; alone, if Delta refuses them for that."""
        from deltalake.exceptions import CommitFailedError

        with suppress(CommitFailedError), self._writing(table):
            self._commit(table, [self._without_forgotten(rows)], **how)
            return
        with self._writing(table, alone=True):
            self._commit(table, [self._without_forgotten(rows)], **how)

    def _commit(self, table: Table, frames: Iterable[pl.DataFrame], **how: Any) -> None:
        import pyarrow as pa
        from deltalake import CommitProperties, WriterProperties, write_deltalake
        from deltalake.exceptions import DeltaError

        schema = _arrow_schema(table)
        self._create(table, schema)
        if self._new_columns(table, _open(self.uri(table))):
            how["schema_mode"] = "merge"
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
                writer_properties=WriterProperties(compression="ZSTD"),
                commit_properties=CommitProperties(max_commit_retries=COMMIT_RETRIES),
                **how,
            )
        except DeltaError:
            if problems:  # the error of the frames says more than Delta's error about it
                raise problems[0] from None
            raise

    def _create(self, table: Table, schema: pa.Schema) -> None:
        """Make an empty table. If several writers do so at once, the others wait for the first one.

        A table that two create would change under writers that race with it, and their commits would fail.
        """
        from deltalake import DeltaTable

        if self.exists(table):
            return
        with locked(self.root / ".locks" / f"{self.folder(table).name}.new"):
            if self.exists(table):
                return
            self.folder(table).mkdir(parents=True, exist_ok=True)
            # Statistics hold the first and last value of each file. Only of the bucket, so the log names no user.
            configuration: dict[str, str | None] = {
                "delta.dataSkippingStatsColumns": table.partition_by,
                "delta.checkpointInterval": CHECKPOINT_COMMITS,
            }
            DeltaTable.create(self.uri(table), schema, partition_by=[table.partition_by], configuration=configuration)

    def chunks(
        self, table: Table, buckets: Sequence[int], rows: int = CHUNK_ROWS, *, whole_origins: bool = False
    ) -> Iterator[list[int]]:
        """Divide buckets into groups of about ``rows`` rows of ``table``, at least one bucket each.

        With ``whole_origins``, what was one bucket when the data root was made stays together, in that order.
        """
        import polars as pl

        counts = dict(self.scan(table, buckets).group_by("user_bucket").agg(pl.len()).collect().iter_rows())
        together: dict[int, list[int]] = {}
        for bucket in buckets:
            together.setdefault(bucket % self.of_origin if whole_origins else bucket, []).append(bucket)
        group: list[int] = []
        held = 0
        for _, some in sorted(together.items()) if whole_origins else together.items():
            count = sum(counts.get(bucket, 0) for bucket in some)
            if group and held + count > rows:
                yield group
                group, held = [], 0
            group += some
            held += count
        if group:
            yield group

    def snapshot(self) -> dict[str, dict[str, int]]:
        """Return the ``version`` and the number of ``rows`` of every table that was written, by its name."""
        import polars as pl

        tables = {}
        for table in TABLES:
            if self.exists(table):
                opened = _open(self.uri(table))
                rows = pl.scan_delta(opened).select(pl.len()).collect().item()
                tables[table.name] = {"version": opened.version(), "rows": rows}
        return tables

    def connect(self) -> duckdb.DuckDBPyConnection:
        """Return an in-memory DuckDB with one view per written table, over its current files."""
        import duckdb

        connection = duckdb.connect()
        for table in TABLES:
            if not self.exists(table):
                continue
            opened = _open(self.uri(table))
            new = {column.name for column in self._new_columns(table, opened)}
            files = opened.file_uris()
            if not files:
                connection.register(table.name, table.empty().to_arrow())
                continue
            columns = ", ".join(f"null as {name}" if name in new else name for name in table.column_names)
            if isinstance(self.root, ObjectPath):  # DuckDB alone reads S3 only with an extension that it downloads
                source = f"{table.name}_in_storage"
                connection.register(source, opened.to_pyarrow_dataset())
            else:
                listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
                # By name: files written before a column was added lack it.
                source = f"read_parquet([{listed}], hive_partitioning = true, union_by_name = true)"
            connection.execute(f"create view {table.name} as select {columns} from {source}")  # noqa: S608
        return connection


def _removed_since(log: Root, since: float) -> set[str]:
    """Return the files, relative to the table, that commits since ``since`` (seconds since 1970) removed."""
    commits = (file for file in log.glob("*.json") if file.stat().st_mtime >= since)
    actions = (json.loads(line) for file in commits for line in file.read_text().splitlines())
    return {unquote(action["remove"]["path"]) for action in actions if "remove" in action}


def _old_log(log: Root, since: float) -> list[Root]:
    """Return the log entries that versions since ``since`` (seconds since 1970) do not need.

    These are the entries before the last checkpoint that is older, and abandoned files of that age.
    """
    numbered = {file: int(file.name[:20]) for file in listed(log, "*.*") if file.name[:20].isdigit()}
    old = [version for file, version in numbered.items() if ".checkpoint" in file.name and file.stat().st_mtime < since]
    abandoned = [file for file in listed(log, "*") if file not in numbered and file.name != "_last_checkpoint"]
    return [file for file, version in numbered.items() if version < max(old, default=0)] + [
        file for file in abandoned if file.is_file() and file.stat().st_mtime < since
    ]


def user_digest(user_id: str) -> str:
    """Return what a user is called in the conditions that Delta keeps in its log.

    MD5, as Delta can neither write nor read again a condition with another digest; it hides names from a reader of the
    log, no more.
    """
    return hashlib.md5(user_id.encode(), usedforsecurity=False).hexdigest()


def _in_buckets(buckets: Sequence[int]) -> str:
    return f"user_bucket in ({', '.join(map(str, buckets))})"


def _open(uri: str) -> DeltaTable:
    from deltalake import DeltaTable

    class LocalTable(DeltaTable):
        """A table whose `file_uris` are paths: Delta quotes spaces and letters beyond ASCII."""

        def file_uris(self, *args: Any, **kwargs: Any) -> list[str]:
            return [unquote(file) for file in super().file_uris(*args, **kwargs)]

    return LocalTable(uri)


def _one_ahead(frames: Iterable[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Make frames in a thread of their own. One is made while the one before is written.

    The writer pulls frames from inside Delta's async runtime, where code that uses Delta must not run.
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
