"""Who somebody can prove to be: by a token handed out with a file, or by a login at Spotify.

Both are signed and nothing is stored: a token is worth as much as the key under the data root, and a session ends by
itself. What a login lets this process read at Spotify stays in its memory.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.app.problems import AppError
from spotify_dag.files import locked, write_atomically
from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.login import identify
from spotify_dag.sources.spotify.tokens import TokenRefusedError, Tokens, asking_for_a_token

if TYPE_CHECKING:
    from fastapi import Request

SESSION, LOGIN = "session", "login"
"""Cookies, and what the values in them are signed for."""
FILE_TOKEN = "file"  # noqa: S105  a purpose, not a secret
TOKEN_HEADER = "X-User-Token"  # noqa: S105  a name, not a secret
SESSION_SECONDS = 3_600
LOGIN_SECONDS = 600
MOST_LOGINS = 10_000


@dataclass(frozen=True)
class Signer:
    """Signs values so that only this installation can have made them (HMAC-SHA-256).

    Parameters
    ----------
    file
        Where the key is; made on first use, readable by its owner only.
    """

    file: Path

    @cached_property
    def _key(self) -> bytes:
        if not self.file.is_file():
            with locked(self.file.with_suffix(".lock")):
                if not self.file.is_file():
                    write_atomically(self.file, secrets.token_bytes(32), private=True)
        return self.file.read_bytes()

    def sign(self, purpose: str, values: dict[str, Any], seconds: float | None = None) -> str:
        """Return values as text that is good for one purpose, and for so many seconds."""
        ends = {} if seconds is None else {"ends": time.time() + seconds}
        body = base64.urlsafe_b64encode(json.dumps(values | ends).encode()).rstrip(b"=").decode()
        return f"{body}.{self._signature(purpose, body)}"

    def open(self, purpose: str, text: str) -> dict[str, Any] | None:
        """Return the values that `sign` was given; None if it was not, for this purpose, or their time is over."""
        body, _, signature = text.partition(".")
        if not hmac.compare_digest(_bytes(signature), self._signature(purpose, body).encode()):
            return None
        values: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return values if values.pop("ends", float("inf")) > time.time() else None

    def _signature(self, purpose: str, body: str) -> str:
        return hmac.new(self._key, _bytes(f"{purpose}:{body}"), hashlib.sha256).hexdigest()


@dataclass
class Identity:
    """Who the client of a request is.

    Parameters
    ----------
    settings
        Of the installation.
    """

    settings: Settings
    signer: Signer
    _tokens: dict[str, tuple[float, str, dict[str, Any]]] = field(default_factory=dict)

    def file_token(self, user_id: str) -> str:
        """Return the token of somebody who handed in a file."""
        return self.signer.sign(FILE_TOKEN, {"user": user_id})

    def of_token(self, token: str) -> str | None:
        """Return whose token it is."""
        found = self.signer.open(FILE_TOKEN, token.strip())
        return found["user"] if found else None

    def logged_in(self, request: Request) -> str | None:
        """Return who has logged in at Spotify with the browser that asks."""
        found = self._session(request)
        return found["user"] if found else None

    def proven(self, request: Request) -> set[str]:
        """Return the users that the client of a request has proven to be."""
        by_token = self.of_token(request.headers.get(TOKEN_HEADER, ""))
        return {user for user in (by_token, self.logged_in(request)) if user}

    def require(self, request: Request, user_id: str) -> None:
        """Let nobody but the user themselves go on.

        Raises
        ------
        AppError
            Whether or not there is such a user: nobody else learns that.
        """
        if user_id not in self.proven(request):
            raise AppError(
                401,
                "Only the user themselves may do this: log in with Spotify at /login, or send the token that was given "
                f"with the file in the header {TOKEN_HEADER}.",
            )

    def begin_login(self, redirect_uri: str, after: str) -> tuple[str, str]:
        """Return where to log in at Spotify, and the cookie that ties the answer to this browser."""
        pkce = Tokens(self.settings).pkce(redirect_uri)
        state = secrets.token_urlsafe(24)
        url = pkce.get_authorize_url(state)
        values = {
            "state": state, "verifier": pkce.code_verifier, "challenge": pkce.code_challenge, "uri": redirect_uri,
            "after": local_path(after),
        }  # fmt: skip
        return url, self.signer.sign(LOGIN, values, LOGIN_SECONDS)

    def finish_login(self, cookie: str, state: str, code: str) -> tuple[str, str]:
        """Return the session cookie of who has logged in, and where they wanted to go.

        A new session every time: one that somebody else put into the browser before is worth nothing.

        Raises
        ------
        AppError
            If this is not the answer to a login that this browser began, or Spotify does not accept it.
        """
        begun = self.signer.open(LOGIN, cookie)
        if begun is None or not hmac.compare_digest(_bytes(begun["state"]), _bytes(state)):
            raise AppError(400, "This is not the answer to a login that was begun here. Start again at /login.")
        pkce = Tokens(self.settings).pkce(begun["uri"])
        # spotipy draws new ones where it misses either.
        pkce.code_verifier, pkce.code_challenge = begun["verifier"], begun["challenge"]

        def exchange() -> dict[str, Any]:
            pkce.get_access_token(code=code, check_cache=False)
            return pkce.cache_handler.get_cached_token()

        try:
            token = asking_for_a_token(exchange, attempts=1)
        except TokenRefusedError as error:
            raise AppError(400, f"Spotify did not accept the login: {error}. Start again at /login.") from None
        user_id = identify(self.settings, token["access_token"])
        number = secrets.token_urlsafe(16)
        self._remember(number, user_id, token)
        return self.signer.sign(SESSION, {"user": user_id, "number": number}, SESSION_SECONDS), begun["after"]

    def spotify_token(self, request: Request) -> dict[str, Any] | None:
        """Return what the login of a request lets this process read at Spotify."""
        found = self._session(request)
        kept = self._tokens.get(found["number"]) if found else None
        return kept[2] if kept else None

    def end(self, request: Request) -> None:
        """Forget a login."""
        if found := self._session(request):
            self._tokens.pop(found["number"], None)

    def _session(self, request: Request) -> dict[str, Any] | None:
        return self.signer.open(SESSION, request.cookies.get(SESSION, ""))

    def _remember(self, number: str, user_id: str, token: dict[str, Any]) -> None:
        now = time.time()
        kept = {key: one for key, one in self._tokens.items() if one[0] > now}
        while len(kept) >= MOST_LOGINS:
            kept.pop(next(iter(kept)))
        self._tokens = kept | {number: (now + SESSION_SECONDS, user_id, token)}


def local_path(path: str) -> str:
    """Return a path of this app, whatever was asked for: nobody is sent anywhere else after logging in."""
    # A browser takes "//host" and "/\\host" for another host, and leaves out tabs and line ends.
    plain = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and "\\" not in path
    return path if plain else "/"


def _bytes(text: str) -> bytes:
    # What a client sends may hold halves of surrogate pairs.
    return text.encode(errors="replace")
