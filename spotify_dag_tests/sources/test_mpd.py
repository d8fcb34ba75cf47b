"""Million Playlist Dataset: a slice at a time, every good track read, every bad part named."""

from __future__ import annotations

import gc
import gzip
import json
import random
import re
import weakref
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_dag.sources import mpd
from spotify_dag.sources.base import RECORD_COLUMNS, REJECT_COLUMNS, Batch, SourceError
from spotify_dag.sources.mpd import MpdSource

FIRST, SECOND = "mpd.slice.0-999.json", "mpd.slice.1000-1999.json"


def track(number: int, **fields: Any) -> dict[str, Any]:
    """Return a track as the dataset publishes it."""
    return {
        "pos": number,
        "artist_name": f"Artist {number}",
        "track_uri": f"spotify:track:T{number}",
        "artist_uri": f"spotify:artist:A{number}",
        "track_name": f"Track {number}",
        "album_uri": f"spotify:album:L{number}",
        "duration_ms": 200_000,
        "album_name": f"Album {number}",
    } | fields


def playlist(pid: Any, *tracks: Any, **fields: Any) -> dict[str, Any]:
    return {"name": f"List {pid}", "collaborative": "false", "pid": pid, "tracks": list(tracks)} | fields


def write(folder: Path, name: str, *playlists: Any, text: str | bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"info": {"version": "v1"}, "playlists": playlists}) if text is None else text
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def read(path: Path) -> Batch:
    """Return all batches of the source as one."""
    import polars as pl

    batches = list(MpdSource(path).batches())
    for batch in batches:
        assert batch.records.columns == RECORD_COLUMNS
        assert batch.rejects.columns == REJECT_COLUMNS
    users = [user for batch in batches for user in batch.rows_read["user_id"]]
    assert len(users) == len(set(users)), "a user in two batches"
    return Batch(
        pl.concat(batch.records for batch in batches),
        pl.concat(batch.rejects for batch in batches),
        pl.concat(batch.rows_read for batch in batches),
    )


def refused(batch: Batch) -> list[tuple]:
    return batch.rejects.select("row", "user_id", "field", "reason", "dropped").rows()


