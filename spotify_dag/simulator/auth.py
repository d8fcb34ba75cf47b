"""Logging in: ``/authorize``, ``/api/token`` and the tokens they give out.

Tokens are signed and carry their grant. So the simulator keeps no list of tokens, and a simulator that is started again
with the same seed still accepts them. As at Spotify, refresh tokens of PKCE logins work once, and a login ends after
its life.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response

from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.world import World

CODE_SECONDS = 600


class TokenError(Exception):
    """A request for a token that is refused: an OAuth error code and its description."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error, self.description = error, description


@dataclass(frozen=True)
class Grant:
    """The grant of a token: its user, scopes and times."""

    kind: Literal["code", "access", "refresh"]
    user: str | None
    """None: the app itself, by client credentials."""
    scope: str = ""
    login_at: float = 0
    """When the user agreed, seconds since 1970."""
    expires_at: float = 0
    challenge: str | None = None
    """The PKCE challenge of the login; None without one."""
    redirect_uri: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes the user agreed to."""
        return frozenset(self.scope.split())


class Issuer:
    """Issues tokens and verifies them."""

    def __init__(self, settings: SimulatorSettings, world: World) -> None:
        self.settings = settings
        self.world = world
        # Derived from the seed: tokens then outlive the process. It guards generated listeners only.
        self._key = hashlib.sha256(f"simulator {settings.seed}".encode()).digest()
        self._spent: set[str] = set()
        self._revoked_at: dict[str, float] = {}

    def sign(self, grant: Grant) -> str:
        """Return the token of a grant."""
        body = base64.urlsafe_b64encode(json.dumps(vars(grant)).encode())
        return (body + b"." + self._signature(body)).decode()

    def grant(self, token: str, kind: str) -> Grant | None:
        """Return the grant of a token, expired or not; None if it was not issued as this kind, or was revoked."""
        body, _, signature = token.encode(errors="replace").partition(b".")
        if not hmac.compare_digest(signature, self._signature(body)):
            return None
        grant = Grant(**json.loads(base64.urlsafe_b64decode(body)))
        revoked = grant.login_at <= self._revoked_at.get(grant.user or "", -1)
        return grant if grant.kind == kind and not revoked else None

    def revoke(self, user: str) -> None:
        """Revoke all tokens of a user, as if the user removed the app from their account."""
        self._revoked_at[user] = time.time()

    def client(self, form: dict[str, str], authorization: str) -> bool:
        """Return whether a request for a token has the app's secret. Refuse a request of another app."""
        scheme, _, encoded = authorization.partition(" ")
        if scheme == "Basic":
            try:
                client, _, secret = base64.b64decode(encoded).decode().partition(":")
            except ValueError as error:
                raise TokenError("invalid_client", "Invalid client") from error
        else:
            client, secret = form.get("client_id", ""), form.get("client_secret", "")
        if client != self.settings.client_id:
            raise TokenError("invalid_client", "Invalid client")
        if secret and secret != self.settings.client_secret:
            raise TokenError("invalid_client", "Invalid client secret")
        return bool(secret)

    def by_client_credentials(self, *, has_secret: bool) -> dict[str, Any]:
        """Return a token of the app itself."""
        if not has_secret:
            raise TokenError("invalid_client", "Invalid client secret")
        return self._access(Grant("access", None))

    def by_code(self, form: dict[str, str], *, has_secret: bool) -> dict[str, Any]:
        """Exchange an authorization code, proved by the app's secret or the PKCE verifier."""
        code = self.grant(form.get("code", ""), "code")
        if code is None or code.nonce in self._spent:
            raise TokenError("invalid_grant", "Invalid authorization code")
        if time.time() > code.expires_at:
            raise TokenError("invalid_grant", "Authorization code expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise TokenError("invalid_grant", "Invalid redirect URI")
        if code.challenge is not None:
            hashed = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(hashed).decode().rstrip("=") != code.challenge:
                raise TokenError("invalid_grant", "code_verifier was incorrect")
        elif not has_secret:
            raise TokenError("invalid_client", "Invalid client secret")
        self._spent.add(code.nonce)
        return self._access(code) | {"refresh_token": self._refresh(code)}

    def by_refresh(self, form: dict[str, str], *, has_secret: bool) -> dict[str, Any]:
        """Exchange a refresh token. A refresh token of a PKCE login becomes invalid and is replaced."""
        old = self.grant(form.get("refresh_token", ""), "refresh")
        if old is None or old.nonce in self._spent:
            raise TokenError("invalid_grant", "Refresh token revoked")
        if time.time() > old.expires_at:
            raise TokenError("invalid_grant", "Refresh token expired")
        if old.challenge is None:
            if not has_secret:
                raise TokenError("invalid_client", "Invalid client secret")
            return self._access(old)
        self._spent.add(old.nonce)
        return self._access(old) | {"refresh_token": self._refresh(old)}

    def _access(self, of: Grant) -> dict[str, Any]:
        seconds = self.settings.access_token_seconds
        now = time.time()
        grant = Grant("access", of.user, of.scope, of.login_at or now, now + seconds)
        return {
            "access_token": self.sign(grant),
            "token_type": "Bearer",
            "expires_in": int(seconds),
            **({"scope": of.scope} if of.user else {}),
        }

    def _refresh(self, of: Grant) -> str:
        # Counted from the login: refreshing does not prolong it.
        dies = of.login_at + self.settings.refresh_token_seconds
        return self.sign(Grant("refresh", of.user, of.scope, of.login_at, dies, of.challenge))

    def _signature(self, body: bytes) -> bytes:
        return base64.urlsafe_b64encode(hmac.digest(self._key, body, "sha256")).rstrip(b"=")


def router(issuer: Issuer) -> APIRouter:
    """Return the routes that Spotify has at accounts.spotify.com."""
    routes = APIRouter()

    @routes.get("/authorize")
    async def authorize(request: Request) -> Response:
        """Show a page to choose the user who logs in; with ``user=`` or ``error=access_denied``, answer at once."""
        asked = dict(request.query_params)
        if problem := _problem(asked, issuer):
            return PlainTextResponse(problem, 400)
        if "error" not in asked and "user" not in asked:
            return HTMLResponse(_consent_page(asked, issuer.world.user_id(0)))
        answer = {"state": asked["state"]} if "state" in asked else {}
        redirect = asked["redirect_uri"]
        if "error" in asked:
            answer["error"] = "access_denied"
        else:
            now = time.time()
            scope, challenge = asked.get("scope", ""), asked.get("code_challenge")
            code = Grant("code", asked["user"], scope, now, now + CODE_SECONDS, challenge, redirect)
            answer["code"] = issuer.sign(code)
        return RedirectResponse(f"{redirect}{'&' if '?' in redirect else '?'}{urlencode(answer)}", 303)

    @routes.post("/api/token")
    async def token(request: Request) -> Response:
        """Issue tokens for a grant."""
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        try:
            has_secret = issuer.client(form, request.headers.get("authorization", ""))
            match form.get("grant_type"):
                case "client_credentials":
                    return JSONResponse(issuer.by_client_credentials(has_secret=has_secret))
                case "authorization_code":
                    return JSONResponse(issuer.by_code(form, has_secret=has_secret))
                case "refresh_token":
                    return JSONResponse(issuer.by_refresh(form, has_secret=has_secret))
                case _:
                    raise TokenError("unsupported_grant_type", "grant_type parameter is missing or unknown")
        except TokenError as refused:
            return JSONResponse({"error": refused.error, "error_description": refused.description}, 400)

    return routes


def _problem(asked: dict[str, str], issuer: Issuer) -> str | None:
    """Return why a login is refused without a redirect; None if it is not."""
    if asked.get("client_id") != issuer.settings.client_id:
        return "INVALID_CLIENT: Invalid client"
    if not _allowed_redirect(asked.get("redirect_uri", "")):
        return "INVALID_CLIENT: Insecure redirect URI"
    if asked.get("response_type") != "code":
        return "response_type must be code"
    if "code_challenge" in asked and asked.get("code_challenge_method") != "S256":
        return "code_challenge_method must be S256"
    if "user" in asked and issuer.world.user_number(asked["user"]) is None:
        return f"There is no user {asked['user']} in this world, whose users are {issuer.world.user_id(0)} and on."
    return None


def _allowed_redirect(uri: str) -> bool:
    """Return whether Spotify would redirect there: HTTPS, or HTTP to a loopback address, but not to ``localhost``."""
    parts = urlsplit(uri)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1"))


def _consent_page(asked: dict[str, str], user: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{html.escape(name)}" value="{html.escape(value)}">'
        for name, value in asked.items()
    )
    return (
        "<!doctype html><title>Simulated login</title><h1>Simulated login</h1>"
        f"<p>The app asks for: {html.escape(asked.get('scope', '')) or 'nothing but who you are'}</p>"
        f'<form action="/authorize">{hidden}<label>Log in as <input name="user" value="{user}"></label> '
        "<button>Agree</button></form>"
        f'<form action="/authorize">{hidden}<button name="error" value="access_denied">Cancel</button></form>'
    )
