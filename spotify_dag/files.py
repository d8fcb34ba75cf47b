"""Files that several processes share: atomic writes, and locks."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import IO, TypeVar
from uuid import uuid4

from spotify_dag.errors import SpotifyDagError

T = TypeVar("T")

LOOK_SECONDS = 0.05
"""Seconds between two attempts to get a lock, if the wait is bounded."""


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file in one step: readers, also after a crash, see the old content or the new, never a part.

    A ``private`` file can be read by its owner alone, whatever its rights were before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid4().hex}.tmp"
    try:
        # os.open sets the rights when the file is made: others cannot read a private file for even a moment.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # the name of the temporary file says nothing to anybody
        raise


class DamagedFileError(SpotifyDagError):
    """A file that this program wrote is damaged. The message names the file and the remedy."""


def file_version(path: Path) -> tuple[int, ...]:
    """Return what differs once a file is replaced; nothing where there is none. To hold what was read until then."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def paths_below(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below a folder; what is deleted meanwhile is passed over.

    `Path.rglob` ends with an error where another process deletes a folder that it is about to look into.
    """
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def read_own_json(path: Path, kind: type[T], remedy: str) -> T | None:
    """Return the content of a JSON file that this program wrote, or None if there is no file.

    Parameters
    ----------
    path
        The file.
    kind
        Its type, for pydantic: ``dict[str, Any]``, a TypedDict, a dataclass.
    remedy
        What to do if it is damaged: the last sentence of the message.

    Raises
    ------
    DamagedFileError
        If it is not JSON, or has another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedFileError(f"{path} is damaged: {place + ': ' if place else ''}{first['msg']}. {remedy}") from error


@contextmanager
def locked(
    path: Path,
    *,
    wait: bool = True,
    shared: bool = False,
    seconds: float = inf,
    waiting: Callable[[], None] = lambda: None,
) -> Iterator[bool]:
    """Hold a lock between processes, and between threads of a process. A killed process releases it.

    Yields whether the lock was got.

    Parameters
    ----------
    path
        The lock: an empty file that stays.
    wait
        Wait until it is free. If false, the block runs at once, and False is yielded if another process holds the lock.
    shared
        Hold it together with other shared holders. An exclusive holder excludes all others.
    seconds
        Longest wait. After it the block runs without the lock.
    waiting
        Called once if the lock is not free.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("a") as file:
        got = _try(file, kind)
        if not got and wait:
            waiting()
            if seconds == inf:
                fcntl.flock(file, kind)
                got = True
            else:
                got = _try_until(time.monotonic() + seconds, file, kind)
        yield got


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_until(end: float, file: IO[str], kind: int) -> bool:
    """Try to get a lock until the time ``end`` (monotonic): the kernel has no wait with a limit."""
    while time.monotonic() < end:
        if _try(file, kind):
            return True
        time.sleep(LOOK_SECONDS)
    return False
