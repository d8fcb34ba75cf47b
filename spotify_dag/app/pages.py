"""The pages people use: Gradio around the answers of the service, whose HTML is made in `cards`."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from fastapi import FastAPI, Request

from spotify_dag.app import cards
from spotify_dag.app.background_jobs import Job, follow
from spotify_dag.app.guard import client_of
from spotify_dag.app.html_pieces import message
from spotify_dag.app.my_data_page import login_state, my_data_page
from spotify_dag.app.page_language import PageLanguage
from spotify_dag.app.page_parts import (
    FILE_ENDINGS,
    html_part,
    or_problem,
    plain_request,
    said_by,
    script,
    static,
    texts_for,
)
from spotify_dag.app.pages_guard import PagesGuard
from spotify_dag.app.service import Service, Wish
from spotify_dag.app.texts import Texts, filled, mark, texts_of
from spotify_dag.app.track_pages import blend_page, continue_page, search_page
from spotify_dag.errors import SpotifyDagError
from spotify_dag.sources.listenbrainz.names import ListenBrainzNameError, names_profile, parse_name, user_id_of
from spotify_dag.sources.spotify.names import UserNameError, parse_user

MOST_ARTISTS, MOST_LISTS = 200, 50
"""Ends of the sliders; at the end of the second all playlists count."""
QUEUE_SECONDS = (0.05, 0.1)
"""Between two looks at the queue of questions, and at the progress of answers."""
MATCHES, EXAMPLES = 9, 3
SAVING = ("blend", "search", "continue", "mine")
"""Tabs whose lists can be added to an account."""
NAME = "Soundkin"
"""What people call it."""
FONT = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]


def add_pages(app: FastAPI, service: Service) -> None:
    """Mount the pages at ``/``."""
    from fastapi.responses import HTMLResponse
    from starlette.routing import Mount

    @app.get("/map", include_in_schema=False)
    def map_page(request: Request) -> HTMLResponse:
        say = texts_of(request)
        return HTMLResponse(_map_in(say), headers={"content-language": say.language, "vary": "accept-language"})

    blocks = _blocks(service)
    gr.mount_gradio_app(
        app, blocks, path="/", theme=_theme(), css=static("app.css"), footer_links=[], run_history=False,
        show_error=False, ssr_mode=False, max_file_size=1, enable_monitoring=False, mcp_server=False, pwa=False,
        head='<meta name="robots" content="noindex"><link rel="icon" href="data:,">',
    )  # fmt: skip
    (mounted,) = (route for route in app.routes if isinstance(route, Mount))
    mounted.app = PagesGuard(PageLanguage(mounted.app), blocks)


def _theme() -> gr.themes.Base:
    """Return colours that can be read (WCAG AA), and fonts that every machine has."""
    theme = gr.themes.Base(primary_hue="green", neutral_hue="slate", font=FONT, font_mono=["ui-monospace", "monospace"])
    readable = {"text_color": "*neutral_700", "text_color_dark": "*neutral_200"}
    return theme.set(
        button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700", button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white", button_primary_text_color_dark="white",
        button_cancel_background_fill="#9b1c1c", button_cancel_background_fill_dark="#9b1c1c",
        button_cancel_text_color="white", button_cancel_text_color_dark="white",
        # Where something is filled in or ticked has to be seen, too (WCAG 2.2, 1.4.11).
        input_border_width="1px", input_border_color="*neutral_500", input_border_color_dark="*neutral_400",
        checkbox_border_color="*neutral_500", checkbox_border_color_dark="*neutral_400",
        input_placeholder_color="*neutral_600", input_placeholder_color_dark="*neutral_300",
        body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_300",
        **{f"{part}_{name}": value for part in ("block_info", "block_title", "block_label")
           for name, value in readable.items()},
    )  # fmt: skip


def _blocks(service: Service) -> gr.Blocks:
    with gr.Blocks(title=mark("page-title", name=NAME), analytics_enabled=False) as blocks:
        gr.HTML(
            f'<header class="sd-head"><h1>{NAME}</h1><p>{mark("page-claim")}</p></header>'
            '<datalist id="sd-listeners"></datalist>',
            apply_default_css=False, js_on_load=script("pick.js"),
        )  # fmt: skip
        with gr.Tabs() as tabs:
            with gr.Tab(mark("find"), id="find"):
                find = _find(service)
            with gr.Tab(mark("tab-compare"), id="compare"):
                compare = _compare(service)
            with gr.Tab(mark("tab-blend"), id="blend", visible=service.tracks.available()):
                blend_page(service)
            with gr.Tab(mark("tab-map"), id="map") as map_tab:
                taste_map = html_part("")
            with gr.Tab(mark("tab-search"), id="search", visible=service.tracks.available()):
                search_page(service)
            with gr.Tab(mark("tab-continue"), id="continue", visible=service.tracks.available()):
                continue_page(service)
            with gr.Tab(mark("tab-mine"), id="mine", visible=service.project.settings.app_keeps):
                login = my_data_page(service)

        def map_of(name: str, request: gr.Request) -> str:
            """Return the map with a ring around the user of a profile, or who is logged in."""
            return _map_frame(
                texts_for(request), _named(name) or service.identity.logged_in(plain_request(request)) or ""
            )

        # When it is opened: most who ask for people never look at it.
        map_tab.select(
            map_of, find.profile, taste_map, api_visibility="private", show_progress="hidden",
            trigger_mode="always_last",
        )  # fmt: skip

        outputs = [
            login, find.profile, find.examples, find.answer, compare.first, compare.second, compare.answer,
            tabs,
        ]  # fmt: skip
        arrive = _arrival(service, login, find, compare, tabs)
        blocks.load(arrive, None, outputs, api_visibility="private", show_progress="hidden")
    blocks.queue(api_open=False, max_size=100, default_concurrency_limit=8)
    # Gradio looks a thousand times a second whether somebody asks, and a hundred times whether an answer progresses. As
    # often as on Windows is enough, and costs an idle app nothing.
    blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = QUEUE_SECONDS
    return blocks


def _arrival(
    service: Service, login: gr.HTML, find: _Part, compare: _Part, tabs: gr.Tabs
) -> Callable[[gr.Request], Iterator[dict[Any, Any]]]:
    """Return what fills a page that was just opened."""

    def arrive(request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Show what the address asks for: a user, two users, or nothing yet."""
        asked = {name: value[:500] for name, value in dict(request.query_params).items() if isinstance(value, str)}
        say, who = texts_for(request), service.identity.logged_in(plain_request(request))
        user = asked.get("user", "")
        shown: dict[Any, Any] = {login: login_state(say, who), find.examples: _examples(say, service)}
        # Only what was asked for: a quick user has begun to type, or went to another page.
        if user:
            shown[find.profile] = user
        if "a" in asked:
            shown |= {
                compare.first: asked["a"],
                compare.second: asked.get("b", ""),
                tabs: gr.Tabs(selected="compare"),
            }
        for tab in ("mine", "blend"):
            if tab in asked:
                shown[tabs] = gr.Tabs(selected=tab)
        if asked.get("saved") in SAVING:
            shown[tabs] = gr.Tabs(selected=asked["saved"])
        if "denied" in asked:
            shown[find.answer] = message("hint", say("denied"), say("denied-detail"))
        yield shown
        if user:
            for answer in find.by_profile(user, False, 0, *find.defaults, request):
                yield {find.answer: answer}
        if asked.get("a") and asked.get("b"):
            yield {compare.answer: compare.show(asked["a"], asked["b"], request)}

    return arrive


