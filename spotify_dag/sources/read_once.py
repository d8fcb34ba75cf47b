"""A source that several runs want is read once.

Runs of ranges of buckets each need a part of a source, and every file of it holds users of all buckets. The run that
reads it first leaves what belongs to others, where they are stale, too: its batches, with the records of those users
alone. The others wait and read that. It is named after the versions of the source, and counts only once it is whole.
So after a kill the source is read again, and what it was before is never read. It is deleted when nobody is stale.

A run leaves only what runs want that have begun, or are queued. Where there are none it writes nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from spotify_dag.files import delete_folder, names_in, write_atomically
from spotify_dag.locks import locked
from spotify_dag.root import Root, listed
from spotify_dag.schemas import user_buckets
from spotify_dag.sources.base import Batch, Source
from spotify_dag.sources.handed_in import RequestSource
from spotify_dag.sources.ingestion import source_versions

if TYPE_CHECKING:
    import polars as pl

READ_ONCE = ".read-once"
"""Name of the folder, beside the tables."""
FRAMES = ("records", "rejects", "rows_read", "months")
"""Frames of a `Batch`, each a file."""
_WHOLE = "whole"
"""Name of the file that is written last."""


def drop_left(folder: Root, older_than: float = inf, *, seconds: float) -> int:
    """Delete what runs left each other of sources, where it was made before a time; return of how many.

    Waits so many ``seconds`` for somebody who reads it. Who finds it gone reads the source. What a killed run began to
    leave goes, too. Who still writes it looks for forgotten users at the end.
    """
    places = [place for place in listed(folder, "[!.]*") if place.stat().st_mtime < older_than]
    return sum(_drop(place, seconds=seconds if _is_whole(place) else 0) for place in places)


def _is_whole(place: Root) -> bool:
    return (place / _WHOLE).is_file()


def _drop(place: Root, *, seconds: float) -> bool:
    name = place.name.rpartition("-")[0]
    with locked(place.parent / ".locks" / name, wait=seconds > 0, seconds=seconds) as alone:
        if alone or seconds > 0:
            delete_folder(place)
        return alone or seconds > 0


@dataclass(frozen=True)
class ReadOnce:
    """What runs leave each other of sources, as one run sees it.

    Parameters
    ----------
    folder
        Where it lies.
    n_buckets, buckets
        How many there are, and those of this run.
    of_others
        Those of other runs that are queued, or going on.
    stale
        Returns the buckets in which a source is stale.
    forgotten
        Tells who of some users was forgotten: nothing of them is left.
    profiles_count
        At most this many users of each source, the first ones; None for all.
    """

    folder: Root
    n_buckets: int
    buckets: frozenset[int]
    of_others: frozenset[int]
    stale: Callable[[Source], Iterable[int]]
    forgotten: Callable[[list[str]], set[str]]
    profiles_count: int | None = None

    def batches(self, source: Source) -> Generator[Batch, None, None]:
        """Yield the batches of a source, with the records of this run's users at least."""
        beside = self.of_others - self.buckets
        # Such a source reads no more than it was asked for.
        if isinstance(source, RequestSource) or not (beside or listed(self.folder, "[!.]*")):
            yield from source.batches()
            return
        place = self._place(source)
        with self._lock(source.name):
            others = beside.intersection(self.stale(source)) if not _is_whole(place) else None
            if others:
                yield from self._leaving(source, place, others)
                return
        with self._lock(source.name, shared=True):
            if _is_whole(place):
                yield from self._left(place)
                return
        yield from source.batches()

    def drop_taken(self, sources: Iterable[Source]) -> None:
        """Delete what was left of sources that are stale nowhere or have other versions now, unless somebody reads."""
        left = set(listed(self.folder, "[!.]*"))
        shared = [source for source in sources if left and not isinstance(source, RequestSource)]
        needed = {self._place(source) for source in shared if list(self.stale(source))}
        for place in left - needed:
            _drop(place, seconds=0)

    def _place(self, source: Source) -> Root:
        versions = source_versions(source, n_buckets=self.n_buckets, profiles_count=self.profiles_count)
        named = json.dumps([self.n_buckets, sorted(set(versions.values()))])
        return self.folder / f"{source.name}-{hashlib.sha256(named.encode()).hexdigest()[:16]}"

    def _lock(self, name: str, *, shared: bool = False) -> AbstractContextManager[bool]:
        return locked(self.folder / ".locks" / name, shared=shared)

    def _leaving(self, source: Source, place: Root, others: frozenset[int]) -> Iterator[Batch]:
        """Yield the batches of a source, and leave those of other buckets once it is read to its end."""
        delete_folder(place)  # what a killed run began
        seen, theirs = 0, list[str]()
        try:
            for number, batch in enumerate(source.batches()):
                # As in `Ingestion`: this is the end of what is read, and not a reader who gave up.
                if self.profiles_count is not None and seen >= self.profiles_count:
                    break
                seen += batch.rows_read.height
                theirs += self._write(place / f"{number:08d}", batch, others)
                yield batch
            write_atomically(place / _WHOLE, b"")
        finally:
            # After it is whole: a user who is forgotten from now on is looked for in there.
            if not _is_whole(place) or self.forgotten(theirs):
                delete_folder(place)

    def _write(self, folder: Root, batch: Batch, others: frozenset[int]) -> list[str]:
        """Write a batch with the records of users of other buckets; return these users."""
        import polars as pl

        users = batch.rows_read["user_id"].to_list()
        theirs = [user for user, own in zip(users, user_buckets(users, self.n_buckets), strict=True) if own in others]
        for name in FRAMES:
            frame: pl.DataFrame | None = getattr(batch, name)
            if frame is not None:
                some = frame.filter(pl.col("user_id").is_in(theirs)) if name in ("records", "months") else frame
                content = io.BytesIO()
                some.write_parquet(content, compression="lz4")
                write_atomically(folder / f"{name}.parquet", content.getvalue())
        about = {"marked": batch.marked, "gone": dict(batch.gone), "mended": batch.mended}
        write_atomically(folder / "about.json", json.dumps(about).encode())
        return theirs

    def _left(self, place: Root) -> Iterator[Batch]:
        import polars as pl

        for number in sorted(set(names_in(place)) - {_WHOLE}):
            folder = place / number
            names = [name for name in FRAMES if (folder / f"{name}.parquet").is_file()]
            frames: dict[str, Any] = {
                name: pl.read_parquet(io.BytesIO((folder / f"{name}.parquet").read_bytes())) for name in names
            }
            users = frames["rows_read"]["user_id"].to_list()
            own = user_buckets(users, self.n_buckets)
            mine = [user for user, bucket in zip(users, own, strict=True) if bucket in self.buckets]
            frames["records"] = frames["records"].filter(pl.col("user_id").is_in(mine))
            about: dict[str, Any] = json.loads((folder / "about.json").read_bytes())
            yield Batch(**about, **frames)
