"""Objects of a JSON file one after the other: in bounded memory, and past whatever is damaged.

A parser of the whole text would lose all that follows one wrong byte. Here an object that does not parse, or is not one
of those looked for, is reported and stepped into, so that the objects inside and after it are found. The outermost
object is stepped into without a report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import IO, Any

from spotify_dag.sources.encoding import Decoder

CHUNK = 1 << 18
"""Characters read at a time."""
LONGEST = 1 << 23
"""Characters of the longest object that is parsed whole: a playlist of 20,000 tracks."""
NEAR_END = 1 << 16
"""An error this many characters before the end of what was read may be only that the rest is missing."""
KEPT_BETWEEN = 2_000
"""Characters before an object that are kept: there stands the name of the list it belongs to."""
MAX_WASTE = 1 << 28
"""Characters parsed in vain after which the rest of a file is given up: hostile text could otherwise take hours."""


def objects(stream: IO[bytes], wanted: Callable[[dict[str, Any]], bool]) -> Iterator[tuple[str, dict[str, Any] | None]]:
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
    decoder = json.JSONDecoder(strict=False)  # A bare control character in a title is no reason to stop.
    blocks = Decoder(stream).blocks()
    text, at, ended, between, waste = "", 0, False, "", 0
    outermost = True

    def read_on(size: int) -> None:
        nonlocal text, at, ended
        parts = [text[at:]]
        while size > 0 and not ended:
            block = next(blocks, "")
            ended = not block
            size -= len(block)
            parts.append(block)
        text, at = "".join(parts), 0

    while waste < MAX_WASTE:
        start = text.find("{", at)
        between = (between + text[at : start if start >= 0 else None])[-KEPT_BETWEEN:]
        at = start if start >= 0 else len(text)
        if start < 0:
            if ended:
                return
            read_on(CHUNK)
            continue
        found: Any = None
        tried = NEAR_END
        try:
            found, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            tried = error.pos - at
            if not ended and len(text) - error.pos < NEAR_END and len(text) - at < LONGEST:
                read_on(max(CHUNK, len(text) - at))
                continue
        except (ValueError, RecursionError):  # A number of thousands of digits, or nested thousands deep.
            pass
        if found is not None and wanted(found):
            yield between, found
            at = end
        else:
            if not outermost or between.strip():
                yield between, None
            at += 1
            waste += tried
        outermost, between = False, ""
    yield "", None
