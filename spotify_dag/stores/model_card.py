"""The readable side of a model card: Markdown for people, from the same values that machines read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

INTENDED_USE = (
    "Finds users who listen alike, to explain the match and to suggest what one of them has not heard. Not for "
    "deciding about a person: a user vector says what somebody listens to, and little where that is little."
)


def render(card: Mapping[str, Any]) -> str:
    """Return a model card as Markdown: a table of its plain values, and one for each part of it."""
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
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _table(values: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    for name, value in sorted(flat(values).items()):
        text = f"{value:.6g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)
        cell = text.replace("|", "\\|").replace("\n", " ")
        yield f"| {_words(name)} | {cell} |"
    yield ""


def _words(name: str) -> str:
    return name.replace("_", " ")
