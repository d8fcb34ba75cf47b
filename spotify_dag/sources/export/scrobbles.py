"""What other services and players write: listens, scrobbles, playlists as JSPF and XSPF. Samples are the only schema.

Of every object only the names, the time of a play and whether it was skipped are looked at.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from spotify_dag.sources.base import Fault
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.export.rows import (
    CHUNK_ROWS,
    NO_PLAYS,
    UNNAMED,
    VIDEO,
    Chunk,
    Item,
    Playlist,
    artist_lists,
    item_chunks,
    text_columns,
)
from spotify_dag.sources.export.salvage import objects
from spotify_dag.sources.track_links import RECORDING_URI, SPOTIFY_ID

_DAMAGED = "not readable as JSON"
YEAR, ARTIST = "https://schema.org/datePublished", "https://schema.org/byArtist"
"""What ``meta`` entries of tracks say that `playlists_out` writes."""
_SPOTIFY = re.compile(rf"(?:https?://open\.spotify\.com/(?:intl-\w+/)?track/|spotify:track:)({SPOTIFY_ID})")
_TITLE = re.compile(r'"title"\s*:\s*"((?:[^"\\]|\\.)*)"')
WATCHED = (
    "Watched ", "Vous avez regardé ", "Has visto ", "Has mirado ", "Hai guardato ", "Assistiu a ", "Você assistiu a ",
    "Viu ", "Tittade på ", "Du så på ", "Har set ", "Katsoit ", "Obejrzano: ", "Obejrzano ", "Vous avez visionné ",
    "Просмотрено ", "İzlendi: ",
)  # fmt: skip
"""How Takeout begins the title of what was watched, in its languages; in others it ends it."""
WATCHED_AFTER = (
    " angesehen",
    " bekeken",
    " を視聴しました",
    " 을(를) 시청했습니다.",
    " 을 시청했습니다.",
    " izlendi",
    " megnézve",
)
TOPIC = re.compile(r" [-–] (?:Topic|Thema|Tema|Thème|Argomento|Onderwerp|Temat|Ämne|Тема|トピック|주제)$")
"""What YouTube puts behind the name of an artist, where it made the channel itself."""

Play = Mapping[str, Any]


def read_listens(stream: IO[bytes]) -> Iterator[Chunk]:
    """Yield plays of ListenBrainz: its export and its dumps."""

    def play(listen: dict[str, Any]) -> Play | None:
        track = listen.get("track_metadata")
        if not isinstance(track, dict):
            return None
        mapped = track.get("mbid_mapping")
        credited = mapped.get("artists") if isinstance(mapped, dict) else None
        names = [credit.get("artist_credit_name") for credit in credited or () if isinstance(credit, dict)]
        more = track.get("additional_info")
        if not names and isinstance(more, dict) and isinstance(more.get("artist_names"), list):
            names = more["artist_names"]
        return {
            "track_name": track.get("track_name"), "artist_name": track.get("artist_name"), "artists": names or None,
            "album_name": track.get("release_name"), "played_at": listen.get("listened_at", listen.get("timestamp")),
            "track_uri": _uri(more.get("spotify_id") if isinstance(more, dict) else None),
        }  # fmt: skip

    return _plays(stream, lambda it: "track_metadata" in it, play)


def read_scrobbles(stream: IO[bytes]) -> Iterator[Chunk]:
    """Yield plays of Maloja, of Pano Scrobbler, and of copies of Last.fm's own lists."""

    def play(listen: dict[str, Any]) -> Play | None:
        track: Any = listen.get("track")
        artists: Any = listen.get("artists")
        album: Any = listen.get("album")
        title = track
        if isinstance(track, dict):  # Maloja
            title, artists, album = track.get("title"), track.get("artists"), track.get("album")
        artist: Any = listen.get("artist")
        if isinstance(artist, dict):  # Last.fm
            artist = artist.get("#text", artist.get("name"))
        if isinstance(album, dict):
            album = album.get("albumtitle", album.get("#text"))
        date: Any = listen.get("date")
        if isinstance(date, dict):
            date = date.get("uts", date.get("#text"))
        time = next((listen[name] for name in ("time", "timeMs", "timestamp", "uts") if listen.get(name)), date)
        event: Any = listen.get("event", "scrobble")
        return {
            "track_name": title or listen.get("name"), "artist_name": artist,
            "artists": artists if isinstance(artists, list) and artists else None, "album_name": album,
            "played_at": time, "skipped": None if event in ("scrobble", "", None) else NO_PLAYS,
        }  # fmt: skip

    def is_wanted(it: dict[str, Any]) -> bool:
        named = "track" in it or ("name" in it and "artist" in it)
        return (
            named
            and not isinstance(it.get("track"), list)
            and not {"time", "timeMs", "date", "uts", "timestamp"}.isdisjoint(it)
        )

    return _plays(stream, is_wanted, play)


