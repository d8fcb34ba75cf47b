"""Users who were handed in one by one. Each is a request, which the next sweep takes in.

========================  ==============================================================================================
``new/<name>.json``       a request that no sweep has read yet, one file per user
``users/<part>.parquet``  every user taken in: `taken_in.TakenIn`
``content/<name>``        the listening that a request names
``rejected/<name>``       a request that could not be taken in, and ``<name>.reason.txt``
========================  ==============================================================================================

A sweep reads only new requests, in the order of their names, and the parts of the table that their users are in. It
writes these parts before it deletes requests. If it is killed in between, the next sweep takes the same requests in
again. A sweep deletes the listening that it replaced. What a killed process left is found by
`UserRequests.drop_unnamed`, which lists all of it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from spotify_dag.files import move, names_beginning, names_in, write_atomically
from spotify_dag.inbox.taken_in import TakenIn
from spotify_dag.locks import locked
from spotify_dag.root import Root
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.handed_in import RequestSourceName, UserRequest, requests_in
from spotify_dag.stores.user_id_search import UserIdSearch
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

REQUEST = TypeAdapter(UserRequest)
MAX_REQUEST_BYTES = 1 << 16
ABANDONED_SECONDS = 24 * 3600
"""A temporary file of this age was left by a killed writer."""


class _ForgottenError(SourceError):
    """A request for a forgotten user."""

    def __init__(self, message: str, request: UserRequest) -> None:
        super().__init__(message)
        self.request = request


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep."""

    taken_in: int = 0
    """Number of requests taken into the table."""
    rejected: list[str] = field(default_factory=list)
    """The reason of each request that was not taken in, one line each."""


