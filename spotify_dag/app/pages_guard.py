"""Let through to Gradio only what the pages send. Gradio answers to much more.

Gradio downloads any address it finds in what a page sends. It fails at functions, pages and values that do not exist.
The pages need few of its routes and send few forms of values, so everything else is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from spotify_dag.app.problems import AppError, problem_of
from spotify_dag.tracks.blend_answers import MOST_TRACKS

if TYPE_CHECKING:
    import gradio as gr
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

DATA = "/gradio_api/queue/data"
ROUTES = {"/": ("GET", "HEAD"), "/theme.css": ("GET",), DATA: ("GET",), "/gradio_api/queue/join": ("POST",)}
FOLDERS = ("/assets/", "/static/", "/gradio_api/heartbeat/")
"""Of these, everything may be read."""
OTHER_PAGES = {"page", "deep_link"}
"""Parameters by which Gradio looks for a page that somebody saved, or for another one."""
STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class UploadEvent(BaseModel):
    """What the page of files tells: which job reads its file."""

    model_config = STRICT

    job: str = Field(max_length=100)


class BlendEvent(BaseModel):
    """What the page of blends tells: which blend is to be made a list, and how."""

    model_config = STRICT

    code: str = Field(max_length=100)
    tracks: float = Field(ge=1, le=MOST_TRACKS)
    known: float = Field(ge=0, le=1)
    without: str = Field(max_length=2_000)


class TabEvent(BaseModel):
    """What a tab tells that is opened."""

    model_config = STRICT

    index: int
    value: str = Field(max_length=100)


class PageEvent(BaseModel):
    """One event of a page: which function, with which values."""

    model_config = STRICT

    session_hash: str = Field(min_length=1, max_length=100)
    fn_index: int
    trigger_id: int | None = None
    event_data: UploadEvent | BlendEvent | TabEvent | None = None
    data: list[str | bool | int | float | None]


class PagesGuard:
    """ASGI middleware around Gradio: refuses what no page sends.

    Parameters
    ----------
    app
        Gradio's.
    blocks
        The pages.
    """

    def __init__(self, app: ASGIApp, blocks: gr.Blocks) -> None:
        self.app = app
        self._values: Mapping[int, TypeAdapter[Any]] = {index: _values(fn.inputs) for index, fn in blocks.fns.items()}
        self._queue = blocks._queue
        _survive_lost_sessions(self._queue)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through that a page could have sent; answer another one with a problem."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check_route(scope)
            if scope["method"] == "POST":
                body = await _whole(receive)
                if body is None:
                    return
                receive = _again(self._checked(body), receive)
        except AppError as error:
            await problem_of(error)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check_route(self, scope: Scope) -> None:
        path, method = scope["path"], scope["method"]
        methods = ("GET", "HEAD") if path.startswith(FOLDERS) else ROUTES.get(path)
        if methods is None:
            raise AppError(404, "There is no such page. Files go to /api/v1/users.")
        if method not in methods:
            raise AppError(405, f"{method} is not for this path.", {"Allow": ", ".join(methods)})
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if path == "/" and (others := OTHER_PAGES & asked.keys()):
            raise AppError(404, f"There is one page. Leave {min(others)} out of the address.")
        sessions = asked.get("session_hash", [])
        if path == DATA and not all(session in self._queue.pending_messages_per_session for session in sessions):
            raise AppError(404, "This page asked for nothing here. Reload it.")

    def _checked(self, body: bytes) -> bytes:
        """Return an event, without what does not belong to it.

        Raises
        ------
        AppError
            If it is none, or its function does not take such values.
        """
        try:
            event = PageEvent.model_validate_json(body)
            values = self._values.get(event.fn_index)
            if values is None:
                raise AppError(422, f"fn_index {event.fn_index}: the pages have no such function. Reload the page.")
            values.validate_python(tuple(event.data))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            place = ".".join(str(part)[:100] for part in first["loc"]) or "the body"
            raise AppError(
                422, f"{place}: {first['msg']}. The pages send no such thing, and no files: /api/v1/users takes files."
            ) from None
        return event.model_dump_json().encode()


def _values(components: Iterable[Any]) -> TypeAdapter[Any]:
    """Return the check of the values that some components send, in order."""
    values: Any = tuple
    return TypeAdapter(values[tuple(_form(component) for component in components)], config=STRICT)


def _form(component: Any) -> Any:
    """Return the type of the values that a component sends."""
    import gradio as gr

    if isinstance(component, gr.Textbox):
        return Annotated[str, Field(max_length=component.max_length)]
    if isinstance(component, gr.Slider):
        return Annotated[float, Field(ge=component.minimum, le=component.maximum)]
    if isinstance(component, gr.Checkbox):
        return bool
    raise TypeError(f"{type(component).__name__}: say here which values it sends.")


async def _whole(receive: Receive) -> bytes | None:
    """Return the body of a request; None if the client left. `guard.Guard` bounds its size."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return ``receive`` that begins with this body."""
    given = False

    async def receiving() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receiving


def _survive_lost_sessions(queue: Any) -> None:
    """Keep the queue alive when an event waits whose page has gone.

    Gradio tells every waiting event its place. It forgets a session whose stream was cut off, and keeps 2,000 of them.
    Telling a forgotten one raises in the loop that works for all pages, which then stops.
    """
    tell = queue.send_message

    def tell_if_there(event: Any, message: Any) -> None:
        if event.session_hash in queue.pending_messages_per_session:
            tell(event, message)
        else:
            event.alive = False

    queue.send_message = tell_if_there
