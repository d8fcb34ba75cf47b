"""Values that follow from the rows of a bucket or of a file, remembered for as long as the files are the same.

Files of the lake are never changed, and no two have the same name. So what is made from the rows of a bucket, and from
nothing else, stays the same while its files do. A value is kept beside a fingerprint of what it was made from. A writer
need not tell that it wrote. Whatever is lost or too old is made again: a kill, a race or a deleted file costs time, and
never an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
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
REMEMBERED_ROWS = 1_000
"""Rows from which on the value of a file is remembered."""
ROWS_AT_ONCE = 20_000
"""Rows of new files that are in memory at one time, or one file if it has more."""
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


def of_files(
    lake: Lake,
    table: Table,
    name: str,
    columns: Mapping[str, pl.Expr],
    make: Callable[[pl.DataFrame], Any],
    buckets: Iterable[int] | None = None,
) -> list[Any]:
    """Return a value for each file that has rows of a table: remembered, or made now.

    Of the large files only new ones are read. Small ones are read each time: there may be thousands until they are
    joined, and to remember them all would cost more.

    Parameters
    ----------
    lake, table
        Which rows.
    name
        Of the values: the beginning of a file's name.
    columns
        What is read of the rows, by name. With other names all values are made again.
    make
        Takes these columns of the rows of a file, and returns its value, as JSON can hold it.
    buckets
        Which buckets; everything by default, also of a table that has none.
    """
    files = lake.files(table, "path", "num_records")
    chosen = [file for part in (files if buckets is None else buckets) for file in files.get(part, ()) if file[1]]
    place = lake.root / FOLDER / f"{name}-{lake.folder(table).name}.json"
    held = _held(place, columns)
    new = {path: rows for path, rows in chosen if path not in held}
    made = {}
    for paths in _at_once(new.items()):
        rows = lake.scan_files(table, paths).select(ROW_FILE, **columns).collect()
        for (path,), part in rows.partition_by(ROW_FILE, as_dict=True, include_key=False).items():
            made[str(path)] = make(part)
    large = {path: value for path, value in made.items() if new[path] >= REMEMBERED_ROWS}
    if large and lake.root.exists():
        present = {path for some in files.values() for path, _ in some}
        files_present = {path: value for path, value in (_held(place, columns) | large).items() if path in present}
        write_state(place, {"columns": list(columns), "files": files_present})
    return [(made | held)[path] for path, _ in chosen]


def _held(place: Root, columns: Iterable[str]) -> dict[str, Any]:
    state = read_state(place)
    return state["files"] if state.get("columns") == list(columns) else {}


def _at_once(files: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Yield the paths of files (path, rows) in groups of `ROWS_AT_ONCE` rows, or a little more."""
    group: list[str] = []
    held = 0
    for path, rows in files:
        group.append(path)
        held += rows
        if held >= ROWS_AT_ONCE:
            yield group
            group, held = [], 0
    if group:
        yield group


def sums_of_rows(
    lake: Lake, table: Table, name: str, expressions: Mapping[str, pl.Expr], buckets: Iterable[int] | None = None
) -> dict[str, int]:
    """Return the sums of expressions (conditions, whole numbers) over the rows of a table: parameters of `of_files`."""
    parts = of_files(lake, table, name, expressions, lambda rows: rows.sum().row(0), buckets)
    return {name: sum(part[place] for part in parts) for place, name in enumerate(expressions)}


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
