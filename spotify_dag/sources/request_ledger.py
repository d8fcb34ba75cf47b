"""What is remembered about the requests to a web service, in one SQLite file that all processes share.

`Ledger` counts requests and remembers limits, so that no process asks while the service forbids it. Every change is one
transaction in WAL mode: a process killed at any moment leaves either all of it or nothing.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, RLock
from typing import Any, ClassVar, TypeVar

from spotify_dag.sources.service_errors import QuotaExhaustedError, RateLimitedError

Ticket = TypeVar("Ticket")
DAY = 86_400
_SLOT = 600
"""Seconds of one counter of requests: the rolling day is 144 of them."""
SAME_WINDOW = 1.0
"""Seconds by which two answers may tell the end of one window differently: services round it."""
PROBE_PAUSE = 0.1
"""Seconds after which it is looked again whether a window is known."""
_SCHEMA = """
create table if not exists limits (
    one integer primary key check (one = 1), until real not null, reason text not null, quota integer not null
);
create table if not exists requests (
    slot integer, endpoint text, count integer not null, primary key (slot, endpoint)
) without rowid;
create table if not exists windows (
    one integer primary key check (one = 1), remaining integer not null, until real not null
);
create table if not exists in_flight (
    ticket integer primary key autoincrement, until real not null, probe integer not null
);
"""


def admitted(take: Callable[[], Ticket], *, end: float, longest: float, stopped: Event) -> Ticket:
    """Wait until a ledger allows a request; return what ``take`` returns then.

    Parameters
    ----------
    take
        Asks the ledger: `Ledger.admit`, or `WindowLedger.take`.
    end
        A time of the monotonic clock, in seconds, by which the request is to be made.
    longest
        Seconds that may be slept at one time.
    stopped
        Set when nobody waits any more.

    Raises
    ------
    RateLimitedError
        If that is not before ``end``, takes longer than ``longest``, or nobody waits.
    """
    while True:
        try:
            return take()
        except RateLimitedError as error:
            wait = error.at - time.time()
            too_long = wait > longest or time.monotonic() + wait > end
            if isinstance(error, QuotaExhaustedError) or too_long or stopped.wait(max(wait, 0) + 0.05):
                raise


def backoff(attempt: int) -> float:
    """Return the seconds to wait after a failed attempt, the first one 0: doubling, drawn, at most five."""
    return min(0.1 * 2**attempt, 5) * random.uniform(0.5, 1)  # noqa: S311


class Database:
    """A SQLite file that threads and processes share, with the tables of a ledger and others.

    Parameters
    ----------
    path
        The file; made if need be, readable by its owner only.
    schema
        SQL that makes the other tables, if they are not there.
    """

    def __init__(self, path: Path, schema: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._lock = RLock()
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        # A killed process loses nothing; only a power cut may lose the last moments, and never consistency.
        self._connection.execute("pragma synchronous = normal")
        # What is deleted is overwritten: somebody has asked to be forgotten.
        self._connection.execute("pragma secure_delete = on")
        self._connection.executescript(_SCHEMA + schema)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return what a query finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """Make what is done in the block one transaction, begun at once so that it never has to give way."""
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")


@dataclass(frozen=True)
class Ledger:
    """The requests of the last 24 hours and the time before which there may be none, shared by all processes."""

    database: Database
    budget: int | None = None
    """Most requests in any 24 hours; None for any number."""

    budget_setting: ClassVar[str] = ""
    """The setting that the budget comes from."""
    rate_limited: ClassVar[type[RateLimitedError]] = RateLimitedError
    quota_exhausted: ClassVar[type[RateLimitedError]] = QuotaExhaustedError

    def admit(self, endpoint: str) -> None:
        """Count a request to an endpoint that is about to be made.

        Raises
        ------
        RateLimitedError, QuotaExhaustedError
            If it may not be made now; it is not counted then.
        """
        with self.database.changing() as connection:
            self._admit(connection, endpoint, time.time())

    def check(self) -> None:
        """Raise what `admit` would while a limit is in force; count nothing."""
        self._check_limit(time.time())

    def limit(self, until: float, reason: str, *, quota: bool) -> None:
        """Allow no request before ``until``; a limit that is later already stays."""
        with self.database.changing() as connection:
            connection.execute(
                "insert into limits values (1, ?, ?, ?) on conflict do update set until = excluded.until, "
                "reason = excluded.reason, quota = excluded.quota where excluded.until > until",
                [until, reason, quota],
            )

    def spent(self) -> dict[str, int]:
        """Return the requests of the last 24 hours per endpoint."""
        oldest = int(time.time() // _SLOT) - DAY // _SLOT
        query = "select endpoint, sum(count) from requests where slot > ? group by 1 order by 2 desc"
        return dict(self.database.rows(query, [oldest]))

    def _admit(self, connection: sqlite3.Connection, endpoint: str, now: float) -> None:
        slot = int(now // _SLOT)
        self._check_limit(now)
        if self.budget is not None:
            (spent,) = connection.execute(
                "select coalesce(sum(count), 0) from requests where slot > ?", [slot - DAY // _SLOT]
            ).fetchone()
            if spent >= self.budget:
                raise self.quota_exhausted(
                    self._freed_at(slot, spent, self.budget),
                    f"The budget of {self.budget:,} requests in 24 hours is spent ({self.budget_setting} sets it).",
                )
        connection.execute(
            "insert into requests values (?, ?, 1) on conflict do update set count = count + 1", [slot, endpoint]
        )

    def _check_limit(self, now: float) -> None:
        for until, reason, quota in self.database.rows(
            "select until, reason, quota from limits where until > ?", [now]
        ):
            raise (self.quota_exhausted if quota else self.rate_limited)(until, reason)

    def _freed_at(self, slot: int, spent: int, budget: int) -> float:
        """Return when enough of the counted requests are 24 hours old for one more."""
        oldest = slot - DAY // _SLOT
        for counted_in, count in self.database.rows(
            "select slot, sum(count) from requests where slot > ? group by 1 order by 1", [oldest]
        ):
            spent -= count
            if spent < budget:
                return float(counted_in * _SLOT + DAY)
        raise AssertionError("a budget of at least 1 is free when nothing is spent")


@dataclass(frozen=True)
class WindowLedger(Ledger):
    """A ledger of a service that tells with every answer how many requests are left, and when that number is renewed.

    What one answer tells holds for all processes. A request that is under way counts as one that was made. While
    nothing is known, after a window has ended, one request alone goes ahead and finds out.
    """

    seconds: float = 30.0
    """The time of one request: what is under way for longer, a killed process has left behind."""

    def take(self, endpoint: str) -> int:
        """Count a request that is about to be made, as `admit`; return its ticket for `answered`."""
        now = time.time()
        with self.database.changing() as connection:
            window = connection.execute("select remaining from windows where until > ?", [now]).fetchone()
            if window is None:
                for _ in connection.execute("select 1 from in_flight where probe and until > ?", [now]):
                    raise self.rate_limited(now + PROBE_PAUSE, "Another request is finding out what is allowed.")
            elif window[0] <= 0:
                ((until,),) = connection.execute("select until from windows").fetchall()
                raise self.rate_limited(until, f"No request is allowed for {until - now:,.0f} s.")
            self._admit(connection, endpoint, now)
            connection.execute("update windows set remaining = remaining - 1")
            connection.execute("delete from in_flight where until <= ?", [now])
            ticket = connection.execute(
                "insert into in_flight (until, probe) values (?, ?)", [now + self.seconds, window is None]
            ).lastrowid
        return int(ticket or 0)

    def answered(self, ticket: int, remaining: int | None, reset_in: float | None) -> None:
        """Note that a request has ended, and what its answer told, if anything.

        Parameters
        ----------
        ticket
            Of the request.
        remaining
            Requests that are left.
        reset_in
            Seconds until there are new ones.
        """
        now = time.time()
        with self.database.changing() as connection:
            connection.execute("delete from in_flight where ticket = ?", [ticket])
            if remaining is None or reset_in is None:
                return
            (others,) = connection.execute("select count(*) from in_flight where until > ?", [now]).fetchone()
            left, until = max(remaining - others, 0), now + reset_in
            before = connection.execute("select remaining, until from windows where until > ?", [now]).fetchone()
            if before is not None and until < before[1] - SAME_WINDOW:
                return  # of a window before this one
            if before is not None and until <= before[1] + SAME_WINDOW:
                left, until = min(left, before[0]), max(until, before[1])
            connection.execute("insert or replace into windows values (1, ?, ?)", [left, until])
