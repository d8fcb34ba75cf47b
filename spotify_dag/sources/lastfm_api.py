"""Last.fm's API: the artists a public user has heard of all time, and the tracks they love.

On pylast, whose requests go through this project's own session: in time, within the limits, and remembered. Rows are
marked ``lastfm-api``: its terms forbid commercial use, and keeping more than 100 MB.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from spotify_dag.errors import SpotifyDagError
from spotify_dag.settings import Settings
from spotify_dag.sources.base import Batch, SourceError
from spotify_dag.sources.listed_users import ListedUsersSource, Reading
from spotify_dag.sources.listenbrainz.listens import LISTENS, LOVED, batch, merged, no_counts
from spotify_dag.sources.request_ledger import WindowLedger
from spotify_dag.sources.service_errors import (
    GoneError,
    MalformedError,
    NotPermittedError,
    ServiceError,
    UnreachableError,
)
from spotify_dag.sources.user_mirror import MirroredUser, UserMirror
from spotify_dag.sources.web_client import WebClient

if TYPE_CHECKING:
    import polars as pl
    import pylast

SERVICE = "Last.fm"
PREFIX = "lastfm-api-"
PAUSE = 0.25
"""Seconds between two requests of all processes: about five a second are allowed."""
MOST_ARTISTS, MOST_LOVED = 1_000, 1_000
MOST_BYTES = 100_000_000
"""Most that Last.fm's terms allow to be kept."""
BUSY, LIMITED, NO_SUCH_USER, PRIVATE, BAD_KEYS = {"8", "11", "16"}, {"29"}, {"6", "7"}, {"17"}, {"10", "26"}
"""Numbers of errors, which come with status 200, too."""
_ERROR = re.compile(r'<error code="(\d+)">\s*([^<]*)')
_NAME = re.compile(r"[A-Za-z][\w-]{1,31}", re.ASCII)
log = logging.getLogger(__name__)


class LastfmNameError(SpotifyDagError):
    """That names no user of Last.fm. The message shows what would."""


class FullError(ServiceError, SourceError):
    """As much is kept of Last.fm as its terms allow."""


def parse_lastfm_user(text: str) -> tuple[str, str]:
    """Return id and name of the user of Last.fm that a profile URL, ``lastfm-api:NAME`` or a name means.

    Raises
    ------
    LastfmNameError
        If ``text`` is anything else.
    """
    name = text.strip()
    if match := re.match(r"(?i)(?:https?:/{1,2})?(?:www\.)?last\.fm(?=/)", name):
        path = urlsplit("https://last.fm" + name[match.end() :]).path
        profile = re.match(r"(?:/[a-z]{2})?/user/([^/]+)(?:/|$)", path)
        name = unquote(profile[1]) if profile else ""
    elif name.lower().startswith("lastfm-api:"):
        name = name.partition(":")[2].strip()
    elif name.lower().startswith(PREFIX):
        name = name[len(PREFIX) :]
    if not _NAME.fullmatch(name):
        raise LastfmNameError(
            f"{text.strip()[:80]!r} names no user of Last.fm. Give one like https://www.last.fm/user/rj or rj."
        )
    return PREFIX + name.lower(), name


class LastfmApiSource(ListedUsersSource):
    """Public users of Last.fm. See `ListedUsersSource`."""

    name = "lastfm-api"
    service = SERVICE

    def __post_init__(self) -> None:
        if self.settings.lastfm_api_key is None:
            raise SourceError(
                "Source 'lastfm-api' needs a key: make one at https://www.last.fm/api/account/create and set "
                "SPOTIFY_DAG_LASTFM_API_KEY."
            )
        super().__post_init__()

    @staticmethod
    def url_of(settings: Settings) -> str:
        """Return the root of Last.fm's API, or of a simulator."""
        return settings.lastfm_api_url

    @staticmethod
    def parse_user(text: str) -> tuple[str, str]:
        """Return id and name of the user that a text names."""
        return parse_lastfm_user(text)

    @contextmanager
    def reading(self, mirror: UserMirror) -> Iterator[Reading]:
        """Give what reads Last.fm."""
        web = WebClient(SERVICE, WindowLedger(mirror.database))
        reader = _Reader(_network(self.settings, web), mirror)
        yield Reading(reader.look, lambda _: None, web.stop, 2)

    def batch(self, users: Sequence[MirroredUser], mirror: UserMirror, marked: str | None) -> Batch:
        """Return the rows of users as the mirror has them."""
        import polars as pl

        counts: dict[str, pl.DataFrame] = {}
        for kind in (LISTENS, LOVED):
            frames = [
                merged(mirror.parts(user.user_id, kind)).with_columns(pl.lit(user.user_id).alias("user_id"))
                for user in users
                if not user.dropped
            ]
            counts[kind] = pl.concat([no_counts().with_columns(pl.lit(None, pl.String).alias("user_id")), *frames])
        return batch(
            counts,
            [(user.user_id, user.problem, None) for user in users if user.problem],
            marked=marked,
            gone={user.user_id: user.gone_since for user in users if user.gone_since is not None},
        )


