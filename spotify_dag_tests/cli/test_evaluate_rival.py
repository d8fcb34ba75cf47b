"""``spotify-dag evaluate --rival listenbrainz`` against a simulator that finds similar users as ListenBrainz does."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import serve

pytestmark = pytest.mark.slow
USERS = 30


def test_similar_users_help_more_than_random_ones(project: Project, instance: dg.DagsterInstance) -> None:
    with serve(SimulatorSettings(users=USERS, playlists=2, tracks=10, listens=150)) as simulator:
        settings = project.settings.model_copy(update={"listenbrainz_api_url": simulator.url})
        here = Project.open(settings)
        listed = settings.data / "users.txt"
        listed.write_text("\n".join(simulator.api.listening.world.user_id(number) for number in range(USERS)))
        here.inbox.register_source("listenbrainz", {"path": str(listed)})
        list(bring_up_to_date(here, build_definitions(settings=settings), instance))
        variables = {"SPOTIFY_DAG_LISTENBRAINZ_API_URL": simulator.url, "SPOTIFY_DAG_N_BUCKETS": "2"}
        command = ["--data", str(settings.data), "evaluate", "--rival", "listenbrainz", "--json"]
        result = CliRunner().invoke(app, command, env=variables)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["protocol"]["users"] == USERS
    rows = {row["model"]: row for row in report["rows"]}
    assert set(rows) == {"listenbrainz", "cosine of counts", "tower", "random"}
    assert rows["listenbrainz"]["ndcg@20"] > rows["random"]["ndcg@20"]
    assert rows["tower"]["ndcg@20"] > rows["random"]["ndcg@20"]
    assert len({row["neighbours"] for row in rows.values()}) == 1


def test_without_users_of_listenbrainz_it_says_how_to_get_some(project: Project) -> None:
    command = ["--data", str(project.settings.data), "evaluate", "--rival", "listenbrainz"]
    result = CliRunner().invoke(app, command, env={"SPOTIFY_DAG_N_BUCKETS": "2"})
    assert result.exit_code == 1
    assert "spotify-dag run --source listenbrainz --path USERS.txt" in " ".join(result.stderr.split())
