"""Values that follow from the rows of a bucket or of a file, remembered for as long as the files are the same.

Files of the lake are never changed, and no two have the same name. So what is made from the rows of a bucket, and from
nothing else, stays the same while its files do. A value is kept beside a fingerprint of what it was made from. A writer
need not tell that it wrote. Whatever is lost or too old is made again: a kill, a race or a deleted file costs time, and
never an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spotify_dag.files import write_atomically
from spotify_dag.root import Root, RootError
from spotify_dag.stores.lake import ROW_FILE, Lake

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.schemas import Table

FOLDER = ".bucket-state"
"""Name of the folder, beside the tables."""
RULES = "1"
"""Raise it when a value means something else, or is made in another way: all are then made again."""


def of_buckets(
    lake: Lake,
    name: str,
    fingerprints: Callable[[], Mapping[int, str]],
    make: Callable[[list[int]], Mapping[int, Any]],
    buckets: Iterable[int] | None = None,
) -> dict[int, Any]:
    """Return a value for each bucket: remembered where its fingerprint is the same, else made now.

    Parameters
    ----------
    lake
        Where values are remembered. Where it cannot be written to, nothing is.
    name
        Of the values: a name of a file, without its suffix.
    fingerprints
        Returns for every bucket what differs once its value may. It is asked again after values were made: those of
        buckets that somebody wrote meanwhile are not remembered.
    make
        Returns the values of some buckets, as JSON can hold them.
    buckets
        Which buckets; all by default.
    """
    file, before = lake.root / FOLDER / f"{name}.json", fingerprints()
    held = read_state(file)
    values = {}
    missing = []
    for bucket in range(lake.n_buckets) if buckets is None else buckets:
        fingerprint, value = held.get(str(bucket), (None, None))
        if fingerprint == before[bucket]:
            values[bucket] = value
        else:
            missing.append(bucket)
    if missing:
        made = make(missing)
        values.update(made)
        after = fingerprints()
        new = {str(bucket): [after[bucket], made[bucket]] for bucket in missing if before[bucket] == after[bucket]}
        if lake.root.exists():  # who only looks makes no data root
            write_state(file, read_state(file) | new)
    return values


def sums_of_rows(
    lake: Lake, table: Table, name: str, expressions: Mapping[str, pl.Expr], buckets: Iterable[int] | None = None
) -> dict[str, int]:
    """Return sums over the rows of a table. Those of a file are remembered, so that only new files are read.

    Parameters
    ----------
    lake, table
        Which rows.
    name
        Of the sums: the beginning of a file's name.
    expressions
        What is summed up, by name: conditions and whole numbers that follow from a row alone.
    buckets
        Which buckets; everything by default, also of a table that has none.
    """
    import polars as pl

    files = lake.files(table, "path")
    chosen = [path for part in (files if buckets is None else buckets) for path in files.get(part, ())]
    file = lake.root / FOLDER / f"{name}-{lake.folder(table).name}.json"
    held = read_state(file)
    new = [path for path in chosen if held.get(path, {}).keys() != expressions.keys()]
    if new:
        rows = lake.scan_files(table, new).select(ROW_FILE, **expressions)
        summed = rows.group_by(ROW_FILE).agg(pl.all().sum()).collect(engine="streaming")
        made = dict.fromkeys(new, dict.fromkeys(expressions, 0)) | {row.pop(ROW_FILE): row for row in summed.to_dicts()}
        held = read_state(file) | made
        present = {path for paths in files.values() for path in paths}
        if lake.root.exists():
            write_state(file, {path: sums for path, sums in held.items() if path in present})
    return {name: sum(held[path][name] for path in chosen) for name in expressions}


def read_state(file: Root) -> dict[str, Any]:
    """Return what is remembered in a file; nothing where it cannot be read, or other rules wrote it."""
    try:
        state = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return state["state"] if isinstance(state, dict) and state.get("rules") == RULES else {}


def write_state(file: Root, state: Mapping[str, Any]) -> None:
    """Remember a state, unless the place cannot be written to: it is only there to save time."""
    with suppress(OSError, RootError):
        write_atomically(file, json.dumps({"rules": RULES, "state": state}).encode())
