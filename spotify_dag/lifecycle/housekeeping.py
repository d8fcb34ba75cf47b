"""Keep the data root from growing without bound: small files are joined, and what nobody needs any more is deleted.

A reader that began before a version was replaced can go on for `KEEP_VERSIONS`; nothing waits for readers.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.files import paths_below
from spotify_dag.inbox.user_requests import ABANDONED_SECONDS
from spotify_dag.lifecycle.held_names import HeldNames
from spotify_dag.lifecycle.rebucket import drop_left_over
from spotify_dag.schemas import TABLES
from spotify_dag.sources.read_once import drop_left
from spotify_dag.stores.user_index import KEEP_VERSIONS

if TYPE_CHECKING:
    from spotify_dag.project import Project

KEEP_INDEXES = 2
"""Model versions whose user index is kept: the one that answers, and one to go back to."""
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp|\.new-.+")
"""What `files.write_atomically`, and the tables made elsewhere, are called until they are in place."""


@dataclass
class Tidied:
    """What housekeeping did."""

    files_before: int = 0
    files: int = 0
    bytes_before: int = 0
    bytes: int = 0
    """Of the lake and the indexes."""
    indexes_dropped: list[str] = field(default_factory=list)
    abandoned: int = 0
    """Files and folders that killed processes left, deleted."""
    busy: list[str] = field(default_factory=list)
    """Tables that somebody was writing to; they are for the next time."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def tidy(project: Project, keep: timedelta = KEEP_VERSIONS) -> Tidied:
    """Join small files, fold new rows into the indexes, and delete versions older than ``keep`` with all they need.

    Also deleted: the indexes of all model versions but the last ones, tables that a split of buckets left behind,
    listening that no request names, and what killed processes left. Safe beside everything else, and to kill.
    """
    done = Tidied()
    done.files_before, done.bytes_before = usage(project)
    for table in TABLES:
        if project.lake.tidy(table, keep) is None:
            done.busy.append(table.name)
    drop_left_over(project, keep)
    for version in _unneeded_indexes(project):
        project.user_index(version).drop()
        done.indexes_dropped.append(version)
    for index in project.user_indexes():
        index.optimise(keep)
    HeldNames(project.lake).bring_up()  # of files that were joined just now: else the next deletion waits for it
    folders = {place for place in (project.settings.data, project.settings.local_data) if isinstance(place, Path)}
    done.abandoned = sum(map(_delete_abandoned, folders))
    done.abandoned += project.inbox.requests.drop_unnamed()
    done.abandoned += drop_left(project.left_of_sources, time.time() - ABANDONED_SECONDS, seconds=0)
    done.files, done.bytes = usage(project)
    return done


def usage(project: Project) -> tuple[int, int]:
    """Return how many files, and bytes, the lake and the indexes are."""
    sizes = []
    for file in chain.from_iterable(map(paths_below, (project.lake.root, project.vectors))):
        try:
            if file.is_file():
                sizes.append(file.stat().st_size)
        except FileNotFoundError:
            continue  # deleted meanwhile
    return len(sizes), sum(sizes)


def _unneeded_indexes(project: Project) -> list[str]:
    """Return the versions whose index is neither answering, nor being made, nor the last to go back to."""
    present = [index.model_version for index in project.user_indexes()]
    if len(present) <= KEEP_INDEXES:
        return []
    needed = {project.published(), project.registry.champion(), project.registry.latest()} & set(present)
    others = [version for version in present if version not in needed]
    return others[: len(others) - max(0, KEEP_INDEXES - len(needed))]


def _delete_abandoned(data: Path) -> int:
    """Delete temporary files and folders so old that the process that made them was killed."""
    before = time.time() - ABANDONED_SECONDS
    deleted = 0
    for path in list(paths_below(data)):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        try:
            if path.stat().st_mtime >= before:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            deleted += 1
        except FileNotFoundError:
            continue  # its owner was alive after all
    return deleted
