"""The endpoints: those of the Web API under ``/v1``, logging in, and the simulator's own under ``/simulator``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field
from starlette.datastructures import URL
from starlette.exceptions import HTTPException

from spotify_dag.simulator import auth, lastfm_api, listenbrainz_api
from spotify_dag.simulator.api_call import (
    ITEMS_LIMIT,
    MODIFY_PRIVATE,
    MODIFY_PUBLIC,
    SEARCH_DEPTH,
    TRACKS_LIMIT,
    Api,
    ApiError,
    Count,
    EitherMode,
    ExtendedOnly,
    Fields,
    Limit,
    Offset,
    api_of,
    number_of,
    numbers_of,
)
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.listenbrainz_api import ListenBrainzError
from spotify_dag.simulator.objects import Json, snapshot_id
from spotify_dag.simulator.wire import Traffic, WireMiddleware
from spotify_dag.simulator.world import EDITORIAL_OWNER, Playlist, chance

v1 = APIRouter(prefix="/v1")


@v1.get("/me")
def get_me(call: EitherMode) -> Response:
    """Return the user who is logged in."""
    return call.reply(call.objects.private_user(call.world.user_id(call.me()), call.grant.scopes))


@v1.get("/me/playlists")
def get_my_playlists(call: EitherMode, limit: Limit = 20, offset: Offset = 0) -> Response:
    """List the playlists the logged-in user made, collaborates on or follows."""
    user = call.me("playlist-read-private")
    return call.reply(call.playlist_page(call.world.listed(user), limit, offset))


class NewPlaylist(BaseModel):
    """What a new playlist is to be."""

    name: str = Field(min_length=1, max_length=100)
    description: str = Field("", max_length=300)
    public: bool = True
    collaborative: bool = False


@v1.post("/me/playlists")
def make_playlist(call: EitherMode, asked: NewPlaylist) -> Response:
    """Make an empty playlist of the logged-in user."""
    user = call.me(MODIFY_PUBLIC if asked.public else MODIFY_PRIVATE)
    made = call.world.make(user, asked.name, asked.description, public=asked.public)
    url = URL(f"{call.root}/playlists/{call.world.playlist_ids.id_of(made.number)}/items")
    page = call.item_page(made, ITEMS_LIMIT, 0, ("item",), url)
    tracks = None if call.api.development else page
    return call.reply(call.objects.playlist(made, items=page, tracks=tracks), status=201)


@v1.get("/me/tracks")
def get_my_tracks(call: EitherMode, limit: Limit = 20, offset: Offset = 0) -> Response:
    """List the tracks the logged-in user saved."""
    user = call.me("user-library-read")
    saved = call.world.library(user)
    return call.reply(
        call.page(len(saved), limit, offset, lambda place: call.objects.saved_track(user, place, int(saved[place])))
    )


@v1.get("/me/top/{type}")
def get_my_top(
    call: EitherMode,
    what: Annotated[Literal["artists", "tracks"], Path(alias="type")],
    time_range: Literal["short_term", "medium_term", "long_term"] = "medium_term",
    limit: Limit = 20,
    offset: Offset = 0,
) -> Response:
    """List the most heard tracks or artists of the logged-in user."""
    top = call.world.top(call.me("user-top-read"), what, time_range)

    def make(place: int) -> Json:
        number = int(top[place])
        return call.objects.track(number) if what == "tracks" else call.objects.artist(number, call.faults)

    return call.reply(call.page(len(top), limit, offset, make))


@v1.get("/users/{user_id}")
def get_user(call: ExtendedOnly, user_id: str) -> Response:
    """Return what is public about a user."""
    return call.reply(call.objects.user(call.world.user_id(call.user(user_id))))


@v1.get("/users/{user_id}/playlists")
def get_user_playlists(call: ExtendedOnly, user_id: str, limit: Limit = 20, offset: Offset = 0) -> Response:
    """List the public playlists in a user's library."""
    if chance(call.world.source.seed, "others_not_found", user_id) < call.faults.others_not_found:
        raise ApiError(404, "Resource not found")
    if user_id == EDITORIAL_OWNER:
        return call.reply(call.playlist_page(list(range(len(call.world.scenes))), limit, offset))
    listed = call.world.listed(call.user(user_id))
    public = [number for number in listed if call.world.playlist(number).public]
    return call.reply(call.playlist_page(public, limit, offset))


@v1.get("/playlists/{playlist_id}")
def get_playlist(call: EitherMode, playlist_id: str, fields: Fields = None) -> Response:
    """Return a playlist with its first page of items, where they may be read."""
    playlist = call.playlist(playlist_id)
    root = f"{call.root}/playlists/{playlist_id}"
    items = tracks = None
    if call.may_read_items(playlist):
        items = call.item_page(playlist, ITEMS_LIMIT, 0, ("item",), URL(f"{root}/items"))
    if not call.api.development:
        tracks = call.item_page(playlist, TRACKS_LIMIT, 0, ("track",), URL(f"{root}/tracks"))
    return call.reply(call.objects.playlist(playlist, items=items, tracks=tracks), fields)


