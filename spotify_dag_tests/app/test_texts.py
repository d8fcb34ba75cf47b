"""What the pages say: every language says all of it, and code asks for what there is."""

from __future__ import annotations

import ast
import html
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fluent.runtime import FluentResource

from spotify_dag.app import cards, html_pieces, my_data_cards, texts
from spotify_dag.app.page_parts import said_by, script, static
from spotify_dag.app.texts import LANGUAGES, filled, language_of, mark, resource, texts_in
from spotify_dag.matching.taste_over_time import NOTHING
from spotify_dag.sources.export.report import LINES
from spotify_dag.tracks.candidate_features import REASONS
from spotify_dag.tracks.text_search import POPULAR

APP = Path(texts.__file__).parent


def messages_in(language: str) -> dict[str, Any]:
    return {it.id.name: it for it in FluentResource(resource(language)).body if type(it).__name__ == "Message"}


def variables_of(node: Any) -> set[str]:
    """Return the values that a message needs; it names those of the messages that it takes in, too."""
    if type(node).__name__ == "VariableReference":
        return {node.id.name}
    parts = node if isinstance(node, list) else vars(node).values() if hasattr(node, "__dict__") else []
    return set().union(*(variables_of(part) for part in parts))


def literals_of(node: Any) -> Iterator[str]:
    """Yield the words of a message, without its values."""
    if type(node).__name__ == "TextElement":
        yield node.value
    parts = node if isinstance(node, list) else vars(node).values() if hasattr(node, "__dict__") else []
    for part in parts:
        yield from literals_of(part)


def asked_for() -> tuple[set[str], set[str]]:
    """Return which messages the code asks for, and, where it makes the name up, patterns of names."""
    names, patterns = set(), set()
    for file in APP.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("say", "mark")):
                continue
            for part in ast.walk(node.args[0]):
                if isinstance(part, ast.JoinedStr):
                    pieces = (str(it.value) if isinstance(it, ast.Constant) else "[a-z-]+" for it in part.values)
                    patterns.add("".join(pieces))
                elif isinstance(part, ast.Constant) and isinstance(part.value, str) and not part.value.endswith("-"):
                    names.add(part.value)
    for file in (APP / "static").glob("*.*"):
        names |= {*said_by(file.read_text()), *re.findall(r"⟦([a-z-]+)", file.read_text())}
    return names, patterns


class TestFiles:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_a_language_says_all_that_english_says_with_the_same_values(self, language: str) -> None:
        body = FluentResource(resource(language)).body
        assert {type(it).__name__ for it in body} <= {"Message", "Comment", "GroupComment", "ResourceComment"}
        english, own = messages_in("en"), messages_in(language)
        assert list(own) == list(english)
        assert len(own) == sum(type(it).__name__ == "Message" for it in body)
        assert {name: variables_of(it) for name, it in own.items()} == {
            name: variables_of(it) for name, it in english.items()
        }

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_words_hold_no_markup(self, language: str) -> None:
        words = "".join(literals_of(list(messages_in(language).values())))
        assert not set('<>&"\\`⟦⟧') & set(words)

    def test_what_is_asked_for_is_said_and_nothing_else(self) -> None:
        names, patterns = asked_for()
        english = set(messages_in("en"))
        facts = set(re.findall(r'"(stored-[a-z-]+)"', (APP / "my_data_cards.py").read_text()))
        reasons = {name for name in english if name.startswith("reason-")}
        made_up = {
            *(f"progress-{stage}" for stage in (*cards.STAGES, "working")), *(f"read-{kind}" for kind in LINES),
            *(f"counts-{kind}" for kind in my_data_cards.LEFT_OUT), *(f"feedback-{kind}" for kind in cards.FEEDBACK),
            *(f"over-time-{kind}" for kind in (*my_data_cards.OVER_TIME, "came", "went")),
            *(f"compare-{kind}" for kind in ("genres", "eras", "artists")),
            *(f"match-{how}" for how in ("surely", "probably", "perhaps")),
        }  # fmt: skip
        assert all(any(re.fullmatch(pattern, name) for pattern in patterns) for name in made_up)
        assert names | facts | reasons | made_up == english

    def test_reasons_are_those_that_tracks_come_with(self) -> None:
        fixed, patterns = texts._reasons()
        assert set(fixed) == set(REASONS)
        assert set(patterns) == {"reason-near", "reason-fits", "reason-has", "reason-listens", "reason-may-like"}
        assert texts_in("en")("over-time-none") == NOTHING
        assert texts_in("en")("search-popular") == POPULAR


