"""Files as Exportify and Spotify write them, around made-up listening. Every row is found again by its title."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

IP, AGENT, PLATFORM, REALNAME = "203.0.113.77", "MarkerAgent/7.7", "marker-platform-os", "marker.real.username"
MARKERS = (IP, AGENT, PLATFORM, REALNAME)
"""What must never get past the door."""

HEADING_A = (
    "Track URI", "Track Name", "Artist URI(s)", "Artist Name(s)", "Album URI", "Album Name", "Album Artist URI(s)",
    "Album Artist Name(s)", "Album Release Date", "Album Image URL", "Disc Number", "Track Number",
    "Track Duration (ms)", "Track Preview URL", "Explicit", "Popularity", "ISRC", "Added By", "Added At",
)  # fmt: skip
HEADING_A_GERMAN = (
    "Track-URI", "Titel des Tracks", "Künstler-URI(s)", "Name(n) des Künstlers", "Album-URI", "Albumname",
    "Albumkünstler-URI(s)", "Name(n) des Albumkünstlers", "Erscheinungsdatum", "Albumbild-URL", "Disc-Nummer",
    "Tracknummer", "Trackdauer (ms)", "Vorschau-URL", "Explizit", "Beliebtheit", "ISRC", "Hinzugefügt von",
    "Hinzugefügt am",
)  # fmt: skip
HEADING_B = (
    "Track URI", "Track Name", "Album Name", "Artist Name(s)", "Release Date", "Duration (ms)", "Popularity",
    "Explicit", "Added By", "Added At", "Genres", "Record Label", "Danceability", "Energy", "Key", "Loudness", "Mode",
    "Speechiness", "Acousticness", "Instrumentalness", "Liveness", "Valence", "Tempo", "Time Signature",
)  # fmt: skip


def track_id(number: int) -> str:
    return f"{number:022d}"


def artist_id(name: str) -> str:
    return f"{sum(map(ord, name)):022d}"


def row_a(number: int, artists: Sequence[str] = ("Air",), **cells: str) -> list[str]:
    """Return a row of dialect A with the title ``Song <number>``."""
    values = dict.fromkeys(HEADING_A, "x") | {
        "Track URI": f"spotify:track:{track_id(number)}",
        "Track Name": f"Song {number}",
        "Artist URI(s)": ", ".join(f"spotify:artist:{artist_id(artist)}" for artist in artists),
        "Artist Name(s)": ", ".join(artist.replace(",", "\\,") for artist in artists),
        "Album URI": "spotify:album:" + track_id(number),
        "Album Name": f"Album {number}",
        "Album Release Date": "1998-01-16",
        "Explicit": "false",
        "Popularity": "57",
        "Added By": f"spotify:user:{REALNAME}",
        "Added At": "2021-05-01T10:00:00Z",
    }
    return list((values | cells).values())


def row_b(number: int, artists: Sequence[str] = ("Air",), **cells: str) -> list[str]:
    """Return a row of dialect B with the title ``Song <number>``."""
    values = dict.fromkeys(HEADING_B, "0.5") | {
        "Track URI": f"spotify:track:{track_id(number)}",
        "Track Name": f"Song {number}",
        "Album Name": f"Album {number}",
        "Artist Name(s)": ";".join(artists),
        "Release Date": "1998",
        "Popularity": "57",
        "Explicit": "true",
        "Added By": REALNAME,
        "Genres": "downtempo,electronica",
    }
    return list((values | cells).values())


def table(heading: Sequence[str], rows: Sequence[Sequence[str]], quoting: Any = csv.QUOTE_ALL) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\n").writerows([heading, *rows])
    return text.getvalue().encode()


def item(number: int, artist: str = "Air") -> dict[str, Any]:
    """Return an item of a playlist of the account data."""
    track = {
        "trackName": f"Song {number}",
        "artistName": artist,
        "albumName": f"Album {number}",
        "trackUri": f"spotify:track:{track_id(number)}",
    }
    return {"track": track, "episode": None, "localTrack": None, "addedDate": "2021-05-01"}


def playlists(lists: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the content of ``Playlist1.json``."""
    return {
        "playlists": [
            {
                "name": name,
                "lastModifiedDate": "2021-05-02",
                "collaborators": [REALNAME],
                "items": list(items),
                "description": None,
                "numberOfFollowers": 3,
            }
            for name, items in lists.items()
        ]
    }


