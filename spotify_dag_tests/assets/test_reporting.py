"""What Dagster is told: numbers and public names, and nothing that a listener wrote."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from samples.app_world import make_world
from samples.export_files import HEADING_A, row_a, table
from spotify_dag.assets.reporting import bar_chart, typed_table
from spotify_dag.assets.training import nearest_artists
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.alerts import cleaner
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.sources.export.reading import Reading
from spotify_dag.stores.model_card import render
from spotify_dag.stores.user_id_search import UserIdSearch

pytestmark = pytest.mark.slow

IMAGE = "![0](http://127.0.0.1:9/r)"
MARKS = ("Zqtitel", "Zqartist", "Zqalbum", "Zqlist")
"""Words that only one listener's file holds: in titles, artists, albums, and the name of a playlist."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_world(tmp_path_factory.mktemp("told") / "data")


def test_nothing_that_a_listener_wrote_is_in_the_records_of_dagster(project: Project, tmp_path: Path) -> None:
    file = tmp_path / "Zqlist ![0](x).csv"
    rows = [
        row_a(number, [f"Zqartist {number} {IMAGE}"], **{"Track Name": f"Zqtitel {IMAGE}", "Album Name": "Zqalbum"})
        for number in range(6)
    ]
    file.write_bytes(table(HEADING_A, rows))
    project.inbox.requests.hand_in("export", "export-anna", Reading(file, "export-anna").frames(), opted_in=True)
    project.inbox.requests.sweep()
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings)
        stages = [stage.stage for stage in bring_up_to_date(project, definitions, instance, only_features=True)]
        assert stages[:2] == ["ingest", "features"]
        assert definitions.resolve_job_def("tracks").execute_in_process(instance=instance).success
    recorded = [path for path in (project.settings.data / "dagster").rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" for path in recorded)
    for mark in MARKS:
        lake = list((project.settings.data / "lake").rglob("*.parquet"))
        assert any(UserIdSearch(mark).in_file(path) for path in lake), mark
        assert [path for path in recorded if UserIdSearch(mark).in_file(path)] == [], mark


def test_names_in_charts_and_tables_are_no_markup() -> None:
    chart = bar_chart(["```\n" + IMAGE, "Prince"], [1, 2]).value
    assert chart is not None
    assert chart.count("```") == 2
    assert len(chart.splitlines()) == 4
    shown = typed_table(pl.DataFrame({"artist": [IMAGE, None], "users": [1, 2]}))
    assert [record.data for record in shown.records] == [{"artist": IMAGE, "users": 1}, {"artist": "", "users": 2}]


def test_an_artist_of_fewer_than_three_users_is_named_to_nobody() -> None:
    factors = pl.DataFrame(
        {
            "artist_key": ["prince", "usher", "zqartist"], "users": [5, 3, 2], "predicted": [False, False, False],
            "vector": [[1.0, 0.0], [0.6, 0.8], [0.9, 0.1]],
        }
    )  # fmt: skip
    found = nearest_artists(factors)
    assert found["artist_key"].to_list() == ["prince", "usher"]
    assert found["nearest"].to_list() == ["usher", "prince"]


def test_cards_and_alerts_hold_no_markup_of_others(project: Project) -> None:
    evil = f"{IMAGE} <img src=x> | `code` [link](x)"
    card = render({"model_version": "tower-0", "trained_on": {"sources": {"a": evil}}})
    (line,) = (line for line in card.splitlines() if "sources" in line)
    assert line.endswith(
        "| !\\[0\\](http://127.0.0.1:9/r) &lt;img src=x> \\| \\`code\\` \\[link\\](x) |"
    )  # CommonMark: a backslash before punctuation makes it text
    told = cleaner(project)(evil)
    assert not set("<>[]`") & set(told)
