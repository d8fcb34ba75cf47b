"""The page on which people see, correct, take away and delete what is stored of them."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

import gradio as gr

from spotify_dag.app import cards, my_data, my_data_cards
from spotify_dag.app.api_parts import address_of
from spotify_dag.app.html_pieces import attribute, message, text
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
        message("empty", mark("mine-empty"), mark("mine-empty-detail")),
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

    def stored(say: Texts, user: str) -> str:
        project = service.project
        return (
            my_data_cards.stored(say, my_data.overview(project, user))
            + my_data_cards.taste_over_time(say, taste_over_time(project.lake, project.preferences, user))
            + my_data_cards.what_counts(say, my_data.what_counts(project, user), _preferences(user))
            + _downloads(say, user)
        )

    def suggested(say: Texts, user: str) -> str:
        suggestions = service.tracks.suggested(user, SuggestWish(count=20), service.serving.snapshot())
        shown = cards.tracks(say, suggestions["tracks"], path=_preferences(user), title=say("mine-tracks"))
        return f'<p role="status" class="sd-said"></p>{shown}'

    def forgotten(say: Texts, user: str) -> str:
        service.forget(user)
        return message("empty", say("forgotten"), say("forgotten-detail"))

    forgetting = _own(service, forgotten)

    def forgotten_if_sure(given: str, agreed: bool, request: gr.Request) -> str:
        """Delete all there is of somebody who asks for it, and is sure."""
        say = texts_for(request)
        if not agreed and _who(service, given, request) is not None:
            return message("hint", say("forget-unsure"), say("forget-unsure-detail"))
        return forgetting(given, request)

    show.click(_own(service, stored), token, answer, api_visibility="private", show_progress="hidden")
    suggest.click(
        _own(service, suggested), token, answer, api_visibility="private", show_progress="minimal", **HEAVY
    )  # fmt: skip
    forget.click(forgotten_if_sure, [token, sure], answer, api_visibility="private", show_progress="minimal")
    return login


def _weekly(service: Service, token: gr.Textbox) -> None:
    with gr.Row():
        begin, end = gr.Button(mark("weekly-begin")), gr.Button(mark("weekly-end"))
    show = gr.Button(mark("weekly-show"))
    weekly, wishes = savable("mine", ""), service.project.inbox.weekly

    def begun(say: Texts, user: str) -> str:
        set_wish(service.project, wishes, user, True)
        return message("empty", say("weekly-begun"), say("weekly-begun-detail"))

    def ended(say: Texts, user: str) -> str:
        set_wish(service.project, wishes, user, False)
        return message("empty", say("weekly-end"), say("weekly-ended-detail"))

    def monday(say: Texts, user: str) -> str:
        return cards.weekly(say, service.tracks.weekly(user, None), account=service.account_playlists.available)

    begin.click(_own(service, begun), token, weekly, api_visibility="private", show_progress="hidden")
    end.click(_own(service, ended), token, weekly, api_visibility="private", show_progress="hidden")
    show.click(_own(service, monday), token, weekly, api_visibility="private", show_progress="minimal", **HEAVY)


def _card(service: Service, token: gr.Textbox) -> None:
    with gr.Row():
        begin, end = gr.Button(mark("card-begin")), gr.Button(mark("card-end"))
    card, wishes = html_part(""), service.project.inbox.cards

    def begun(given: str, request: gr.Request) -> str:
        """Let anybody see the card of somebody who asks for it."""
        address = address_of(plain_request(request), service.project.settings)

        def shown(say: Texts, user: str) -> str:
            set_wish(service.project, wishes, user, True)
            return my_data_cards.own_card(say, address, user, shown=service.is_shown(user))

        return _own(service, shown)(given, request)

    def ended(say: Texts, user: str) -> str:
        set_wish(service.project, wishes, user, False)
        return message("empty", say("card-ended"), say("card-ended-detail"))

    begin.click(begun, token, card, api_visibility="private", show_progress="hidden")
    end.click(_own(service, ended), token, card, api_visibility="private", show_progress="hidden")


def _own(service: Service, answer: Callable[[Texts, str], str]) -> Callable[[str, gr.Request], str]:
    """Return a function of the page that answers the user a client has proven to be, and nobody else."""

    def asked(given: str, request: gr.Request) -> str:
        say, user = texts_for(request), _who(service, given, request)
        if user is None:
            return message("error", say("mine-who"), say("mine-who-detail"))
        return or_problem(say, lambda: answer(say, user))

    return asked


def _who(service: Service, given: str, request: gr.Request) -> str | None:
    return service.identity.of_token(given) or service.identity.logged_in(plain_request(request))


def _preferences(user_id: str) -> str:
    return f"/api/v1/users/{quote(user_id, safe='')}/preferences"


def _downloads(say: Texts, user_id: str) -> str:
    """Return links to take everything away; the page sends the token with them, which no address may hold."""
    path = f"/api/v1/users/{quote(user_id, safe='')}/data"
    links = (
        f'<a class="sd-button" data-header="{TOKEN_HEADER}" download="spotify_dag.{form}" '
        f'href="{attribute(path)}?format={form}">{form.upper()}</a>'
        for form in ("json", "csv")
    )
    return f"<p class='sd-message'>{say('mine-take-away')} {' '.join(links)}</p>"


def login_state(say: Callable[..., str], user_id: str | None) -> str:
    """Return who is logged in and how to log out, or how to log in; ``say`` is `Texts`, or `mark`."""
    if user_id is None:
        return f'<p class="sd-message"><a class="sd-button" href="/login?after=/%3Fmine">{say("login")}</a></p>'
    who = say("login-you", user=f"<strong>{text(user_id)}</strong>")
    return (
        f'<form class="sd-message" method="post" action="/logout">{who} '
        f'<button class="sd-button">{say("logout")}</button></form>'
    )
