"""What the tests of exported files share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.sources.export.kept import KEPT_COLUMNS
from spotify_dag.sources.export.reading import Reading


@dataclass(frozen=True)
class Read:
    """Everything that was read of one person."""

    reading: Reading
    records: pl.DataFrame
    rejects: pl.DataFrame

    def titles(self, playlist: str | None = None) -> list[str]:
        """Return the titles kept, of one list where it is named, in order."""
        rows = self.records if playlist is None else self.records.filter(playlist_id=playlist)
        return rows["track_name"].to_list()


def read(*paths: Path) -> Read:
    """Read one person's files."""
    reading = Reading(paths, "export-anna")
    frames = list(reading.frames())
    assert all(frame.columns == KEPT_COLUMNS for frame in frames)
    rows = pl.concat(frames)
    assert set(rows["user_id"]) == {"export-anna"}
    assert not rows.select("user_id", "playlist_id", "position").filter(rows["reason"].is_null()).is_duplicated().any()
    return Read(reading, rows.filter(pl.col("reason").is_null()), rows.filter(pl.col("reason").is_not_null()))


@pytest.fixture
def read_file(tmp_path: Path) -> Callable[[str, bytes], Read]:
    """Return a function that reads one file of a name and content."""

    def read_one(name: str, content: bytes) -> Read:
        (tmp_path / name).write_bytes(content)
        return read(tmp_path / name)

    return read_one