class TestGoodSlices:
    def test_a_track_as_published(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST, playlist(17, track(0), track(1))))
        known = {name: value for name, value in batch.records.row(1, named=True).items() if value is not None}
        assert known == {
            "user_id": "mpd-17",
            "playlist_id": "17",
            "playlist_name": "List 17",
            "playlist_position": 0,
            "position": 1,
            "track_id": "T1",
            "track_name": "Track 1",
            "album_name": "Album 1",
            "artist_id": "A1",
            "artist_name": "Artist 1",
            "artists": ["Artist 1"],
        }
        assert batch.rows_read.rows() == [("mpd-17", 2)]
        assert refused(batch) == []

    def test_an_enriched_track(self, tmp_path: Path) -> None:
        years = [1999, 1999.0, "1999"]
        flags = [True, "false", 1]
        tracks = [
            track(n, release_year=year, popularity=55.5, explicit=flag)
            for n, (year, flag) in enumerate(zip(years, flags, strict=True))
        ]
        batch = read(write(tmp_path, FIRST, playlist(1, *tracks)))
        assert batch.records.select("release_year", "popularity", "explicit").rows() == [
            (1999, 55.5, True),
            (1999, 55.5, False),
            (1999, 55.5, True),
        ]
        assert refused(batch) == []

    def test_a_subset_may_lack_all_but_the_artist(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST, {"pid": 1, "tracks": [{"artist_name": "Air"}]}))
        assert batch.records.select("artist_name", "track_id", "artist_id", "playlist_name").rows() == [
            ("Air", None, None, None)
        ]
        assert refused(batch) == []

    def test_a_playlist_without_tracks_is_a_user_without_rows(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST, playlist(1), playlist(2, track(0))))
        assert batch.rows_read.rows() == [("mpd-1", 0), ("mpd-2", 1)]
        assert batch.records["user_id"].to_list() == ["mpd-2"]

    def test_no_playlists_at_all(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST))
        assert (batch.records.height, batch.rejects.height, batch.rows_read.height) == (0, 0, 0)

    @pytest.mark.parametrize("inside", ["", "data"])
    def test_slices_are_read_in_order_one_batch_each(self, tmp_path: Path, inside: str) -> None:
        for first in (10_000, 2_000, 0):
            name = f"mpd.slice.{first}-{first + 999}.json"
            write(tmp_path / inside, name, playlist(first, track(0)))
        (tmp_path / "README.md").write_text("not a slice")
        source = MpdSource(tmp_path)
        assert source.n_batches() == 3
        assert [batch.rows_read["user_id"].item() for batch in source.batches()] == ["mpd-0", "mpd-2000", "mpd-10000"]
        assert source.artist_genres() is None

    def test_one_file_of_any_name(self, tmp_path: Path) -> None:
        write(tmp_path, "challenge_set.json", playlist(1, track(0)))
        assert read(tmp_path / "challenge_set.json").records.height == 1

    @pytest.mark.medium
    def test_a_slice_is_dropped_before_the_next_is_opened(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Parsed(dict):
            """A dict that can be watched."""

        watched: list[weakref.ref] = []
        loads = json.loads

        def watching_loads(text: str, **options: Any) -> Any:
            gc.collect()
            assert [ref for ref in watched if ref() is not None] == []
            content = loads(text, **options)
            content["playlists"] = [Parsed(item) for item in content["playlists"]]
            watched.extend(weakref.ref(item) for item in content["playlists"])
            return content

        monkeypatch.setattr(mpd.json, "loads", watching_loads)
        for first in range(0, 5_000, 1_000):
            write(tmp_path, f"mpd.slice.{first}-{first + 999}.json", playlist(first, track(0)))
        assert read(tmp_path).records.height == len(watched) == 5

    def test_the_version_changes_with_the_files(self, tmp_path: Path) -> None:
        source = MpdSource(write(tmp_path, FIRST, playlist(1, track(0))))
        before = source.version()
        assert MpdSource(tmp_path).version() == before
        write(tmp_path, SECOND, playlist(2, track(0)))
        assert source.version() != before


class TestBadParts:
    def test_playlists_that_are_none(self, tmp_path: Path) -> None:
        bad = [None, "list", {"tracks": [track(0)]}, playlist(True, track(0)), playlist(-1, track(0)), playlist([3])]
        batch = read(write(tmp_path, FIRST, *bad, playlist(7, track(0))))
        assert batch.rows_read.rows() == [("mpd-7", 1)]
        assert batch.records.height == 1
        assert [(row, user, field) for row, user, field, _, _ in refused(batch)] == [
            (None, None, "playlist"),
            (None, None, "playlist"),
            *[(None, None, "pid")] * 4,
        ]
        assert batch.rejects["reason"][2] == "item 2 of the slice has no whole number as pid"
        assert batch.rejects["value"].to_list() == [None, "'list'", None, "True", "-1", "[3]"]
        assert batch.rejects["file"].unique().to_list() == [FIRST]

    @pytest.mark.parametrize("tracks", [None, {}, "tracks", 5])
    def test_tracks_that_are_no_list(self, tmp_path: Path, tracks: Any) -> None:
        batch = read(write(tmp_path, FIRST, playlist(1, tracks=tracks), playlist(2, track(0))))
        assert refused(batch) == [(None, "mpd-1", "tracks", "not a list", True)]
        assert batch.records["user_id"].to_list() == ["mpd-2"]

    def test_tracks_that_are_none(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST, playlist(1, track(0), None, "song", [track(0)], track(4))))
        assert refused(batch) == [(row, "mpd-1", "track", "not an object", True) for row in (1, 2, 3)]
        assert batch.records["position"].to_list() == [0, 4]
        assert batch.rows_read.rows() == [("mpd-1", 5)]

    def test_tracks_without_an_artist_are_left_out(self, tmp_path: Path) -> None:
        bad = [track(1, artist_name=name) for name in (None, "", " \x00 ", {"name": "Air"}, "x" * 10_000)]
        batch = read(write(tmp_path, FIRST, playlist(1, track(0), *bad, track(6))))
        assert batch.records["position"].to_list() == [0, 6]
        dropped = batch.rejects.filter("dropped")
        assert dropped.select("row", "reason").rows() == [
            *((row, "no artist name") for row in range(1, 5)),
            (5, "longer than 500 characters"),
        ]
        assert dropped["value"][-1] == "x" * 80

    @pytest.mark.parametrize(
        ("field", "column", "value", "reason"),
        [
            ("release_year", "release_year", 99_999, "not a year from 1900 to "),
            ("release_year", "release_year", -1, "not a year from 1900 to "),
            ("release_year", "release_year", "soon", "not a year from 1900 to "),
            ("release_year", "release_year", [1999], "not a year from 1900 to "),
            ("release_year", "release_year", float("inf"), "not a year from 1900 to "),
            ("popularity", "popularity", 101, "not a number from 0 to 100"),
            ("popularity", "popularity", float("nan"), "not a number from 0 to 100"),
            ("explicit", "explicit", "maybe", "not true or false"),
            ("explicit", "explicit", {}, "not true or false"),
            ("track_name", "track_name", {}, "not text"),
            ("track_uri", "track_id", ["spotify:track:1"], "not text"),
            ("album_name", "album_name", True, "not text"),
            ("track_name", "track_name", "x" * 10_000, "longer than 500 characters"),
        ],
    )
    def test_of_a_bad_value_only_the_value_is_left_out(
        self, tmp_path: Path, field: str, column: str, value: Any, reason: str
    ) -> None:
        batch = read(write(tmp_path, FIRST, playlist(1, track(0), track(1, **{field: value}), track(2))))
        assert batch.records["artist_name"].to_list() == ["Artist 0", "Artist 1", "Artist 2"]
        assert batch.records[column][1] is None
        assert [(row, user, name, dropped) for row, user, name, _, dropped in refused(batch)] == [
            (1, "mpd-1", column, False)
        ]
        assert batch.rejects["reason"].item().startswith(reason)

    def test_a_number_for_a_name_is_a_name(self, tmp_path: Path) -> None:
        batch = read(write(tmp_path, FIRST, playlist("12", track(0, artist_name=311, track_name=1999.0), name=2020)))
        assert batch.records.select("user_id", "artist_name", "track_name", "playlist_name").rows() == [
            ("mpd-12", "311", "1999", "2020")
        ]

    @pytest.mark.parametrize("uri", ["spotify:track:T9", "https://open.spotify.com/track/T9?si=1:2", "T9"])
    def test_the_id_is_the_last_part_of_the_uri(self, tmp_path: Path, uri: str) -> None:
        batch = read(write(tmp_path, FIRST, playlist(1, track(0, track_uri=uri))))
        assert batch.records["track_id"].to_list() == ["T9"]

    def test_unusual_characters(self, tmp_path: Path) -> None:
        names = ['"Weird Al" Yankovic', "Sigur Rós 🎵", "A\x00B\tC\nD", "half \ud83d emoji", "日本"]
        batch = read(write(tmp_path, FIRST, playlist(1, *(track(0, artist_name=name) for name in names), name="🎉")))
        assert batch.records["artist_name"].to_list() == [*names[:2], "A B C D", "half ? emoji", "日本"]
        assert batch.records["playlist_name"][0] == "🎉"

    def test_bytes_that_no_json_may_hold(self, tmp_path: Path) -> None:
        content = json.dumps({"playlists": [playlist(1, track(0, artist_name="A@B"))]}).encode()
        for found, kept in ((b"\xe9", "AéB"), (b"\x00", "A B"), (b"\t", "A B")):
            write(tmp_path, FIRST, text=b"\xef\xbb\xbf" + content.replace(b"@", found))
            assert read(tmp_path).records["artist_name"].to_list() == [kept]

    def test_a_repeated_pid_keeps_the_first_playlist(self, tmp_path: Path) -> None:
        write(tmp_path, FIRST, playlist(1, tracks=None), playlist(1, track(0)), playlist(1, track(1)))
        write(tmp_path, SECOND, playlist("1", track(2)), playlist(2, track(3)))
        batch = read(tmp_path)
        assert batch.records.select("user_id", "artist_name").rows() == [("mpd-1", "Artist 0"), ("mpd-2", "Artist 3")]
        again = "the same as of an earlier playlist"
        assert batch.rejects.select("file", "user_id", "field", "reason").rows() == [
            (FIRST, "mpd-1", "tracks", "not a list"),
            (FIRST, "mpd-1", "pid", again),
            (SECOND, "mpd-1", "pid", again),
        ]

    @pytest.mark.parametrize(
        ("text", "reason", "value"),
        [
            (
                '{"playlists": [\n{"pid": 1,, "tracks": []}]}',
                "not JSON: Expecting property name enclosed in double quotes: line 2 column 11",
                ',, "tracks"',
            ),
            (
                '{"playlists": [{"pid": 1, "name": "cut',
                "not JSON: Unterminated string starting at: line 1 column 35",
                "cut",
            ),
            ('{"playlists": {}}', "without a list of playlists", "{'playlists': {}}"),
            ("[" * 100_000, "not readable: maximum recursion depth", None),
            ('{"pid": ' + "9" * 5_000 + "}", "not readable: Exceeds the limit", None),
            ("", "not JSON: Expecting value: line 1 column 1", ""),
            ("PK\x03\x04\x00", "not JSON: Expecting value: line 1 column 1", "PK\ufffd\ufffd\ufffd"),
        ],
    )
    def test_a_broken_slice_costs_no_other(self, tmp_path: Path, text: str, reason: str, value: str | None) -> None:
        write(tmp_path, "mpd.slice.2000-2999.json", playlist(3, track(0)))
        write(tmp_path, SECOND, text=text)
        batch = read(write(tmp_path, FIRST, playlist(1, track(0))))
        assert batch.records["user_id"].to_list() == ["mpd-1", "mpd-3"]
        reject = batch.rejects.row(0, named=True)
        assert batch.rejects.height == 1
        assert reject["reason"].startswith(reason)
        assert (reject["file"], reject["row"], reject["user_id"], reject["field"]) == (SECOND, None, None, "slice")
        assert reject["value"] == value or value in reject["value"]


