"""The pages people use: Gradio around the answers of the service, whose HTML is made in `cards`."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gradio as gr

from spotify_dag.app import cards, my_data
from spotify_dag.app.background_jobs import Job, follow
from spotify_dag.app.guard import client_of
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.pages_guard import PagesGuard
from spotify_dag.app.service import Service, Wish
from spotify_dag.app.track_questions import Continuation, TrackSearch
from spotify_dag.errors import SpotifyDagError
from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.sources.listenbrainz.names import ListenBrainzNameError, names_profile, parse_name, user_id_of
from spotify_dag.sources.spotify.names import UserNameError, parse_user
from spotify_dag.tracks.text_search import POPULAR
from spotify_dag.tracks.tracks_for import SuggestWish

if TYPE_CHECKING:
    from fastapi import FastAPI

MOST_ARTISTS, MOST_LISTS = 200, 50
"""Ends of the sliders; at the end of the second all playlists count."""
QUEUE_SECONDS = (0.05, 0.1)
"""Between two looks at the queue of questions, and at the progress of answers."""
MATCHES = 9
SAVING = ("search", "continue", "mine")
"""Tabs whose lists can be added to an account."""
EMPTY = cards.message(
    "empty", "Who listens like you?", "Paste a profile, or drop a file you exported. Nothing is kept."
)
DENIED = cards.message(
    "hint", "You have not logged in", "Spotify was told no, or stopped. Nothing was read, and nothing is kept."
)
HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 2}
"""Of what costs much, so many run at once for all pages together."""
CONTINUED = "What comes next"
"""Title of a list that continues one without a title."""
FONT = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]


def add_pages(app: FastAPI, service: Service) -> None:
    """Mount the pages at ``/``."""
    from fastapi.responses import HTMLResponse
    from starlette.routing import Mount

    @app.get("/map", include_in_schema=False)
    def map_page() -> HTMLResponse:
        return HTMLResponse(_static("map.html"))

    blocks = _blocks(service)
    gr.mount_gradio_app(
        app, blocks, path="/", theme=_theme(), css=_static("app.css"), footer_links=[], run_history=False,
        show_error=False, ssr_mode=False, max_file_size=1, enable_monitoring=False, mcp_server=False, pwa=False,
        head='<meta name="robots" content="noindex"><link rel="icon" href="data:,">',
    )  # fmt: skip
    (mounted,) = (route for route in app.routes if isinstance(route, Mount))
    mounted.app = PagesGuard(mounted.app, blocks)


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
    with gr.Blocks(title="spotify_dag: people who listen like you", analytics_enabled=False) as blocks:
        _html(
            '<header class="sd-head"><h1>spotify_dag</h1><p>People who listen like you, why, and what they would play '
            "you next.</p></header>"
        )
        with gr.Tabs() as tabs:
            with gr.Tab("Find my people", id="find"):
                find = _find(service)
            with gr.Tab("Compare two", id="compare"):
                compare = _compare(service)
            with gr.Tab("Taste map", id="map"):
                taste_map = _html(_map_frame(""))
            with gr.Tab("Search", id="search", visible=service.tracks.available()):
                _search(service)
            with gr.Tab("Continue a playlist", id="continue", visible=service.tracks.available()):
                _continue(service)
            with gr.Tab("My data", id="mine", visible=service.project.settings.app_keeps):
                login = _mine(service)

        for asked_for in find.triggers:
            asked_for(
                _map_of, find.profile, taste_map, api_visibility="private", show_progress="hidden",
                trigger_mode="always_last",
            )  # fmt: skip

        def arrive(request: gr.Request) -> Iterator[dict[Any, Any]]:
            """Show what the address asks for: a user, two users, or nothing yet."""
            asked = {name: value[:500] for name, value in dict(request.query_params).items() if isinstance(value, str)}
            who = service.identity.logged_in(_plain(request))
            user = asked.get("user", "")
            shown: dict[Any, Any] = {login: _login_state(who)}
            # Only what was asked for: a quick user has begun to type, asked already, or went to another page.
            if user or who:
                shown[taste_map] = _map_frame(user or who or "")
            if user:
                shown[find.profile] = user
            if "a" in asked:
                shown |= {
                    compare.first: asked["a"],
                    compare.second: asked.get("b", ""),
                    tabs: gr.Tabs(selected="compare"),
                }
            if "mine" in asked:
                shown[tabs] = gr.Tabs(selected="mine")
            if asked.get("saved") in SAVING:
                shown[tabs] = gr.Tabs(selected=asked["saved"])
            if "denied" in asked:
                shown[find.answer] = DENIED
            yield shown
            if user:
                for answer in find.by_profile(user, False, 0, *find.defaults, request):
                    yield {find.answer: answer}
            if asked.get("a") and asked.get("b"):
                yield {compare.answer: compare.show(asked["a"], asked["b"], request)}

        outputs = [login, find.profile, find.answer, taste_map, compare.first, compare.second, compare.answer, tabs]
        blocks.load(arrive, None, outputs, api_visibility="private", show_progress="hidden")
    blocks.queue(api_open=False, max_size=100, default_concurrency_limit=8)
    # Gradio looks a thousand times a second whether somebody asks, and a hundred times whether an answer progresses. As
    # often as on Windows is enough, and costs an idle app nothing.
    blocks._queue.sleep_when_free, blocks._queue.progress_update_sleep_when_free = QUEUE_SECONDS
    return blocks


def _map_of(name: str) -> str:
    """Return the map with a ring around the user of a profile; without one where the text names nobody."""
    try:
        return _map_frame(user_id_of(parse_name(name)) if names_profile(name) else parse_user(name))
    except (UserNameError, ListenBrainzNameError):
        return _map_frame("")


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
                label="Profile", placeholder="https://open.spotify.com/user/…", max_length=500, lines=1,
                info="Of Spotify (URL, URI or user id) or ListenBrainz (https://listenbrainz.org/user/…)",
            )  # fmt: skip
            go = gr.Button("Find my people", variant="primary")
        with gr.Column(min_width=280):
            upload = gr.HTML(
                html_template=_static("upload.html")
                .replace("ARTISTS", str(artists))
                .replace("LISTS", str(lists))
                .replace("MOST", str(settings.app_max_upload_mb)),
                js_on_load=_static("upload.js"),
                apply_default_css=False,
            )
    top, count, shared = _comparison_sliders(artists, lists)
    consent = gr.Checkbox(
        False, label="Keep what I hand in, and show me to others", elem_id="sd-consent", visible=settings.app_keeps,
        info="Without this nothing is kept once you have your answer. A Spotify profile needs your login for it.",
    )  # fmt: skip
    answer = _html(EMPTY, elem_id="sd-answer")
    by_profile = _answer_to_profile(service, artists, lists)

    def by_file(event: gr.EventData) -> Iterator[str]:
        """Follow the reading of a file that the page has sent."""
        yield from _followed(service, lambda: service.jobs.find(str(event.job)[:100]))

    triggers = (go.click, profile.submit)
    for trigger in triggers:
        trigger(
            by_profile, [profile, consent, shared, top, count], answer, api_visibility="private",
            show_progress="hidden", trigger_mode="once",
        )  # fmt: skip
    upload.submit(by_file, None, answer, api_visibility="private", show_progress="hidden")
    return _Part(profile=profile, answer=answer, by_profile=by_profile, defaults=(artists, lists), triggers=triggers)


def _comparison_sliders(artists: int, lists: int) -> tuple[gr.Slider, gr.Slider, gr.Slider]:
    """Return the sliders for artists and playlists that count, and for artists in common; set to the defaults given."""
    with gr.Accordion("How to compare", open=False), gr.Row():
        top = gr.Slider(
            1, MOST_ARTISTS, artists, step=1, label="Top artist count", elem_id="sd-artists",
            info="Your and their most frequent artists that count",
        )  # fmt: skip
        count = gr.Slider(
            1, MOST_LISTS, lists, step=1, label="Playlists count", elem_id="sd-lists",
            info=f"Your and their first playlists that count; {MOST_LISTS} for all",
        )  # fmt: skip
        shared = gr.Slider(
            0, 20, 0, step=1, label="Artists in common, at least", elem_id="sd-min-shared", info="0 for anybody",
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
        if not name.strip():
            yield cards.message("hint", "Whose profile?", "Paste the link from Spotify: Profile, Share, Copy link.")
            return
        who, plain = service.identity, _plain(request)

        def begin() -> Job:
            # Here as at the API: pages send what they ask for by way of Gradio's queue.
            service.newcomer_rate.admit(client_of(plain.scope))
            return service.add_profile(
                name[:500], wish(agreed, least, artist_count, playlist_count), login=who.session(plain),
                client=client_of(plain.scope),
            )  # fmt: skip

        yield from _followed(service, begin)

    return by_profile


def _compare(service: Service) -> _Part:
    with gr.Row():
        first = gr.Textbox(label="One listener", placeholder="user id", max_length=500, lines=1)
        second = gr.Textbox(label="Another", placeholder="user id", max_length=500, lines=1)
    go = gr.Button("Compare", variant="primary")
    answer = _html(
        cards.message("empty", "Two listeners, side by side", "What they share, and what each could show the other."),
        elem_id="sd-comparison",
    )  # fmt: skip

    def show(first: str, second: str, request: gr.Request) -> str:
        """Compare two users."""
        if not first.strip() or not second.strip():
            return cards.message("hint", "Two listeners are needed", "Give two ids of listeners who are known here.")
        proven = service.identity.proven(_plain(request))
        return _or_problem(lambda: cards.comparison(service.compare(first.strip(), second.strip(), 15, proven)))

    for trigger in (go.click, second.submit):
        trigger(show, [first, second], answer, api_visibility="private", show_progress="hidden")
    return _Part(first=first, second=second, answer=answer, show=show)


def _search(service: Service) -> None:
    query = gr.Textbox(label="Search tracks", placeholder="title, artist, album, or a mood", max_length=1_000, lines=1)
    go = gr.Button("Search", variant="primary")
    answer = _savable(
        "search", cards.message("empty", "Any song", "Typos do not matter. An empty search shows what is popular.")
    )
    account = bool(service.project.settings.spotify_client_id)

    def show(text: str) -> str:
        """Find tracks."""
        return _or_problem(
            lambda: cards.tracks(
                service.tracks.search(TrackSearch(q=text, k=20))["tracks"],
                title=text.strip() or POPULAR, account=account,
            )
        )  # fmt: skip

    for trigger in (go.click, query.submit):
        trigger(show, query, answer, api_visibility="private", show_progress="minimal", **HEAVY)


def _continue(service: Service) -> None:
    seeds = gr.Textbox(
        label="Tracks", lines=4, max_length=100_000, placeholder="Links, URIs or ids of tracks, one a line",
        info="May stay empty where a title or a mood says enough",
    )  # fmt: skip
    with gr.Row():
        title = gr.Textbox(label="Title of the playlist", max_length=500, lines=1)
        mood = gr.Textbox(label="Mood", placeholder="calm acoustic evening", max_length=500, lines=1)
    with gr.Row():
        popularity = gr.Slider(-1, 1, 0, step=0.1, label="Popularity", info="-1: unknown tracks; 1: hits")
        diversity = gr.Slider(0, 1, 0, step=0.1, label="Diversity")
    go = gr.Button("Continue", variant="primary")
    answer = _savable("continue", cards.message("empty", "What comes next?", "Give some tracks, a title or a mood."))
    account = bool(service.project.settings.spotify_client_id)

    def show(listed: str, name: str, feeling: str, popular: float, diverse: float) -> str:
        """Continue a playlist."""
        tracks = [line[:200] for line in re.split(r"[\n,]+", listed) if line.strip()][:1_000]
        asked = Continuation(
            tracks=tracks, title=name or None, mood=feeling or None, popularity=popular, diversity=diverse
        )

        def found() -> str:
            continued = service.tracks.continued(asked)
            title = name or feeling or CONTINUED
            return cards.tracks(continued["recommendations"], continued["unknown"], title=title, account=account)

        return _or_problem(found)

    go.click(
        show, [seeds, title, mood, popularity, diversity], answer, api_visibility="private", show_progress="minimal",
        **HEAVY,
    )  # fmt: skip


def _mine(service: Service) -> gr.HTML:
    login = _html(_login_state(None))
    token = gr.Textbox(
        label="Token of a file", type="password", max_length=2_000, lines=1, elem_id="sd-token-box",
        info="What you were given when you handed in a file; leave it empty if you have logged in",
    )  # fmt: skip
    with gr.Row():
        show = gr.Button("Show what is stored", variant="primary")
        suggest = gr.Button("Tracks for me", visible=service.tracks.available())
    answer = gr.HTML(
        cards.message("empty", "Your data is yours", "See it, take it away, or have all of it deleted."),
        apply_default_css=False,
        js_on_load=(_static("download.js") + _static("preferences.js")).replace("TOKEN_HEADER", TOKEN_HEADER),
    )  # fmt: skip
    with gr.Accordion("New tracks every Monday", open=False, visible=service.tracks.available()):
        every_week = gr.Checkbox(False, label="Make a list of new tracks for me every Monday")
        with gr.Row():
            set_week = gr.Button("Save")
            show_week = gr.Button("Show my list")
        weekly = _savable("mine", "")
    with gr.Accordion("Forget me", open=False):
        sure = gr.Checkbox(False, label="Delete everything that is stored of me. This cannot be undone.")
        forget = gr.Button("Forget me", variant="stop")

    def who(given: str, request: gr.Request) -> str | None:
        return service.identity.of_token(given) or service.identity.logged_in(_plain(request))

    def stored(given: str, request: gr.Request) -> str:
        """Show somebody what is stored of them."""
        user = who(given, request)
        if user is None:
            return _unproven()
        return _or_problem(
            lambda: (
                cards.stored(my_data.overview(service.project, user))
                + cards.taste_over_time(taste_over_time(service.project.lake, service.project.preferences, user))
                + cards.what_counts(my_data.what_counts(service.project, user), _preferences(user))
                + _downloads(user)
            )
        )

    def suggested(given: str, request: gr.Request) -> str:
        """Suggest tracks to somebody, who may say what they think of them."""
        user = who(given, request)
        if user is None:
            return _unproven()

        def listed() -> str:
            answer = service.tracks.suggested(user, SuggestWish(count=20), service.serving.snapshot())
            return f'<p role="status" class="sd-said"></p>{cards.tracks(answer["tracks"], path=_preferences(user))}'

        return _or_problem(listed)

    def forgotten(given: str, agreed: bool, request: gr.Request) -> str:
        """Delete all there is of somebody who asks for it."""
        user = who(given, request)
        if user is None:
            return _unproven()
        if not agreed:
            return cards.message("hint", "Are you sure?", "Tick the box above the button first.")

        def done() -> str:
            service.forget(user)
            return cards.message("empty", "Forgotten", "Everything that was stored of you has been deleted.")

        return _or_problem(done)

    def wished(given: str, agreed: bool, request: gr.Request) -> str:
        """Let somebody have a list every Monday, or none any more."""
        user = who(given, request)
        if user is None:
            return _unproven()

        def done() -> str:
            my_data.set_every_week(service.project, user, bool(agreed))
            if agreed:
                return cards.message("empty", "Every Monday", "The first list comes with the next run.")
            return cards.message("empty", "No more lists", "Those that were made go with the next run.")

        return _or_problem(done)

    def monday(given: str, request: gr.Request) -> str:
        """Show somebody the list of this week."""
        user = who(given, request)
        if user is None:
            return _unproven()
        account = bool(service.project.settings.spotify_client_id)
        return _or_problem(lambda: cards.weekly(service.tracks.weekly(user, None), account=account))

    set_week.click(wished, [token, every_week], weekly, api_visibility="private", show_progress="hidden")
    show_week.click(monday, token, weekly, api_visibility="private", show_progress="minimal", **HEAVY)
    show.click(stored, token, answer, api_visibility="private", show_progress="hidden")
    suggest.click(suggested, token, answer, api_visibility="private", show_progress="minimal", **HEAVY)
    forget.click(forgotten, [token, sure], answer, api_visibility="private", show_progress="minimal")
    return login


def _html(value: str, **options: Any) -> gr.HTML:
    return gr.HTML(value, apply_default_css=False, js_on_load=None, **options)


def _preferences(user_id: str) -> str:
    return f"/api/v1/users/{cards.quote(user_id, safe='')}/preferences"


def _savable(page: str, value: str) -> gr.HTML:
    """Return where lists are shown that can be added to an account; ``page`` is the tab to come back to."""
    return gr.HTML(value, apply_default_css=False, js_on_load=_static("save.js").replace("PAGE", page))


def _downloads(user_id: str) -> str:
    """Return links to take everything away; the page sends the token with them, which no address may hold."""
    path = f"/api/v1/users/{cards.quote(user_id, safe='')}/data"
    links = (
        f'<a class="sd-button" data-header="{TOKEN_HEADER}" download="spotify_dag.{form}" '
        f'href="{cards.attribute(path)}?format={form}">{form.upper()}</a>'
        for form in ("json", "csv")
    )
    return f"<p class='sd-message'>Take it away: {' '.join(links)}</p>"


def _login_state(user_id: str | None) -> str:
    if user_id is None:
        return '<p class="sd-message"><a class="sd-button" href="/login?after=/%3Fmine">Log in with Spotify</a></p>'
    return (
        f'<form class="sd-message" method="post" action="/logout">You are <strong>{cards.text(user_id)}</strong>. '
        '<button class="sd-button">Log out</button></form>'
    )


def _unproven() -> str:
    return cards.message("error", "Who are you?", "Log in with Spotify, or paste the token you were given with a file.")


def _map_frame(user_id: str) -> str:
    query = html.escape(urlencode({"user": user_id[:500]}), quote=True)
    return f'<iframe class="sd-map" title="Taste map" loading="lazy" src="/map?{query}"></iframe>'


def _followed(service: Service, begin: Callable[[], Job]) -> Iterator[str]:
    """Yield how far a job is, then its result."""
    try:
        job = begin()
    except SpotifyDagError as error:
        yield cards.problem({"detail": str(error)})
        return
    for name, data in follow(job):
        if name == "problem":
            yield cards.problem(data)
        elif name == "result":
            yield cards.matches(data)
            yield cards.matches(service.with_top_tracks(data))
        else:
            yield cards.progress(data)


def _or_problem(answer: Callable[[], str]) -> str:
    try:
        return answer()
    except SpotifyDagError as error:
        return cards.problem({"detail": str(error)})


def _plain(request: gr.Request) -> Any:
    """Return the request itself: Gradio's own is a copy without cookies."""
    return request.request


@cache
def _static(name: str) -> str:
    return files("spotify_dag.app").joinpath("static", name).read_text(encoding="utf-8")
