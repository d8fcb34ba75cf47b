"""Counting, latency, limits and faults of requests, between the network and the endpoints.

One server is three services: Spotify under ``/v1``, ListenBrainz under ``/1``, Last.fm under ``/2.0``.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotify_dag.simulator.faults_and_limits import RATE_KINDS, Faults
from spotify_dag.simulator.world import chance

HTML_PAGE = b"<!doctype html><html><head><title>Sorry</title></head><body>Please try again later.</body></html>"
SERVICES = ("/v1/", "/1/", "/2.0")
GRACE = 0.5
"""Seconds after an answer that forbids requests in which one may still arrive: it was sent before."""
REFUSALS = {
    "rate_limited": (429, "API rate limit exceeded"),
    "rate_limited_long": (429, "API rate limit exceeded"),
    "rate_limited_garbled": (429, "API rate limit exceeded"),
    "quota_exceeded": (429, "Quota exceeded"),
    "server_error": (500, "Internal server error"),
    "bad_gateway": (502, "Bad gateway"),
    "unavailable": (503, "Service unavailable"),
}
"""Faults that are answered in place of the endpoint."""
AFTER_WRITING = ("server_error", "bad_gateway", "unavailable", "hang_up", "empty", "html")
"""Faults that come, half of the time, when what was to be written has been written all the same."""


@dataclass
class Traffic:
    """Counts of requests since the last reset."""

    endpoints: Counter[str] = field(default_factory=Counter)
    """Requests per endpoint, named by its template (``/v1/playlists/{playlist_id}/items``); with the method of one that
    writes."""
    urls: Counter[str] = field(default_factory=Counter)
    """Requests per path and query, and method as above: some 200 bytes per distinct URL, until it is reset."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Responses per status; a connection closed without an answer has none."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults per kind."""
    forbidden: int = 0
    """Requests to ListenBrainz that arrived although an answer, sent `GRACE` seconds before or more, forbade them."""
    peak_in_flight: int = 0
    """Most requests that were open at one time."""
    busy_seconds: float = 0
    """Sum of the time requests were open: divided by the time that passed, the mean number of open requests."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, without those per URL."""
        counts = {name: dict(getattr(self, name)) for name in ("endpoints", "statuses", "faults")}
        numbers = {
            "forbidden": self.forbidden,
            "peak_in_flight": self.peak_in_flight,
            "busy_seconds": round(self.busy_seconds, 3),
        }
        return {"requests": self.urls.total(), **counts, **numbers}


@dataclass
class RateWindow:
    """So many requests in so many seconds; every answer says how many are left, and until when."""

    requests: int
    seconds: float
    _ends: float = 0
    _left: int = 0
    _forbidden: tuple[float, float] = (0, 0)

    def take(self) -> bool:
        """Count a request; return whether it is within the limit."""
        now = time.time()
        if now >= self._ends:
            self._ends, self._left = now + self.seconds, self.requests
        self._left -= 1
        return self._left >= 0

    def is_forbidden(self) -> bool:
        """Return whether a request that arrives now was sent against what an answer said."""
        told_at, until = self._forbidden
        return told_at + GRACE < time.time() < until

    def headers(self, seconds: float | None = None) -> list[tuple[bytes, bytes]]:
        """Return what an answer says of the limit; ``seconds`` is a wait that a fault asks for."""
        now = time.time()
        left = 0 if seconds is not None else max(0, self._left)
        # Rounded up, as whole seconds: until then there are none for sure.
        reset_in = math.ceil(self._ends - now if seconds is None else seconds)
        if not left:
            self._forbidden = (now, max(self._forbidden[1], now + (self._ends - now if seconds is None else seconds)))
        said = {"Limit": self.requests, "Remaining": left, "Reset-In": reset_in}
        return [(f"x-ratelimit-{name.lower()}".encode(), str(value).encode()) for name, value in said.items()]


@dataclass
class Wire:
    """Traffic so far and the faults in force, which may be changed at any time."""

    seed: int
    latency: float
    faults: Faults
    traffic: Traffic = field(default_factory=Traffic)
    connections: dict[tuple[str, int], asyncio.Transport] = field(default_factory=dict)
    """Open connections by address of the client; the server keeps them."""
    in_flight: int = 0
    window: RateWindow = field(default_factory=lambda: RateWindow(1_000_000, 10))
    """Of ListenBrainz."""


