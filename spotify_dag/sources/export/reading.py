"""At the door: what was handed in is read once, and only what the lake needs of it goes on."""

from __future__ import annotations

import itertools
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spotify_dag.sources.base import COUNTED, Fault, SourceError, clean, no_rejects, rejects_of
from spotify_dag.sources.export.account import read_library, read_playlists, read_plays
from spotify_dag.sources.export.archive import Member, members
from spotify_dag.sources.export.exportify import read_table
from spotify_dag.sources.export.kept import kept_frame
from spotify_dag.sources.export.plays import Plays
from spotify_dag.sources.export.rows import Chunk, Playlist

if TYPE_CHECKING:
    import polars as pl

REMEDY = (
    "Give Exportify's CSV files, or Playlist1.json, YourLibrary.json, StreamingHistory_music_0.json or "
    "Streaming_History_Audio_….json of Spotify's own export: one file, a folder or the zip as downloaded."
)
FIRST_PLAYLIST = 4
"""Place of the first playlist: plays, liked songs, albums and artists come before."""
MAX_REJECTS = 10_000
"""Rejects listed one by one; of more, only the number is kept."""
NAMES = (
    (None, re.compile(r"streaming_?history_(podcast|audiobook|video).*", re.IGNORECASE)),
    ("playlists", re.compile(r"playlist.*\.json", re.IGNORECASE)),
    ("library", re.compile(r"yourlibrary.*\.json", re.IGNORECASE)),
    ("plays", re.compile(r"(streaming_history_audio|streaminghistory|endsong).*\.json", re.IGNORECASE)),
    ("table", re.compile(r".*\.csv", re.IGNORECASE)),
)
"""What Spotify and Exportify call their files. Others (payments, searches, addresses) are not even opened."""
HEADS = (
    ("plays", re.compile(rb'"(ms_?played|master_metadata_track_name)"', re.IGNORECASE)),
    ("playlists", re.compile(rb'"(playlists|lastModifiedDate|trackName)"')),
    ("library", re.compile(rb'"(tracks|albums|artists)"')),
    ("table", re.compile(rb"spotify:|Track Name")),
)
"""What the beginning of a file holds: for one file that was handed in under another name."""
HEAD_BYTES = 1 << 16
TRACK_URI = r"^(?:spotify:track:|https://open\.spotify\.com/track/)?([0-9A-Za-z]+)$"

UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
"""What reading a member of an archive raises where the archive is damaged, or packed in a way that Python lacks."""


