"""Questions to the LanceDB table of a user index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

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


def rows_where(table: Any, where: str, columns: Sequence[str], most: int | None = None) -> list[Found]:
    """Return ``user_id`` and some columns of the rows for which a condition holds; None for columns that are not there.

    Without a table, there are none.
    """
    if table is None:
        return []
    present = ["user_id", *(name for name in columns if name in table.schema.names)]
    rows = as_rows(table.search().where(where).select(present).limit(most).to_arrow())
    return [dict.fromkeys(columns) | row for row in rows]


def in_users(user_ids: Sequence[str]) -> str:
    """Return the condition that a row is of one of some users."""
    return "user_id in (" + ", ".join("'" + user.replace("'", "''") + "'" for user in user_ids) + ")"


def nearest_approximately(table: Any, queries: np.ndarray, k: int, columns: Sequence[str]) -> list[list[Found]]:
    """Return what `nearest_of` does, by the vector index."""
    # Looking up who is shown takes time for all users, so it is done only where too few of the nearest are.
    wide = nearest_of(table, queries, k + SPARE, [*columns, "opted_in"], shown=False)
    answers = [[row for row in rows if row["opted_in"]][:k] for rows in wide]
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
    present = ["user_id", *(name for name in columns if name in table.schema.names)]
    search = table.search(list(queries)).distance_type(METRIC).select([*present, "_distance"]).limit(k)
    if shown and "opted_in" in table.schema.names:
        # If the nearest parts of the index hold too few users who opted in, more parts are searched.
        search = search.where("opted_in", prefilter=True).minimum_nprobes(PROBES).maximum_nprobes(0)
    else:
        search = search.nprobes(PROBES)
    search = search.refine_factor(REFINED)
    rows = as_rows((search.bypass_vector_index() if exact else search).to_arrow())
    answers: list[list[Found]] = [[] for _ in queries]
    for row in rows:
        row["score"] = 1.0 - row.pop("_distance")
        answers[row.pop("query_index", 0)].append(dict.fromkeys(columns) | row)
    # Equal distances come in storage order. Sorted by id, too, the same question always gets the same answer.
    return [sorted(answer, key=lambda row: (-row["score"], row["user_id"])) for answer in answers]


def as_rows(table: pa.Table) -> list[Found]:
    """Return the rows of an answer; vectors as arrays."""
    names = [name for name in table.column_names if name != "vector"]
    rows: list[Found] = table.select(names).to_pylist()
    if "vector" in table.column_names and rows:
        vectors = table["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        for row, vector in zip(rows, vectors.reshape(len(rows), -1), strict=True):
            row["vector"] = vector
    return rows
