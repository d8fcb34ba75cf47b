"""The environment is read once, and a wrong value is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from spotify_dag.settings import Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start from an environment that says nothing, in a folder of its own."""
    for name in os.environ:
        if name.startswith("SPOTIFY_DAG_") or name == "DAGSTER_HOME":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults(tmp_path: Path) -> None:
    assert Settings().model_dump() == {
        "data": tmp_path.resolve() / "data",
        "n_buckets": 64,
        "encoder": None,
        "profiles_count": None,
        "playlists_count": None,
        "top_artist_count": 50,
        "seed": 0,
        "train_on_spotify": False,
        "train_users": 20_000,
        "mlflow_uri": None,
        "dagster_home": None,
        "executor": "in_process",
    }


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("SPOTIFY_DAG_DATA", "/srv/listening", "data", Path("/srv/listening")),
        ("SPOTIFY_DAG_N_BUCKETS", "4096", "n_buckets", 4096),
        ("SPOTIFY_DAG_ENCODER", "sentence-transformers/all-mpnet-base-v2", "encoder",
         "sentence-transformers/all-mpnet-base-v2"),
        ("SPOTIFY_DAG_PROFILES_COUNT", "1", "profiles_count", 1),
        ("SPOTIFY_DAG_PLAYLISTS_COUNT", "3", "playlists_count", 3),
        ("SPOTIFY_DAG_TOP_ARTIST_COUNT", "7", "top_artist_count", 7),
        ("SPOTIFY_DAG_SEED", "12", "seed", 12),
        ("SPOTIFY_DAG_TRAIN_USERS", "2", "train_users", 2),
        ("SPOTIFY_DAG_EXECUTOR", "multiprocess", "executor", "multiprocess"),
        ("SPOTIFY_DAG_TRAIN_ON_SPOTIFY", "true", "train_on_spotify", True),
        ("SPOTIFY_DAG_MLFLOW_URI", "https://mlflow.example", "mlflow_uri", "https://mlflow.example"),
        ("SPOTIFY_DAG_ENCODER", "", "encoder", None),
        ("SPOTIFY_DAG_MLFLOW_URI", "", "mlflow_uri", None),
        ("spotify_dag_seed", "5", "seed", 5),
    ],
)  # fmt: skip
def test_a_variable_sets_its_field_and_no_other(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    default = Settings().model_dump()
    monkeypatch.setenv(variable, text)
    assert Settings().model_dump() == default | {field: value}


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("N_BUCKETS", "0"),
        ("N_BUCKETS", "4097"),
        ("N_BUCKETS", "many"),
        ("N_BUCKETS", "2.5"),
        ("PROFILES_COUNT", "0"),
        ("PLAYLISTS_COUNT", "-1"),
        ("PLAYLISTS_COUNT", ""),
        ("TOP_ARTIST_COUNT", "0"),
        ("SEED", "-1"),
        ("TRAIN_USERS", "1"),
        ("TRAIN_ON_SPOTIFY", "perhaps"),
        ("MLFLOW_URI", "mlflow.example"),
        ("EXECUTOR", "ray"),
    ],
)
def test_a_wrong_value_is_refused_and_its_field_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(f"SPOTIFY_DAG_{variable}", text)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [(error["loc"], error["input"]) for error in refused.value.errors()] == [((variable.lower(),), text)]


def test_every_wrong_value_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_SEED", "x")
    monkeypatch.setenv("SPOTIFY_DAG_TRAIN_USERS", "y")
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert [error["loc"] for error in refused.value.errors()] == [("seed",), ("train_users",)]


def test_an_argument_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_SEED", "1")
    assert Settings(seed=2).seed == 2


def test_other_variables_are_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings()
    monkeypatch.setenv("SEED", "9")
    monkeypatch.setenv("DATA", "/elsewhere")
    monkeypatch.setenv("SPOTIFY_DAG_TEST_DATA", "/elsewhere")
    assert Settings() == default


class TestData:
    def test_a_relative_path_is_from_where_one_stands(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SPOTIFY_DAG_DATA", "a/../b")
        settings = Settings()
        monkeypatch.chdir("/")
        assert settings.data == tmp_path.resolve() / "b"

    def test_home_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("SPOTIFY_DAG_DATA", "~/listening")
        assert Settings().data == tmp_path.resolve() / "listening"

    def test_nothing_is_created(self, tmp_path: Path) -> None:
        assert not Settings(data=tmp_path / "new").data.exists()


class TestDagsterHome:
    def test_it_is_dagsters_own_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
        assert Settings().dagster_home == Path("/srv/dagster")

    def test_code_sets_it_by_the_name_of_the_field(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
        assert Settings(dagster_home=tmp_path).dagster_home == tmp_path
