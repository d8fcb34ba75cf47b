"""Slices of the Million Playlist Dataset, ``mpd.slice.<first>-<last>.json``, packed with gzip or not, and subsets.

The dataset tells no listeners apart, so every playlist is a user of its own.
"""

from __future__ import annotations

import filecmp
import io
import json
import re
import reprlib
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_dag.sources.base import Batch, Fault, SourceError, clean, files_version, rejects_of, texts
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.packed import ARCHIVES, folders_near, opened

if TYPE_CHECKING:
    import polars as pl

SLICES = "mpd.slice.*.json*"
TEXT_FIELDS = {
    "track_id": "track_uri",
    "track_name": "track_name",
    "album_name": "album_name",
    "artist_id": "artist_uri",
    "artist_name": "artist_name",
}
"""Record columns and the fields of a track they come from; subsets lack some of them."""
ENRICHED_FIELDS = {name: name for name in ("release_year", "popularity", "explicit")}
"""The same for what only enriched copies of the dataset have."""
REMEDY = "Give the unpacked folder of the dataset (mpd.slice.*.json), or one of its slices."


class _BrokenSliceError(Exception):
    """A slice without readable playlists. Its arguments are the reason and what stands there instead."""


class _Playlist(NamedTuple):
    pid: int
    user_id: str
    name: Any
    tracks: list[Any]


class _Item(NamedTuple):
    """A track in its place, as the slice has it."""

    playlist: _Playlist
    row: int
    track: Any

    def fault(self, field: str, value: Any, reason: str, *, dropped: bool) -> Fault:
        return Fault(self.row, self.playlist.user_id, field, _shown(value), reason, dropped)


@dataclass(frozen=True)
class MpdSource:
    """The playlists of one slice, or of all slices in a folder and in the folders one and two below it.

    Raises
    ------
    SourceError
        If there is no such path, no slice at it, or none that begins as one.
    """

    path: Path
    name = "mpd"

    def __post_init__(self) -> None:
        slices = self._slices()
        starts: list[str] = []
        for file in slices:
            try:
                starts.append(_start(file))
            except SourceError:
                if len(slices) == 1:
                    raise
        if not any(start.startswith(("{", "[")) for start in starts):
            start = starts[0][:40] if starts else ""
            raise SourceError(
                f"'{slices[0]}' is not a slice: it {f'begins with {start!r}' if start else 'is empty'}. {REMEDY}"
            )

    def version(self) -> str:
        """Return a fingerprint of the slices by name, size and time of change."""
        return files_version(self._slices())

    def n_batches(self) -> int:
        """Return the number of slices."""
        slices, copies = self._found()
        return len(slices) + len(copies)

    def batches(self) -> Iterator[Batch]:
        """Yield one batch per slice. A slice that cannot be read is one reject, and so is a copy of one.

        Raises
        ------
        SourceError
            If no slice can be read.
        """
        slices, again = self._found()
        seen: set[int] = set()
        broken: list[str] = []
        for file in slices:
            try:
                batch = _read(file, seen)
            except _BrokenSliceError as error:
                reason, value = error.args
                broken.append(reason)
                batch = _batch([], [Fault(None, None, "slice", value, reason)], file)
            yield batch
        for file, first in again:
            fault = Fault(None, None, "slice", str(file), f"not read: a copy of {first}", dropped=False)
            yield _batch([], [fault], file)
        if len(broken) == len(slices):
            raise SourceError(f"No slice can be read, of {len(slices)}: '{slices[0]}' is {broken[0]}. {REMEDY}")

    def artist_genres(self) -> None:
        """Return None: the dataset names no genres."""

    def _slices(self) -> list[Path]:
        return self._found()[0]

    def _found(self) -> tuple[list[Path], list[tuple[Path, Path]]]:
        """Return the slices in order, and copies of them in other folders, each with the first."""
        if self.path.is_file():
            return [self.path], []
        if not self.path.is_dir():
            raise SourceError(f"There is no file or folder '{self.path}'. {REMEDY}")
        slices: dict[Path, str] = {}
        again: list[tuple[Path, Path]] = []
        for folder in folders_near(self.path):
            # In one folder, a slice that is there packed and unpacked is one.
            here = {file.name.removesuffix(".gz"): file for file in sorted(folder.glob(SLICES), reverse=True)}
            for name, file in sorted(here.items()):
                if not (name.endswith(".json") and file.is_file()):
                    continue
                same = (first for first, other in slices.items() if other == name and _is_copy(file, first))
                if (first := next(same, None)) is None:
                    slices[file] = name
                else:
                    again.append((file, first))
        if slices:
            # By length first: slice 2000-2999 comes before slice 10000-10999.
            return sorted(slices, key=lambda file: (len(slices[file]), slices[file])), again
        entries = ", ".join(sorted(entry.name for entry in self.path.glob("*"))[:5]) or "nothing"
        packed = next((entry for entry in sorted(self.path.iterdir()) if entry.suffix.lower() in ARCHIVES), None)
        if packed is not None:
            raise SourceError(f"'{packed}' is an archive. Unpack it, and give the folder.")
        raise SourceError(f"'{self.path}' does not hold slices of the dataset; it holds {entries}. {REMEDY}")


