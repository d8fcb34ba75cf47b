"""Delimited text to rows: the separator is read from the heading, and damage costs the row that it is in."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Generic, NamedTuple, TypeVar

SEPARATORS = (",", ";", "\t", "|")
LONGEST_LINE, LONGEST_ROW = 1 << 20, 100
"""Characters of a line, lines of a row: what goes on after them is another one."""
LOOKED_AT = 200
"""Lines looked at to find the heading and how wide rows are."""
HEADING_WITHIN = 20
"""Lines within which a heading stands; before it there may be titles and comments."""
USUAL_ROWS, USUAL_SHARE = 2, 0.05
"""Rows, and share of the rows looked at, from which on a number of cells is usual."""
PART_ROWS = 10_000
"""Rows held as Python objects at once: some 10 MiB."""
ROW_START = re.compile(r'"?(?:spotify:[a-z]+:|[0-9A-Za-z]{22}"?[,;\t])')
"""How a line begins that can only be the start of a row, however many quotes are open."""
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)

T = TypeVar("T")


class Rows(NamedTuple):
    """Some rows of a table."""

    lines: list[int]
    """The line of each, from 1."""
    cells: list[list[str]]
    """Its cells."""
    broken: list[int]
    """Lines with an odd quote, and lines that are no row."""


@dataclass
class Table(Generic[T]):
    """A table: what its heading says, and its rows."""

    recognised: T | None
    """What the heading was recognised as; None where no line was one."""
    heading: list[str]
    """The cells of the heading; of the first line where none was recognised."""
    heading_line: int
    """Its line, from 1."""
    width: int
    """Cells of most rows."""
    usual_widths: frozenset[int]
    """Numbers of cells that several rows have: what only one row has is damage."""
    parts: Iterator[Rows] = field(repr=False)
    """The rows below the heading, some `PART_ROWS` at a time; all where there is no heading."""
    head: Rows = field(repr=False)
    """The first of them."""


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line; none where it cannot be parted."""
    try:
        return next(csv.reader([line.replace("\r", " ")], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # A cell longer than csv takes.
        return []


def lines_of(blocks: Iterable[str]) -> Iterator[str]:
    """Yield lines, each with one LF for its end, whatever it was; one that is too long comes in pieces."""
    held = ""
    for block in blocks:
        text = held + block
        end = "\r" * text.endswith("\r")  # Its LF may be the first character of the next block.
        lines = text[: len(text) - len(end)].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        held = lines.pop() + end
        yield from (f"{line}\n" for line in lines)
        while len(held) > LONGEST_LINE:
            yield held[:LONGEST_LINE]
            held = held[LONGEST_LINE:]
    if held:
        yield held


def open_table(
    blocks: Iterable[str], recognise: Callable[[Sequence[str]], T | None], *, quoted: bool = True, separator: str = ""
) -> Table[T]:
    """Find the heading and the separator of a table, and give its rows.

    Parameters
    ----------
    blocks
        Its text.
    recognise
        Tells from the cells of a line whether it is a heading that is known.
    quoted
        Whether quotation marks mean anything.
    separator
        The separator, where it is known.
    """
    lines = lines_of(blocks)
    first = list(islice(lines, LOOKED_AT))
    separators: Sequence[str] = (separator,) if separator else SEPARATORS
    start = 0
    if first and (said := _SEPARATOR.fullmatch(first[0])):
        separators, start = (said[1],), 1
    candidates = [place for place in range(start, len(first)) if first[place].strip()][:HEADING_WITHIN]
    for place in candidates:
        options = [
            (recognise(cells), cells, sign, inner)
            for sign in separators
            for cells, inner in _headings(first[place], sign)
        ]
        if recognised := [option for option in options if option[0] is not None]:
            kind, heading, sign, inner = max(recognised, key=lambda option: len(option[1]))
            rest = chain(first[place + 1 :], lines)
            return _table(kind, heading, place + 1, rest, place + 2, _Format(sign, quoted, inner))
    sign = max(separators, key=lambda sign: sum(line.count(sign) for line in first))
    heading = cells_of(first[candidates[0]], sign) if candidates else []
    line = candidates[0] + 1 if candidates else 1
    return _table(None, heading, line, chain(first[start:], lines), start + 1, _Format(sign, quoted))


class _Format(NamedTuple):
    separator: str
    quoted: bool = True
    wrapped: bool = False
    """Whether every line as a whole is one quoted cell, as spreadsheets write what they did not part."""

    def parse(self, lines: Iterable[str]) -> list[list[str]]:
        """Return the cells of rows.

        Raises
        ------
        csv.Error
            If a cell is longer than csv takes.
        """
        if not self.quoted:
            return list(csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE))
        rows = list(csv.reader(lines, delimiter=self.separator, skipinitialspace=True))
        if self.wrapped:
            rows = [cells_of(row[0], self.separator) if len(row) == 1 else row for row in rows]
        return rows


def _headings(line: str, separator: str) -> Iterator[tuple[list[str], bool]]:
    """Yield a line as cells, and whether it had to be unwrapped for it."""
    cells = cells_of(line, separator)
    if len(cells) > 1:
        yield cells, False
    elif cells and separator in cells[0]:
        yield cells_of(cells[0], separator), True


def _table(
    recognised: T | None, heading: list[str], heading_line: int, lines: Iterator[str], start: int, form: _Format
) -> Table[T]:
    first = list(islice(lines, LOOKED_AT))
    whole = [line for line in first if line.count('"') % 2 == 0 and line.strip() and not line.startswith("#")]
    widths = Counter(len(cells) for line in whole for cells in _parsed([line], form)[:1])
    width = max(widths, key=lambda cells: (widths[cells], cells)) if widths else len(heading)
    parts = _parts(chain(first, lines), start, form, width)
    head = next(parts, Rows([], [], []))
    usual = frozenset(n for n, rows in widths.items() if rows >= max(USUAL_ROWS, USUAL_SHARE * len(whole)))
    return Table(recognised, heading, heading_line, width, usual, chain([head], parts), head)


def _parsed(lines: Sequence[str], form: _Format) -> list[list[str]]:
    try:
        return form.parse(lines)
    except csv.Error:
        return []


def _parts(lines: Iterator[str], number: int, form: _Format, width: int) -> Iterator[Rows]:
    """Yield rows in parts. Lines with paired quotes are parsed at once, the others one by one."""
    held: list[tuple[int, str]] = []
    while chunk := list(islice(lines, PART_ROWS)):
        rows = Rows([], [], [])
        if not held and not (form.quoted and any(line.count('"') & 1 for line in chunk)):
            _add_run(rows, range(number, number + len(chunk)), chunk, form)
        else:
            _add_damaged(rows, held, enumerate(chunk, number), form, width)
        number += len(chunk)
        yield rows
    if held:
        rows = Rows([], [], [])
        _add_one_by_one(rows, held, form)
        yield rows


def _add_damaged(
    rows: Rows, held: list[tuple[int, str]], lines: Iterable[tuple[int, str]], form: _Format, width: int
) -> None:
    """Add lines. Quotes of some go on in the next line: the lines of a row that does not end yet stay ``held``."""
    run: list[tuple[int, str]] = []
    for number, line in lines:
        odd = bool(form.quoted and line.count('"') & 1)
        if held:
            if len(held) == LONGEST_ROW or ROW_START.match(line) or (not odd and _is_row(line, form, width)):
                _add_one_by_one(rows, held, form)
                held.clear()
            else:
                held.append((number, line))
                if odd:
                    _add_joined(rows, held, form, width)
                    held.clear()
                continue
        if odd:
            _add_run(rows, [n for n, _ in run], [n for _, n in run], form)
            run = []
            held.append((number, line))
        else:
            run.append((number, line))
    _add_run(rows, [n for n, _ in run], [n for _, n in run], form)


def _is_row(line: str, form: _Format, width: int) -> bool:
    return width > 2 and [len(cells) for cells in _parsed([line], form)] == [width]


def _add_run(rows: Rows, numbers: Sequence[int], lines: list[str], form: _Format) -> None:
    """Add lines that are a row each."""
    parsed = _parsed(lines, form)
    if len(parsed) == len(lines) and all(parsed):
        rows.lines.extend(numbers)
        rows.cells.extend(parsed)
        return
    for number, line in zip(numbers, lines, strict=True):
        if line.strip():
            _add_one_by_one(rows, [(number, line)], form)


def _add_joined(rows: Rows, held: Sequence[tuple[int, str]], form: _Format, width: int) -> None:
    """Add one row of several lines; where they are none, the lines one by one."""
    parsed = _parsed([line for _, line in held], form)
    if len(parsed) == 1 and (len(parsed[0]) == width or len(held) == 2):
        rows.lines.append(held[0][0])
        rows.cells.append(parsed[0])
    else:
        _add_one_by_one(rows, held, form)


def _add_one_by_one(rows: Rows, held: Iterable[tuple[int, str]], form: _Format) -> None:
    for number, line in held:
        parsed = _parsed([line], form)
        if len(parsed) != 1 or (form.quoted and line.count('"') & 1):
            rows.broken.append(number)
        elif parsed[0]:
            rows.lines.append(number)
            rows.cells.append(parsed[0])
