"""The data that Spotify sends on request: playlists, the library, and what was played. Samples are the only schema.

Of every object only the fields named here are looked at: addresses, devices and names of accounts are never read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import IO, Any

from spotify_dag.sources.base import Fault
from spotify_dag.sources.export.rows import (
    AUDIOBOOK,
    BANNED,
    CHUNK_ROWS,
    LOCAL,
    NAMELESS,
    OTHER,
    PODCAST,
    Chunk,
    Item,
    Playlist,
    item_chunks,
    text_columns,
)
from spotify_dag.sources.export.salvage import objects, runs_of_objects

LIKED, ALBUMS, ARTISTS = (
    Playlist("liked", 1, "Liked songs"),
    Playlist("albums", 2, "Albums"),
    Playlist("artists", 3, "Artists"),
)
SECTIONS: dict[str, tuple[Playlist, dict[str, str]]] = {
    "tracks": (LIKED, {"track_name": "track", "artist_name": "artist", "album_name": "album", "track_uri": "uri"}),
    "albums": (ALBUMS, {"artist_name": "artist", "album_name": "album"}),
    "artists": (ARTISTS, {"artist_name": "name", "artist_id": "uri"}),
}
"""Lists of the library that are listening, and in which fields of theirs the names stand."""
NOT_LISTENING = {
    "shows": PODCAST, "episodes": PODCAST, "podcastChapters": PODCAST, "bannedTracks": BANNED, "bannedArtists": BANNED,
}  # fmt: skip

PLAY_FIELDS = {
    "track_name": ("master_metadata_track_name", "trackName"),
    "artist_name": ("master_metadata_album_artist_name", "artistName"),
    "album_name": ("master_metadata_album_album_name", ""),
    "track_uri": ("spotify_track_uri", ""),
    "milliseconds": ("ms_played", "msPlayed"),
    "ended": ("ts", "endTime"),
    "time": ("", "time"),
    "incognito": ("incognito_mode", ""),
    "episode": ("spotify_episode_uri", ""),
    "audiobook": ("audiobook_uri", ""),
}
"""What is needed of a play, as the extended history calls it and as the history of the last year does; that of 2018
calls the time by another name."""
LAST_YEAR = "trackName"
"""What only plays of the last year have."""
NO_TITLES = ("Unknown Track", "Unknown Artist")

_LIST = re.compile(r'"(\w+)"\s*:\s*\[')
_NAME = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*")')
_DAMAGED = "not readable as JSON"


def read_playlists(stream: IO[bytes], new_playlist: Callable[[Any], Playlist]) -> Iterator[Chunk]:
    """Yield the items of ``Playlist1.json`` …; ``new_playlist`` numbers the playlists by their names."""

    def items() -> Iterator[Item | Fault]:
        row = position = 0
        playlist: Playlist | None = None
        name: str | None = None
        for between, entry in objects(
            stream, lambda it: any(name in it for name in _LISTS) or not _ITEM.isdisjoint(it)
        ):
            if _LIST.search(between):  # A list that is not whole begins: its head stands before its first item.
                playlist, name = None, _last_name(between)
            if entry is None:
                yield Fault(row, None, "item", None, _DAMAGED)
                row += 1
                continue
            members = [entry]
            if (held := next((name for name in _LISTS if name in entry), None)) is not None:
                playlist, position = new_playlist(entry.get("name")), 0
                members = entry[held] if isinstance(entry[held], list) else []
            elif playlist is None:
                playlist, position = new_playlist(name), 0
            for member in members:
                yield _item(member, row, playlist, position)
                row, position = row + 1, position + 1

    return item_chunks(items())


def read_library(stream: IO[bytes]) -> Iterator[Chunk]:
    """Yield liked songs, and saved albums and artists, of ``YourLibrary.json``, each as a list of their own."""

    def items() -> Iterator[Item | Fault]:
        section = ""
        places: Counter[str] = Counter()
        for row, (between, entry) in enumerate(objects(stream, lambda it: bool(_SAVED & it.keys()))):
            section = (_LIST.findall(between) or [section])[-1]
            playlist, fields = SECTIONS.get(section or _section_of(entry), (LIKED, {}))
            if entry is None:
                if fields:
                    yield Fault(row, None, "item", None, _DAMAGED)
            elif fields:
                yield Item(row, playlist, places[section], **{field: entry.get(key) for field, key in fields.items()})
                places[section] += 1
            else:
                yield Item(row, playlist, row, skipped=NOT_LISTENING.get(section, OTHER))

    return item_chunks(items())


def read_plays(stream: IO[bytes]) -> Iterator[Chunk]:
    """Yield one row per play of a history, new or old, extended or not.

    Yields
    ------
    Chunks. Their rows have names, the URI, and ``milliseconds, ended, incognito`` as text.
    """
    names = {name for both in PLAY_FIELDS.values() for name in both if name}
    plays: list[dict[str, Any]] = []
    numbers: list[int] = []
    faults: list[Fault] = []
    row, after_damage = 0, False
    for between, run in runs_of_objects(stream, lambda it: not names.isdisjoint(it)):
        if not run or (not after_damage and re.search(r"[^\s,\[\]{}]", between)):
            faults.append(Fault(row, None, "play", None, _DAMAGED))
            row += 1
        plays += run
        numbers += range(row, row + len(run))
        row += len(run)
        after_damage = not run
        while len(plays) >= CHUNK_ROWS or len(faults) >= CHUNK_ROWS:
            yield _play_chunk(plays[:CHUNK_ROWS], numbers[:CHUNK_ROWS], faults)
            plays, numbers, faults = plays[CHUNK_ROWS:], numbers[CHUNK_ROWS:], []
    yield _play_chunk(plays, numbers, faults)


def _play_chunk(plays: list[dict[str, Any]], numbers: list[int], faults: list[Fault]) -> Chunk:
    import polars as pl

    columns = {field: _values(plays, *names) for field, names in PLAY_FIELDS.items()}
    columns["ended"] = [ended or time for ended, time in zip(columns["ended"], columns.pop("time"), strict=True)]
    columns["incognito"] = [None if it is None or it is False else str(it) for it in columns["incognito"]]
    rows = text_columns(columns, numbers, faults).with_columns(pl.Series("row", numbers, pl.Int64))
    track, artist = pl.col("track_name"), pl.col("artist_name")
    nameless = (track.is_null() & artist.is_null()) | (track.eq(NO_TITLES[0]) & artist.eq(NO_TITLES[1]))
    skipped = (
        pl.when(nameless & pl.col("episode").is_not_null()).then(pl.lit(PODCAST))
        .when(nameless & pl.col("audiobook").is_not_null()).then(pl.lit(AUDIOBOOK))
        .when(nameless).then(pl.lit(NAMELESS))
    )  # fmt: skip
    return Chunk(rows.with_columns(skipped.alias("skipped")).drop("episode", "audiobook"), faults)


def _values(plays: list[dict[str, Any]], extended: str, last_year: str) -> list[Any]:
    """Return a field of plays, by the name that it has in the history that each is of."""
    if not last_year:
        return [play.get(extended) for play in plays]
    return [play.get(extended if LAST_YEAR not in play else last_year) for play in plays]


_LISTS = ("items", "tracks")
"""What a playlist calls its items, now and until 2019."""
_ITEM = {"track", "episode", "audiobook", "localTrack", "trackName", "artistName"}
_SAVED = {"track", "artist", "album", "name", "uri", "show"}


def _section_of(saved: dict[str, Any] | None) -> str:
    """Return the list that something saved belongs to, where the file has lost its heads of lists."""
    if saved is None:
        return ""
    if "artist" in saved:
        return "tracks" if "track" in saved else "albums" if "album" in saved else ""
    uri: Any = saved.get("uri")
    return "artists" if isinstance(uri, str) and uri.startswith("spotify:artist:") else ""


def _item(member: Any, row: int, playlist: Playlist, position: int) -> Item | Fault:
    if not isinstance(member, dict):
        return Fault(row, None, "item", None, "not an object")
    # Where an item is damaged, the track in it is found by itself.
    track = member if "trackName" in member else member.get("track")
    if isinstance(track, dict):
        names = (track.get(key) for key in ("trackName", "artistName", "albumName", "trackUri"))
        return Item(row, playlist, position, *names)._replace(added_at=member.get("addedDate"))
    if track is not None:
        return Fault(row, None, "track", None, "not an object")
    kinds = {"episode": PODCAST, "audiobook": AUDIOBOOK, "localTrack": LOCAL}
    why = next((why for kind, why in kinds.items() if member.get(kind)), NAMELESS)
    return Item(row, playlist, position, skipped=why)


def _last_name(text: str) -> str | None:
    names = _NAME.findall(text)
    try:
        return json.loads(names[-1], strict=False) if names else None
    except ValueError:  # An escape that there is not.
        return None
