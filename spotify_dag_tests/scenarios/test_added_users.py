"""A person hands in a download from Spotify: from the command to a match, and nothing private on the way."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from samples.export_files import (
    HEADING_A,
    MARKERS,
    account_files,
    as_json,
    item,
    play,
    playlists,
    row_a,
    table,
    zipped,
)
from spotify_dag.cli.main import app
from spotify_dag.cli.run_summary import summary
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS, RAW_PLAYLISTS, REJECTS, USERS
from spotify_dag.settings import Settings
from spotify_dag.sources.synthetic import CATALOGUE

pytestmark = pytest.mark.slow


def spotify_dag(project: Project, *arguments: object) -> tuple[int, str]:
    """Run a command; return its exit status and what it printed."""
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), *map(str, arguments)])
    return done.exit_code, done.output


@pytest.fixture(autouse=True)
def _two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    monkeypatch.setenv("COLUMNS", "160")


def artists_of(genre: str) -> list[str]:
    with CATALOGUE.open() as catalogue:
        return [row["name"] for row in csv.DictReader(catalogue) if genre in row["genres"].split(";")]


def bring_up(project: Project) -> dict[str, int]:
    """Sweep and bring up to date with a Dagster instance on disk; return the buckets of each stage."""
    project.inbox.requests.sweep()
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings)
        return {stage.stage: stage.buckets for stage in bring_up_to_date(project, definitions, instance)}


def test_from_a_download_to_a_match(project: Project, tmp_path: Path) -> None:
    metal = artists_of("metal")
    assert len(metal) >= 5
    history = [play(n, n, master_metadata_album_artist_name=metal[n % len(metal)]) for n in range(200)]
    damaged = as_json([play(900, 900), play(901, 901)]).replace(b'"platform":', b'"platform"', 1)
    files = account_files() | {
        "MyData/endsong_0.json": as_json(history),
        "MyData/endsong_1.json": damaged,
        "MyData/Playlist2.json": as_json(playlists({"Loud": [item(n, name) for n, name in enumerate(metal)]})),
        "Exportify/loud_too.csv": table(HEADING_A, [row_a(n, [name]) for n, name in enumerate(metal)]),
    }
    path = zipped(tmp_path / "my_spotify_data.zip", files)
    status, printed = spotify_dag(project, "add", path, "--as", "anna", "--private")
    assert status == 0, printed
    assert "export-anna: " in printed
    assert "2 rows left out: banned by the user" in printed
    assert "1 rows rejected: not readable as JSON" in printed
    assert "spotify-dag recommend export-anna" in printed
    path.unlink()

    stages = bring_up(project)
    assert {name: stages[name] for name in ("ingest", "features", "index")} == dict.fromkeys(
        ("ingest", "features", "index"), 1
    )
    assert bring_up(project) == {}
    lake = project.lake
    user = lake.scan(USERS).filter(user_id="export-anna").collect()
    rows = lake.scan(RAW_PLAYLISTS).filter(user_id="export-anna").collect()
    assert user.select("source", "opted_in").rows() == [("export", False)]
    assert rows.height == user["rows_kept"].item() > 200
    assert lake.scan(USERS).filter("opted_in").select(pl.len()).collect().item() == 40
    plays = rows.filter(playlist_id="plays")["plays"]
    assert (plays.len(), plays.sum()) == (204, 205)
    assert rows["playlist_position"].n_unique() == rows["playlist_position"].max() + 1 == 8
    (ingest,) = lake.scan(INGESTS).filter(source="export").collect().iter_rows(named=True)
    assert ingest["rows_read"] == ingest["rows_kept"] + ingest["rows_rejected"]
    assert (ingest["rows_rejected"], ingest["users"]) == (1, 1)
    assert lake.scan(REJECTS).filter(user_id="export-anna").collect().height > 1
    assert summary(project)["users_in_index"] == 41

    status, printed = spotify_dag(project, "recommend", "export-anna", "-k", "3", "--json")
    matches = json.loads(printed)["matches"]
    assert status == 0
    assert all(match["user_id"].startswith("synthetic-") for match in matches)
    assert len(matches) == 3
    shared = {genre["name"] for match in matches for genre in match["shared_genres"]}
    assert any("metal" in genre for genre in shared)

    markers = [marker.encode() for marker in MARKERS]
    held = [file for file in project.settings.data.rglob("*") if file.is_file()]
    assert any(file.match("inbox/requests/users/*.parquet") for file in held)
    assert "dagster.yaml" in {file.name for file in held}
    for file in held:
        content = file.read_bytes()
        if file.suffix == ".parquet":  # Compressed: the markers would not show.
            content += pl.read_parquet(file, hive_partitioning=False).write_ndjson().encode()
        assert not [marker for marker in markers if marker in content], file


def test_the_markers_would_be_found(tmp_path: Path) -> None:
    """The test above can fail: what it looks for is in what is handed in, and readable in a table."""
    assert all(any(marker.encode() in content for content in account_files().values()) for marker in MARKERS)
    pl.DataFrame({"name": [MARKERS[0]]}).write_parquet(tmp_path / "x.parquet")
    assert MARKERS[0] in pl.read_parquet(tmp_path / "x.parquet").write_ndjson()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere", "--as", "anna"], "There is no file or folder 'nowhere'. Give a file, a folder or a zip"),
        (["{file}", "--as", ""], "--as '' is no name"),
        (["{file}", "--as", "a b"], "--as 'a b' is no name: 1 to 64 letters, digits"),
        (["{file}", "--as", "../anna"], "--as '../anna' is no name"),
        (["{file}", "--as", "x" * 65], "is no name"),
        (["{folder}", "--as", "anna"], "holds no file of listening; it holds Userdata.json. Give Exportify's"),
    ],
)
def test_what_cannot_be_handed_in_is_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    project = Project.open(Settings(data=tmp_path / "data", n_buckets=2))
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "Userdata.json").write_bytes(b"{}")
    (tmp_path / "x.csv").write_bytes(table(HEADING_A, [row_a(1)]))
    places = {"file": tmp_path / "x.csv", "folder": tmp_path / "f"}
    status, printed = spotify_dag(project, "add", *(argument.format(**places) for argument in arguments))
    assert status == 1
    assert printed.startswith("Error: ")
    assert complaint in printed
    assert printed.count("\n") == 1
    assert project.inbox.sources() == []


def test_a_summary_for_machines_and_rejected_requests_are_told(tmp_path: Path, project: Project) -> None:
    (tmp_path / "Mix.csv").write_bytes(table(HEADING_A, [row_a(1), row_a(2, [""])]))
    status, printed = spotify_dag(project, "add", tmp_path / "Mix.csv", "--as", "Änna", "--json")
    assert (status, json.loads(printed)) == (
        0,
        {
            "user_id": "export-Änna",
            "opted_in": True,
            "kept": True,
            "files": ["Mix.csv"],
            "files_read": [{"file": "Mix.csv", "what": "exportify.app (en)", "encoding": "utf-8"}],
            "files_not_read": [],
            "n_files_read": 1,
            "n_files_not_read": 0,
            "notes": [],
            "lists": 1,
            "rows_kept": 1,
            "plays": 0,
            "left_out": {},
            "rejected": {"no artist name": 1},
            "values_left_out": {},
            "names_mended": 0,
            "replaces": None,
        },
    )
    (project.inbox.requests.root / "new" / "by-hand.json").write_text("{")
    assert len(project.inbox.requests.sweep().rejected) == 1
