"""Files that were cut off are named and made anew; a full disk is said, and leaves what was there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from spotify_dag.definitions import build_definitions
from spotify_dag.disk_faults import disk_error
from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, TEXT_VECTORS, USER_EMBEDDINGS, USER_TASTES, USERS, Table
from spotify_dag.settings import Settings
from spotify_dag_tests.staleness.test_changed_users import content

pytestmark = pytest.mark.slow


def bring_up(project: Project, instance: dg.DagsterInstance, told: list[tuple[str, str]]) -> list[str]:
    definitions = build_definitions(settings=project.settings)
    runs = bring_up_to_date(project, definitions, instance, started=lambda *what: told.append(what))
    return [run.stage for run in runs]


@pytest.mark.parametrize(
    ("table", "stages"),
    [
        (RAW_PLAYLISTS, ["ingest"]),
        (USERS, ["ingest"]),
        (ARTIST_GENRES, ["features"]),
        (USER_TASTES, ["features"]),
        (USER_EMBEDDINGS, ["features"]),
        (TEXT_VECTORS, ["features"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_truncated_file_is_named_and_made_anew(
    project: Project, instance: dg.DagsterInstance, table: Table, stages: list[str]
) -> None:
    before = content(project)
    file = sorted((project.lake.root / table.name).rglob("*.parquet"))[0]
    os.truncate(file, file.stat().st_size // 2)
    told: list[tuple[str, str]] = []
    assert bring_up(project, instance, told) == stages
    assert told[0][0] == "repair"
    assert str(file) in told[0][1]
    for name, frame in content(project).items():
        assert_frame_equal(frame, before[name], abs_tol=1e-5)
    assert bring_up(project, instance, told) == []


def test_nothing_is_dropped_where_nothing_is_damaged(project: Project) -> None:
    versions = project.lake.snapshot()
    assert drop_damaged(project) == []
    assert project.lake.snapshot() == versions


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("a small file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_said_and_the_next_run_finishes(
    built: Path, small_disk: Path, instance: dg.DagsterInstance
) -> None:
    shutil.copytree(built, small_disk / "data")
    project = Project.open(Settings(data=small_disk / "data", n_buckets=2))
    before = content(project)["user_embeddings"]
    project.inbox.register_source("synthetic", {"users": 60, "playlists": 2, "tracks": 10})
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * max(0, free - 4096))
    with pytest.raises(Exception, match="No space left") as full:
        bring_up(project, instance, [])
    assert re.search(f"^No space left on device: {small_disk}.*Make room", str(disk_error(full.value, small_disk)))
    assert_frame_equal(content(project)["user_embeddings"], before)
    filler.unlink()
    assert bring_up(project, instance, [])[-1] == "index"
    assert project.lake.scan(USERS).select(pl.len()).collect().item() == 60
    assert not [file for file in project.lake.root.rglob("*") if file.name.startswith(".new-")]