class TestUnreadable:
    """What can be known when a source is opened is said then, in one line that names the file and the remedy."""

    def complaint(self, path: Path) -> str:
        with pytest.raises(SourceError) as error:
            list(MpdSource(path).batches())
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
        assert "Give the unpacked folder" in str(error.value)
        return str(error.value)

    def test_missing_path(self, tmp_path: Path) -> None:
        assert "There is no file or folder" in self.complaint(tmp_path / "nowhere")

    def test_empty_folder(self, tmp_path: Path) -> None:
        assert "it holds nothing" in self.complaint(tmp_path)

    def test_folder_of_other_files(self, tmp_path: Path) -> None:
        (tmp_path / "playlists.json").write_text("{}")
        (tmp_path / FIRST).mkdir()
        assert f"it holds {FIRST}, playlists.json" in self.complaint(tmp_path)

    def test_no_slice_that_begins_as_json(self, tmp_path: Path) -> None:
        write(tmp_path, FIRST, text="pid,name\n1,List")
        write(tmp_path, SECOND, text=random.Random(0).randbytes(5_000))
        with pytest.raises(SourceError, match=r"it begins with 'pid,name\\n1,List'"):
            MpdSource(tmp_path)
        with pytest.raises(SourceError, match=SECOND):
            MpdSource(tmp_path / SECOND)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        assert "is not a slice: it is empty" in self.complaint(write(tmp_path, FIRST, text=""))

    def test_every_slice_is_broken(self, tmp_path: Path) -> None:
        write(tmp_path, FIRST, text='{"playlists": [')
        write(tmp_path, SECOND, text='{"lists": []}')
        complaint = self.complaint(tmp_path)
        assert f"{FIRST}' is not JSON: Expecting value: line 1 column 16" in complaint


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = (*mpd.TEXT_FIELDS.values(), *mpd.ENRICHED_FIELDS)
ODD_TRACK = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON).map(lambda fields: fields | {"artist_name": None})
ODD_PLAYLIST = JSON | st.fixed_dictionaries(
    {"pid": JSON.filter(lambda pid: not re.fullmatch("0*[0-2]", str(pid))), "tracks": JSON}
)


