"""Mutated files of every reader, and what must still be read of them: every row whose own text is untouched."""

from __future__ import annotations

import csv
import io
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

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
from spotify_dag.sources.artist_genres import read_artist_genres
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.lastfm import PLAYS_1K, PLAYS_360K, LastfmSource
from spotify_dag.sources.mpd import MpdSource
from spotify_dag.sources.spotify_songs import SpotifySongsSource

ROWS = 60
TOKENS = [
    b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\n", b"\r\n", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
    b"null", b"NaN", b"-1e999", b'"x": ', b'""', b'",', b'{"', b"[[[", b"9" * 5_000, b"[" * 5_000, b'{"a":' * 3_000,
    b'"' * 999, b"\\u", b"\\ud800", b" " * 70_000, b"undefined", b";", b"spotify:track:", b"PK\x03\x04",
]  # fmt: skip


NO_ARTIST = re.compile(r"(?:Song|Album|List) \d+|Mine|Road|pop; rock")
"""What other columns hold."""
ARTISTS = frozenset({"Air", "Tyler, The Creator", "Can", "Neu!", "Harmonia"})
"""Who is an artist in these files."""


@dataclass(frozen=True)
class Corpus:
    """A whole file, and the text of each of its rows by what tells it: a title, or an artist."""

    name: str
    content: bytes
    rows: Mapping[str, bytes]
    heading: bytes = b""
    """Text without which no row can be told from those of other lists."""
    reader: str = "export"
    """Which of `READERS` reads it."""

    def good(self, content: bytes) -> set[str]:
        """Return what tells the rows whose text is whole in a mutant."""
        if self.heading and (self.heading not in content or content.count(b"[") != self.content.count(b"[")):
            return set()
        return {title for title, text in self.rows.items() if text in content}


class Mutant(NamedTuple):
    """A file with something wrong."""

    corpus: Corpus
    content: bytes
    good: set[str]
    """What tells the rows that must be read."""
    whole_names: bool
    """Whether every name in it is as it was, so that no other may come out."""
    may_refuse: bool
    """Whether to refuse it with one clear error is right."""


class Found(NamedTuple):
    """What was read of a file."""

    rows: set[str]
    artists: set[str]


def _read_export(file: Path) -> Found:
    rows, artists = set[str](), set[str]()
    for frame in Reading(file, "export-anna").frames():
        rows |= set(frame["track_name"].drop_nulls())
        artists |= set(frame["artists"].explode().drop_nulls())
        rows |= {marker for marker in MARKERS if marker in frame.write_ndjson()}
    return Found(rows, artists)


def _read_source(source: Any) -> Found:
    batches = list(source.batches())
    rows = {name for batch in batches for name in batch.records["track_name"].drop_nulls()}
    return Found(rows, {name for batch in batches for name in batch.records["artists"].explode().drop_nulls()})


def _read_lastfm(file: Path) -> Found:
    found = _read_source(LastfmSource(file))
    return found if found.rows else Found(found.artists, found.artists)


def _read_genres(file: Path) -> Found:
    names = set(read_artist_genres(file)["artist_name"].drop_nulls())
    return Found(names, names)


READERS: Mapping[str, Callable[[Path], Found]] = {
    "export": _read_export,
    "mpd": lambda file: _read_source(MpdSource(file)),
    "lastfm": _read_lastfm,
    "songs": lambda file: _read_source(SpotifySongsSource(file)),
    "genres": _read_genres,
}
"""Every reader of files."""


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
    found += _of_data_sets()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for corpus in (corpus for corpus in found if corpus.reader == "export"):
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


