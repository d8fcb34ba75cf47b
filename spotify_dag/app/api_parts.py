"""What several parts of the API need: answers as JSON, and parameters that mean the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
from fastapi import Header, Path, Query, Request
from fastapi.responses import JSONResponse

from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.playlist_answers import AnswerForm
from spotify_dag.settings import Settings

FORM = "json, or the list of tracks as a file"
ListForm = Annotated[AnswerForm, Query(alias="format", description=FORM)]
UserId = Annotated[str, Path(max_length=500, description="User id", examples=["synthetic-000007"])]
Token = Annotated[str | None, Header(alias=TOKEN_HEADER, max_length=2_000, description="The token given with a file")]
"""Read from the request itself; named here for the description of the API."""


def address_of(request: Request, settings: Settings) -> str:
    """Return where the app is for others: what the operator says, else where it was asked."""
    return settings.app_url or str(request.base_url).rstrip("/")


class Json(JSONResponse):
    """JSON, written by orjson."""

    def render(self, content: Any) -> bytes:
        """Return it as bytes."""
        return orjson.dumps(content)