@pytest.mark.medium
class TestFuzz:
    @settings(max_examples=60, deadline=None)
    @given(
        odd_tracks=st.lists(st.tuples(st.integers(0, 9), ODD_TRACK), max_size=8),
        odd_playlists=st.lists(st.tuples(st.integers(0, 9), ODD_PLAYLIST), max_size=6),
    )
    def test_odd_parts_cost_no_good_track(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        odd_tracks: list[tuple[int, Any]],
        odd_playlists: list[tuple[int, Any]],
    ) -> None:
        tracks: list[Any] = [track(n) for n in range(9)]
        for place, odd in odd_tracks:
            tracks.insert(place, odd)
        playlists: list[Any] = [playlist(pid, *tracks) for pid in range(3)]
        for place, odd in odd_playlists:
            playlists.insert(place, odd)
        batch = read(write(tmp_path_factory.mktemp("m"), FIRST, *playlists))
        kept = batch.records.filter(batch.records["user_id"].is_in(["mpd-0", "mpd-1", "mpd-2"]))
        assert kept["artist_name"].to_list() == [f"Artist {n}" for n in range(9)] * 3
        assert kept["track_id"].to_list() == [f"T{n}" for n in range(9)] * 3

    @settings(max_examples=60, deadline=None)
    @given(start=st.integers(0, 700), length=st.integers(0, 30), inserted=st.binary(max_size=20))
    def test_whatever_happens_to_the_bytes_the_other_slice_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, start: int, length: int, inserted: bytes
    ) -> None:
        folder = write(tmp_path_factory.mktemp("m"), FIRST, playlist(10, track(0), track(1)))
        write(folder, SECOND, playlist(20, track(0)))
        content = (folder / FIRST).read_bytes()
        (folder / FIRST).write_bytes(content[:start] + inserted + content[start + length :])
        assert "mpd-20" in read(folder).records["user_id"]


