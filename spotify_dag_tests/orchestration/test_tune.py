"""``spotify-dag tune`` and ``run --train --preset`` as a person types them, and what the graph trains with after."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from spotify_dag.cli import app
from spotify_dag.resources.project import Project
from spotify_dag.resources.training_config import load_training_settings, training_config


@pytest.fixture(autouse=True)
def two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    monkeypatch.setenv("COLUMNS", "160")


def test_tuning_writes_what_the_next_training_uses(project: Project) -> None:
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "tune", "--trials", "3", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["trials"] == 3
    assert told["mrr"] >= told["start_mrr"] > 0.5
    assert told["path"] == str(training_config(project))
    assert told["settings"].items() <= vars(load_training_settings(project)).items()


def test_nobody_to_tune_on_is_said_and_writes_nothing(project: Project, tmp_path) -> None:
    empty = tmp_path / "empty"
    done = CliRunner().invoke(app, ["--data", str(empty), "tune"])
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: 0 users of {empty} can be trained on; tuning needs at least 2.")
    assert not empty.exists()


def test_the_graph_trains_with_what_was_found_or_with_the_preset(project: Project) -> None:
    champion = project.registry.champion()
    training_config(project).write_text('{"settings": {"epochs": 11, "factors": 16}}')
    run = ["--data", str(project.settings.data), "run", "--train", "--json"]
    assert CliRunner().invoke(app, run).exit_code == 0
    latest = project.registry.latest()
    assert {"epochs": 11, "factors": 16}.items() <= project.registry.card(latest)["training"].items()

    assert CliRunner().invoke(app, [*run, "--preset", "seed-2025"]).exit_code == 0
    preset = project.registry.latest()
    assert project.registry.card(preset)["training"]["loss"] == "cosine_random"
    assert project.registry.champion() in (champion, latest)


def test_a_preset_without_training_is_refused(project: Project) -> None:
    done = CliRunner().invoke(app, ["--data", str(project.settings.data), "run", "--preset", "seed-2025"])
    assert done.exit_code == 1
    assert done.stderr == "Error: --preset seed-2025 says how to train: give it with --train.\n"
