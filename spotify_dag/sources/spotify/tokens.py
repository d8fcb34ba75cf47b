"""Access tokens: the app's own, and those of logged-in users, which are kept in files of mode 0600.

Nothing here asks anybody anything: a login that has ended is an error that says who has to log in again, and how.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from spotify_dag.files import write_atomically
from spotify_dag.locks import locked
from spotify_dag.settings import Settings, is_loopback
from spotify_dag.sources.spotify.spotify_errors import (
    PREMIUM_WANTED,
    LoginExpiredError,
    NotPermittedError,
    SpotifyError,
    UnreachableError,
    limit_of,
    wants_premium,
)

if TYPE_CHECKING:
    import requests
    from spotipy.oauth2 import SpotifyPKCE

    from spotify_dag.sources.web_session import Gate

SCOPES = ("playlist-read-private", "playlist-read-collaborative")
ADDING_SCOPE = "playlist-modify-private"
"""Asked for only by those who want a list as a playlist of their account. No login that has it is kept."""
LOGIN_DAYS = 183
"""Spotify ends a login six months after the user agreed; refreshing does not prolong it."""
_EARLY = 60
"""Seconds before its end at which a token is no longer used."""


@dataclass(frozen=True)
class Login:
    """A user who has logged in, as kept in a file."""

    user_id: str
    service: str
    """Where: tokens of a simulator never go to Spotify, nor the other way round."""
    client_id: str
    logged_in_at: float
    access_token: str
    refresh_token: str
    expires_at: float
    ended: str | None = None
    """Why there are no tokens any more."""

    def __repr__(self) -> str:
        return f"Login({self.user_id!r})"


class Logins:
    """The logins under one data root."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.local_data / "spotify" / "tokens"

    def all(self) -> dict[str, Login]:
        """Return the logins at the configured service by user, ended ones included."""
        logins = (self._read(file) for file in sorted(self._folder.glob("*.json")))
        return {login.user_id: login for login in logins if login is not None and login.service == self._service}

    def find(self, user_id: str) -> Login | None:
        """Return a user's login, or None."""
        return self._read(self._file(user_id, self._service))

    def keep(self, user_id: str, token: dict[str, Any], logged_in_at: float) -> Login:
        """Keep what a login, or refreshing one, has given."""
        login = Login(
            user_id, self._service, self._settings.spotify_client_id or "", logged_in_at, token["access_token"],
            token["refresh_token"], token["expires_at"],
        )  # fmt: skip
        self._write(login)
        return login

    def end(self, login: Login, reason: str) -> None:
        """Take the tokens out of a login that is of no use any more."""
        self._write(Login(login.user_id, login.service, login.client_id, login.logged_in_at, "", "", 0, reason))

    def files(self, user_id: str) -> list[Path]:
        """Return the files of a user's logins, at any service."""
        start = f"{quote(user_id, safe='')}@"
        return [file for file in self._folder.glob("*.json") if file.name.startswith(start)]

    def remove(self, user_id: str) -> int:
        """Delete a user's logins at every service; return how many there were."""
        with self.lock():
            files = self.files(user_id)
            for file in files:
                file.unlink()
        return len(files)

    def lock(self) -> Any:
        """Return the lock under which tokens are changed: a refresh token works once."""
        return locked(self._folder / ".lock")

    @property
    def _service(self) -> str:
        return service(self._settings)

    def _file(self, user_id: str, of: str) -> Path:
        return self._folder / f"{quote(user_id, safe='')}@{of}.json"

    def _write(self, login: Login) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        write_atomically(self._file(login.user_id, login.service), json.dumps(asdict(login)).encode(), private=True)

    def _read(self, file: Path) -> Login | None:
        try:
            return TypeAdapter(Login).validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None


