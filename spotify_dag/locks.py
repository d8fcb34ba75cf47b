"""Locks between processes, and between threads of a process. A killed holder releases them.

In a folder a lock is an empty file that stays, and the kernel knows who holds it (``flock``). Object storage has no
locks, so those of a data root there are advisory locks of PostgreSQL, which all machines reach. There a lock is a
number made from the name of the root and its own. It lasts as long as its holder's connection.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from math import inf
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from weakref import WeakSet

from spotify_dag.errors import SpotifyDagError, on_one_line
from spotify_dag.root import ObjectPath, Root, RootError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812

LOOK_SECONDS = 0.05
"""Seconds between two attempts to get a lock of a file, if the wait is bounded."""
KEEP_ALIVE = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
"""Options of a connection: the locks of a machine that is gone are free after a minute."""
_CONNECTIONS: WeakSet[Connection] = WeakSet()
_IDLE: dict[str, list[Connection]] = {}
"""Connections of this process that hold no lock, by URL: to open one takes longer than most locks are held."""
MOST_IDLE = 4


class LockError(SpotifyDagError):
    """A lock cannot be got, or was lost. The message says why and what to do."""


@contextmanager
def locked(
    path: Root,
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
        The lock: an empty file that stays; in object storage, a name.
    wait
        Wait until it is free. If false, the block runs at once, and False is yielded if another process holds the lock.
    shared
        Hold it together with other shared holders. An exclusive holder excludes all others.
    seconds
        Longest wait. After it the block runs without the lock.
    waiting
        Called once if the lock is not free.

    Raises
    ------
    LockError
        If PostgreSQL does not answer, or no longer at the end.
    RootError
        If the root is in object storage, and no PostgreSQL is named.
    """
    with _keeper(path) as take:
        yield take(path, wait, shared, seconds, waiting)


@contextmanager
def locked_in_order(
    paths: Iterable[Root], *, seconds: float = inf, waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold several locks of one root, got one after the other, until the block ends.

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
        take: _Take | None = None
        for path in paths:
            take = take or held.enter_context(_keeper(path))
            take(path, True, False, seconds, tell)
        yield


_Take = Callable[[Any, bool, bool, float, Callable[[], None]], bool]
"""Gets a lock, as `locked` says, and keeps it until its keeper ends."""


@contextmanager
def _keeper(path: Root) -> Iterator[_Take]:
    if isinstance(path, Path):
        with ExitStack() as held:
            yield lambda *how: _of_file(held, *how)
        return
    connection = _connected(path)
    is_whole = False
    try:
        yield lambda *how: _of_database(connection, *how)
        is_whole = True
    finally:
        _give_back(path, connection, is_whole)


def _of_file(
    held: ExitStack, path: Path, wait: bool, shared: bool, seconds: float, waiting: Callable[[], None]
) -> bool:
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


def _of_database(
    connection: Connection, path: ObjectPath, wait: bool, shared: bool, seconds: float, waiting: Callable[[], None]
) -> bool:
    from psycopg2.errors import LockNotAvailable

    kind, number = "_shared" if shared else "", _number(path)
    if _ask(connection, f"select pg_try_advisory_lock{kind}({number})"):
        return True
    if not wait:
        return False
    waiting()
    _ask(
        connection,
        f"select set_config('lock_timeout', '{0 if seconds == inf else max(1, int(seconds * 1000))}', false)",
    )
    try:
        _ask(connection, f"select pg_advisory_lock{kind}({number})")
    except LockNotAvailable:
        return False
    return True


def _number(path: ObjectPath) -> int:
    """Return the 64-bit number that PostgreSQL knows a lock by."""
    return int.from_bytes(blake2b(str(path).encode(), digest_size=8).digest(), "big", signed=True)


def _give_back(path: ObjectPath, connection: Connection, is_whole: bool) -> None:
    """Let go of all locks of a connection; where the block ended well, tell whether they were lost on the way."""
    try:
        _ask(connection, "select pg_advisory_unlock_all()")
    except LockError:
        connection.close()
        if is_whole:
            raise
        return
    idle = _IDLE.setdefault(path.locks or "", [])
    if len(idle) < MOST_IDLE:
        idle.append(connection)
    else:
        connection.close()


def _connected(path: ObjectPath) -> Connection:
    if path.locks is None:
        raise RootError(
            f"Nothing can be written below {path.parent}: the locks of a data root in object storage are in "
            "PostgreSQL. Set SPOTIFY_DAG_POSTGRES_URL"
        )
    try:
        import psycopg2
    except ImportError as error:
        raise LockError("A data root in object storage needs: pip install 'spotify-dag[postgres]'") from error
    if (idle := _idle(path.locks)) is not None:
        return idle
    address = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", path.locks)
    try:
        # Asynchronous: Ctrl-C does not end a wait inside of libpq.
        connection: Connection = psycopg2.connect(address, async_=True, options=KEEP_ALIVE)
        _wait(connection)
    except psycopg2.Error as error:
        raise LockError(f"PostgreSQL, which has the locks of {path.parent}: {on_one_line(error)}") from error
    _CONNECTIONS.add(connection)
    return connection


def _idle(url: str) -> Connection | None:
    """Return a connection that is open and holds nothing."""
    while True:
        try:
            connection = _IDLE.get(url, []).pop()
        except IndexError:
            return None
        with suppress(LockError):  # the server was started again since
            _ask(connection, "select 1")
            return connection
        connection.close()


def _ask(connection: Connection, query: str) -> Any:
    import psycopg2
    from psycopg2.errors import LockNotAvailable

    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            _wait(connection)
            (answer,) = cursor.fetchone()
            return answer
    except LockNotAvailable:
        raise
    except psycopg2.Error as error:
        raise LockError(
            f"The connection to PostgreSQL, which has the locks, broke off: {on_one_line(error)}. What was done "
            "meanwhile may have met what another process did: do it again"
        ) from error


def _wait(connection: Connection) -> None:
    """Wait for the server to have done what it was asked for."""
    from psycopg2.extensions import POLL_OK, POLL_READ

    while (state := connection.poll()) != POLL_OK:
        waits = select.poll()
        waits.register(connection.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        waits.poll()


def _leave_to_parent() -> None:
    """Have a forked child say nothing to the server when it closes what it inherited: the locks are its parent's."""
    for connection in list(_CONNECTIONS):
        if not connection.closed:
            with open(os.devnull, "r+b", buffering=0) as nowhere:
                os.dup2(nowhere.fileno(), connection.fileno())
    _IDLE.clear()


os.register_at_fork(after_in_child=_leave_to_parent)
