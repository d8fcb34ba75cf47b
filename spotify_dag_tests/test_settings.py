"""The environment is read once, and a wrong value is refused by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.root import ObjectPath
from spotify_dag.settings import Settings, is_loopback


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
        "local": None,
        "n_buckets": None,
        "encoder": None,
        "profiles_count": None,
        "playlists_count": None,
        "top_artist_count": 50,
        "seed": 0,
        "train_on_spotify": False,
        "train_users": 20_000,
        "training_preset": "default",
        "mlflow_uri": None,
        "spotify_client_id": None,
        "spotify_client_secret": None,
        "spotify_api_url": "https://api.spotify.com/v1",
        "spotify_auth_url": "https://accounts.spotify.com",
        "spotify_concurrency": 4,
        "spotify_timeout": 30,
        "spotify_deadline": 120,
        "spotify_max_wait": 30,
        "spotify_daily_budget": 100_000,
        "spotify_artist_age_days": 30,
        "spotify_refresh_hours": 168,
        "spotify_followed": False,
        "alert_webhook": None,
        "ui_url": None,
        "listenbrainz_api_url": "https://api.listenbrainz.org",
        "listenbrainz_token": None,
        "listenbrainz_artists_only": False,
        "listenbrainz_least_listens": 50,
        "lastfm_api_url": "https://ws.audioscrobbler.com",
        "lastfm_api_key": None,
        "train_on_lastfm": False,
        "retention_days": None,
        "gone_days": 30,
        "app_url": None,
        "app_password": None,
        "app_proxy_header": None,
        "app_requests_per_minute": 600,
        "app_newcomers_per_minute": 20,
        "app_connections_per_client": 64,
        "app_connections": 1_000,
        "postgres_url": None,
        "buckets_per_run": None,
        "app_keeps": True,
        "app_max_upload_mb": 200,
        "app_request_seconds": 30,
        "app_upload_seconds": 300,
        "app_newcomer_seconds": 120,
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
        ("SPOTIFY_DAG_SPOTIFY_API_URL", "http://127.0.0.1:8765/v1/", "spotify_api_url", "http://127.0.0.1:8765/v1"),
        ("SPOTIFY_DAG_SPOTIFY_FOLLOWED", "true", "spotify_followed", True),
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
        ("DATA", "gs://bucket/taste"),
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

    def test_what_stays_on_this_machine_is_there_too(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Settings().local_data == tmp_path.resolve() / "data"
        monkeypatch.setenv("SPOTIFY_DAG_LOCAL", "here")
        assert (Settings().data, Settings().local_data) == (tmp_path.resolve() / "data", tmp_path.resolve() / "here")

    def test_in_object_storage_it_knows_its_locks_and_does_not_show_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SPOTIFY_DAG_DATA", "s3://bucket/root")
        monkeypatch.setenv("SPOTIFY_DAG_LOCAL", str(tmp_path))
        assert isinstance(data := Settings().data, ObjectPath)
        assert (str(data), data.locks) == ("s3://bucket/root", None)
        monkeypatch.setenv("SPOTIFY_DAG_POSTGRES_URL", "postgresql://me:hush@host/db")
        settings = Settings()
        assert isinstance(settings.data, ObjectPath)
        assert (settings.data / "lake").locks == "postgresql://me:hush@host/db"
        assert settings.local_data == tmp_path.resolve()
        assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()

    @pytest.mark.parametrize(
        ("uri", "expected"),
        [
            ("s3://bucket/root", "SPOTIFY_DAG_LOCAL is 'None': Value error, it must be set, as s3://bucket/root is"),
            ("s3://Bucket", "SPOTIFY_DAG_DATA is 's3://Bucket': Value error, s3://Bucket is no place for a data root"),
            ("gs://bucket", "SPOTIFY_DAG_DATA is 'gs://bucket': Value error, gs:// is neither a folder of this"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, monkeypatch: pytest.MonkeyPatch, uri: str, expected: str) -> None:
        monkeypatch.setenv("SPOTIFY_DAG_DATA", uri)
        done = CliRunner().invoke(app, ["run"])
        assert done.exit_code == 1
        assert done.output.startswith(f"Error: {expected}")

    def test_nothing_is_created(self, tmp_path: Path) -> None:
        assert not Settings(data=tmp_path / "new").data.exists()


class TestDagsterHome:
    def test_it_is_dagsters_own_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
        assert Settings().dagster_home == Path("/srv/dagster")

    def test_code_sets_it_by_the_name_of_the_field(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DAGSTER_HOME", "/srv/dagster")
        assert Settings(dagster_home=tmp_path).dagster_home == tmp_path


@pytest.mark.parametrize(
    "url",
    ["http://api.spotify.com/v1", "ftp://127.0.0.1/v1", "https://me:secret@api.spotify.com/v1", "api.spotify.com", ""],
)
def test_tokens_are_sent_nowhere_unsafe(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_SPOTIFY_API_URL", url)
    with pytest.raises(ValidationError, match=r"https://"):
        Settings()


def test_the_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET", "hush")
    settings = Settings()
    assert settings.spotify_client_secret is not None
    assert settings.spotify_client_secret.get_secret_value() == "hush"
    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:80/v1", True), ("http://127.8.9.1", True), ("http://[::1]:9/", True),
        ("http://localhost", True), ("https://api.spotify.com/v1", False), ("https://127.0.0.1.example.org", False),
        ("https://localhost.org", False),
        ("http://10.0.0.1", False), ("http://[::2]/", False), ("nothing", False),
    ],
)  # fmt: skip
def test_what_is_this_machine_itself(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


@pytest.mark.parametrize("name", ["a%20b", "a[1]", "what?", "all*", "a#b", "a;b", "a\nb"])
def test_a_data_root_whose_path_means_something_else_to_libraries_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValidationError, match=r"in it, which stands for something else .* choose another folder"):
        Settings(data=tmp_path / name / "data")


@pytest.mark.parametrize("name", ["with space", "été", "a+b", "a&b", "o'clock", "a=b,c", "(x)", "~x", "夜"])
def test_other_paths_are_taken(tmp_path: Path, name: str) -> None:
    assert Settings(data=tmp_path / name).data == (tmp_path / name).resolve()


def test_dagster_s_home_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    with pytest.raises(ValidationError, match=f"must be an absolute path, like {tmp_path.resolve()}/relative"):
        Settings()
    done = CliRunner().invoke(app, ["run", "--source", "synthetic"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: DAGSTER_HOME is 'relative': Value error, it must be an absolute path")
