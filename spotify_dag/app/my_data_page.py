"""The page on which people see, correct, take away and delete what is stored of them."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from spotify_dag.app import cards, my_data
from spotify_dag.app.api_parts import address_of
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.page_parts import HEAVY, html_part, or_problem, plain_request, savable, script, texts_for
from spotify_dag.app.service import Service
from spotify_dag.app.texts import Texts, mark
from spotify_dag.lifecycle.change_preferences import set_wish
from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.tracks.tracks_for import SuggestWish


def my_data_page(service: Service) -> gr.HTML:
    """Lay the page out and connect it; return where it says who is logged in."""
    login = html_part(login_state(mark, None))
    token = gr.Textbox(
        label=mark("mine-token"), type="password", max_length=2_000, lines=1, elem_id="sd-token-box",
        info=mark("mine-token-info"),
    )  # fmt: skip
    with gr.Row():
        show = gr.Button(mark("mine-show"), variant="primary")
        suggest = gr.Button(mark("mine-tracks"), visible=service.tracks.available())
    answer = gr.HTML(
        cards.message("empty", mark("mine-empty"), mark("mine-empty-detail")),
        apply_default_css=False,
        js_on_load=script("download.js", "preferences.js").replace("TOKEN_HEADER", TOKEN_HEADER),
    )  # fmt: skip
    with gr.Accordion(mark("weekly"), open=False, visible=service.tracks.available()):
        _weekly(service, token)
    with gr.Accordion(mark("card"), open=False):
        _card(service, token)
    with gr.Accordion(mark("forget"), open=False):
        sure = gr.Checkbox(False, label=mark("forget-sure"))
        forget = gr.Button(mark("forget"), variant="stop")

    def stored(given: str, request: gr.Request) -> str:
        """Show somebody what is stored of them."""
        say, user = texts_for(request), _who(service, given, request)
        if user is None:
            return _unproven(say)
        return or_problem(
            say,
            lambda: (
                cards.stored(say, my_data.overview(service.project, user))
                + cards.taste_over_time(say, taste_over_time(service.project.lake, service.project.preferences, user))
                + cards.what_counts(say, my_data.what_counts(service.project, user), _preferences(user))
                + _downloads(say, user)
            ),
        )

    def suggested(given: str, request: gr.Request) -> str:
        """Suggest tracks to somebody, who may say what they think of them."""
        say, user = texts_for(request), _who(service, given, request)
        if user is None:
            return _unproven(say)

        def listed() -> str:
            answer = service.tracks.suggested(user, SuggestWish(count=20), service.serving.snapshot())
            shown = cards.tracks(say, answer["tracks"], path=_preferences(user), title=say("mine-tracks"))
            return f'<p role="status" class="sd-said"></p>{shown}'

        return or_problem(say, listed)

    def forgotten(given: str, agreed: bool, request: gr.Request) -> str:
        """Delete all there is of somebody who asks for it."""
        say, user = texts_for(request), _who(service, given, request)
        if user is None:
            return _unproven(say)
        if not agreed:
            return cards.message("hint", say("forget-unsure"), say("forget-unsure-detail"))

        def done() -> str:
            service.forget(user)
            return cards.message("empty", say("forgotten"), say("forgotten-detail"))

        return or_problem(say, done)

    show.click(stored, token, answer, api_visibility="private", show_progress="hidden")
    suggest.click(suggested, token, answer, api_visibility="private", show_progress="minimal", **HEAVY)
    forget.click(forgotten, [token, sure], answer, api_visibility="private", show_progress="minimal")
    return login


def _weekly(service: Service, token: gr.Textbox) -> None:
    with gr.Row():
        begin, end = gr.Button(mark("weekly-begin")), gr.Button(mark("weekly-end"))
    show = gr.Button(mark("weekly-show"))
    weekly = savable("mine", "")

    def wished(every_week: bool) -> Callable[[str, gr.Request], str]:
        def wish(given: str, request: gr.Request) -> str:
            """Let somebody have a list every Monday, or none any more."""
            say, user = texts_for(request), _who(service, given, request)
            if user is None:
                return _unproven(say)

            def done() -> str:
                set_wish(service.project, service.project.inbox.weekly, user, every_week)
                if every_week:
                    return cards.message("empty", say("weekly-begun"), say("weekly-begun-detail"))
                return cards.message("empty", say("weekly-end"), say("weekly-ended-detail"))

            return or_problem(say, done)

        return wish

    def monday(given: str, request: gr.Request) -> str:
        """Show somebody the list of this week."""
        say, user = texts_for(request), _who(service, given, request)
        if user is None:
            return _unproven(say)
        return or_problem(
            say,
            lambda: cards.weekly(say, service.tracks.weekly(user, None), account=service.account_playlists.available),
        )

    for button, every_week in ((begin, True), (end, False)):
        button.click(wished(every_week), token, weekly, api_visibility="private", show_progress="hidden")
    show.click(monday, token, weekly, api_visibility="private", show_progress="minimal", **HEAVY)


def _card(service: Service, token: gr.Textbox) -> None:
    with gr.Row():
        begin, end = gr.Button(mark("card-begin")), gr.Button(mark("card-end"))
    card = html_part("")

    def wished(seen: bool) -> Callable[[str, gr.Request], str]:
        def wish(given: str, request: gr.Request) -> str:
            """Let anybody see the card of somebody, or nobody any more."""
            say, user = texts_for(request), _who(service, given, request)
            if user is None:
                return _unproven(say)

            def done() -> str:
                set_wish(service.project, service.project.inbox.cards, user, seen)
                if seen:
                    return cards.own_card(say, address_of(plain_request(request), service.project.settings), user)
                return cards.message("empty", say("card-ended"), say("card-ended-detail"))

            return or_problem(say, done)

        return wish

    for button, seen in ((begin, True), (end, False)):
        button.click(wished(seen), token, card, api_visibility="private", show_progress="hidden")


def _who(service: Service, given: str, request: gr.Request) -> str | None:
    return service.identity.of_token(given) or service.identity.logged_in(plain_request(request))


def _preferences(user_id: str) -> str:
    return f"/api/v1/users/{cards.quote(user_id, safe='')}/preferences"


def _downloads(say: Texts, user_id: str) -> str:
    """Return links to take everything away; the page sends the token with them, which no address may hold."""
    path = f"/api/v1/users/{cards.quote(user_id, safe='')}/data"
    links = (
        f'<a class="sd-button" data-header="{TOKEN_HEADER}" download="spotify_dag.{form}" '
        f'href="{cards.attribute(path)}?format={form}">{form.upper()}</a>'
        for form in ("json", "csv")
    )
    return f"<p class='sd-message'>{say('mine-take-away')} {' '.join(links)}</p>"


def login_state(say: Callable[..., str], user_id: str | None) -> str:
    """Return who is logged in and how to log out, or how to log in; ``say`` is `Texts`, or `mark`."""
    if user_id is None:
        return f'<p class="sd-message"><a class="sd-button" href="/login?after=/%3Fmine">{say("login")}</a></p>'
    who = say("login-you", user=f"<strong>{cards.text(user_id)}</strong>")
    return (
        f'<form class="sd-message" method="post" action="/logout">{who} '
        f'<button class="sd-button">{say("logout")}</button></form>'
    )


def _unproven(say: Texts) -> str:
    return cards.message("error", say("mine-who"), say("mine-who-detail"))
