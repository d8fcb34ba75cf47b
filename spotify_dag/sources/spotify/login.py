"""Logging in: authorization code with PKCE, the answer received on this machine's own address.

Only the command line comes here; nothing in a Dagster run opens a browser or waits for anybody.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.spotify_errors import SpotifyError
from spotify_dag.sources.spotify.store import Database, Ledger, database_path
from spotify_dag.sources.spotify.tokens import GivenToken, Logins, TokenRefusedError, Tokens, asking_for_a_token

HOST = "127.0.0.1"
PATH = "/callback"
PORT = 8_888
"""Where the command line waits for an answer; how-to/spotify.md has people name it to Spotify."""
WAIT_SECONDS = 300.0


class LoginError(SpotifyError):
    """Nobody has logged in. The message says why."""


def log_in(settings: Settings, *, port: int, show: Callable[[str], None], wait: float = WAIT_SECONDS) -> str:
    """Let somebody log in, and keep their tokens.

    Parameters
    ----------
    settings
        Which app.
    port
        Of ``http://127.0.0.1:PORT/callback``, which the app has to list as a redirect URI; 0 for any that is free.
    show
        Is told the URL to open in a browser.
    wait
        Seconds to wait for the answer.

    Returns
    -------
    str
        The id of the user who has logged in.

    Raises
    ------
    LoginError
        If the port is taken, access is denied, or there is no answer in time.
    SpotifyError
        If Spotify gives no token, or does not name its user.
    """
    begun = time.time()
    token = agreed(settings, port=port, show=show, wait=wait)
    if not isinstance(token.get("refresh_token"), str):
        raise LoginError("Spotify gave no refresh token. Try again: spotify-dag login")
    user_id = identify(settings, token["access_token"])
    logins = Logins(settings)
    with logins.lock():
        logins.keep(user_id, token, begun)
    return user_id


def agreed(
    settings: Settings, *, port: int, show: Callable[[str], None], wait: float = WAIT_SECONDS, adds: bool = False
) -> dict[str, Any]:
    """Let somebody log in; return their token, which is kept nowhere.

    Parameters
    ----------
    settings, port, show, wait
        As for `log_in`.
    adds
        Whether playlists are to be added to their account, too.

    Raises
    ------
    LoginError
        If the port is taken, access is denied, or there is no answer in time.
    SpotifyError
        If Spotify gives no token.
    """
    with _listen(port) as server:
        state = secrets.token_urlsafe(24)
        pkce = Tokens(settings).pkce(f"http://{HOST}:{server.server_port}{PATH}", adds=adds)
        show(pkce.get_authorize_url(state))
        code = server.code(state, time.monotonic() + wait)

    def exchange() -> dict[str, Any]:
        pkce.get_access_token(code=code, check_cache=False)
        return pkce.cache_handler.get_cached_token()

    try:
        # Once: a code is good for one exchange.
        return asking_for_a_token(exchange, attempts=1)
    except TokenRefusedError as error:
        raise LoginError(f"Spotify did not accept the login: {error}. Try again.") from None


def identify(settings: Settings, access_token: str) -> str:
    """Return the id of the user of a token that was just given.

    Raises
    ------
    SpotifyError
        If Spotify does not say.
    """
    with closing(Database(database_path(settings))) as database:
        given = GivenToken(settings, access_token)
        return SpotifyClient(settings, Ledger(database, settings.spotify_daily_budget), given).me()


class _Server(HTTPServer):
    """Waits for the browser to come back with a code."""

    answer: dict[str, str] | None = None
    state = ""

    def code(self, state: str, end: float) -> str:
        self.state = state
        while self.answer is None:
            self.timeout = end - time.monotonic()
            if self.timeout <= 0:
                raise LoginError("Nobody has logged in in time. Try again: spotify-dag login")
            self.handle_request()
        if "code" not in self.answer:
            raise LoginError(f"No access was given ({self.answer.get('error', 'no code')[:40]!r}).")
        return self.answer["code"]


class _Callback(BaseHTTPRequestHandler):
    server: _Server
    timeout = 5

    def do_GET(self) -> None:
        """Take the answer if it is one to the question that was asked."""
        asked = urlsplit(self.path)
        given = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path != PATH:
            self._reply(404, "Nothing here.")
        elif not secrets.compare_digest(given.get("state", "").encode(), self.server.state.encode()):
            # Not our question: somebody else's page may have sent the browser here. Go on waiting.
            self._reply(400, "This is not the answer to the login that is waited for. Start again from its link.")
        else:
            self.server.answer = given
            self._reply(200, "You can close this page and go back to the terminal.")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the request line holds the code."""

    def _reply(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _listen(port: int) -> _Server:
    try:
        return _Server((HOST, port), _Callback)
    except OSError as error:
        raise LoginError(
            f"Port {port} cannot be used: {error.strerror}. Choose another with --port, and add "
            f"http://{HOST}:PORT{PATH} to the app's redirect URIs."
        ) from None
