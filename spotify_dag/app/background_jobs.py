"""Work that takes longer than an answer should: it runs beside, and whoever knows its id can follow it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from spotify_dag.app.problems import AppError, status_of
from spotify_dag.errors import SpotifyDagError

WORKERS = 2
MOST_WAITING = 20
KEPT_SECONDS = 600.0
"""How long a job can still be asked for after its end."""
LOOK_SECONDS = 0.02
log = logging.getLogger(__name__)


@dataclass
class Job:
    """One piece of work and what it has told so far."""

    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Names and data: ``progress`` any number of times, then ``result`` or ``problem``."""
    ended_at: float | None = None

    def progress(self, stage: str, **data: Any) -> None:
        """Tell how far it is."""
        self.events.append(("progress", {"stage": stage, **data}))


class Jobs:
    """The jobs of one process. None of them outlives it, and none of them has left anything half done."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def start(self, work: Callable[[Job], dict[str, Any]]) -> Job:
        """Begin ``work``, which tells the job its progress and returns the result.

        Raises
        ------
        AppError
            If too many wait already.
        """
        job = Job()
        with self._lock:
            now = time.monotonic()
            kept = {
                key: one for key, one in self._jobs.items() if not one.ended_at or now - one.ended_at < KEPT_SECONDS
            }
            if sum(one.ended_at is None for one in kept.values()) >= WORKERS + MOST_WAITING:
                raise AppError(503, "Too many newcomers at once. Try again in a moment.", {"Retry-After": "5"})
            self._jobs = kept | {job.id: job}
        self._pool.submit(self._run, job, work)
        return job

    def find(self, job_id: str) -> Job:
        """Return a job.

        Raises
        ------
        AppError
            If there is none, or no more.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise AppError(404, "There is no such job, or no more. Ask again with POST /api/v1/users.")
        return job

    def stop(self) -> None:
        """Begin no more; what runs is let go to its end."""
        self._pool.shutdown(cancel_futures=True)

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
        job.events.append(last)


async def server_sent(job: Job) -> AsyncIterator[str]:
    """Yield all that a job tells, from its beginning to its end, as server-sent events."""
    told = 0
    while True:
        for name, data in job.events[told:]:
            yield f"id: {told}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
            told += 1
            if name != "progress":
                return
        await asyncio.sleep(LOOK_SECONDS)
