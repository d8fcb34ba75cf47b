"""What the pages are made of: places for HTML, and what a function of a page needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import gradio as gr

from spotify_dag.app import cards
from spotify_dag.app.texts import Texts, script_mark, texts_of
from spotify_dag.errors import SpotifyDagError
from spotify_dag.playlists_out.forms import FORMS

HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 2}
"""Of what costs much, so many run at once for all pages together."""

FILE_ENDINGS = ",".join(
    sorted({".tsv", ".json", ".jsonl", ".log", ".gz", ".zip"}.union(*(form.endings for form in FORMS.values())))
)
"""Of files that people may choose: exports of others, and the lists that leave here."""


def html_part(value: str, **options: Any) -> gr.HTML:
    """Return a place for HTML that runs no script."""
    return gr.HTML(value, apply_default_css=False, js_on_load=None, **options)


def savable(page: str, value: str) -> gr.HTML:
    """Return where lists are shown that can be added to an account; ``page`` is the tab to come back to."""
    return gr.HTML(value, apply_default_css=False, js_on_load=script("save.js").replace("PAGE", page))


def or_problem(say: Texts, answer: Callable[[], str]) -> str:
    """Return an answer, or what was wrong as a card."""
    try:
        return answer()
    except SpotifyDagError as error:
        return cards.problem(say, {"detail": str(error)})


def plain_request(request: gr.Request) -> Any:
    """Return the request itself: Gradio's own is a copy without cookies."""
    return request.request


def texts_for(request: gr.Request) -> Texts:
    """Return the texts for who sent a request."""
    return texts_of(plain_request(request))


def script(*names: str) -> str:
    """Return files of ``static/`` as one script, with a mark for the texts that it says; see `texts.filled`."""
    code = "".join(static(name) for name in names)
    return static("say.js").replace("TEXTS", script_mark(said_by(code))) + code


def said_by(code: str) -> list[str]:
    """Return the messages that a script says."""
    return sorted(set(re.findall(r"\bsay\('([a-z-]+)'", code)))


@cache
def static(name: str) -> str:
    """Return a file of ``static/``."""
    return files("spotify_dag.app").joinpath("static", name).read_text(encoding="utf-8")
