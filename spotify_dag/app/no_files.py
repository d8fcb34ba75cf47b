"""Keep Gradio from fetching what a request names: no component of the pages takes a file.

Gradio looks for files anywhere in what a page sends, and downloads those that are addresses. Files are handed in at the
API instead, which reads addresses and never fetches one.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import orjson

from spotify_dag.app.problems import AppError, problem_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES = "/gradio_api/"
CLOSED = tuple(
    f"{PAGES}{name}"
    for name in (
        "upload", "proxy", "run", "call", "api", "file", "stream", "component_server", "custom_component", "deep_link",
        "process_recording", "vibe", "undo-vibe", "dev", "token",
    )
)  # fmt: skip
"""Ways in that the pages do not use."""
DEEPEST = 20
"""Levels of what the pages send: Gradio goes through it by recursion."""


class NoFiles:
    """ASGI middleware: refuses what names a file to Gradio."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through that names none."""
        if scope["type"] != "http" or not scope["path"].startswith(PAGES):
            await self.app(scope, receive, send)
            return
        if scope["path"].startswith(CLOSED):
            await problem_of(AppError(404, "Not here. Files go to /api/v1/users."))(scope, receive, send)
            return
        if scope["method"] != "POST":
            await self.app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            named = _names_a_file(orjson.loads(body or b"null"))
        except orjson.JSONDecodeError:
            named = True
        if named:
            await problem_of(AppError(422, "The pages take no files. Send them to /api/v1/users."))(
                scope, receive, send
            )
            return
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, again, send)


def _names_a_file(value: Any) -> bool:
    """Return whether a value names a file, or is nested so deeply that nobody can tell."""
    level = [value]
    for _ in range(DEEPEST):
        if not level:
            return False
        # However it is marked: nothing the pages send has a path or an address.
        if any({"path", "url", "meta"} & one.keys() for one in level if isinstance(one, dict)):
            return True
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = list(chain.from_iterable(inner))
    return True
