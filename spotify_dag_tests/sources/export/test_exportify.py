"""Exportify's two dialects, as they are and as they get damaged."""

from __future__ import annotations

import csv
from collections.abc import Callable

import pytest

from samples.export_files import (
    HEADING_A,
    HEADING_A_GERMAN,
    HEADING_B,
    REALNAME,
    artist_id,
    row_a,
    row_b,
    table,
    track_id,
)
from spotify_dag.sources.base import SourceError
from spotify_dag_tests.sources.export.conftest import Read

ReadFile = Callable[[str, bytes], Read]


@pytest.mark.parametrize("heading", [HEADING_A, HEADING_A_GERMAN])
def test_dialect_a_in_any_language(read_file: ReadFile, heading: tuple[str, ...]) -> None:
    rows = [
        row_a(1, ["Tyler, The Creator", "Frank Ocean"], Explicit="true"),
        row_a(2, **{"Album Release Date": "1977"}),
    ]
    found = read_file("Road trip.csv", table(heading, rows))
    assert found.rejects.is_empty()
    first, second = found.records.iter_rows(named=True)
    assert {name: value for name, value in first.items() if value is not None} == {
        "user_id": "export-anna",
        "playlist_id": "playlist-0",
        "playlist_name": "Road trip",
        "playlist_position": 4,
        "position": 0,
        "track_id": track_id(1),
        "track_name": "Song 1",
        "album_name": "Album 1",
        "artist_id": artist_id("Tyler, The Creator"),
        "artist_name": "Tyler, The Creator",
        "artists": ["Tyler, The Creator", "Frank Ocean"],
        "release_year": 1998,
        "popularity": 57.0,
        "explicit": True,
    }
    assert (second["artist_name"], second["release_year"], second["explicit"]) == ("Air", 1977, False)


def test_more_columns_and_another_order_are_found_by_their_headings(read_file: ReadFile) -> None:
    order = [18, 3, 2, 1, 0, 15]
    heading = [HEADING_A[place] for place in order] + ["Artist Genres"]
    rows = [[row_a(number)[place] for place in order] + ["pop"] for number in range(3)]
    found = read_file("x.csv", table(heading, rows))
    assert found.titles() == ["Song 0", "Song 1", "Song 2"]
    assert found.records["popularity"].to_list() == [57.0] * 3


@pytest.mark.parametrize(
    ("names", "uris", "main"),
    [
        ("Air", 1, "Air"),
        ("Air, Beck", 2, "Air"),
        ("Tyler\\, The Creator", 1, "Tyler, The Creator"),
        ("Tyler, The Creator", 1, "Tyler, The Creator"),  # as it was written before commas were escaped
        ("Earth\\, Wind & Fire, Beck, Air", 3, "Earth, Wind & Fire"),
        ("AC\\DC, Air", 2, "AC\\DC"),
    ],
)
def test_the_main_artist_of_dialect_a(read_file: ReadFile, names: str, uris: int, main: str) -> None:
    cells = {"Artist Name(s)": names, "Artist URI(s)": ", ".join(["spotify:artist:A1"] * uris)}
    assert read_file("x.csv", table(HEADING_A, [row_a(1, **cells)])).records["artist_name"].item() == main


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
def test_dialect_b(read_file: ReadFile, quoting: int) -> None:
    rows = [
        row_b(1, ["Tyler, The Creator", "Beck"]),
        row_b(2)[:5],
        row_b(3, **dict.fromkeys(("Popularity", "Release Date", "Album Name", "Explicit", "Added By"), "undefined")),
        row_b(4, ['The "Quotes"']),
        row_b(5, ["Two\nlines"]),
    ]
    found = read_file("b.csv", table(HEADING_B, rows, quoting))
    assert found.rejects.is_empty()
    assert found.titles() == [f"Song {number}" for number in range(1, 6)]
    assert found.records["artist_name"].to_list() == ["Tyler, The Creator", "Air", "Air", 'The "Quotes"', "Two lines"]
    assert found.records["release_year"].to_list() == [1998, 1998, None, 1998, 1998]
    assert found.records["popularity"].to_list() == [57.0, None, None, 57.0, 57.0]
    assert found.records["explicit"].to_list() == [True, None, None, True, True]
    assert found.records["album_name"][2] is None


def test_what_is_not_music_is_counted(read_file: ReadFile) -> None:
    uris = ["spotify:local:Me:Album:Song:200", "spotify:episode:" + track_id(1)]
    rows = [row_a(1), *(row_a(2, **{"Track URI": uri}) for uri in uris), row_a(3)]
    found = read_file("x.csv", table(HEADING_A, rows))
    assert found.titles() == ["Song 1", "Song 3"]
    assert found.records["position"].to_list() == [0, 3]
    assert dict(found.reading.skipped_rows()) == {
        "local files are known to nobody else": 1,
        "podcasts are not music": 1,
    }
    assert found.rejects.select("field", "value", "reason", "dropped").rows() == [
        ("rows", "1", "local files are known to nobody else", False),
        ("rows", "1", "podcasts are not music", False),
    ]


