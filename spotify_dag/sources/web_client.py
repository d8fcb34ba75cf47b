"""Asks a web service until there is an answer, the error is final, or the time is up; every limit is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from threading import Event, local
from typing import TYPE_CHECKING, TypeVar

from spotify_dag.sources.request_ledger import WindowLedger, admitted, backoff
from spotify_dag.sources.service_errors import (
    GoneError,
    MalformedError,
    NotPermittedError,
    QuotaExhaustedError,
    RateLimitedError,
    ServiceError,
    UnreachableError,
)
from spotify_dag.sources.web_session import CONNECT_SECONDS, READ_SECONDS, Gate, make_session

if TYPE_CHECKING:
    import requests

ATTEMPTS = 8
LONGEST_LIMIT = 7 * 86_400.0
_FINAL = (NotPermittedError, GoneError)
Body = TypeVar("Body")


@dataclass(frozen=True)
class Times:
    """How long things may take, in seconds, and how many requests may be open at one time."""

    request: float = 30.0
    call: float = 120.0
    """One call with all its retries and waits."""
    wait: float = 30.0
    """The longest limit that is waited for; at a longer one the run ends."""
    concurrency: int = 4


class WebClient:
    """Calls of one service; threads may share it.

    Parameters
    ----------
    service
        What the service is called in messages.
    ledger
        Asked before every request, and told of every limit.
    times
        How long things may take.
    """

    def __init__(self, service: str, ledger: WindowLedger, times: Times | None = None) -> None:
        self.service = service
        self.times = times or Times()
        self.timeouts = (CONNECT_SECONDS, READ_SECONDS)
        self._ledger = ledger
        self._gate = Gate(self.times.concurrency, self.times.request)
        self._of_thread = local()
        self._stopped = Event()

    @property
    def session(self) -> requests.Session:
        """The session of this thread: requests does not promise that threads may share one."""
        if not hasattr(self._of_thread, "session"):
            self._of_thread.session = make_session(self._gate)
        return self._of_thread.session

    def stop(self) -> None:
        """Give up waiting, and let requests that are under way go on for a second at most."""
        self._stopped.set()
        self._gate.end_all(1)

    def allowed(self, remaining: int | None, reset_in: float | None) -> None:
        """Note what the answer to this thread's request tells of the requests that are left."""
        self._of_thread.told = (remaining, reset_in)

    def call(self, endpoint: str, what: str, ask: Callable[[], Body]) -> Body:
        """Return what ``ask`` returns; it makes one request, and is called again where that may help.

        Parameters
        ----------
        endpoint
            What the request is counted as.
        what
            What is asked for, in words.
        ask
            Raises a `ServiceError`, or an error of requests.

        Raises
        ------
        ServiceError
            And nothing else.
        """
        import requests

        end = time.monotonic() + self.times.call
        self._gate.end_by(end)
        problem: ServiceError = UnreachableError(f"There was no time to ask {self.service} for {what}.")
        for attempt in range(ATTEMPTS):
            ticket = admitted(
                partial(self._ledger.take, endpoint), end=end, longest=self.times.wait, stopped=self._stopped
            )
            self._of_thread.told = (None, None)
            try:
                return ask()
            except RateLimitedError as error:
                # Before the request counts as answered: nobody may slip in between.
                self._ledger.limit(error.at, error.reason, quota=isinstance(error, QuotaExhaustedError))
                problem = error
            except ServiceError as error:
                problem = error
            except requests.exceptions.ContentDecodingError as error:
                problem = MalformedError(f"{self.service}'s answer about {what} is malformed: {error}.")
            except requests.RequestException as error:
                if attempt and time.monotonic() >= end:
                    break  # cut off by the end of the call: what went wrong before says more
                why = "too slow" if isinstance(error, requests.Timeout) else "no connection"
                problem = UnreachableError(f"Asking {self.service} for {what} failed: {why}.")
            finally:
                self._ledger.answered(ticket, *self._of_thread.told)
            if isinstance(problem, RateLimitedError):
                if isinstance(problem, QuotaExhaustedError) or problem.at - time.time() > self.times.wait:
                    raise problem
                continue
            if isinstance(problem, _FINAL):
                raise problem
            pause = backoff(attempt)
            if time.monotonic() + pause > end or self._stopped.wait(pause):
                break
        raise problem

    def limited(self, response: requests.Response | None, seconds: float | None, attempt: int = 3) -> RateLimitedError:
        """Return what a refusal for a limit means; ``seconds`` is the wait it asks for, None where it names none."""
        if seconds is None or not math.isfinite(seconds):
            seconds = 2.0**attempt
        seconds = min(max(seconds, 0.5), LONGEST_LIMIT)
        status = "" if response is None else f" (status {response.status_code})"
        return RateLimitedError(
            time.time() + seconds, f"{self.service} allows no request for {seconds:,.0f} s{status}."
        )