@v1.get("/playlists/{playlist_id}/items")
def get_playlist_items(
    call: EitherMode, playlist_id: str, limit: Limit = 20, offset: Offset = 0, fields: Fields = None
) -> Response:
    """List the items of a playlist."""
    playlist = call.playlist(playlist_id)
    if not call.may_read_items(playlist):
        raise ApiError(403, "Forbidden")
    names = ("item",) if call.api.development else ("item", "track")
    return call.reply(call.item_page(playlist, limit, offset, names), fields)


class AddedItems(BaseModel):
    """What to add to a playlist, and where; at its end without a place."""

    uris: list[str]
    position: int | None = Field(None, ge=0)


class RemovedItem(BaseModel):
    """What to take out of a playlist, wherever it is on it."""

    uri: str


class RemovedItems(BaseModel):
    """What to take out of a playlist."""

    items: list[RemovedItem]


@v1.post("/playlists/{playlist_id}/items")
def add_playlist_items(
    call: EitherMode,
    playlist_id: str,
    added: AddedItems | list[str],
    position: Annotated[int | None, Query(ge=0)] = None,
) -> Response:
    """Put tracks on a playlist. Like Spotify it takes a bare list, too, and the place in the query."""
    if isinstance(added, list):
        added = AddedItems(uris=added, position=position)
    playlist = call.writable(playlist_id)
    numbers = call.tracks(added.uris)

    def changed(old: Playlist) -> np.ndarray:
        place = len(old.tracks) if added.position is None else added.position
        if place > len(old.tracks):
            raise ApiError(400, "Index out of bounds.")
        return np.insert(old.tracks, place, numbers)

    return call.reply({"snapshot_id": snapshot_id(call.world.edit(playlist.number, changed))}, status=201)


@v1.delete("/playlists/{playlist_id}/items")
def remove_playlist_items(call: EitherMode, playlist_id: str, removed: RemovedItems) -> Response:
    """Take tracks off a playlist, all times that they are on it."""
    playlist = call.writable(playlist_id)
    numbers = call.tracks([item.uri for item in removed.items])
    edited = call.world.edit(playlist.number, lambda old: old.tracks[~np.isin(old.tracks, numbers)])
    return call.reply({"snapshot_id": snapshot_id(edited)})


@v1.get("/playlists/{playlist_id}/tracks")
def get_playlist_tracks(
    call: ExtendedOnly,
    playlist_id: str,
    limit: Annotated[int, Query(ge=1, le=TRACKS_LIMIT)] = TRACKS_LIMIT,
    offset: Offset = 0,
    fields: Fields = None,
) -> Response:
    """List the items of a playlist, under the old name."""
    return call.reply(call.item_page(call.playlist(playlist_id), limit, offset, ("track",)), fields)


@v1.get("/artists")
def get_artists(call: ExtendedOnly, ids: str) -> Response:
    """Return up to 50 artists."""
    numbers = numbers_of(call.world.artists.ids, ids, 50)
    artists = [None if number is None else call.objects.artist(number, call.faults) for number in numbers]
    return call.reply({"artists": artists})


@v1.get("/artists/{artist_id}")
def get_artist(call: EitherMode, artist_id: str) -> Response:
    """Return an artist."""
    return call.reply(call.objects.artist(number_of(call.world.artists.ids, artist_id), call.faults))


@v1.get("/tracks")
def get_tracks(call: ExtendedOnly, ids: str) -> Response:
    """Return up to 50 tracks."""
    numbers = numbers_of(call.world.tracks.ids, ids, 50)
    return call.reply({"tracks": [None if number is None else call.objects.track(number) for number in numbers]})


@v1.get("/tracks/{track_id}")
def get_track(call: EitherMode, track_id: str) -> Response:
    """Return a track."""
    return call.reply(call.objects.track(number_of(call.world.tracks.ids, track_id)))


@v1.get("/audio-features")
def get_many_audio_features(call: ExtendedOnly, ids: str) -> Response:
    """Return the audio features of up to 100 tracks."""
    numbers = numbers_of(call.world.tracks.ids, ids, 100)
    features = [None if number is None else call.objects.audio_features(number) for number in numbers]
    return call.reply({"audio_features": features})


@v1.get("/audio-features/{track_id}")
def get_audio_features(call: ExtendedOnly, track_id: str) -> Response:
    """Return the audio features of a track."""
    return call.reply(call.objects.audio_features(number_of(call.world.tracks.ids, track_id)))


