"""Mutated export files, and what must still be read of them: every row whose own text is untouched."""

from __future__ import annotations

import csv
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samples.export_files import (
    HEADING_A,
    HEADING_A_GERMAN,
    HEADING_B,
    MARKERS,
    as_json,
    item,
    library,
    play,
    playlists,
    row_a,
    row_b,
    short_play,
    table,
)
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export.reading import Reading

ROWS = 60
TOKENS = [
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"null", b"NaN", b"-1e999", b'"x": ', b'""', b'",', b'{"', b"[[[", b"9" * 5_000, b"[" * 5_000, b'{"a":' * 3_000,
    b'"' * 999, b"\\u", b"\\ud800", b" " * 70_000, b"undefined", b";", b"spotify:track:", b"PK\x03\x04",
]  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """A whole file, and the text of each of its rows by title."""

    name: str
    content: bytes
    rows: dict[str, bytes]
    heading: bytes = b""
    """Text without which no row can be told from those of other lists."""

    def good(self, mutant: bytes) -> set[str]:
        """Return the titles of rows whose text is whole in a mutant."""
        if self.heading and (self.heading not in mutant or mutant.count(b"[") != self.content.count(b"[")):
            return set()
        return {title for title, text in self.rows.items() if text in mutant}


def corpora() -> list[Corpus]:
    """Return one file of every kind."""
    numbers = range(ROWS)
    found = [
        _lines("a.csv", table(HEADING_A, [row_a(n) for n in numbers])),
        _lines("de.csv", table(HEADING_A_GERMAN, [row_a(n, ["Tyler, The Creator", "Air"]) for n in numbers])),
        _lines("b.csv", table(HEADING_B, [row_b(n) for n in numbers])),
        _objects(
            "Playlist1.json", [item(n) for n in numbers], lambda rows: playlists({"One": rows[:20], "Two": rows[20:]})
        ),
        _objects("YourLibrary.json", library(numbers)["tracks"], lambda rows: library([]) | {"tracks": rows}),
        _objects("endsong_0.json", [play(n, n) for n in numbers], lambda rows: rows),
        _objects("StreamingHistory_music_0.json", [short_play(n, n) for n in numbers], lambda rows: rows),
    ]
    found += _of_other_tools()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for corpus in found:
            opened.writestr(f"Spotify Account Data/{corpus.name}", corpus.content)
    return [*found, Corpus("my_spotify_data.zip", archive.getvalue(), {})]


def _of_other_tools() -> list[Corpus]:
    """Return tables that only their heading tells, and listens: without the heading nothing can be asked of them."""
    named = [(f"Song {n}", "Air", f"Album {n}") for n in range(ROWS)]
    tables = {
        "tunemymusic.csv": table(
            ["Track name", "Artist name", "Album", "Playlist name", "Type", "ISRC"],
            [[*names, "Road", "Playlist", "X"] for names in named],
        ),
        "soundiiz.csv": table(
            ["title", "artist", "album", "isrc"], [[*names, "X"] for names in named], csv.QUOTE_MINIMAL
        ),
        "lastfm.csv": table(
            ["uts", "utc_time", "artist", "album", "track"],
            [
                [str(1_700_000_000 + 300 * n), "", artist, album, title]
                for n, (title, artist, album) in enumerate(named)
            ],
        ),
    }
    tables["soundiiz.csv"] = tables["soundiiz.csv"].replace(b",", b";")
    found = [_lines(name, content, told_by_heading=True) for name, content in tables.items()]
    listens = [
        {"listened_at": 1_700_000_000 + 300 * n, "track_metadata": {"track_name": title, "artist_name": artist}}
        for n, (title, artist, _) in enumerate(named)
    ]
    return [*found, _objects("listens.json", listens, lambda rows: rows)]


def _lines(name: str, content: bytes, *, told_by_heading: bool = False) -> Corpus:
    heading, *lines = content.split(b"\n")[:-1]
    rows = {f"Song {number}": b"\n" + line + b"\n" for number, line in enumerate(lines)}
    return Corpus(name, content, rows, heading + b"\n" if told_by_heading else b"")


def _objects(name: str, rows: list[Any], around: Callable[[list[Any]], Any]) -> Corpus:
    content = as_json(around(rows))
    # Indented as deep as it stands in the file.
    spans = {}
    for number, row in enumerate(rows):
        words = rb"\s*".join(re.escape(word) for word in as_json(row).split())
        (spans[f"Song {number}"],) = re.findall(words, content)
    return Corpus(name, content, spans, b'"tracks": [' if name == "YourLibrary.json" else b"")


def mutant(corpus: Corpus, rng: random.Random) -> bytes:
    """Return a file with one to four things wrong."""
    text = corpus.content
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(text) + 1)
        if corpus.name.endswith(".zip") and rng.random() < 0.5:
            at = max(0, len(text) - rng.randrange(1, 1_000))  # Its list of members is there.
        length = rng.choice((1, 1, 3, 20, 400))
        end = min(len(text), at + length)
        match rng.randrange(7):
            case 0:
                text = text[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in text[at:end]) + text[end:]
            case 1:
                text = text[:at] + text[end:]
            case 2 | 3:
                text = text[:at] + rng.choice(TOKENS) + text[at:]
            case 4:
                text = text[:end] + text[at:end] + text[end:]
            case 5:
                other = rng.randrange(len(text) + 1)
                text = text[:at] + text[other : other + length] + text[end:]
            case 6:
                text = text[: max(at, len(text) // 3)]
    return text


def mutants(seed: int, count: int) -> Iterator[tuple[Corpus, bytes]]:
    """Yield mutants of the corpora in turn."""
    rng, files = random.Random(seed), corpora()
    for number in range(count):
        corpus = files[number % len(files)]
        yield corpus, mutant(corpus, rng)


def lost(corpus: Corpus, content: bytes, folder: Path) -> set[str]:
    """Read a mutant; return the titles of good rows that were not found, and private values that were kept.

    To raise anything but one clear error is a bug.
    """
    file = folder / corpus.name
    file.write_bytes(content)
    good = corpus.good(content)
    kept: set[str] = set()
    leaked: set[str] = set()
    try:
        for frame in Reading(file, "export-anna").frames():
            kept |= set(frame["track_name"].drop_nulls())
            leaked |= {marker for marker in MARKERS if marker in frame.write_ndjson()}
    except SourceError as error:
        return good | ({"an error of several lines"} if "\n" in str(error) else set())
    return (good - kept) | leaked
