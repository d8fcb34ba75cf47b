"""Plays of any number become one list: how often each track was played."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.sources.base import RECORD_COLUMNS, Fault, excerpt
from spotify_dag.sources.export.rows import Playlist

if TYPE_CHECKING:
    import polars as pl

SHORTEST_MS = 30_000
"""Milliseconds. Spotify too counts a stream from 30 seconds on."""
SHORT, PRIVATE, AGAIN = "played for less than 30 s", "played in a private session", "the same play again"
PLAYED = Playlist("plays", 0)
HELD_ROWS = 200_000
"""Rows of tracks gathered before they are summed up."""


class Plays:
    """Counts plays in bounded memory: 8 bytes per play, and a row per track.

    The history of the last year is part of the extended one, and downloads overlap. A play is known by the minute it
    ended in, its milliseconds and its names.
    """

    def __init__(self) -> None:
        import polars as pl

        self._seen = pl.Series("play", dtype=pl.UInt64)
        self._tracks = [RAW_PLAYLISTS.empty().select(RECORD_COLUMNS)]
        self._held = 0

    def judge(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
        """Add ``skipped`` to plays that do not count; return them all, and faults of those without a length.

        Parameters
        ----------
        rows
            As `account.read_plays` gives them.
        """
        import polars as pl

        length = pl.col("milliseconds").cast(pl.Float64, strict=False)
        wrong = pl.col("skipped").is_null() & (length.is_null() | length.is_nan())
        bad = rows.filter(wrong).select("row", excerpt(pl.col("milliseconds")))
        faults = [
            Fault(row, None, "ms_played", value, "not a number of milliseconds") for row, value in bad.iter_rows()
        ]
        minute = pl.col("ended").str.replace("T", " ").str.head(len("2026-01-01 00:00"))
        play = pl.struct(minute, length, "track_name", "artist_name").hash()
        rows = rows.filter(~wrong).with_columns(
            pl.coalesce(
                "skipped",
                pl.when(pl.col("incognito").is_not_null()).then(pl.lit(PRIVATE)),
                pl.when(length < SHORTEST_MS).then(pl.lit(SHORT)),
            ).alias("skipped"),
            pl.when(pl.col("ended").is_not_null()).then(play).alias("play"),
            pl.lit(1).alias("plays"),
        )
        counts = pl.col("skipped").is_null() & pl.col("play").is_not_null()
        again = counts & (pl.col("play").is_in(self._seen.implode()) | ~pl.col("play").is_first_distinct().over(counts))
        rows = rows.with_columns(pl.when(again).then(pl.lit(AGAIN)).otherwise("skipped").alias("skipped"))
        self._seen = pl.concat([self._seen, rows.filter(pl.col("skipped").is_null())["play"].drop_nulls()])
        return rows, faults

    def add(self, records: pl.DataFrame) -> None:
        """Count clean records, one per play."""
        self._tracks.append(_summed(records))
        self._held += records.height
        if self._held > HELD_ROWS:
            self._sum_up()

    def library(self) -> pl.DataFrame:
        """Return one record per track, most played first."""
        import polars as pl

        self._sum_up()
        order = ["plays", "artist_name", "track_name"]
        return (
            self._tracks[0]
            .sort(order, descending=[True, False, False])
            .with_columns(
                pl.lit(PLAYED.id).alias("playlist_id"),
                pl.lit(PLAYED.position, pl.Int32).alias("playlist_position"),
                pl.int_range(pl.len(), dtype=pl.Int32).alias("position"),
            )
        )

    def _sum_up(self) -> None:
        import polars as pl

        self._tracks, self._held = [_summed(pl.concat(self._tracks))], 0


def _summed(records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per artist and title. Of several ids (a single, an album) the least: any, but always the same."""
    import polars as pl

    names = ["artist_name", "track_name"]
    return records.group_by(names).agg(pl.col("plays").sum(), pl.exclude("plays", *names).min()).select(RECORD_COLUMNS)
