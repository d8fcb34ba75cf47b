"""Work that takes longer than an answer should: it runs beside, and a client that knows its id can follow it.

A job is bounded: in time, in how many wait with it, and by somebody being there to hear of it. Work asks its job now
and then whether to go on (`Job.check`), and so ends soon after it should.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from spotify_dag.app.problems import AppError, status_of
from spotify_dag.errors import SpotifyDagError

Lane = Literal["known", "spotify", "files"]
WORKERS: dict[Lane, int] = {"known": 2, "spotify": 2, "files": 2}
"""Workers of each kind of work: who is known already waits for nobody's upload, nor for Spotify."""
NICENESS = 10
"""Of the work on files: answers that take milliseconds come first. Threads that such a thread starts inherit it."""
MOST_WAITING = 20
"""Jobs of one kind that wait."""
MOST_OF_A_CLIENT = 4
"""Jobs of one client that wait or run."""
KEPT_SECONDS = 600.0
"""How long a job can still be asked for after its end."""
GONE_SECONDS = 20.0
"""After so long without anybody who follows, a job is given up."""
STOP_SECONDS = 0.5
"""How long jobs may take to end when the app does."""
log = logging.getLogger(__name__)


class JobEndedError(AppError):
    """A job is not to go on: its time is over, its client has gone, or the app ends."""


@dataclass
class Job:
    """One piece of work and what it has told so far."""

    client: str
    seconds: float
    """The longest that it may run."""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Names and data: ``progress`` any number of times, then ``result`` or ``problem``."""
    ended_at: float | None = None
    stopped: bool = False
    _ends: float = float("inf")
    _left_at: float | None = field(default_factory=time.monotonic)
    """Since when nobody follows; None while somebody does."""
    _listeners: list[Callable[[], None]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Let its time begin."""
        self._ends = time.monotonic() + self.seconds
        self.check()

    def progress(self, stage: str, **data: Any) -> None:
        """Tell how far it is, if it is to go on."""
        self.check()
        self.tell("progress", {"stage": stage, **data})

    def check(self) -> None:
        """Return if the work is to go on.

        Raises
        ------
        JobEndedError
            If it is not.
        """
        now = time.monotonic()
        if self.stopped:
            raise JobEndedError(503, "The app is being ended. Try again in a moment.")
        if now > self._ends:
            raise JobEndedError(
                422, f"This takes longer than {self.seconds:.0f} s. Hand in less of it, such as the playlists alone."
            )
        left = self._left_at
        if left is not None and now - left > GONE_SECONDS:
            raise JobEndedError(408, "Nobody waited for this, so it was given up. Nothing of it was kept.")

    def tell(self, name: str, data: dict[str, Any]) -> None:
        """Add an event, and wake the followers."""
        with self._lock:
            self.events.append((name, data))
            listeners = tuple(self._listeners)
        for wake in listeners:
            wake()

    @contextmanager
    def followed(self, wake: Callable[[], None]) -> Iterator[None]:
        """Count somebody who follows; ``wake`` is called, from any thread, after every event."""
        with self._lock:
            self._listeners.append(wake)
            self._left_at = None
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(wake)
                if not self._listeners:
                    self._left_at = time.monotonic()


class Jobs:
    """The jobs of one process. None of them outlives it, and none of them has left anything half done."""

    def __init__(self) -> None:
        self._pools = {
            lane: ThreadPoolExecutor(workers, lane, _give_way if lane == "files" else None)
            for lane, workers in WORKERS.items()
        }
        self._jobs: dict[str, tuple[Lane, Job]] = {}
        self._running: set[Any] = set()
        self._lock = threading.Lock()

    def start(self, work: Callable[[Job], dict[str, Any]], *, lane: Lane, client: str, seconds: float) -> Job:
        """Begin ``work``, which tells the job its progress and returns the result.

        Parameters
        ----------
        work
            Asks `Job.check` at least once a second or so.
        lane
            What kind of work it is.
        client
            Who asks for it.
        seconds
            The longest that it may run.

        Raises
        ------
        AppError
            If too many wait already, of all clients or of this one.
        """
        job = Job(client, seconds)
        with self._lock:
            now = time.monotonic()
            left = {
                key: (of, other)
                for key, (of, other) in self._jobs.items()
                if other.ended_at is None or now - other.ended_at < KEPT_SECONDS
            }
            open_jobs = [(of, other.client) for of, other in left.values() if other.ended_at is None]
            if Counter(of for of, _ in open_jobs)[lane] >= WORKERS[lane] + MOST_WAITING:
                raise AppError(503, "Too many newcomers at once. Try again in a moment.", {"Retry-After": "5"})
            if Counter(whose for _, whose in open_jobs)[client] >= MOST_OF_A_CLIENT:
                raise AppError(
                    429, f"You have {MOST_OF_A_CLIENT} requests under way. Wait for one of them.", {"Retry-After": "5"}
                )
            self._jobs = left | {job.id: (lane, job)}
            try:
                future = self._pools[lane].submit(self._run, job, work)
            except RuntimeError:
                raise AppError(503, "The app is being ended. Try again in a moment.") from None
            self._running.add(future)
            future.add_done_callback(self._running.discard)
        return job

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises
        ------
        AppError
            If there is none, or no more.
        """
        _, job = self._jobs.get(job_id, (None, None))
        if job is None:
            raise AppError(404, "There is no such job, or no more. Ask again with POST /api/v1/users.")
        return job

    def cancel(self) -> None:
        """Begin no more, and have what waits or runs end soon; followers are told."""
        with self._lock:
            for _, job in self._jobs.values():
                job.stopped = True
            for pool in self._pools.values():
                pool.shutdown(wait=False)

    def stop(self) -> None:
        """Do `cancel`, and wait for the end of what runs."""
        self.cancel()
        wait(tuple(self._running), STOP_SECONDS)

    @staticmethod
    def _run(job: Job, work: Callable[[Job], dict[str, Any]]) -> None:
        try:
            last = ("result", work(job))
        except SpotifyDagError as error:
            last = ("problem", {"status": status_of(error)[0], "detail": str(error)})
        except Exception:
            log.exception("A job failed.")
            last = ("problem", {"status": 500, "detail": "Something went wrong here. It is in the log of the app."})
        job.ended_at = time.monotonic()
        job.tell(*last)


def _give_way() -> None:
    """Lower the priority of this thread alone. Linux keeps one for each thread."""
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, max(NICENESS, os.getpriority(os.PRIO_PROCESS, own)))


def follow(job: Job) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all that a job tells, from its beginning to its end."""
    changed, told = threading.Event(), 0
    with job.followed(changed.set):
        while True:
            changed.clear()
            for name, data in job.events[told:]:
                told += 1
                yield name, data
                if name != "progress":
                    return
            changed.wait()


async def follow_async(job: Job) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Do what `follow` does, without a thread that waits."""
    loop, changed, told = asyncio.get_running_loop(), asyncio.Event(), 0

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changed.set)

    with job.followed(wake):
        while True:
            changed.clear()
            for name, data in job.events[told:]:
                told += 1
                yield name, data
                if name != "progress":
                    return
            await changed.wait()
