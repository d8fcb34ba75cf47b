"""The API under ``/api/v1``: what anybody may ask, and what only the user themselves may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, File, Form, Path, Query, Request, Response, UploadFile
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field

from spotify_dag.app import api_models, my_data
from spotify_dag.app.account_playlists import NewPlaylist
from spotify_dag.app.api_parts import FORM, Json, ListForm, Token, UserId
from spotify_dag.app.background_jobs import Job, follow_async
from spotify_dag.app.blend_api import guest_blends
from spotify_dag.app.card_api import user_cards
from spotify_dag.app.guard import API, client_of
from spotify_dag.app.login_api import login_routes
from spotify_dag.app.playlist_answers import DESCRIBED, AnswerForm, playlist_file
from spotify_dag.app.problems import AppError, documented
from spotify_dag.app.service import Service, Wish
from spotify_dag.app.track_questions import BlendRequest, Continuation, TrackSearch
from spotify_dag.lifecycle.change_preferences import preferences_answer, set_wish
from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.playlists_out.forms import FormName
from spotify_dag.stores.preferences import Preference
from spotify_dag.tracks.continuation import DIVERSITY
from spotify_dag.tracks.tracks_for import MOST_SUGGESTED, SuggestWish

TrackId = Annotated[str, Field(max_length=500)]
MOST_LISTED = 500
"""Tracks of a list that is downloaded; a form has at most 1,000 fields."""


def _job(request: Request, job_id: Annotated[str, Path(max_length=100)]) -> Job:
    job: Job = request.app.state.service.jobs.find(job_id)
    return job


FoundJob = Annotated[Job, Depends(_job)]


class SearchInForm(TrackSearch):
    """What to search for, and in which form the answer is to be."""

    form: AnswerForm = Field("json", alias="format", description=FORM)


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the API and what belongs to it."""
    app.include_router(_answers(service), tags=["answers"])
    app.include_router(_newcomers(service), tags=["new users"])
    for own in (_own_taste, _own_tracks, _own_data):
        app.include_router(own(service), tags=["my data"])
    app.include_router(_tracks(service), tags=["tracks"])
    app.include_router(guest_blends(service), tags=["blends with guests"])
    app.include_router(user_cards(service), tags=["cards"])
    app.include_router(_health(service, API), tags=["operations"])
    app.include_router(_health(service, ""), include_in_schema=False)
    app.include_router(login_routes(service), include_in_schema=False)


def _answers(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))

    @router.get("/users/{user_id}/matches", response_model=api_models.MatchesAnswer)
    async def matches(
        request: Request,
        user_id: UserId,
        asked: Annotated[api_models.MatchesQuestion, Query()],
        token: Token = None,
    ) -> Response:
        """Return the users who listen most like one, and why."""
        proven = service.identity.proven(request)
        if asked.min_shared:
            return Json(await service.heavy.run(service.matches, user_id, asked.k, asked.min_shared, proven))
        return Json(await service.matches_together(user_id, asked.k, proven))

    @router.get("/listeners", response_model=api_models.ListenersAnswer)
    def listeners(asked: Annotated[api_models.ListenersQuestion, Query()]) -> Response:
        """Return users who agreed to be shown, to choose from; without a text, examples of different tastes."""
        return Json(service.listeners(asked.q, asked.k))

    @router.get("/compare", response_model=api_models.CompareAnswer)
    def compare(
        request: Request, asked: Annotated[api_models.CompareQuestion, Query()], token: Token = None
    ) -> Response:
        """Return what two users have in common, and what each has that the other has not."""
        return Json(service.compare(asked.a, asked.b, asked.limit, service.identity.proven(request)))

    @router.get(
        "/compare.png",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}, "description": "A picture to share"}},
    )
    async def picture(
        request: Request, asked: Annotated[api_models.PairQuestion, Query()], token: Token = None
    ) -> Response:
        """Return the comparison of two users as a picture to share."""
        drawn = await service.drawing.run(service.picture, asked.a, asked.b, service.identity.proven(request))
        return Response(drawn, media_type="image/png")

    @router.get("/map", response_model=api_models.MapAnswer)
    async def taste_map() -> Response:
        """Return all users who are shown, on a plane where neighbours have similar taste."""
        return Json(await service.heavy.run(lambda: service.serving.snapshot().taste_map))

    return router


