"""Every playlist once: a second copy of a list, from another download, adds what the first has not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_dag.sources.export.account import ALBUMS, ARTISTS, LIKED

if TYPE_CHECKING:
    import polars as pl

AGAIN = "the same item again, in another copy of the list"
SAME_SHARE = 0.5
"""Share of the items of two lists of one name, from two downloads, from which on they are one list."""
ONCE = frozenset((LIKED.id, ALBUMS.id, ARTISTS.id))
"""Lists that everybody has once."""


@dataclass
class _List:
    id: str
    number: int
    key: str
    download: tuple[str, ...]
    items: set[int] = field(default_factory=set)
    length: int = 0
    """The position of the next item that another copy adds."""


class Lists:
    """What was read of lists so far; a few dozen bytes per item."""

    def __init__(self) -> None:
        self._of: dict[str, _List] = {}
        """The list that the rows of an id belong to: of a copy, the first one."""
        self._named: dict[str, list[_List]] = {}

    def merge(self, rows: pl.DataFrame, download: tuple[str, ...]) -> pl.DataFrame:
        """Return music with ``again``: why a row does not count, null where it does. Copies get the id of the first.

        Parameters
        ----------
        rows
            Items with ``playlist_id, playlist_name, playlist_position, position, artists, track_name, album_name``.
        download
            Which download they are of: lists of one download are all different.
        """
        import polars as pl

        text = (pl.col("artists").list.first(), pl.col("track_name"), pl.col("album_name"))
        artist, track, album = (name.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", "") for name in text)
        title = pl.coalesce(track.replace("", None), album, pl.lit(""))
        rows = rows.with_columns(pl.struct(artist.alias("artist"), title.alias("title")).hash().alias("item"))
        parts = rows.partition_by("playlist_id", maintain_order=True) or [rows]
        return pl.concat([self._merged(part, download) for part in parts]).drop("item")

    def _merged(self, rows: pl.DataFrame, download: tuple[str, ...]) -> pl.DataFrame:
        import polars as pl

        if rows.is_empty():
            return rows.with_columns(pl.lit(None, pl.String).alias("again"))
        items, mine = rows["item"].to_list(), rows["playlist_id"][0]
        target = self._of.get(mine) or self._new(mine, rows, download)
        copied = target.id != mine or target.id in ONCE
        again: list[str | None] = [None] * len(items)
        places: list[int] = rows["position"].to_list()
        if copied:  # Else a list may name a track twice.
            for at, item in enumerate(items):
                again[at] = AGAIN if item in target.items else None
                places[at] = target.length
                if again[at] is None:
                    target.items.add(item)
                    target.length += 1
        else:
            target.items.update(items)
            target.length = max(target.length, max(places) + 1)
        return rows.with_columns(
            pl.lit(target.id).alias("playlist_id"),
            pl.lit(target.number, pl.Int32).alias("playlist_position"),
            pl.Series("position", places, pl.Int32),
            pl.Series("again", again, pl.String),
        )

    def _new(self, mine: str, rows: pl.DataFrame, download: tuple[str, ...]) -> _List:
        title = rows["playlist_name"][0] or ""
        key = re.sub(r"[\W_]+", "", title.casefold()) or title
        items = set(rows["item"])
        for earlier in self._named.get(key, ()) if key and mine not in ONCE else ():
            if earlier.download != download:
                least = min(len(items), len(earlier.items))
                if len(items & earlier.items) >= SAME_SHARE * max(1, least):
                    self._of[mine] = earlier
                    return earlier
        made = _List(mine, rows["playlist_position"][0], key, download)
        self._of[mine] = made
        self._named.setdefault(key, []).append(made)
        return made
