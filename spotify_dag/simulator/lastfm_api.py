"""The one endpoint of Last.fm, ``/2.0/``, in XML and in JSON, with the oddities of both.

Errors come with status 200. In JSON numbers are strings, and a list of one is the one itself.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape, quoteattr

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from spotify_dag.simulator.listening import START, Listening
from spotify_dag.simulator.world import digest

v2 = APIRouter()
DEFAULT_LIMIT, MOST_LIMIT = 50, 1_000
NO_SUCH_USER, INVALID_METHOD, INVALID_PARAMETERS, INVALID_KEY, PRIVATE = 6, 3, 6, 10, 17
Entry = dict[str, Any]


class LastfmError(Exception):
    """A refusal by its number."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number, self.message = number, message


def is_private(listening: Listening, user: int) -> bool:
    """Return whether a user shows their listening to nobody: one in thirteen."""
    return digest(listening.world.source.seed, "private", user) % 13 == 5


@v2.api_route("/2.0", methods=["GET", "POST"])
async def ask(request: Request) -> Response:
    """Answer a method of Last.fm."""
    asked = dict(request.query_params) | dict(parse_qsl((await request.body()).decode()))
    as_json = asked.get("format") == "json"
    try:
        if not asked.get("api_key"):
            raise LastfmError(INVALID_KEY, "Invalid API key - You must be granted a valid key by last.fm")
        method = METHODS.get(asked.get("method", "").lower())
        if method is None:
            raise LastfmError(INVALID_METHOD, "Invalid Method - No method with that name in this package")
        name, attributes, entries = method(request.app.state.api.listening, asked)
    except LastfmError as error:
        if as_json:
            return JSONResponse({"error": error.number, "message": error.message})
        body = f'<lfm status="failed"><error code="{error.number}">{escape(error.message)}</error></lfm>'
        return Response(body, media_type="text/xml")
    kind = name.removeprefix("top").removeprefix("loved").removesuffix("s")
    if as_json:
        return JSONResponse({name: {kind: entries[0] if len(entries) == 1 else entries, "@attr": attributes}})
    inner = "".join(f"<{kind}>{_xml(entry)}</{kind}>" for entry in entries)
    about = " ".join(f"{key}={quoteattr(value)}" for key, value in attributes.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?><lfm status="ok"><{name} {about}>{inner}</{name}></lfm>'
    return Response(body, media_type="text/xml")


def _top_artists(listening: Listening, asked: Entry) -> tuple[str, Entry, list[Entry]]:
    artists = listening.artists(_user(listening, asked))
    return "topartists", *_page(
        artists, asked, lambda item: {
            "name": listening.world.artists.names[item[0]], "playcount": str(item[1]),
            "mbid": listening.artist_mbid(item[0]),
        },
    )  # fmt: skip


def _loved_tracks(listening: Listening, asked: Entry) -> tuple[str, Entry, list[Entry]]:
    tracks = listening.world.tracks

    def entry(track: int) -> Entry:
        artist = int(tracks.artist[track])
        named = {"name": listening.world.artists.names[artist], "mbid": listening.artist_mbid(artist)}
        return {"name": tracks.names[track], "mbid": listening.recording_mbid(track), "date": {"@uts": str(START)},
                "artist": named}  # fmt: skip

    return "lovedtracks", *_page(listening.feedback(_user(listening, asked), 1), asked, entry)


def _top_tags(listening: Listening, asked: Entry) -> tuple[str, Entry, list[Entry]]:
    names = listening.world.artists.names
    if asked.get("artist") not in names:
        raise LastfmError(INVALID_PARAMETERS, "The artist you supplied could not be found")
    genres = listening.world.artists.genres[names.index(asked["artist"])] or []
    entries = [{"name": genre, "count": str(100 - 10 * place)} for place, genre in enumerate(genres)]
    return "toptags", {"artist": asked["artist"]}, entries


METHODS = {
    "user.gettopartists": _top_artists,
    "user.getlovedtracks": _loved_tracks,
    "artist.gettoptags": _top_tags,
}


def _user(listening: Listening, asked: Entry) -> int:
    user = listening.world.user_number(asked.get("user", ""))
    if user is None or user in listening.gone:
        raise LastfmError(NO_SUCH_USER, "User not found")
    if is_private(listening, user):
        raise LastfmError(PRIVATE, "Login: User required to be logged in")
    return user


def _page(items: list[Any], asked: Entry, make: Any) -> tuple[Entry, list[Entry]]:
    limit, page = (int(asked.get(name, usual)) for name, usual in (("limit", DEFAULT_LIMIT), ("page", 1)))
    limit = max(1, min(limit, MOST_LIMIT))
    numbers = {"page": page, "perPage": limit, "totalPages": -(-len(items) // limit), "total": len(items)}
    attributes = {"user": asked["user"], **{key: str(value) for key, value in numbers.items()}}
    return attributes, [make(item) for item in items[(page - 1) * limit : page * limit]]


def _xml(entry: Entry) -> str:
    parts = []
    for name, value in entry.items():
        if isinstance(value, dict):
            about = "".join(f" {key[1:]}={quoteattr(part)}" for key, part in value.items() if key.startswith("@"))
            inner = _xml({key: part for key, part in value.items() if not key.startswith("@")})
            parts.append(f"<{name}{about}>{inner or 'then'}</{name}>")
        else:
            parts.append(f"<{name}>{escape(value)}</{name}>")
    return "".join(parts)
