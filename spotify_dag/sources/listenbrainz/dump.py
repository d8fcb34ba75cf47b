"""ListenBrainz' dumps, as downloaded: read as a stream, counted on the way, never unpacked.

A dump is read once. What is kept is a base: how often each user played each track, in parts of users, under
``listenbrainz-dump/`` in the data root. Listens are counted in blocks, and each block adds a few rows to every part; so
memory does not grow with the dump. The base remembers up to where it was read. A killed reader cuts its parts back to
there and goes on: what was read before is only decompressed. Incremental dumps are added to the base of the full dump
before them; a new full dump makes a new base, which is how deletions arrive.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from spotify_dag.files import write_atomically
from spotify_dag.locks import locked
from spotify_dag.schemas import RAW_PLAYLISTS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.sources.base import (
    COUNTED,
    RECORD_COLUMNS,
    Batch,
    Fault,
    ResumeLaterError,
    SourceError,
    files_version,
    rejects_of,
)
from spotify_dag.sources.listenbrainz.listens import COUNTS, LISTENS, NO_JSON, batch, count_lines, merged, no_counts
from spotify_dag.sources.listenbrainz.names import user_id_of
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

BLOCK_BYTES = 1 << 26
"""Read at a time: some 80,000 to 200,000 listens."""
BLOCKS_SAVED = 8
"""Blocks after which the base remembers where it is."""
PART_BYTES = 1 << 25
"""Of a dump, compressed: so much of it makes one part of the base."""
MOST_PARTS = 256
BATCH_ROWS = 500_000
BUSY_SECONDS = 60.0
LONGEST_LINE = 1 << 20
_PACKED_BYTES = 1 << 16
"""Decompressed at a time: what comes out is many times as much."""
_PIECE_BYTES = 1 << 18
"""Taken from the archive at a time: four times as fast as 64 MiB in one go, which would be copied again and again."""
COUNTERS = min(os.cpu_count() or 1, 4)
"""Threads that count blocks. Memory grows with them: each holds a block, and one more is being read."""
_PLACED: Any = {"user_name": str, "part": int}
_NAMED = re.compile(r"listenbrainz-(?:listens|spark)-dump-(\d+)-(\d{8}-\d{6})-(full|incremental)\.tar(?:\.zst)?")
REMEDY = (
    "Give a dump as downloaded, listenbrainz-listens-dump-…-full.tar.zst or listenbrainz-spark-dump-…-full.tar, or a "
    "folder with a full one and the incremental ones after it."
)


@dataclass
class _Base:
    """How far the base of one full dump was read."""

    files: list[str]
    """The file of each part: users are divided into so many. What is written anew gets another name."""
    done: list[str] = field(default_factory=list)
    """Dumps that are in it whole."""
    reading: str | None = None
    """The dump that was read in part."""
    offset: int = 0
    """Bytes of it, decompressed, that are in the base."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of each part that belong to that."""
    unreadable: int = 0
    """Lines that are no JSON."""


