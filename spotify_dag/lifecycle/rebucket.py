"""Split the user buckets of a data root: n become k n, and bucket b becomes b, b + n, b + 2n, … on its own.

The tables are made anew beside those that answer, some buckets at a time (`Lake.divided`). A list notes for each bucket
which files it was copied from. So what another process changed since, or a killed split left, is copied again, and
nothing else. At the end all is compared once more while nobody can write. Then ``layout.json`` is replaced: one rename.

User indexes are changed in place: what a row says, modulo the number before, stays the bucket it was in. Preferences,
turns of a refresh and tombstones do not depend on the number (`layout`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import read_own_json, write_atomically
from spotify_dag.layout import Layout, layout_written_at
from spotify_dag.lifecycle.divided_rows import divided
from spotify_dag.locks import locked
from spotify_dag.progress import Progress
from spotify_dag.root import Root
from spotify_dag.schemas import RAW_PLAYLISTS, TABLES, USERS, user_buckets

if TYPE_CHECKING:
    from spotify_dag.project import Project
    from spotify_dag.stores.lake import Lake
    from spotify_dag.stores.user_index import UserIndex

SPLIT_TABLES = tuple(table for table in TABLES if table.partition_by == "user_bucket")
MOST_BUCKETS = 4096
COPIED_ROWS = 400_000
"""Playlist items that are copied in one commit, at least one bucket of them: a kill loses at most so much work."""
INDEX_ROWS = 5_000
"""Rows of an index that are changed in one commit."""
WAIT_SECONDS = 2.0
"""Time between two looks whether all runs have ended."""
ABANDONED = timedelta(days=1)
"""After so long, what a killed split has copied is deleted: it holds listening that may have been dropped since."""
_NOTES = ".split.json"


class SplitError(SpotifyDagError):
    """The buckets cannot be split so, or not now. The message says why and what to do."""


@dataclass(frozen=True)
class Plan:
    """What a split will do."""

    n_buckets: int
    into: int
    users: int
    indexes: int
    """Model versions whose user index is changed."""
    bytes_to_write: int
    """Of the tables by bucket that are not copied yet: so much is written, and freed when those before are deleted."""
    bytes_free: int | None
    """On the disk of the data root; None in object storage."""
    copied: int
    """Buckets that a split that was killed has copied, and that are unchanged."""

    def as_dict(self) -> dict[str, int | None]:
        """Return it as plain values."""
        return asdict(self)


@dataclass
class Split:
    """What a split did."""

    n_buckets: int
    """How many buckets there are now."""
    before: int
    copied: int = 0
    """Buckets copied, those that were copied again included."""
    reindexed: dict[str, int] = field(default_factory=dict)
    """Rows of each user index whose bucket was changed."""
    seconds: float = 0.0
    locked_seconds: float = 0.0
    """How long nobody could write, at the end."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def planned(project: Project, into: int) -> Plan:
    """Return what a split into so many buckets will do. Nothing is changed.

    Raises
    ------
    SplitError
        If the number cannot be, if there is nobody to split, or if the disk is too full for it.
    SourceError
        If a source that users were handed in from cannot be opened: what was read of it is divided, too.
    """
    lake, data = project.lake, project.settings.data
    users = sum(lake.row_counts(USERS).values())
    if not users:
        raise SplitError(
            f"{data} has no users, so there are no buckets to split. A new data root gets its number from "
            "SPOTIFY_DAG_N_BUCKETS, when it is first used."
        )
    if project.settings.n_buckets is not None:
        raise SplitError(
            f"SPOTIFY_DAG_N_BUCKETS is set to {project.settings.n_buckets}, which contradicts the data root once it is "
            "split. Unset it first, here and for the app and the daemon: a data root remembers its own number."
        )
    if into % lake.n_buckets or into <= lake.n_buckets or into > MOST_BUCKETS:
        ways = [str(k * lake.n_buckets) for k in (2, 4, 8, 16) if k * lake.n_buckets <= MOST_BUCKETS]
        raise SplitError(
            f"{lake.n_buckets} buckets cannot be split into {into}: it takes a multiple of {lake.n_buckets} that is "
            f"larger, {MOST_BUCKETS} at most. {'For example ' + ', '.join(ways) if ways else 'There is none left'}."
        )
    project.inbox.sources()
    stale = _stale(lake, lake.divided(into))
    sizes = [lake.files(table, "size_bytes") for table in SPLIT_TABLES]
    size = sum(sum(files.get(bucket, ())) for files in sizes for bucket in stale)
    free = shutil.disk_usage(data).free if isinstance(data, Path) else None
    plan = Plan(lake.n_buckets, into, users, len(project.user_indexes()), size, free, lake.n_buckets - len(stale))
    if free is not None and free < size:
        mib = 2**20
        raise SplitError(
            f"The split writes {size / mib:,.0f} MiB of tables beside the present ones, and the disk of {data} has "
            f"{free / mib:,.0f} MiB left. Free some: spotify-dag tidy deletes old versions."
        )
    return plan


