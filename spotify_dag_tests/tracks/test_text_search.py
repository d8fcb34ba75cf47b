"""Likeness of texts and tracks, and filters."""

from __future__ import annotations

from typing import Any

import pytest

from spotify_dag.tracks.text_search import Filters, SearchError, grams, likeness, title_keys


def track(title: str, artist: str, album: str | None = None, song: str | None = None) -> dict[str, str | None]:
    return {"title": title, "artist": artist, "album": album, "song_key": f"{artist}|{song or title}"}


HELLO = track("hello", "adele", "25")


def test_words_are_compared_with_their_ends() -> None:
    assert grams("u2 abba") == {"^u2", "u2$", "^ab", "abb", "bba", "ba$"}
    assert grams("") == frozenset()


@pytest.mark.parametrize("text", ["hello", "hello adele", "adele hello"])
def test_what_names_a_track_exactly_is_almost_one(text: str) -> None:
    assert likeness(text, HELLO) > 0.99


@pytest.mark.parametrize(
    ("text", "better", "worse"),
    [
        ("hello", HELLO, track("hello goodbye", "the beatles")),
        ("hello adele", HELLO, track("hello", "lionel richie")),
        ("helo adele", HELLO, track("halo", "beyonce")),
        ("jump", track("jump", "van halen"), track("jump 2015 remaster", "van halen", song="jump")),
        ("jump", track("jump 2015 remaster", "van halen", song="jump"), track("jump around", "house of pain")),
        ("adele", track("adele", "x"), HELLO),
        ("bohemian rhap", track("bohemian rhapsody", "queen"), track("bohemian like you", "the dandy warhols")),
        ("abbey road", track("something", "the beatles", "abbey road"), track("abbey", "mitski")),
    ],
)
def test_the_better_reading_wins(text: str, better: dict[str, Any], worse: dict[str, Any]) -> None:
    assert likeness(text, better) > likeness(text, worse)


@pytest.mark.parametrize("typed", ["hme", "hoome", "hone", "ohme", "home"])
def test_a_short_title_one_typo_away_shares_a_key_and_is_likeliest(typed: str) -> None:
    assert title_keys(typed) & title_keys("home")
    assert likeness(typed, track("home", "michael buble")) > likeness(typed, track("meadow", "hm"))
    assert likeness(typed, track("home", "x")) >= 0.98 * 0.75


def test_long_titles_have_one_key() -> None:
    assert len(title_keys("bohemian rhapsody")) == 1
    assert len(title_keys("abc")) == 4
    assert title_keys("") == frozenset()


def test_a_text_without_letters_is_like_nothing() -> None:
    assert likeness("", HELLO) == 0


def test_filters_say_what_cannot_be() -> None:
    assert Filters().where() is None
    assert Filters(genre="R'n'B", explicit=False).where() == "array_has_any(genres, ['r''n''b']) and explicit = false"
    with pytest.raises(SearchError, match="Unknown audio feature 'warmth'"):
        Filters(audio={"warmth": (0, 1)}).where()
    with pytest.raises(SearchError, match="2000 to 1990, is empty"):
        Filters(years=(2000, 1990)).where()
