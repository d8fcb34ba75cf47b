"""Files of LanceDB tables that are damaged, found without reading them.

Every file of Lance ends with ``LANC`` (https://lance.org/format/file/). What was cut short by a full disk, a crash of
the machine or a copy that broke off does not. Which files a version needs is in its manifest; what killed writers left
is in none.
"""

from __future__ import annotations

import re
from pathlib import Path

from spotify_dag.files import names_in
from spotify_dag.root import ObjectPath, Root
from spotify_dag.stores.lance_upkeep import data_files

MAGIC = b"LANC"
PRIMARY_KEY = "lance-schema:unenforced-primary-key"
"""Metadata of the column that tells rows apart, where rows are merged."""
_DATA = re.compile(rb"[01]{24}[0-9a-f]{26}\.lance")
_NEWEST_FIRST = 2**64 - 1
"""Version V is named so minus V, in 20 digits; by older versions of Lance plainly V."""


def damaged_files(table: Root) -> list[str]:
    """Return one line for each file of the newest version of a table, ``NAME.lance``, that is gone or cut short."""
    newest = newest_manifest(table)
    if newest is None:
        return [f"{table} has no manifest"]
    if isinstance(newest, Path) and (wrong := _wrong(newest)):
        return [wrong]
    named = sorted({name.decode() for name in _DATA.findall(newest.read_bytes())})
    damaged = _damaged(table, named)
    # After fragments were written anew, a manifest may name those before, too: only then is it worth opening.
    return _damaged(table, data_files(table)) if damaged else []


def _damaged(table: Root, needed: list[str]) -> list[str]:
    if isinstance(table, ObjectPath):  # what was put is whole
        present = set(names_in(table / "data"))
        return [f"{table}/data/{name} is gone" for name in needed if name not in present]
    return [wrong for name in needed if (wrong := _wrong(table / "data" / name))]


def newest_manifest(table: Root) -> Root | None:
    """Return the file that says what the newest version of a table is made of, or None. Its content is never reused."""
    return max((table / "_versions").glob("*.manifest"), key=_version, default=None)


def _version(manifest: Root) -> int:
    number = int(manifest.stem) if manifest.stem.isdigit() else -1
    return _NEWEST_FIRST - number if len(manifest.stem) == 20 else number


def _wrong(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            opened.seek(0, 2)
            opened.seek(max(opened.tell() - len(MAGIC), 0))
            return None if opened.read() == MAGIC else f"{file} was cut short"
    except FileNotFoundError:
        return f"{file} is gone"