def read_watched(stream: IO[bytes]) -> Iterator[Chunk]:
    """Yield plays of the history of YouTube that were made in YouTube Music."""

    def play(listen: dict[str, Any]) -> Play | None:
        music = listen.get("header") == "YouTube Music"
        channels = listen.get("subtitles")
        channel = (
            channels[0].get("name")
            if isinstance(channels, list) and channels and isinstance(channels[0], dict)
            else None
        )
        title = listen.get("title")
        if isinstance(title, str):
            title = next((title.removeprefix(start) for start in WATCHED if title.startswith(start)), title)
            title = next((title.removesuffix(end) for end in WATCHED_AFTER if title.endswith(end)), title)
        return {
            "track_name": title, "artist_name": TOPIC.sub("", channel) if isinstance(channel, str) else None,
            "played_at": listen.get("time"), "skipped": None if music and channel else UNNAMED if music else VIDEO,
        }  # fmt: skip

    return _plays(stream, lambda it: "title" in it and ("header" in it or "titleUrl" in it), play)


def read_apple_library(stream: IO[bytes], playlist: Playlist) -> Iterator[Chunk]:
    """Yield the tracks of a library of Apple Music."""

    def items() -> Iterator[Item | Fault]:
        for row, (_, entry) in enumerate(objects(stream, lambda it: "Title" in it and "Artist" in it)):
            if entry is None:
                yield Fault(row, None, "item", None, _DAMAGED)
            else:
                yield Item(row, playlist, row, entry.get("Title"), entry.get("Artist"), entry.get("Album"))

    return item_chunks(items())


def read_jspf(stream: IO[bytes], new_playlist: Callable[[Any], Playlist]) -> Iterator[Chunk]:
    """Yield the items of playlists in JSPF."""

    def items() -> Iterator[Item | Fault]:
        row = position = 0
        playlist: Playlist | None = None

        def is_wanted(it: dict[str, Any]) -> bool:
            named = "title" in it and ("creator" in it or "identifier" in it)
            return named or isinstance(it.get("track"), list)

        for between, entry in objects(stream, is_wanted):
            if entry is None:
                yield Fault(row, None, "item", None, _DAMAGED)
                row += 1
                continue
            members = [entry]
            if isinstance(entry.get("track"), list):
                playlist, position, members = new_playlist(entry.get("title")), 0, entry["track"]
            elif playlist is None:
                names = _TITLE.findall(between)
                playlist, position = new_playlist(names[-1] if names else None), 0
            for member in members:
                if isinstance(member, dict):
                    yield _jspf_item(member, row, playlist, position)
                else:
                    yield Fault(row, None, "item", None, "not an object")
                row, position = row + 1, position + 1

    return item_chunks(items())


def _jspf_item(track: dict[str, Any], row: int, playlist: Playlist, position: int) -> Item:
    links: list[Any] = []
    for name in ("identifier", "location"):
        value: Any = track.get(name)
        links += value if isinstance(value, list) else [value]
    artists = None
    extension: Any = track.get("extension")
    for part in extension.values() if isinstance(extension, dict) else ():
        more: Any = part.get("additional_metadata") if isinstance(part, dict) else None
        credited: Any = more.get("artists") if isinstance(more, dict) else None
        if isinstance(credited, list):
            artists = [credit.get("artist_credit_name") for credit in credited if isinstance(credit, dict)] or None
    uri = next((uri for link in links if (uri := _uri(link))), None)
    meta: Any = track.get("meta")
    entries = [entry for entry in meta if isinstance(entry, dict)] if isinstance(meta, list) else []
    year = next((entry[YEAR] for entry in entries if YEAR in entry), None)
    artists = artists or [entry[ARTIST] for entry in entries if ARTIST in entry] or None
    names = track.get("title"), track.get("creator"), track.get("album")
    return Item(row, playlist, position, *names, uri, None, artists, release_year=year)


