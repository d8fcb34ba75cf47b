"""What the app tells those who run it: Prometheus metrics, and one line of log per request, without names in it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spotify_dag.app.published_version import Serving

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
log = logging.getLogger("spotify_dag.app")


class Telemetry:
    """The metrics of one app.

    Parameters
    ----------
    serving
        What answers.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "spotify_dag_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "spotify_dag_request_seconds", "Seconds until the end of an answer", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.newcomer_seconds = Histogram(
            "spotify_dag_newcomer_seconds", "Seconds from a newcomer's request to their matches", buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._users = Gauge("spotify_dag_users", "Users who are shown to others", registry=self.registry)
        self._version = Gauge(
            "spotify_dag_model_info", "The model version that answers", ["model_version"], registry=self.registry
        )

    def text(self) -> tuple[bytes, str]:
        """Return all metrics as text, and its media type."""
        self._version.clear()
        if (snapshot := self._serving.current) is not None:
            self._users.set(snapshot.users)
            self._version.labels(snapshot.model_version).set(1)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Watched:
    """ASGI middleware that counts and times requests by route: a path may hold the id of a user."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self.telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, begun = 500, time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            took = time.perf_counter() - begun
            path = getattr(scope.get("route"), "path", None) or "pages"
            self.telemetry.requests.labels(scope["method"], path, status).inc()
            self.telemetry.seconds.labels(path).observe(took)
            log.info("%s %s %s %.0f ms", scope["method"], path, status, 1e3 * took)
