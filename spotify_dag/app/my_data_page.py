"""The page on which people see, correct, take away and delete what is stored of them."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from spotify_dag.app import cards, my_data
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.page_parts import HEAVY, html_part, or_problem, plain_request, savable, static
from spotify_dag.app.service import Service
from spotify_dag.lifecycle.change_preferences import set_wish
from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.tracks.tracks_for import SuggestWish


def my_data_page(service: Service) -> gr.HTML:
    """Lay the page out and connect it; return where it says who is logged in."""
    login = html_part(login_state(None))
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
        js_on_load=(static("download.js") + static("preferences.js")).replace("TOKEN_HEADER", TOKEN_HEADER),
    )  # fmt: skip
    with gr.Accordion("New tracks every Monday", open=False, visible=service.tracks.available()):
        _weekly(service, token)
    with gr.Accordion("Forget me", open=False):
        sure = gr.Checkbox(False, label="Delete everything that is stored of me. This cannot be undone.")
        forget = gr.Button("Forget me", variant="stop")

    def stored(given: str, request: gr.Request) -> str:
        """Show somebody what is stored of them."""
        user = _who(service, given, request)
        if user is None:
            return _unproven()
        return or_problem(
            lambda: (
                cards.stored(my_data.overview(service.project, user))
                + cards.taste_over_time(taste_over_time(service.project.lake, service.project.preferences, user))
                + cards.what_counts(my_data.what_counts(service.project, user), _preferences(user))
                + _downloads(user)
            )
        )

    def suggested(given: str, request: gr.Request) -> str:
        """Suggest tracks to somebody, who may say what they think of them."""
        user = _who(service, given, request)
        if user is None:
            return _unproven()

        def listed() -> str:
            answer = service.tracks.suggested(user, SuggestWish(count=20), service.serving.snapshot())
            shown = cards.tracks(answer["tracks"], path=_preferences(user), title="Tracks for me")
            return f'<p role="status" class="sd-said"></p>{shown}'

        return or_problem(listed)

    def forgotten(given: str, agreed: bool, request: gr.Request) -> str:
        """Delete all there is of somebody who asks for it."""
        user = _who(service, given, request)
        if user is None:
            return _unproven()
        if not agreed:
            return cards.message("hint", "Are you sure?", "Tick the box above the button first.")

        def done() -> str:
            service.forget(user)
            return cards.message("empty", "Forgotten", "Everything that was stored of you has been deleted.")

        return or_problem(done)

    show.click(stored, token, answer, api_visibility="private", show_progress="hidden")
    suggest.click(suggested, token, answer, api_visibility="private", show_progress="minimal", **HEAVY)
    forget.click(forgotten, [token, sure], answer, api_visibility="private", show_progress="minimal")
    return login


def _weekly(service: Service, token: gr.Textbox) -> None:
    with gr.Row():
        begin, end = gr.Button("Make me a list every Monday"), gr.Button("No more lists")
    show = gr.Button("Show my list")
    weekly = savable("mine", "")

    def wished(every_week: bool) -> Callable[[str, gr.Request], str]:
        def wish(given: str, request: gr.Request) -> str:
            """Let somebody have a list every Monday, or none any more."""
            user = _who(service, given, request)
            if user is None:
                return _unproven()

            def done() -> str:
                set_wish(service.project, service.project.inbox.weekly, user, every_week)
                if every_week:
                    return cards.message("empty", "Every Monday", "The first list comes with the next run.")
                return cards.message("empty", "No more lists", "Those that were made go with the next run.")

            return or_problem(done)

        return wish

    def monday(given: str, request: gr.Request) -> str:
        """Show somebody the list of this week."""
        user = _who(service, given, request)
        if user is None:
            return _unproven()
        return or_problem(
            lambda: cards.weekly(service.tracks.weekly(user, None), account=service.account_playlists.available)
        )

    for button, every_week in ((begin, True), (end, False)):
        button.click(wished(every_week), token, weekly, api_visibility="private", show_progress="hidden")
    show.click(monday, token, weekly, api_visibility="private", show_progress="minimal", **HEAVY)


def _who(service: Service, given: str, request: gr.Request) -> str | None:
    return service.identity.of_token(given) or service.identity.logged_in(plain_request(request))


def _preferences(user_id: str) -> str:
    return f"/api/v1/users/{cards.quote(user_id, safe='')}/preferences"


def _downloads(user_id: str) -> str:
    """Return links to take everything away; the page sends the token with them, which no address may hold."""
    path = f"/api/v1/users/{cards.quote(user_id, safe='')}/data"
    links = (
        f'<a class="sd-button" data-header="{TOKEN_HEADER}" download="spotify_dag.{form}" '
        f'href="{cards.attribute(path)}?format={form}">{form.upper()}</a>'
        for form in ("json", "csv")
    )
    return f"<p class='sd-message'>Take it away: {' '.join(links)}</p>"


def login_state(user_id: str | None) -> str:
    """Return who is logged in and how to log out, or how to log in."""
    if user_id is None:
        return '<p class="sd-message"><a class="sd-button" href="/login?after=/%3Fmine">Log in with Spotify</a></p>'
    return (
        f'<form class="sd-message" method="post" action="/logout">You are <strong>{cards.text(user_id)}</strong>. '
        '<button class="sd-button">Log out</button></form>'
    )


def _unproven() -> str:
    return cards.message("error", "Who are you?", "Log in with Spotify, or paste the token you were given with a file.")