@dataclass(frozen=True)
class UserRequests:
    """The requests under one folder."""

    root: Root
    tombstones: Tombstones | None = None
    """Forgotten users: they are not taken in."""

    @property
    def content(self) -> Root:
        """Folder of the files with listening that requests name."""
        return self.root / "content"

    @property
    def taken_in(self) -> TakenIn:
        """The table of the users taken in."""
        return TakenIn(self.root)

    def hand_in(
        self, source: RequestSourceName, user_id: str, frames: Iterable[pl.DataFrame], *, opted_in: bool
    ) -> UserRequest:
        """Write a user's listening and a request to take it in. It replaces what the same user handed in before.

        Parameters
        ----------
        source, user_id
            The source and id of the user.
        frames
            The listening: one or more frames with equal columns, streamed. If they raise, nothing changes.
        opted_in
            Whether this user may be shown to others.
        """
        written, digest = self._write_content(user_id, frames)
        try:
            content = f"{_key(user_id)}-{digest}.parquet"
            request = UserRequest(source, user_id, content, opted_in, requested_at=datetime.now(UTC))
            # Under one lock: housekeeping between the two would find a file that no request names, and delete it.
            with self._alone():
                # Deletion waits for this lock, so nothing of a user who is deleted meanwhile stays behind.
                if self.tombstones is not None and user_id in self.tombstones:
                    raise SourceError(
                        f"'{user_id}' was forgotten, so nothing was kept. Only spotify-dag add lifts that."
                    )
                replaced = self._waiting_as(request)
                move(written, self.content / request.content)
                self._write_new(request)
                if replaced is not None and replaced.content not in {it.content for it in self.of(replaced.user_id)}:
                    self._drop_content([replaced])
        finally:
            written.unlink(missing_ok=True)
        return request

    def all(self) -> list[UserRequest]:
        """Return every user taken in, by user id."""
        return requests_in(self.taken_in.rows([0], 1))  # of one bucket out of one: everybody

    def has(self, user_id: str) -> bool:
        """Return whether there is a request for a user, new or taken in."""
        new = (self.root / "new").glob(f"*-{_key(user_id)}.json")
        return any(new) or self.taken_in.rows_of([user_id]).height > 0

    def of(self, user_id: str) -> list[UserRequest]:
        """Return what a user handed in, taken in or not."""
        # A sweep between the two would hide a request that it took in.
        waiting = [request for request in self.waiting() if request.user_id == user_id]
        return [*waiting, *requests_in(self.taken_in.rows_of([user_id]))]

    def handed_in(self, user_id: str) -> UserRequest | None:
        """Return what a user handed in last, taken in or not; None for somebody new."""
        return max(self.of(user_id), key=lambda request: request.requested_at, default=None)

    def handed_in_before(self, time: datetime) -> list[str]:
        """Return the users taken in who handed in what they did before a time."""
        import polars as pl

        return self.taken_in.where(pl.col("requested_at") < time)["user_id"].to_list()

    def listening(self, request: UserRequest) -> pl.DataFrame | None:
        """Return the records of what was handed in; None where they are not kept any more."""
        from spotify_dag.sources.export.kept import kept_records

        return kept_records(self.content / request.content)

    def months(self, request: UserRequest) -> pl.DataFrame | None:
        """Return the counts of months in what was handed in; None where it is not kept any more."""
        import polars as pl

        from spotify_dag.sources.export.kept import kept_months, read_kept

        try:
            return kept_months(read_kept(self.content / request.content)).drop("user_id")
        except (OSError, pl.exceptions.PolarsError):
            return None

    def waiting(self) -> list[UserRequest]:
        """Return the new requests that can be read."""
        requests = []
        for file in self._new():
            # A sweep may take the request in meanwhile and delete the file.
            with suppress(ValidationError, OSError):
                requests.append(REQUEST.validate_json(file.read_bytes()))
        return requests

    def sweep(self, *, seconds: float = inf) -> Sweep:
        """Take in new requests. A request that cannot be taken in moves to ``rejected/``, with the reason beside it.

        After ``seconds`` the rest is left for the next sweep.
        """
        if not self._new() and not self.taken_in.is_undivided():
            return Sweep()
        with self._alone():
            return self._take_in(until=time.monotonic() + seconds)

    def remove_source(self, source: str) -> bool:
        """Remove all users of a source and their listening; return whether there was one."""
        with self._alone():
            self._take_in()
            removed = self.taken_in.remove_source(source)
            self._drop_content(requests_in(removed))
        return removed.height > 0

    def remove_user(self, user_id: str) -> int:
        """Delete all requests and listening of a user, files of a killed `hand_in` included; return how many."""
        with self._alone():
            removed = self.taken_in.remove(user_id)
            if removed is not None and not _is_own(removed):
                self._drop_content([removed])
            # Also what no table names: the listening, and the temporary files, of a writer who was killed.
            names = names_beginning(self.content, f"{_key(user_id)}-", f".{_key(user_id)}-")
            files = [self.content / name for name in names]
            for folder in (self.root / "new", self.root / "rejected"):
                requests = [file for file in folder.glob("*") if self._is_of(user_id, file)]
                files += [*requests, *(file for name in requests for file in folder.glob(f"{name.name}.reason.txt"))]
            for file in dict.fromkeys(files):
                file.unlink(missing_ok=True)
        return len(files) + (removed is not None)

    def drop_content(self, before: datetime) -> None:
        """Delete the listening that was handed in before a time, and requests rejected before it.

        The users stay in the table, because their embeddings stay.
        """
        import polars as pl

        present = set(names_in(self.content))
        with self._alone():
            old = self.taken_in.where(pl.col("requested_at") < before)["content"]
            for name in present.intersection(old):
                (self.content / name).unlink(missing_ok=True)
            for file in (self.root / "rejected").glob("*"):
                if file.stat().st_mtime < before.timestamp():
                    file.unlink()

    def drop_unnamed(self) -> int:
        """Delete listening that no request names, and old temporary files of killed writers; return how many.

        All names are listed and looked for without the lock, as sweeps would wait for it.
        """
        names = names_in(self.content)
        dropped = [name for name in names if name.startswith(".") and _is_abandoned(self.content / name)]
        if unnamed := self._unnamed(name for name in names if not name.startswith(".")):
            with self._alone():
                unnamed = self._unnamed(unnamed)
                for name in unnamed:
                    (self.content / name).unlink(missing_ok=True)
        for name in dropped:
            (self.content / name).unlink(missing_ok=True)
        return len(dropped) + len(unnamed)

    def _unnamed(self, names: Iterable[str]) -> set[str]:
        waiting = {request.content for request in self.waiting()}
        return self.taken_in.unnamed(names) - waiting

    def _drop_content(self, replaced: Iterable[UserRequest]) -> None:
        """Delete the listening of requests that do not count any more."""
        names = {request.content: _is_own(request) for request in replaced}
        others = [name for name, is_own in names.items() if not is_own]  # a request by hand: others may name it, too
        for name in {name for name, is_own in names.items() if is_own} | (self._unnamed(others) if others else set()):
            (self.content / name).unlink(missing_ok=True)

    def _waiting_as(self, request: UserRequest) -> UserRequest | None:
        """Return the request that a new one takes the place of."""
        try:
            return REQUEST.validate_json(self._new_file(request).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def _take_in(self, until: float = inf) -> Sweep:
        taken_in, forgotten, rejected, done = list[UserRequest](), list[UserRequest](), list[str](), list[Root]()
        for file in self._new():
            if time.monotonic() > until:
                break
            try:
                taken_in.append(self._read(file))
            except _ForgottenError as error:
                file.unlink()  # in ``rejected/`` it would keep the id
                forgotten.append(error.request)
                rejected.append(str(error))
                continue
            except SourceError as error:
                self._reject(file, str(error))
                rejected.append(str(error))
                continue
            done.append(file)
        replaced = self.taken_in.put(taken_in)
        for file in done:
            file.unlink()
        self._drop_content(forgotten)
        if not self._new():  # a request that is left for the next sweep may name it again
            self._drop_content(replaced)
        return Sweep(len(done), rejected)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of these requests, between processes. A killed holder releases it."""
        self.content.mkdir(parents=True, exist_ok=True)
        with locked(self.root / ".lock"):
            yield

    def _new(self) -> list[Root]:
        folder = self.root / "new"
        return [folder / name for name in sorted(names_in(folder)) if not name.startswith(".")]

    def _new_file(self, request: UserRequest) -> Root:
        return self.root / "new" / f"{request.source}-{_key(request.user_id)}.json"

    def _write_new(self, request: UserRequest) -> None:
        write_atomically(self._new_file(request), REQUEST.dump_json(request, indent=2))

    def _reject(self, file: Root, reason: str) -> None:
        folder = self.root / "rejected"
        write_atomically(folder / f"{file.name}.reason.txt", f"{reason}\n".encode())
        move(file, folder / file.name)

    def _write_content(self, user_id: str, frames: Iterable[pl.DataFrame]) -> tuple[Path, str]:
        """Write frames to a temporary file; return its path and the digest of its bytes."""
        import pyarrow.parquet as pq

        folder = self.content
        folder.mkdir(parents=True, exist_ok=True)
        beside = folder if isinstance(folder, Path) else None  # else the system's, as it is copied from there
        handle, name = tempfile.mkstemp(dir=beside, prefix=f".{_key(user_id)}-", suffix=".tmp")
        written = Path(name)
        try:
            with os.fdopen(handle, "w+b") as file:
                tables = (frame.to_arrow() for frame in frames)
                first = next(tables)
                with pq.ParquetWriter(file, first.schema, compression="zstd") as writer:
                    for table in chain([first], tables):
                        if table.num_rows:
                            writer.write_table(table)
                file.flush()
                os.fsync(file.fileno())
                file.seek(0)
                return written, hashlib.file_digest(file, "sha256").hexdigest()[:16]
        except BaseException:
            written.unlink(missing_ok=True)
            raise

    def _read(self, file: Root) -> UserRequest:
        """Return a request.

        Raises
        ------
        SourceError
            If it cannot be taken in.
        _ForgottenError
            If its user was forgotten.
        """
        name = file.name[:80]
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_REQUEST_BYTES:
            raise SourceError(f"Request {name!r} is no plain file of at most {MAX_REQUEST_BYTES >> 10} KiB.")
        try:
            request = REQUEST.validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            told = f"{place + ': ' if place else ''}{first['msg']}"
            raise SourceError(f"Request {name!r} is not valid: {told}.") from error
        if self.tombstones is not None and request.user_id in self.tombstones:
            raise _ForgottenError(
                f"Request {name!r} is of a user who was forgotten; only spotify-dag add lifts that.", request
            )
        if not request.user_id.startswith(f"{request.source}-"):
            raise SourceError(f"Request {name!r} has user_id {request.user_id!r}; it begins with '{request.source}-'.")
        if not (self.content / request.content).is_file():
            raise SourceError(f"Request {name!r} names listening that is not there. Hand it in with: spotify-dag add")
        return request

    def _is_of(self, user_id: str, file: Root) -> bool:
        """Return whether a request, valid or not, is of a user."""
        import polars as pl

        if not file.is_file():
            return False
        content = file.read_bytes()
        try:
            return REQUEST.validate_json(content).user_id == user_id
        except ValidationError:
            if not UserIdSearch(user_id).in_bytes(content):
                return False
            longer = self.taken_in.where(pl.col("user_id").str.starts_with(user_id))["user_id"]
            return bool(UserIdSearch(user_id, longer).in_bytes(content))


def _key(user_id: str) -> str:
    """Return a name for the files of a user that is valid in any file system."""
    return hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


def _is_own(request: UserRequest) -> bool:
    """Return whether a request names listening that was handed in for its user."""
    return request.content.startswith(f"{_key(request.user_id)}-")


def _is_abandoned(file: Root) -> bool:
    try:
        return time.time() - file.stat().st_mtime >= ABANDONED_SECONDS
    except FileNotFoundError:
        return False