def library(numbers: Sequence[int]) -> dict[str, Any]:
    """Return the content of ``YourLibrary.json``: liked songs, and one of everything else."""
    uri = "spotify:x:" + track_id(1)
    return {
        "tracks": [
            {"artist": "Can", "album": f"Album {n}", "track": f"Song {n}", "uri": f"spotify:track:{track_id(n)}"}
            for n in numbers
        ],
        "albums": [{"artist": "Neu!", "album": "Neu! 75", "uri": uri}],
        "shows": [{"name": "A show", "publisher": REALNAME, "uri": uri}],
        "episodes": [{"name": "An episode", "show": "A show", "uri": uri}],
        "bannedTracks": [{"artist": "Nope", "album": "Nope", "track": "Nope", "uri": uri}],
        "artists": [{"name": "Harmonia", "uri": "spotify:artist:" + track_id(7)}],
        "bannedArtists": [{"name": "Nope", "uri": uri}],
        "other": ["something"],
    }


def play(number: int, minute: int = 0, ms: Any = 200_000, **fields: Any) -> dict[str, Any]:
    """Return a play of the extended history."""
    hour, minute = divmod(minute, 60)
    day, hour = divmod(hour, 24)
    return {
        "ts": f"2021-05-{day % 28 + 1:02d}T{hour:02d}:{minute:02d}:17Z",
        "username": REALNAME,
        "platform": PLATFORM,
        "ms_played": ms,
        "conn_country": "DE",
        "ip_addr": IP,
        "user_agent_decrypted": AGENT,
        "master_metadata_track_name": f"Song {number}",
        "master_metadata_album_artist_name": "Air",
        "master_metadata_album_album_name": f"Album {number}",
        "spotify_track_uri": f"spotify:track:{track_id(number)}",
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": None,
        "offline": False,
        "offline_timestamp": None,
        "incognito_mode": False,
        **fields,
    }


def short_play(number: int, minute: int = 0, ms: Any = 200_000) -> dict[str, Any]:
    """Return a play of the history of the last year: the same one as `play`."""
    full = play(number, minute)
    return {
        "endTime": full["ts"][:16].replace("T", " "),
        "artistName": "Air",
        "trackName": f"Song {number}",
        "msPlayed": ms,
    }


def podcast_play(minute: int) -> dict[str, Any]:
    names = ("track_name", "album_artist_name", "album_album_name")
    nothing = {f"master_metadata_{name}": None for name in names} | {"spotify_track_uri": None}
    return play(0, minute, **nothing, episode_name="An episode", spotify_episode_uri="spotify:episode:" + track_id(1))


def as_json(content: Any) -> bytes:
    return json.dumps(content, indent=2, ensure_ascii=False).encode()


def account_files() -> dict[str, bytes]:
    """Return a download of everything, as Spotify nests it, with files that must not be opened."""
    secret = as_json({"username": REALNAME, "ip": IP, "userAgent": AGENT, "platform": PLATFORM})
    return {
        "Spotify Account Data/Playlist1.json": as_json(playlists({"One": [item(1), item(2)], "Two": [item(3, "Can")]})),
        "Spotify Account Data/YourLibrary.json": as_json(library([10, 11])),
        "Spotify Account Data/StreamingHistory_music_0.json": as_json([short_play(20, 5), short_play(21, 6)]),
        "Spotify Account Data/StreamingHistory_podcast_0.json": as_json([{"podcastName": "A", "msPlayed": 99_000}]),
        "Spotify Account Data/Userdata.json": secret,
        "Spotify Account Data/Identity.json": secret,
        "Spotify Account Data/Read_Me_First.pdf": b"%PDF-1.4 " + IP.encode(),
        "Spotify Extended Streaming History/Streaming_History_Audio_2020-2021_0.json": as_json(
            [
                play(20, 5),
                play(20, 500),
                play(22, 7, incognito_mode=True),
                play(23, 8, ms=29_999),
                podcast_play(9),
                play(24, 10, ms=30_000),
            ]
        ),
    }


def folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


def zipped(file: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file
