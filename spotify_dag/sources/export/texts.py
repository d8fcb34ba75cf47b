r"""Playlists as lines of text: M3U with names, and the text that `playlists_out` writes.

A line of that text is ``1. Title · Artist, Another · Album · link``. In a name, ``\`` comes before a sign that parts
names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from spotify_dag.sources.artists import Joined, split_artists
from spotify_dag.sources.base import Fault
from spotify_dag.sources.delimited import lines_of
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.export.rows import Chunk, Item, Playlist, item_chunks

M3U_HEAD, M3U_TITLE = "#EXTM3U", "#PLAYLIST:"
M3U_TRACK, M3U_ALBUM, M3U_ARTISTS = "#EXTINF:", "#EXTALB:", "#EXTART:"
GAP = " · "
_NUMBERED = re.compile(r"\s*\d+\.\s+(.+)")
_TRACK_LINK = re.compile(r"https?://(?:open\.spotify\.com|musicbrainz\.org)/(?!search)|spotify:track:")
NAMELESS = "a file without a title and an artist"


def text_line(place: int, title: str, artists: Sequence[str], album: str | None, link: str) -> str:
    """Return the line of a track; `read_text` reads it."""
    by = ", ".join(_escaped(name, ",") for name in artists)
    return f"{place}. {GAP.join([_escaped(title), by, *([_escaped(album)] if album else []), link])}"


def is_text(head: str) -> bool:
    """Return whether a file begins like the text: a title, an empty line, the first track."""
    _, gap, first = (*head.split("\n", 3), "", "", "")[:3]
    parts = _split(first.strip(), GAP)
    return not gap.strip() and first.startswith("1. ") and len(parts) in (3, 4) and parts[-1].startswith("https://")


def read_text(stream: IO[bytes], new_playlist: Callable[[Any], Playlist]) -> Iterator[Chunk]:
    """Yield the items of a playlist that is a numbered list of tracks."""

    def items() -> Iterator[Item | Fault]:
        playlist: Playlist | None = None
        position = 0
        for row, line in enumerate(lines_of(Decoder(stream).blocks()), 1):
            if playlist is None:
                playlist = new_playlist(line.strip() or None)
                continue
            match = _NUMBERED.fullmatch(line.strip())
            parts = _split(match[1], GAP) if match else []
            if len(parts) in (3, 4):
                title, by, *album, link = parts
                artists = [_plain(name) for name in _split(by, ", ")]
                names = _plain(title), artists[0], _plain(album[0]) if album else None
                yield Item(row, playlist, position, *names, _link(link), None, artists)
                position += 1
            elif line.strip():
                yield Fault(row, None, "line", None, "not a title, an artist and a link")

    return item_chunks(items())


def read_m3u(stream: IO[bytes], new_playlist: Callable[[Any], Playlist]) -> Iterator[Chunk]:
    """Yield the items of a playlist in M3U, by the names in its comments. A file on a disk without names is a fault."""

    def items() -> Iterator[Item | Fault]:
        playlist: Playlist | None = None
        position = 0
        said: dict[str, str] = {}
        for row, line in enumerate(lines_of(Decoder(stream).blocks()), 1):
            text = line.strip()
            if text.startswith("#") or not text:
                for sign in (M3U_TITLE, M3U_TRACK, M3U_ALBUM, M3U_ARTISTS):
                    if text.upper().startswith(sign):
                        said[sign] = text[len(sign) :].strip()
                continue
            playlist = playlist or new_playlist(said.get(M3U_TITLE) or None)
            title, artists = _named(said.get(M3U_TRACK, ""), said.get(M3U_ARTISTS, ""))
            if title and artists:
                album = said.get(M3U_ALBUM) or None
                yield Item(row, playlist, position, title, artists[0], album, _link(text), None, artists)
            else:
                yield Fault(row, None, "item", None, NAMELESS)
            said, position = {}, position + 1

    return item_chunks(items())


def _named(track: str, by: str) -> tuple[str, list[str]]:
    """Return title and artists of ``seconds,Artist - Title``, and of the artists that are named beside it."""
    names = track.partition(",")[2].strip()
    artists = split_artists(by, Joined.ESCAPED) if by else []
    if artists and names.startswith(start := f"{', '.join(artists)} - "):
        return names[len(start) :].strip(), artists
    artist, gap, title = names.partition(" - ")
    return (title.strip(), [artist.strip()]) if gap else (names, artists)


def _link(text: str) -> str | None:
    """Return a link where it is one to a track."""
    return text if _TRACK_LINK.match(text) else None


def _escaped(name: str, more: str = "") -> str:
    return re.sub(rf"[\\·{more}]", r"\\\g<0>", name)


def _plain(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name).strip()


def _split(text: str, gap: str) -> list[str]:
    """Part a text at each gap; what follows a backslash is no gap."""
    parts, start = [], 0
    for match in re.finditer(rf"\\.|({re.escape(gap)})", text):
        if match[1]:
            parts.append(text[start : match.start()])
            start = match.end()
    return [*parts, text[start:]]
