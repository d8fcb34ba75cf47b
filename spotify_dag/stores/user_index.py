"""User vectors in LanceDB: one table per model version, because vectors of two versions cannot be compared.

A row holds all that an answer tells of a user, too: so the app reads nothing else.

The metric of a query must equal that of the index, or LanceDB silently scans everything: both are `METRIC`. Up to
`EXACT_ROWS` rows a scan is exact and fast enough. Beyond, an IVF index names candidates, and their vectors put them in
order: one of a bit per coordinate (RaBitQ, Gao and Long 2024), of a byte, or of the vectors themselves, the first that
is good enough. Rows added later are searched exactly until they are folded into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from spotify_dag.files import delete_folder, read_own_json, write_atomically
from spotify_dag.locks import locked
from spotify_dag.root import Root, listed
from spotify_dag.stores.index_search import (
    METRIC,
    Found,
    approximation,
    in_users,
    nearest_approximately,
    nearest_of,
    rows_at,
    rows_where,
)
from spotify_dag.stores.lance_files import PRIMARY_KEY, damaged_files
from spotify_dag.stores.lance_upkeep import (
    drop_versions,
    fold_in,
    fragments_naming,
    join_fragments,
    new_session,
    opened,
    rewrite_fragments,
    small_fragments,
)
from spotify_dag.stores.rows_in_memory import RowsInMemory
from spotify_dag.stores.told import COLUMN, TOLD, packed, unpacked
from spotify_dag.tombstones import Tombstones
from spotify_dag.tower.factors import unit
from spotify_dag.tower.score import ScoreScale

if TYPE_CHECKING:
    import lancedb
    import polars as pl
    import pyarrow as pa
    from lance import LanceDataset, Session

Opened = TypeVar("Opened")
EXACT_ROWS = 10_000
MEMORY_ROWS = 200_000
"""So many rows take 0.7 GiB of memory."""
KEEP_VERSIONS = timedelta(minutes=15)
"""How long an older version of a table can still be read."""
MEASURED = "spotify_dag.recall"
"""What the configuration of a table says of its vector index, once that was chosen."""
RECALL, ASKED = 0.97, 50
"""An index of vectors is good enough if it finds this share of the ten nearest of so many users."""
POINTER = "published.json"
PREFIX = "user_index_"
SMALL_FRAGMENTS = 4
"""More fragments with few rows are joined: each makes every search longer, and 30 of them double it."""
FOLD_ROWS = 2_000
"""Up to so many rows beside the IVF index are searched exactly. More of them are folded in."""
_ROW_COLUMNS = ("user_id", "user_bucket", "content_hash", "feature_version", "opted_in")
_ADDED = {
    "opted_in": "false", "shown_as": "cast(null as string)", COLUMN: "cast(null as binary)",
}  # fmt: skip
"""Columns that tables of older versions lack, and what stands there until a row is made again."""


@dataclass(frozen=True)
class _Scale:
    """A `ScoreScale` as plain values."""

    cosines: list[float]
    trust_at: float


@dataclass(frozen=True)
class _Pointer:
    """What the file says that names the index which answers."""

    model_version: str
    scale: _Scale


@dataclass(frozen=True)
class _Held:
    """A table that stays open, at the version it had, with what was read of its indexes in memory."""

    folder: Root
    connection: lancedb.DBConnection
    table: Any
    approximation: str | None
    before: Session | None

    @cached_property
    def session(self) -> Session:
        """What Lance has in memory of this table, and of the one that was held before."""
        return self.before or new_session()

    @cached_property
    def dataset(self) -> LanceDataset:
        """The same table as Lance opens it."""
        return opened(self.folder, self.table.version, self.session)


@dataclass(frozen=True)
class UserIndex:
    """The user vectors of one model version. A row has the vector, the hashes it was made from, and the opt-in."""

    root: Root
    model_version: str
    tombstones: Tombstones | None = field(default=None, compare=False)
    """Forgotten users: their rows are never written."""
    n_buckets: int | None = field(default=None, compare=False)
    """The number of buckets that callers speak of; None for those that are stored.

    While buckets are split, some rows hold the bucket they will be in. Modulo the number before, it is the one before.
    """
    _held: _Held | None = field(default=None, compare=False, repr=False)

    @classmethod
    def published(cls, root: Root) -> tuple[UserIndex, ScoreScale] | None:
        """Return the published index and the scale of its cosines, or None."""
        pointer = read_own_json(root / POINTER, _Pointer, "Delete it: spotify-dag run publishes the champion again")
        if pointer is None:
            return None
        return cls(root, pointer.model_version), ScoreScale.from_dict(asdict(pointer.scale))

    def publish(self, scale: ScoreScale) -> None:
        """Make this the published index, with the scale of its cosines.

        It is one write. So an answer never mixes two model versions.
        """
        pointer = {"model_version": self.model_version, "scale": scale.as_dict()}
        write_atomically(self.root / POINTER, json.dumps(pointer).encode())

    @classmethod
    def all(cls, root: Root) -> list[UserIndex]:
        """Return the indexes of all versions."""
        return [cls(root, file.stem.removeprefix(PREFIX)) for file in listed(root, f"{PREFIX}*.lance")]

    @property
    def name(self) -> str:
        """Name of the LanceDB table."""
        return f"{PREFIX}{self.model_version}"

    @property
    def _folder(self) -> Root:
        return self.root / f"{self.name}.lance"

    def held(self, before: UserIndex | None = None) -> UserIndex:
        """Return this index with its table open, for many questions; they are answered from the rows as they are now.

        Parameters
        ----------
        before
            One that was held before: what it has in memory of parts that did not change is not read again.
        """
        known = before is not None and before.root == self.root and before._held
        connection = known.connection if known else _connect(self.root)
        table = self._opened(connection)
        session = known.session if known else None
        return replace(self, _held=_Held(self._folder, connection, table, approximation(table), session))

    def in_memory(self) -> RowsInMemory | None:
        """Return the rows as they are now, where they are few enough to be held by a process; else None."""
        import polars as pl

        table = self._table()
        if table is None or table.count_rows() > MEMORY_ROWS:
            return None
        names = [name for name in table.schema.names if name != "user_bucket"]
        rows = pl.DataFrame(pl.from_arrow(table.search().select(names).limit(None).to_arrow())).sort("user_id")
        dim = table.schema.field("vector").type.list_size
        vectors = unit(rows["vector"].cast(pl.Array(pl.Float32, dim)).to_numpy().reshape(-1, dim))
        columns = {name: rows[name].to_list() for name in names if name not in ("vector", COLUMN)}
        told = [unpacked(value) for value in (rows[COLUMN] if COLUMN in names else [None] * rows.height)]
        columns |= {name: [values[name] for values in told] for name in TOLD}
        return RowsInMemory({name: [None] * rows.height for name in _ADDED} | columns, vectors)

    def _table(self) -> Any:
        """Return the table, or None."""
        return self._held.table if self._held is not None else self._opened(_connect(self.root))

    def _dataset(self, column: str = "user_id") -> LanceDataset | None:
        """Return the table as Lance opens it; None without one, or where an older version made it without a column."""
        if self._held is not None:
            dataset = None if self._held.table is None else self._held.dataset
        else:
            dataset = _if_there(lambda: opened(self._folder))
        return dataset if dataset is not None and column in dataset.schema.names else None

    def _opened(self, connection: lancedb.DBConnection) -> Any:
        return _if_there(lambda: connection.open_table(self.name))

    def replace(self, buckets: Sequence[int], rows: pl.DataFrame) -> None:
        """Replace the rows of some buckets by ``rows``, in one commit.

        Parameters
        ----------
        buckets
            The buckets to replace.
        rows
            ``user_id, user_bucket, content_hash, feature_version, opted_in, vector``; vectors are arrays of float32, of
            one length, and are kept in half precision. What answers tell of users may stand beside: ``source, tracks,
            taste``, or ``told``. Users of these buckets who are not in ``rows`` are deleted.
        """
        with self._writing():
            self._replace(buckets, self._without_forgotten(rows))

    def _replace(self, buckets: Sequence[int], rows: pl.DataFrame) -> None:
        if not rows.is_empty():
            self._upsert(rows, delete=self._in_buckets(buckets))
        elif (table := self._table()) is not None:
            table.delete(self._in_buckets(buckets))

    def merge(self, rows: pl.DataFrame, gone: Sequence[str]) -> None:
        """Add or change the users of ``rows`` (columns as for `replace`), and delete the users ``gone``.

        The cost grows with the number of these users, not with the size of the index.
        """
        with self._writing():
            table, allowed = self._table(), self._without_forgotten(rows)
            if gone and table is not None:
                table.delete(in_users(gone))
            if allowed.height:
                self._upsert(allowed)

    def mark_stale(self, user_ids: Sequence[str]) -> None:
        """Mark users as stale: their vectors must be made again. Until then the present vectors answer."""
        with self._writing():
            table = self._table()
            if table is not None:
                table.update(where=in_users(user_ids), values={"feature_version": ""})

    def _without_forgotten(self, rows: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        forgotten = self.tombstones.among(rows["user_id"]) if self.tombstones else set()
        return rows.filter(~pl.col("user_id").is_in(forgotten)) if forgotten else rows

    def _upsert(self, rows: pl.DataFrame, delete: str | None = None) -> None:
        """Add or change the users of ``rows``, and delete other rows that fit a condition, in one commit."""
        table = self._table()
        if table is None:
            table = self._create(_arrow_schema(rows))
        elif missing := {name: value for name, value in _ADDED.items() if name not in table.schema.names}:
            # The table is of an older version. Every row is to be made again; until then the vectors answer.
            for index in table.list_indices():  # of a kind that is slower; the next `fold` builds others
                table.drop_index(index.name)
            table.update(values={"feature_version": ""})
            table.add_columns(missing)
            table = self._table()
        matching = table.merge_insert("user_id").when_matched_update_all().when_not_matched_insert_all()
        if delete is not None:
            matching = matching.when_not_matched_by_source_delete(delete)
        matching.execute(_conformed(rows, table.schema))

    def _create(self, schema: pa.Schema) -> Any:
        """Make the table, in one commit. The lock of this index is held.

        The user id is LanceDB's unenforced primary key. Without it, two writers that add the same user at once would
        make two rows. If it is set while others write to the table, their writes fail.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        key = schema.field("user_id").with_metadata({PRIMARY_KEY: "true"})
        return _connect(self.root).create_table(self.name, schema=schema.set(0, key))

    def optimise(self, keep: timedelta = KEEP_VERSIONS) -> None:
        """Compact small files, delete versions older than ``keep``, fold new rows into the index, or build it.

        A reader that still reads such an old version gets an error that a file is missing.
        """
        if self._table() is None:
            return
        with self._writing():
            self._fold()
            join_fragments(self._folder)
            fold_in(self._folder)
            drop_versions(self._folder, keep)

    def written_at(self) -> float:
        """Return the time of the last write, in seconds since 1970."""
        return (self._folder / "_versions").stat().st_mtime

    def drop(self) -> None:
        """Delete the whole index."""
        with self._writing():
            _connect(self.root).drop_table(self.name)

    def drop_damaged(self) -> list[str]:
        """Delete the whole index where a file of it is damaged; return what was."""
        if not damaged_files(self._folder):
            return []
        with self._writing():  # again: a writer may have replaced the version that was looked at
            wrong = damaged_files(self._folder)
            if wrong:
                delete_folder(self._folder)
        return wrong

    def expunge(self, user_id: str) -> int:
        """Remove a user from the table, its older versions and the disk; return the number of rows removed, 0 or 1.

        Fragments that hold the user are written anew, and no others. LanceDB's own deletion would leave the row in its
        file, and write a condition with the id to another file.
        """
        if self._table() is None:
            return 0
        with self._writing():
            table = self._table()
            theirs = table.search().where(in_users([user_id])).select(["user_id"]).with_row_id(True).limit(None)
            rows = theirs.to_arrow()["_rowid"].to_pylist()
            # Where a row of the user was replaced, too: it is still in its file.
            holding = fragments_naming(self._folder, "user_id", user_id)
            if rows:
                table.delete(f"_rowid in ({', '.join(map(str, rows))})")
            if holding:
                rewrite_fragments(self._folder, holding)
            drop_versions(self._folder, timedelta(0))
            return len(rows)

    def _fold(self) -> None:
        """Build the indexes that the table needs and has not: of vectors the smallest that finds enough of them."""
        import lancedb.index as kinds

        table = self._table()
        if table.count_rows() <= EXACT_ROWS:
            return
        there = {column for index in table.list_indices() for column in index.columns}
        for column in {"user_id", "shown_as"} - there:
            table.create_index(column, config=kinds.BTree())
        # One that nobody measured is of a run that was killed meanwhile.
        if "vector" in there and MEASURED in opened(self._folder).config():
            return
        asked = [row["user_id"] for row in self.sample((), ASKED)]
        in_bytes = table.schema.field("vector").type.list_size % 8 == 0
        for kind in (kinds.IvfRq, kinds.IvfSq, kinds.IvfFlat)[0 if in_bytes else 1 :]:
            table.create_index("vector", config=kind(distance_type=METRIC), replace=True)
            recall = self.recall(asked, 10)
            if recall >= RECALL:
                break
        opened(self._folder).update_config({MEASURED: f"{recall:.3f}"})

    def fold(self) -> bool:
        """Join small fragments where there are many, and call `optimise` if many rows came; return whether it did."""
        table = self._table()
        if table is None:
            return False
        beside = [table.index_stats(index.name).num_unindexed_rows for index in table.list_indices()]
        many = table.count_rows() > EXACT_ROWS and not beside
        if many or max(beside, default=0) > FOLD_ROWS:
            self.optimise()
            return True
        if small_fragments(self._folder) > SMALL_FRAGMENTS:
            with self._writing():
                join_fragments(self._folder)
                drop_versions(self._folder, KEEP_VERSIONS)
        return False

    def _writing(self) -> AbstractContextManager[bool]:
        """Hold the lock of this index: one writer at a time. Readers need no lock."""
        return locked(self.root / ".locks" / self.name)

    def rows(self, buckets: Sequence[int] | None = None, *, with_vectors: bool = False) -> pl.DataFrame:
        """Return the rows of some buckets or of all, sorted by user; no rows if the index does not exist.

        Returns
        -------
        ``user_id, user_bucket, content_hash, feature_version, opted_in`` and, if asked for, ``told, vector``: what
        `replace` takes.
        """
        import polars as pl

        table = self._table()
        if table is None:
            kinds = (pl.String, pl.Int32, pl.Int64, pl.String, pl.Boolean)
            return pl.DataFrame(schema=dict(zip(_ROW_COLUMNS, kinds, strict=True)))
        columns = [*_ROW_COLUMNS, COLUMN, "vector"] if with_vectors else [*_ROW_COLUMNS]
        present = [name for name in columns if name in table.schema.names]
        before = not set(_ADDED) <= set(table.schema.names)
        search = table.search().select(present).limit(None)
        rows = pl.DataFrame(
            pl.from_arrow((search if buckets is None else search.where(self._in_buckets(buckets))).to_arrow())
        )
        added = [
            pl.lit(None, pl.Boolean if name == "opted_in" else None).alias(name)
            for name in columns
            if name not in present
        ]
        if before:  # what an older version wrote is to be made again
            added.append(pl.lit("").alias("feature_version"))
        if with_vectors:
            added.append(pl.col("vector").cast(pl.Array(pl.Float32, table.schema.field("vector").type.list_size)))
        if self.n_buckets is not None:
            added.append(pl.col("user_bucket") % self.n_buckets)
        return rows.with_columns(added).select(columns).sort("user_id")

    def count(self) -> int:
        """Return the number of users; 0 if the index does not exist."""
        table = self._table()
        return 0 if table is None else int(table.count_rows())

    def _in_buckets(self, buckets: Sequence[int]) -> str:
        bucket = "user_bucket" if self.n_buckets is None else f"user_bucket % {self.n_buckets}"
        return f"{bucket} in ({', '.join(map(str, buckets))})"

    def approximation(self) -> str | None:
        """Return a name of the approximate vector index, or None if searches are exact.

        The name changes when the index is built anew, and when rows are folded into it. Rows beside it are compared one
        by one. So the recall of searches cannot fall while the name stays the same.
        """
        return self._held.approximation if self._held is not None else approximation(self._table())

    def recall(self, user_ids: Sequence[str], k: int) -> float:
        """Return what share of the ``k`` users nearest to each of some users a search finds, 0 to 1; 1 for nobody.

        Users themselves do not count: everybody is nearest to themselves.
        """
        vectors = self.vectors(user_ids)
        if not vectors:
            return 1.0
        queries = np.stack([*vectors.values()])

        def others(*, exact: bool) -> list[set[str]]:
            answers = self.nearest(queries, k + 1, exact=exact)
            return [
                {other for other, _ in [pair for pair in answer if pair[0] != user][:k]}
                for user, answer in zip(vectors, answers, strict=True)
            ]

        truth = others(exact=True)
        hits = sum(len(told & nearest) for told, nearest in zip(others(exact=False), truth, strict=True))
        return hits / max(sum(map(len, truth)), 1)

    def vectors(self, user_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors of some users, ``[dim]`` float32 each; users who are not in the index are left out."""
        return {row["user_id"]: np.asarray(row["vector"], np.float32) for row in self.of(user_ids, ("vector",))}

    def of(self, user_ids: Sequence[str], columns: Sequence[str]) -> list[Found]:
        """Return some columns of the rows of some users, beside ``user_id``; users who are not in it are left out."""
        return rows_where(self._dataset(), in_users(user_ids), columns) if user_ids else []

    def beginning_with(self, text: str, columns: Sequence[str], most: int) -> list[Found]:
        """Return users who are shown and whose ids begin with a text, whatever its case; ``most`` of them."""
        begins = text.casefold().replace("'", "''")
        where = f"shown_as >= '{begins}' and starts_with(shown_as, '{begins}')"
        return rows_where(self._dataset("shown_as"), where, columns, most)

    def sample(self, columns: Sequence[str], most: int) -> list[Found]:
        """Return users who are shown: all of them, or about ``most``, evenly from the whole table."""
        dataset = self._dataset("opted_in")
        rows = 0 if dataset is None else dataset.count_rows()
        if dataset is None or rows <= most:
            return rows_where(dataset, "opted_in", columns)
        places = np.linspace(0, rows - 1, most).astype(int).tolist()
        return [row for row in rows_at(dataset, places, ["opted_in", *columns]) if row["opted_in"]]

    def feature_version(self) -> str:
        """Return what features vectors were made of; empty if none are up to date."""
        rows = rows_where(self._dataset(), "feature_version != ''", ("feature_version",), 1)
        return str(rows[0]["feature_version"]) if rows else ""

    def shown(self) -> int:
        """Return the number of users who are shown."""
        dataset = self._dataset("opted_in")
        return 0 if dataset is None else int(dataset.count_rows("opted_in"))

    def nearest(self, queries: np.ndarray, k: int, *, exact: bool = False) -> list[list[tuple[str, float]]]:
        """Return the ``k`` nearest users who opted in, for each query, as (user id, cosine), best first.

        Parameters
        ----------
        queries
            ``[queries, dim]`` vectors.
        k
            Number of users per query; fewer only if fewer opted in.
        exact
            Compare with all users, past any vector index.
        """
        answers = self.search(queries, k, exact=exact)
        return [[(row["user_id"], row["score"]) for row in rows] for rows in answers]

    def search(
        self, queries: np.ndarray, k: int, columns: Sequence[str] = (), *, exact: bool = False
    ) -> list[list[Found]]:
        """Return the ``k`` nearest users who opted in, for each query, best first, with some columns of their rows.

        Parameters
        ----------
        queries, k, exact
            As for `nearest`.
        columns
            Beside ``user_id`` and ``score``.
        """
        table = self._table()
        if table is None or not len(queries):
            return [[] for _ in queries]
        if exact or self.approximation() is None:
            return nearest_of(table, queries, k, columns, exact=exact)
        return nearest_approximately(table, queries, k, columns)


def _arrow_schema(rows: pl.DataFrame) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("user_bucket", pa.int32(), nullable=False),
            pa.field("content_hash", pa.int64(), nullable=False),
            pa.field("feature_version", pa.string(), nullable=False),
            pa.field("opted_in", pa.bool_()),
            pa.field("shown_as", pa.string()),
            pa.field(COLUMN, pa.binary()),
            pa.field("vector", pa.list_(pa.float16(), rows["vector"].dtype.shape[0]), nullable=False),  # type: ignore[attr-defined]
        ]
    )


def _conformed(rows: pl.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return rows as a table holds them; one of an older version has longer vectors."""
    import polars as pl

    if COLUMN not in rows.columns:
        about = rows.with_columns(pl.col("opted_in").alias("shown"))
        about = about.with_columns(pl.lit(None).alias(name) for name in TOLD if name not in about.columns)
        rows = rows.with_columns(pl.Series(COLUMN, packed(about.select(TOLD).iter_rows()), dtype=pl.Binary))
    shown = pl.when("opted_in").then("user_id").map_elements(str.casefold, pl.String).alias("shown_as")
    return rows.with_columns(shown).select(schema.names).to_arrow().cast(schema)


def _if_there(table: Callable[[], Opened]) -> Opened | None:
    """Return a table as it is opened, or None where there is none."""
    try:
        return table()
    except ValueError as error:
        if "was not found" in str(error):
            return None
        raise


def _connect(root: Root) -> lancedb.DBConnection:
    import lancedb

    return lancedb.connect(str(root))