_TAG = re.compile(r"<(/?)(?:\w{1,40}:)?(\w{1,40})\b([^<>]*)>")
_REL = re.compile(r"\brel\s*=\s*[\"']([^\"']*)[\"']")
_ELEMENTS = ("title", "creator", "album", "identifier", "location", "meta")
LONGEST_ELEMENT = 1 << 14
"""Characters of an element of XSPF; nothing is taken from a longer one."""


def read_xspf(stream: IO[bytes], new_playlist: Callable[[Any], Playlist]) -> Iterator[Chunk]:
    """Yield the items of a playlist in XSPF. No entity is looked up but the signs of HTML."""

    def items() -> Iterator[Item | Fault]:
        playlist: Playlist | None = None
        for row, (fields, meta, title) in enumerate(_xspf_tracks(stream)):
            playlist = playlist or new_playlist(title)
            uri = _uri(fields.get("identifier")) or _uri(fields.get("location"))
            artists = [said for rel, said in meta if rel == ARTIST] or None
            names = fields.get("title"), fields.get("creator"), fields.get("album")
            yield Item(row, playlist, row, *names, uri, None, artists, release_year=dict(meta).get(YEAR))

    return item_chunks(items())


def _xspf_tracks(stream: IO[bytes]) -> Iterator[tuple[dict[str, str], list[tuple[str, str]], str | None]]:
    """Yield elements and ``meta`` entries of each track, and what the playlist is called as far as that was read.

    Of a track that does not end, the next one begins inside it. The work grows with the length of the file alone,
    whatever is in it: files come from strangers.
    """
    title: str | None = None
    fields: dict[str, str] | None = None
    meta: list[tuple[str, str]] = []
    element, rel, said = "", "", ""
    for tag, before in _tags(stream):
        ends, name, attributes = tag.groups()
        said += before
        if len(said) > LONGEST_ELEMENT:
            element, said = "", ""
        if name == "track":
            if ends and fields is not None:
                yield fields, meta, title
            fields, meta, element = None if ends else {}, [], ""
        elif name not in _ELEMENTS:
            said += tag[0]
        elif not ends:
            quoted = _REL.search(attributes)
            element, rel, said = "" if attributes.endswith("/") else name, quoted[1] if quoted else "", ""
        elif element == name:
            text, element = _xml_text(said), ""
            if name == "meta" and fields is not None:
                meta.append((rel, text))
            elif fields is not None:
                fields.setdefault(name, text)
            elif name == "title":
                title = title or text


def _tags(stream: IO[bytes]) -> Iterator[tuple[re.Match[str], str]]:
    """Yield each tag of XML, and the text since the one before."""
    held = ""
    for block in Decoder(stream).blocks():
        held += block
        end = 0
        for tag in _TAG.finditer(held):
            yield tag, held[end : tag.start()]
            end = tag.end()
        held = held[end:][-LONGEST_ELEMENT:]


def _xml_text(text: str) -> str:
    return html.unescape(text.replace("<![CDATA[", "").replace("]]>", "")).strip()


def _uri(link: Any) -> str | None:
    if not isinstance(link, str):
        return None
    match = _SPOTIFY.search(link)
    return f"spotify:track:{match[1]}" if match else link if re.match(RECORDING_URI, link) else None


def _plays(
    stream: IO[bytes], is_wanted: Callable[[dict[str, Any]], bool], play: Callable[[dict[str, Any]], Play | None]
) -> Iterator[Chunk]:
    rows: list[tuple[int, Play]] = []
    faults: list[Fault] = []
    for row, (_, entry) in enumerate(objects(stream, is_wanted)):
        made = play(entry) if entry is not None else None
        if made is None:
            faults.append(Fault(row, None, "play", None, _DAMAGED if entry is None else "no names in it"))
        else:
            rows.append((row, made))
        if len(rows) + len(faults) >= CHUNK_ROWS:
            yield _play_chunk(rows, faults)
            rows, faults = [], []
    yield _play_chunk(rows, faults)


def _play_chunk(plays: list[tuple[int, Play]], faults: list[Fault]) -> Chunk:
    import polars as pl

    numbers = [row for row, _ in plays]
    names = ("track_name", "artist_name", "album_name", "track_uri", "played_at", "skipped")
    columns = {name: [play.get(name) for _, play in plays] for name in names}
    artists = artist_lists([play.get("artists") for _, play in plays], [*map(_plain, columns["artist_name"])])
    rows = text_columns(columns, numbers, faults)
    return Chunk(rows.with_columns(pl.Series("row", numbers, pl.Int64), artists), faults)


def _plain(value: Any) -> Any:
    return None if isinstance(value, (dict, list, bool)) else value
