"""Where a data root is: a folder of this machine, or a prefix of a bucket in object storage (S3).

A folder is a `pathlib.Path`. An `ObjectPath` has those of its methods that the stores use, on objects in place of
files: a put replaces an object whole or not at all, a listing shows what is there, and nothing is ever renamed. Keys
and addresses come from the ``AWS_*`` variables, which Delta, polars and LanceDB read, too.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from stat import S_IFDIR, S_IFREG
from threading import Lock
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError

if TYPE_CHECKING:
    from obstore.store import S3Store

SCHEME = "s3://"
_PLAIN = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<key>(/[\w.=-]+)*)/?", re.ASCII)
"""Names that no library reads as anything else: no spaces, no signs with a meaning in URLs."""
DELETED_TOGETHER = 1_000
"""Objects that one request deletes at most."""


class RootError(SpotifyDagError):
    """A place that cannot be a data root, or cannot be written to. The message names it and the remedy."""


@dataclass(frozen=True)
class ObjectStatus:
    """What a listing says of an object, named as in `os.stat_result`; of a prefix, only that it is one."""

    st_mode: int
    st_size: int = 0
    st_mtime: float = 0.0
    """When it was put, in seconds since 1970, by the clock of the storage; to the second, in most of them."""
    etag: str = ""

    @property
    def st_mtime_ns(self) -> int:
        """The same in nanoseconds."""
        return int(self.st_mtime * 1e9)


_PREFIX = ObjectStatus(S_IFDIR)


class ObjectPath:
    """An object, or the prefix of some, in a bucket.

    Parameters
    ----------
    bucket, key
        Where it is; the key has no slash at its ends.
    locks
        URL of the PostgreSQL that holds the locks of this data root. Without one it can be read, not written to.
    status
        What a listing said of it, so that it need not be asked for again.
    """

    __slots__ = ("bucket", "key", "locks", "status")

    def __init__(
        self, bucket: str, key: str = "", locks: str | None = None, status: ObjectStatus | None = None
    ) -> None:
        self.bucket = bucket
        self.key = key
        self.locks = locks
        self.status = status

    @classmethod
    def parse(cls, uri: str, locks: str | None = None) -> ObjectPath:
        """Return the place that a URI names: ``s3://BUCKET/PREFIX``.

        Raises
        ------
        RootError
            If it is not of that form.
        """
        parts = _PLAIN.fullmatch(uri)
        if parts is None or {".", ".."} & set(parts["key"].split("/")):
            raise RootError(
                f"{uri} is no place for a data root: write s3://BUCKET/PREFIX, with letters, digits and .-_= alone"
            )
        return cls(parts["bucket"], parts["key"].strip("/"), locks)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}".rstrip("/")

    def __repr__(self) -> str:
        return f"ObjectPath({str(self)!r})"  # without the locks, whose URL may hold a password

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectPath) and (self.bucket, self.key) == (other.bucket, other.key)

    def __hash__(self) -> int:
        return hash((self.bucket, self.key))

    def __lt__(self, other: ObjectPath) -> bool:
        return (self.bucket, self.key) < (other.bucket, other.key)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is no file of this machine")

    def __truediv__(self, part: str) -> ObjectPath:
        return self._at(f"{self.key}/{part}".strip("/"))

    def _at(self, key: str, status: ObjectStatus | None = None) -> ObjectPath:
        return ObjectPath(self.bucket, key, self.locks, status)

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath("/", self.bucket, self.key)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self._pure.name

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return self._pure.stem

    @property
    def suffix(self) -> str:
        """The end of the name, from its last dot."""
        return self._pure.suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts of the key."""
        return self._pure.parts

    @property
    def parent(self) -> ObjectPath:
        """The prefix that this is in."""
        return self._at(self.key.rpartition("/")[0])

    @property
    def parents(self) -> tuple[ObjectPath, ...]:
        """All prefixes that this is in, the nearest first."""
        above = list(PurePosixPath(self.key).parents)
        return tuple(self._at("" if str(parent) == "." else str(parent)) for parent in above)

    def with_name(self, name: str) -> ObjectPath:
        """Return what is called so beside this."""
        return self.parent / name

    def relative_to(self, other: ObjectPath) -> PurePosixPath:
        """Return the key below that of ``other``."""
        return self._pure.relative_to(other._pure)

    @property
    def _store(self) -> S3Store:
        return _store(self.bucket)

    def read_bytes(self) -> bytes:
        """Return the content of an object; `FileNotFoundError` where there is none."""
        return bytes(self._asked(lambda store: store.get(self.key).bytes()))

    def read_text(self) -> str:
        """Return the content as text."""
        return self.read_bytes().decode()

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return the content as a file that is open to be read."""
        if mode != "rb":
            raise ValueError(f"{self} cannot be opened as {mode!r}")
        return io.BytesIO(self.read_bytes())

    def _asked(self, ask: Any) -> Any:
        try:
            return ask(self._store)
        except FileNotFoundError as error:
            raise FileNotFoundError(2, os.strerror(2), str(self)) from error

    def write(self, content: bytes | Path) -> None:
        """Put an object, or the content of a file, in one step."""
        self._refuse_without_locks()
        self._store.put(self.key, content)

    def create(self, content: bytes) -> bool:
        """Put an object where there is none; return whether there was none. Of several who do so at once one does."""
        self._refuse_without_locks()
        store = self._store
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            store.put(self.key, content, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def _refuse_without_locks(self) -> None:
        if self.locks is None:
            raise RootError(
                f"{self} can be read, and not be written to: the locks of a data root in object storage are in "
                "PostgreSQL. Set SPOTIFY_DAG_POSTGRES_URL"
            )

    def stat(self) -> ObjectStatus:
        """Return the status of an object, from the listing that it came from or asked for; of a prefix, the newest.

        Raises
        ------
        FileNotFoundError
            If there is neither an object nor one below it.
        """
        if self.status is None:
            with suppress(FileNotFoundError):
                return _status(self._asked(lambda store: store.head(self.key)))
        elif self.status is not _PREFIX:
            return self.status
        newest = max((path.stat().st_mtime for path in self.objects()), default=None)
        if newest is None:
            raise FileNotFoundError(2, os.strerror(2), str(self))
        return ObjectStatus(S_IFDIR, st_mtime=newest)

    lstat = stat

    def version(self) -> tuple[object, ...]:
        """Return what differs once an object has another content; nothing where there is none."""
        status = self.status
        if status is None or status is _PREFIX:
            try:
                status = _status(self._asked(lambda store: store.head(self.key)))
            except FileNotFoundError:
                return ()
        return status.etag, status.st_size

    def exists(self) -> bool:
        """Whether there is an object, or one below it."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object."""
        if self.status is not None:
            return self.status is not _PREFIX
        return bool(self.version())

    def is_dir(self) -> bool:
        """Whether there is an object below it."""
        if self.status is not None:
            return self.status is _PREFIX
        return next(self.objects(), None) is not None

    def objects(self) -> Iterator[ObjectPath]:
        """Yield all objects below it, however deep."""
        for page in self._store.list(self.key or None):
            yield from (self._at(entry["path"], _status(entry)) for entry in page)

    def beginning(self, start: str) -> Iterator[ObjectPath]:
        """Yield the objects right below it whose names begin so. The storage lists them in order, from there on."""
        for page in self._store.list(f"{self.key}/" if self.key else None, offset=f"{self.key}/{start}".strip("/")):
            for entry in page:
                path = self._at(entry["path"], _status(entry))
                if not path.name.startswith(start):
                    return
                yield path

    def walk(self) -> Iterator[ObjectPath]:
        """Yield all objects and prefixes below it, each prefix before what is in it."""
        seen = {self.key}
        for path in self.objects():
            for parent in reversed(path.parents):
                if len(parent.key) > len(self.key) and parent.key not in seen:
                    seen.add(parent.key)
                    yield self._at(parent.key, _PREFIX)
            yield path

    def iterdir(self) -> Iterator[ObjectPath]:
        """Yield the objects and the prefixes right below it."""
        listed = self._store.list_with_delimiter(self.key or None)
        yield from (self._at(prefix, _PREFIX) for prefix in listed["common_prefixes"])
        yield from (self._at(entry["path"], _status(entry)) for entry in listed["objects"])

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield what is below it and fits a pattern; ``*`` ends at a slash."""
        first, _, rest = pattern.partition("/")
        if rest and not set("*?[") & set(first):
            yield from (self / first).glob(rest)
            return
        for path in self.iterdir():
            if fnmatchcase(path.name, first):
                if not rest:
                    yield path
                elif path.is_dir():
                    yield from path.glob(rest)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete an object; none is as good as deleted."""
        self._refuse_without_locks()
        self._store.delete(self.key)

    def delete(self) -> None:
        """Delete all objects below it."""
        self._refuse_without_locks()
        keys = [path.key for path in self.objects()]
        for start in range(0, len(keys), DELETED_TOGETHER):
            self._store.delete(keys[start : start + DELETED_TOGETHER])

    def mkdir(self, **_options: bool) -> None:
        """Do nothing: a prefix is there once an object is."""


Root = Path | ObjectPath
"""A data root, or a place below one."""


def listed(folder: Root, pattern: str) -> list[Root]:
    """Return what is below a folder and fits a pattern, sorted."""
    return sorted(folder.glob(pattern), key=str)


_IMPORTING = Lock()


@lru_cache(8)
def _store(bucket: str) -> S3Store:
    # The modules of the package import each other: threads that import it at once see parts of it.
    with _IMPORTING:
        from obstore.store import S3Store

    return S3Store(bucket)


def _status(entry: Any) -> ObjectStatus:
    put_at: datetime = entry["last_modified"]
    return ObjectStatus(S_IFREG, entry["size"], put_at.timestamp(), entry["e_tag"] or "")