class Reading:
    """One person's files as records; what was found is counted meanwhile.

    Parameters
    ----------
    path
        A file, a folder or a zip.
    user_id
        Whose listening it is.
    """

    def __init__(self, path: Path, user_id: str) -> None:
        self.path = path
        self.user_id = user_id
        self.files: list[str] = []
        """Files that were read, without folders."""
        self.skipped: Counter[tuple[str, str]] = Counter()
        """Rows that are no music, or do not count, by file and reason."""
        self.kept: Counter[str] = Counter()
        """Rows kept, by list."""
        self.plays = 0
        """Plays that count."""
        self.rejected: Counter[str] = Counter()
        """Rejects, by reason."""
        self._rejects_left = MAX_REJECTS
        self._numbers = itertools.count()

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield what is kept, `kept.KEPT_COLUMNS` in bounded memory; `skipped`, `kept` and so on are whole afterwards.

        Raises
        ------
        SourceError
            If what was handed in cannot be opened, is refused, or holds no listening.
        """
        plays = Plays()
        with members(self.path) as found:
            for member in found:
                if kind := self._kind(member, alone=len(found) == 1):
                    self.files.append(member.name)
                    yield from self._file(kind, member, plays)
        library = plays.library()
        self.plays = int(library["plays"].sum())
        yield self._kept(library, "", [])
        if not self.kept.total():
            raise SourceError(self._why_nothing([member.name for member in found]))
        for (file, reason), count in sorted(self.skipped.items()):
            fault = Fault(None, self.user_id, COUNTED, str(count), reason, dropped=False)
            yield kept_frame(None, rejects_of([fault], file=file))

    def skipped_rows(self) -> Counter[str]:
        """Return how many rows are no music, or do not count, by reason."""
        found: Counter[str] = Counter()
        for (_, reason), count in self.skipped.items():
            found[reason] += count
        return found

    def _kind(self, member: Member, *, alone: bool) -> str | None:
        for kind, name in NAMES:
            if name.fullmatch(member.name):
                return kind
        if not alone:
            return None
        try:
            with member.open() as stream:
                start = stream.read(HEAD_BYTES)
        except UNREADABLE as error:
            raise SourceError(f"Cannot read '{self.path}': {error}. Export it again.") from error
        return next((kind for kind, head in HEADS if head.search(start)), None)

    def _file(self, kind: str, member: Member, plays: Plays) -> Iterator[pl.DataFrame]:
        try:
            with member.open() as stream:
                for chunk in self._chunks(kind, stream, member.path.stem):
                    yield self._judged(chunk, member.name, plays)
        except UNREADABLE as error:  # What came before it is kept.
            fault = Fault(None, self.user_id, "file", None, f"cannot be read on: {error}")
            yield self._kept(None, member.name, [fault])

    def _chunks(self, kind: str, stream: IO[bytes], title: str) -> Iterator[Chunk]:
        if kind == "table":
            return read_table(stream, self._new_playlist(title))
        if kind == "playlists":
            return read_playlists(stream, self._new_playlist)
        return read_library(stream) if kind == "library" else read_plays(stream)

    def _new_playlist(self, name: Any) -> Playlist:
        number = next(self._numbers)
        return Playlist(f"playlist-{number}", FIRST_PLAYLIST + number, name)

    def _judged(self, chunk: Chunk, file: str, plays: Plays) -> pl.DataFrame:
        """Return the records and rejects of a chunk; its plays are counted instead."""
        import polars as pl

        rows, faults = chunk.rows, list(chunk.faults)
        if rows is None:
            return self._kept(None, file, faults)
        played = "milliseconds" in rows.columns
        if played:
            rows, wrong = plays.judge(rows)
            faults += wrong
        for reason, count in rows["skipped"].drop_nulls().value_counts().sort("skipped").iter_rows():
            self.skipped[file, reason] += count
        music = rows.filter(pl.col("skipped").is_null()).with_columns(
            pl.lit(self.user_id).alias("user_id"), pl.col("track_uri").str.extract(TRACK_URI).alias("track_id")
        )
        odd = music.filter(pl.col("track_uri").is_not_null() & pl.col("track_id").is_null())["row"]
        # Not the value itself: in a damaged row it may be part of another one.
        faults += [Fault(row, None, "track_id", None, "not the URI of a track", dropped=False) for row in odd]
        batch = clean(music, file=file)
        if played:
            plays.add(batch.records)
        return self._kept(batch.records.clear() if played else batch.records, file, faults, batch.rejects)

    def _kept(
        self, records: pl.DataFrame | None, file: str, faults: Sequence[Fault], rejects: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Return records and rejects as one frame, and count them."""
        import polars as pl

        of_user = [fault._replace(user_id=self.user_id) for fault in faults]
        found = pl.concat([rejects_of(of_user, file=file), no_rejects() if rejects is None else rejects])
        self.rejected.update(dict(found["reason"].value_counts().iter_rows()))
        listed = found.head(self._rejects_left)
        self._rejects_left -= listed.height
        for reason, count in found.slice(listed.height)["reason"].value_counts().iter_rows():
            self.skipped[file, f"{reason} (more than are listed)"] += count
        if records is not None:
            self.kept.update(dict(records["playlist_id"].value_counts().iter_rows()))
        return kept_frame(records, listed)

    def _why_nothing(self, names: Sequence[str]) -> str:
        if not self.files:
            listed = ", ".join(names[:5]) + (" …" if len(names) > 5 else "") if names else "nothing"
            return f"'{self.path}' holds no file of listening; it holds {listed}. {REMEDY}"
        reasons = self.rejected + self.skipped_rows()
        why = (
            "; ".join(f"{count:,} of its rows: {reason}" for reason, count in reasons.most_common(3)) or "no row at all"
        )
        return f"'{self.path}' holds no listening ({why}). {REMEDY}"