def rebucket(
    project: Project, into: int, *, busy: Callable[[], str | None] = lambda: None,
    record: Callable[[Project], None] = lambda _divided: None, waiting: Callable[[str], None] = lambda _why: None,
    progress: Progress | None = None,
) -> Split:  # fmt: skip
    """Split the buckets of a data root. Killed at any moment, it is finished by calling it again.

    Parameters
    ----------
    project, into
        What, and into how many buckets.
    busy
        Returns why the switch must wait, for example for a run that began meanwhile; None if it need not.
    record
        Called with the divided project before the switch: to tell others what its buckets hold.
    waiting
        Hears what is waited for.
    progress
        Shows what is done.

    Raises
    ------
    SplitError
        As `planned`, if another process splits already, or if it cannot begin because of what ``busy`` said.
    """
    begun, lake = time.monotonic(), project.lake
    planned(project, into)
    if reason := busy():
        raise SplitError(f"{reason} Buckets are split when no run is going on: wait for it or end it, then try again.")
    done, there, shown = Split(into, lake.n_buckets), project.divided(into), progress or Progress()
    with locked(_lock(lake), wait=False) as alone:
        if not alone:
            raise SplitError(f"Another process splits the buckets of {project.settings.data} already. Wait for it.")
        for other in lake.left_over():
            if other.n_buckets != into:
                other.drop()
        _bring_up(project, there, done, shown)
        record(there)
        while True:
            with lake.buckets_locked(range(lake.n_buckets), lambda: waiting("A run has buckets.")), lake.all_locked():
                reason, alone_since = busy(), time.monotonic()
                if reason is None:
                    _bring_up(project, there, done, Progress(), alone=True)
                    Layout(into, lake.of_origin).write(project.settings.data)
                    done.locked_seconds = time.monotonic() - alone_since
                    break
            waiting(reason)
            time.sleep(WAIT_SECONDS)
        (lake.root / _NOTES).unlink(missing_ok=True)
        for index in project.user_indexes():
            index.fold()
    done.seconds = time.monotonic() - begun
    return done


def drop_left_over(project: Project, keep: timedelta) -> None:
    """Delete the tables that a split left behind longer than ``keep`` ago, and a split that nobody finishes."""
    lake = project.lake
    with locked(_lock(lake), wait=False) as alone:
        for other in lake.left_over() if alone else ():
            is_unfinished = other.n_buckets > lake.n_buckets
            since = _last_copied(lake, other) if is_unfinished else layout_written_at(project.settings.data)
            if time.time() - since > (ABANDONED if is_unfinished else keep).total_seconds():
                other.drop()
        if alone and all(other.n_buckets < lake.n_buckets for other in lake.left_over()):
            (lake.root / _NOTES).unlink(missing_ok=True)


def _last_copied(lake: Lake, there: Lake) -> float:
    places = (lake.root / _NOTES, *map(there.folder, SPLIT_TABLES))
    return max(place.stat().st_mtime for place in places if place.exists())


def _lock(lake: Lake) -> Root:
    return lake.root / ".locks" / "split"


def _bring_up(project: Project, there: Project, done: Split, progress: Progress, *, alone: bool = False) -> None:
    """Copy what is not copied as it is now, and change the indexes; ``alone`` says that all locks are held."""
    lake = project.lake
    stale = _stale(lake, there.lake)
    with progress.task("Splitting buckets", len(stale)) as advance:
        for buckets in lake.chunks(RAW_PLAYLISTS, stale, COPIED_ROWS) if stale else ():
            with nullcontext() if alone else lake.buckets_locked(buckets):
                sources = lake.fingerprints(SPLIT_TABLES)
                made = _copy(project, there, buckets)
                _note(lake, there.lake, {bucket: (sources[bucket], made[bucket]) for bucket in buckets})
            done.copied += len(buckets)
            advance(len(buckets))
    for index in project.user_indexes():
        count = _renumber(project, index, there.lake.n_buckets, progress, alone=alone)
        done.reindexed[index.model_version] = done.reindexed.get(index.model_version, 0) + count


