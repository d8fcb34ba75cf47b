"""Counting, latency and faults of requests of ``/v1``, between the network and the endpoints."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spotify_dag.simulator.faults_and_limits import RATE_KINDS, Faults
from spotify_dag.simulator.world import chance

HTML_PAGE = b"<!doctype html><html><head><title>Sorry</title></head><body>Please try again later.</body></html>"
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


@dataclass
class Traffic:
    """Counts of requests since the last reset."""

    endpoints: Counter[str] = field(default_factory=Counter)
    """Requests per endpoint, named by its template (``/v1/playlists/{playlist_id}/items``)."""
    urls: Counter[str] = field(default_factory=Counter)
    """Requests per path and query. It grows by some 200 bytes per distinct URL, until it is reset."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Responses per status; a connection closed without an answer has none."""
    faults: Counter[str] = field(default_factory=Counter)
    """Faults per kind."""
    peak_in_flight: int = 0
    """Most requests that were open at one time."""
    busy_seconds: float = 0
    """Sum of the time requests were open: divided by the time that passed, the mean number of open requests."""

    def as_dict(self) -> dict[str, Any]:
        """Return the counts, without those per URL."""
        counts = {name: dict(getattr(self, name)) for name in ("endpoints", "statuses", "faults")}
        numbers = {"peak_in_flight": self.peak_in_flight, "busy_seconds": round(self.busy_seconds, 3)}
        return {"requests": self.urls.total(), **counts, **numbers}


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


class WireMiddleware:
    """ASGI middleware around the endpoints of ``/v1``."""

    def __init__(self, app: ASGIApp, wire: Wire) -> None:
        self.app = app
        self.wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self.app(scope, receive, send)
            return
        # spotipy asks for /me/ and /artists/?ids=.
        scope["path"] = scope["path"].rstrip("/")
        wire, traffic = self.wire, self.wire.traffic
        url = f"{scope['path']}?{scope['query_string'].decode()}".rstrip("?")
        attempt = traffic.urls[url]
        traffic.urls[url] += 1
        traffic.endpoints[endpoint(scope["path"])] += 1
        wire.in_flight += 1
        traffic.peak_in_flight = max(traffic.peak_in_flight, wire.in_flight)
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                traffic.statuses[message["status"]] += 1
            await send(message)

        try:
            await asyncio.sleep(wire.latency)
            fault = fault_of(wire.faults, wire.seed, url, attempt)
            if fault is not None:
                traffic.faults[fault] += 1
            await self._answer(fault, scope, receive, counted)
        finally:
            wire.in_flight -= 1
            traffic.busy_seconds += time.perf_counter() - started

    async def _answer(self, fault: str | None, scope: Scope, receive: Receive, send: Send) -> None:
        if fault is None:
            await self.app(scope, receive, send)
        elif fault in REFUSALS:
            await _refuse(fault, self.wire.faults, send)
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

    async def _disconnect(self, scope: Scope, receive: Receive) -> None:
        self.wire.connections[tuple(scope["client"])].close()
        while (await receive())["type"] != "http.disconnect":
            pass


def endpoint(path: str) -> str:
    """Return the template of a path: ``/v1/users/x/playlists`` is ``/v1/users/{id}/playlists``."""
    return re.sub(r"^(/v1/(?:users|playlists|artists|tracks|audio-features))/[^/]+", r"\1/{id}", path)


def fault_of(faults: Faults, seed: int, url: str, attempt: int) -> str | None:
    """Return the fault of the ``attempt``-th request for a URL, or None."""
    luck = chance(seed, "fault", url, attempt)
    for kind in RATE_KINDS:
        luck -= getattr(faults, kind)
        if luck < 0:
            return kind
    return None


async def _refuse(fault: str, faults: Faults, send: Send) -> None:
    status, message = REFUSALS[fault]
    error: dict[str, Any] = {"status": status, "message": message}
    headers = [(b"content-type", b"application/json; charset=utf-8")]
    if fault == "quota_exceeded":
        error["reason"] = "QUOTA_EXCEEDED"
    if status == 429:
        wait = {"rate_limited": str(faults.retry_after), "rate_limited_garbled": "soon"}
        headers.append((b"retry-after", wait.get(fault, str(faults.long_retry_after)).encode()))
    await _send(send, status, headers, json.dumps({"error": error}).encode())


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