@v1.get("/search")
def search(
    call: EitherMode,
    q: Annotated[str, Query(min_length=1)],
    types: Annotated[str, Query(alias="type")],
    limit: Annotated[int | None, Query(ge=1, le=50)] = None,
    offset: Annotated[int, Query(ge=0, le=SEARCH_DEPTH)] = 0,
) -> Response:
    """Find artists, tracks, albums and editorial playlists by words in their names."""
    development = call.api.development
    if limit is None:
        limit = 5 if development else 20
    if development and limit > 10:
        raise ApiError(400, "Invalid limit")
    world, objects = call.world, call.objects
    made: dict[str, Callable[[int], Json]] = {
        "artist": lambda number: objects.artist(number, call.faults),
        "track": objects.track,
        "album": objects.album,
        "playlist": lambda number: objects.simple_playlist(world.playlist(number), call.faults),
    }
    kinds = types.split(",")
    if not set(kinds) <= set(made):
        raise ApiError(400, "Bad search type field")

    def results(kind: str) -> Json:
        # Development mode does not see Spotify's own playlists, and users' are not searched: they are drawn on demand.
        numbers = [] if development and kind == "playlist" else world.search(kind, q)[:SEARCH_DEPTH]
        return call.page(len(numbers), limit, offset, lambda place: made[kind](numbers[place]))

    return call.reply({f"{kind}s": results(kind) for kind in kinds})


control = APIRouter(prefix="/simulator")
"""Routes that only a simulator has: faults, counts and changes. They need no token."""


@control.get("/faults")
def get_faults(request: Request) -> Faults:
    """Return the faults in force."""
    return api_of(request).wire.faults


@control.put("/faults")
def put_faults(request: Request, faults: Faults) -> Faults:
    """Replace the faults in force. Rates that are left out are zero."""
    api_of(request).wire.faults = faults
    return faults


@control.get("/requests")
def get_requests(request: Request, *, urls: bool = False) -> dict[str, Any]:
    """Return the counts of requests since the last reset; with ``urls=true`` also per URL."""
    traffic = api_of(request).wire.traffic
    return traffic.as_dict() | ({"urls": dict(traffic.urls)} if urls else {})


@control.delete("/requests")
def reset_requests(request: Request) -> dict[str, Any]:
    """Set the counts to zero. Faults start again, too: they depend on how often a URL was asked for."""
    api_of(request).wire.traffic = Traffic()
    return get_requests(request)


@control.post("/playlists/{playlist_id}")
def change_playlist(request: Request, playlist_id: str, remove: Count = 1, add: Count = 1) -> dict[str, Any]:
    """Take the first items off a playlist and put others at its end, which gives it another snapshot_id."""
    api = api_of(request)
    playlist = api.world.change(number_of(api.world.playlist_ids, playlist_id), remove=remove, add=add)
    return {"snapshot_id": snapshot_id(playlist), "total": len(playlist.tracks)}


@control.post("/users/{user_id}/revoke")
def revoke(request: Request, user_id: str) -> dict[str, Any]:
    """Revoke all tokens of a user, as if the user removed the app from their account."""
    api = api_of(request)
    if api.world.user_number(user_id) is None:
        raise ApiError(404, "Resource not found")
    api.issuer.revoke(user_id)
    return {"revoked": user_id}


def create_app(settings: SimulatorSettings) -> FastAPI:
    """Return the simulator as an application; its state is ``app.state.api``.

    To close connections half-way (``truncated``, ``hang_up``) serve it with `spotify_dag.simulator.loopback_server`.
    """
    api = Api(settings)
    app = FastAPI(title="Simulated Spotify Web API", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.api = api
    app.add_middleware(WireMiddleware, wire=api.wire)
    app.include_router(v1)
    app.include_router(control)
    app.include_router(auth.router(api.issuer))
    for router in (listenbrainz_api.v1, listenbrainz_api.control, lastfm_api.v2):
        app.include_router(router)

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        if error.plain:
            return PlainTextResponse(error.message, error.status)
        return _error(error.status, error.message)

    @app.exception_handler(ListenBrainzError)
    async def refused_by_listenbrainz(_: Request, error: ListenBrainzError) -> Response:
        return error.answer()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        if request.url.path.startswith("/1/"):
            return ListenBrainzError(400, f"Invalid {error.errors()[0]['loc'][-1]}").answer()
        return _error(400, f"Invalid {error.errors()[0]['loc'][-1]}")

    @app.exception_handler(HTTPException)
    async def no_such_route(_: Request, error: HTTPException) -> Response:
        return _error(error.status_code, "Service not found" if error.status_code == 404 else str(error.detail))

    return app


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"status": status, "message": message}}, status)
