"""Logging in at Spotify and out; addresses of a browser, not of programs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from spotify_dag.app.api_parts import address_of
from spotify_dag.app.docs_page import login_problem
from spotify_dag.app.identity import LOGIN, LOGIN_SECONDS, SESSION, SESSION_SECONDS
from spotify_dag.app.problems import documented, status_of
from spotify_dag.app.service import Service
from spotify_dag.app.texts import texts_of
from spotify_dag.errors import SpotifyDagError


def login_routes(service: Service) -> APIRouter:
    """Return the routes by which people log in at Spotify, and out."""
    router = APIRouter(responses=documented(404, 502))
    settings = service.project.settings
    secure = bool(settings.app_url and settings.app_url.startswith("https://"))

    def page_of(request: Request, error: SpotifyDagError) -> Response:
        """Return an error as a page to a browser, and to everybody else as a problem."""
        if "text/html" not in request.headers.get("accept", ""):
            raise error
        status, headers = status_of(error)
        return HTMLResponse(login_problem(texts_of(request), str(error)), status, headers)

    @router.get("/login")
    def login(
        request: Request, after: Annotated[str, Query(max_length=500)] = "/", playlists: bool = False
    ) -> Response:
        """Send somebody to Spotify to log in; with ``playlists`` also to agree that playlists are added."""
        try:
            url, cookie = service.identity.begin_login(
                f"{address_of(request, settings)}/callback", after, adds=playlists
            )
        except SpotifyDagError as error:
            return page_of(request, error)
        answer = RedirectResponse(url, 303)
        answer.set_cookie(LOGIN, cookie, LOGIN_SECONDS, path="/callback", secure=secure, httponly=True, samesite="lax")
        return answer

    @router.get("/callback")
    def callback(
        request: Request,
        state: Annotated[str, Query(max_length=500)] = "",
        code: Annotated[str, Query(max_length=4_000)] = "",
        error: Annotated[str, Query(max_length=500)] = "",
        login: Annotated[str, Cookie(max_length=8_000)] = "",
    ) -> Response:
        """Take Spotify's answer to a login."""
        if error or not code:
            return RedirectResponse("/?denied=1", 303)
        try:
            before = service.identity.session(request)
            session, after = service.identity.finish_login(login, state, code, before)
        except SpotifyDagError as refusal:
            return page_of(request, refusal)
        answer = RedirectResponse(after, 303)
        answer.delete_cookie(LOGIN, path="/callback")
        answer.set_cookie(SESSION, session, SESSION_SECONDS, secure=secure, httponly=True, samesite="lax")
        return answer

    @router.post("/logout")
    def logout(request: Request) -> Response:
        """End a session."""
        service.identity.end(request)
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(SESSION)
        return answer

    return router
