"""Look at users of a web service on a few threads, beside other processes that do the same.

A user is looked at by one process at a time: it claims them in the mirror. Those that another process has claimed are
waited for, and taken over if it was killed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock

from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.service_errors import (
    GoneError,
    MalformedError,
    RateLimitedError,
    ServiceError,
    UnreachableError,
)
from spotify_dag.sources.user_mirror import CLAIM_SECONDS, MirroredUser, UserMirror

TRIES = 3
"""Times that a user is looked at whose answers fail in passing, on top of the client's own retries."""
OUT_OF_ORDER = 8
"""Calls in a row without any answer after which the service is taken to be out of order."""
TRY_AGAIN_SECONDS = 300.0
WAIT_SECONDS = 0.2
log = logging.getLogger(__name__)


@dataclass
class UserSweep:
    """One pass over users. It stops at a limit, which is then in `stopped`, and keeps what it has until then.

    Parameters
    ----------
    mirror
        Where users are kept.
    service
        What the service is called in messages.
    look
        Looks at one user, and writes down what there is.
    stop
        Called once when the sweep stops before its end.
    threads
        Users looked at at one time.
    """

    mirror: UserMirror
    service: str
    look: Callable[[MirroredUser], None]
    stop: Callable[[], None]
    threads: int
    stopped: ResumeLaterError | None = None
    failures: list[ServiceError] = field(default_factory=list)
    read: int = 0
    """Users who were looked at to the end."""
    _unanswered: int = 0
    _lock: Lock = field(default_factory=Lock)

    def users(self, names: dict[str, str], since: float) -> None:
        """Look at users (names by id) who were not looked at since a time; at none of them once stopped."""
        left = self.mirror.due(list(names), since)
        waited_since = time.monotonic()
        while left and self.stopped is None:
            before = len(left)
            with ThreadPoolExecutor(self.threads, thread_name_prefix="sweep") as pool:
                taken = list(pool.map(lambda user_id: self._take(user_id, names[user_id], since), left))
            left = self.mirror.due([user for user, mine in zip(left, taken, strict=True) if not mine], since)
            if len(left) < before:
                waited_since = time.monotonic()
            elif time.monotonic() - waited_since > 2 * CLAIM_SECONDS:
                self._stop(RateLimitedError(time.time() + 60, f"Another process is reading {self.service}."))
            if left:
                time.sleep(WAIT_SECONDS)

    def _take(self, user_id: str, name: str, since: float) -> bool:
        """Look at a user; return whether they were this process's to look at."""
        if self.stopped is not None or (user := self.mirror.claim(user_id, name, since)) is None:
            return False
        for tries in range(1, TRIES + 1):
            try:
                self.look(user)
            except RateLimitedError as error:
                self.mirror.release(user_id)
                self._stop(error)
            except GoneError as error:
                self._fail(user_id, error, gone=True)
            except (MalformedError, UnreachableError) as error:
                if self._is_out_of_order(error):
                    self.mirror.release(user_id)
                    self._stop(
                        RateLimitedError(time.time() + TRY_AGAIN_SECONDS, f"{self.service} is out of order: {error}")
                    )
                elif tries < TRIES and self.stopped is None:
                    user = self.mirror.users([user_id])[0]
                    continue
                elif self.stopped is None:
                    self._fail(user_id, error)
                else:
                    self.mirror.release(user_id)
            except ServiceError as error:
                self._fail(user_id, error)
            except BaseException:
                self.mirror.release(user_id)
                raise
            else:
                with self._lock:
                    self._unanswered, self.read = 0, self.read + 1
            return True
        return True

    def _fail(self, user_id: str, error: ServiceError, *, gone: bool = False) -> None:
        self.mirror.note_problem(user_id, str(error), gone=gone)
        with self._lock:
            self._unanswered = 0
            self.failures.append(error)

    def _is_out_of_order(self, error: ServiceError) -> bool:
        with self._lock:
            self._unanswered = self._unanswered + 1 if isinstance(error, UnreachableError) else 0
            return self._unanswered >= OUT_OF_ORDER

    def _stop(self, error: ResumeLaterError) -> None:
        with self._lock:
            # Of several the last to pass: calls that were under way may have been told another time.
            if self.stopped is None or error.at > self.stopped.at:
                self.stopped = error
        self.stop()