def _named(profile: str) -> str:
    """Return the id of the user of a profile; nothing where the text names nobody."""
    try:
        return user_id_of(parse_name(profile)) if names_profile(profile) else parse_user(profile)
    except (UserNameError, ListenBrainzNameError):
        return ""


class _Part:
    """Components and functions of one page that others need."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


def _find(service: Service) -> _Part:
    """Lay the page out on which people ask for matches, and connect it."""
    settings = service.project.settings
    artists = min(settings.top_artist_count, MOST_ARTISTS)
    lists = min(settings.playlists_count or MOST_LISTS, MOST_LISTS)
    with gr.Row():
        with gr.Column(min_width=280):
            profile = gr.Textbox(
                label=mark("find-profile"), placeholder="https://open.spotify.com/user/…", max_length=500, lines=1,
                max_lines=1, elem_classes="sd-who", info=mark("find-profile-info"),
            )  # fmt: skip
            go = gr.Button(mark("find"), variant="primary")
        with gr.Column(min_width=280):
            upload = gr.HTML(
                html_template=static("upload.html")
                .replace("ARTISTS", str(artists))
                .replace("LISTS", str(lists))
                .replace("MOST", str(settings.app_max_upload_mb))
                .replace("ACCEPT", FILE_ENDINGS),
                js_on_load=script("upload.js"),
                apply_default_css=False,
            )
    top, count, shared = _comparison_sliders(artists, lists)
    consent = gr.Checkbox(
        False, label=mark("find-consent"), elem_id="sd-consent", visible=settings.app_keeps,
        info=mark("find-consent-info"),
    )  # fmt: skip
    examples = html_part("")
    answer = html_part(
        message("empty", mark("find-empty"), mark("find-empty-detail")), elem_id="sd-answer"
    )  # fmt: skip
    by_profile = _answer_to_profile(service, artists, lists)

    def by_file(event: gr.EventData, request: gr.Request) -> Iterator[str]:
        """Follow the reading of a file that the page has sent."""
        yield from _followed(texts_for(request), service, lambda: service.jobs.find(str(event.job)[:100]), by_file=True)

    for trigger in (go.click, profile.submit):
        trigger(
            by_profile, [profile, consent, shared, top, count], answer, api_visibility="private",
            show_progress="hidden", trigger_mode="once",
        )  # fmt: skip
    upload.submit(by_file, None, answer, api_visibility="private", show_progress="hidden")
    return _Part(
        profile=profile, examples=examples, answer=answer, by_profile=by_profile, defaults=(artists, lists)
    )  # fmt: skip


def _comparison_sliders(artists: int, lists: int) -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    """Return the sliders for artists and playlists that count, and for artists in common; set to the defaults given."""
    with gr.Accordion(mark("find-how"), open=False), gr.Row():
        top = gr.Slider(
            1, MOST_ARTISTS, artists, step=1, label=mark("find-artists"), elem_id="sd-artists",
            info=mark("find-artists-info"),
        )  # fmt: skip
        count = gr.Slider(
            1, MOST_LISTS, lists, step=1, label=mark("find-lists"), elem_id="sd-lists",
            info=mark("find-lists-info", most=MOST_LISTS),
        )  # fmt: skip
        shared = gr.Slider(
            0, 20, 0, step=1, label=mark("find-shared"), elem_id="sd-min-shared", info=mark("find-shared-info"),
        )  # fmt: skip
    return top, count, shared


def _answer_to_profile(service: Service, artists: int, lists: int) -> Callable[..., Iterator[str]]:
    """Return the function that answers a profile; ``artists`` and ``lists`` are where the sliders stand at first."""

    def wish(agreed: bool, least: int, artist_count: int, playlist_count: int) -> Wish:
        moved = artist_count != artists or playlist_count != lists
        return Wish(
            MATCHES, int(least), bool(agreed), int(artist_count) if moved else None,
            int(playlist_count) if moved and playlist_count < MOST_LISTS else None,
        )  # fmt: skip

    def by_profile(
        name: str, agreed: bool, least: int, artist_count: int, playlist_count: int, request: gr.Request
    ) -> Iterator[str]:
        """Answer a profile, telling how far it is."""
        say = texts_for(request)
        if not name.strip():
            yield message("hint", say("find-nobody"), say("find-nobody-detail"))
            return
        who, plain = service.identity, plain_request(request)

        def begin() -> Job:
            # Here as at the API: pages send what they ask for by way of Gradio's queue.
            service.newcomer_rate.admit(client_of(plain.scope))
            return service.add_profile(
                name[:500], wish(agreed, least, artist_count, playlist_count), login=who.session(plain),
                client=client_of(plain.scope),
            )  # fmt: skip

        yield from _followed(say, service, begin)

    return by_profile


def _compare(service: Service) -> _Part:
    with gr.Row():
        first, second = (
            gr.Textbox(label=label, placeholder=mark("compare-begin"), max_length=500, lines=1, max_lines=1,
                       elem_classes="sd-who")
            for label in (mark("compare-one"), mark("compare-other"))
        )  # fmt: skip
    go = gr.Button(mark("compare"), variant="primary")
    answer = html_part(
        message("empty", mark("compare-empty"), mark("compare-empty-detail")), elem_id="sd-comparison"
    )  # fmt: skip

    def show(first: str, second: str, request: gr.Request) -> str:
        """Compare two users."""
        say = texts_for(request)
        if not first.strip() or not second.strip():
            return message("hint", say("compare-two-needed"), say("compare-two-needed-detail"))
        proven = service.identity.proven(plain_request(request))
        return or_problem(
            say, lambda: cards.comparison(say, service.compare(first.strip(), second.strip(), 15, proven))
        )

    for trigger in (go.click, second.submit):
        trigger(show, [first, second], answer, api_visibility="private", show_progress="hidden")
    return _Part(first=first, second=second, answer=answer, show=show)


def _examples(say: Texts, service: Service) -> str:
    try:
        return cards.examples(say, service.listeners("", EXAMPLES)["listeners"])
    except SpotifyDagError:  # nothing is published yet, and the first question says so
        return ""


def _map_in(say: Texts) -> str:
    page = static("map.html")
    said = static("say.js").replace("TEXTS", say.for_scripts(said_by(page)))
    return filled(page.replace("LANGUAGE", say.language).replace("SAY", said), say)


def _map_frame(say: Texts, user_id: str) -> str:
    query = html.escape(urlencode({"user": user_id[:500]}), quote=True)
    return f'<iframe class="sd-map" title="{say("tab-map")}" loading="lazy" src="/map?{query}"></iframe>'


def _followed(say: Texts, service: Service, begin: Callable[[], Job], *, by_file: bool = False) -> Iterator[str]:
    """Yield how far a job is, then its result."""
    try:
        job = begin()
    except SpotifyDagError as error:
        yield cards.problem(say, {"detail": str(error)})
        return
    for name, data in follow(job):
        if name == "problem":
            yield cards.problem(say, data)
        elif name == "result":
            how = {"blends": service.tracks.available(), "by_file": by_file}
            yield cards.matches(say, data, **how)
            yield cards.matches(say, service.with_top_tracks(data), **how)
        else:
            yield cards.progress(say, data)
