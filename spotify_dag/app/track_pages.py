"""The pages about tracks: search, continue a playlist, blend."""

from __future__ import annotations

import re

import gradio as gr

from spotify_dag.app import cards
from spotify_dag.app.html_pieces import message
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.page_parts import FILE_ENDINGS, HEAVY, or_problem, savable, script, static, texts_for
from spotify_dag.app.service import Service
from spotify_dag.app.texts import mark
from spotify_dag.app.track_questions import Continuation, TrackSearch
from spotify_dag.tracks.blend_answers import MOST_TRACKS, BlendWish


def search_page(service: Service) -> None:
    """Lay out the page on which tracks are searched for, and connect it."""
    query = gr.Textbox(label=mark("search-tracks"), placeholder=mark("search-tracks-begin"), max_length=1_000, lines=1)
    go = gr.Button(mark("search"), variant="primary")
    answer = savable("search", message("empty", mark("search-empty"), mark("search-empty-detail")))

    def show(text: str, request: gr.Request) -> str:
        """Find tracks."""
        say = texts_for(request)

        def found() -> str:
            tracks = service.tracks.search(TrackSearch(q=text, k=20))["tracks"]
            return cards.tracks(
                say,
                tracks,
                title=text.strip() or say("search-popular"),
                account=service.account_playlists.available,
                picks=True,
            )

        return or_problem(say, found)

    for trigger in (go.click, query.submit):
        trigger(show, query, answer, api_visibility="private", show_progress="minimal", **HEAVY)


def continue_page(service: Service) -> None:
    """Lay out the page on which a playlist is continued, and connect it."""
    seeds = gr.Textbox(
        label=mark("continue-tracks"), lines=4, max_length=100_000, placeholder=mark("continue-tracks-begin"),
        info=mark("continue-tracks-info"), elem_id="sd-seeds",
    )  # fmt: skip
    with gr.Row():
        title = gr.Textbox(label=mark("continue-title"), max_length=500, lines=1)
        mood = gr.Textbox(
            label=mark("continue-mood"), placeholder=mark("continue-mood-begin"), max_length=500, lines=1
        )  # fmt: skip
    with gr.Row():
        popularity = gr.Slider(
            -1, 1, 0, step=0.1, label=mark("continue-popularity"), info=mark("continue-popularity-info")
        )  # fmt: skip
        diversity = gr.Slider(0, 1, 0, step=0.1, label=mark("continue-diversity"))
    go = gr.Button(mark("continue"), variant="primary")
    answer = savable("continue", message("empty", mark("continue-empty"), mark("continue-empty-detail")))

    def show(listed: str, name: str, feeling: str, popular: float, diverse: float, request: gr.Request) -> str:
        """Continue a playlist."""
        say = texts_for(request)
        tracks = [line[:200] for line in re.split(r"[\n,]+", listed) if line.strip()][:1_000]
        asked = Continuation(
            tracks=tracks, title=name or None, mood=feeling or None, popularity=popular, diversity=diverse
        )

        def found() -> str:
            continued = service.tracks.continued(asked)
            title = name or feeling or say("continue-next")
            return cards.tracks(
                say,
                continued["recommendations"],
                continued["unknown"],
                title=title,
                account=service.account_playlists.available,
            )

        return or_problem(say, found)

    go.click(
        show, [seeds, title, mood, popularity, diversity], answer, api_visibility="private", show_progress="minimal",
        **HEAVY,
    )  # fmt: skip


def blend_page(service: Service) -> None:
    """Lay out the page on which several people get one list, and connect it.

    Who they are, the page tells the API: see ``blend.js``. Here the list is made and shown.
    """
    people = gr.HTML(
        html_template=static("blend.html")
        .replace("ACCEPT", FILE_ENDINGS)
        .replace("MOST_TRACKS", str(MOST_TRACKS)),
        js_on_load=script("blend.js").replace("TOKEN_HEADER", TOKEN_HEADER),
        apply_default_css=False,
    )  # fmt: skip
    answer = savable("blend", message("empty", mark("blend-empty"), mark("blend-empty-detail")))

    def show(event: gr.EventData, request: gr.Request) -> str:
        """Make the list of a blend."""
        say = texts_for(request)
        named = [name.strip()[:500] for name in str(event.without).split(",") if name.strip()]

        def listed() -> str:
            wish = BlendWish(tracks=int(event.tracks), known=float(event.known), without_artists=named)
            answer = service.guest_blends.listed(str(event.code), wish)
            return cards.blend(say, answer, account=service.account_playlists.available)

        return or_problem(say, listed)

    people.submit(show, None, answer, api_visibility="private", show_progress="minimal", **HEAVY)
