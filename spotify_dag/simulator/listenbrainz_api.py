"""The endpoints of ListenBrainz under ``/1``, and what only a simulator has: changes of a user's listens."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from spotify_dag.simulator.listening import SPAN, START, Listening

DEFAULT_COUNT, MOST_COUNT = 25, 1_000
MOST_MBIDS = 50
COMPUTED_AT = START + SPAN
"""When statistics were computed; later where a user's listens were changed since."""
Count = Annotated[int, Query(ge=0)]


class ListenBrainzError(Exception):
    """A refusal as ListenBrainz words it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message

    def answer(self) -> Response:
        """Return the answer."""
        return JSONResponse({"code": self.status, "error": self.message}, self.status)


v1 = APIRouter(prefix="/1")


@v1.get("/user/{name}/listens")
def get_listens(
    request: Request, name: str, max_ts: int | None = None, min_ts: int | None = None, count: Count = DEFAULT_COUNT
) -> Response:
    """Return listens before ``max_ts``, the newest of them; or after ``min_ts``, the oldest of them. Newest first."""
    if max_ts is not None and min_ts is not None:
        raise ListenBrainzError(400, "You may only specify max_ts or min_ts, not both.")
    listening, user = _user(request, name)
    listens, count = listening.listens(user), min(count, MOST_COUNT)
    if min_ts is not None:
        start = int(np.searchsorted(listens.at, min_ts, "right"))
        places = range(start, min(start + count, len(listens.at)))
    else:
        end = len(listens.at) if max_ts is None else int(np.searchsorted(listens.at, max_ts, "left"))
        places = range(max(0, end - count), end)
    spelled = listening.world.user_id(user)
    body = ",".join(
        f'{{"inserted_at": {at}, "listened_at": {at}, "user_name": "{spelled}", {listening.fragment(track)}'
        for track, at in zip(
            listens.track[places.start : places.stop][::-1].tolist(),
            listens.at[places.start : places.stop][::-1].tolist(),
            strict=True,
        )
    )
    oldest, latest = (int(listens.at[0]), int(listens.at[-1])) if len(listens.at) else (0, 0)
    content = (
        f'{{"payload": {{"count": {len(places)}, "user_id": "{spelled}", "latest_listen_ts": {latest}, '
        f'"oldest_listen_ts": {oldest}, "listens": [{body}]}}}}'
    )
    return Response(content, media_type="application/json")


@v1.get("/user/{name}/listen-count")
def get_listen_count(request: Request, name: str) -> dict[str, Any]:
    """Return the number of a user's listens."""
    listening, user = _user(request, name)
    return {"payload": {"count": len(listening.listens(user).at)}}


@v1.get("/stats/user/{name}/artists")
def get_artists(
    request: Request, name: str, count: Count = DEFAULT_COUNT, offset: Count = 0, range: str = "all_time"
) -> Response:
    """Return a user's artists of all time by listens; 204 where they have not been computed."""
    listening, user = _user(request, name)
    if range != "all_time":
        raise ListenBrainzError(400, f"Invalid range: {range}")
    if request.app.state.api.lacks_statistics(user):
        return Response(status_code=204)
    artists = listening.artists(user)
    listed = [
        {
            "artist_name": listening.world.artists.names[artist],
            "artist_mbid": listening.artist_mbid(artist),
            "listen_count": plays,
        }
        for artist, plays in artists[offset : offset + min(count, MOST_COUNT)]
    ]
    computed = COMPUTED_AT + max(0, int(listening.listens(user).at[-1]) - COMPUTED_AT)
    about = {"count": len(listed), "offset": offset, "range": range, "total_artist_count": len(artists)}
    spelled = listening.world.user_id(user)
    return JSONResponse({"payload": {"artists": listed, **about, "last_updated": computed, "user_id": spelled}})


@v1.get("/user/{name}/similar-users")
def get_similar_users(request: Request, name: str) -> dict[str, Any]:
    """Return the users most similar to a user, as ListenBrainz computes it: by the cosine of recording counts."""
    listening, user = _user(request, name)
    similar = listening.similar(user)
    return {
        "payload": [
            {"user_name": listening.world.user_id(similar_user), "similarity": cos} for similar_user, cos in similar
        ]
    }


@v1.get("/feedback/user/{name}/get-feedback")
def get_feedback(
    request: Request, name: str, score: int = 1, count: Count = DEFAULT_COUNT, offset: Count = 0,
    metadata: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return tracks that a user loves or hates."""
    listening, user = _user(request, name)
    tracks = listening.feedback(user, score)
    entries = [
        {
            "created": START,
            "recording_mbid": listening.recording_mbid(track),
            "recording_msid": listening.msid(track),
            "score": score,
            "user_id": listening.world.user_id(user),
            **({"track_metadata": listening.metadata(track)} if metadata else {}),
        }
        for track in tracks[offset : offset + min(count, MOST_COUNT)]
    ]
    return {"feedback": entries, "count": len(entries), "total_count": len(tracks), "offset": offset}


@v1.get("/metadata/artist")
def get_artist_metadata(request: Request, artist_mbids: str, inc: str = "") -> list[dict[str, Any]]:
    """Return names of artists by MBID, with ``inc=tag`` also their genres; those that nobody has are left out."""
    listening: Listening = request.app.state.api.listening
    asked = artist_mbids.split(",")
    if len(asked) > MOST_MBIDS:
        raise ListenBrainzError(400, "Too many artist_mbids.")
    numbers = [number for mbid in asked if (number := listening.artist_number(mbid)) is not None]
    artists = listening.world.artists
    return [
        {
            "artist_mbid": listening.artist_mbid(number),
            "name": artists.names[number],
            **({"tag": {"artist": _tags(listening, number)}} if "tag" in inc.split() else {}),
        }
        for number in numbers
    ]


control = APIRouter(prefix="/simulator/listenbrainz")


@control.post("/{name}")
def change_listens(request: Request, name: str, add: Count = 0, remove: Count = 0, at: int | None = None) -> Any:
    """Delete the oldest listens of a user, and add others: after all others, or from a second on."""
    listening, user = _user(request, name)
    return {"listens": listening.change(user, add=add, remove=remove, at=at)}


@control.delete("/{name}")
def delete_user(request: Request, name: str) -> dict[str, str]:
    """Delete a user's account."""
    listening, user = _user(request, name)
    listening.gone.add(user)
    return {"deleted": listening.world.user_id(user)}


def _tags(listening: Listening, artist: int) -> list[dict[str, Any]]:
    mbid, genres = listening.artist_mbid(artist), listening.world.artists.genres[artist] or []
    agreed = [
        {"artist_mbid": mbid, "count": len(genres) - place, "tag": genre, "genre_mbid": f"genre-{genre}"}
        for place, genre in enumerate(genres)
    ]
    return [*agreed, {"artist_mbid": mbid, "count": 1, "tag": "seen live"}]


def _user(request: Request, name: str) -> tuple[Listening, int]:
    """Return the listening of the world, and the number of a user in it, or refuse."""
    listening: Listening = request.app.state.api.listening
    user = listening.world.user_number(name)
    if user is None or user in listening.gone:
        raise ListenBrainzError(404, f"Cannot find user: {name}")
    return listening, user
