"""How a taste changed, against shares worked out by hand."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.schemas import ARTIST_GENRES, LISTENING_MONTHS
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.preferences import Preference, Preferences

GENRES = {"abba": ["pop", "disco"], "metallica": ["metal"], "raffi": ["children's music"], "nobody": None}


def months_of(user: str, year: int, artists: dict[str, int], decades: dict[str, int]) -> list[tuple[object, ...]]:
    """Return the counts of January and of June of a year: each half of what is given."""
    rows = [("artist", name, count) for name, count in artists.items()]
    rows += [("decade", name, count) for name, count in decades.items()]
    rows += [("all", "", sum(artists.values()))]
    return [(0, user, 100 * year + month, kind, name, n // 2) for month in (1, 6) for kind, name, n in rows]


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(tmp_path_factory.mktemp("lake"), 1)
    genres = [(0, key, key, names, 1) for key, names in GENRES.items()]
    columns = ["user_bucket", "artist_key", "artist_name", "genres", "rows"]
    lake.replace(ARTIST_GENRES, [0], [ARTIST_GENRES.conform(pl.DataFrame(genres, schema=columns, orient="row"))])
    rows = months_of("ann", 2022, {"ABBA": 60, "Raffi": 20, "Nobody": 20}, {"1970s": 60, "2000s": 40})
    rows += months_of("ann", 2024, {"ABBA": 20, "Metallica": 80}, {"1970s": 20, "1980s": 60})
    rows += [row for year in range(1990, 2020) for row in months_of("bob", year, {"Raffi": 2}, {})]
    frame = pl.DataFrame(rows, schema=LISTENING_MONTHS.column_names, orient="row")
    lake.replace(LISTENING_MONTHS, [0], [LISTENING_MONTHS.conform(frame)])
    return lake


def test_shares_and_changes(lake: Lake, tmp_path: Path) -> None:
    found = taste_over_time(lake, Preferences(tmp_path, 1), "ann")
    assert found["periods"] == ["2022-01", "2022-06", "2024-01", "2024-06"]
    assert found["counts"] == [50, 50, 50, 50]
    # Of the 80 of 2022 with a genre, 60 are of ABBA, half pop and half disco.
    assert found["genres"] == [
        {"name": "metal", "shares": [0, 0, 0.8, 0.8]},
        {"name": "disco", "shares": [0.375, 0.375, 0.1, 0.1]},
        {"name": "pop", "shares": [0.375, 0.375, 0.1, 0.1]},
        {"name": "children's music", "shares": [0.25, 0.25, 0, 0]},
    ]
    assert found["eras"] == [
        {"name": "1970s", "shares": [0.6, 0.6, 0.25, 0.25]},
        {"name": "1980s", "shares": [0, 0, 0.75, 0.75]},
        {"name": "2000s", "shares": [0.4, 0.4, 0, 0]},
    ]
    assert (found["then"], found["now"]) == (
        {"from": "2022-01", "to": "2022-06"}, {"from": "2024-01", "to": "2024-06"},
    )  # fmt: skip
    came = {(change["kind"], change["name"]): (change["then"], change["now"]) for change in found["came"]}
    assert came == {("artist", "Metallica"): (0, 0.8), ("genre", "metal"): (0, 0.8), ("era", "1980s"): (0, 0.75)}
    went = [(change["kind"], change["name"]) for change in found["went"]]
    assert went[:2] == [("era", "2000s"), ("artist", "ABBA")]
    assert found["note"] is None


def test_what_is_left_out_does_not_count(lake: Lake, tmp_path: Path) -> None:
    preferences = Preferences(tmp_path, 1)
    preferences.change("ann", [Preference("genre", "Children's Music"), Preference("artist", "metallica")])
    found = taste_over_time(lake, preferences, "ann")
    assert {entry["name"]: entry["shares"] for entry in found["genres"]} == dict.fromkeys(["disco", "pop"], [0.5] * 4)


def test_many_months_are_shown_as_years(lake: Lake, tmp_path: Path) -> None:
    found = taste_over_time(lake, Preferences(tmp_path, 1), "bob")
    assert found["periods"] == [str(year) for year in range(1990, 2020)]
    assert set(found["counts"]) == {2}
    assert found["now"] == {"from": "2014-01", "to": "2019-06"}
    assert found["came"] == found["went"] == []


def test_who_has_no_times_is_told_so(lake: Lake, tmp_path: Path) -> None:
    found = taste_over_time(lake, Preferences(tmp_path, 1), "cem")
    assert found["periods"] == found["genres"] == found["came"] == []
    assert "Nothing tells when" in found["note"]
