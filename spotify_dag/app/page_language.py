"""Sends Gradio's page in the visitor's language. Gradio makes one page for all of them, with marks for its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.requests import Request

from spotify_dag.app.texts import LANGUAGES, Texts, filled, texts_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE = "/"
_BEGINNING = f'lang="{LANGUAGES[0]}"'


class PageLanguage:
    """ASGI middleware around Gradio.

    Gradio can translate by itself: in the browser, by another choice of the language than that of the answers, and
    neither scripts nor templates. So it is done here, once for all of the page.

    Parameters
    ----------
    app
        Gradio's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the page in a language; let another one through."""
        if scope["type"] != "http" or scope["path"] != PAGE:
            await self.app(scope, receive, send)
            return
        say, body = texts_of(Request(scope)), b""
        start: Message = {}

        async def sending(message: Message) -> None:
            nonlocal body
            if message["type"] == "http.response.start":
                start.update(message)
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                content = in_language(body.decode(), say).encode()
                headers = MutableHeaders(raw=start["headers"])
                headers["content-length"] = str(len(content))
                headers["content-language"] = say.language
                headers.add_vary_header("accept-language")
                await send(start)
                await send({"type": "http.response.body", "body": content})

        await self.app(scope, receive, sending)


def in_language(page: str, say: Texts) -> str:
    """Return Gradio's page in a language; what Gradio itself says is in that language, too, where it knows it."""
    told = f"Object.defineProperty(navigator, 'language', {{ value: '{say.language}' }})"
    page = page.replace(_BEGINNING, f'lang="{say.language}"', 1)
    return filled(page.replace("<head>", f"<head><script>{told}</script>", 1), say)
