"""A session of requests with what it does not have: an end to every call, a largest body, and no detours.

The timeouts of requests start anew with every byte that arrives, so a body that drips takes for ever. Here each
connection is shut down when its time is up, whatever it waits for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from threading import Condition, Semaphore, Thread, local
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

MAX_BODY = 8 * 2**20
"""Most bytes of one answer. A page of 50 tracks with all its markets has a quarter of a million."""
CONNECT_SECONDS, READ_SECONDS = 5.0, 15.0
_IDLE_SECONDS = 10.0


class Gate:
    """Bounds the requests that are open at one time, and shuts down connections when their time is up.

    One for all sessions.

    Parameters
    ----------
    places
        Most requests that are open at one time.
    seconds
        The time of one request, from when it is let in.
    """

    def __init__(self, places: int, seconds: float) -> None:
        self.seconds = seconds
        self._places = Semaphore(places)
        self._deadlines: dict[DeadlineAdapter, float] = {}
        self._changed = Condition()
        self._thread: Thread | None = None
        self._latest = float("inf")
        self._of_thread = local()

    @contextmanager
    def open(self, adapter: DeadlineAdapter) -> Iterator[None]:
        """Wait for a place, and give what is done in the block the time of one request."""
        with self._places, self._watched(adapter):
            yield

    @contextmanager
    def _watched(self, adapter: DeadlineAdapter) -> Iterator[None]:
        with self._changed:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="request-gate", daemon=True)
                self._thread.start()
            latest = min(self._latest, getattr(self._of_thread, "end", self._latest))
            self._deadlines[adapter] = min(time.monotonic() + self.seconds, latest)
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._deadlines[adapter]

    def end_by(self, end: float) -> None:
        """Let no request of this thread go on after ``end``, by the monotonic clock."""
        self._of_thread.end = end

    def end_all(self, seconds: float) -> None:
        """Let no request, under way or to come, go on for longer than ``seconds`` from now."""
        with self._changed:
            self._latest = min(self._latest, time.monotonic() + seconds)
            self._deadlines = {adapter: min(end, self._latest) for adapter, end in self._deadlines.items()}
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for adapter, end in self._deadlines.items():
                    if end <= now:
                        adapter.shut_down()
                # Again every 50 ms where something is overdue: it may not have had a connection yet.
                first = min(self._deadlines.values(), default=now + _IDLE_SECONDS)
                if not self._changed.wait(max(first - now, 0.05)) and not self._deadlines:
                    self._thread = None
                    return


class DeadlineAdapter(HTTPAdapter):
    """Sends one request at a time, without retries, and reads the whole answer within its time."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._socket: socket.socket | None = None
        self._cut_off = False
        # Retrying is the client's business, which knows what a limit is.
        super().__init__(
            max_retries=Retry(0, read=False, redirect=False, respect_retry_after_header=False, raise_on_status=False)
        )

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make a pool of connections that tell this adapter of their socket."""
        super().init_poolmanager(*arguments, **options)
        adapter = self

        class Connection(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                adapter._socket = self.sock

        class SecureConnection(HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                adapter._socket = self.sock

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        """Send a request and read its answer, all within the time of one request."""
        self._cut_off = False
        try:
            with self._gate.open(self):
                response = super().send(request, *arguments, **options)
                body = response.raw.read(MAX_BODY + 1, decode_content=True)
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            if self._cut_off:
                raise requests.Timeout("cut off", request=request) from error
            if isinstance(error, requests.RequestException):
                raise
            raise requests.ConnectionError("the answer broke off", request=request) from error
        if self._cut_off:  # which may look like an answer without a body
            raise requests.Timeout("cut off", request=request)
        if len(body) > MAX_BODY:
            response.close()
            raise requests.exceptions.ContentDecodingError(f"more than {MAX_BODY:,} bytes", request=request)
        response.raw.release_conn()
        response.raw = BytesIO(body)
        return response

    def shut_down(self) -> None:
        """End what the connection waits for; called from the gate's thread."""
        self._cut_off = True
        if self._socket is not None:
            with suppress(OSError):
                # Past the TLS layer, which one thread alone may use.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _NoRedirects(requests.Session):
    """Follows nobody: the token would be carried elsewhere."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        return None


def make_session(gate: Gate) -> requests.Session:
    """Return a session for one thread: it follows no redirect and no proxy of the environment."""
    session = _NoRedirects()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, DeadlineAdapter(gate))
    return session
