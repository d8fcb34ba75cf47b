"""What is damaged is named, with the remedy, and mended by the next run where that can be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.files import DamagedFileError
from spotify_dag.lifecycle.deep_check import damaged
from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import USER_TASTES

pytestmark = pytest.mark.slow


def cut(file: Path) -> Path:
    """Leave the first half of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    return file


def flip(file: Path) -> Path:
    """Change bits in the middle of a file, whose length stays."""
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle - 40 : middle + 40] = bytes(byte ^ 0xFF for byte in content[middle - 40 : middle + 40])
    file.write_bytes(content)
    return file


def lake_file(project: Project) -> Path:
    from deltalake import DeltaTable

    return Path(DeltaTable(project.lake.uri(USER_TASTES)).file_uris()[0])


def index_file(project: Project) -> Path:
    folder = Path(project.vectors) / f"user_index_{project.published()}.lance"
    return max((folder / "data").glob("*.lance"), key=lambda file: file.stat().st_size)


def track_file(project: Project) -> Path:
    return max((Path(project.vectors) / "tracks.lance" / "data").glob("*.lance"), key=lambda file: file.stat().st_size)


def weights(project: Project) -> Path:
    return Path(project.registry.root) / str(project.published()) / "tower.safetensors"


def continuation(project: Project) -> Path:
    return next(Path(project.track_model.root).glob("model-*/factors.npy"))


def run(project: Project) -> list[str]:
    definitions = build_definitions(settings=project.settings)
    with dg.DagsterInstance.ephemeral() as instance:
        return [stage.stage for stage in bring_up_to_date(project, definitions, instance)]


def test_nothing_is_wrong_with_what_is_whole(project: Project) -> None:
    assert list(damaged(project)) == []
    assert drop_damaged(project) == []


CUT = {
    "lake": (lake_file, ["features"]),
    "user index": (index_file, ["index"]),
    "track index": (track_file, ["tracks"]),
    "weights": (weights, []),
    "continuation": (continuation, ["tracks"]),
}


@pytest.mark.parametrize(("find", "stages"), CUT.values(), ids=CUT)
def test_what_was_cut_short_is_found_and_made_anew(
    project: Project, find: Callable[[Project], Path], stages: list[str]
) -> None:
    before = project.user_index(str(project.published())).rows()
    cut(find(project))
    assert len(list(damaged(project))) == 1
    assert run(project) == stages
    assert list(damaged(project)) == []
    assert project.user_index(str(project.published())).rows().equals(before)


def test_bits_that_flipped_are_found_and_their_file_can_be_deleted(project: Project) -> None:
    file = flip(lake_file(project))
    assert drop_damaged(project) == []  # its length is right
    (line,) = damaged(project)
    assert line.startswith(f"{file} cannot be read: ")
    assert line.endswith("Delete it, then spotify-dag run makes it anew")
    file.unlink()
    assert run(project) == ["features"]
    assert list(damaged(project)) == []


OWN = {
    "vectors/published.json": "spotify-dag run publishes the champion again",
    "layout.json": "SPOTIFY_DAG_N_BUCKETS",
    "inbox/source-synthetic.json": "spotify-dag run --source synthetic",
    "models/tracks/serving.json": "spotify-dag run learns",
    "models/tracks/catalogue.json": "spotify-dag run makes",
    "inbox/artist-genres.json": "--artist-genres PATH",
    "inbox/requests/users.parquet": "spotify-dag add",
    "inbox/requests/users/007.parquet": "spotify-dag add",
}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"n_buckets": "many"}'])
@pytest.mark.parametrize(("name", "remedy"), OWN.items(), ids=OWN)
def test_an_own_file_that_is_damaged_is_named_with_the_remedy(
    tmp_path: Path, name: str, remedy: str, content: bytes
) -> None:
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=tmp_path, n_buckets=2))
    project.check_layout()
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content)
    if content == b'{"n_buckets": "many"}' and name.startswith("models/tracks/"):
        return  # a card may say anything
    (line,) = damaged(project)
    assert line.startswith(f"{tmp_path / name} is damaged: ")
    assert remedy in line


def test_every_command_says_which_file_it_is(project: Project) -> None:
    version = project.published()
    (project.vectors / "published.json").write_text('{"model_ver')
    for arguments in (["recommend", "synthetic-000001"], ["run"], ["doctor", "--deep"]):
        done = CliRunner().invoke(
            app, ["--data", str(project.settings.data), *arguments], env={"SPOTIFY_DAG_N_BUCKETS": "2"}
        )
        assert done.exit_code == 1
        assert f"{project.vectors / 'published.json'} is damaged" in " ".join(done.output.replace("\n", "").split())
    (project.vectors / "published.json").unlink()
    assert run(project) == []  # the index is whole: it is only published again
    assert project.published() == version


def test_what_is_damaged_is_an_error_of_its_own(project: Project) -> None:
    (project.settings.data / "layout.json").write_text("{}")
    with pytest.raises(DamagedFileError, match=r"layout\.json is damaged: n_buckets: Field required"):
        project.check_layout()
    assert isinstance(project.lake.scan(USER_TASTES).collect(), pl.DataFrame)
    shutil.rmtree(project.settings.data)