class Tokens:
    """Gives out access tokens, and gets new ones in time; threads and processes may share it."""

    def __init__(self, settings: Settings) -> None:
        from spotify_dag.sources.web_session import CONNECT_SECONDS, READ_SECONDS, Gate

        self.logins = Logins(settings)
        self.gate: Gate = Gate(settings.spotify_concurrency, settings.spotify_timeout)
        self.timeouts = (
            min(CONNECT_SECONDS, settings.spotify_timeout),
            min(READ_SECONDS, settings.spotify_timeout),
        )
        self._settings = settings
        self._lock = Lock()
        self._apps_own: dict[str, Any] | None = None

    def session(self) -> requests.Session:
        """Return a new session. Its requests end in time."""
        from spotify_dag.sources.web_session import make_session

        return make_session(self.gate)

    def access_token(self, login: str | None) -> str:
        """Return a token that is good for a minute at least: a logged-in user's, or the app's own for None.

        Raises
        ------
        LoginExpiredError
            If that user has to log in again.
        SpotifyError
            If no token can be got.
        """
        with self._lock:
            if login is None:
                if self._apps_own is None or self._apps_own["expires_at"] - _EARLY < time.time():
                    self._apps_own = self._by_client_credentials()
                return self._apps_own["access_token"]
            return self._of_user(login, refused=None)

    def renew(self, login: str | None, refused: str) -> None:
        """Get another token in place of one that was refused, unless somebody else already has."""
        with self._lock:
            if login is not None:
                self._of_user(login, refused)
            elif self._apps_own is not None and self._apps_own["access_token"] == refused:
                self._apps_own = None

    def pkce(self, redirect_uri: str | None = None, *, adds: bool = False) -> SpotifyPKCE:
        """Return spotipy's side of a login with PKCE, without its cache file and its browser.

        Parameters
        ----------
        redirect_uri
            Where the answer goes; None for no login, but for its refreshing.
        adds
            Whether playlists are to be added, too.
        """
        from spotipy.cache_handler import MemoryCacheHandler
        from spotipy.oauth2 import SpotifyPKCE

        pkce = SpotifyPKCE(
            client_id=required_client_id(self._settings), redirect_uri=redirect_uri or "http://127.0.0.1/callback",
            scope=" ".join((*SCOPES, ADDING_SCOPE) if adds else SCOPES), requests_session=self.session(),
            requests_timeout=self.timeouts, open_browser=False, cache_handler=MemoryCacheHandler(),
        )  # fmt: skip
        pkce.OAUTH_TOKEN_URL = f"{self._settings.spotify_auth_url}/api/token"
        pkce.OAUTH_AUTHORIZE_URL = f"{self._settings.spotify_auth_url}/authorize"
        return pkce

    def _of_user(self, user_id: str, refused: str | None) -> str:
        login = self._usable(user_id)
        if login.access_token != refused and login.expires_at - _EARLY > time.time():
            return login.access_token
        with self.logins.lock():
            # Another process may have got a new one while this one waited.
            login = self._usable(user_id)
            if login.access_token != refused and login.expires_at - _EARLY > time.time():
                return login.access_token
            try:
                token = asking_for_a_token(lambda: self.pkce().refresh_access_token(login.refresh_token))
            except TokenRefusedError as error:
                self.logins.end(login, str(error))
                raise ended_login(user_id, str(error)) from None
            return self.logins.keep(user_id, token, login.logged_in_at).access_token

    def _usable(self, user_id: str) -> Login:
        login = self.logins.find(user_id)
        if login is None:
            raise ended_login(user_id, "there is none")
        if login.ended is not None:
            raise ended_login(user_id, login.ended)
        return login

    def _by_client_credentials(self) -> dict[str, Any]:
        from spotipy.cache_handler import MemoryCacheHandler
        from spotipy.oauth2 import SpotifyClientCredentials

        secret = self._settings.spotify_client_secret
        if secret is None:
            raise NotPermittedError(
                "To read users who are not logged in, the app needs its secret: set SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET."
            )
        app = SpotifyClientCredentials(
            client_id=required_client_id(self._settings), client_secret=secret.get_secret_value(),
            requests_session=self.session(), requests_timeout=self.timeouts, cache_handler=MemoryCacheHandler(),
        )  # fmt: skip
        app.OAUTH_TOKEN_URL = f"{self._settings.spotify_auth_url}/api/token"

        def ask() -> dict[str, Any]:
            app.get_access_token(as_dict=False, check_cache=False)
            return app.cache_handler.get_cached_token()

        try:
            return asking_for_a_token(ask)
        except TokenRefusedError as error:
            raise NotPermittedError(
                f"Spotify refuses this app: {error}. Check SPOTIFY_DAG_SPOTIFY_CLIENT_ID and _CLIENT_SECRET."
            ) from None


