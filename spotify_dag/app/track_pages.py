"""The pages about tracks: search, continue a playlist, blend."""

from __future__ import annotations

import re

import gradio as gr

from spotify_dag.app import cards
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.page_parts import FILE_ENDINGS, HEAVY, or_problem, savable, static
from spotify_dag.app.service import Service
from spotify_dag.app.track_questions import Continuation, TrackSearch
from spotify_dag.tracks.blend_answers import MOST_TRACKS, BlendWish
from spotify_dag.tracks.text_search import POPULAR

CONTINUED = "What comes next"
"""Title of a list that continues one without a title."""


def search_page(service: Service) -> None:
    """Lay out the page on which tracks are searched for, and connect it."""
    query = gr.Textbox(label="Search tracks", placeholder="title, artist, album, or a mood", max_length=1_000, lines=1)
    go = gr.Button("Search", variant="primary")
    answer = savable(
        "search", cards.message("empty", "Any song", "Typos do not matter. An empty search shows what is popular.")
    )

    def show(text: str) -> str:
        """Find tracks."""

        def found() -> str:
            tracks = service.tracks.search(TrackSearch(q=text, k=20))["tracks"]
            return cards.tracks(
                tracks, title=text.strip() or POPULAR, account=service.account_playlists.available, picks=True
            )

        return or_problem(found)

    for trigger in (go.click, query.submit):
        trigger(show, query, answer, api_visibility="private", show_progress="minimal", **HEAVY)


def continue_page(service: Service) -> None:
    """Lay out the page on which a playlist is continued, and connect it."""
    seeds = gr.Textbox(
        label="Tracks", lines=4, max_length=100_000, placeholder="Links, URIs or ids of tracks, one a line",
        info="Picked by “Add” at a search, too; may stay empty where a title or a mood says enough",
        elem_id="sd-seeds",
    )  # fmt: skip
    with gr.Row():
        title = gr.Textbox(label="Title of the playlist", max_length=500, lines=1)
        mood = gr.Textbox(label="Mood", placeholder="calm acoustic evening", max_length=500, lines=1)
    with gr.Row():
        popularity = gr.Slider(-1, 1, 0, step=0.1, label="Popularity", info="-1: unknown tracks; 1: hits")
        diversity = gr.Slider(0, 1, 0, step=0.1, label="Diversity")
    go = gr.Button("Continue", variant="primary")
    answer = savable("continue", cards.message("empty", "What comes next?", "Give some tracks, a title or a mood."))

    def show(listed: str, name: str, feeling: str, popular: float, diverse: float) -> str:
        """Continue a playlist."""
        tracks = [line[:200] for line in re.split(r"[\n,]+", listed) if line.strip()][:1_000]
        asked = Continuation(
            tracks=tracks, title=name or None, mood=feeling or None, popularity=popular, diversity=diverse
        )

        def found() -> str:
            continued = service.tracks.continued(asked)
            title = name or feeling or CONTINUED
            return cards.tracks(
                continued["recommendations"],
                continued["unknown"],
                title=title,
                account=service.account_playlists.available,
            )

        return or_problem(found)

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
        js_on_load=static("blend.js").replace("TOKEN_HEADER", TOKEN_HEADER),
        apply_default_css=False,
    )  # fmt: skip
    answer = savable(
        "blend",
        cards.message(
            "empty", "One list for all of you", "It serves whoever is served least as well as can be. Up to 20 people."
        ),
    )

    def show(event: gr.EventData) -> str:
        """Make the list of a blend."""
        named = [name.strip()[:500] for name in str(event.without).split(",") if name.strip()]

        def listed() -> str:
            wish = BlendWish(tracks=int(event.tracks), known=float(event.known), without_artists=named)
            return cards.blend(
                service.guest_blends.listed(str(event.code), wish), account=service.account_playlists.available
            )

        return or_problem(listed)

    people.submit(show, None, answer, api_visibility="private", show_progress="minimal", **HEAVY)
