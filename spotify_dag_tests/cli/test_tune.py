"""``spotify-dag tune`` and ``run --train --preset`` as a person types them, and what comes of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.project import Project
from spotify_dag.tower.hyperparameters import SEED_PRESET
from spotify_dag.training_data.training_settings import load_training_settings, training_config

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    monkeypatch.setenv("COLUMNS", "160")


def test_tuning_writes_what_the_next_training_uses(project: Project) -> None:
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "tune", "--trials", "2", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["trials"] == 2
    assert told["mrr"] >= told["start_mrr"] > 0.5
    assert told["path"] == str(training_config(project))
    assert told["settings"].items() <= vars(load_training_settings(project)).items()


def test_nobody_to_tune_on_is_said_and_writes_nothing(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    done = CliRunner().invoke(app, ["--data", str(empty), "tune"])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Nothing to train on: a tower takes at least 2 users, and there are 0.")
    assert not empty.exists()


def test_the_graph_trains_with_the_preset_and_the_champion_stays(project: Project) -> None:
    champion = project.registry.champion()
    run = ["--data", str(project.settings.data), "run", "--train", "--preset", "seed-2025"]
    done = CliRunner().invoke(app, run)
    assert done.exit_code == 0, done.output
    latest = project.registry.latest()
    assert project.registry.card(latest)["training"] == json.loads(json.dumps(asdict(SEED_PRESET)))
    assert project.registry.champion() == champion != latest
    assert f"{latest} stays a challenger" in done.output
    assert "It was not measured on users kept from its training." in " ".join(done.output.split())


def test_a_preset_without_training_is_refused(project: Project) -> None:
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "run", "--preset", "seed-2025"])
    assert done.exit_code == 1
    assert done.stderr == "Error: --preset seed-2025 says how to train: give it with --train.\n"