class GivenToken(Tokens):
    """The access token of a user who has just logged in, and of nobody else; it is kept nowhere."""

    def __init__(self, settings: Settings, token: str) -> None:
        super().__init__(settings)
        self._token = token

    def access_token(self, login: str | None) -> str:
        """Return the token."""
        return self._token

    def renew(self, login: str | None, refused: str) -> None:
        """Say that there is no other."""
        raise LoginExpiredError("Spotify does not accept this login, or not any more. Log in again.")


def may_add(token: Mapping[str, Any]) -> bool:
    """Return whether the user of a token has agreed to have playlists added."""
    return ADDING_SCOPE in str(token.get("scope", "")).split()


class TokenRefusedError(SpotifyError):
    """Spotify gives no token, and will not if asked again."""


def ended_login(user_id: str, reason: str) -> LoginExpiredError:
    """Return the error that says who has to log in again, and how."""
    return LoginExpiredError(
        f"The login of '{user_id}' has ended: {reason}. '{user_id}' has to log in again: spotify-dag login"
    )


def service(settings: Settings) -> str:
    """Return the name of what is talked to: the host of the Web API, or ``simulator`` where that is this machine."""
    return "simulator" if is_loopback(settings.spotify_api_url) else str(urlsplit(settings.spotify_api_url).hostname)


def required_client_id(settings: Settings) -> str:
    """Return the client id.

    Raises
    ------
    NotPermittedError
        If there is none.
    """
    if not settings.spotify_client_id:
        raise NotPermittedError(
            "There is no Spotify app. Make one at https://developer.spotify.com/dashboard and set "
            "SPOTIFY_DAG_SPOTIFY_CLIENT_ID (and _CLIENT_SECRET to read users who are not logged in). For users of the "
            "simulated service, which 'spotify-dag simulate' serves, set the variables that it prints."
        )
    return settings.spotify_client_id


def asking_for_a_token(ask: Callable[[], dict[str, Any]], attempts: int = 4) -> dict[str, Any]:
    """Return the token that spotipy gets, with ``access_token`` and ``expires_at`` made sure of.

    Raises
    ------
    TokenRefusedError
        If Spotify refuses.
    RateLimitedError, UnreachableError
        If Spotify cannot be asked now.
    """
    import requests
    from spotipy.oauth2 import SpotifyOauthError

    why = ""
    for attempt in range(attempts):
        try:
            token: Any = ask()
            if isinstance(token.get("access_token"), str) and isinstance(token.get("expires_at"), (int, float)):
                return token
            why = "an answer without a token"
        except SpotifyOauthError as error:
            response = getattr(error.__context__, "response", None)
            if response is not None and response.status_code == 429:
                raise limit_of(response) from None
            if response is not None and response.status_code == 403 and wants_premium(response.text):
                raise NotPermittedError(PREMIUM_WANTED, "Premium wanted") from None
            if response is not None and response.status_code < 500:
                raise TokenRefusedError(_oauth_reason(error)) from None
            why = "an error of the server"
        except requests.RequestException as error:
            why = type(error).__name__
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            why = "an answer that is no token"
        time.sleep(0.2 * 2**attempt)
    raise UnreachableError(f"Spotify gives no access token: {why}.") from None


def _oauth_reason(error: Any) -> str:
    """Return OAuth's word for what is wrong, such as invalid_grant; nothing else that an answer may hold."""
    word = error.error if isinstance(error.error, str) and error.error.replace("_", "").isalpha() else "refused"
    return "its refresh token is no longer valid (invalid_grant)" if word == "invalid_grant" else word[:40]
