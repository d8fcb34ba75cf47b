"""How the next tower is trained: whatever the file of a search holds, either it is used or it is refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.tower.hyperparameters import SEED_PRESET, TrainingSettings
from spotify_dag.tower.tuning import Tuned
from spotify_dag.training_data.training_settings import (
    TrainingConfigError,
    load_training_settings,
    save_training_settings,
    training_config,
)

TUNED = Tuned({"epochs": 12, "dropout": 0.5}, mrr=0.6, start_mrr=0.5, trials=3, validation_users=20)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(Settings(data=tmp_path, seed=7))


def test_without_a_search_the_defaults_with_the_seed_of_the_settings(project: Project) -> None:
    assert load_training_settings(project) == TrainingSettings(seed=7)


def test_what_a_search_found_is_used(project: Project) -> None:
    save_training_settings(project, TUNED)
    assert load_training_settings(project) == TrainingSettings(epochs=12, dropout=0.5, seed=7)
    kept = json.loads(training_config(project).read_bytes())
    assert (kept["mrr"], kept["start_mrr"], kept["trials"]) == (0.6, 0.5, 3)
    assert kept["date"].startswith("20")


def test_a_preset_is_used_whatever_a_search_found(project: Project) -> None:
    save_training_settings(project, TUNED)
    preset = Project.open(project.settings.model_copy(update={"training_preset": "seed-2025"}))
    assert load_training_settings(preset) == replace(SEED_PRESET, seed=7)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "Expecting value"),
        ("\xff", "codec can't decode"),
        ('{"settings": {"epochs"', "Expecting"),
        ("[1]", "it has no 'settings'"),
        ('{"mrr": 0.5}', "it has no 'settings'"),
        ('{"settings": {"seed": 3}}', "there is no setting 'seed'"),
        ('{"settings": {"epochs": "30"}}', "epochs is '30'; it must be a whole number from 10 to 60"),
        ('{"settings": {"dropout": NaN}}', "dropout is nan; it must be a number from 0 to 0.6"),
        ('{"settings": {"learning_rate": -1}}', "learning_rate is -1; it must be a number from 0.0001 to 0.01"),
    ],
)
def test_a_file_that_is_damaged_or_holds_something_else_is_refused(project: Project, content: str, told: str) -> None:
    training_config(project).write_bytes(content.encode("latin-1"))
    with pytest.raises(TrainingConfigError) as refused:
        load_training_settings(project)
    assert told in str(refused.value)
    assert str(training_config(project)) in str(refused.value)
    assert "spotify-dag tune" in str(refused.value)


def test_a_folder_in_its_place_is_refused(project: Project) -> None:
    training_config(project).mkdir()
    with pytest.raises(TrainingConfigError, match="Is a directory"):
        load_training_settings(project)
