"""Every error the app answers with, as problem details (RFC 9457): the thing, the value and the remedy."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from spotify_dag.errors import SpotifyDagError
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.sources.base import ResumeLaterError, SourceError
from spotify_dag.sources.listenbrainz.names import ListenBrainzNameError
from spotify_dag.sources.service_errors import GoneError, ServiceError
from spotify_dag.sources.spotify.names import UserNameError
from spotify_dag.sources.spotify.spotify_errors import LoginExpiredError, WrongItemsError
from spotify_dag.stores.model_registry import NoModelError
from spotify_dag.tracks.weekly_lists import WeeklyListError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from fastapi.responses import Response

MEDIA_TYPE = "application/problem+json"
MOST_INPUT = 60
"""Characters of a wrong value that are said again."""
log = logging.getLogger(__name__)


class AppError(SpotifyDagError):
    """A request that is refused: with which status, and what the client is told."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = "about:blank"
    title: str = Field(description="The status in words")
    status: int
    detail: str = Field(description="What is wrong, and what to do")


_STATUS: tuple[tuple[type[SpotifyDagError], int], ...] = (
    (UnknownUserError, 404),
    (WeeklyListError, 404),
    (GoneError, 404),
    (NoModelError, 503),
    (ResumeLaterError, 503),
    (LoginExpiredError, 401),
    (WrongItemsError, 422),
    (UserNameError, 422),
    (ListenBrainzNameError, 422),
    (SourceError, 422),
    (ServiceError, 502),
)
"""The first that fits; whatever else somebody can mend is 422."""


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a problem as an answer."""
    from fastapi.responses import Response

    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail)
    return Response(content.model_dump_json(), status, headers, MEDIA_TYPE)


def problem_of(error: SpotifyDagError) -> Response:
    """Return an error as an answer."""
    status, headers = status_of(error)
    return problem(status, str(error), headers)


def status_of(error: SpotifyDagError) -> tuple[int, dict[str, str]]:
    """Return with which status, and which headers, an error is answered."""
    if isinstance(error, AppError):
        return error.status, error.headers
    if isinstance(error, ResumeLaterError):
        return 503, {"Retry-After": str(max(1, math.ceil(error.at - time.time())))}
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 422), {}


def wrong_value(error: Mapping[str, Any], place: Sequence[Any]) -> str:
    """Return what is wrong with a value: where it is, what it is, and why it cannot be."""
    value = error.get("input")
    said = f" is {str(value)[:MOST_INPUT]!r}" if isinstance(value, str | int | float | bool) else ""
    return f"{'.'.join(str(part) for part in place) or 'the request'}{said}: {error['msg']}"


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that an operation may answer with, for its description; some concern all of them."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*statuses, 400, 401, 403, 413, 422, 429, 500, 503})
    }


def add_handlers(app: FastAPI) -> None:
    """Make an app answer every error with a problem."""
    from fastapi.exceptions import RequestValidationError
    from starlette.exceptions import HTTPException

    def known(request: Request, error: SpotifyDagError) -> Response:
        return problem_of(error)

    def http(request: Request, error: HTTPException) -> Response:
        return problem(error.status_code, str(error.detail), error.headers)

    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return problem(422, f"{wrong_value(first, first['loc'][1:])}. See /api/v1/docs.")

    def unforeseen(request: Request, error: Exception) -> Response:
        log.error("A request failed.", exc_info=error)
        return problem(500, "Something went wrong here. It is in the log of the app.")

    app.add_exception_handler(SpotifyDagError, known)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, http)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, invalid)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, unforeseen)
