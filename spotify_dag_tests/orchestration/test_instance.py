"""Where Dagster keeps its state, and who configures it."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotify_dag.orchestration.instance import dagster_home, open_instance
from spotify_dag.project import Project
from spotify_dag.settings import Settings


@pytest.mark.parametrize("given", ["elsewhere/dagster", "killed", None])
def test_a_folder_that_is_not_there_or_empty_is_configured(tmp_path: Path, given: str | None) -> None:
    home = tmp_path / given if given else None
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".half.tmp").touch()
    project = Project.open(Settings(data=tmp_path / "data", dagster_home=home))
    with open_instance(project) as instance:
        assert instance.root_directory == str(home or tmp_path / "data" / "dagster")
    assert str(dagster_home(project)) in (dagster_home(project) / "dagster.yaml").read_text()


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "history").mkdir()
    project = Project.open(Settings(data=tmp_path / "data", dagster_home=tmp_path))
    open_instance(project).dispose()
    assert not (tmp_path / "dagster.yaml").exists()