def _of_data_sets() -> list[Corpus]:
    """Return a slice of the Million Playlist Dataset, tables of Last.fm, of tracks and of genres."""
    numbers = range(ROWS)
    tracks = [
        {"pos": n, "track_name": f"Song {n}", "artist_name": "Air", "artist_uri": f"spotify:artist:{n:022d}"}
        for n in numbers
    ]
    lists = [{"pid": n, "name": f"List {n}", "tracks": tracks[n : n + 1]} for n in numbers]
    slices = _objects("mpd.slice.0-59.json", lists, lambda rows: {"info": {}, "playlists": rows})
    users = [f"{'a' * 38}{n // 20:02d}" for n in numbers]
    counts = "".join(f"{users[n]}\t\tArtist {n:02d}\t{n + 1}\n" for n in numbers)
    plays = "".join(f"{users[n]}\t2009-05-04T23:08:57Z\t\tAir\t\tSong {n}\n" for n in numbers)
    songs = table(
        [
            "track_name",
            "track_artist",
            "playlist_name",
            "playlist_id",
            "energy",
        ],  # No ids: one row may not hide another.
        [[f"Song {n}", "Air", "Mine", f"p{n // 20}", "0.5"] for n in numbers],
        csv.QUOTE_MINIMAL,
    )
    genres = table(["artist_name", "genres"], [[f"Artist {n:02d}", "pop; rock"] for n in numbers], csv.QUOTE_MINIMAL)
    # A slice is one JSON text: one that is damaged is not read, and said.
    found = [replace(slices, rows={}, reader="mpd")]
    for name, content, told_by in ((PLAYS_360K, counts, "Artist {:02d}"), (PLAYS_1K, plays, "Song {}")):
        rows = {told_by.format(n): b"\n" + line + b"\n" for n, line in enumerate(content.encode().splitlines())}
        found.append(Corpus(name, b"\n" + content.encode(), rows, reader="lastfm"))
    found.append(replace(_lines("songs.csv", songs, told_by_heading=True), reader="songs"))
    of_artists = _lines("genres.csv", genres, told_by_heading=True)
    by_artist = {f"Artist {int(title.removeprefix('Song ')):02d}": text for title, text in of_artists.rows.items()}
    return [*found, replace(of_artists, rows=by_artist, reader="genres")]


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


def mutant(corpus: Corpus, rng: random.Random) -> Mutant:
    """Return a file with one to four things wrong, or written in another way."""
    table_like = corpus.name.endswith((".csv", ".tsv"))
    if table_like and rng.random() < 0.5:
        return rng.choice((_separated, _encoded, _renamed, _shuffled, _repeated))(corpus, rng)
    text = corpus.content
    for _ in range(rng.choice((1, 1, 2, 4))):
        text = _damaged(corpus, text, rng)
    return Mutant(corpus, text, corpus.good(text), whole_names=False, may_refuse=False)


