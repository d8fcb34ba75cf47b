"""What every reader of exported files yields: rows in chunks, with the reason why a row is not music."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_dag.sources.base import Fault, texts

if TYPE_CHECKING:
    import polars as pl

CHUNK_ROWS = 10_000
"""Rows held as Python objects at once: some 10 MiB."""

ARTIST_URI = "spotify:artist:([0-9A-Za-z]+)"
"""Its first group is the id."""

PODCAST = "podcasts are not music"
AUDIOBOOK = "audiobooks are not music"
LOCAL = "local files are known to nobody else"
NAMELESS = "Spotify gives no title any more"
UNNAMED = "YouTube gives no artist any more"
BANNED = "banned by the user"
VIDEO = "videos are not music"
NO_PLAYS = "skipped, or not played to its end"
OTHER = "not a list of music"


@dataclass(frozen=True)
class Chunk:
    """Rows of one file, and what was wrong beside them."""

    rows: pl.DataFrame | None
    """Any of ``row, playlist_id, playlist_name, playlist_position, position, track_uri, track_name, artist_id,
    artist_name, artists, album_name, release_year, popularity, explicit``, all but numbers and lists as text, and
    ``skipped``: why a row is not music, null where it is. Of items also ``added_at``. Of plays also
    ``milliseconds, ended, incognito``, or ``played_at`` where they have no length, and ``plays`` where a row is
    several."""
    faults: list[Fault] = field(default_factory=list)


class Playlist(NamedTuple):
    """The list that items belong to."""

    id: str
    position: int
    name: Any = None


class Item(NamedTuple):
    """An item of a list as JSON has it: values may be anything."""

    row: int
    playlist: Playlist
    position: int
    track_name: Any = None
    artist_name: Any = None
    album_name: Any = None
    track_uri: Any = None
    artist_id: Any = None
    artists: Any = None
    skipped: str | None = None
    release_year: Any = None
    added_at: Any = None


def item_chunk(items: Sequence[Item], faults: list[Fault]) -> Chunk:
    """Return items as rows."""
    import polars as pl

    columns = {"playlist_name": [item.playlist.name for item in items]}
    for name in ("track_name", "artist_name", "album_name", "track_uri", "artist_id", "release_year", "added_at"):
        columns[name] = [getattr(item, name) for item in items]
    numbers = [item.row for item in items]
    rows = text_columns(columns, numbers, faults).with_columns(
        pl.col("artist_id").str.extract(ARTIST_URI),
        pl.Series("row", numbers, pl.Int64),
        pl.Series("playlist_id", [item.playlist.id for item in items], pl.String),
        pl.Series("playlist_position", [item.playlist.position for item in items], pl.Int32),
        pl.Series("position", [item.position for item in items], pl.Int32),
        pl.Series("skipped", [item.skipped for item in items], pl.String),
        artist_lists([item.artists for item in items], columns["artist_name"]),
    )
    return Chunk(rows, faults)


def item_chunks(entries: Iterable[Item | Fault]) -> Iterator[Chunk]:
    """Yield items and faults in chunks."""
    items: list[Item] = []
    faults: list[Fault] = []
    for entry in entries:
        if isinstance(entry, Fault):
            faults.append(entry)
        else:
            items.append(entry)
        if len(items) + len(faults) >= CHUNK_ROWS:
            yield item_chunk(items, faults)
            items, faults = [], []
    yield item_chunk(items, faults)


def artist_lists(artists: Sequence[Any], names: Sequence[Any]) -> pl.Series:
    """Return the artists of rows: of each its list where it has one, else its one name."""
    import polars as pl

    one_each = texts(list(names))
    listed = [
        [name for name in names_of_row if isinstance(name, str)]
        if isinstance(names_of_row, list)
        else [name]
        if name
        else []
        for names_of_row, name in zip(artists, one_each, strict=True)
    ]
    lengths = [len(row_names) for row_names in listed]
    flat = texts([name for row_names in listed for name in row_names])
    rows = pl.Series("row", [row for row, length in enumerate(lengths) for _ in range(length)], pl.Int64)
    lists = pl.DataFrame({"row": rows, "artists": flat}).group_by("row", maintain_order=True).agg("artists")
    every = pl.DataFrame({"row": pl.Series(range(len(listed)), dtype=pl.Int64)})
    return every.join(lists, on="row", how="left", maintain_order="left")["artists"].fill_null([])


def text_columns(columns: dict[str, list[Any]], rows: Sequence[int], faults: list[Fault]) -> pl.DataFrame:
    """Return columns as text; what cannot be text is taken out and added to ``faults``."""
    import polars as pl

    for name, values in columns.items():
        if {dict, list, bool}.isdisjoint(map(type, values)):
            continue
        for place, value in enumerate(values):
            if isinstance(value, (dict, list, bool)):
                # Not the value itself: nobody has looked at what is in it.
                faults.append(Fault(rows[place], None, name, type(value).__name__, "not text", dropped=False))
                values[place] = None
    return pl.DataFrame({name: texts(values) for name, values in columns.items()})
