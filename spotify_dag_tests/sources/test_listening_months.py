"""Counts of months, against numbers counted by hand."""

from __future__ import annotations

import polars as pl
import pytest

from spotify_dag.sources import listening_months
from spotify_dag.sources.listening_months import MOST_ARTISTS, MOST_MONTHS, Months, merged, month_of, month_of_text


def records(rows: list[tuple[int | None, str, int | None, int | None]]) -> pl.DataFrame:
    schema = {"month": pl.Int32, "artist_name": pl.String, "release_year": pl.Int16, "plays": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_months_of_times() -> None:
    seconds = pl.DataFrame({"at": [0, 951782399, 951782400, 253402300800, -1, None]})
    assert seconds.select(month_of(pl.col("at"))).to_series().to_list() == [197001, 200002, 200002, None, None, None]
    text = pl.DataFrame({"at": ["2024-03-05T10:00:00Z", "2019-12-31", " 2020-01-01", "2020-13-01", "05/03/2024", None]})
    assert text.select(month_of_text(pl.col("at"))).to_series().to_list() == [202403, 201912, 202001, None, None, None]


def test_counts_of_all_of_decades_and_of_artists() -> None:
    months = Months()
    months.add(records([(202401, "Air", 1998, 2), (202401, "Air", 2001, None), (202402, "Air", None, 5)]))
    months.add(records([(202401, "Moby", 1999, 1), (None, "Moby", 1999, 9), (197001, "Moby", 1999, 9)]))
    months.add(records([(999912, "Moby", 1999, 9)]))
    assert months.rows().rows() == [
        (202401, "all", "", 4),
        (202401, "artist", "Air", 3),
        (202401, "artist", "Moby", 1),
        (202401, "decade", "1990s", 3),
        (202401, "decade", "2000s", 1),
        (202402, "all", "", 5),
        (202402, "artist", "Air", 5),
    ]


def test_few_are_kept_of_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_months, "HELD_ROWS", 1_000)
    months = Months()
    for year in range(1995, 2020):
        counted = [(year * 100 + month, f"artist {n}", year, n + 1) for month in range(1, 13) for n in range(200)]
        months.add(records([*counted]))
    rows = months.rows()
    assert rows["month"].unique().sort().to_list() == [
        year * 100 + m for year in range(2000, 2020) for m in range(1, 13)
    ]
    assert rows["month"].n_unique() == MOST_MONTHS
    artists = rows.filter(kind="artist").group_by("month").agg(pl.len(), pl.col("count").min())
    assert artists.select(pl.col("len", "count").min()).row(0) == (MOST_ARTISTS, 200 - MOST_ARTISTS + 1)
    assert rows.filter(kind="all")["count"].unique().to_list() == [sum(range(1, 201))]


def test_two_downloads_of_the_same_months_count_once() -> None:
    first, second = Months(), Months()
    first.add(records([(202401, "Air", 1998, 2), (202312, "Air", 1998, 1)]))
    second.add(records([(202401, "Air", 1998, 3), (202402, "Moby", 1999, 1)]))
    both = merged(first.rows(), second.rows())
    assert both.filter(kind="artist").rows() == [
        (202312, "artist", "Air", 1), (202401, "artist", "Air", 3), (202402, "artist", "Moby", 1),
    ]  # fmt: skip