def _is_copy(file: Path, other: Path) -> bool:
    return file.stat().st_size == other.stat().st_size and filecmp.cmp(file, other, shallow=False)


def _start(file: Path) -> str:
    with opened(file) as stream:
        return "".join(Decoder(io.BytesIO(stream.read(1024))).blocks()).lstrip()


def _read(file: Path, seen: set[int]) -> Batch:
    """Return the playlists of a slice with a pid that is not in ``seen``, and add theirs to it."""
    playlists: list[_Playlist] = []
    faults: list[Fault] = []
    for place, item in enumerate(_items(file)):
        parsed = _playlist(item, place, seen)
        if isinstance(parsed, Fault):
            faults.append(parsed)
        else:
            seen.add(parsed.pid)
            playlists.append(parsed)
    return _batch(playlists, faults, file)


def _items(file: Path) -> list[Any]:
    """Return the list of playlists of a slice as it was parsed."""
    try:
        with opened(file) as stream:
            text = "".join(Decoder(stream).blocks())
        # Not strict: a bare control character in a title is no reason to stop.
        content = json.loads(text, strict=False)
    except json.JSONDecodeError as error:
        around = error.doc[max(0, error.pos - 40) : error.pos + 40]
        raise _BrokenSliceError(f"not JSON: {error}", around) from error
    except (SourceError, ValueError, RecursionError, zlib.error) as error:
        raise _BrokenSliceError(f"not readable: {error}", None) from error
    playlists = content.get("playlists") if isinstance(content, dict) else content
    if not isinstance(playlists, list):
        raise _BrokenSliceError("without a list of playlists", _shown(content))
    return playlists


def _playlist(item: Any, place: int, seen: set[int]) -> _Playlist | Fault:
    if not isinstance(item, dict):
        return Fault(None, None, "playlist", _shown(item), f"item {place} of the slice is not an object")
    pid: Any = item.get("pid")
    if not re.fullmatch("[0-9]{1,18}", str(pid)):
        return Fault(None, None, "pid", _shown(pid), f"item {place} of the slice has no whole number as pid")
    tracks: Any = item.get("tracks")
    playlist = _Playlist(int(pid), f"mpd-{int(pid)}", item.get("name"), tracks)
    if not isinstance(tracks, list):
        return Fault(None, playlist.user_id, "tracks", _shown(tracks), "not a list")
    if playlist.pid in seen:
        return Fault(None, playlist.user_id, "pid", _shown(pid), "the same as of an earlier playlist")
    return playlist


def _batch(playlists: Sequence[_Playlist], faults: Sequence[Fault], file: Path) -> Batch:
    import polars as pl

    items = [_Item(playlist, row, track) for playlist in playlists for row, track in enumerate(playlist.tracks)]
    no_tracks = [
        item.fault("track", item.track, "not an object", dropped=True)
        for item in items
        if not isinstance(item.track, dict)
    ]
    rows, no_texts = _rows([item for item in items if isinstance(item.track, dict)])
    batch = clean(rows, file=file.name)
    rejects = pl.concat([rejects_of([*faults, *no_tracks, *no_texts], file=file.name), batch.rejects])
    read = pl.DataFrame(
        {"user_id": [p.user_id for p in playlists], "rows_read": [len(p.tracks) for p in playlists]},
        schema=batch.rows_read.schema,
    )
    return Batch(batch.records, rejects, read)


def _rows(items: Sequence[_Item]) -> tuple[pl.DataFrame, list[Fault]]:
    """Return the tracks as rows for `clean`, and a fault for everything that cannot be a name."""
    import polars as pl

    columns = {"playlist_name": [item.playlist.name for item in items]}
    for column, field in (TEXT_FIELDS | ENRICHED_FIELDS).items():
        columns[column] = [item.track.get(field) for item in items]
    faults = []
    for column in ("playlist_name", *TEXT_FIELDS):
        for place, value in enumerate(columns[column]):
            if isinstance(value, (dict, list, bool)):
                faults.append(items[place].fault(column, value, "not text", dropped=False))
                columns[column][place] = None
    position = pl.Series([item.row for item in items], dtype=pl.Int64)
    rows = pl.DataFrame({column: texts(values) for column, values in columns.items()}).with_columns(
        pl.col("track_id", "artist_id").str.extract(r"([^:/?]+)(?:\?.*)?$"),
        texts([item.playlist.user_id for item in items]).alias("user_id"),
        texts([str(item.playlist.pid) for item in items]).alias("playlist_id"),
        pl.lit(0).alias("playlist_position"),
        position.alias("position"),
        position.alias("row"),
    )
    return rows, faults


def _shown(value: Any) -> str | None:
    # reprlib: no value is too long or too deep for it, and it escapes what UTF-8 cannot hold.
    return None if value is None else reprlib.repr(value)
