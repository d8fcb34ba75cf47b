"""A request of the simulated Web API: what it may, what it asks for, and its answer."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from starlette.datastructures import URL

from spotify_dag.simulator import auth
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.fields import project
from spotify_dag.simulator.listening import Listening
from spotify_dag.simulator.objects import Json, Objects
from spotify_dag.simulator.wire import RateWindow, Wire
from spotify_dag.simulator.world import EDITORIAL_OWNER, Ids, Playlist, World, chance, is_base62_id

ITEMS_LIMIT, TRACKS_LIMIT = 50, 100
"""Most entries on a page of ``/items`` and of ``/tracks``; a playlist object holds one such page."""
SEARCH_DEPTH = 1_000
"""Results that a search leads to."""
MOST_WRITTEN = 100
"""Items that are added or removed by one request."""
MODIFY_PRIVATE, MODIFY_PUBLIC = "playlist-modify-private", "playlist-modify-public"


LEFT_OUT = object()
"""An entry that is counted, and left out of its page."""


class ApiError(Exception):
    """A refusal of the Web API: JSON, or plain text where Spotify answers with plain text."""

    def __init__(self, status: int, message: str, *, plain: bool = False) -> None:
        super().__init__(message)
        self.status, self.message, self.plain = status, message, plain


class Api:
    """The state of one simulated Spotify."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self.settings = settings
        self.development = settings.mode == "development"
        self.world = World(
            users=settings.users, seed=settings.seed, playlists=settings.playlists, tracks=settings.tracks
        )
        self.issuer = auth.Issuer(settings, self.world)
        window = RateWindow(settings.listenbrainz_requests, settings.listenbrainz_window)
        self.wire = Wire(settings.seed, settings.latency, settings.faults, window=window)
        odd = {"no_artist": settings.faults.no_artist, "unknown_artist": settings.faults.unknown_artist}
        self.listening = Listening(self.world, settings.listens, **odd)
        self.objects = lru_cache(8)(lambda root: Objects(self.world, self.development, root))

    def lacks_statistics(self, user: int) -> bool:
        """Return whether ListenBrainz has not computed the statistics of a user."""
        return chance(self.settings.seed, "no_statistics", user) < self.wire.faults.no_statistics

    def grant(self, authorization: str) -> auth.Grant:
        """Return the grant of a request, or refuse the request."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or not token:
            raise ApiError(401, "No token provided")
        grant = self.issuer.grant(token, "access")
        if grant is None:
            raise ApiError(401, "Invalid access token")
        if time.time() > grant.expires_at:
            raise ApiError(401, "The access token expired")
        if self.development and not self.settings.owner_has_premium:
            raise ApiError(403, "Active premium subscription required for the owner of the app.", plain=True)
        if self.development and grant.user and (self.world.user_number(grant.user) or 0) >= self.settings.allowlist:
            raise ApiError(403, "User not registered in the Developer Dashboard", plain=True)
        return grant


@dataclass
class Call:
    """One request with a valid token."""

    request: Request
    api: Api
    grant: auth.Grant

    @property
    def world(self) -> World:
        """The world that the request is about."""
        return self.api.world

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self.api.wire.faults

    @cached_property
    def root(self) -> str:
        """The root of the API at the host of the request."""
        return f"{self.request.base_url}v1"

    @cached_property
    def objects(self) -> Objects:
        """Makes objects with links to the host of the request."""
        return self.api.objects(self.root)

    def me(self, scope: str | None = None) -> int:
        """Return the number of the user who is logged in and agreed to ``scope``, or refuse."""
        number = self.world.user_number(self.grant.user or "")
        if number is None:
            raise ApiError(401, "Valid user authentication required")
        if scope is not None and scope not in self.grant.scopes:
            raise ApiError(403, "Insufficient client scope")
        return number

    def user(self, user_id: str) -> int:
        """Return the number of a user, or refuse."""
        number = self.world.user_number(user_id)
        if number is None:
            raise ApiError(404, "Resource not found")
        return number

    def playlist(self, identifier: str) -> Playlist:
        """Return a playlist this app may know of, or refuse."""
        playlist = self.world.playlist(number_of(self.world.playlist_ids, identifier))
        if self.api.development and playlist.owner == EDITORIAL_OWNER:
            raise ApiError(404, "Resource not found")
        return playlist

    def writable(self, identifier: str) -> Playlist:
        """Return a playlist that the logged-in user may change, or refuse."""
        self.me()
        playlist = self.playlist(identifier)
        self.me(MODIFY_PUBLIC if playlist.public else MODIFY_PRIVATE)
        if self.grant.user not in (playlist.owner, playlist.collaborator):
            raise ApiError(403, "You cannot add tracks to a playlist you don't own.")
        return playlist

    def may_read_items(self, playlist: Playlist) -> bool:
        """Return whether this app and user may read the items of a playlist."""
        user = self.grant.user
        return not self.api.development or (user is not None and user in (playlist.owner, playlist.collaborator))

    def page(self, total: int, limit: int, offset: int, make: Callable[[int], Any], url: URL | None = None) -> Json:
        """Return the part of a list of ``total`` that was asked for, with absolute links to its neighbours.

        An entry that ``make`` makes `LEFT_OUT` counts, and is not in it.
        """
        url = url or self.request.url
        places = range(min(offset, total), min(offset + limit, total))

        def link(start: int) -> str:
            return str(url.include_query_params(offset=start, limit=limit))

        return {
            "href": link(offset),
            "items": [made for place in places if (made := make(place)) is not LEFT_OUT],
            "limit": limit,
            "next": link(offset + limit) if offset + limit < total else None,
            "offset": offset,
            "previous": link(max(0, offset - limit)) if offset else None,
            "total": total,
        }

    def item_page(
        self, playlist: Playlist, limit: int, offset: int, names: tuple[str, ...], url: URL | None = None
    ) -> Json:
        """Return a page of the items of a playlist, with the tracks under each of ``names``."""
        entries = self.objects.entries(playlist, self.faults)

        def make(place: int) -> Any:
            left_out = entries[place].oddity == "left_out"
            return LEFT_OUT if left_out else self.objects.item(playlist, entries[place], self.faults, names)

        return self.page(len(entries), limit, offset, make, url)

    def playlist_page(self, numbers: list[int], limit: int, offset: int) -> Json:
        """Return a page of a list of playlists; entries may be null where that is one of the faults."""
        seed = self.world.source.seed
        listed: list[Any] = []
        for number in numbers:
            beside = {"null_playlist": None, "left_out": LEFT_OUT}
            odd = [what for kind, what in beside.items() if chance(seed, kind, number) < getattr(self.faults, kind)]
            listed += [number, *odd]

        def make(place: int) -> Any:
            number = listed[place]
            if number is None or number is LEFT_OUT:
                return number
            return self.objects.simple_playlist(self.world.playlist(number), self.faults)

        answer = self.page(len(listed), limit, offset, make)
        emptied = chance(seed, "empty_list", *numbers[:1]) < self.faults.empty_list
        return {**answer, "items": [], "next": None} if emptied else answer

    def tracks(self, uris: list[str]) -> list[int]:
        """Return the numbers of the tracks of a request that writes, or refuse all of them."""
        if not uris or len(uris) > MOST_WRITTEN:
            raise ApiError(400, f"Give 1 to {MOST_WRITTEN} items")
        numbers = [self.world.tracks.ids.number_of(uri.removeprefix("spotify:track:")) for uri in uris]
        known = [number for number in numbers if number is not None]
        if len(known) < len(uris):
            raise ApiError(400, "Payload contains a non-existing ID")
        return known

    def reply(self, body: Json, fields: str | None = None, status: int = 200) -> Response:
        """Answer with JSON and an ETag, or with 304 if the client has that version."""
        try:
            content = json.dumps(project(body, fields) if fields else body, separators=(",", ":")).encode()
        except ValueError as error:
            raise ApiError(400, f"Invalid fields: {error}") from error
        etag = f'W/"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
        headers = {"etag": etag, "cache-control": "private, max-age=0"}
        if etag in self.request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, status, headers=headers, media_type="application/json; charset=utf-8")


async def call(request: Request) -> Call:
    """Return the call of an endpoint that both modes have."""
    api = api_of(request)
    return Call(request, api, api.grant(request.headers.get("authorization", "")))


async def extended_call(request: Request) -> Call:
    """Return the call of an endpoint that new development apps have lost."""
    made = await call(request)
    if made.api.development:
        raise ApiError(403, "Forbidden")
    return made


EitherMode = Annotated[Call, Depends(call)]
ExtendedOnly = Annotated[Call, Depends(extended_call)]
Limit = Annotated[int, Query(ge=1, le=ITEMS_LIMIT)]
Offset = Annotated[int, Query(ge=0, le=100_000)]
Count = Annotated[int, Query(ge=0, le=1_000)]
Fields = Annotated[str | None, Query()]


def number_of(ids: Ids, identifier: str) -> int:
    """Return the number behind an id, or refuse."""
    (number,) = numbers_of(ids, identifier, 1)
    if number is None:
        raise ApiError(404, "Resource not found")
    return number


def numbers_of(ids: Ids, text: str, most: int) -> list[int | None]:
    """Return the numbers of ids separated by commas, None for an id of nothing; refuse what is no id."""
    identifiers = text.split(",")
    if len(identifiers) > most:
        raise ApiError(400, "Too many ids requested")
    if not all(is_base62_id(identifier) for identifier in identifiers):
        raise ApiError(400, "Invalid base62 id")
    return [ids.number_of(identifier) for identifier in identifiers]


def api_of(request: Request) -> Api:
    """Return the simulated Spotify that a request has reached."""
    return request.app.state.api
