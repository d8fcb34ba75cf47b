"""Tables of tracks: delimited text of any dialect to rows with the names of fields, artists in order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING

from spotify_dag.sources.artists import Joined, joined_by, split_artists
from spotify_dag.sources.base import Fault
from spotify_dag.sources.delimited import Rows, Table, open_table
from spotify_dag.sources.dialects import (
    DIALECTS,
    HEADLESS_LASTFM,
    MORE_ARTISTS,
    SCROBBLER_LOG,
    Dialect,
    fields_of,
    normalised,
    recognise,
    resembled,
)
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.spreadsheet_cells import as_named

if TYPE_CHECKING:
    import polars as pl

UNKNOWN = frozenset({"", "undefined"})
"""How tools write that there is nothing."""
LOOKS = {
    "track_uri": re.compile(r"(?:spotify:[a-z]+:|https?://open\.spotify\.com/).*|[0-9A-Za-z]{22}"),
    "artist_uris": re.compile(r"(?:spotify:artist:)?[0-9A-Za-z]{1,40}(?:,\s*(?:spotify:artist:)?[0-9A-Za-z]{1,40})*"),
    "released": re.compile(r"\d{4}(?:-\d\d){0,2}|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d\d-\d\d|\w{3,9}[-. ]\d{2,4}"),
    "popularity": re.compile(r"\d{1,3}"),
    "explicit": re.compile(r"true|false|0|1|wahr|falsch|vrai|faux|verdadero|falso", re.IGNORECASE),
    "played_at": re.compile(
        r"\d{1,2} \w{3} \d{4},? \d\d?:\d\d(?::\d\d)?|\d{4}-\d\d-\d\d[ T]\d\d:\d\d.*|\d{10}(?:\d{3})?"
    ),
    "rating": re.compile("[LS]"),
}
"""How cells look that hold something."""
SOMEBODY = "spotify:user:"
"""Who added a track: where it stands in a cell that is kept, cells have moved."""
TOLD_BY_LOOKS = 0.9
"""Share of rows that look like those of a layout, from which on a table without a heading is one."""
_APP_PLACES = {0: "spotify:track:", 2: "spotify:artist:", 4: "spotify:album:"}
_APP_ELSEWHERE = "exportify.app (another language)"


@dataclass(frozen=True)
class OpenTable:
    """A table with columns that were recognised.

    Parameters
    ----------
    dialect
        What it is.
    places
        In which column each field is, of `dialects.VOCABULARY`.
    """

    dialect: Dialect
    places: Mapping[str, int]
    decoder: Decoder
    _table: Table[Dialect] = field(repr=False)
    _shift: int = 0
    """Columns before the first heading: R writes row names there."""

    @property
    def heading(self) -> list[str]:
        """Its headings as they are written; the first row where it has none."""
        return self._table.heading

    def chunks(
        self, more_columns: Mapping[str, int] | None = None, whole_names: Set[str] = frozenset()
    ) -> Iterator[tuple[pl.DataFrame, list[Fault]]]:
        """Yield rows, and those that are damaged as faults.

        Parameters
        ----------
        more_columns
            Further columns to give, by their places.
        whole_names
            Names of artists with a comma that other files tell, in `str.casefold`.

        Yields
        ------
        ``row`` (line), ``index`` (number of the row, damaged ones counted), the fields that the table has as text,
        ``artists`` (list, of the field ``artist_names``) and ``artist_id`` (of the first).
        """
        index = 0
        joined: Joined | None = None
        for rows in self._table.parts:
            good, faults = self._judged(rows)
            joined = joined or self._joined(rows, good)
            yield self._frame(rows, good, index, more_columns or {}, partial(_artists, joined, whole_names)), faults
            index += len(rows.lines) + len(rows.broken)

    def _joined(self, rows: Rows, good: Sequence[int]) -> Joined:
        place = self.places.get("artist_names")
        if place is None:
            return Joined.LISTED
        headings = self._table.heading if self._table.recognised is not None else self.dialect.layout
        heading = headings[place - self._shift] if 0 <= place - self._shift < len(headings) else ""
        return joined_by([rows.cells[at][place] for at in good], self.dialect.joined, normalised(heading))

    def _judged(self, rows: Rows) -> tuple[list[int], list[Fault]]:
        """Return which rows are whole, and faults of the others."""
        width = self._width()
        faults = [Fault(line, None, "line", None, "quotes do not pair") for line in rows.broken]
        good = []
        for at, cells in enumerate(rows.cells):
            n = len(cells)
            if not self.dialect.quoted and cells[0].startswith("#"):
                continue
            if n > width and not any(cell.strip() for cell in cells[width:]):
                n = width
            if (n == width or (n < width and self._ended_early(cells))) and not self._moved(cells):
                good.append(at)
            elif any(cell.strip() for cell in cells):
                reason = "cells have moved" if n == width else f"{n} cells instead of {width}"
                faults.append(Fault(rows.lines[at], None, "line", None, reason))
        return good, sorted(faults, key=lambda fault: fault.row or 0)

    def _width(self) -> int:
        heading = len(self._table.heading) + self._shift
        if self._table.recognised is None or self.dialect.ends_early:
            return max(self._table.width, heading if self._table.recognised else 0)
        return heading

    def _moved(self, cells: Sequence[str]) -> bool:
        return any(place < len(cells) and SOMEBODY in cells[place] for place in self.places.values())

    def _ended_early(self, cells: Sequence[str]) -> bool:
        """Whether a short row is one that ended early, and not one that lost cells in between or was cut in a name."""
        if not self.dialect.ends_early and len(cells) not in self._table.usual_widths:
            return False  # The tool writes every cell: what is short has lost cells in between.
        last = max(self.places[name] for name in ("track_uri", "track_name", "artist_names") if name in self.places)
        if len(cells) <= last + 1 or not cells[self.places.get("track_name", last)].strip():
            return False
        values = {name: cells[place].strip() for name, place in self.places.items() if place < len(cells)}
        return all(
            values.get(name, "") in UNKNOWN or look.fullmatch(values[name])
            for name, look in LOOKS.items()
            if name not in ("artist_uris", "played_at")
        )

    def _frame(
        self, rows: Rows, good: Sequence[int], index: int, more_columns: Mapping[str, int],
        artists: Callable[[str | None, Sequence[str]], list[str]],
    ) -> pl.DataFrame:  # fmt: skip
        import polars as pl

        def column(place: int) -> list[str | None]:
            cells_of_column = (rows.cells[at][place].strip() if place < len(rows.cells[at]) else "" for at in good)
            return [None if cell in UNKNOWN else as_named(cell) for cell in cells_of_column]

        cells = {name: column(place) for name, place in {**self.places, **more_columns}.items()}
        if "description" in cells and "artist_names" not in cells:
            pairs = [(cell or "").partition(" - ") for cell in cells["description"]]
            cells["artist_names"] = [artist if gap else None for artist, gap, _ in pairs]
            cells["track_name"] = [title if gap else None for _, gap, title in pairs]
        ids = [
            [part.rpartition(":")[2].strip() for part in (cell or "").split(",") if part.strip()]
            for cell in cells.get("artist_uris", [None] * len(good))
        ]
        names = [artists(cell, of_row) for cell, of_row in zip(cells["artist_names"], ids, strict=True)]
        for more in (cells.pop(f"artist_{n}", ()) for n in MORE_ARTISTS):
            for of_row, cell in zip(names, more, strict=False):
                of_row.extend([cell] if cell else [])
        return pl.DataFrame(cells, schema=dict.fromkeys(cells, pl.String)).with_columns(
            pl.Series("row", [rows.lines[at] for at in good], pl.Int64),
            pl.Series("index", [index + at for at in good], pl.Int64),
            pl.Series("artists", names, pl.List(pl.String)),
            pl.Series("artist_id", [part[0] if part else None for part in ids], pl.String),
        )


def _artists(joined: Joined, whole_names: Set[str], cell: str | None, ids: Sequence[str]) -> list[str]:
    return split_artists(cell, joined, len(ids), whole_names) if cell else []


def open_tracks(stream: IO[bytes]) -> OpenTable | list[str]:
    """Find out which table some bytes are; where they are none, return what its first line says instead of headings."""
    decoder = Decoder(stream)
    table = open_table(decoder.blocks(), recognise)
    heading, rows = table.heading, table.head.cells
    if table.recognised is not None:
        places = fields_of(table.recognised, heading)
        width = table.width if rows else len(heading)
        if width == len(heading) or not rows:
            return OpenTable(table.recognised, places, decoder, table)
        if width == len(heading) + 1 and _numbered(table.head):
            return OpenTable(table.recognised, {name: at + 1 for name, at in places.items()}, decoder, table, 1)
    elif (dialect := resembled(heading)) and len(heading) == table.width:
        table.recognised = dialect
        _drop_heading(table)
        return OpenTable(dialect, fields_of(dialect, dialect.layout), decoder, table)
    # The heading is lost or damaged, or its rows are shorter.
    if fitting := _by_looks(table):
        if not _is_data(heading):
            _drop_heading(table)
        table.recognised = None
        return OpenTable(fitting, fields_of(fitting, fitting.layout), decoder, table)
    if table.recognised is not None:
        return OpenTable(table.recognised, fields_of(table.recognised, heading), decoder, table)
    return heading


def open_scrobbler_log(stream: IO[bytes]) -> OpenTable:
    """Open a log of plays that a player without a network wrote; its columns are those of its specification."""
    decoder = Decoder(stream)
    table: Table[Dialect] = open_table(decoder.blocks(), lambda _: None, quoted=False, separator="\t")
    return OpenTable(SCROBBLER_LOG, fields_of(SCROBBLER_LOG, SCROBBLER_LOG.layout), decoder, table)


def _drop_heading(table: Table[Dialect]) -> None:
    """Take a heading that was not recognised out of the rows."""
    rows = table.head
    if rows.lines[:1] == [table.heading_line]:
        del rows.lines[0], rows.cells[0]
    elif table.heading_line in rows.broken:
        rows.broken.remove(table.heading_line)


def _numbered(rows: Rows) -> bool:
    """Whether the first cell of every row is its number."""
    return [cells[0].strip() for cells in rows.cells[:20]] == [str(n) for n in range(1, len(rows.cells[:20]) + 1)]


def _by_looks(table: Table[Dialect]) -> Dialect | None:
    """Return the dialect of a table without a good heading, by how the cells of its rows look."""
    rows = [cells for cells in table.head.cells if len(cells) == table.width]
    if not rows:
        return None
    if len(table.heading) == table.width and table.recognised is None and not _is_data(table.heading):
        # Headings that say something else, unless they are in a language that nobody told of.
        return _app_elsewhere() if _of_app(rows[1:]) else None
    for dialect in (HEADLESS_LASTFM, *DIALECTS):
        if len(dialect.layout) == table.width and _fits(dialect, rows):
            return dialect
    return _app_elsewhere() if _of_app(rows) else None


def _is_data(cells: Sequence[str]) -> bool:
    return any(LOOKS[name].fullmatch(cell.strip()) for cell in cells for name in ("track_uri", "played_at"))


def _fits(dialect: Dialect, rows: Sequence[Sequence[str]]) -> bool:
    looks = [(LOOKS[name], place) for name, place in fields_of(dialect, dialect.layout).items() if name in LOOKS]
    like = sum(
        all(row[place].strip() in UNKNOWN or look.fullmatch(row[place].strip()) for look, place in looks)
        for row in rows
    )
    whole = any(all(look.fullmatch(row[place].strip()) for look, place in looks) for row in rows)
    return bool(looks) and whole and like >= TOLD_BY_LOOKS * len(rows)


def _of_app(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the ids stand where exportify.app writes them in every language."""
    like = [row for row in rows if len(row) > 15 and all(row[at].startswith(what) for at, what in _APP_PLACES.items())]
    return bool(like) and len(like) >= len(rows) / 2


def _app_elsewhere() -> Dialect:
    app = DIALECTS[0]
    return Dialect(_APP_ELSEWHERE, (), app.joined, columns=app.columns, layout=app.layout)


def heading_text(headings: Sequence[str]) -> str:
    """Return headings for a message: the first ones, short, and nothing that could be a row."""
    shown = [" ".join(normalised(heading).split())[:30] for heading in headings[:12] if heading.strip()]
    return ", ".join(shown) + (", …" if len(headings) > 12 else "")
