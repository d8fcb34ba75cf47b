"""The model card as Markdown, from the same values that machines read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

INTENDED_USE = (
    "Finds users who listen alike, explains the match, and suggests what one of them has not heard. Do not use it to "
    "decide about a person: a user vector says only what somebody listens to."
)


def render(card: Mapping[str, Any]) -> str:
    """Return a model card as Markdown: a table of its plain values, and a table for each nested part."""
    plain = {name: value for name, value in card.items() if not isinstance(value, Mapping)}
    parts = {name: value for name, value in card.items() if isinstance(value, Mapping)}
    return "\n".join(
        [
            f"# {card['model_version']}",
            "",
            INTENDED_USE,
            "",
            *_table(plain),
            *(line for name, part in sorted(parts.items()) for line in (f"## {_words(name)}", "", *_table(part))),
        ]
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values under dotted names: ``{"a": {"b": 1}}`` becomes ``{"a.b": 1}``."""
    dotted: dict[str, Any] = {}
    for name, value in values.items():
        dotted |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return dotted


def _table(values: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    for name, value in sorted(flat(values).items()):
        text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        yield f"| {_words(name)} | {_cell(text)} |"
    yield ""


def _cell(text: str) -> str:
    """Return text that is nothing but text in Markdown: no image, link, code, markup or further cell."""
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    return re.sub(r"([\\`|\[\]])", r"\\\1", shown)


def _words(name: str) -> str:
    return name.replace("_", " ")
