"""What this project asks of ListenBrainz, one method an endpoint.

Own code on requests: the project's own client, liblistenbrainz, is GPL, and this project is not.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import orjson

from spotify_dag.settings import Settings
from spotify_dag.sources.request_ledger import WindowLedger
from spotify_dag.sources.service_errors import GoneError, MalformedError, NotPermittedError, UnreachableError
from spotify_dag.sources.web_client import Times, WebClient

if TYPE_CHECKING:
    import requests

SERVICE = "ListenBrainz"
PAGE = 1_000
"""Most listens, or artists, of one answer."""
METADATA_ARTISTS = 25
"""Artists asked for at once: their ids make the address."""


class Page(NamedTuple):
    """Some listens of a user, newest first."""

    listens: list[dict[str, Any]]
    latest: int | None
    """When the newest of all listens of the user was, in seconds since 1970."""


class Statistics(NamedTuple):
    """Some of the artists that a user listens to, most heard first."""

    artists: list[dict[str, Any]]
    total: int
    updated: int
    """When they were computed, in seconds since 1970."""


class Feedback(NamedTuple):
    """Some tracks that a user loves or hates."""

    entries: list[dict[str, Any]]
    total: int


@dataclass(frozen=True)
class ListenBrainzClient:
    """Asks ListenBrainz; threads may share it. Every method raises a `ServiceError` and nothing else."""

    settings: Settings
    web: WebClient

    @classmethod
    def of(cls, settings: Settings, ledger: WindowLedger, times: Times | None = None) -> ListenBrainzClient:
        """Return the client of an installation."""
        return cls(settings, WebClient(SERVICE, ledger, times))

    def listens(self, name: str, *, max_ts: int | None = None, min_ts: int | None = None, count: int = PAGE) -> Page:
        """Return up to ``count`` listens before ``max_ts`` or after ``min_ts``, themselves excluded."""
        bounds = {"count": count, "max_ts": max_ts, "min_ts": min_ts}
        payload = self._payload(f"user/{_quoted(name)}/listens", "/1/user/{name}/listens", _of(name, "listens"), bounds)
        listens = payload.get("listens")
        if not isinstance(listens, list):
            raise MalformedError(f"{SERVICE}'s answer about {_of(name, 'listens')} has no list of listens.")
        return Page([entry for entry in listens if isinstance(entry, dict)], _number(payload.get("latest_listen_ts")))

    def listen_count(self, name: str) -> int:
        """Return how many listens a user has."""
        what = _of(name, "number of listens")
        count = _number(
            self._payload(f"user/{_quoted(name)}/listen-count", "/1/user/{name}/listen-count", what).get("count")
        )
        if count is None:
            raise MalformedError(f"{SERVICE}'s answer about {what} has no count.")
        return count

    def top_artists(self, name: str, offset: int) -> Statistics | None:
        """Return artists by listens, of all time; None where ListenBrainz has not computed them."""
        what = _of(name, "artists")
        asked = {"count": PAGE, "offset": offset, "range": "all_time"}
        payload = self._payload(
            f"stats/user/{_quoted(name)}/artists", "/1/stats/user/{name}/artists", what, asked, may_be_empty=True
        )
        if not payload:
            return None
        artists, total = payload.get("artists"), _number(payload.get("total_artist_count"))
        if not isinstance(artists, list) or total is None:
            raise MalformedError(f"{SERVICE}'s answer about {what} has no list of artists.")
        return Statistics(
            [entry for entry in artists if isinstance(entry, dict)], total, _number(payload.get("last_updated")) or 0
        )

    def feedback(self, name: str, score: int, offset: int) -> Feedback:
        """Return tracks that a user loves (``score`` 1) or hates (-1), the last ones first."""
        what = _of(name, "loved tracks" if score > 0 else "hated tracks")
        asked = {"score": score, "count": PAGE, "offset": offset, "metadata": "true"}
        body = self._get(f"feedback/user/{_quoted(name)}/get-feedback", "/1/feedback/user/{name}", what, asked)
        entries = body.get("feedback") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            raise MalformedError(f"{SERVICE}'s answer about {what} has no list of feedback.")
        return Feedback([entry for entry in entries if isinstance(entry, dict)], _number(body.get("total_count")) or 0)

    def artist_genres(self, mbids: Sequence[str]) -> dict[str, tuple[str | None, list[str]]]:
        """Return name and genres of artists by MBID: what MusicBrainz knows as genres, else the tags most agreed on."""
        what = f"the genres of {len(mbids)} artists"
        asked = {"artist_mbids": ",".join(mbids), "inc": "tag"}
        body = self._get("metadata/artist/", "/1/metadata/artist/", what, asked)
        if not isinstance(body, list):
            raise MalformedError(f"{SERVICE}'s answer about {what} is no list, but {reprlib.repr(body)}.")
        return dict(filter(None, map(_artist, body)))

    def similar_users(self, name: str) -> list[tuple[str, float]]:
        """Return the names of the users that ListenBrainz finds similar, most similar first, and how similar."""
        what = _of(name, "similar users")
        body = self._get(f"user/{_quoted(name)}/similar-users", "/1/user/{name}/similar-users", what, may_be_empty=True)
        payload = body.get("payload") if isinstance(body, dict) else None
        similar: list[Any] = payload if isinstance(payload, list) else []
        pairs = [
            (entry["user_name"], float(entry["similarity"]))
            for entry in similar
            if isinstance(entry, dict)
            and isinstance(entry.get("user_name"), str)
            and isinstance(entry.get("similarity"), int | float)
        ]
        return sorted(pairs, key=lambda pair: -pair[1])

    def _payload(
        self, path: str, endpoint: str, what: str, asked: dict[str, Any] | None = None, *, may_be_empty: bool = False
    ) -> dict[str, Any]:
        body = self._get(path, endpoint, what, asked, may_be_empty=may_be_empty)
        payload = body.get("payload") if isinstance(body, dict) else None
        if body is None:
            return {}
        if not isinstance(payload, dict):
            raise MalformedError(f"{SERVICE}'s answer about {what} has no payload, but {reprlib.repr(body)}.")
        return payload

    def _get(
        self, path: str, endpoint: str, what: str, asked: dict[str, Any] | None = None, *, may_be_empty: bool = False
    ) -> Any:
        """Return the JSON of an answer, None for one without content where that means something."""
        token = self.settings.listenbrainz_token
        headers = {"Authorization": f"Token {token.get_secret_value()}"} if token is not None else {}

        def ask() -> Any:
            response = self.web.session.get(
                f"{self.settings.listenbrainz_api_url}/1/{path}", params=asked, headers=headers,
                timeout=self.web.timeouts,
            )  # fmt: skip
            left, reset_in = _header(response, "X-RateLimit-Remaining"), _header(response, "X-RateLimit-Reset-In")
            self.web.allowed(None if left is None else int(left), reset_in)
            if response.status_code == 204 and may_be_empty:
                return None
            return self._body(response, what)

        return self.web.call(endpoint, what, ask)

    def _body(self, response: requests.Response, what: str) -> Any:
        status = response.status_code
        if status == 429:
            waits = [_header(response, name) for name in ("X-RateLimit-Reset-In", "Retry-After")]
            raise self.web.limited(response, next((seconds for seconds in waits if seconds is not None), None))
        try:
            body = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            if status >= 400:
                raise UnreachableError(f"Asking {SERVICE} for {what} failed: status {status}.") from None
            raise MalformedError(f"{SERVICE}'s answer about {what} is no JSON.") from None
        if status == 200:
            return body
        error = body.get("error") if isinstance(body, dict) else None
        said = error[:120] if isinstance(error, str) else ""
        if status == 404 and said:
            # Only in its own words: a wrong address answers 404 for everybody.
            raise GoneError(f"{SERVICE} does not know {what}: {said}")
        if status == 401:
            remedy = "Set SPOTIFY_DAG_LISTENBRAINZ_TOKEN: https://listenbrainz.org/settings"
            raise NotPermittedError(f"{SERVICE} wants a valid token for {what}. {remedy}", said)
        if 400 <= status < 500:
            raise NotPermittedError(f"{SERVICE} does not give {what} (status {status}: {said}).", said)
        raise UnreachableError(f"Asking {SERVICE} for {what} failed: status {status}.")


def _artist(entry: Any) -> tuple[str, tuple[str | None, list[str]]] | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("artist_mbid"), str):
        return None
    tags = entry.get("tag")
    listed = tags.get("artist") if isinstance(tags, dict) else None
    named = [tag for tag in listed or [] if isinstance(tag, dict) and isinstance(tag.get("tag"), str)]
    genres = [tag for tag in named if tag.get("genre_mbid")] or named
    genres.sort(key=lambda tag: -(_number(tag.get("count")) or 0))
    name = entry.get("name")
    return entry["artist_mbid"], (
        name if isinstance(name, str) else None,
        [tag["tag"].strip().lower() for tag in genres[:10] if 0 < len(tag["tag"].strip()) <= 100],
    )


def _of(name: str, what: str) -> str:
    return f"the {what} of '{name}'"


def _quoted(name: str) -> str:
    # Unescaped, "x/../../1/latest-import" would be another endpoint.
    return quote(name, safe="")


def _header(response: requests.Response, name: str) -> float | None:
    try:
        return float(response.headers[name])
    except (KeyError, ValueError):
        return None


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
