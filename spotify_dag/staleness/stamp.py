"""Whether anything changed at all, from names and times of files: if not, what is stale need not be found out again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from spotify_dag.project import Project
from spotify_dag.schemas import TABLES
from spotify_dag.staleness.stale_buckets import feature_version, known_users_versions


def stamp(project: Project) -> str:
    """Return a fingerprint that changes whenever something may have become stale, but for what time alone brings.

    Costs milliseconds, whatever the number of users that are in the tables.
    """
    parts = [feature_version(project), *known_users_versions(project)]
    parts += [f"{table.name} {project.lake.version(table)}" for table in TABLES]
    parts += map(str, project.preferences.versions())
    for file in sorted(_files(project)):
        status = file.stat() if file.exists() else None
        parts.append(f"{file} {status and (status.st_mtime_ns, status.st_size)}")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def _files(project: Project) -> Iterator[Path]:
    yield project.vectors / "published.json"
    yield project.inbox.weekly.file
    yield from project.vectors.glob("*.lance/_versions")
    models = project.registry.root
    yield from (models / "mlflow.db", models / "mlflow.db-wal", project.settings.data / "training.json")
    yield from (models / "tracks").glob("*.json")
    yield from models.glob("*/tower.safetensors")