class TestAsDownloaded:
    """What people have instead of the unpacked folder of slices."""

    @pytest.mark.parametrize("packed", [False, True])
    def test_a_bare_list_and_gzip(self, tmp_path: Path, packed: bool) -> None:
        file = tmp_path / (FIRST + ".gz" * packed)
        content = json.dumps([playlist(1, track(0)), playlist(2, track(1))]).encode()
        file.write_bytes(gzip.compress(content) if packed else content)
        assert read(tmp_path).records["user_id"].to_list() == ["mpd-1", "mpd-2"]
        assert read(file).records.height == 2

    def test_a_zip_is_to_be_unpacked(self, tmp_path: Path) -> None:
        archive = tmp_path / "mpd.zip"
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(FIRST, "{}")
        for path in (archive, tmp_path):
            with pytest.raises(SourceError, match=r"mpd\.zip' is an archive\. Unpack it, and give the folder\."):
                MpdSource(path)

    def test_one_folder_too_high_every_folder_with_slices_is_read(self, tmp_path: Path) -> None:
        for place, (inside, first) in enumerate((("a/data", 0), ("b", 1_000), ("c/data", 2_000))):
            write(tmp_path / inside, f"mpd.slice.{first}-{first + 999}.json", playlist(place, track(0)))
        batch = read(tmp_path)
        assert batch.records["user_id"].to_list() == ["mpd-0", "mpd-1", "mpd-2"]
        assert batch.rejects.is_empty()

    def test_a_copy_is_named_and_a_slice_of_the_same_name_is_read(self, tmp_path: Path) -> None:
        write(tmp_path / "a", FIRST, playlist(1, track(0)))
        write(tmp_path / "b", FIRST, playlist(1, track(0)))
        write(tmp_path / "c", FIRST, playlist(2, track(0)))
        source = MpdSource(tmp_path)
        assert source.n_batches() == len(list(source.batches())) == 3
        batch = read(tmp_path)
        assert batch.records["user_id"].to_list() == ["mpd-1", "mpd-2"]
        first, second = tmp_path / "a" / FIRST, tmp_path / "b" / FIRST
        assert batch.rejects.select("field", "value", "reason", "dropped").rows() == [
            ("slice", str(second)[:80], f"not read: a copy of {first}", False)
        ]