@dataclass(frozen=True)
class _Reader:
    network: pylast.LastFMNetwork
    mirror: UserMirror

    def look(self, user: MirroredUser) -> None:
        """Read the artists of a user; where these are as they were, nothing else is asked.

        Raises
        ------
        ServiceError
            What was known stays.
        """
        import polars as pl

        theirs = self.network.get_user(user.name)
        artists = _asked(user.name, lambda: theirs.get_top_artists(limit=MOST_ARTISTS))
        rows = [(item.item.get_name(), _plays(item.weight)) for item in artists]
        state = {"artists": len(rows), "plays": sum(plays or 0 for _, plays in rows)}
        if user.state == state and not user.dropped:
            with self.mirror.changing(user.user_id) as change:
                change.finish(state, None, whole=False)
            return
        loved = _asked(user.name, lambda: theirs.get_loved_tracks(limit=MOST_LOVED, cacheable=False))
        tracks = [(entry.track.artist.get_name(), entry.track.get_title(), 1) for entry in loved]
        schema = {"artists": pl.String, "track_name": pl.String, "plays": pl.Int64}
        frames = {
            LISTENS: pl.DataFrame(
                [(name, None, plays) for name, plays in rows], schema=schema, orient="row", strict=False
            ),
            LOVED: pl.DataFrame(tracks, schema=schema, orient="row", strict=False),
        }
        self._require_room()
        with self.mirror.changing(user.user_id) as change:
            for kind, frame in frames.items():
                change.replace(kind, merged([pl.concat([no_counts(), frame], how="diagonal")]))
            change.finish(state, None, whole=True)

    def _require_room(self) -> None:
        ((kept_bytes,),) = self.mirror.database.rows("select coalesce(sum(length(content)), 0) from parts")
        if kept_bytes > MOST_BYTES:
            raise FullError(
                f"Last.fm's terms allow {MOST_BYTES / 1e6:,.0f} MB to be kept, and as much is. List fewer users."
            )


def _network(settings: Settings, web: WebClient) -> pylast.LastFMNetwork:
    """Return pylast's network, whose requests go through ``web``."""
    import httpx2
    import pylast

    for name in ("pylast", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they print addresses, and with them the key

    class Transport(httpx2.BaseTransport):
        """Sends what pylast asks for; takes nothing but good answers, and errors about a user."""

        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            asked = dict(parse_qsl(request.read().decode()))
            what = f"{asked.get('method', 'something')} of '{asked.get('user', '')}'"

            def ask() -> bytes:
                response = web.session.post(f"{settings.lastfm_api_url}/2.0/", data=asked, timeout=web.timeouts)
                web.allowed(0, PAUSE)
                return _checked(web, response, what)

            return httpx2.Response(200, content=web.call(str(asked.get("method")), what, ask))

    key = settings.lastfm_api_key.get_secret_value() if settings.lastfm_api_key else ""
    network = pylast.LastFMNetwork(api_key=key)
    network.proxy = {"all://": Transport()}  # type: ignore[dict-item]
    return network


def _checked(web: WebClient, response: Any, what: str) -> bytes:
    """Return the body of an answer that pylast can read, or raise what it means."""
    body, status = response.content, response.status_code
    text = body.decode(errors="replace")
    error = _ERROR.search(text)
    number, said = (error[1], " ".join(error[2].split())[:120]) if error else ("", "")
    if status == 429 or number in LIMITED:
        raise web.limited(response, None)
    if number in BAD_KEYS:
        raise NotPermittedError(f"Last.fm refuses the key: {said} Check SPOTIFY_DAG_LASTFM_API_KEY.", said)
    if number in NO_SUCH_USER:
        raise GoneError(f"Last.fm does not know this user: {said}")
    if number in PRIVATE:
        raise NotPermittedError("This user of Last.fm shows their listening to nobody.", said)
    if number in BUSY or status >= 500 or (status != 200 and not error):
        raise UnreachableError(f"Asking Last.fm for {what} failed: {said or f'status {status}'}.")
    if error:
        raise NotPermittedError(f"Last.fm does not give {what}: {said} (error {number}).", said)
    if "</lfm>" not in text:
        raise MalformedError(f"Last.fm's answer about {what} is not whole.")
    return body


def _asked(name: str, ask: Any) -> Any:
    """Return what pylast returns; its errors become those that are behind them."""
    import pylast

    try:
        return ask()
    except pylast.PyLastError as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ServiceError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from None
        raise MalformedError(f"Last.fm's answer about '{name}' cannot be read: {type(error).__name__}.") from None
    except (IndexError, AttributeError, ValueError, KeyError) as error:
        raise MalformedError(f"Last.fm's answer about '{name}' cannot be read: {type(error).__name__}.") from None


def _plays(weight: Any) -> int | None:
    return int(weight) if str(weight).isdigit() else None


def lastfm_profile_url(user_id: str) -> str:
    """Return where a user's profile at Last.fm is."""
    return f"https://www.last.fm/user/{quote(user_id.removeprefix(PREFIX), safe='')}"
