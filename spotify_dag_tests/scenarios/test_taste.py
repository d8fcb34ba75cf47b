"""Months that a file tells of, from handing it in to the answer, and gone with their user."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.lifecycle.retention import retain
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import LISTENING_MONTHS
from spotify_dag.settings import Settings
from spotify_dag_tests.app.conftest import serving

pytestmark = pytest.mark.slow

USER = "export-ann"


def play(time: str, artist: str) -> dict[str, object]:
    return {"endTime": time, "artistName": artist, "trackName": f"song {time}", "msPlayed": 200_000}


def test_months_from_the_file_to_the_answer(project: Project, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    months = {"2021-03": "Metallica", "2021-04": "Metallica", "2024-03": "Prince", "2024-04": "Prince"}
    history = [play(f"{month}-1{day} 10:00", artist) for month, artist in months.items() for day in range(5)]
    file = tmp_path / "StreamingHistory_music_0.json"
    file.write_text(json.dumps(history))
    project.check_layout()

    def command(*words: str) -> str:
        buckets = {"SPOTIFY_DAG_N_BUCKETS": str(project.settings.n_buckets)}
        done = CliRunner().invoke(app, ["--data", str(project.settings.data), *words], env=buckets)
        assert done.exit_code == 0, done.output
        return done.stdout

    command("add", str(file), "--as", "ann")
    project.inbox.requests.sweep()
    definitions = build_definitions(settings=project.settings)
    stages = [stage.stage for stage in bring_up_to_date(project, definitions, instance)]
    assert stages[:2] == ["ingest", "features"]
    rows = project.lake.scan(LISTENING_MONTHS).filter(user_id=USER, kind="artist").sort("month").collect()
    assert rows.select("month", "name", "count").rows() == [
        (202103, "Metallica", 5), (202104, "Metallica", 5), (202403, "Prince", 5), (202404, "Prince", 5),
    ]  # fmt: skip
    answer = json.loads(command("taste", USER, "--json"))
    assert answer["periods"] == ["2021-03", "2021-04", "2024-03", "2024-04"]
    came = {(change["kind"], change["name"]): (change["then"], change["now"]) for change in answer["came"]}
    assert came["artist", "Prince"] == (0, 1)
    assert "Metallica" in command("taste", USER)
    assert "Nothing tells when" in " ".join(command("taste", "synthetic-000001").split())
    with serving(project) as served:
        path, proof = f"/api/v1/users/{USER}", {"X-User-Token": served.service.identity.file_token(USER)}
        assert served.client.get(f"{path}/taste").status_code == 401
        assert served.client.get(f"{path}/taste", headers=proof).json() == answer
        stored = served.client.get(f"{path}/data", headers=proof).json()["listening_months"]
        assert len(stored) == served.client.get(path, headers=proof).json()["rows"]["listening_months"] > 4

    old = Project.open(Settings(data=project.settings.data, n_buckets=2, retention_days=30))
    assert retain(old, datetime.now(UTC) + timedelta(days=31)).rows_dropped["listening_months"] == len(stored)
    file.write_text(json.dumps(history[1:]))
    command("add", str(file), "--as", "ann")
    project.inbox.requests.sweep()
    assert [stage.stage for stage in bring_up_to_date(project, definitions, instance)][:1] == ["ingest"]
    assert forget(project, USER).deleted["lake/listening_months"] == len(stored)
    assert find_mentions(project, USER).total == 0
