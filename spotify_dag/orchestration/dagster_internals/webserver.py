"""The Dagster UI behind a guard: no page of another site can act in it.

Run as ``python -m spotify_dag.orchestration.dagster_internals.webserver``, with the options of ``dagster-webserver``.

Dagster runs mutations that come by GET, from any page and under any name of this machine. An image of another site is
then enough to delete records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagster_webserver import cli
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from spotify_dag.orchestration.dagster_internals.code_server import ask_less_often
from spotify_dag.settings import Settings
from spotify_dag.web_guard import is_own_host, is_own_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "img-src 'self' data: blob:; form-action 'self'; frame-ancestors 'none'"
"""What Markdown in metadata may load: no image of anybody else. Beside Dagster's own policy."""


class UiGuard:
    """ASGI middleware that refuses what other sites make a browser send, by HTTP and by WebSocket.

    Parameters
    ----------
    app
        Dagster's.
    ui_url
        Where else than at this machine's own address people open the UI.
    """

    def __init__(self, app: ASGIApp, ui_url: str | None) -> None:
        self.app = app
        self.ui_url = ui_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope, dict(Headers(scope=scope).items()))
        if refusal is None:
            await self.app(scope, receive, _with_policy(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refusal[1]})
        else:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str] | None:
        server = (scope.get("server") or (None,))[0]
        if not is_own_host(headers.get("host", ""), server, self.ui_url):
            return 421, "This address is not one of the UI. Open it at 127.0.0.1, or set SPOTIFY_DAG_UI_URL."
        method = scope.get("method", "GET")
        # A link on another page may open the UI. Nothing else of another page may ask for anything.
        opened = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if not is_own_page(headers, self.ui_url) and not opened:
            return 403, "This was asked for by another site. Do it in the UI itself."
        if scope["type"] == "http" and scope["path"].endswith("/graphql"):
            if method != "POST":
                return 405, "Questions are sent by POST."
            if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
                return 415, "Questions are sent as application/json."
        return None


def _with_policy(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"content-security-policy", POLICY.encode())]
        await send(message)

    return sending


def main() -> None:
    """Serve the UI with the guard around it."""
    make, ui_url = cli.create_app_from_workspace_process_context, Settings().ui_url

    def guarded(*arguments: Any, **options: Any) -> UiGuard:
        return UiGuard(make(*arguments, **options), ui_url)

    # Dagster has no option for a middleware: its command takes the application by this name.
    cli.create_app_from_workspace_process_context = guarded  # type: ignore[assignment]
    ask_less_often()
    cli.main()


if __name__ == "__main__":
    main()
