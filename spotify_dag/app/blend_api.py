"""The part of the API about blends that people join by a link."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, File, Form, Header, Path, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.app import api_models
from spotify_dag.app.api_parts import Json, ListForm, Token
from spotify_dag.app.guard import API, client_of
from spotify_dag.app.playlist_answers import DESCRIBED, playlist_file
from spotify_dag.app.problems import documented
from spotify_dag.app.service import Service
from spotify_dag.tracks.blend_answers import BlendWish

BlendCode = Annotated[str, Path(max_length=100, description="Code of the blend")]
BlendKey = Annotated[str, Header(alias="X-Blend-Key", max_length=100, description="The key that came with the code")]


class OpenedBlend(BaseModel):
    """A blend that people can join."""

    code: str = Field(description="Who has it may look, join and ask for the list")
    link: str = Field(description="Path of the page where people join")
    key: str = Field(description="Ends the blend, in the header `X-Blend-Key`; keep it to yourself")
    expires_at: str = Field(description="When it is over, and nothing of it is left")


class RoomPersonAnswer(BaseModel):
    """Somebody in a blend."""

    name: str
    kind: Literal["file", "user"] = Field(description="file: a guest, of whom no file is kept")


class OpenBlendAnswer(BaseModel):
    """Who is in a blend; of what they listen to, nothing."""

    people: list[RoomPersonAnswer] = Field(description="In the order in which they joined")
    expires_at: str


class JoinedAnswer(BaseModel):
    """Somebody who joined a blend."""

    name: str
    key: str = Field(description="Lets this person leave; keep it to yourself")
    items: int = Field(description="Playlist items that were read", ge=0)
    known: int = Field(description="Tracks of them that are known here", ge=0)


class LeftAnswer(BaseModel):
    """Somebody who left a blend; nothing of them is held any more."""

    name: str


class EndedBlendAnswer(BaseModel):
    """A blend that was ended."""

    people: int = Field(description="How many were in it", ge=0)


class RoomUser(BaseModel):
    """A user who joins a blend."""

    model_config = ConfigDict(extra="forbid")

    user_id: str = Field(min_length=1, max_length=500)


def guest_blends(service: Service) -> APIRouter:
    """Return the routes of blends that people join by a link."""
    router = APIRouter(prefix=f"{API}/blends", default_response_class=Json, responses=documented(404))
    blends = service.guest_blends

    @router.post("", status_code=201, response_model=OpenedBlend)
    async def open_blend(request: Request) -> Response:
        """Open a blend that people can join by a link, with files of theirs too; it is over after some hours."""
        answer = await service.heavy.run(blends.open, client_of(request.scope))
        return Json(answer, 201, {"Location": f"{API}/blends/{answer['code']}"})

    @router.get("/{code}", response_model=OpenBlendAnswer)
    async def who_is_in(code: BlendCode) -> Response:
        """Return who is in a blend."""
        return Json(blends.told(code))

    @router.post("/{code}/list", response_model=api_models.BlendAnswer, responses={200: DESCRIBED})
    async def list_of_blend(code: BlendCode, asked: BlendWish, form: ListForm = "json") -> Response:
        """Return one list for all who are in a blend: the least satisfied of them is satisfied most."""
        answer = await service.heavy.run(blends.listed, code, asked)
        return Json(answer) if form == "json" else playlist_file("Blend", answer["tracks"], form)

    @router.delete("/{code}", response_model=EndedBlendAnswer)
    async def end_blend(code: BlendCode, key: BlendKey) -> Response:
        """End a blend; only for who opened it. Nothing of it is left."""
        return Json({"people": blends.rooms.close(code, key)})

    @router.post("/{code}/files", status_code=201, response_model=JoinedAnswer, responses=documented(404, 408, 409))
    async def join_by_files(
        request: Request,
        code: BlendCode,
        file: Annotated[list[UploadFile], File(description="What one person exported: CSV, JSON or zip")],
        name: Annotated[str, Form(max_length=200, description="What to call the guest")] = "",
    ) -> Response:
        """Join a blend by files that one exported. Nothing is kept after the blend."""
        files = [(part.filename or "", part.file) for part in file]
        begin = partial(blends.join_by_files, code, files, name, client=client_of(request.scope))
        joining = await service.heavy.run(begin)
        return Json(await joining.end_async(), 201)

    @router.post("/{code}/users", status_code=201, response_model=JoinedAnswer, responses=documented(404, 409))
    async def join_as_user(request: Request, code: BlendCode, asked: RoomUser, token: Token = None) -> Response:
        """Let a user join who is shown, or proves who they are."""
        proven = service.identity.proven(request)
        return Json(await service.heavy.run(blends.join_as_user, code, asked.user_id, proven), 201)

    @router.delete("/{code}/people/{key}", response_model=LeftAnswer)
    async def leave(code: BlendCode, key: Annotated[str, Path(max_length=100)]) -> Response:
        """Leave a blend by the key that came with joining; what was held of somebody is gone."""
        return Json({"name": blends.rooms.leave(code, key)})

    return router
