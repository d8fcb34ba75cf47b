"""How often somebody listened in each month, by artist and by decade of release: counts, never the times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MOST_MONTHS, MOST_ARTISTS = 240, 30
"""Of one user, the last ones; and of each month, those listened to most."""
FIRST_MONTH = 199001
"""Earlier times are those of clocks that were never set."""
HELD_ROWS = 400_000
"""Rows of artists gathered before those of each month that are listened to least are given up."""
ALL, ARTIST, DECADE = "all", "artist", "decade"
COLUMNS = ("month", "kind", "name", "count")


def month_of(seconds: pl.Expr) -> pl.Expr:
    """Return the month of times in seconds since 1970, UTC, as 202403; null where there is none."""
    import polars as pl

    # Beyond the year 9999 there is no date to ask for the month of.
    time = pl.from_epoch(pl.when(seconds.is_between(0, 250_000_000_000)).then(seconds), "s")
    return (time.dt.year() * 100 + time.dt.month()).cast(pl.Int32)


def month_of_text(text: pl.Expr) -> pl.Expr:
    """Return the month of times as text, ``2024-03-05…``, as 202403; null where there is none."""
    import polars as pl

    digits = text.str.extract(r"^\s*(\d{4}-(?:0[1-9]|1[0-2]))-\d{2}").str.replace("-", "", literal=True)
    return digits.cast(pl.Int32, strict=False)


class Months:
    """Counts per month in bounded memory."""

    def __init__(self) -> None:
        self._totals = _no_rows()
        """Of all and of each decade: a few hundred rows."""
        self._artists = _no_rows()

    def add(self, records: pl.DataFrame) -> None:
        """Count records with ``month, artist_name, release_year, plays``; those without a month do not count."""
        import polars as pl

        latest = int(f"{datetime.now(UTC):%Y%m}")
        count = pl.col("plays").fill_null(1).cast(pl.Int64).alias("count")
        dated = records.filter(pl.col("month").is_between(FIRST_MONTH, latest)).select(
            pl.col("month").cast(pl.Int32), "artist_name", "release_year", count
        )
        if dated.is_empty():
            return
        decade = pl.format("{}s", pl.col("release_year").cast(pl.Int32) // 10 * 10)
        of = {
            ALL: dated.with_columns(pl.lit("").alias("name")),
            DECADE: dated.with_columns(decade.alias("name")).drop_nulls("name"),
        }
        totals = [rows.select("month", pl.lit(kind).alias("kind"), "name", "count") for kind, rows in of.items()]
        artists = dated.select("month", pl.lit(ARTIST).alias("kind"), pl.col("artist_name").alias("name"), "count")
        self._totals = _summed([self._totals, *totals])
        self._artists = _summed([self._artists, artists])
        if self._artists.height > HELD_ROWS:
            self._artists = _most(self._artists, 4 * MOST_ARTISTS)

    def rows(self) -> pl.DataFrame:
        """Return `COLUMNS`, sorted: of the last `MOST_MONTHS`, with the first `MOST_ARTISTS` of each."""
        return bounded(_concat([self._totals, self._artists]))


def merged(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Return two frames of `COLUMNS` as one: of each count the greater, as two downloads tell of the same months."""
    import polars as pl

    both = _concat([first, second])
    return bounded(both.group_by("month", "kind", "name").agg(pl.col("count").max()).select(COLUMNS))


def bounded(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of the last `MOST_MONTHS` months, with the first `MOST_ARTISTS` artists of each, sorted."""
    import polars as pl

    last = rows["month"].unique().sort(descending=True).head(MOST_MONTHS)
    recent = rows.filter(pl.col("month").is_in(last.implode()))
    artists = _most(recent.filter(pl.col("kind") == ARTIST), MOST_ARTISTS)
    return _concat([recent.filter(pl.col("kind") != ARTIST), artists]).sort("month", "kind", "name")


def _most(artists: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return the artists of each month that are listened to most; ties are broken by name."""
    ordered = artists.sort("month", "count", "name", descending=[False, True, False])
    return ordered.group_by("month", maintain_order=True).head(count).select(COLUMNS)


def _summed(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return _concat(frames).group_by("month", "kind", "name").agg(pl.col("count").sum()).select(COLUMNS)


def _concat(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat([_no_rows(), *frames])


def _no_rows() -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema={"month": pl.Int32, "kind": pl.String, "name": pl.String, "count": pl.Int64})