class TestForms:
    @pytest.mark.parametrize(
        ("language", "shown"),
        [
            ("en", ["0 items so far.", "1 item so far.", "2 items so far.", "1,234,567 items so far."]),
            ("de", ["Bisher 0 Einträge.", "Bisher 1 Eintrag.", "Bisher 2 Einträge.", "Bisher 1.234.567 Einträge."]),
            (
                "es",
                [
                    "0 elementos hasta ahora.", "1 elemento hasta ahora.", "2 elementos hasta ahora.",
                    "1.234.567 elementos hasta ahora.",
                ],
            ),
        ],
    )  # fmt: skip
    def test_numbers_decide_between_forms(self, language: str, shown: list[str]) -> None:
        say = texts_in(language)
        assert [say("progress-items", items=number) for number in (0, 1, 2, 1_234_567)] == shown
        forms = json.loads(say.for_scripts(["save-done"]))["save-done"]
        assert {"one", "other"} <= set(forms)
        assert all("{title}" in form and "{count}" in form for form in forms.values())

    def test_percentages(self) -> None:
        assert [texts_in(language).percent(45.67, 1) for language in LANGUAGES] == ["45.7%", "45,7\xa0%", "45,7\xa0%"]

    def test_reasons_are_said_in_the_language(self) -> None:
        say = texts_in("de")
        assert say.reason("widely known") == "weithin bekannt"
        assert say.reason("1 of the 50 nearest listeners have it") == "1 der 50 ähnlichsten Leute hat ihn"
        assert say.reason("12 of the 50 nearest listeners have it") == "12 der 50 ähnlichsten Leute haben ihn"
        assert say.reason("fits your “a {0} has it”") == "passt zu „a {0} has it“"
        assert say.reason("he has it has it") == "he has it hat ihn"
        assert say.reason("as another version said it") == "as another version said it"

    def test_what_a_language_lacks_is_english(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(texts, "resource", lambda language: "find = x" if language == "nl" else resource(language))
        assert texts_in("nl")("find") == "x"
        assert texts_in("nl")("login") == "Log in with Spotify"
        for made in (texts.texts_in, texts._bundle, texts._parts):
            made.cache_clear()


class TestLanguage:
    @pytest.mark.parametrize(
        ("wishes", "language"),
        [
            ("", "en"), ("de", "de"), ("de-AT", "de"), ("es-419,es;q=0.9", "es"), ("DE-de", "de"), ("fr-FR,fr", "en"),
            ("fr,de;q=0.8,en;q=0.5", "de"), ("en;q=0.5,es;q=0.7", "es"), ("de;q=0,es;q=0.1", "es"), ("*", "en"),
            ("de;q=nan", "en"), ("de;q=9", "en"), ("de;level=1;q=1", "en"), (";;;,,q=1,-,_", "en"),
            ("\x00\udcff⟦find⟧", "en"), ("zz," * 40_000 + "de", "en"), ("d" * 100_000, "en"),
        ],
    )  # fmt: skip
    def test_the_browsers_wishes_decide(self, wishes: str, language: str) -> None:
        assert language_of(wishes) == language

    def test_a_hostile_header_takes_no_time(self) -> None:
        begun = time.process_time()
        for _ in range(100):
            language_of(",;q=0.1-" * 12_500)
        assert time.process_time() - begun < 1


class TestValues:
    @pytest.mark.parametrize("language", LANGUAGES)
    @pytest.mark.parametrize("name", ["<script>{ $name }{0}</script>", "{tracks}⟦find⟧", "\ue000user\ue000'\"&" * 400])
    def test_what_strangers_wrote_stays_text(self, language: str, name: str) -> None:
        say = texts_in(language)
        shared = [{"name": name, "yours": 0.1, "theirs": 0.2}]
        answer = {
            "user_id": name, "other_id": name, "percent": 99.0, "confidence": 0.5, "shared_genres": shared,
            "shared_artists": shared, "shared_eras": [], "new_to_you": shared, "new_to_other": [],
        }  # fmt: skip
        track = {
            "track_id": "1",
            "track_name": name,
            "artist_name": name,
            "why": [f"{name} has it", f"fits your “{name}”"],
        }
        token = {"user_id": name, "token": "t", "tracks": 1, "matches": []}
        shown = cards.comparison(say, answer) + cards.tracks(say, [track], [name], title=name, picks=True)
        shown += cards.matches(say, token) + cards.problem(say, {"detail": name})
        cut = name if len(name) <= html_pieces.MOST_NAME else f"{name[: html_pieces.MOST_NAME - 1]}…"
        assert shown.count(f"<bdi>{html.escape(cut)}</bdi>") >= 8
        assert "<script" not in shown

    def test_marks_are_filled_in_pages_and_in_scripts(self) -> None:
        page = json.dumps({"label": mark("find-lists-info", most=50), "js": script("save.js")}, ensure_ascii=False)
        read = json.loads(filled(page, texts_in("de")))
        assert read["label"] == "So viele eurer ersten Playlists zählen; 50 heißt alle"
        said = json.loads(read["js"].removeprefix("const texts = ").split(", lang = ")[0])
        assert set(said) == set(said_by(static("save.js")))
        assert "⟦" not in read["js"]
