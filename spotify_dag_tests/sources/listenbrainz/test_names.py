"""Which user of ListenBrainz a text means."""

from __future__ import annotations

import pytest

from spotify_dag.sources import meant_by
from spotify_dag.sources.listenbrainz.names import ListenBrainzNameError, names_profile, parse_name, user_id_of


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rob", "rob"),
        ("  Rob ", "Rob"),
        ("https://listenbrainz.org/user/Rob/", "Rob"),
        ("https://listenbrainz.org/user/rob/stats/?range=week", "rob"),
        ("listenbrainz.org/user/a%20b", "a b"),
        ("https:/listenbrainz.org/user/rob", "rob"),  # as a path of a command line has it
        ("listenbrainz:rob", "rob"),
        ("listenbrainz-a%20b%25", "a b%"),
        ("Ünïcode #1?", "Ünïcode #1?"),
    ],
)
def test_names(text: str, name: str) -> None:
    assert parse_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "  ", "https://listenbrainz.org/", "https://listenbrainz.org/user/", "a/b", "..", "x" * 65, "a\x00b"]
)
def test_what_names_nobody_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ListenBrainzNameError, match=r"listenbrainz\.org/user/rob"):
        parse_name(text)


def test_every_spelling_is_one_user_and_no_two_names_are() -> None:
    assert user_id_of("Rob") == user_id_of("rob") == "listenbrainz-rob"
    assert user_id_of("a b") == "listenbrainz-a%20b" != user_id_of("a%20b")
    for name in ("rob", "a b", "a%20b"):
        assert parse_name(user_id_of(name)) == name


def test_a_line_of_a_list_means_a_user_of_its_service() -> None:
    meant = [meant_by(source, "Rob") for source in ("spotify", "listenbrainz", "lastfm-api")]
    assert meant == ["Rob", "listenbrainz-rob", "lastfm-api-rob"]
    assert meant_by("spotify", "https://listenbrainz.org/user/rob") is None
    assert not names_profile("https://open.spotify.com/user/rob")
