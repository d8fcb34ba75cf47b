"""The instance on PostgreSQL, against a real server: a run is recorded, and outlives a crash of the server."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import dagster as dg
import pytest
import yaml

from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.orchestration.instance import INSTANCE_CONFIG, open_instance
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag_tests.conftest import REPOSITORY
from spotify_dag_tests.scenarios.servers import Postgres

pytestmark = [pytest.mark.process, pytest.mark.slow]

CONFIG = REPOSITORY / "deploy" / "dagster-postgres.yaml"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def test_a_run_is_recorded_and_outlives_a_crash_of_the_server(
    project: Project, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIG, home / "dagster.yaml")
    monkeypatch.setenv("SPOTIFY_DAG_POSTGRES_URL", postgres.url)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    project = Project.open(Settings(data=project.settings.data, n_buckets=2))
    definitions = build_definitions(settings=project.settings)
    with open_instance(project) as instance:
        assert type(instance.event_log_storage).__module__.startswith("dagster_postgres")
        result = definitions.resolve_job_def("ingest").execute_in_process(
            instance=instance, run_config=QUIET,
            tags={"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "01"},
        )  # fmt: skip
        assert result.success
        instance.daemon_cursor_storage.set_cursor_values({"sensor": "where it was"})

    postgres.stop("immediate")  # as after a power cut
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", postgres.port), 1)
    postgres.start()

    with open_instance(project) as instance:
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.is_success
        assert set(instance.get_materialized_partitions(dg.AssetKey("raw_playlists"))) == {"00", "01"}
        checks = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey("raw_playlists"), "rejects_are_as_usual"), limit=5
        )
        assert [check.run_id for check in checks] == [result.run_id]
        assert instance.daemon_cursor_storage.get_cursor_values({"sensor"}) == {"sensor": "where it was"}
    assert not list(home.rglob("*.db")), "nothing beside the server"


def test_an_id_in_the_instance_is_forgotten(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(CONFIG, home / "dagster.yaml")
    monkeypatch.setenv("SPOTIFY_DAG_POSTGRES_URL", postgres.url)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    project = Project.open(Settings(data=tmp_path / "data", n_buckets=2))
    project.tombstones.add("anna")
    told = {"who": "anna", "other": "annabel", "quoted": 'of "anna"'}
    with open_instance(project) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_playlists", metadata=told))
    found = find_mentions(project, "anna").counts
    assert {place: count for place, count in found.items() if place.startswith("PostgreSQL")}
    assert forget(project, "anna").deleted["dagster"] > 0
    assert find_mentions(project, "anna").counts == {}
    with open_instance(project) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("raw_playlists"))
    assert event is not None
    assert event.asset_materialization is not None
    kept = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert kept == {"who": "[forgotten]", "other": "annabel", "quoted": 'of "[forgotten]"'}
    # Nor is it in the files of the tables.
    postgres.stop("fast")
    try:
        tables = [file for file in (postgres.folder / "data" / "base").rglob("*") if file.is_file()]
        assert len(tables) > 100
        mentions = [file for file in tables if b'"anna\\"' in file.read_bytes() or b'"anna"' in file.read_bytes()]
        assert mentions == []
    finally:
        postgres.start()


def test_both_configurations_are_the_same_but_for_where_they_store() -> None:
    sqlite, postgres = (yaml.safe_load(file.read_text()) for file in (INSTANCE_CONFIG, CONFIG))
    assert set(sqlite.pop("storage")) == {"custom"}
    assert set(postgres.pop("storage")) == {"postgres"}
    assert sqlite == postgres, "deploy/dagster-postgres.yaml does not say what dagster.yaml says"
