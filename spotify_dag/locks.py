"""Locks between processes, and between threads of a process. A killed holder releases them.

A lock is an empty file that stays; the kernel knows who holds it (``flock``).
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import IO

LOOK_SECONDS = 0.05
"""Seconds between two attempts to get a lock, if the wait is bounded."""


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
    with ExitStack() as held:
        yield _take(held, path, wait, shared, seconds, waiting)


@contextmanager
def locked_in_order(
    paths: Iterable[Path], *, seconds: float = inf, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold several locks, got one after the other, until the block ends.

    Parameters
    ----------
    paths
        The locks, in an order that all callers share: else two may wait for one another for ever.
    seconds
        Longest wait for one of them; the block then runs without it.
    waiting
        Called once if one of them is not free.
    """
    told: list[bool] = []

    def tell() -> None:
        if not told:
            waiting()
        told.append(True)

    with ExitStack() as held:
        for path in paths:
            _take(held, path, True, False, seconds, tell)
        yield


def _take(held: ExitStack, path: Path, wait: bool, shared: bool, seconds: float, waiting: Callable[[], None]) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    file = held.enter_context(path.open("a"))
    if _try(file, kind):
        return True
    if not wait:
        return False
    waiting()
    if seconds == inf:
        fcntl.flock(file, kind)
        return True
    return _try_until(time.monotonic() + seconds, file, kind)


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