class WireMiddleware:
    """ASGI middleware around the endpoints of the services."""

    def __init__(self, app: ASGIApp, wire: Wire) -> None:
        self.app = app
        self.wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith(SERVICES):
            await self.app(scope, receive, send)
            return
        # spotipy asks for /me/ and /artists/?ids=.
        scope["path"] = scope["path"].rstrip("/")
        wire, traffic = self.wire, self.wire.traffic
        writes = scope["path"].startswith("/v1/") and scope["method"] != "GET"
        method = f"{scope['method']} " if writes else ""
        url = f"{method}{scope['path']}?{scope['query_string'].decode()}".rstrip("?")
        attempt = traffic.urls[url]
        traffic.urls[url] += 1
        traffic.endpoints[method + endpoint(scope["path"])] += 1
        wire.in_flight += 1
        traffic.peak_in_flight = max(traffic.peak_in_flight, wire.in_flight)
        started = time.perf_counter()

        listenbrainz = scope["path"].startswith("/1/")
        traffic.forbidden += listenbrainz and wire.window.is_forbidden()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                traffic.statuses[message["status"]] += 1
                if listenbrainz and not any(name == b"x-ratelimit-limit" for name, _ in message["headers"]):
                    message = {**message, "headers": [*message["headers"], *wire.window.headers()]}
            await send(message)

        try:
            await asyncio.sleep(wire.latency)
            if listenbrainz and not wire.window.take():
                await _send(counted, 429, [(b"content-type", b"application/json")], _listenbrainz_error(429))
                return
            fault = fault_of(wire.faults, wire.seed, url, attempt)
            if fault is not None:
                traffic.faults[fault] += 1
            if writes and fault in AFTER_WRITING and chance(wire.seed, "written", url, attempt) < 0.5:
                await self.app(scope, receive, _unsent)
            await self._answer(fault, scope, receive, counted)
        finally:
            wire.in_flight -= 1
            traffic.busy_seconds += time.perf_counter() - started

    async def _answer(self, fault: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if fault is None:
            await self.app(scope, receive, send)
        elif fault in REFUSALS:
            await self._refuse(fault, scope, send)
        elif fault == "hang_up":
            await self._disconnect(scope, receive)
        elif fault in ("empty", "html"):
            body, media_type = (b"", b"application/json") if fault == "empty" else (HTML_PAGE, b"text/html")
            await _send(send, 200, [(b"content-type", media_type)], body)
        else:
            await self._spoil(fault, scope, receive, send)

    async def _spoil(self, fault: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the endpoint does, but with a broken body."""
        start: Message = {}
        body = b""

        async def kept(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
            else:
                body += message.get("body", b"")

        await self.app(scope, receive, kept)
        half = body[: len(body) // 2]
        if fault == "malformed":
            headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await _send(send, start["status"], headers, half)
            return
        await send(start)
        if fault == "truncated":
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await self._disconnect(scope, receive)
            return
        drops = 20
        step = -(-len(body) // drops) or 1
        for place in range(0, len(body), step):
            await asyncio.sleep(self.wire.faults.drip_seconds / drops)
            await send({"type": "http.response.body", "body": body[place : place + step], "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _refuse(self, fault: str, scope: Scope, send: Send) -> None:
        """Answer with an error in the words of the service."""
        faults, (status, message) = self.wire.faults, REFUSALS[fault]
        wait = faults.retry_after if fault == "rate_limited" else faults.long_retry_after
        headers = [(b"content-type", b"application/json; charset=utf-8")]
        if scope["path"].startswith("/1/"):
            if status == 429 and fault != "rate_limited_garbled":
                headers += self.wire.window.headers(wait)
            await _send(send, status, headers, _listenbrainz_error(status))
        elif scope["path"].startswith("/2.0"):
            code = 29 if status == 429 else 8
            body = f'<lfm status="failed"><error code="{code}">{message}</error></lfm>'.encode()
            await _send(send, 200 if status == 429 else status, [(b"content-type", b"text/xml")], body)
        else:
            error: dict[str, Any] = {"status": status, "message": message}
            if fault == "quota_exceeded":
                error["reason"] = "QUOTA_EXCEEDED"
            if status == 429:
                said = "soon" if fault == "rate_limited_garbled" else str(wait)
                headers.append((b"retry-after", said.encode()))
            await _send(send, status, headers, json.dumps({"error": error}).encode())

    async def _disconnect(self, scope: Scope, receive: Receive) -> None:
        self.wire.connections[tuple(scope["client"])].close()
        while (await receive())["type"] != "http.disconnect":
            pass


def endpoint(path: str) -> str:
    """Return the template of a path: ``/v1/users/x/playlists`` is ``/v1/users/{id}/playlists``."""
    kinds = r"^(/v1/(?:users|playlists|artists|tracks|audio-features)|/1/(?:stats/|feedback/)?user)/[^/]+"
    return re.sub(kinds, r"\1/{id}", path)


def fault_of(faults: Faults, seed: int, url: str, attempt: int) -> str | None:
    """Return the fault of the ``attempt``-th request for a URL, or None."""
    luck = chance(seed, "fault", url, attempt)
    for kind in RATE_KINDS:
        luck -= getattr(faults, kind)
        if luck < 0:
            return kind
    return None


def _listenbrainz_error(status: int) -> bytes:
    return json.dumps({"code": status, "error": "You have been rate limited" if status == 429 else "Sorry"}).encode()


async def _unsent(message: Message) -> None:
    """Let an answer of an endpoint be nobody's."""


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