def _newcomers(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, responses=documented(404, 408, 502))

    @router.post("/users", status_code=202, response_model=api_models.JobAnswer, response_class=Json)
    async def add_user(
        request: Request,
        profile: Annotated[
            str | None, Form(max_length=500, description="Profile URL, URI or id of a user of Spotify")
        ] = None,
        file: Annotated[
            list[UploadFile] | None, File(description="What one person exported: CSV, JSON or zip; one or several")
        ] = None,
        consent: Annotated[bool, Form(description="Keep it, and show me to others")] = False,
        k: Annotated[int, Form(ge=1, le=api_models.MOST_MATCHES)] = 10,
        min_shared: Annotated[int, Form(ge=0, le=1_000)] = 0,
        top_artist_count: Annotated[int | None, Form(ge=1, le=1_000, description="On both sides")] = None,
        playlists_count: Annotated[int | None, Form(ge=1, le=10_000, description="On both sides")] = None,
        token: Token = None,
    ) -> Response:
        """Begin to find the people of somebody new. Without consent nothing is kept once the answer is there."""
        if (profile is None) == (not file):
            raise AppError(422, "Send either profile, or file.")
        wish = Wish(k, min_shared, consent, top_artist_count, playlists_count)
        again, client = service.identity.given_token(request), client_of(request.scope)
        if profile is not None:
            job = service.add_profile(profile, wish, login=service.identity.session(request), client=client)
        else:
            files = [(part.filename or "", part.file) for part in file or ()]
            # Copying a large file must not keep everybody else waiting.
            job = await service.heavy.run(lambda: service.add_files(files, wish, client=client, user_id=again))
        path = f"{API}/jobs/{job.id}"
        return Json({"job": job.id, "events": path}, 202, {"Location": path})

    @router.get(
        "/jobs/{job_id}",
        response_class=EventSourceResponse,
        responses={
            200: {
                "description": "Events `progress`, then one of `result` or `problem`, each with JSON as its data",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def follow(job: FoundJob) -> AsyncIterator[ServerSentEvent]:
        """Follow what was begun, from its beginning to its end. Without anybody who follows it is soon given up."""
        told = 0
        async for name, data in follow_async(job):
            yield ServerSentEvent(data=data, event=name, id=str(told))
            told += 1

    return router


def _own_taste(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))

    @router.get("/users/{user_id}", response_model=api_models.StoredAnswer)
    async def stored(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Return what is stored of a user and where it came from; only to the user themselves."""
        service.identity.require(request, user_id)
        return Json(await service.heavy.run(my_data.overview, service.project, user_id))

    @router.get("/users/{user_id}/taste", response_model=api_models.TasteAnswer)
    async def taste(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Return how the taste of a user changed, by month or year; only to the user themselves."""
        service.identity.require(request, user_id)
        project = service.project
        return Json(await service.heavy.run(taste_over_time, project.lake, project.preferences, user_id))

    @router.get("/users/{user_id}/preferences", response_model=api_models.PreferencesAnswer)
    async def preferences(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Return what a user leaves out and said of tracks; only to the user themselves."""
        service.identity.require(request, user_id)
        return Json(await service.heavy.run(preferences_answer, service.project, user_id))

    @router.post("/users/{user_id}/preferences", response_model=api_models.PreferencesAnswer)
    async def change_preferences(
        request: Request, user_id: UserId, change: api_models.PreferencesChange, token: Token = None
    ) -> Response:
        """Leave out artists, genres and playlists, say what one thinks of tracks, or undo it; it counts at once."""
        service.identity.require(request, user_id)
        add, remove = ([Preference(it.kind, it.name) for it in some] for some in (change.add, change.remove))
        return Json(await service.heavy.run(service.change_preferences, user_id, add, remove))

    return router


def _own_tracks(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))

    @router.get("/users/{user_id}/tracks", response_model=api_models.SuggestedAnswer, responses={200: DESCRIBED})
    async def suggest(
        request: Request,
        user_id: UserId,
        count: Annotated[int, Query(ge=1, le=MOST_SUGGESTED)] = 50,
        popularity: Annotated[float, Query(ge=-1, le=1)] = 0.0,
        diversity: Annotated[float, Query(ge=0, le=1)] = DIVERSITY,
        form: ListForm = "json",
        token: Token = None,
    ) -> Response:
        """Return tracks that a user does not have, and why; only to the user themselves."""
        service.identity.require(request, user_id)
        wish = SuggestWish(count=count, popularity=popularity, diversity=diversity)
        answer = await service.heavy.run(service.tracks.suggested, user_id, wish, service.serving.snapshot())
        return Json(answer) if form == "json" else playlist_file("Tracks for me", answer["tracks"], form)

    @router.get("/users/{user_id}/weekly", response_model=api_models.WeeklyAnswer, responses={200: DESCRIBED})
    async def weekly(
        request: Request,
        user_id: UserId,
        week: Annotated[str | None, Query(max_length=20, description="Its Monday; the latest without")] = None,
        form: ListForm = "json",
        token: Token = None,
    ) -> Response:
        """Return the list of new tracks that was made for a Monday; only to the user themselves."""
        service.identity.require(request, user_id)
        answer = await service.heavy.run(service.tracks.weekly, user_id, week)
        return Json(answer) if form == "json" else playlist_file(f"Monday {answer['week']}", answer["tracks"], form)

    @router.put("/users/{user_id}/weekly", response_model=api_models.EveryWeekAnswer)
    async def every_week(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Have a list of new tracks made every Monday; only the user themselves may ask for it."""
        service.identity.require(request, user_id)
        await service.heavy.run(set_wish, service.project, service.project.inbox.weekly, user_id, True)
        return Json({"user_id": user_id, "every_week": True})

    @router.delete("/users/{user_id}/weekly", response_model=api_models.EveryWeekAnswer)
    async def no_week(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Have no list made any more; only the user themselves may ask for it."""
        service.identity.require(request, user_id)
        await service.heavy.run(set_wish, service.project, service.project.inbox.weekly, user_id, False)
        return Json({"user_id": user_id, "every_week": False})

    return router


def _own_data(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))

    @router.get(
        "/users/{user_id}/data",
        response_class=Response,
        responses={
            200: {
                "description": "All rows of all tables and of the inbox as JSON, or the playlist items as CSV",
                "content": {"application/json": {"schema": {"type": "object"}}, "text/csv": {}},
            }
        },
    )
    async def download(
        request: Request,
        user_id: UserId,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
        token: Token = None,
    ) -> Response:
        """Return all that is stored of a user, to take away; only to the user themselves."""
        service.identity.require(request, user_id)
        named = {"Content-Disposition": f'attachment; filename="spotify_dag.{form}"'}
        if form == "csv":
            rows = await service.heavy.run(my_data.as_csv, service.project, user_id)
            return Response(rows, headers=named, media_type="text/csv")
        return Json(await service.heavy.run(my_data.everything, service.project, user_id), headers=named)

    @router.delete("/users/{user_id}", response_model=api_models.ForgottenAnswer)
    async def forget(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Delete everything there is of a user; only the user themselves may ask for it."""
        service.identity.require(request, user_id)
        return Json({"user_id": user_id, "deleted": await service.heavy.run(service.forget, user_id)})

    return router


def _tracks(service: Service) -> APIRouter:
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))

    @router.get("/search", response_model=api_models.TracksAnswer, responses={200: DESCRIBED})
    async def search(asked: Annotated[SearchInForm, Query()]) -> Response:
        """Find songs; typos do not matter."""
        answer = await service.heavy.run(service.tracks.search, asked)
        return Json(answer) if asked.form == "json" else playlist_file(asked.q, answer["tracks"], asked.form)

    @router.post("/continue", response_model=api_models.ContinueAnswer, responses={200: DESCRIBED})
    async def continue_playlist(
        asked: Continuation, request: Request, form: ListForm = "json", token: Token = None
    ) -> Response:
        """Say how a playlist goes on, and why; seeds never come back, nor what is not for the user who asks."""
        answer = await service.heavy.run(service.tracks.continued, asked, service.identity.proven(request))
        if form == "json":
            return Json(answer)
        return playlist_file(asked.title or asked.mood or "", answer["recommendations"], form)

    @router.post("/blend", response_model=api_models.BlendAnswer, responses={200: DESCRIBED})
    async def blend(asked: BlendRequest, request: Request, form: ListForm = "json", token: Token = None) -> Response:
        """Return one list for 2 to 20 users: the least satisfied of them is satisfied most."""
        snapshot, proven = service.serving.snapshot(), service.identity.proven(request)
        answer = await service.heavy.run(service.tracks.blended, asked, snapshot, proven)
        return Json(answer) if form == "json" else playlist_file("Blend", answer["tracks"], form)

    @router.post("/lists", response_class=Response, responses={200: DESCRIBED})
    async def take_away(
        tracks: Annotated[list[TrackId], Form(min_length=1, max_length=MOST_LISTED, description="Ids, in order")],
        title: Annotated[str, Form(max_length=500)] = "",
        form: Annotated[FormName, Form(alias="format")] = "csv",
    ) -> Response:
        """Return tracks of the catalogue as a file; ids that it does not have are left out."""
        listed = await service.heavy.run(service.tracks.listed, tracks)
        if not listed:
            raise AppError(404, f"None of the tracks is here; the first is '{tracks[0][:80]}'. Ask for the list anew.")
        return playlist_file(title, listed, form)

    @router.post("/playlists", response_model=api_models.AddedAnswer, responses=documented(404, 409, 502))
    async def add_playlist(asked: NewPlaylist, request: Request) -> Response:
        """Make a list of tracks a private playlist of your account, or complete the one that it is already."""
        account, session = service.account_playlists, service.identity.session(request)
        return Json(await account.work.run(account.add, asked, session))

    return router


def _health(service: Service, prefix: str) -> APIRouter:
    router = APIRouter(prefix=prefix, default_response_class=Json, responses=documented())

    @router.get("/healthz", response_model=api_models.HealthAnswer)
    async def alive() -> Response:
        """Say that the process answers."""
        return Json({"status": "alive"})

    @router.get("/readyz", response_model=api_models.HealthAnswer)
    async def ready() -> Response:
        """Say that questions can be answered."""
        snapshot = service.serving.snapshot()
        users = await service.heavy.run(lambda: snapshot.users)
        # Of all users, those on the map taken off would be the private ones: how many they are is told to nobody.
        return Json({"status": "ready", "model_version": snapshot.model_version, "users": users})

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Return Prometheus metrics."""
        text, media_type = service.telemetry.text()
        return Response(text, headers={"Content-Type": media_type})

    return router


def add_otherwise(app: FastAPI) -> None:
    """Answer what else is asked for under the root of the API, so that no page does."""

    @app.api_route(
        f"{API}/{{rest:path}}", methods=["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"],
        include_in_schema=False,
    )  # fmt: skip
    async def otherwise(request: Request) -> Response:
        if methods := _methods(request.url.path, app):
            raise AppError(405, f"{request.method} is not for this path. See {API}/docs.", {"Allow": methods})
        raise AppError(404, f"There is nothing here. See {API}/docs.")


def _methods(path: str, app: FastAPI) -> str:
    """Return the methods that are for a path."""
    from starlette.routing import compile_path

    operations = app.openapi()["paths"].items()
    fitting = [methods for template, methods in operations if compile_path(template)[0].match(path)]
    return ", ".join(sorted({method.upper() for methods in fitting for method in methods}))
