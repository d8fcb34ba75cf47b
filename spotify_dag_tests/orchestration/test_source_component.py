"""A source declared in YAML is registered by a sensor, once, and a wrong one is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from spotify_dag.orchestration.source_component import SourceComponent
from spotify_dag.project import Project
from spotify_dag.settings import Settings

REPOSITORY = Path(__file__).parents[2]
DECLARED = """
type: spotify_dag.orchestration.source_component.SourceComponent
attributes:
  source: synthetic
  options: {users: 12, playlists: 2, tracks: 10}
"""


def sensor_of(source: str, **options: object) -> dg.SensorDefinition:
    component = SourceComponent(source=source, options=options)
    (sensor,) = component.build_defs(dg.ComponentTree.for_test().load_context).sensors or []
    assert isinstance(sensor, dg.SensorDefinition)
    return sensor


def test_it_registers_the_source_and_follows_its_options(tmp_path: Path) -> None:
    project = Project.open(Settings(data=tmp_path))
    context = dg.build_sensor_context(resources={"project": project})
    said = [str(sensor_of("synthetic", users=users)(context)) for users in (12, 12, 13)]
    assert ["Registered" in text for text in said] == [True, False, True]
    assert project.inbox.has_source("synthetic", {"users": 13})
    assert [source.name for source in project.inbox.sources()] == ["synthetic"]


def test_a_source_that_cannot_be_read_is_named_and_nothing_is_registered(tmp_path: Path) -> None:
    project = Project.open(Settings(data=tmp_path))
    with pytest.raises(dg.Failure, match="no option colour"):
        sensor_of("synthetic", colour="red")(dg.build_sensor_context(resources={"project": project}))
    assert project.inbox.is_empty()


def test_a_source_asked_for_by_hand_since_then_is_left_alone(tmp_path: Path) -> None:
    """``spotify-dag run --source`` notes when, so that it reads at once."""
    project = Project.open(Settings(data=tmp_path))
    (listed := tmp_path / "users.txt").write_text("anna\n")
    project.inbox.register_source("listenbrainz", {"path": str(listed), "asked": 1_800_000_000.0})
    sensor = sensor_of("listenbrainz", path=str(listed))
    assert "It is registered" in str(sensor(dg.build_sensor_context(resources={"project": project})))


def test_a_path_that_depends_on_the_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="path must be absolute, not tables/lastfm"):
        sensor_of("lastfm", path="tables/lastfm")


@pytest.mark.process
def test_what_stands_in_the_folder_of_declarations_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "spotify_dag", tmp_path / "spotify_dag", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    (tmp_path / "spotify_dag" / "defs" / "generated").mkdir()
    (tmp_path / "spotify_dag" / "defs" / "generated" / "defs.yaml").write_text(DECLARED)
    code = """
import json
from spotify_dag.definitions import defs
print(json.dumps([sensor.name for sensor in defs().sensors]))
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "SPOTIFY_DAG_DATA": str(tmp_path / "data")}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "declared_synthetic" in json.loads(shown.stdout.splitlines()[-1])
