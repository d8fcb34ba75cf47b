"""Users who were handed in one by one. Each is a request, which the next sweep takes in.

========================  ==============================================================================================
``new/<name>.json``       a request that no sweep has read yet, one file per user
``users.parquet``         every user taken in
``content/<name>``        the listening that a request names
``rejected/<name>``       a request that could not be taken in, and ``<name>.reason.txt``
========================  ==============================================================================================

A sweep reads only new requests, in the order of their names. Its cost does not grow with the users taken in before. It
writes the table before it deletes requests. If it is killed in between, the next sweep takes the same requests in
again.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from spotify_dag.files import DamagedFileError, file_version, move, names_in, write_atomically
from spotify_dag.locks import locked
from spotify_dag.root import Root
from spotify_dag.sources.base import RequestSourceName, SourceError, UserRequest
from spotify_dag.stores.user_id_search import UserIdSearch
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

REQUEST = TypeAdapter(UserRequest)
FIELDS = [field.name for field in fields(UserRequest)]
MAX_REQUEST_BYTES = 1 << 16
ABANDONED_SECONDS = 24 * 3600
"""A temporary file of this age was left by a killed writer."""


class _ForgottenError(SourceError):
    """A request for a forgotten user."""


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
            # Under one lock: a sweep between the two would find a file that no request names, and delete it.
            with self._alone():
                # Deletion waits for this lock, so nothing of a user who is deleted meanwhile stays behind.
                if self.tombstones is not None and user_id in self.tombstones:
                    raise SourceError(
                        f"'{user_id}' was forgotten, so nothing was kept. Only spotify-dag add lifts that."
                    )
                move(written, self.content / request.content)
                self._write_new(request)
        finally:
            written.unlink(missing_ok=True)
        return request

    def all(self) -> list[UserRequest]:
        """Return every user taken in, by user id.

        A process that asks again and again reads the table again only when it was written anew.
        """
        file = self.root / "users.parquet"
        version = file_version(file)
        return list(_taken_in(file, *version)) if version else []

    def has(self, user_id: str) -> bool:
        """Return whether there is a request for a user, new or taken in."""
        new = (self.root / "new").glob(f"*-{_key(user_id)}.json")
        return any(new) or any(request.user_id == user_id for request in self.all())

    def handed_in(self, user_id: str) -> UserRequest | None:
        """Return what a user handed in last, taken in or not; None for somebody new."""
        requests = [request for request in (*self.all(), *self.waiting()) if request.user_id == user_id]
        return max(requests, key=lambda request: request.requested_at, default=None)

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
        if not self._new():
            return Sweep()
        with self._alone():
            return self._take_in(until=time.monotonic() + seconds)

    def remove_source(self, source: str) -> bool:
        """Remove all users of a source and their listening; return whether there was one."""
        with self._alone():
            self._take_in()
            users = {request.user_id: request for request in self.all()}
            left = {user: request for user, request in users.items() if request.source != source}
            if len(left) < len(users):
                self._write_users(left)
                self._drop_unnamed(left)
        return len(left) < len(users)

    def remove_user(self, user_id: str) -> int:
        """Delete all requests and listening of a user, files of a killed `hand_in` included; return how many."""
        with self._alone():
            users = {request.user_id: request for request in self.all()}
            removed = users.pop(user_id, None)
            if removed is not None:
                self._write_users(users)
            files = [file for file in self.content.glob("*") if file.name.lstrip(".").startswith(f"{_key(user_id)}-")]
            for folder in (self.root / "new", self.root / "rejected"):
                requests = [file for file in folder.glob("*") if _is_of(file, UserIdSearch(user_id, users))]
                files += [*requests, *(file for name in requests for file in folder.glob(f"{name.name}.reason.txt"))]
            for file in dict.fromkeys(files):
                file.unlink(missing_ok=True)
        return len(files) + (removed is not None)

    def drop_content(self, before: datetime) -> list[str]:
        """Delete the listening that was handed in before a time, and requests rejected before it; return the users.

        The users stay in the table, because their embeddings stay.
        """
        with self._alone():
            old = [request for request in self.all() if request.requested_at < before]
            for request in old:
                (self.content / request.content).unlink(missing_ok=True)
            for file in (self.root / "rejected").glob("*"):
                if file.stat().st_mtime < before.timestamp():
                    file.unlink()
        return [request.user_id for request in old]

    def _take_in(self, until: float = inf) -> Sweep:
        users = {request.user_id: request for request in self.all()}
        before, rejected, done = dict(users), [], []
        present = set(names_in(self.content))
        for file in self._new():
            if time.monotonic() > until:
                break
            try:
                request = _read(file, present, self.tombstones)
            except _ForgottenError as error:
                file.unlink()  # in ``rejected/`` it would keep the id
                rejected.append(str(error))
                continue
            except SourceError as error:
                self._reject(file, str(error))
                rejected.append(str(error))
                continue
            former = users.get(request.user_id)
            if former is None or _wish(request) != _wish(former):
                users[request.user_id] = request
            done.append(file)
        if users != before:
            self._write_users(users)
        for file in done:
            file.unlink()
        if not self._new():  # requests left for the next sweep name listening, too
            self._drop_unnamed(users)
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

    def _write_new(self, request: UserRequest) -> None:
        name = f"{request.source}-{_key(request.user_id)}.json"
        write_atomically(self.root / "new" / name, REQUEST.dump_json(request, indent=2))

    def _reject(self, file: Root, reason: str) -> None:
        folder = self.root / "rejected"
        write_atomically(folder / f"{file.name}.reason.txt", f"{reason}\n".encode())
        move(file, folder / file.name)

    def _write_users(self, users: dict[str, UserRequest]) -> None:
        import polars as pl

        ordered = [users[user] for user in sorted(users)]
        columns = {name: [getattr(request, name) for request in ordered] for name in FIELDS}
        types = {"opted_in": pl.Boolean(), "requested_at": pl.Datetime("us", "UTC")}
        table = io.BytesIO()
        pl.DataFrame(columns, schema={name: types.get(name, pl.String()) for name in FIELDS}).write_parquet(table)
        write_atomically(self.root / "users.parquet", table.getvalue())

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

    def _drop_unnamed(self, users: dict[str, UserRequest]) -> None:
        """Delete listening that no user names any more, and old temporary files of killed writers."""
        named = {request.content for request in users.values()}
        for name in names_in(self.content):
            file = self.content / name
            if name in named or (name.startswith(".") and time.time() - file.stat().st_mtime < ABANDONED_SECONDS):
                continue
            file.unlink()


@lru_cache(2)
def _taken_in(file: Root, *_version: object) -> tuple[UserRequest, ...]:
    """Return the users that a version of the table names."""
    import polars as pl

    # In one go: polars opens a file by name more than once, and a sweep may replace it in between.
    content = file.read_bytes()
    try:
        table = pl.read_parquet(content).select(FIELDS)
    except pl.exceptions.PolarsError as error:
        raise DamagedFileError(
            f"{file} is damaged: {error}. It names the users who were added: put it back from a backup. Without "
            "one move it away, and add them again with spotify-dag add"
        ) from error
    return tuple(UserRequest(*row) for row in table.iter_rows())


def _key(user_id: str) -> str:
    """Return a name for the files of a user that is valid in any file system."""
    return hashlib.blake2b(user_id.encode(), digest_size=8).hexdigest()


def _is_of(file: Root, search: UserIdSearch) -> bool:
    """Return whether a request, valid or not, is of the user that ``search`` looks for."""
    if not file.is_file():
        return False
    content = file.read_bytes()
    try:
        return REQUEST.validate_json(content).user_id == search.user_id
    except ValidationError:
        return bool(search.in_bytes(content))


def _wish(request: UserRequest) -> tuple[str, str, bool]:
    return request.source, request.content, request.opted_in


def _read(file: Root, present: set[str], tombstones: Tombstones | None) -> UserRequest:
    """Return a request; ``present`` are the names of all files with listening.

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
        raise SourceError(f"Request {name!r} is not valid: {place + ': ' if place else ''}{first['msg']}.") from error
    if tombstones is not None and request.user_id in tombstones:
        raise _ForgottenError(f"Request {name!r} is of a user who was forgotten; only spotify-dag add lifts that.")
    if not request.user_id.startswith(f"{request.source}-"):
        raise SourceError(f"Request {name!r} has user_id {request.user_id!r}; it begins with '{request.source}-'.")
    if request.content not in present:
        raise SourceError(f"Request {name!r} names listening that is not there. Hand it in with: spotify-dag add")
    return request
