"""A user is named by profile URL, URI or id, alone or in a list of any of the three forms."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_dag.sources.base import SourceError
from spotify_dag.sources.spotify import SpotifySource
from spotify_dag.sources.spotify.names import UserNameError, parse_user, read_data_set, read_names
from spotify_dag_tests.sources.spotify.conftest import settings_for


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wizzler", "wizzler"),
        ("  31abcdefghijklmnopqrstuvwxyz\n", "31abcdefghijklmnopqrstuvwxyz"),
        ("1234567890", "1234567890"),
        ("some.body-else_1", "some.body-else_1"),
        ("a#b", "a#b"),
        ("josé", "josé"),
        ("spotify:user:wizzler", "wizzler"),
        ("spotify:user:a%23b", "a#b"),
        ("https://open.spotify.com/user/wizzler", "wizzler"),
        ("https://open.spotify.com/user/wizzler?si=0123456789abcdef", "wizzler"),
        ("https://open.spotify.com/user/wizzler/#top", "wizzler"),
        ("https://open.spotify.com/intl-de/user/wizzler?si=1", "wizzler"),
        ("http://open.spotify.com/intl-pt-BR/user/wizzler/", "wizzler"),
        ("open.spotify.com/user/jos%C3%A9", "josé"),
        ("HTTPS://open.spotify.com/user/wizzler", "wizzler"),
        ("https://Open.Spotify.com/user/Wizzler", "Wizzler"),
        ("https://play.spotify.com/user/wizzler", "wizzler"),
        ("SPOTIFY:USER:wizzler", "wizzler"),
    ],
)
def test_every_form_names_the_user(text: str, expected: str) -> None:
    assert parse_user(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "..", "two words", "x/../../me", "a\\b", "a?b", "a%2Fb", "somebody@example.org", "a\x00b",
        "\ud800", "x" * 129, "https://example.org/user/wizzler", "https://open.spotify.com.example.org/user/wizzler",
        "https://somebody@open.spotify.com/user/wizzler", "https://open.spotify.com:8080/user/wizzler",
        "https://open.spotify.com/playlist/37i9dQZF1DXcBWIGoYBM5M", "https://open.spotify.com/user/",
        "https://open.spotify.com/user/a%2F..%2Fb", "https://open.spotify.com/user/..",
        "https://open.spotify.com/user/wizzler/playlist/37i9dQZF1DXcBWIGoYBM5M", "spotify:playlist:x",
        "spotify:user:a:playlist:b", "spotify:user:",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UserNameError, match=r"names no Spotify user. Give one like https://open.spotify.com/user/1"):
        parse_user(text)


@pytest.mark.parametrize("text", ["https://spotify.link/abc", "Spotify.link/abc", "https://spotify.app.link/x?y=z"])
def test_a_short_link_has_to_be_opened_first(text: str) -> None:
    with pytest.raises(UserNameError, match=r"short link.*open it in a browser and copy the address it leads to"):
        parse_user(text)


@given(st.text(max_size=200))
def test_whatever_is_typed_gives_an_id_that_is_one_part_of_a_path_or_is_refused(text: str) -> None:
    try:
        user = parse_user(text)
    except UserNameError:
        return
    assert user
    assert user.strip(".")
    assert not set(user) & set("/\\?&: \n\t")
    user.encode()  # can be sent


class TestLists:
    def test_text(self, tmp_path: Path) -> None:
        file = tmp_path / "users.txt"
        file.write_bytes("\ufeffa1\n\n# friends\n spotify:user:b2 \r\nnot one\n\xff".encode() + b"\xff\n")
        assert list(read_names(file)) == [(1, "a1"), (4, "spotify:user:b2"), (5, "not one"), (6, "ÿ\ufffd")]

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            ("user_id,name\nabc,Ann\ndef,Bob\n", [(2, "abc"), (3, "def")]),
            (
                "Name,Profile URL\nAnn Lee,https://open.spotify.com/user/abc\n",
                [(2, "https://open.spotify.com/user/abc")],
            ),
            ("who,how often\nabc,two times\n,\ndef,three times\n", [(2, "abc"), (4, "def")]),
            ("1234567890\n234567890\n", [(1, "1234567890"), (2, "234567890")]),
            ("spotify:user:abc\nspotify:user:def\n", [(1, "spotify:user:abc"), (2, "spotify:user:def")]),
            ('listener\n"abc"\n', [(2, "abc")]),
        ],
    )
    def test_csv_with_or_without_a_heading(self, tmp_path: Path, content: str, expected: list[tuple[int, str]]) -> None:
        file = tmp_path / "users.csv"
        file.write_text(content)
        assert list(read_names(file)) == expected

    def test_parquet(self, tmp_path: Path) -> None:
        file = tmp_path / "users.parquet"
        pl.DataFrame({"plays": [1, 2, 3], "url": ["spotify:user:a", None, "b"]}).write_parquet(file)
        assert list(read_names(file)) == [(0, "spotify:user:a"), (2, "b")]

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("users.csv", b"how often\ntwo times\n"),
            ("users.parquet", b"no parquet at all"),
            ("users.csv", b""),
        ],
    )
    def test_a_table_without_users_is_refused(self, tmp_path: Path, name: str, content: bytes) -> None:
        file = tmp_path / name
        file.write_bytes(content)
        with pytest.raises(SourceError, match=r"users"):
            list(read_names(file))

    def test_a_data_set_needs_the_optional_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "datasets", None)  # as where it is not installed
        with pytest.raises(SourceError, match=r"the package datasets is missing: pip install datasets"):
            read_data_set("somebody/spotifyuserids")

    def test_a_data_set_is_read_once(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """The package stands in for one that is too large to install for this: what it is asked is all it shares."""
        (tmp_path / "datasets.py").write_text(
            "def load_dataset(name, split, streaming):\n"
            "    assert (name, split, streaming) == ('somebody/ids', 'train', True)\n"
            "    return iter([{'n': 3, 'userid': 'abc'}, {'n': 4, 'userid': None}, {'n': 5, 'userid': 'd e'}])\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setitem(sys.modules, "datasets", None)  # remembered first: the stand-in must not stay for others
        del sys.modules["datasets"]
        source = SpotifySource(settings_for("http://127.0.0.1:1", tmp_path / "data"), "somebody/ids")
        assert source.n_batches() == 2  # one of a user, one of what names none
        (tmp_path / "datasets.py").unlink()
        monkeypatch.setitem(sys.modules, "datasets", None)
        assert source._listed()[0] == ["abc"]
