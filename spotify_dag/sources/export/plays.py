"""Plays of any number and from any service become one list: how often each track was played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.sources.base import RECORD_COLUMNS, Fault, excerpt
from spotify_dag.sources.export.rows import Playlist

if TYPE_CHECKING:
    import polars as pl

SHORTEST_MS = 30_000
"""Milliseconds. Spotify too counts a stream from 30 seconds on."""
SHORT, PRIVATE, AGAIN = "played for less than 30 s", "played in a private session", "the same play again"
ELSEWHERE = "the same play, told by another service"
PLAYED = Playlist("plays", 0)
HELD_ROWS = 200_000
"""Rows of tracks gathered before they are summed up."""
SAME_SECONDS = 120
"""Two services that say a track began within these seconds of each other speak of one play."""
TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%d %b %Y %H:%M:%S", "%d %b %Y %H:%M")
"""How services write a time of theirs, after ``T``, ``Z``, commas and fractions are gone; all in UTC."""


class Plays:
    """Counts plays in bounded memory: 24 bytes per play, and a row per track.

    The history of the last year is part of the extended one, and downloads overlap: a play of Spotify is known by the
    minute it ended in, its milliseconds and its names. Of other services a play is known by its time and names. What
    two services tell is one play where its names are equal and it began within `SAME_SECONDS`.
    """

    def __init__(self) -> None:

        # Sorted: a hash set of all plays, made anew for each batch, would be larger and slower.
        self._seen = np.empty(0, np.uint64)
        self._begun: dict[str, list[pl.DataFrame]] = {}
        self._tracks = [RAW_PLAYLISTS.empty().select(RECORD_COLUMNS)]
        self._held = 0

    def judge(self, rows: pl.DataFrame, service: str) -> tuple[pl.DataFrame, list[Fault]]:
        """Add ``skipped`` to plays that do not count; return them all, and faults of those without a length.

        Parameters
        ----------
        rows
            As `account.read_plays` gives them, with ``milliseconds, ended, incognito``; or as other services do, with
            ``played_at``, without a length, and with ``plays`` where a row is several.
        service
            Where they come from.
        """
        import polars as pl

        faults: list[Fault] = []
        names = (pl.col("artists").list.first(), pl.col("track_name"))
        if "ended" in rows.columns:
            rows, faults = _timed(rows)
            minute = pl.col("ended").str.replace("T", " ").str.head(len("2026-01-01 00:00"))
            play, has_time = pl.struct(minute, "length", *names).hash(), pl.col("ended").is_not_null()
        else:
            began = epoch(rows["played_at"]) if "played_at" in rows.columns else pl.lit(None, pl.Int64).alias("began")
            rows = rows.with_columns(began)
            play, has_time = pl.struct("began", *names).hash(), pl.col("began").is_not_null()
        if "plays" not in rows.columns:
            rows = rows.with_columns(pl.lit(1).alias("plays"))
        rows = rows.with_columns(
            pl.when(has_time).then(play).alias("play"),
            pl.struct(name.str.to_lowercase().str.replace_all(r"[^\p{L}\p{N}]+", "") for name in names)
            .hash()
            .alias("names"),
        )
        counts = pl.col("skipped").is_null() & pl.col("play").is_not_null()
        rows = rows.with_columns(pl.Series("seen", self._are_seen(rows["play"])))
        again = counts & (pl.col("seen") | ~pl.col("play").is_first_distinct().over(counts))
        rows = rows.with_columns(pl.when(again).then(pl.lit(AGAIN)).otherwise("skipped").alias("skipped")).drop("seen")
        rows = self._told_elsewhere(rows, service)
        counted = rows.filter(pl.col("skipped").is_null())
        added = np.sort(counted["play"].drop_nulls().to_numpy())
        self._seen = np.insert(self._seen, np.searchsorted(self._seen, added), added)
        self._begun.setdefault(service, []).append(counted.select("names", "began").drop_nulls())
        return rows, faults

    def _are_seen(self, plays: pl.Series) -> np.ndarray:
        if not len(self._seen):
            return np.zeros(len(plays), bool)
        hashes = plays.fill_null(0).to_numpy()
        places = np.searchsorted(self._seen, hashes).clip(max=len(self._seen) - 1)
        return self._seen[places] == hashes

    def _told_elsewhere(self, rows: pl.DataFrame, service: str) -> pl.DataFrame:
        import polars as pl

        others = [frame for name, frames in self._begun.items() if name != service for frame in frames]
        if not others:
            return rows
        told = pl.concat(others).sort("began").with_columns(pl.lit(True).alias("elsewhere"))
        rows = rows.sort("began", nulls_last=True).join_asof(
            told, on="began", by="names", strategy="nearest", tolerance=SAME_SECONDS, check_sortedness=False
        )
        same = pl.col("skipped").is_null() & pl.col("elsewhere").fill_null(False) & pl.col("began").is_not_null()
        return rows.with_columns(pl.when(same).then(pl.lit(ELSEWHERE)).otherwise("skipped").alias("skipped")).drop(
            "elsewhere"
        )

    def add(self, records: pl.DataFrame) -> None:
        """Count clean records, one per play or more."""
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


def _timed(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """Add ``length`` and ``began`` (seconds since 1970), and ``skipped`` to plays that are too short or private."""
    import polars as pl

    length = pl.col("milliseconds").cast(pl.Float64, strict=False)
    wrong = pl.col("skipped").is_null() & (length.is_null() | length.is_nan())
    bad = rows.filter(wrong).select("row", excerpt(pl.col("milliseconds")))
    faults = [Fault(row, None, "ms_played", value, "not a number of milliseconds") for row, value in bad.iter_rows()]
    rows = rows.filter(~wrong)
    rows = rows.with_columns(
        length.alias("length"),
        (epoch(rows["ended"]) - (length / 1000).clip(0, 1e6).fill_nan(0).round().cast(pl.Int64)).alias("began"),
        pl.coalesce(
            "skipped",
            pl.when(pl.col("incognito").is_not_null()).then(pl.lit(PRIVATE)),
            pl.when(length < SHORTEST_MS).then(pl.lit(SHORT)),
        ).alias("skipped"),
    )
    return rows, faults


def epoch(text: pl.Series) -> pl.Series:
    """Return times as seconds since 1970: of numbers of seconds or milliseconds, and of `TIMES`; else null."""
    import polars as pl

    rows = pl.DataFrame({"text": text})
    number = pl.col("text").str.extract(r"^\s*(\d{9,10}|\d{12,13})(?:\.0*)?\s*$").cast(pl.Int64, strict=False)
    plain = pl.col("text").str.replace(r"(?:\.\d+)?(?: ?UTC|Z|\+00:?00)$", "")
    plain = plain.str.replace_all(r"[T,]\s*", " ").str.strip_chars()
    rows = rows.select(
        pl.when(number > 10**11).then(number // 1000).otherwise(number).alias("seconds"), plain.alias("plain")
    )
    for form in TIMES:  # One after the other: most files write all times alike.
        if rows.filter(pl.col("seconds").is_null() & pl.col("plain").is_not_null()).is_empty():
            break
        left = pl.when(pl.col("seconds").is_null()).then("plain")
        seconds = left.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("s")
        rows = rows.with_columns(pl.coalesce("seconds", seconds))
    return rows["seconds"].rename("began")


def _summed(records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per artist and title. Of several ids (a single, an album) the least: any, but always the same."""
    import polars as pl

    names = ["artist_name", "track_name"]
    return (
        records.group_by(names)
        .agg(
            pl.col("plays").sum(),
            # The longest list names everybody: some services tell the first artist alone.
            pl.col("artists").sort_by(pl.col("artists").list.len(), pl.col("artists").list.join("\0")).last(),
            pl.exclude("plays", "artists", *names).min(),
        )
        .select(RECORD_COLUMNS)
    )
