"""Who somebody can prove to be: by a token handed out with a file, or by a login at Spotify.

A token is signed, and worth as much as the key under the data root; it ends when its user is forgotten. A login is a
session in the memory of this process. It ends by itself, by logging out, when its user is forgotten, and with the
process: its cookie is a number that means nothing elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, URLSafeTimedSerializer

from spotify_dag.app.problems import AppError
from spotify_dag.files import write_atomically
from spotify_dag.locks import locked
from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.login import identify
from spotify_dag.sources.spotify.tokens import TokenRefusedError, Tokens, asking_for_a_token, may_add
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    from fastapi import Request

SESSION, LOGIN = "session", "login"
"""Cookies; the values of the second are signed for this purpose."""
FILE_TOKEN = "file"  # noqa: S105  a purpose, not a secret
TOKEN_HEADER = "X-User-Token"  # noqa: S105  a name, not a secret
SESSION_SECONDS = 3_600
LOGIN_SECONDS = 600
MOST_LOGINS = 10_000


@dataclass(frozen=True)
class Signer:
    """Signs values so that only this installation can have made them.

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

    def sign(self, purpose: str, values: dict[str, Any]) -> str:
        """Return values as text that is good for one purpose."""
        return str(self._serializer(purpose).dumps(values))

    def open(self, purpose: str, text: str, seconds: int | None = None) -> dict[str, Any] | None:
        """Return the values that `sign` was given; None if it was not, for this purpose, in the last ``seconds``."""
        try:
            values: dict[str, Any] = self._serializer(purpose).loads(text.encode(errors="replace"), max_age=seconds)
        except BadData:
            return None
        return values

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        return URLSafeTimedSerializer(self._key, salt=purpose, signer_kwargs=how)


@dataclass(frozen=True)
class Session:
    """A login: who it is, and what it lets this process read at Spotify."""

    user_id: str
    token: dict[str, Any] | None = field(repr=False)
    """What lets this process read what is theirs; None where they have only agreed to have playlists added."""
    begun: float
    """Seconds since 1970."""
    adding: dict[str, Any] | None = field(default=None, repr=False)
    """What lets this process add playlists; None before the user has agreed to that. It is never kept."""


@dataclass
class Identity:
    """Who the client of a request is.

    Parameters
    ----------
    settings
        Of the installation.
    signer
        Of tokens and of what a login needs to know until it is finished.
    """

    settings: Settings
    signer: Signer
    _sessions: dict[bytes, Session] = field(default_factory=dict)
    """By the digest of their number."""

    def file_token(self, user_id: str) -> str:
        """Return the token of somebody who handed in a file."""
        return self.signer.sign(FILE_TOKEN, {"user": user_id})

    def of_token(self, token: str) -> str | None:
        """Return whose token it is; None for one that is not, or not any more, good for anything."""
        claims = self.signer.open(FILE_TOKEN, token.strip()) if token else None
        if claims is None or claims["user"] in self._tombstones:
            return None
        return str(claims["user"])

    def given_token(self, request: Request) -> str | None:
        """Return whose token came with a request; None where none did.

        Raises
        ------
        AppError
            If one did that is good for nothing.
        """
        token = request.headers.get(TOKEN_HEADER)
        user_id = self.of_token(token) if token else None
        if token and user_id is None:
            raise AppError(
                401,
                f"The token in {TOKEN_HEADER} is not valid, or not any more: it ends when its user is deleted. "
                "Leave it out to be somebody new.",
            )
        return user_id

    def logged_in(self, request: Request) -> str | None:
        """Return who has logged in at Spotify with the browser that asks."""
        own = self.session(request)
        return own.user_id if own else None

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

    def begin_login(self, redirect_uri: str, after: str, *, adds: bool = False) -> tuple[str, str]:
        """Return where to log in at Spotify, and the cookie that ties the answer to this browser.

        Parameters
        ----------
        redirect_uri
            Where Spotify sends the browser.
        after
            The path to go to then.
        adds
            Whether to ask for the right to add playlists, too.

        Raises
        ------
        AppError
            If the app keeps nobody, and there is nothing to log in for.
        """
        if not (self.settings.app_keeps or adds):
            raise AppError(404, "This app keeps nobody, so there is nothing to log in for.")
        pkce = Tokens(self.settings).pkce(redirect_uri, adds=adds)
        state = secrets.token_urlsafe(24)
        url = pkce.get_authorize_url(state)
        values = {
            "state": state, "verifier": pkce.code_verifier, "challenge": pkce.code_challenge, "uri": redirect_uri,
            "after": local_path(after), "adds": adds,
        }  # fmt: skip
        return url, self.signer.sign(LOGIN, values)

    def finish_login(self, cookie: str, state: str, code: str, before: Session | None = None) -> tuple[str, str]:
        """Return the session cookie of who has logged in, and where they wanted to go.

        A new session every time: one that somebody else put into the browser before is worth nothing. A token that
        may add playlists is for that alone: what reads is the token of the login before, if it was the same user.

        Raises
        ------
        AppError
            If this is not the answer to a login that this browser began, or Spotify does not accept it.
        """
        begun = self.signer.open(LOGIN, cookie, LOGIN_SECONDS)
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
        if begun["adds"]:
            reading = before.token if before and before.user_id == user_id else None
            session = Session(user_id, reading, time.time(), token if may_add(token) else None)
        else:
            session = Session(user_id, token, time.time())
        number = secrets.token_urlsafe(32)
        self._remember(number, session)
        return number, begun["after"]

    def session(self, request: Request) -> Session | None:
        """Return the login of the browser that asks."""
        remembered = self._sessions.get(_digest(request.cookies.get(SESSION, "")))
        return remembered if remembered is not None and self._is_fresh(remembered) else None

    def lives(self, session: Session) -> bool:
        """Return whether a login is still good: not ended, not too old, and not from before its user was forgotten."""
        return any(other is session for other in self._sessions.values()) and self._is_fresh(session)

    def _is_fresh(self, session: Session) -> bool:
        if session.begun + SESSION_SECONDS < time.time():
            return False
        forgotten = self._tombstones.since(session.user_id)
        return forgotten is None or forgotten < session.begun

    def end(self, request: Request) -> None:
        """End a login."""
        self._sessions.pop(_digest(request.cookies.get(SESSION, "")), None)

    @cached_property
    def _tombstones(self) -> Tombstones:
        return Tombstones(self.settings.data)

    def _remember(self, number: str, session: Session) -> None:
        now = time.time()
        open_sessions = {key: other for key, other in self._sessions.items() if other.begun + SESSION_SECONDS > now}
        while len(open_sessions) >= MOST_LOGINS:
            open_sessions.pop(next(iter(open_sessions)))
        self._sessions = open_sessions | {_digest(number): session}


def local_path(path: str) -> str:
    """Return a path of this app, whatever was asked for: nobody is sent anywhere else after logging in."""
    # A browser takes "//host" and "/\\host" for another host, and leaves out tabs and line ends.
    plain = path.startswith("/") and path[1:2] not in ("/", "\\") and path.isprintable() and "\\" not in path
    return path if plain else "/"


def _digest(number: str) -> bytes:
    return hashlib.sha256(_bytes(number)).digest()


def _bytes(text: str) -> bytes:
    # What a client sends may hold halves of surrogate pairs.
    return text.encode(errors="replace")
