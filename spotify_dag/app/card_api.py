"""A small picture of a user's taste that other sites may show: for users who ask for one, and for nobody else."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from spotify_dag.app import api_models
from spotify_dag.app.api_parts import Json, Token, UserId
from spotify_dag.app.guard import API
from spotify_dag.app.pictures import short
from spotify_dag.app.problems import documented
from spotify_dag.lifecycle.change_preferences import set_wish
from spotify_dag.matching.matcher import UnknownUserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_dag.app.service import Service

GENRES, ARTISTS = 4, 5
FRESH_SECONDS = 3_600
"""How long others may keep the picture: who takes it back is seen no longer than that."""
WIDTH, HEIGHT, MARGIN, LINE = 420, 210, 20, 26
BARS, LONGEST = 170, 230
"""Where bars begin, and how long the longest is, in pixels."""
HEADERS = {
    "Cache-Control": f"public, max-age={FRESH_SECONDS}",
    # A picture of its own, which runs nothing and loads nothing, on any page.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cross-Origin-Resource-Policy": "cross-origin",
}
STYLE = (
    "text{font:14px system-ui,sans-serif;fill:#14181b}.name{font-size:18px;font-weight:600}.small{font-size:12px}"
    "rect{fill:#fff;stroke:#c8d0d6}.bar{fill:#0b6b34;stroke:none}"
    "@media(prefers-color-scheme:dark){text{fill:#e6ecef}rect{fill:#14181b;stroke:#3a444b}.bar{fill:#3fb56f}}"
)


def user_cards(service: Service) -> APIRouter:
    """Return the routes of cards."""
    router = APIRouter(prefix=API, default_response_class=Json, responses=documented(404))
    wishes = service.project.inbox.cards

    async def _set(request: Request, user_id: str, wished: bool) -> JSONResponse:
        service.identity.require(request, user_id)
        await service.heavy.run(set_wish, service.project, wishes, user_id, wished)
        return Json({"user_id": user_id, "card": wished})

    @router.put("/users/{user_id}/card", response_model=api_models.CardAnswer)
    async def show(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Let anybody see a small picture of one's taste; only the user themselves may ask for it."""
        return await _set(request, user_id, True)

    @router.delete("/users/{user_id}/card", response_model=api_models.CardAnswer)
    async def hide(request: Request, user_id: UserId, token: Token = None) -> Response:
        """Show it to nobody any more; only the user themselves may ask for it."""
        return await _set(request, user_id, False)

    @router.get(
        "/users/{user_id}/card.svg",
        response_class=Response,
        responses={200: {"content": {"image/svg+xml": {}}, "description": "A picture for other sites"}},
    )
    def card(user_id: UserId) -> Response:
        """Return the picture of a user who asked for one and is shown to others."""
        if user_id not in wishes.users():
            raise UnknownUserError(f"'{user_id[:80]}' has no card. Users ask for theirs under My data.")
        snapshot = service.serving.snapshot()
        taste = snapshot.person(user_id).taste
        genres = taste.heaviest("genre", GENRES)
        artists = [name for name, _ in taste.heaviest("artist", ARTISTS)]
        return Response(drawn(user_id, genres, artists), headers=HEADERS, media_type="image/svg+xml")

    return router


def drawn(user_id: str, genres: Sequence[tuple[str, float]], artists: Sequence[str]) -> str:
    """Return the card as SVG: genres with their weights as bars, and the artists by name."""
    most = max((weight for _, weight in genres), default=1.0)
    parts = [_text(MARGIN, 34, user_id, "name")]
    for number, (name, weight) in enumerate(genres):
        middle = 66 + number * LINE
        parts.append(_text(MARGIN, middle, name))
        width = max(LONGEST * weight / most, 2)
        parts.append(f'<rect class="bar" x="{BARS}" y="{middle - 12}" width="{width:.0f}" height="14" rx="3"/>')
    lines = (artists[:3], artists[3:])
    parts += [
        _text(MARGIN, 176 + number * 18, ", ".join(map(short, line)), "small") for number, line in enumerate(lines)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img"><title>{escape(short(user_id))}</title><style>{STYLE}</style>'
        f'<rect x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>{"".join(parts)}</svg>'
    )


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(words if kind == "small" else short(words))}</text>'
