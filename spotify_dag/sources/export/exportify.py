r"""Exportify tables: one CSV file per playlist, named after it, in the two dialects that exist.

Dialect A (exportify.app) has ids of artists, joins artists by ``", "`` with ``\,`` for a comma in a name, and writes
its headings in the reader's language. Dialect B (exportify.net) joins artists by ``";"``, may end rows early and writes
``undefined`` where it knows nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, NamedTuple

from spotify_dag.sources.base import Fault
from spotify_dag.sources.export.rows import ARTIST_URI, CHUNK_ROWS, LOCAL, PODCAST, Chunk, Playlist

if TYPE_CHECKING:
    import polars as pl

HEADINGS = {
    "track_uri": ("track uri", "spotify uri", "spotify id"),
    "track_name": ("track name",),
    "artist_uris": ("artist uri(s)", "artist uri"),
    "artist_names": ("artist name(s)", "artist name"),
    "album_name": ("album name",),
    "released": ("album release date", "release date"),
    "popularity": ("popularity",),
    "explicit": ("explicit",),
}
"""The cells that are kept, and how their columns are called in English, now and formerly."""
NEEDED = ("track_uri", "track_name", "artist_names")
PLACES_A = dict(zip(HEADINGS, (0, 1, 2, 3, 5, 8, 15, 14), strict=True))
PLACES_B = {
    field: place for field, place in zip(HEADINGS, (0, 1, None, 3, 2, 4, 6, 7), strict=True) if place is not None
}
"""Columns from 0, for headings in other languages and damaged ones."""
UNKNOWN = ("", "undefined")
LOOKS = {
    "released": re.compile(r"\d{4}"),
    "popularity": re.compile(r"\d+"),
    "explicit": re.compile("(?i)^(true|false)$"),
}
"""How cells look that hold something."""
SOMEBODY = "spotify:user:"
"""Who added a track, in dialect A: where it stands in a cell that is kept, cells have moved."""
LOOKED_AT = 100
"""Rows looked at to find out which columns are which."""
LONGEST_LINE, LONGEST_ROW = 1 << 20, 100
"""Characters of a line, lines of a row: what goes on after them is another one."""
ROW_START = re.compile(r'"?(spotify:[a-z]+:|[0-9A-Za-z]{22}"?,)')
"""How a line begins that can only be the start of a row, however many quotes are open."""


def read_table(stream: IO[bytes], playlist: Playlist) -> Iterator[Chunk]:
    """Yield the rows of a table; one that is no Exportify table is one fault.

    A row is damaged where its quotes do not pair or it has more cells than the others; those after it are read.
    """
    lines = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
    rows = _rows(lines)
    heading: list[str] = []
    for first in islice(rows, 1):
        if ROW_START.match(first.cells[0] + ","):  # The heading is lost: the first line is a row.
            rows = chain([first], rows)
        else:
            heading = [cell.strip().lower() for cell in first.cells]
    head = list(islice(rows, LOOKED_AT))
    places = _places(heading, head)
    if places is None:
        reason = "no Exportify table: it has no columns Track URI, Track Name and Artist Name(s)"
        yield Chunk(None, [Fault(None, None, "table", None, reason)])
        return
    # Not what the heading says: that may be damaged too. But where rows may be short, most of them may be.
    widths = [width for width, _ in Counter(len(row.cells) for row in head).most_common(1)] or [len(heading)]
    width = max(widths if "artist_uris" in places else [*widths, len(heading)])
    rows, position = chain(head, rows), 0
    while part := list(islice(rows, CHUNK_ROWS)):
        yield _chunk(part, places, width, playlist, position)
        position += len(part)


class _Row(NamedTuple):
    line: int
    cells: list[str]
    paired: bool
    """Whether every quote has its other one."""


def _rows(lines: IO[str]) -> Iterator[_Row]:
    held: list[str] = []
    start = quotes = 0
    for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE), ""), 1):
        if held and (quotes % 2 == 0 or ROW_START.match(line) or len(held) == LONGEST_ROW):
            yield from _row(start, held, quotes)
            held, quotes = [], 0
        start = start if held else number
        held.append(line)
        quotes += line.count('"')
    yield from _row(start, held, quotes)


def _row(start: int, lines: Sequence[str], quotes: int) -> Iterator[_Row]:
    if "".join(lines).strip():
        try:
            parsed = list(csv.reader(lines))
        except csv.Error:  # A cell longer than csv takes.
            parsed = []
        yield _Row(start, parsed[0] if parsed else [], quotes % 2 == 0 and len(parsed) == 1)


def _places(heading: Sequence[str], head: Sequence[_Row]) -> Mapping[str, int] | None:
    """Return in which column what stands: by the headings, else by the look of the rows; None for other tables."""
    named = {field: heading.index(name) for field, names in HEADINGS.items() for name in names if name in heading}
    fits = not head or any(len(row.cells) == len(heading) for row in head)
    if fits and all(field in named for field in NEEDED):
        return named
    tracks = [row.cells for row in head if len(row.cells) > PLACES_B["artist_names"]]
    tracks = [cells for cells in tracks if cells[0].startswith("spotify:track:")]
    if any(cells[PLACES_A["artist_uris"]].startswith("spotify:artist:") for cells in tracks):
        return PLACES_A
    return PLACES_B if tracks else None


def _chunk(rows: Sequence[_Row], places: Mapping[str, int], width: int, playlist: Playlist, position: int) -> Chunk:
    good, positions, faults = [], [], []
    for offset, row in enumerate(rows):
        n = len(row.cells)
        short = n < width and row.paired and _in_place(row.cells, places)
        if (n == width or short) and not any(SOMEBODY in row.cells[place] for place in places.values() if place < n):
            good.append(row)
            positions.append(position + offset)
        else:
            reason = "cells have moved" if n == width else f"{n} cells instead of {width}"
            reason = reason if row.paired else "quotes do not pair"
            faults.append(Fault(row.line, None, "line", None, reason))
    return Chunk(_frame(good, places, playlist, positions), faults)


def _in_place(cells: Sequence[str], places: Mapping[str, int]) -> bool:
    """Whether a short row is one that ended early, and not one that lost cells in between."""
    if "artist_uris" in places or len(cells) <= max(places[field] for field in NEEDED):
        return False  # Rows of dialect A are whole.
    known = {field: cells[places[field]].strip() for field in LOOKS if places.get(field, len(cells)) < len(cells)}
    return all(cell in UNKNOWN or LOOKS[field].match(cell) for field, cell in known.items())


def _frame(
    rows: Sequence[_Row], places: Mapping[str, int], playlist: Playlist, positions: Sequence[int]
) -> pl.DataFrame:
    import polars as pl

    cells = {
        field: [
            row.cells[places[field]] if field in places and places[field] < len(row.cells) else None for row in rows
        ]
        for field in HEADINGS
    }
    known = [
        pl.when(pl.col(field).str.strip_chars().is_in(UNKNOWN)).then(None).otherwise(pl.col(field)).alias(field)
        for field in HEADINGS
    ]
    names, n_uris = pl.col("artist_names"), pl.col("artist_uris").str.count_matches("spotify:artist:", literal=True)
    first_of_many = names.str.extract(r"^((?:[^,\\]|\\.)*)")
    unescaped = pl.when(n_uris == 1).then(names).otherwise(first_of_many).str.replace_all(r"\,", ",", literal=True)
    return pl.DataFrame(cells, schema=dict.fromkeys(HEADINGS, pl.String)).with_columns(known).select(
        pl.Series("row", [row.line for row in rows], pl.Int64),
        pl.lit(playlist.id).alias("playlist_id"),
        pl.lit(playlist.name, pl.String).alias("playlist_name"),
        pl.lit(playlist.position, pl.Int32).alias("playlist_position"),
        pl.Series("position", positions, pl.Int32),
        "track_uri",
        "track_name",
        pl.col("artist_uris").str.extract(ARTIST_URI).alias("artist_id"),
        # Dialect B has no ids of artists.
        pl.when(n_uris > 0).then(unescaped).otherwise(names.str.split(";").list.first()).alias("artist_name"),
        "album_name",
        # A year, a month or a day: what does not begin like one is for `clean` to refuse.
        pl.coalesce(pl.col("released").str.extract(r"^\s*(\d{4})\b"), "released").alias("release_year"),
        "popularity",
        # Beside it stands who added the track: where cells have moved, that must not be quoted as a wrong value.
        pl.when(pl.col("explicit").str.contains(LOOKS["explicit"].pattern)).then("explicit")
        .when(pl.col("explicit").is_not_null()).then(pl.lit("…")).alias("explicit"),
        pl.when(pl.col("track_uri").str.starts_with("spotify:local:")).then(pl.lit(LOCAL))
        .when(pl.col("track_uri").str.contains("^spotify:(?:episode|show):")).then(pl.lit(PODCAST))
        .alias("skipped"),
    )  # fmt: skip
