"""Cells of CSV that no spreadsheet takes for a formula, and the names that they stand for."""

from __future__ import annotations

import re

_ACTS = re.compile(r"'*(?:[=+\-@＝＋－＠\t\r\n]|undefined$)")
"""What a spreadsheet may take for a formula (OWASP, CSV Injection), after any number of apostrophes. ``undefined`` is
how tools write that there is nothing: a title that is just that would not come back."""
_GUARDED = re.compile(r"'(?='*(?:[=+\-@＝＋－＠]|undefined$))")


def harmless(text: str) -> str:
    """Return a text as a cell: an apostrophe comes first where it would act as a formula. `as_named` undoes it."""
    return f"'{text}" if _ACTS.match(text) else text


def as_named(cell: str) -> str:
    """Return the text that a cell stands for: without the apostrophe that keeps it from acting as a formula."""
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell) else cell
