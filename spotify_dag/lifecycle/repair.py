"""Damaged files: found without reading them, and taken out, so that they are made anew.

A file that is not as long as it should be was cut short: by a full disk, a crash of the machine, a copy that broke off.
What a file of the lake belongs to, a bucket, leaves its table, and with it what says that the bucket is up to date. An
index is dropped as a whole. Weights are put back from their run in MLflow, else trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from spotify_dag.project import Project
from spotify_dag.root import ObjectPath, Root
from spotify_dag.schemas import (
    ARTIST_GENRES,
    INGESTS,
    LISTENING_MONTHS,
    RAW_PLAYLISTS,
    REJECTS,
    TABLES,
    TEXT_VECTORS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
)

READ = (RAW_PLAYLISTS, USERS, LISTENING_MONTHS, REJECTS, INGESTS)
"""Tables that are made anew together, from the sources."""
MADE = (ARTIST_GENRES, USER_TASTES, USER_EMBEDDINGS)
"""Tables that are made anew together, from those."""


def drop_damaged(project: Project) -> list[str]:
    """Take what is damaged out of the way; return one line for each damaged file."""
    return [*_drop_from_lake(project), *_drop_indexes(project), *_drop_models(project)]


def _drop_indexes(project: Project) -> list[str]:
    told = []
    for index in project.user_indexes():
        told += [f"{wrong}. The index is made anew" for wrong in index.drop_damaged()]
    told += [f"{wrong}. The index is made anew" for wrong in project.track_index.drop_damaged()]
    return told


def _drop_models(project: Project) -> list[str]:
    registry, told = project.registry, []
    for version in filter(None, {registry.champion(), registry.latest(), project.published()}):
        if wrong := registry.damaged(version):
            told.append(wrong)
    if wrong := project.track_model.damaged():
        project.track_model.withdraw()
        told.append(f"{wrong}. The continuation of playlists is learned anew")
    return told


def _drop_from_lake(project: Project) -> list[str]:
    if not next(_damaged(project), None):
        return []
    told = []
    with project.lake.buckets_locked(range(project.lake.n_buckets)):
        for table, part, line in list(_damaged(project)):
            told.append(line)
            if table in READ:
                for other in READ:
                    _drop(project, other, part)
            elif table in MADE:
                _drop(project, USER_EMBEDDINGS, part)
                _drop(project, table, part)
            else:
                if table is TEXT_VECTORS:  # they belong to no single user: everybody is embedded again
                    _drop(project, USER_EMBEDDINGS, None)
                _drop(project, table, part)
    return told


def _damaged(project: Project) -> Iterator[tuple[Table, Any, str]]:
    """Yield tables with damaged files, the part of the table that a file belongs to, and what to tell of it."""
    from deltalake import DeltaTable

    for table in TABLES:
        if not project.lake.exists(table):
            continue
        root = project.lake.folder(table)
        files = DeltaTable(str(root)).get_add_actions(flatten=True)
        length_of = _lengths(root)
        columns = [files.column(name).to_pylist() for name in ("path", "size_bytes", f"partition.{table.partition_by}")]
        for name, size, part in zip(*columns, strict=True):
            path = root / unquote(name)
            length = length_of(path)
            if length != size:
                how = "is gone" if length is None else f"has {length:,} of {size:,} bytes"
                yield table, part, f"{path} {how}. It is made anew"


def _lengths(folder: Root) -> Callable[[Root], Any]:
    """Return what tells how long a file below a folder is; None where there is none."""
    if isinstance(folder, ObjectPath):  # a request for all, not one for each
        lengths: dict[Root, int] = {path: path.stat().st_size for path in folder.objects()}
        return lengths.get
    return lambda path: path.stat().st_size if path.is_file() else None


def _drop(project: Project, table: Table, part: Any) -> None:
    """Delete a part of a table, or all of it, without reading a file."""
    from deltalake import DeltaTable

    if project.lake.exists(table):
        value = f"'{part}'" if isinstance(part, str) else part
        DeltaTable(project.lake.uri(table)).delete(None if part is None else f"{table.partition_by} = {value}")
