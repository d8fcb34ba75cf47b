"""The forms in which a list of tracks leaves. Each is read back by `sources.export` to an equal list.

CSV has the columns of exportify.app, since they tell a comma in a name from one between names. XSPF is version 1
(https://xspf.org/spec), JSPF the same in JSON (https://xspf.org/jspf) with the fields ListenBrainz adds
(https://musicbrainz.org/doc/jspf). M3U has the directives EXTINF, EXTALB and EXTART.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args
from xml.sax.saxutils import escape

import orjson

from spotify_dag.errors import SpotifyDagError
from spotify_dag.playlists_out.track_list import ListedTrack, TrackList
from spotify_dag.sources.artists import join_artists
from spotify_dag.sources.dialects import EXPORTIFY_APP_HEADINGS
from spotify_dag.sources.export.scrobbles import ARTIST, YEAR
from spotify_dag.sources.export.texts import M3U_ALBUM, M3U_ARTISTS, M3U_HEAD, M3U_TITLE, M3U_TRACK, text_line
from spotify_dag.sources.spreadsheet_cells import harmless

FormName = Literal["csv", "jspf", "xspf", "m3u", "text"]
LISTENBRAINZ_LIST, LISTENBRAINZ_TRACK = (
    "https://musicbrainz.org/doc/jspf#playlist",
    "https://musicbrainz.org/doc/jspf#track",
)


class FormError(SpotifyDagError):
    """A form or a file that cannot be written. The message names it and the remedy."""


@dataclass(frozen=True)
class Form:
    """A form of file."""

    endings: tuple[str, ...]
    """Endings of files that have it, the usual one first."""
    media_type: str
    write: Callable[[TrackList], bytes]


def written(tracks: TrackList, form: FormName) -> bytes:
    """Return a list as the content of a file."""
    return FORMS[form].write(tracks)


def form_of(path: Path) -> FormName:
    """Return the form that the ending of a file says.

    Raises
    ------
    FormError
        If it says none.
    """
    for name in get_args(FormName):
        if path.suffix.lower() in FORMS[name].endings:
            return name
    endings = ", ".join(form.endings[0] for form in FORMS.values())
    raise FormError(f"'{path.name}' does not end like a playlist. Give --format, or one of these endings: {endings}.")


def _csv(tracks: TrackList) -> bytes:
    text = io.StringIO()
    # Every cell is quoted: a spreadsheet that parts at semicolons then begins no cell inside of one.
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(EXPORTIFY_APP_HEADINGS)
    blank = dict.fromkeys(EXPORTIFY_APP_HEADINGS, "")
    for track in tracks.tracks:
        cells = blank | {
            "Track URI": track.uri or "",
            "Track Name": track.title,
            "Artist Name(s)": join_artists(track.artists),
            "Album Name": track.album or "",
            "Album Release Date": str(track.year or ""),
            "Popularity": "" if track.popularity is None else f"{track.popularity:g}",
        }
        writer.writerow([harmless(cell) for cell in cells.values()])
    # With a mark, since spreadsheets take what has none for a code page of the last century.
    return text.getvalue().encode("utf-8-sig")


def _jspf(tracks: TrackList) -> bytes:
    # ListenBrainz takes no other tracks; and what it adds is not what JSPF says of extensions: there they are lists.
    for_listenbrainz = bool(tracks.tracks) and all(track.is_recording for track in tracks.tracks)
    listed = []
    for track in tracks.tracks:
        entry: dict[str, Any] = {"title": track.title, "creator": ", ".join(track.artists)}
        entry |= {"album": track.album} if track.album else {}
        entry |= {"identifier": [track.page]} if track.page else {}
        entry |= {"annotation": track.why} if track.why else {}
        entry["meta"] = [{rel: text} for rel, text in _meta(track)]
        if for_listenbrainz:
            credited = [{"artist_credit_name": name} for name in track.artists]
            entry["extension"] = {LISTENBRAINZ_TRACK: {"additional_metadata": {"artists": credited}}}
        listed.append(entry)
    playlist: dict[str, Any] = {"title": tracks.title, "track": listed}
    if for_listenbrainz:
        playlist["extension"] = {LISTENBRAINZ_LIST: {"public": False}}
    return orjson.dumps({"playlist": playlist}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _meta(track: ListedTrack) -> list[tuple[str, str]]:
    return [*([(YEAR, str(track.year))] if track.year else []), *((ARTIST, name) for name in track.artists)]


def _xspf(tracks: TrackList) -> bytes:
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<playlist version="1" xmlns="http://xspf.org/ns/0/">']
    lines += [f"<title>{escape(tracks.title)}</title>", "<trackList>"]
    for track in tracks.tracks:
        named = [("location", track.page), ("identifier", track.uri), ("title", track.title)]
        named += [("creator", ", ".join(track.artists)), ("annotation", track.why), ("album", track.album)]
        parts = [f"<{name}>{escape(text)}</{name}>" for name, text in named if text]
        parts += [f'<meta rel="{rel}">{escape(text)}</meta>' for rel, text in _meta(track)]
        lines.append(f"<track>{''.join(parts)}</track>")
    return "\n".join([*lines, "</trackList>", "</playlist>", ""]).encode()


def _m3u(tracks: TrackList) -> bytes:
    lines = [M3U_HEAD, f"{M3U_TITLE}{tracks.title}"]
    for track in tracks.tracks:
        lines.append(f"{M3U_TRACK}-1,{', '.join(track.artists)} - {track.title}")
        lines.append(f"{M3U_ARTISTS}{join_artists(track.artists)}")
        lines += [f"{M3U_ALBUM}{track.album}"] if track.album else []
        lines.append(track.link)
    return "\n".join([*lines, ""]).encode()


def _text(tracks: TrackList) -> bytes:
    lines = [
        text_line(place, track.title, track.artists, track.album, track.link)
        for place, track in enumerate(tracks.tracks, 1)
    ]
    return "\n".join([tracks.title, "", *lines, ""]).encode()


FORMS: dict[FormName, Form] = {
    "csv": Form((".csv",), "text/csv", _csv),
    "jspf": Form((".jspf", ".json"), "application/jspf+json", _jspf),
    "xspf": Form((".xspf",), "application/xspf+xml", _xspf),
    "m3u": Form((".m3u8", ".m3u"), "audio/x-mpegurl", _m3u),
    "text": Form((".txt",), "text/plain", _text),
}
