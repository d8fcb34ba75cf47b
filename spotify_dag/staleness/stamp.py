"""Whether anything changed at all, from names and times of files: if not, what is stale need not be found out again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from spotify_dag.files import folder_version
from spotify_dag.project import Project
from spotify_dag.root import ObjectPath, Root
from spotify_dag.schemas import TABLES
from spotify_dag.staleness.stale_buckets import feature_version, known_users_versions


def stamp(project: Project) -> str:
    """Return a fingerprint that changes whenever something may have become stale, but for what time alone brings.

    Costs milliseconds, whatever the number of users that are in the tables.
    """
    parts = [feature_version(project), *known_users_versions(project)]
    parts += [f"{table.name} {project.lake.version(table)}" for table in TABLES]
    parts += map(str, project.preferences.versions())
    for file in sorted(_files(project), key=str):
        parts.append(f"{file} {_seen(file)}")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _seen(file: Root) -> object:
    if isinstance(file, ObjectPath):
        return file.version() or folder_version(file)
    status = file.stat() if file.exists() else None
    return status and (status.st_mtime_ns, status.st_size)


def _files(project: Project) -> Iterator[Root]:
    yield project.vectors / "published.json"
    yield project.inbox.weekly.file
    yield from project.vectors.glob("*.lance/_versions")
    models, of_mlflow = project.registry.root, project.settings.local_data / "models"
    yield from (of_mlflow / "mlflow.db", of_mlflow / "mlflow.db-wal", project.settings.data / "training.json")
    yield from (models / "tracks").glob("*.json")
    yield from models.glob("*/tower.safetensors")
