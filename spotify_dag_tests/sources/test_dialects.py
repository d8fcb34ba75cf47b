"""Every dialect is named in the reference, and its headings are recognised as it in any order and spelling."""

from __future__ import annotations

import random
import re

import pytest

from spotify_dag.sources.dialects import DIALECTS, HEADLESS_LASTFM, SCROBBLER_LOG, Dialect, recognise
from spotify_dag_tests.conftest import REPOSITORY


def test_the_reference_names_every_dialect() -> None:
    page = (REPOSITORY / "docs" / "reference" / "exported-files.md").read_text()
    named = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)
    locales = next(name for name in named if name.startswith("exportify.app (en"))
    every = [dialect.name for dialect in (*DIALECTS, HEADLESS_LASTFM, SCROBBLER_LOG)]
    missing = [name for name in every if name not in named and not re.fullmatch(r"exportify\.app \(\w\w\)", name)]
    assert missing == []
    assert set(re.findall(r"\b\w\w\b", locales)) == {
        name[15:17] for name in every if name[14:15] == "(" and name[17] == ")"
    }


@pytest.mark.parametrize("dialect", [dialect for dialect in DIALECTS if dialect.layout], ids=lambda it: it.name)
def test_a_layout_is_recognised_shuffled_and_respelled(dialect: Dialect) -> None:
    headings = list(dialect.layout)
    assert recognise(headings) is dialect
    random.Random(0).shuffle(headings)
    assert recognise(headings) is dialect
    assert recognise([heading.upper().replace(" ", "_") for heading in headings]) is dialect
