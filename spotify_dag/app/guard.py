"""At the door of the app: who may come in, how often, with how much, for how long, and what browsers are told."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from spotify_dag.app.problems import AppError, problem_of
from spotify_dag.web_guard import is_own_host, is_own_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spotify_dag.settings import Settings

API = "/api/v1"
OPEN = {f"{prefix}{path}" for prefix in ("", API) for path in ("/healthz", "/readyz")}
"""What those who watch the app may ask without a password, as often as they like."""
NEWCOMERS = f"{API}/users"
GUESTS = re.compile(rf"{API}/blends/[^/]+/files")
"""Where guests of a blend hand in their files."""
STREAMS = (f"{API}/jobs/", "/gradio_api/queue/data", "/gradio_api/heartbeat/")
"""Answers that go on for as long as there is something to tell."""
STREAM_SECONDS = 3_600.0
"""The longest of them: a page that stays open asks again."""
STREAMS_OF_A_CLIENT, MOST_STREAMS = 20, 500
ASSETS = ("/assets/", "/static/", "/theme.css")
"""Scripts and styles of the pages: a page asks for dozens of them at once, and they cost nothing."""
SMALL_BODY = 1 << 20
MB = 1_000_000
MOST_CLIENTS = 100_000
# Gradio's page is made by scripts of its own and of its components; nothing is loaded from anywhere else.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Rate:
    """A bucket of tokens per client: so many requests a minute, a quarter of a minute's worth at once.

    Parameters
    ----------
    per_minute
        Requests of one client.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_second = per_minute / 60
        self.burst = max(1.0, per_minute / 4)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def admit(self, client: str) -> None:
        """Count a request.

        Raises
        ------
        AppError
            If it is one too many.
        """
        now = time.monotonic()
        tokens, before = self._buckets.pop(client, (self.burst, now))
        tokens = min(self.burst, tokens + (now - before) * self.per_second)
        admitted = tokens >= 1
        self._buckets[client] = (tokens - admitted, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        if not admitted:
            wait = max(1, round((1 - tokens) / self.per_second))
            raise AppError(429, f"Too many requests. Try again in {wait} s.", {"Retry-After": str(wait)})


class Streams:
    """The streams that are open: so many of one client, and in all."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    @contextmanager
    def opened(self, client: str) -> Iterator[None]:
        """Count a stream.

        Raises
        ------
        AppError
            If it is one too many.
        """
        if self._of[client] >= STREAMS_OF_A_CLIENT:
            raise AppError(
                429, f"You have {STREAMS_OF_A_CLIENT} streams open. Close one of them.", {"Retry-After": "5"}
            )
        if self._of.total() >= MOST_STREAMS:
            raise AppError(503, "Too many streams are open. Try again in a moment.", {"Retry-After": "30"})
        self._of[client] += 1
        try:
            yield
        finally:
            self._of[client] -= 1
            if not self._of[client]:
                del self._of[client]


class Guard:
    """ASGI middleware around the whole app, pages included.

    Parameters
    ----------
    app
        What is guarded.
    settings
        Of the installation.
    newcomers
        How many new users one client may ask for.
    host
        The name that the server was told to listen at.
    """

    def __init__(self, app: ASGIApp, settings: Settings, newcomers: Rate, host: str | None = None) -> None:
        self.app = app
        self.settings = settings
        self.streams = Streams()
        self._host_url = f"http://[{host}]" if host and ":" in host else f"http://{host}" if host else None
        self._all = Rate(settings.app_requests_per_minute)
        self._newcomers = newcomers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it with a problem."""
        if scope["type"] != "http":
            # The app speaks no WebSocket, and knows nothing of a client that comes by one.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        begun = False
        refused: list[AppError] = []

        async def sending(message: Message) -> None:
            nonlocal begun
            if refused and not begun:
                # What the app makes of half a body is no answer to anybody.
                return
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = _with_headers(message.get("headers", []), scope["path"])
            await send(message)

        try:
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            self._admit(scope, headers)
            bounded = self._bounded(scope, headers, receive, refused)
            if scope["path"].startswith(STREAMS):
                with self.streams.opened(client_of(scope)):
                    async with asyncio.timeout(STREAM_SECONDS):
                        await self.app(scope, bounded, sending)
                return
            async with asyncio.timeout(self._seconds(scope)):
                await self.app(scope, bounded, sending)
        except AppError as error:
            refused.append(error)
        except TimeoutError:
            refused.append(AppError(503, "This took too long. Try again, with less.", {"Retry-After": "5"}))
        if refused and not begun:
            answer = problem_of(refused.pop(0))
            refused.clear()
            await answer(scope, receive, sending)

    def _admit(self, scope: Scope, headers: dict[str, str]) -> None:
        path, method = scope["path"], scope["method"]
        server = (scope.get("server") or (None,))[0]
        if not is_own_host(headers.get("host", ""), server, self.settings.app_url, self._host_url):
            raise AppError(
                421, "This app is not known by the name in the address. The operator sets SPOTIFY_DAG_APP_URL."
            )
        _check_decodable(scope)
        if path in OPEN:
            return
        client = client_of(scope)
        if not path.startswith(ASSETS):
            self._all.admit(client)
        self._check_entrance(headers)
        if method not in ("GET", "HEAD", "OPTIONS"):
            # A client that is no browser sends none of the headers, and has no cookies that another site could use.
            if not is_own_page(headers, self.settings.app_url):
                raise AppError(403, "This was asked for by another site. Do it on the pages of the app itself.")
            if method == "POST" and (path == NEWCOMERS or GUESTS.fullmatch(path)):
                self._newcomers.admit(client)

    def _check_entrance(self, headers: dict[str, str]) -> None:
        header, password = self.settings.app_proxy_header, self.settings.app_password
        if header and not headers.get(header.lower()):
            raise AppError(401, "Come in through the proxy that says who you are.")
        if password is None:
            return
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        try:
            given = base64.b64decode(encoded).partition(b":")[2] if scheme.lower() == "basic" else b""
        except ValueError:
            given = b""
        if not hmac.compare_digest(given, password.get_secret_value().encode()):
            raise AppError(
                401, "This app asks for a password.", {"WWW-Authenticate": 'Basic realm="spotify_dag", charset="UTF-8"'}
            )

    def _seconds(self, scope: Scope) -> float:
        # Deleting a user waits for runs, and looks through everything: it is not to be cut off.
        uploads = scope["method"] == "DELETE" or (scope["method"] == "POST" and _is_upload(scope["path"]))
        return self.settings.app_upload_seconds if uploads else self.settings.app_request_seconds

    def _bounded(self, scope: Scope, headers: dict[str, str], receive: Receive, refused: list[AppError]) -> Receive:
        """Return ``receive`` that refuses a body that is too large, as announced or as it comes."""
        most = self.settings.app_max_upload_mb * MB + SMALL_BODY if _is_upload(scope["path"]) else SMALL_BODY
        refusal = AppError(413, f"This is too large: at most {most / MB:,.0f} MB are taken.")
        announced = headers.get("content-length", "0")
        if not announced.isdecimal() or int(announced) > most:
            raise refusal
        come = 0

        async def receiving() -> Message:
            nonlocal come
            message = await receive()
            come += len(message.get("body", b""))
            if come > most:
                refused.append(refusal)
                raise refusal
            return message

        return receiving


def _is_upload(path: str) -> bool:
    return path in (NEWCOMERS, "/gradio_api/upload") or bool(GUESTS.fullmatch(path))


def _check_decodable(scope: Scope) -> None:
    """Raise for an address that is no text: code that reads it later would read something else, or fail."""
    for name, part in (("path", scope["raw_path"]), ("query", scope["query_string"])):
        try:
            unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise AppError(400, f"The {name} of the address is not UTF-8. Encode it as UTF-8.") from None


def client_of(scope: Scope) -> str:
    """Return the address of the client."""
    return str((scope.get("client") or ("unknown", 0))[0])


def _with_headers(headers: Any, path: str) -> list[tuple[bytes, bytes]]:
    present = {name.lower() for name, _ in headers}
    ours = dict(HEADERS)
    if path.startswith(API) or path == "/callback":
        ours["cache-control"] = "no-store"
    more = [(name.encode(), value.encode()) for name, value in ours.items() if name.encode() not in present]
    return [*headers, *more]
