"""Questions to the LanceDB table of a user index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spotify_dag.stores.told import COLUMN, TOLD, unpacked

if TYPE_CHECKING:
    import pyarrow as pa
    from lance import LanceDataset

METRIC: Final = "cosine"
PROBES = 12
"""Parts of the IVF index that are searched at least."""
REFINED = 2
"""For each user asked for, so many candidates are compared by their vectors."""
SPARE = 3
"""Users found beyond those asked for, in the place of users who are not shown."""
Found = dict[str, Any]
"""A row that was found, by column; after a search with its ``score``, the cosine."""


def as_kept(vectors: np.ndarray) -> np.ndarray:
    """Return vectors as the index has them, in half precision; float32."""
    return vectors.astype(np.float16).astype(np.float32)


def approximation(table: Any) -> str | None:
    """Return a name of the approximate vector index of a table, or None if searches are exact."""
    indices = table.list_indices() if table is not None else []
    of_vectors = [index for index in indices if index.columns == ["vector"]]
    return " ".join(str(index.index_uuid) for index in of_vectors) or None


def rows_where(
    dataset: LanceDataset | None, where: str, columns: Sequence[str], most: int | None = None
) -> list[Found]:
    """Return ``user_id`` and some columns of the rows for which a condition holds; None for columns that are not there.

    Without a table, there are none. Lance is asked itself: LanceDB takes three times as long to say who a user is.
    """
    if dataset is None:
        return []
    return as_rows(dataset.to_table(columns=stored(dataset.schema.names, columns), filter=where, limit=most), columns)


def rows_at(dataset: LanceDataset, offsets: Sequence[int], columns: Sequence[str]) -> list[Found]:
    """Return ``user_id`` and some columns of the rows at some places of the table."""
    return as_rows(dataset.take(list(offsets), columns=stored(dataset.schema.names, columns)), columns)


def in_users(user_ids: Sequence[str]) -> str:
    """Return the condition that a row is of one of some users."""
    return "user_id in (" + ", ".join("'" + user.replace("'", "''") + "'" for user in user_ids) + ")"


def nearest_approximately(table: Any, queries: np.ndarray, k: int, columns: Sequence[str]) -> list[list[Found]]:
    """Return what `nearest_of` does, by the vector index."""
    # Looking up who is shown takes time for all users, so it is done only where too few of the nearest are.
    flag = "shown" if COLUMN in table.schema.names else "opted_in"
    wide = nearest_of(table, queries, k + SPARE, [*columns, flag], shown=False)
    answers = [[row for row in rows if row[flag]][:k] for rows in wide]
    short = [number for number, rows in enumerate(answers) if len(rows) < k]
    if short:
        again = nearest_of(table, queries[short], k, columns)
        for number, rows in zip(short, again, strict=True):
            answers[number] = rows
    return answers


def nearest_of(
    table: Any, queries: np.ndarray, k: int, columns: Sequence[str], *, shown: bool = True, exact: bool = False
) -> list[list[Found]]:
    """Return the ``k`` rows nearest to each of ``[queries, dim]``, best first, with some columns.

    Parameters
    ----------
    table, queries, k, columns
        Columns beside ``user_id`` and ``score``; None for those that the table has not.
    shown
        Only users who opted in.
    exact
        Compare with all users, past any vector index.
    """
    present = stored(table.schema.names, columns)
    search = table.search(list(queries)).distance_type(METRIC).select([*present, "_distance"]).limit(k)
    if shown and "opted_in" in table.schema.names:
        # If the nearest parts of the index hold too few users who opted in, more parts are searched.
        search = search.where("opted_in", prefilter=True).minimum_nprobes(PROBES).maximum_nprobes(0)
    else:
        search = search.nprobes(PROBES)
    search = search.refine_factor(REFINED)
    rows = as_rows((search.bypass_vector_index() if exact else search).to_arrow(), columns)
    answers: list[list[Found]] = [[] for _ in queries]
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
        answers[row.pop("query_index", 0)].append(row)
    # Equal distances come in storage order. Sorted by id, too, the same question always gets the same answer.
    return [sorted(answer, key=lambda row: (-row["score"], row["user_id"])) for answer in answers]


def stored(names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Return which of a table's columns say what ``user_id`` and ``columns`` are; `TOLD` is in one."""
    told = [COLUMN] if COLUMN in names and not set(TOLD).isdisjoint(columns) else []
    return ["user_id", *(name for name in columns if name in names), *told]


def as_rows(table: pa.Table, columns: Sequence[str]) -> list[Found]:
    """Return the rows of an answer, with all ``columns``: None for those that are not there; vectors as arrays."""
    names = [name for name in table.column_names if name not in ("vector", COLUMN)]
    rows: list[Found] = [dict.fromkeys(columns) | row for row in table.select(names).to_pylist()]
    if "vector" in table.column_names and rows:
        vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for row, vector in zip(rows, vectors.reshape(len(rows), -1), strict=True):
            row["vector"] = vector
    if COLUMN in table.column_names:
        names_told = [name for name in columns if name in TOLD]
        for row, value in zip(rows, table[COLUMN].to_pylist(), strict=True):
            told = unpacked(value)
            row.update({name: told[name] for name in names_told})
    return rows
