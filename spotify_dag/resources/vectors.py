"""User vectors in LanceDB: one table per model version, so vectors of two versions never meet.

The metric of a query must equal the index's, or LanceDB silently scans everything: both are `METRIC`. Up to
`EXACT_ROWS` a scan is exact and fast enough; beyond, an IVF index answers, and rows added since are searched exactly
until they are folded in.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spotify_dag.resources.registry import write_atomically
from spotify_dag.tower.score import ScoreScale

if TYPE_CHECKING:
    import lancedb
    import numpy as np
    import polars as pl
    import pyarrow as pa

METRIC: Final = "cosine"
EXACT_ROWS = 100_000
PROBES = 32
POINTER = "published.json"
PREFIX = "user_index_"
FOLD_FRAGMENTS = 48
FOLD_ROWS = 2_000
"""So many small files, or rows beside the IVF index, are searched exactly; more of them are folded in."""
_ROW_COLUMNS = ("user_id", "user_bucket", "content_hash", "feature_version")


@dataclass(frozen=True)
class UserIndex:
    """The user vectors of one model version: ``user_id, user_bucket, content_hash, feature_version, vector``."""

    root: Path
    model_version: str

    @classmethod
    def published(cls, root: Path) -> tuple[UserIndex, ScoreScale] | None:
        """Return the index that answers and what its cosines mean, or None."""
        pointer = root / POINTER
        if not pointer.is_file():
            return None
        values = json.loads(pointer.read_text())
        return cls(root, values["model_version"]), ScoreScale.from_dict(values["scale"])

    def publish(self, scale: ScoreScale) -> None:
        """Make this the index that answers, with what its cosines mean.

        One rename, so an answer is wholly of one model version.
        """
        pointer = {"model_version": self.model_version, "scale": scale.as_dict()}
        write_atomically(self.root / POINTER, json.dumps(pointer).encode())

    @classmethod
    def all(cls, root: Path) -> list[UserIndex]:
        """Return the indexes that there are, of every version."""
        return [cls(root, file.stem.removeprefix(PREFIX)) for file in sorted(root.glob(f"{PREFIX}*.lance"))]

    @property
    def name(self) -> str:
        """Name of the LanceDB table."""
        return f"{PREFIX}{self.model_version}"

    def _table(self) -> Any | None:
        try:
            return _connect(self.root).open_table(self.name)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise

    def replace(self, buckets: Sequence[int], rows: pl.DataFrame) -> None:
        """Make these buckets hold exactly ``rows``, in one commit: changed users are updated, gone ones deleted."""
        table = self._table()
        if rows.is_empty():
            if table is not None:
                table.delete(_in_buckets(buckets))
            return
        (self._matching(rows).when_not_matched_by_source_delete(_in_buckets(buckets)).execute(_conformed(rows)))

    def merge(self, rows: pl.DataFrame, gone: Sequence[str]) -> None:
        """Add or change some users, each commit as long as their number; take others out."""
        table = self._table()
        if gone and table is not None:
            table.delete(_in_users(gone))
        if rows.height:
            self._matching(rows).execute(_conformed(rows))

    def mark_stale(self, user_ids: Sequence[str]) -> None:
        """Note of users that their vectors have to be made anew; until then the present ones answer."""
        table = self._table()
        if table is not None:
            table.update(where=_in_users(user_ids), values={"feature_version": ""})

    def _matching(self, rows: pl.DataFrame) -> Any:
        table = self._table() or self._create(_arrow_schema(rows))
        return table.merge_insert("user_id").when_matched_update_all().when_not_matched_insert_all()

    def _create(self, schema: pa.Schema) -> Any:
        """Make the table elsewhere and move it into place: of several writers, all find the one that came first.

        The user id is LanceDB's unenforced primary key: without it, two writers that add the same new key at once
        both keep it. Set on a table that others already write to, it makes their writes fail.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        folder = f"{self.name}.lance"
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".new-") as scratch:
            table = _connect(Path(scratch)).create_table(self.name, schema=schema)
            table.set_unenforced_primary_key("user_id")  # type: ignore[attr-defined]
            try:
                (Path(scratch) / folder).rename(self.root / folder)
            except OSError:
                if not (self.root / folder).is_dir():
                    raise
        return self._table()

    def optimise(self) -> None:
        """Compact small files, drop versions older than an hour, fold new rows into the index, or build it."""
        table = self._table()
        if table is None:
            return
        if table.count_rows() > EXACT_ROWS and not table.list_indices():
            from lancedb.index import IvfFlat

            table.create_index("vector", config=IvfFlat(distance_type=METRIC))
        table.optimize(cleanup_older_than=timedelta(hours=1))

    def fold(self) -> bool:
        """Do `optimise` if enough has come since the last time to be worth it; return whether it was."""
        table = self._table()
        if table is None:
            return False
        beside = [table.index_stats(index.name).num_unindexed_rows for index in table.list_indices()]
        many = table.count_rows() > EXACT_ROWS and not beside
        small = table.stats()["fragment_stats"]["num_small_fragments"]
        if not (many or small > FOLD_FRAGMENTS or max(beside, default=0) > FOLD_ROWS):
            return False
        self.optimise()
        return True

    def rows(self, buckets: Sequence[int] | None = None, *, with_vectors: bool = False) -> pl.DataFrame:
        """Return every row, or those of some buckets, sorted by user; no rows where the index does not exist.

        Returns
        -------
        ``user_id, user_bucket, content_hash, feature_version`` and, if asked for, ``vector``.
        """
        import polars as pl

        table = self._table()
        if table is None:
            kinds = (pl.String, pl.Int32, pl.Int64, pl.String)
            return pl.DataFrame(schema=dict(zip(_ROW_COLUMNS, kinds, strict=True)))
        columns = [*_ROW_COLUMNS, "vector"] if with_vectors else [*_ROW_COLUMNS]
        search = table.search().select(columns).limit(None)
        found = (search if buckets is None else search.where(_in_buckets(buckets))).to_arrow()
        return pl.DataFrame(pl.from_arrow(found)).sort("user_id")

    def vectors(self, user_ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the vectors of some users; one that is not in the index is left out."""
        import numpy as np

        table = self._table()
        if table is None or not user_ids:
            return {}
        found = table.search().where(_in_users(user_ids)).select(["user_id", "vector"]).limit(None).to_arrow()
        return {
            user: np.asarray(vector, np.float32)
            for user, vector in zip(found["user_id"].to_pylist(), found["vector"].to_pylist(), strict=True)
        }

    def nearest(self, queries: np.ndarray, k: int) -> list[list[tuple[str, float]]]:
        """Return the ``k`` nearest users of each query, ``[queries, dim]``, as (user, cosine), best first."""
        table = self._table()
        if table is None or not len(queries):
            return [[] for _ in queries]
        search = (
            table.search(list(queries)).distance_type(METRIC).nprobes(PROBES).select(["user_id", "_distance"]).limit(k)
        )
        found = search.to_arrow()
        answers: list[list[tuple[str, float]]] = [[] for _ in queries]
        numbers = found["query_index"].to_pylist() if "query_index" in found.column_names else [0] * len(found)
        pairs = zip(numbers, found["user_id"].to_pylist(), found["_distance"].to_pylist(), strict=True)
        for number, user, distance in pairs:
            answers[number].append((user, 1.0 - distance))
        # Equal distances come back in storage order; by id, the same question always gets the same answer.
        return [sorted(answer, key=lambda pair: (-pair[1], pair[0])) for answer in answers]


def _in_buckets(buckets: Sequence[int]) -> str:
    return f"user_bucket in ({', '.join(map(str, buckets))})"


def _in_users(user_ids: Sequence[str]) -> str:
    return "user_id in (" + ", ".join("'" + user.replace("'", "''") + "'" for user in user_ids) + ")"


def _arrow_schema(rows: pl.DataFrame) -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("user_id", pa.string(), nullable=False),
            pa.field("user_bucket", pa.int32(), nullable=False),
            pa.field("content_hash", pa.int64(), nullable=False),
            pa.field("feature_version", pa.string(), nullable=False),
            pa.field("vector", pa.list_(pa.float32(), rows["vector"].dtype.shape[0]), nullable=False),  # type: ignore[attr-defined]
        ]
    )


def _conformed(rows: pl.DataFrame) -> pa.Table:
    schema = _arrow_schema(rows)
    return rows.select(schema.names).to_arrow().cast(schema)


def _connect(root: Path) -> lancedb.DBConnection:
    import lancedb

    return lancedb.connect(str(root))
