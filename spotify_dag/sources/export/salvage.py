"""Objects of a JSON file one after the other: in bounded memory, and past whatever is damaged.

A parser of the whole text would lose all that follows one wrong byte. Here an object that does not parse, or is not one
of those looked for, is reported and stepped into, so that the objects inside and after it are found. The outermost
object is stepped into without a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, Any

import orjson

from spotify_dag.sources.encoding import Decoder

CHUNK = 1 << 18
"""Characters read at a time."""
LONGEST = 1 << 23
"""Characters of the longest object that is parsed whole: a playlist of 20,000 tracks."""
NEAR_END = 1 << 16
"""An error this many characters before the end of what was read may be only that the rest is missing."""
KEPT_BETWEEN = 2_000
"""Characters before an object that are kept: there stands the name of the list it belongs to."""
MAX_WASTE, LEAST_WASTE = 1 << 28, 1 << 10
"""Characters parsed in vain after which the rest of a file is given up; at least so many are counted for each object.
Hostile text could otherwise take hours."""
MOST_BEHIND = 1 << 12
"""Characters that may stand before the next object: an error counts the lines from the beginning of the text."""


def objects(
    stream: IO[bytes], is_wanted: Callable[[dict[str, Any]], bool]
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """Yield the wanted objects of a JSON text, each with the text between it and the one before.

    Parameters
    ----------
    stream
        Text in any encoding that `encoding.Decoder` knows.
    wanted
        Tells an object that is looked for from one that only contains such.

    Yields
    ------
    ``(between, object)``; the object is None where one was damaged, or is not wanted and does not hold all others.
    """
    for between, run in _runs(stream, is_wanted, flat=False):
        yield between, run[0] if run else None


def runs_of_objects(
    stream: IO[bytes], is_wanted: Callable[[dict[str, Any]], bool]
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the objects that `objects` yields, many at once: for long lists of objects that hold no objects.

    Yields
    ------
    ``(between, objects)``, with the text before the first of them; no object where one was damaged.
    """
    yield from _runs(stream, is_wanted, flat=True)


class _Text:
    """The text that is looked at, and where."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._blocks = Decoder(stream).blocks()
        self.text, self.at, self.ended = "", 0, False

    def read_on(self, size: int) -> None:
        """Drop what was looked at, and read about ``size`` characters more."""
        parts = [self.text[self.at :]]
        while size > 0 and not self.ended:
            block = next(self._blocks, "")
            self.ended = not block
            size -= len(block)
            parts.append(block)
        self.text, self.at = "".join(parts), 0


def _runs(
    stream: IO[bytes], is_wanted: Callable[[dict[str, Any]], bool], *, flat: bool
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    decoder = json.JSONDecoder(strict=False)  # A bare control character in a title is no reason to stop.
    here = _Text(stream)
    between, waste, outermost, tried_as_run = "", 0, True, not flat
    while waste < MAX_WASTE:
        start = here.text.find("{", here.at)
        between = (between + here.text[here.at : start if start >= 0 else None])[-KEPT_BETWEEN:]
        here.at = start if start >= 0 else len(here.text)
        if start < 0:
            if here.ended:
                return
            here.read_on(CHUNK)
            tried_as_run = not flat
            continue
        if not tried_as_run:
            tried_as_run = True  # Once per text that is read: a damaged text would else be parsed again and again.
            end = here.text.rfind("}", start) + 1
            if run := _parsed_run(here.text[start:end], is_wanted):
                yield between, run
                here.at, outermost, between = end, False, ""
                continue
        parsed, end, tried, more_may_mend = _parsed(decoder, here)
        if more_may_mend:
            here.read_on(max(CHUNK, len(here.text) - here.at))
            tried_as_run = not flat
            continue
        if parsed is not None and is_wanted(parsed):
            yield between, [parsed]
            here.at = end
        else:
            if not outermost or between.strip():
                yield between, []
            here.at += 1
            waste += max(tried, LEAST_WASTE)
            if here.at > MOST_BEHIND:
                here.read_on(0)
        outermost, between = False, ""
    yield "", []


def _parsed_run(text: str, is_wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    """Return objects with commas between them; none where the text is anything else, or one of them not wanted."""
    try:
        run = orjson.loads(f"[{text}]")
    except orjson.JSONDecodeError:
        return []
    return run if all(isinstance(entry, dict) and is_wanted(entry) for entry in run) else []


def _parsed(decoder: json.JSONDecoder, here: _Text) -> tuple[Any, int, int, bool]:
    """Parse the object at a place.

    Returns
    -------
    The object, None where it is damaged; where it ends; how many characters were parsed in vain; and whether only the
    rest may be missing.
    """
    left = len(here.text) - here.at
    try:
        parsed, end = decoder.raw_decode(here.text, here.at)
        return parsed, end, end - here.at, False
    except json.JSONDecodeError as error:
        tried = error.pos - here.at
        return None, here.at, tried, not here.ended and left - tried < NEAR_END and left < LONGEST
    except (ValueError, RecursionError):  # A number of thousands of digits, or nested thousands deep.
        return None, here.at, NEAR_END, False
