"""``spotify-dag rebucket``: what it says, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.project import Project
from spotify_dag.settings import Settings


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("SPOTIFY_DAG_N_BUCKETS", raising=False)


@pytest.fixture
def data(project: Project) -> Path:
    project.check_layout()
    return project.settings.local_data


def spotify_dag(data: Path, *arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["--data", str(data), *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_it_says_what_it_will_do_and_what_it_did(data: Path) -> None:
    status, printed, told = spotify_dag(data, "rebucket", 8, "--dry-run")
    assert (status, printed) == (0, "")
    assert told.startswith("2 buckets of 40 users become 8. ")
    assert "User indexes to change in place: 1." in told
    assert Project.open(Settings(data=data)).lake.n_buckets == 2
    status, printed, told = spotify_dag(data, "rebucket", 8)
    assert status == 0, told
    assert printed.startswith("There are 8 user buckets now. It took ")
    assert Project.open(Settings(data=data)).lake.n_buckets == 8
    # A kill after the switch leaves nothing to do.
    assert spotify_dag(data, "rebucket", 8)[:2] == (0, "There are 8 user buckets already.\n")
    status, printed, _ = spotify_dag(data, "run", "--json")
    assert (status, json.loads(printed)["materialised"]) == (0, [])
    assert spotify_dag(data, "recommend", "synthetic-000007")[0] == 0


def test_for_machines(data: Path) -> None:
    status, printed, _ = spotify_dag(data, "rebucket", 4, "--dry-run", "--json")
    plan = json.loads(printed)
    assert (status, plan["n_buckets"], plan["into"], plan["users"], plan["copied"]) == (0, 2, 4, 40, 0)
    assert plan["bytes_free"] > plan["bytes_to_write"] > 10_000
    status, printed, _ = spotify_dag(data, "rebucket", 4, "--json")
    done = json.loads(printed)
    assert (status, done["n_buckets"], done["before"], done["copied"]) == (0, 4, 2, 2)
    assert done["seconds"] > done["locked_seconds"] > 0
    assert json.loads(spotify_dag(data, "rebucket", 4, "--json")[1]) == {"n_buckets": 4, "before": 4, "copied": 0}


@pytest.mark.parametrize(
    ("number", "said"),
    [
        ("3", "Error: 2 buckets cannot be split into 3: it takes a multiple of 2 that is larger, 4096 at most. "),
        ("8192", "For example 4, 8, 16, 32."),
        ("many", "Invalid value for 'buckets'"),
    ],
)
def test_bad_input_is_told(data: Path, number: str, said: str) -> None:
    status, printed, told = spotify_dag(data, "rebucket", number)
    assert (status != 0, printed) == (True, "")
    assert said in told


def test_an_empty_root_stays_empty(tmp_path: Path) -> None:
    status, _, told = spotify_dag(tmp_path / "data", "rebucket", 128)
    assert (status, told.count("\n")) == (1, 1)
    assert "has no users, so there are no buckets to split" in told
    assert not (tmp_path / "data").exists()


def test_a_source_that_cannot_be_opened_is_told_before_anything_is_copied(data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "users.txt"
    listed.write_text("somebody\n")
    with_app = Project.open(Settings(data=data, spotify_client_id="0123456789"))
    with_app.inbox.register_source("spotify", {"path": str(listed), "asked": 0.0})
    for arguments in (["--dry-run"], []):
        status, _, told = spotify_dag(data, "rebucket", 8, *arguments)
        assert (status, told.count("Error: There is no Spotify app.")) == (1, 1), told
        assert "'spotify-dag simulate' serves, set the variables that it prints" in " ".join(told.split())
    assert Project.open(Settings(data=data)).lake.left_over() == []


def test_a_variable_that_contradicts_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    status, _, told = spotify_dag(data, "rebucket", 4)
    assert (status, "SPOTIFY_DAG_N_BUCKETS is set to 2" in told) == (1, True)
    monkeypatch.delenv("SPOTIFY_DAG_N_BUCKETS")
    assert spotify_dag(data, "rebucket", 4)[0] == 0
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    for command in (["recommend", "synthetic-000007"], ["run"], ["rebucket", "8"], ["forget", "synthetic-000007"]):
        status, _, told = spotify_dag(data, *command)
        assert (status, "has 4 user buckets, and SPOTIFY_DAG_N_BUCKETS says 2" in told) == (1, True)