def _damaged(corpus: Corpus, text: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(text) + 1)
    if corpus.name.endswith(".zip") and rng.random() < 0.5:
        at = max(0, len(text) - rng.randrange(1, 1_000))  # Its list of members is there.
    length = rng.choice((1, 1, 3, 20, 400))
    end = min(len(text), at + length)
    match rng.randrange(7):
        case 0:
            return text[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in text[at:end]) + text[end:]
        case 1:
            return text[:at] + text[end:]
        case 2 | 3:
            return text[:at] + rng.choice(TOKENS) + text[at:]
        case 4:
            return text[:end] + text[at:end] + text[end:]
        case 5:
            other = rng.randrange(len(text) + 1)
            return text[:at] + text[other : other + length] + text[end:]
    return text[: max(at, len(text) // 3)]


def _separator(corpus: Corpus) -> str:
    return "\t" if corpus.name.endswith(".tsv") else ";" if corpus.name == "soundiiz.csv" else ","


def _cells(corpus: Corpus) -> list[list[str]]:
    return [row for row in csv.reader(io.StringIO(corpus.content.decode()), delimiter=_separator(corpus)) if row]


def _written(corpus: Corpus, rows: list[list[str]], separator: str = "") -> bytes:
    text = io.StringIO()
    separator = separator or ("\t" if corpus.name.endswith(".tsv") else ",")
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _whole(corpus: Corpus, content: bytes, *, may_refuse: bool = False) -> Mutant:
    return Mutant(corpus, content, set(corpus.rows), whole_names=True, may_refuse=may_refuse)


def _separated(corpus: Corpus, rng: random.Random) -> Mutant:
    """Part the cells by something else."""
    return _whole(corpus, _written(corpus, _cells(corpus), rng.choice(",;\t|")))


def _encoded(corpus: Corpus, rng: random.Random) -> Mutant:
    """Write the text in another encoding."""
    encoding = rng.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"))
    if any(byte > 127 for byte in corpus.content) and encoding == "cp1252":
        encoding = "utf-16"
    return _whole(corpus, corpus.content.decode().encode(encoding))


def _renamed(corpus: Corpus, rng: random.Random) -> Mutant:
    """Call one of the columns something else: the table is then read by the other headings, or refused."""
    rows = _cells(corpus)
    if corpus.reader != "lastfm":
        rows[0][rng.randrange(len(rows[0]))] = rng.choice(
            ("x", "", "Spalte 3", "notes", "Unnamed: 0", "ARTIST_POPULARITY")
        )
    return _whole(corpus, _written(corpus, rows), may_refuse=True)


def _shuffled(corpus: Corpus, rng: random.Random) -> Mutant:
    """Put the rows in another order; of Last.fm those of each user."""
    rows = _cells(corpus)
    head = [] if corpus.reader == "lastfm" else [rows.pop(0)]
    rng.shuffle(rows)
    if corpus.reader == "lastfm":
        rows.sort(key=lambda row: row[0])
    return _whole(corpus, _written(corpus, head + rows))


def _repeated(corpus: Corpus, rng: random.Random) -> Mutant:
    """Write some rows twice, and empty lines between them."""
    rows = _cells(corpus)
    at = rng.randrange(1, len(rows) - 5)
    return _whole(corpus, _written(corpus, [*rows[: at + 5], [], *rows[at : at + 5], [], *rows[at + 5 :]]))


def mutants(seed: int, count: int) -> Iterator[Mutant]:
    """Yield mutants of the corpora in turn."""
    rng, files = random.Random(seed), corpora()
    for number in range(count):
        yield mutant(files[number % len(files)], rng)


def whole(corpus: Corpus) -> Mutant:
    """Return a file with nothing wrong."""
    return Mutant(corpus, corpus.content, corpus.good(corpus.content), whole_names=True, may_refuse=not corpus.rows)


def _says(found: Mutant, name: str) -> bool:
    """Whether a mutant itself calls a name an artist: in a whole line of a table, or in a pair of JSON."""
    text = found.content.decode(errors="replace")
    if not found.corpus.name.endswith((".csv", ".tsv")):
        return re.search(rf'artist_?(?:name)?"\s*:\s*"{re.escape(name)}"', text, re.IGNORECASE) is not None
    width = len(_cells(found.corpus)[1])
    column = next(at for at, cell in enumerate(_cells(found.corpus)[1]) if cell in ARTISTS | set(found.corpus.rows))
    rows = (next(csv.reader([line], delimiter=_separator(found.corpus)), []) for line in text.splitlines())
    return any(len(row) == width and name in row[column] for row in rows)


def faults(found: Mutant, folder: Path) -> set[str]:
    """Read a mutant; return good rows that were not found, private values that were kept, and artists that are none.

    To raise anything but one clear error is a bug.
    """
    corpus = found.corpus
    file = folder / corpus.name
    file.write_bytes(found.content)
    try:
        rows, artists = READERS[corpus.reader](file)
    except SourceError as error:
        lost = set() if found.may_refuse else found.good
        return lost | ({"an error of several lines"} if "\n" in str(error) else set())
    allowed = ARTISTS | (set(corpus.rows) if corpus.reader in ("lastfm", "genres") else set())
    if found.whole_names:
        invented = {name for name in artists if name not in allowed}
    else:
        invented = {name for name in artists if NO_ARTIST.fullmatch(name) and not _says(found, name)}
    return (found.good - rows) | (rows & set(MARKERS)) | {f"invented: {name}" for name in invented}
