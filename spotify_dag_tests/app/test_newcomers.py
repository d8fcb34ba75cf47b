"""Somebody new is answered at once with the very vector that the graph gives them later."""

from __future__ import annotations

import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from spotify_dag.app.newcomers import Newcomers, hand_in, handed_in
from spotify_dag.app.snapshot import Snapshot
from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag_tests.app.conftest import exportify

pytestmark = pytest.mark.slow

ARTISTS = ["Usher", "Prince", "Beyoncé", "Frank Ocean", "Metallica", "Nobody Has Heard Of Them"] * 4


def test_real_time_and_batch_vectors_of_one_user_are_equal(
    project: Project, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    path = tmp_path / "my list.csv"
    path.write_bytes(exportify(ARTISTS))
    before = Snapshot.read(project)
    with handed_in(path, "export-anna", tmp_path) as (source, _):
        newcomer = Newcomers(project).embed(before, "export-anna", source)
        matches = before.matches(newcomer.person, 5)
        hand_in(project, "export-anna", source, opted_in=True)
    assert not before.people(["export-anna"])
    project.inbox.requests.sweep()
    definitions = build_definitions(settings=project.settings)
    stages = [stage.stage for stage in bring_up_to_date(project, definitions, instance)]
    assert stages == ["ingest", "features", "index"]
    after = Snapshot.read(project)
    assert after.model_version == before.model_version
    anna = after.person("export-anna")
    # A name that was never encoded is encoded in another company: bfloat16 differs in the last digits.
    assert np.abs(anna.vector - newcomer.person.vector).max() < 2e-3
    assert float(anna.vector @ newcomer.person.vector) > 0.9999
    assert anna.tracks == newcomer.person.tracks == len(ARTISTS)
    assert [match.user_id for match in after.matches(anna, 5)] == [match.user_id for match in matches]
    assert anna.taste == newcomer.person.taste
    shutil.rmtree(project.settings.data)
