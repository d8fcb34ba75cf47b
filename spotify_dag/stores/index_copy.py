"""A copy of a user index on the disk of the machine that answers from it, where the index is in object storage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from spotify_dag.files import paths_below, write_atomically
from spotify_dag.root import ObjectPath
from spotify_dag.stores.user_index import PREFIX, UserIndex

VERSIONS = "_versions"


def on_this_machine(index: UserIndex, folder: Path) -> UserIndex:
    """Return an index as it is now, on a disk; one in a folder already is.

    A search reads some hundred places of the index, which object storage answers one request each. Files of Lance
    never change, so only those that came since the last time are read. What is gone there goes here, too: it may hold
    users who were forgotten.

    Parameters
    ----------
    folder
        Where copies are kept. Those of other indexes are deleted.

    Raises
    ------
    FileNotFoundError
        If the index changed while it was copied: ask again.
    """
    if not isinstance(index.root, ObjectPath):
        return index
    there = index.root / f"{index.name}.lance"
    # Versions last: what a version names is here before it is.
    objects = sorted(there.objects(), key=lambda file: VERSIONS in file.parts)
    file_of = {folder / there.name / str(file.relative_to(there)): file for file in objects}
    for path, file in file_of.items():
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, file.read_bytes())
    for path in list(paths_below(folder)) if folder.exists() else ():
        if path.is_file() and path not in file_of and f"/{PREFIX}" in str(path):
            path.unlink(missing_ok=True)
    return replace(index, root=folder)
