"""No source lets through a damaged name, a placeholder, or two artists glued into one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
import zstandard

from samples.export_files import as_json, folder, item, play, playlists
from samples.listen_dumps import dump_path
from spotify_dag.inbox.user_requests import UserRequests
from spotify_dag.settings import Settings
from spotify_dag.sources import SOURCES, open_requests, open_source
from spotify_dag.sources.artists import is_placeholder
from spotify_dag.sources.base import Source
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.handed_in import GivenRequests, RequestSourceName
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.spotify import SpotifySource
from spotify_dag.sources.spotify.items import read_items
from spotify_dag.sources.spotify.store import Content, ListedPlaylist, MirroredUser

ODD = ("Bj\ufffdrk", "Various Artists", "[unknown]", "VARIOUS  artists", "Unknown Artist", "")
"""Names that are nobody's."""
GOOD = ("Mill, The Grinder", "Åsa Fjord", "20,000 Birds")
MENDED = "Sigur RÃ³s"
NAMES = (*ODD, *GOOD, MENDED)
WANTED = {*GOOD, "Sigur Rós"}
COLUMNS = ("artist_name", "track_name", "album_name", "playlist_name")


def _export(root: Path) -> Source:
    history = [play(n, n, master_metadata_album_artist_name=name) for n, name in enumerate(NAMES)]
    heading = "Spotify ID,Artist IDs,Track Name,Album Name,Artist Name(s),Release Date\n"
    rows = [f'{n:022d},"{n:022d},{9:022d}",Song {n},Album,"{name},Åsa Fjord",1999\n' for n, name in enumerate(GOOD)]
    files = {
        "endsong_0.json": as_json(history),
        "Playlist1.json": as_json(playlists({"Bj\ufffdrk": [item(n, name) for n, name in enumerate(NAMES)]})),
        "quiet.csv": (heading + "".join(rows)).encode(),
    }
    requests = UserRequests(root / "requests")
    reading = Reading(folder(root / "in", files), "export-anna")
    request = requests.hand_in("export", "export-anna", reading.frames(), opted_in=True)
    return open_requests("export", GivenRequests.of([request]), requests.content)


def _mpd(root: Path) -> Source:
    tracks = [{"track_name": f"Song {n}", "artist_name": name} for n, name in enumerate(NAMES)]
    content = {"playlists": [{"pid": 1, "name": "Bj\ufffdrk", "tracks": tracks}]}
    (root / "mpd.slice.0-0.json").write_text(json.dumps(content))
    return open_source("mpd", {"path": str(root)}, Settings(data=root / "data"))


def _lastfm(root: Path) -> Source:
    file = root / "usersha1-artmbid-artname-plays.tsv"
    file.write_text("".join(f"{'a' * 40}\t\t{name}\t{n + 1}\n" for n, name in enumerate(NAMES)))
    return open_source("lastfm", {"path": str(file)}, Settings(data=root / "data"))


def _songs(root: Path) -> Source:
    names = [json.dumps([name, "Åsa Fjord"], ensure_ascii=False) if name in GOOD else name for name in NAMES]
    pl.DataFrame(
        {"track_id": [f"t{n}" for n in range(len(NAMES))], "track_name": "Song", "artists": names, "playlist_name": "P"}
    ).write_csv(root / "songs.csv")
    return open_source("spotify-songs", {"path": str(root / "songs.csv")}, Settings(data=root / "data"))


class _Mirrored:
    """The source of the Web API over a playlist as Spotify would send it: what it makes of a body, without asking."""

    name = "spotify"

    def __init__(self, source: SpotifySource) -> None:
        self.source = source

    def version(self) -> str:
        return "1"

    def batches(self) -> Any:
        tracks = [
            {"name": f"Song {n}", "artists": [{"id": f"a{n}", "name": name}, {"id": "b", "name": "Åsa Fjord"}]}
            for n, name in enumerate(NAMES)
        ]
        alone = [{"name": f"Song {n}", "artists": [{"id": f"a{n}", "name": name}]} for n, name in enumerate(NAMES)]
        content = Content(*read_items([{"item": track} for track in (*tracks, *alone)]))
        user = MirroredUser("anna", [ListedPlaylist("p", "Bj\ufffdrk", None)], None)
        yield self.source._batch([user], {"p": content})

    def n_batches(self) -> int:
        return 1

    def artist_genres(self) -> None:
        return None


def _spotify(root: Path) -> Source:
    (root / "users.txt").write_text("anna\n")
    settings = Settings(data=root / "data", spotify_client_id="simulator")
    return _Mirrored(SpotifySource(settings, str(root / "users.txt")))


def _synthetic(root: Path) -> Source:
    return open_source("synthetic", {"users": 20, "seed": 3}, Settings(data=root / "data"))


def _dump(root: Path) -> Source:
    credit = {name: [{"artist_credit_name": name}, {"artist_credit_name": "Åsa Fjord"}] for name in GOOD}
    listens = [
        {
            "user_id": 1, "user_name": "anna", "timestamp": 1_700_000_000 + n * 300,
            "track_metadata": {"track_name": f"Song {n}", "artist_name": name, "additional_info": {}}
            | ({"mbid_mapping": {"artists": credit[name]}} if name in credit else {}),
        }
        for n, name in enumerate(NAMES * 5)
    ]  # fmt: skip
    content = "\n".join(json.dumps(listen, ensure_ascii=False) for listen in listens).encode()
    path = dump_path(root)
    with (
        path.open("wb") as file,
        zstandard.ZstdCompressor().stream_writer(file) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        member = tarfile.TarInfo(f"{path.name.removesuffix('.tar.zst')}/listens/2023/11.listens")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return open_source("listenbrainz-dump", {"path": str(path)}, Settings(data=root / "data"))


OPEN: dict[str, Callable[[Path], Source]] = {
    "export": _export, "lastfm": _lastfm, "mpd": _mpd, "spotify": _spotify, "spotify-songs": _songs,
    "synthetic": _synthetic, "listenbrainz-dump": _dump,
}  # fmt: skip


SERVICES = {"listenbrainz", "lastfm-api"}
"""They need a server. Their rows go through the same cleaning as those of the dump."""


def test_all_other_sources_are_here() -> None:
    assert {*OPEN, *SERVICES} == {*SOURCES, *get_args(RequestSourceName)}


@pytest.mark.parametrize("name", OPEN)
def test_no_damaged_name_no_placeholder_and_no_two_in_one(name: str, tmp_path: Path) -> None:
    source = OPEN[name](tmp_path)
    ingestion = Ingestion([source], buckets=[0], n_buckets=1, profiles_count=None, now=datetime.now(UTC))
    raw = pl.concat(ingestion.records())
    artists = set(raw["artists"].explode())
    assert artists == {name for name in artists if not is_placeholder(name)}
    assert raw["artist_name"].to_list() == raw["artists"].list.first().to_list()
    assert not [text for column in COLUMNS for text in raw[column].drop_nulls() if "\ufffd" in text]
    assert not [text for text in artists if "\ufffd" in text]
    if name != "synthetic":
        assert artists == WANTED
        assert glued(artists) == []
        reasons = set(ingestion.rejects()["reason"])
        assert "no artist of its own: a placeholder such as Various Artists" in reasons
        assert "damaged: it holds a replacement character" in reasons


def glued(artists: Sequence[str] | set[str]) -> list[str]:
    """Return names that are two of the good ones, joined by anything."""
    return [name for name in artists if sum(good in name for good in WANTED) > 1]