@dataclass(frozen=True)
class ListenBrainzDump:
    """The users of a full dump of ListenBrainz, and of the incremental dumps after it.

    Parameters
    ----------
    path
        A dump, or a folder with dumps: the newest full one counts, and the incremental ones after it.
    settings
        Of the installation: how active a user has to be, and where the base is kept.

    Raises
    ------
    SourceError
        If there is no dump.
    """

    path: Path
    settings: Settings
    name = "listenbrainz-dump"

    def __post_init__(self) -> None:
        for dump in self.dumps():
            with dump.open("rb") as file:
                start = file.read(512)
            if dump.name.endswith(".zst") and not start.startswith(b"\x28\xb5\x2f\xfd"):
                raise SourceError(f"'{dump}' is no zstd file. {REMEDY}")

    def dumps(self) -> list[Path]:
        """Return the dumps to read: a full one, and the incremental ones after it in their order."""
        if self.path.is_file():
            return [self.path]
        named = sorted(
            (int(match[1]), match[3], file)
            for file in (self.path.iterdir() if self.path.is_dir() else ())
            if (match := _NAMED.fullmatch(file.name))
        )
        full = [number for number, kind, _ in named if kind == "full"]
        if not named:
            raise SourceError(f"'{self.path}' is no dump of ListenBrainz. {REMEDY}")
        if not full:
            raise SourceError(f"'{self.path}' has incremental dumps, and no full one. {REMEDY}")
        dumps = [file for number, kind, file in named if number == full[-1] and kind == "full"][-1:]
        return dumps + [file for number, kind, file in named if number > full[-1] and kind == "incremental"]

    def version(self) -> str:
        """Return a fingerprint of the dumps by name, size and time of change, and of who counts."""
        return f"{files_version(self.dumps())}-{self.settings.listenbrainz_least_listens}"

    def n_batches(self) -> None:
        """Return None: only reading tells."""

    def artist_genres(self) -> None:
        """Return None: a dump has no genres. Those that were read of ListenBrainz' users count."""

    def batches(self) -> Iterator[Batch]:
        """Yield the active users, the most active ones first where not all are asked for.

        Raises
        ------
        SourceError
            If a dump is damaged. What was read before stays.
        ResumeLaterError
            If another process is reading it.
        """
        folder = self._folder
        with locked(folder.with_suffix(".lock"), wait=False) as alone:
            if not alone:
                raise ResumeLaterError(time.time() + BUSY_SECONDS, "Another process is reading the dump.")
            base = self._brought_up_to_date(folder)
            for other in folder.parent.iterdir():
                if other.is_dir() and other != folder:
                    shutil.rmtree(other)  # of a full dump before this one
            yield from self._batches(folder, base)

    @property
    def _folder(self) -> Path:
        full, *_ = self.dumps()
        named = hashlib.sha256(files_version([full]).encode()).hexdigest()[:12]
        return self.settings.local_data / self.name / named

    def _brought_up_to_date(self, folder: Path) -> _Base:
        """Read what is not in the base yet."""
        dumps = self.dumps()
        folder.mkdir(parents=True, exist_ok=True)
        state = folder / "base.json"
        if state.is_file():
            base = _Base(**json.loads(state.read_bytes()))
        else:
            parts = min(max(dumps[0].stat().st_size // PART_BYTES, 1), MOST_PARTS)
            base = _Base([_new_name() for _ in range(parts)], sizes=[0] * parts)
        for dump in dumps:
            if dump.name in base.done:
                continue
            if base.reading != dump.name:
                base.reading, base.offset = dump.name, 0
            self._read(dump, folder, base)
            base.done.append(dump.name)
            base.reading, base.offset = None, 0
            self._compact(folder, base)
        return base

    def _read(self, dump: Path, folder: Path, base: _Base) -> None:
        """Count the listens of a dump into the parts of the base, from where it was left."""
        for name, size in zip(base.files, base.sizes, strict=True):
            (folder / name).touch()
            os.truncate(folder / name, size)
        waiting: list[pl.DataFrame] = []
        for number, (counts, unreadable, end) in enumerate(_counted_ahead(_blocks(dump, base.offset)), 1):
            base.unreadable += unreadable
            waiting.append(counts)
            if number % BLOCKS_SAVED == 0:
                self._save(waiting, folder, base, end)
                waiting = []
        if waiting:
            self._save(waiting, folder, base, end)

    def _save(self, counts: Sequence[pl.DataFrame], folder: Path, base: _Base, end: int) -> None:
        """Add counts to the parts of the base, and remember that they are there."""
        import polars as pl

        # Not merged: that is done once, when the dump is read. Few tracks come twice in so short a time.
        rows = pl.concat(counts).drop_nulls("user_name")
        names = rows["user_name"].unique().to_list()
        ids = [user_id_of(name) for name in names]
        placed = pl.DataFrame({"user_name": names, "part": user_buckets(ids, len(base.files))}, schema=_PLACED)
        forgotten = Tombstones(self.settings.data).among(ids)
        placed = placed.filter(~pl.Series([user_id in forgotten for user_id in ids], dtype=pl.Boolean))
        parted = rows.join(placed, on="user_name").partition_by("part", as_dict=True, include_key=False)
        for (part,), frame in parted.items():
            with (folder / base.files[part]).open("ab") as file:
                file.write(_packed(frame.select(COUNTS)))
                file.flush()
                os.fsync(file.fileno())
        base.offset, base.sizes = end, [(folder / name).stat().st_size for name in base.files]
        _write(folder, base)

    def _compact(self, folder: Path, base: _Base) -> None:
        """Write every part anew, each track of a user once."""
        before = base.files
        base.files = [_new_name() for _ in before]
        for old, new in zip(before, base.files, strict=True):
            write_atomically(folder / new, _packed(merged([_counts_in(folder / old)])))
        base.sizes = [(folder / name).stat().st_size for name in base.files]
        _write(folder, base)

    def _batches(self, folder: Path, base: _Base) -> Iterator[Batch]:
        import polars as pl

        chosen = self._chosen(folder, base)
        for name in base.files:
            counts = _counts_in(folder / name).join(chosen, on="user_name", how="semi")
            ids = counts.select(pl.col("user_name").unique(maintain_order=True))
            ids = ids.with_columns(pl.Series("user_id", [*map(user_id_of, ids["user_name"])], pl.String))
            counts = counts.join(ids, on="user_name").sort("user_id")
            for start, length in _whole_users(counts):
                yield batch({LISTENS: counts.slice(start, length)})
        if base.unreadable:
            yield _unreadable(base.unreadable)

    def _chosen(self, folder: Path, base: _Base) -> pl.DataFrame:
        """Return the users with enough listens (column ``user_name``): of them the most active ones."""
        import polars as pl

        empty = no_counts().select("user_name", "plays")
        per_part = [_counts_in(folder / name).group_by("user_name").agg(pl.col("plays").sum()) for name in base.files]
        active = pl.concat([empty, *per_part]).filter(pl.col("plays") >= self.settings.listenbrainz_least_listens)
        active = active.filter(~pl.col("user_name").is_in(self._forgotten(active["user_name"].to_list())))
        ranked = active.sort("plays", "user_name", descending=[True, False])
        most = self.settings.profiles_count
        return (ranked if most is None else ranked.head(most)).select("user_name")

    def _forgotten(self, names: Sequence[str]) -> list[str]:
        ids = {user_id_of(name): name for name in names}
        return [ids[user_id] for user_id in Tombstones(self.settings.data).among(ids)]


def drop_dumped_user(data: Path, user_id: str) -> int:
    """Delete a user from the bases under a data root; return the rows that were deleted."""
    deleted = 0
    for state in sorted((data / ListenBrainzDump.name).glob("*/base.json")):
        folder = state.parent
        with locked(folder.with_suffix(".lock")):
            base = _Base(**json.loads(state.read_bytes()))
            for part, name in enumerate(base.files):
                # Beyond its size is what a killed reader left, which the next one cuts off.
                os.truncate(folder / name, base.sizes[part])
                counts = _counts_in(folder / name)
                theirs = [named for named in counts["user_name"].unique() if user_id_of(named) == user_id]
                if theirs:
                    left = counts.filter(~counts["user_name"].is_in(theirs))
                    deleted += counts.height - left.height
                    base.files[part] = _new_name()
                    write_atomically(folder / base.files[part], _packed(left))
                    base.sizes[part] = (folder / base.files[part]).stat().st_size
            _write(folder, base)
    return deleted


def drop_old_bases(data: Path, before: float) -> int:
    """Delete the bases that were read before a time (seconds since 1970); return how many. Their dumps stay."""
    old = [
        state.parent for state in (data / ListenBrainzDump.name).glob("*/base.json") if state.stat().st_mtime < before
    ]
    for folder in old:
        shutil.rmtree(folder)
    return len(old)


def _new_name() -> str:
    return f"{uuid4().hex[:12]}.counts"


def _write(folder: Path, base: _Base) -> None:
    """Remember how far a base was read, in one step; then delete the files that are none of it."""
    write_atomically(folder / "base.json", json.dumps(asdict(base)).encode())
    for file in folder.glob("*.counts"):
        if file.name not in base.files:
            file.unlink()


@dataclass(frozen=True)
class _Block:
    """Some listens of a dump."""

    count: Callable[[], tuple[pl.DataFrame, int]]
    """Returns their counts, and how many lines could not be read."""
    end: int
    """Bytes of the decompressed dump up to the end of the block."""


def _counted_ahead(blocks: Iterable[_Block]) -> Iterator[tuple[pl.DataFrame, int, int]]:
    """Yield counts, unreadable lines and end of each block in their order, the next ones being counted meanwhile."""
    with ThreadPoolExecutor(COUNTERS, "count") as pool:
        waiting: deque[tuple[Future[tuple[pl.DataFrame, int]], int]] = deque()
        for block in blocks:
            waiting.append((pool.submit(block.count), block.end))
            if len(waiting) > COUNTERS:
                counted, end = waiting.popleft()
                yield *counted.result(), end
        for counted, end in waiting:
            yield *counted.result(), end


def _blocks(dump: Path, offset: int) -> Iterator[_Block]:
    """Yield the listens of a dump after ``offset`` bytes of it.

    Raises
    ------
    SourceError
        If it is cut short or damaged.
    """
    import zstandard

    try:
        with _decompressed(dump) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                start, end = member.offset_data, member.offset_data + member.size
                if end <= offset or not member.isfile():
                    continue
                content = archive.extractfile(member)
                if content is None:
                    continue
                if member.name.endswith(".listens"):
                    skipped = max(0, offset - start)
                    _skip(content, skipped)
                    yield from _lines_of(content, start + skipped)
                elif member.name.endswith(".parquet"):
                    yield from _rows_of(content, end)
    except (zstandard.ZstdError, tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(
            f"'{dump}' cannot be read to its end: {error}. Download it again, and give it the same name: what was "
            "read of it stays"
        ) from error


@contextmanager
def _decompressed(dump: Path) -> Iterator[IO[bytes]]:
    with dump.open("rb") as file:
        if dump.name.endswith(".zst"):
            yield io.BufferedReader(_Frames(file), 1 << 20)
        else:
            yield file


class _Frames(io.RawIOBase):
    """What a zstd file holds. One that ends within a frame raises `EOFError`, which zstandard's reader does not."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._file = file
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
        self._frame: Any = None
        self._held = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; 0 at the end."""
        while not self._held:
            rest = b""
            if self._frame is not None and self._frame.eof:
                rest, self._frame = self._frame.unused_data, None
            packed = rest or self._file.read(_PACKED_BYTES)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it is cut short")
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            self._held = memoryview(self._frame.decompress(packed))
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        return size


def _skip(content: IO[bytes], size: int) -> None:
    while size > 0 and (read := len(content.read(min(size, _PIECE_BYTES)))):
        size -= read


def _lines_of(content: IO[bytes], start: int) -> Iterator[_Block]:
    """Yield the listens of one month, a block of whole lines at a time; lines are copied once."""
    pieces, size = [b""], 0
    while piece := content.read(min(_PIECE_BYTES, BLOCK_BYTES)):
        start += len(piece)
        whole, newline, rest = piece.rpartition(b"\n")
        if newline and size + len(whole) >= BLOCK_BYTES:
            yield _Block(partial(_counted, b"".join([*pieces, whole])), start - len(rest))
            pieces, size = [rest], len(rest)
        elif size < BLOCK_BYTES + LONGEST_LINE:
            pieces.append(piece)
            size += len(piece)
        else:  # no line is that long: what it holds is lost, and what follows is not
            whole, _, _ = b"".join(pieces).rpartition(b"\n")
            yield _Block(partial(_counted, whole), start)
            pieces, size = [b""], 0
    if size:
        yield _Block(partial(_counted, b"".join(pieces)), start)


def _counted(lines: bytes) -> tuple[pl.DataFrame, int]:
    """Count whole lines of JSON. They are not copied: each string of the table is a piece of them."""
    import numpy as np
    import pyarrow as pa

    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n")) + 1
    bounds = np.concatenate(([0], ends, [len(lines)])).astype(np.int64)
    pieces = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(lines))
    try:
        pieces.validate(full=True)
    except pa.ArrowInvalid:  # somewhere it is no UTF-8
        return _counted(lines.decode(errors="replace").encode())
    table = pa.table({"line": pieces})
    empty = np.diff(bounds) < 2
    return count_lines(table.filter(pa.array(~empty)) if empty.any() else table)


def _rows_of(content: IO[bytes], end: int) -> Iterator[_Block]:
    """Yield the listens of one file of the variant for Spark, which names users by number where it names none."""
    import polars as pl
    import pyarrow.parquet as pq

    buffer = io.BytesIO(content.read())
    try:
        file = pq.ParquetFile(buffer)
    except (OSError, ValueError) as error:
        raise SourceError(f"A table of the dump cannot be read: {error}. {REMEDY}") from error
    counts = []
    for rows in file.iter_batches(200_000):
        table: pl.DataFrame = pl.DataFrame(rows)
        counts.append(_counts_of_table(table))
    whole = merged(counts)  # at once: one file is held, and not one for each thread
    yield _Block(lambda: (whole, 0), end)


def _counts_of_table(table: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    def first(*names: str) -> pl.Expr:
        present = [pl.col(name).cast(pl.String) for name in names if name in table.columns]
        return pl.coalesce(present) if present else pl.lit(None, pl.String)

    ids = next((name for name in ("artist_credit_mbids", "artist_mbids") if name in table.columns), None)
    user = first("user_name") if "user_name" in table.columns else pl.format("#{}", first("user_id"))
    named = table.select(
        user.alias("user_name"), first("artist_name").alias("artists"),
        (pl.lit(None, pl.String) if ids is None else pl.col(ids).list.first()).alias("artist_id"),
        first("recording_name", "track_name").alias("track_name"), first("recording_mbid").alias("track_id"),
        first("release_name").alias("album_name"), pl.lit(1, pl.Int64).alias("plays"),
    )  # fmt: skip
    return merged([named.select(COUNTS)])


def _packed(frame: pl.DataFrame) -> bytes:
    """Return a frame as bytes that can stand one after the other."""
    buffer = io.BytesIO()
    frame.write_ipc(buffer, compression="lz4")
    return len(buffer.getbuffer()).to_bytes(8, "little") + buffer.getvalue()


def _counts_in(file: Path) -> pl.DataFrame:
    """Return the counts in a part of the base: each track of a user once, where the dump was read whole."""
    import polars as pl

    frames = [no_counts()]
    with file.open("rb") as content:
        while head := content.read(8):
            frames.append(pl.read_ipc(io.BytesIO(content.read(int.from_bytes(head, "little")))))
    return pl.concat(frames)


def _whole_users(counts: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Yield ``(start, length)`` of rows, sorted by user, about `BATCH_ROWS` at a time, no user in two."""
    import polars as pl

    sizes = counts.group_by("user_id", maintain_order=True).agg(pl.len())["len"].to_list()
    start = length = 0
    for size in sizes:
        if length and length + size > BATCH_ROWS:
            yield start, length
            start, length = start + length, 0
        length += size
    if length:
        yield start, length


def _unreadable(count: int) -> Batch:
    """Return a batch of no user that says how many lines could not be read."""
    import polars as pl

    fault = Fault(0, None, COUNTED, str(count), NO_JSON)
    nobody = pl.DataFrame(schema={"user_id": pl.String, "rows_read": pl.UInt32})
    return Batch(RAW_PLAYLISTS.empty().select(RECORD_COLUMNS), rejects_of([fault], file="dump"), nobody)
