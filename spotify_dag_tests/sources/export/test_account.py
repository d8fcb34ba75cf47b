"""The data that Spotify sends: playlists, library and histories, whole and damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from samples.export_files import (
    account_files,
    as_json,
    folder,
    item,
    library,
    play,
    playlists,
    podcast_play,
    short_play,
    track_id,
    zipped,
)
from spotify_dag.sources.base import SourceError
from spotify_dag_tests.sources.export.conftest import Read, read

ReadFile = Callable[[str, bytes], Read]


class TestDownload:
    @pytest.mark.parametrize("form", ["folder", "zip", "zip under another name"])
    def test_everything_in_it_becomes_lists(self, tmp_path: Path, form: str) -> None:
        name = {"folder": "data", "zip": "my_spotify_data.zip", "zip under another name": "download"}[form]
        path = (folder if form == "folder" else zipped)(tmp_path / name, account_files())
        found = read(path)
        lists = found.records.group_by("playlist_id", "playlist_name", maintain_order=True).agg("track_name", "plays")
        assert lists.rows() == [
            ("playlist-0", "One", ["Song 1", "Song 2"], [None, None]),
            ("playlist-1", "Two", ["Song 3"], [None]),
            ("liked", "Liked songs", ["Song 10", "Song 11"], [None, None]),
            ("albums", "Albums", [None], [None]),
            ("artists", "Artists", [None], [None]),
            ("plays", None, ["Song 20", "Song 21", "Song 24"], [2, 1, 1]),
        ]
        assert found.reading.skipped_rows() == {
            "podcasts are not music": 3,  # A show, an episode, a play.
            "banned by the user": 2,
            "the same play again": 1,
            "played in a private session": 1,
            "played for less than 30 s": 1,
        }
        assert found.reading.plays == 4
        assert found.reading.files == [
            "Playlist1.json",
            "StreamingHistory_music_0.json",
            "YourLibrary.json",
            "Streaming_History_Audio_2020-2021_0.json",
        ]

    def test_artists_and_albums_without_tracks(self, read_file: ReadFile) -> None:
        found = read_file("YourLibrary.json", as_json(library([])))
        rows = found.records.select("playlist_id", "artist_name", "album_name", "artist_id", "track_id", "position")
        assert rows.rows() == [
            ("albums", "Neu!", "Neu! 75", None, None, 0),
            ("artists", "Harmonia", None, track_id(7), None, 0),
        ]


class TestPlaylists:
    def test_what_is_not_music_is_counted(self, read_file: ReadFile) -> None:
        none = {"track": None, "episode": None, "localTrack": None}
        items = [
            item(1),
            none | {"episode": {"episodeName": "E", "showName": "S"}},
            none | {"audiobook": {"name": "B"}},
            none | {"localTrack": {"uri": "spotify:local:x"}},
            none,
            item(2),
            "no object",
            {"track": "no object"},
            item(3) | {"track": {"trackName": "Nobody's"}},
        ]
        found = read_file("Playlist1.json", as_json(playlists({"One": items})))
        assert found.titles() == ["Song 1", "Song 2"]
        assert found.records["position"].to_list() == [0, 5]
        assert sorted(found.reading.skipped_rows().items()) == [
            ("Spotify gives no title any more", 1),
            ("audiobooks are not music", 1),
            ("local files are known to nobody else", 1),
            ("podcasts are not music", 1),
        ]
        rejects = found.rejects.filter("dropped").select("row", "field", "reason").sort("row").rows()
        assert rejects == [
            (6, "item", "not an object"),
            (7, "track", "not an object"),
            (8, "artist_name", "no artist name"),
        ]

    def test_values_of_another_type(self, read_file: ReadFile) -> None:
        odd = item(1)
        odd["track"] |= {"trackName": 1999, "albumName": ["x"], "trackUri": "spotify:episode:1"}
        half = item(2)
        half["track"]["trackName"] = "half \ud800 a pair"
        found = read_file("Playlist1.json", json.dumps(playlists({"One": [odd, half]})).encode())
        assert found.titles() == ["1999", "half ? a pair"]
        assert found.records["album_name"].to_list() == [None, "Album 2"]
        assert sorted(found.rejects["reason"]) == ["not text", "not the URI of a track"]
        assert not found.rejects["dropped"].any()

    def test_lists_of_equal_names_stay_apart_and_files_come_in_natural_order(self, tmp_path: Path) -> None:
        files = {
            f"Playlist{number}.json": as_json(playlists({"Mix": [item(number)], "mix": [item(number + 50)]}))
            for number in (10, 9, 1)
        }
        found = read(folder(tmp_path, files))
        assert found.titles() == ["Song 1", "Song 51", "Song 9", "Song 59", "Song 10", "Song 60"]
        assert found.records["playlist_id"].to_list() == [f"playlist-{number}" for number in range(6)]

    def test_a_file_longer_than_what_is_read_at_once(self, read_file: ReadFile) -> None:
        lists = {f"List {n}": [item(n * 1_000 + m) for m in range(1_000)] for n in range(6)}
        found = read_file("Playlist1.json", as_json(playlists(lists)))
        assert found.titles() == [f"Song {n}" for n in range(6_000)]
        assert found.records.group_by("playlist_name", maintain_order=True).len().rows() == [
            (name, 1_000) for name in lists
        ]
        assert found.rejects.is_empty()


class TestPlays:
    def plays(self, found: Read) -> dict[str, int]:
        return dict(found.records.select("track_name", "plays").iter_rows())

    @pytest.mark.parametrize("name", ["Streaming_History_Audio_2021_3.json", "endsong_0.json"])
    def test_most_played_first(self, read_file: ReadFile, name: str) -> None:
        times = {1: 3, 2: 1, 3: 7}
        history = [play(number, 10 * number + minute) for number, n in times.items() for minute in range(n)]
        found = read_file(name, as_json(history))
        assert list(self.plays(found).items()) == [("Song 3", 7), ("Song 1", 3), ("Song 2", 1)]
        assert found.records.select("position", "playlist_position", "track_id", "album_name").row(0) == (
            0,
            0,
            track_id(3),
            "Album 3",
        )

    @pytest.mark.parametrize("name", ["StreamingHistory_music_0.json", "StreamingHistory0.json"])
    def test_the_last_year(self, read_file: ReadFile, name: str) -> None:
        history = [short_play(1, 1), short_play(1, 2), short_play(2, 3, ms=29_999), {"endTime": "2021-05-01 00:00"}]
        unknown = short_play(3, 9) | {"trackName": "Unknown Track", "artistName": "Unknown Artist"}
        found = read_file(name, as_json([*history, unknown]))
        assert self.plays(found) == {"Song 1": 2}
        assert found.reading.skipped_rows() == {"Spotify gives no title any more": 2, "played for less than 30 s": 1}

    def test_a_play_in_two_files_counts_once(self, tmp_path: Path) -> None:
        history = [play(1, minute) for minute in range(5)]
        files = {
            "Streaming_History_Audio_2021_0.json": as_json(history),
            "Streaming_History_Audio_2021_0 (1).json": as_json([*history[3:], play(1, 60)]),
            "StreamingHistory_music_0.json": as_json(
                [short_play(1, 2), short_play(1, 70), short_play(1, 2, ms=99_000)]
            ),
        }
        found = read(folder(tmp_path, files))
        assert self.plays(found) == {"Song 1": 8}
        assert found.reading.skipped_rows() == {"the same play again": 3}

    def test_plays_without_a_time_are_never_the_same(self, read_file: ReadFile) -> None:
        history = [{key: value for key, value in play(1).items() if key != "ts"}] * 3
        assert self.plays(read_file("endsong.json", as_json(history))) == {"Song 1": 3}

    @pytest.mark.parametrize("ms", [None, "soon", [1], True, float("nan")])
    def test_a_play_without_a_length_is_a_reject(self, read_file: ReadFile, ms: object) -> None:
        found = read_file("endsong.json", json.dumps([play(1), play(2, ms=ms)]).encode())
        assert self.plays(found) == {"Song 1": 1}
        (reason,) = set(found.rejects.filter("dropped")["reason"])
        assert reason == "not a number of milliseconds"

    @pytest.mark.parametrize(
        ("incognito", "counts"), [(False, True), (None, True), (True, False), ("x", False), (1, False)]
    )
    def test_a_private_session_does_not_count(self, read_file: ReadFile, incognito: object, counts: bool) -> None:
        found = read_file("endsong.json", as_json([play(1), play(2, incognito_mode=incognito)]))
        assert ("Song 2" in self.plays(found)) == counts

    def test_podcasts_and_audiobooks_are_counted(self, read_file: ReadFile) -> None:
        book = podcast_play(3) | {"spotify_episode_uri": None, "audiobook_uri": "spotify:show:1"}
        nothing = podcast_play(4) | {"spotify_episode_uri": None, "episode_name": None}
        found = read_file("endsong.json", as_json([play(1), podcast_play(1), podcast_play(2), book, nothing]))
        assert found.reading.skipped_rows() == {
            "podcasts are not music": 2,
            "audiobooks are not music": 1,
            "Spotify gives no title any more": 1,
        }


class TestDamage:
    @pytest.mark.medium
    def test_what_stands_around_a_damaged_item_is_read(self, read_file: ReadFile) -> None:
        text = as_json(playlists({"One": [item(n) for n in range(9)], "Two": [item(n) for n in range(9, 20)]}))
        for place in range(0, len(text), 499):
            for broken in (b'"', b"{", b"}", b"\xff", b"]", b","):
                found = read_file("Playlist1.json", text[:place] + broken + text[place:])
                missing = {f"Song {n}" for n in range(20)} - set(found.titles())
                assert len(missing) <= 1, (place, broken)
                names = dict(found.records.select("track_name", "playlist_name").iter_rows())
                known = [names[f"Song {n}"] for n in range(1, 9) if f"Song {n}" in names]
                assert len(set(known)) == 1, (place, broken)

    @pytest.mark.parametrize("cut", [b"[", b"]", b"[{"])
    def test_histories_without_their_ends(self, read_file: ReadFile, cut: bytes) -> None:
        text = as_json([play(n, n) for n in range(5)]).replace(b"\n", b"").replace(b" ", b"")
        text = text.removesuffix(cut) if cut == b"]" else text.removeprefix(cut)
        found = read_file("endsong.json", text)
        assert {"Song1", "Song2", "Song3", "Song4"} <= set(found.titles())
        assert found.rejects["reason"].to_list() == (["not readable as JSON"] if cut == b"[{" else [])

    def test_no_private_value_is_in_what_is_said_of_a_damaged_row(self, read_file: ReadFile) -> None:
        text = as_json([play(1, 1), play(2, 2)]).replace(b'"platform":', b'"platform"', 1)
        found = read_file("endsong.json", text)
        assert found.titles() == ["Song 2"]
        assert found.rejects.select("row", "field", "value", "reason").rows() == [
            (0, "play", None, "not readable as JSON")
        ]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"[]",
            b"{",
            b'"' * 10_000,
            b"\x00\xff" * 5_000,
            b"[" * 200_000,
            b'{"a":' * 200_000,
            b'[{"ts": ' + b"9" * 10_000 + b"}]",
            b'{"playlists": [{"name": "x", "items": 5}]}',
            b'{"playlists": null}',
        ],
    )
    @pytest.mark.parametrize("name", ["Playlist1.json", "YourLibrary.json", "endsong_0.json"])
    def test_no_listening_is_one_clear_error(self, read_file: ReadFile, name: str, content: bytes) -> None:
        with pytest.raises(SourceError, match=rf"{name}' holds no listening \(") as error:
            read_file(name, content)
        assert "\n" not in str(error.value)
