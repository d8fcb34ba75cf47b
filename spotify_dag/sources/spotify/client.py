"""The hardened client: spotipy, with every failure named, every call ended, and every limit kept and remembered."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from functools import partial
from threading import Event, local
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from spotify_dag.settings import Settings
from spotify_dag.sources.request_ledger import admitted, backoff
from spotify_dag.sources.spotify.items import (
    PAGE,
    Page,
    read_artist,
    read_artists,
    read_changed,
    read_made,
    read_page,
    read_user_id,
)
from spotify_dag.sources.spotify.spotify_errors import (
    PREMIUM_WANTED,
    GoneError,
    LoginExpiredError,
    MalformedError,
    NotPermittedError,
    QuotaExhaustedError,
    RateLimitedError,
    SpotifyError,
    UnreachableError,
    WrongItemsError,
    limit_of,
    shortened,
    wants_premium,
)
from spotify_dag.sources.spotify.store import Ledger
from spotify_dag.sources.spotify.tokens import Tokens, ended_login

if TYPE_CHECKING:
    import requests
    import spotipy

ATTEMPTS = 8
_FINAL = (RateLimitedError, NotPermittedError, GoneError, LoginExpiredError)
_PLAYLISTS, _ITEMS = "/me/playlists", "/playlists/{id}/items"
Body = TypeVar("Body")


class SpotifyClient:
    """What this project asks of the Web API, one method an endpoint; threads may share it.

    Parameters
    ----------
    settings
        Hosts, times and limits.
    ledger
        Asked before every request, and told of every limit.
    tokens
        Where access tokens come from.

    Every method raises a `SpotifyError` and nothing else. ``login`` is the id of the logged-in user to ask as; None
    asks as the app.
    """

    def __init__(self, settings: Settings, ledger: Ledger, tokens: Tokens) -> None:
        # Its errors are raised here under their own names, and at DEBUG it would print the tokens.
        logging.getLogger("spotipy").setLevel(logging.CRITICAL)
        # What Spotify calls deprecated is all that apps with extended quota have for reading other users.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="spotipy")
        self._settings = settings
        self._ledger = ledger
        self._tokens = tokens
        self._local = local()
        self._stopped = Event()
        self._items_endpoint: dict[str | None, str] = {}

    def stop(self) -> None:
        """Give up waiting, and let requests that are under way go on for a second at most."""
        self._stopped.set()
        self._tokens.gate.end_all(1)

    def me(self) -> str:
        """Return the id of the user of the token."""
        return self._call("/me", "who has logged in", lambda spotify: spotify.me(), read_user_id, None)

    def playlists(self, user: str, offset: int, login: str | None) -> Page:
        """Return a page of the playlists in a user's library; all of them where ``login`` is that user."""
        what, read = f"the playlists of '{user}'", partial(read_page, offset=offset)
        if login == user:
            return self._call(
                "/me/playlists", what, lambda spotify: spotify.current_user_playlists(PAGE, offset), read, login
            )
        # spotipy does not escape ids: "x/../../me" would be another endpoint.
        quoted = quote(user, safe="")
        return self._call(
            "/users/{id}/playlists",
            what,
            lambda spotify: spotify.user_playlists(quoted, PAGE, offset),
            read,
            login,
        )

    def items(self, playlist: str, offset: int, login: str | None) -> Page:
        """Return a page of what is on a playlist.

        Spotify has renamed the endpoint, and which of the two an app may use depends on its age. Where the old name has
        worked and the new one has not, the old one is used.
        """

        def ask(name: str) -> Page:
            def request(spotify: spotipy.Spotify) -> Any:
                return spotify._get(
                    f"playlists/{playlist}/{name}", limit=PAGE, offset=offset, additional_types="track,episode"
                )

            what, read = f"playlist '{playlist}'", partial(read_page, offset=offset)
            return self._call(f"/playlists/{{id}}/{name}", what, request, read, login)

        first = self._items_endpoint.get(login, "items")
        try:
            return ask(first)
        except (NotPermittedError, GoneError) as refused:
            if login in self._items_endpoint:
                raise
            try:
                page = ask("tracks")
            except (NotPermittedError, GoneError):
                raise refused from None
            self._items_endpoint[login] = "tracks"
            return page

    def artists(self, ids: list[str], login: str | None) -> list[tuple[str, str | None, list[str] | None]]:
        """Return ``(id, name, genres)`` of up to 50 artists at once."""
        return self._call("/artists", f"{len(ids)} artists", lambda spotify: spotify.artists(ids), read_artists, login)

    def artist(self, artist: str, login: str | None) -> tuple[str, str | None, list[str] | None]:
        """Return ``(id, name, genres)`` of one artist."""
        return self._call(
            "/artists/{id}", f"artist '{artist}'", lambda spotify: spotify.artist(artist), read_artist, login
        )

    def make_playlist(self, title: str, description: str, login: str) -> str:
        """Make an empty private playlist; return its id.

        This and what else writes is asked for once. After an `UnreachableError` or a `MalformedError` it may have been
        done.
        """

        def request(spotify: spotipy.Spotify) -> Any:
            return spotify.current_user_playlist_create(title, public=False, description=description)

        return self._call(_PLAYLISTS, f"the playlists of '{login}'", request, read_made, login, writes=True)

    def add_items(self, playlist: str, tracks: list[str], position: int, login: str) -> None:
        """Put up to 100 tracks, by id, on a playlist, in front of what is at a position."""
        body = {"uris": [f"spotify:track:{track}" for track in tracks], "position": position}

        def request(spotify: spotipy.Spotify) -> Any:
            return spotify._post(f"playlists/{playlist}/items", payload=body)

        self._call(_ITEMS, f"playlist '{playlist}'", request, read_changed, login, writes=True)

    def remove_items(self, playlist: str, tracks: list[str], login: str) -> None:
        """Take up to 100 tracks, by id, off a playlist, all times that they are on it."""
        body = {"items": [{"uri": f"spotify:track:{track}"} for track in tracks]}

        def request(spotify: spotipy.Spotify) -> Any:
            return spotify._delete(f"playlists/{playlist}/items", payload=body)

        self._call(_ITEMS, f"playlist '{playlist}'", request, read_changed, login, writes=True)

    def _call(
        self, endpoint: str, what: str, request: Callable[[spotipy.Spotify], Any], read: Callable[[Any], Body],
        login: str | None, *, writes: bool = False,
    ) -> Body:  # fmt: skip
        """Ask until there is an answer that can be read, the error is final, or the time is up.

        What writes is asked for again only where Spotify has refused it: for a limit, or for the token.
        """
        end = time.monotonic() + self._settings.spotify_deadline
        self._tokens.gate.end_by(end)
        problem: SpotifyError = UnreachableError(f"There was no time to ask Spotify for {what}.")
        named = partial(self._named, what=what, login=login, act="change" if writes else "read")
        renewed = False
        for attempt in range(ATTEMPTS):
            longest = self._settings.spotify_max_wait
            admitted(partial(self._ledger.admit, endpoint), end=end, longest=longest, stopped=self._stopped)
            try:
                token = self._tokens.access_token(login)
                return read(self._ask(request, token))
            except RateLimitedError as error:
                problem = error
            except MalformedError as error:
                problem = MalformedError(f"Spotify's answer about {what} is {error}.")
            except _StatusError as error:
                if error.status == 401 and not renewed:
                    # Revoked before its time, or the clocks differ.
                    self._tokens.renew(login, token)
                    renewed = True
                    continue
                problem = limit_of(error.response, attempt) if error.status == 429 else named(error)
            except _NoAnswerError as error:
                if attempt and time.monotonic() >= end:
                    break  # cut off by the end of the call: what went wrong before says more
                problem = UnreachableError(f"Asking Spotify for {what} failed: {error}.")
            if isinstance(problem, RateLimitedError):
                quota = isinstance(problem, QuotaExhaustedError)
                self._ledger.limit(problem.at, problem.reason, quota=quota)
                if quota or problem.at - time.time() > longest:
                    raise problem
                continue
            if writes or isinstance(problem, _FINAL):
                raise problem
            pause = backoff(attempt)
            if time.monotonic() + pause > end or self._stopped.wait(pause):
                break
        raise problem

    def _ask(self, request: Callable[[spotipy.Spotify], Any], token: str) -> Any:
        import requests
        from spotipy import SpotifyException

        spotify = self._spotify()
        spotify.set_auth(token)
        try:
            body = request(spotify)
        except (SpotifyException, AttributeError) as error:
            # spotipy raises AttributeError on error bodies of another shape; either way the answer is behind it.
            response = getattr(error.__context__, "response", None)
            if response is None:
                raise
            raise _StatusError(response) from None
        except requests.exceptions.ContentDecodingError as error:
            raise MalformedError(str(error)) from None
        except requests.RequestException as error:
            raise _NoAnswerError(_why(error)) from None
        except RecursionError:
            raise MalformedError("nested too deeply") from None
        if body is None:
            raise MalformedError("no JSON")
        return body

    def _spotify(self) -> spotipy.Spotify:
        """Return this thread's spotipy client: requests does not promise that threads may share a session."""
        if not hasattr(self._local, "spotify"):
            import spotipy

            self._local.spotify = spotipy.Spotify(
                requests_session=self._tokens.session(), requests_timeout=self._tokens.timeouts
            )
            self._local.spotify.prefix = f"{self._settings.spotify_api_url}/"
        return self._local.spotify

    def _named(self, error: _StatusError, what: str, login: str | None, act: str) -> SpotifyError:
        status = error.status
        if status == 401:
            if login is not None:
                return ended_login(login, "Spotify no longer accepts it")
            return NotPermittedError(
                "Spotify refuses the app's access token. Check SPOTIFY_DAG_SPOTIFY_CLIENT_ID and _CLIENT_SECRET."
            )
        if status in (400, 404, 410):
            wrong = WrongItemsError(f"Spotify refuses this change of {what} (status {status}: {error.said}).")
            gone = GoneError(f"Spotify does not know {what} (status {status}).")
            return wrong if status == 400 and act == "change" else gone
        if 400 <= status < 500:
            if wants_premium(error.response.text):
                return NotPermittedError(PREMIUM_WANTED, "Premium wanted")
            said = f"status {status}" + (f": {error.said}" if error.said else "")
            return NotPermittedError(f"Spotify does not permit this app to {act} {what} ({said}).", said)
        return UnreachableError(f"Asking Spotify for {what} failed: status {status}.")


class _NoAnswerError(Exception):
    """Nothing came back. The message says why."""


class _StatusError(Exception):
    """An answer with the status of an error."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(response.status_code)
        self.response = response
        self.status = response.status_code

    @property
    def said(self) -> str:
        """What Spotify says about it, in one short line."""
        try:
            error = self.response.json()["error"]
            text = error["message"] if isinstance(error, dict) else error
        except (ValueError, KeyError, TypeError, RecursionError):
            text = self.response.text
        line = " ".join(str(text).split()).encode(errors="replace").decode()
        return shortened(line, 120) if "<" not in line else ""


def _why(error: requests.RequestException) -> str:
    """Return why there was no answer, in words without addresses: spotipy's hold the query."""
    import requests

    if isinstance(error, requests.Timeout):
        return "too slow"
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__