def _copy(project: Project, there: Project, buckets: list[int]) -> dict[int, str]:
    """Write the rows of some buckets to the divided tables; return a fingerprint of what each became."""
    lake, n_buckets = project.lake, project.lake.n_buckets
    parts = [part for part in range(there.lake.n_buckets) if part % n_buckets in set(buckets)]
    rows: dict[int, list[str]] = {bucket: [] for bucket in buckets}
    for table in SPLIT_TABLES:
        if lake.exists(table):
            counts = there.lake.replace(table, parts, divided(project, there, table, buckets))
            for part, count in counts.items():
                rows[part % n_buckets] += [f"{table.name} {part} {count}"] * (count > 0)
    return {bucket: _digest(lines) for bucket, lines in rows.items()}


def _stale(lake: Lake, there: Lake) -> list[int]:
    """Return the buckets that were not copied, were changed since, or whose copy was changed."""
    notes = _notes(lake)
    if notes.get("into") != there.n_buckets:
        return list(range(lake.n_buckets))
    sources, made = lake.fingerprints(SPLIT_TABLES), _made(there, lake.n_buckets)
    return [
        bucket
        for bucket in range(lake.n_buckets)
        if notes["buckets"].get(str(bucket)) != [sources[bucket], made.get(bucket, _digest([]))]
    ]


def _made(there: Lake, n_buckets: int) -> dict[int, str]:
    """Return a fingerprint of the rows that are there of each bucket: somebody may have been forgotten in a copy."""
    rows: dict[int, list[str]] = {}
    for table in SPLIT_TABLES:
        for part, counts in there.files(table, "num_records").items():
            rows.setdefault(part % n_buckets, []).extend([f"{table.name} {part} {sum(counts)}"] * (sum(counts) > 0))
    return {bucket: _digest(lines) for bucket, lines in rows.items()}


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _notes(lake: Lake) -> dict[str, Any]:
    remedy = "Delete it: the buckets are then copied again"
    return read_own_json(lake.root / _NOTES, dict[str, Any], remedy) or {}


def _note(lake: Lake, there: Lake, copied: dict[int, tuple[str, str]]) -> None:
    notes = _notes(lake)
    before = notes["buckets"] if notes.get("into") == there.n_buckets else {}
    buckets = before | {str(bucket): list(note) for bucket, note in copied.items()}
    write_atomically(lake.root / _NOTES, json.dumps({"into": there.n_buckets, "buckets": buckets}).encode())


def _renumber(project: Project, index: UserIndex, into: int, progress: Progress, *, alone: bool) -> int:
    """Have the rows of an index name the buckets they will be in; return how many did not."""
    import polars as pl

    stored = replace(index, n_buckets=None).rows().select("user_id", "user_bucket")
    places = pl.Series("part", user_buckets(stored["user_id"].to_list(), into), dtype=pl.Int32)
    astray = stored.with_columns(places).filter(pl.col("user_bucket") != pl.col("part"))
    lake = project.lake
    with progress.task(f"Changing the index of {index.model_version}", astray.height) as advance:
        for buckets in _groups(astray["user_bucket"] % lake.n_buckets):
            with nullcontext() if alone else lake.buckets_locked(buckets):
                rows = index.rows(buckets, with_vectors=True).join(astray.select("user_id", "part"), on="user_id")
                index.merge(rows.with_columns(pl.col("part").alias("user_bucket")).drop("part"), [])
            advance(rows.height)
    return astray.height


def _groups(buckets: Any) -> Iterator[list[int]]:
    """Yield the buckets that occur, together as many as occur some `INDEX_ROWS` times, at least one."""
    group: list[int] = []
    held = 0
    for bucket, count in buckets.value_counts().sort(buckets.name).iter_rows():
        if group and held + count > INDEX_ROWS:
            yield group
            group, held = [], 0
        group.append(bucket)
        held += count
    if group:
        yield group
