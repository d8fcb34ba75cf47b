"""The inbox: what was handed in is remembered, and what cannot be read does not push out what can."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from spotify_dag.inbox.registered_sources import Inbox
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.lastfm import LastfmSource
from spotify_dag.sources.mpd import MpdSource
from spotify_dag.sources.synthetic import SyntheticSource


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "data" / "inbox")


@pytest.fixture
def mpd(tmp_path: Path) -> Path:
    """A folder of one slice of the Million Playlist Dataset with one playlist."""
    folder = tmp_path / "mpd"
    folder.mkdir()
    track = {"pos": 0, "artist_name": "Air", "track_uri": "spotify:track:T1"}
    content = {"playlists": [{"pid": 1, "name": "mine", "tracks": [track]}]}
    (folder / "mpd.slice.0-999.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def genres(tmp_path: Path) -> Path:
    file = tmp_path / "genres.csv"
    file.write_text("name,genres\nAir,electronica\n")
    return file


def entries(inbox: Inbox) -> dict[str, str]:
    return {file.name: file.read_text() for file in inbox.root.iterdir()}


class TestSources:
    def test_an_empty_inbox(self, inbox: Inbox) -> None:
        assert inbox.sources() == []
        assert not inbox.root.exists()

    def test_what_is_registered_is_opened_and_stays(self, inbox: Inbox, mpd: Path) -> None:
        registered = inbox.register_source("mpd", {"path": str(mpd)})
        assert registered == MpdSource(mpd)
        assert inbox.register_source("synthetic", {"users": 30, "seed": 4}) == SyntheticSource(users=30, seed=4)
        assert Inbox(inbox.root).sources() == [MpdSource(mpd), SyntheticSource(users=30, seed=4)]
        assert sorted(entries(inbox)) == ["source-mpd.json", "source-synthetic.json"]

    def test_a_table_by_its_path(self, inbox: Inbox, tmp_path: Path) -> None:
        file = tmp_path / "usersha1-artmbid-artname-plays.tsv"
        file.write_text("a" * 40 + "\tmbid-1\tAir\t5\n")
        for path in (tmp_path, file):
            inbox.register_source("lastfm", {"path": str(path)})
            (source,) = inbox.sources()
            assert source == LastfmSource(path)
            assert [name for batch in source.batches() for name in batch.records["artist_name"]] == ["Air"]

    def test_one_of_the_same_name_is_replaced(self, inbox: Inbox) -> None:
        inbox.register_source("synthetic", {"users": 30, "seed": 4})
        inbox.register_source("synthetic", {"users": 40})
        assert inbox.sources() == [SyntheticSource(users=40, seed=0)]

    @pytest.mark.parametrize(
        ("name", "options", "complaint"),
        [
            ("mpd", {"path": "nowhere"}, "nowhere"),
            ("mpd", {}, "say where they are with --path PATH"),
            ("mpd", {"path": ""}, "say where they are with --path PATH"),
            ("lastfm", {"path": "nowhere"}, "There is no file or folder 'nowhere'"),
            ("mpd", {"path": ".", "users": 3}, "Source 'mpd' has no option users. It has: path"),
            ("synthetic", {"users": 0}, "users is 0; it must be a whole number from 1 to"),
            ("synthetic", {"users": "30"}, "users is '30'; it must be a whole number"),
            (
                "synthetic",
                {"user": 30, "path": "x"},
                "has no option path, user. It has: users, seed, playlists, tracks",
            ),
            ("elsewhere", {}, "Unknown source 'elsewhere'. Choose one of: synthetic, lastfm, mpd"),
        ],
    )
    def test_one_that_cannot_be_read_leaves_the_earlier_entry(
        self, inbox: Inbox, mpd: Path, name: str, options: dict[str, Any], complaint: str
    ) -> None:
        inbox.register_source("mpd", {"path": str(mpd)})
        inbox.register_source("synthetic", {"users": 30})
        before = entries(inbox)
        with pytest.raises(SourceError, match=complaint):
            inbox.register_source(name, options)
        assert entries(inbox) == before
        assert inbox.sources() == [MpdSource(mpd), SyntheticSource(users=30)]

    def test_one_whose_files_are_gone_is_said_so(self, inbox: Inbox, mpd: Path) -> None:
        inbox.register_source("mpd", {"path": str(mpd)})
        (mpd / "mpd.slice.0-999.json").unlink()
        with pytest.raises(SourceError, match=str(mpd)):
            inbox.sources()

    def test_its_version_changes_with_its_files(self, inbox: Inbox, mpd: Path) -> None:
        inbox.register_source("mpd", {"path": str(mpd)})
        inbox.register_source("synthetic", {"users": 30})
        (mpd_before, world_before) = (source.version() for source in inbox.sources())
        assert [source.version() for source in inbox.sources()] == [mpd_before, world_before]
        slice_ = mpd / "mpd.slice.0-999.json"
        slice_.write_text(slice_.read_text().replace("mine", "yours"))
        inbox.register_source("synthetic", {"users": 31})
        (mpd_after, world_after) = (source.version() for source in inbox.sources())
        assert mpd_after != mpd_before
        assert world_after != world_before

    def test_one_can_be_removed(self, inbox: Inbox, mpd: Path) -> None:
        inbox.register_source("mpd", {"path": str(mpd)})
        inbox.register_source("synthetic", {"users": 30})
        inbox.remove_source("mpd")
        assert inbox.sources() == [SyntheticSource(users=30)]
        with pytest.raises(SourceError, match=r"Source 'mpd' is not registered\. Registered: synthetic"):
            inbox.remove_source("mpd")
        inbox.remove_source("synthetic")
        assert inbox.sources() == []
        with pytest.raises(SourceError, match="Registered: none"):
            inbox.remove_source("synthetic")


class TestKeptIfReadable:
    def test_entries_are_put_back_when_a_source_turns_out_unreadable(
        self, inbox: Inbox, mpd: Path, genres: Path
    ) -> None:
        inbox.register_source("synthetic", {"users": 30})
        before = entries(inbox)

        def change_all() -> None:
            with inbox.kept_if_readable():
                inbox.register_source("synthetic", {"users": 99})
                inbox.register_source("mpd", {"path": str(mpd)})
                inbox.register_artist_genres(genres)
                assert len(entries(inbox)) == 3
                raise SourceError("not a single slice can be read")

        with pytest.raises(SourceError, match="not a single slice"):
            change_all()
        assert entries(inbox) == before
        assert inbox.sources() == [SyntheticSource(users=30)]

    def test_they_stay_when_all_went_well_or_something_else_went_wrong(self, inbox: Inbox, mpd: Path) -> None:
        with inbox.kept_if_readable():
            inbox.register_source("mpd", {"path": str(mpd)})
        assert inbox.sources() == [MpdSource(mpd)]

        def stop() -> None:
            with inbox.kept_if_readable():
                inbox.register_source("synthetic", {"users": 30})
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stop()
        assert inbox.sources() == [MpdSource(mpd), SyntheticSource(users=30)]


class TestArtistGenres:
    def test_none_yet(self, inbox: Inbox) -> None:
        assert inbox.artist_genres() is None
        assert inbox.artist_genres_version() == ""

    def test_the_table_is_remembered_by_its_full_path(
        self, inbox: Inbox, genres: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(genres.parent)
        inbox.register_artist_genres(Path(genres.name))
        monkeypatch.chdir("/")
        assert Inbox(inbox.root).artist_genres() == genres
        assert inbox.sources() == []

    def test_another_replaces_it(self, inbox: Inbox, genres: Path, tmp_path: Path) -> None:
        inbox.register_artist_genres(genres)
        version = inbox.artist_genres_version()
        other = tmp_path / "other.csv"
        other.write_bytes(genres.read_bytes())
        inbox.register_artist_genres(other)
        assert inbox.artist_genres() == other
        assert inbox.artist_genres_version() != version

    @pytest.mark.parametrize("content", [None, b"", b"a,b\n1,2\n", b"\xff\xfe\x00"])
    def test_one_that_cannot_be_read_leaves_the_earlier_one(
        self, inbox: Inbox, genres: Path, tmp_path: Path, content: bytes | None
    ) -> None:
        inbox.register_artist_genres(genres)
        bad = tmp_path / "bad.csv"
        if content is not None:
            bad.write_bytes(content)
        with pytest.raises(SourceError, match=str(bad)):
            inbox.register_artist_genres(bad)
        assert inbox.artist_genres() == genres

    def test_its_version_changes_with_its_content_and_its_time(self, inbox: Inbox, genres: Path) -> None:
        inbox.register_artist_genres(genres)
        first = inbox.artist_genres_version()
        assert inbox.artist_genres_version() == first
        genres.write_text("name,genres\nAir,electronica;downtempo\n")
        second = inbox.artist_genres_version()
        stat = genres.stat()
        os.utime(genres, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
        assert len({first, second, inbox.artist_genres_version()}) == 3

    def test_one_that_is_gone_is_an_error_and_not_a_base_without_genres(self, inbox: Inbox, genres: Path) -> None:
        inbox.register_artist_genres(genres)
        genres.unlink()
        with pytest.raises(SourceError) as gone:
            inbox.artist_genres_version()
        assert f"{genres} is gone" in str(gone.value)
        assert "Put it back, or give another with --artist-genres PATH" in str(gone.value)