def test_bad_rows_and_values_are_named_by_their_line(read_file: ReadFile) -> None:
    rows = [
        row_b(1),
        row_b(2, [""]),
        row_b(3, **{"Release Date": "soon", "Popularity": "101"}),
        row_b(4, **{"Track URI": "spotify:track:%"}),
        [*row_b(5), "one cell too many"],
        row_b(6),
    ]
    found = read_file("b.csv", table(HEADING_B, rows))
    assert found.titles() == ["Song 1", "Song 3", "Song 4", "Song 6"]
    assert found.records["track_id"].to_list()[2] is None
    assert found.rejects.select("row", "field", "dropped").sort("row", "field").rows() == [
        (3, "artist_name", True),
        (4, "popularity", False),
        (4, "release_year", False),
        (5, "track_id", False),
        (6, "line", True),
    ]


@pytest.mark.parametrize("broken", ['"', '","', "\n", '"\n"', "\r"])
@pytest.mark.parametrize("row", [row_a, row_b])
@pytest.mark.medium
def test_damage_costs_only_the_row_that_it_is_in(
    read_file: ReadFile, row: Callable[[int], list[str]], broken: str
) -> None:
    heading = HEADING_A if row is row_a else HEADING_B
    lines = table(heading, [row(number) for number in range(20)]).split(b"\n")
    for place in range(1, len(lines[8]), 31):
        damaged = [*lines[:8], lines[8][:place] + broken.encode() + lines[8][place:], *lines[9:]]
        titles = read_file("x.csv", b"\n".join(damaged)).titles()
        assert [title for title in titles if title in {f"Song {n}" for n in range(20)} - {"Song 7"}] == [
            f"Song {number}" for number in range(20) if number != 7
        ], place


@pytest.mark.parametrize("heading", [b"", b"\xff\x00garbage,,,", b'"Track U'])
@pytest.mark.parametrize("rows", [[row_a(1), row_a(2)], [row_b(1), row_b(2)]])
def test_a_lost_heading_costs_no_row(read_file: ReadFile, heading: bytes, rows: list[list[str]]) -> None:
    whole = table([], rows).removeprefix(b"\n")
    found = read_file("x.csv", heading + b"\n" + whole)
    assert found.titles() == ["Song 1", "Song 2"]
    assert found.records["artist_name"].to_list() == ["Air", "Air"]
    assert found.records["release_year"].to_list() == [1998, 1998]


@pytest.mark.parametrize("quoting", [csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
@pytest.mark.parametrize(("heading", "row"), [(HEADING_A, row_a), (HEADING_A_GERMAN, row_a), (HEADING_B, row_b)])
@pytest.mark.medium
def test_a_damaged_heading_costs_no_row(
    read_file: ReadFile, heading: tuple[str, ...], row: Callable[[int], list[str]], quoting: int
) -> None:
    whole = table(heading, [row(1), row(2)], quoting)
    for place in range(0, whole.index(b"\n") - 9, 41):
        for text in (whole[:place] + b"," + whole[place:], whole[:place] + whole[place + 9 :]):
            found = read_file("x.csv", text)
            assert found.titles() == ["Song 1", "Song 2"], place
            assert found.records["artist_name"].to_list() == ["Air", "Air"], place


@pytest.mark.medium
def test_a_row_that_lost_cells_is_not_taken_for_a_short_one(read_file: ReadFile) -> None:
    for heading, rows in ((HEADING_A, [row_a(n) for n in range(4)]), (HEADING_B, [row_b(n) for n in range(4)])):
        for first in range(1, 12):
            moved = [*rows, rows[3][:first] + rows[3][first + 5 :]]
            found = read_file("x.csv", table(heading, moved))
            assert found.titles()[:4] == [f"Song {n}" for n in range(4)]
            assert REALNAME not in found.records.write_ndjson() + found.rejects.write_ndjson(), first


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"date,amount\n2021-01-01,5\n", table(HEADING_A, []), b"\x00" * 1_000, b'"' * 1_000]
)
def test_other_tables_and_empty_ones_are_one_clear_error(read_file: ReadFile, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"x\.csv' holds no listening \(.*\)\. Give Exportify's CSV files") as error:
        read_file("x.csv", content)
    assert "\n" not in str(error.value)
    assert "2021-01-01" not in str(error.value)
