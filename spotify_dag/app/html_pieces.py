"""The smallest pieces of the pages as HTML. Every name goes through `text`: it is shown, and never read as markup."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

MOST_NAME = 120
"""Characters of a name that are shown."""


def text(value: Any) -> str:
    """Return a value as HTML that shows it: escaped, cut to `MOST_NAME`, and with its own direction of writing."""
    plain = str(value)
    cut = plain if len(plain) <= MOST_NAME else f"{plain[: MOST_NAME - 1]}…"
    return f"<bdi>{html.escape(cut)}</bdi>"


def attribute(value: Any) -> str:
    """Return a value as it may stand in a quoted attribute."""
    return html.escape(str(value), quote=True)


def message(kind: str, title: str, detail: str) -> str:
    """Return a state of a page that is no result: ``empty``, ``loading``, ``error`` or ``hint``."""
    role = "alert" if kind == "error" else "status"
    told = f"<strong>{text(title)}</strong><p>{long_text(detail)}</p>"
    return f'<div class="sd-message sd-{kind}" role="{role}">{told}</div>'


def toggle(path: str, kind: str, name: str, words: str, pressed: bool = False) -> str:
    """Return a button that says something, or undoes it: see ``preferences.js``."""
    return (
        f'<button type="button" class="sd-toggle" aria-pressed="{str(pressed).lower()}" '
        f'data-preferences="{attribute(path)}" data-kind="{kind}" data-name="{attribute(name)}">{text(words)}</button>'
    )


def section(title: str, content: str) -> str:
    """Return HTML under a heading; nothing where there is none. Both are HTML."""
    return f"<section><h4>{title}</h4>{content}</section>" if content else ""


def chips(names: Iterable[str]) -> str:
    """Return names as a list in a row; nothing where there are none."""
    rows = "".join(f"<li>{text(name)}</li>" for name in names)
    return f"<ul class='sd-chips'>{rows}</ul>" if rows else ""


def bullets(entries: Iterable[str]) -> str:
    """Return entries, which are HTML, as a list; nothing where there are none."""
    rows = "".join(f"<li>{entry}</li>" for entry in entries)
    return f"<ul>{rows}</ul>" if rows else ""


def long_text(value: str) -> str:
    """Return a sentence as `text` does a name: cut far later."""
    return f"<bdi>{html.escape(value[:1_000])}</bdi>"
