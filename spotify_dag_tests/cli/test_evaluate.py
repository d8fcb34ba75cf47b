"""``spotify-dag evaluate`` on a small generated world, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from spotify_dag.cli.main import app
from spotify_dag_tests.conftest import made_once

# One process makes the data, and the other does not wait for it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("evaluate")]


def evaluate(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), "evaluate", *arguments])


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the features of 60 users, and nothing trained."""
    return made_once(tmp_path_factory, "evaluated", _make)


def _make(root: Path) -> None:
    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    project.check_layout()
    project.inbox.register_source("synthetic", {"users": 60, "playlists": 2, "tracks": 10})
    with open_instance(project) as instance:
        definitions = build_definitions(settings=project.settings, overrides={"project": project})
        stages = bring_up_to_date(project, definitions, instance, only_features=True)
        assert [stage.stage for stage in stages] == ["ingest", "features"]


def test_machines_get_the_protocol_and_a_row_per_model(data: Path) -> None:
    done = evaluate(data, "--models", "popularity,TF-IDF cosine", "--folds", "2", "--seeds", "2", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout, parse_constant=pytest.fail)
    assert found["protocol"]["users"] == 60
    assert (found["protocol"]["folds"], found["protocol"]["seeds"]) == (2, 2)
    popularity, tf_idf = found["rows"]
    assert [popularity["model"], tf_idf["model"]] == ["popularity", "TF-IDF cosine"]
    assert tf_idf["mrr"] > popularity["mrr"]
    assert tf_idf["friend_auc"] is None
    assert {"activity_q1", "cold"} <= set(tf_idf["by"])


def test_people_get_a_table(data: Path) -> None:
    done = evaluate(data, "--models", "genre text mean", "--folds", "2", "--seeds", "1")
    assert done.exit_code == 0, done.output
    assert "genre text mean" in done.stdout
    assert "±" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--models", "magic"), "Unknown model 'magic'"),
        (("--path", "x.csv"), "belong to --source"),
        (("--source", "lastfm", "--path", "/nowhere"), "There is no file or folder '/nowhere'"),
    ],
)
def test_what_cannot_be_is_one_line(data: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = evaluate(data, *arguments)
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("tracks", "--path", "/nowhere.csv"), "There is no file '/nowhere.csv'"),
        (("tracks", "--path", "/nowhere.csv", "--only", "magic"), "--only is 'magic'"),
        (("--models", "tower", "tracks", "--path", "/nowhere.csv"), "--models stands before 'tracks'"),
        (("--json", "tracks", "--path", "/nowhere.csv"), "--json stands before 'tracks'"),
    ],
)
def test_evaluate_tracks_refuses_in_one_line(tmp_path: Path, arguments: tuple[str, ...], complaint: str) -> None:
    done = evaluate(tmp_path / "data", *arguments)
    assert done.exit_code == 1
    assert complaint in done.stderr
    assert "Traceback" not in done.output
