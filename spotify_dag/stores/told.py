"""What answers tell of a user, as one value of a row of the user index.

Each column that a search reads beside takes as long as finding the rows: four columns are half of an answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any, Final

TOLD: Final = ("shown", "source", "tracks", "taste")
"""What is told: whether to others at all; where the listening comes from; its size; the taste, packed or None."""
COLUMN: Final = "told"
_HEAD = struct.Struct("<?BB?i")
"""Shown, length of the source, whether there is a taste, whether the number of tracks is known, and it."""


def packed(rows: Iterable[tuple[bool | None, str | None, int | None, bytes | None]]) -> list[bytes]:
    """Return one value per row of `TOLD`: what `unpacked` takes."""
    values = []
    for shown, source, tracks, taste in rows:
        name = (source or "").encode()
        head = _HEAD.pack(bool(shown), len(name), taste is not None, tracks is not None, tracks or 0)
        values.append(head + name + (taste or b""))
    return values


def unpacked(value: bytes | None) -> dict[str, Any]:
    """Return what is told, by name; None everywhere where a row is of an older version."""
    if value is None:
        return dict.fromkeys(TOLD)
    shown, length, has_taste, counted, tracks = _HEAD.unpack_from(value)
    end = _HEAD.size + length
    return {
        "shown": shown,
        "source": value[_HEAD.size : end].decode() or None,
        "tracks": tracks if counted else None,
        "taste": value[end:] if has_taste else None,
    }
