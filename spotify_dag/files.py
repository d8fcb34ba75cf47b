"""Files that several processes share: written whole or not at all, and locked."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import IO
from uuid import uuid4

LOOK_SECONDS = 0.05
"""Between two looks whether a lock is free, where waiting has an end."""


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file so that readers, and a crash, see the old content or the new, never a part.

    A ``private`` file is readable by its owner alone, whatever was there before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid4().hex}.tmp"
    try:
        # Made by os.open so that a private file is never readable by others, not even for a moment.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, *, wait: bool = True, shared: bool = False) -> Iterator[bool]:
    """Hold a lock that all processes respect and that a killed one gives back; yield whether it was got.

    Parameters
    ----------
    path
        The lock: an empty file that stays.
    wait
        Wait until it is free. Else the block runs at once, and is told False where somebody else holds it.
    shared
        Hold it together with others who share it, and with nobody who does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file, kind if wait else kind | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


@contextmanager
def locked_range(
    path: Path, first: int, last: int, waiting: Callable[[], None] = lambda: None, *, seconds: float = inf
) -> Iterator[None]:
    """Hold a lock on the numbers ``first`` to ``last``: whoever wants one of them waits, others do not.

    Like `locked`, it holds between processes and between the threads of one, and a killed holder gives it back.

    Parameters
    ----------
    path
        What the numbers are numbers of: an empty file that stays.
    waiting
        Called once if others have to be waited for.
    seconds
        After so long the block runs without the lock.
    """
    if not hasattr(fcntl, "F_OFD_SETLKW"):  # no locks on ranges that threads respect: one for all numbers
        with locked(path):
            yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, first, last - first + 1, 0)
    with path.open("a") as file:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            waiting()
            if seconds == inf:
                fcntl.fcntl(file, fcntl.F_OFD_SETLKW, wanted)
            else:
                _try_until(time.monotonic() + seconds, file, wanted)
        yield


def _try_until(end: float, file: IO[str], wanted: bytes) -> None:
    """Ask for a lock until it is got or the time has come: the kernel knows no wait with an end."""
    while time.monotonic() < end:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, wanted)
        except BlockingIOError:
            time.sleep(LOOK_SECONDS)
        else:
            return
