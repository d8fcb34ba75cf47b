"""A run that fails is told, once and readably, to a hook that listens; and harms nothing where none does."""

import logging
from pathlib import Path

import dagster as dg
import pytest
from pydantic import SecretStr, ValidationError

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.alerts import Alert, cleaner, send
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES
from spotify_dag.settings import Settings
from spotify_dag_tests.orchestration.webhook import Hook

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Sensor:
    """The failure sensor on an instance, as the daemon ticks it."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.cursor: str | None = None
        self.definitions = build_definitions(settings=project.settings, overrides={"project": project})
        self.sensor = self.definitions.resolve_sensor_def("alert_on_failure")
        self.tick()

    def tick(self) -> None:
        context = dg.build_sensor_context(
            instance=self.instance, definitions=self.definitions, cursor=self.cursor,
            resources={"project": self.project},
        )  # fmt: skip
        self.cursor = self.sensor.evaluate_tick(context).cursor

    def run(self, job: str, **tags: str) -> dg.DagsterRun:
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False, run_config=QUIET
        )
        return result.dagster_run


def range_tags(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


@pytest.fixture
def alerted(project: Project, hook: Hook, instance: dg.DagsterInstance) -> Sensor:
    settings = project.settings.model_copy(update={"alert_webhook": hook.secret, "ui_url": "https://ui.example.org/"})
    return Sensor(Project.open(settings), instance)


def test_it_runs_by_itself(tmp_path: Path) -> None:
    sensor = build_definitions(settings=Settings(data=tmp_path)).resolve_sensor_def("alert_on_failure")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING


def test_a_run_that_succeeds_is_not_told(alerted: Sensor, hook: Hook) -> None:
    assert alerted.run("ingest", **range_tags("00", "01")).is_success
    alerted.tick()
    assert hook.received == []


def test_a_failed_run_is_told_once_with_what_why_where_and_a_link(alerted: Sensor, hook: Hook) -> None:
    """A source whose files are gone, on two buckets; then another tick."""
    root = alerted.project.settings.data
    (root / "inbox" / "source-mpd.json").write_text('{"source": "mpd", "options": {"path": "/gone/mpd"}}')
    run = alerted.run("ingest", **range_tags("00", "01"))
    assert run.is_failure
    alerted.tick()
    (message,) = hook.received
    lines = message["text"].split("\n")
    assert lines[0] == "spotify_dag: run 'ingest' at raw_playlists failed, buckets 0-1"
    assert "/gone/mpd" in lines[1]
    assert "Traceback" not in message["text"]
    assert lines[2] == f"https://ui.example.org/runs/{run.run_id}"
    assert {name: message[name] for name in ("job", "step", "buckets", "run_id")} == {
        "job": "ingest", "step": "raw_playlists", "buckets": "0-1", "run_id": run.run_id,
    }  # fmt: skip
    alerted.tick()
    assert len(hook.received) == 1


def test_a_check_that_blocks_is_told_by_name(alerted: Sensor, hook: Hook) -> None:
    import polars as pl

    lake = alerted.project.lake
    lake.replace(ARTIST_GENRES, [0], [pl.concat([lake.scan(ARTIST_GENRES, [0]).collect()] * 2)])
    job = dg.define_asset_job("judge", dg.AssetSelection.checks_for_assets("artist_genres"))
    alerted.definitions = dg.Definitions.merge(alerted.definitions, dg.Definitions(jobs=[job]))
    assert alerted.run("judge", **{"dagster/partition": "00"}).is_failure
    alerted.tick()
    (message,) = hook.received
    assert message["text"].startswith("spotify_dag: run 'judge' at artist_genres_")
    assert "failed, bucket 0\n" in message["text"]
    assert "rows_conform" in message["text"]


def test_a_hook_that_is_dead_or_refuses_harms_nothing(
    alerted: Sensor, hook: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    root = alerted.project.settings.data
    (root / "inbox" / "source-mpd.json").write_text('{"source": "mpd", "options": {"path": "/gone/mpd"}}')
    hook.status = 500
    alerted.run("ingest", **range_tags("00", "01"))
    alerted.tick()
    hook.server.shutdown()
    hook.server.server_close()
    alerted.run("ingest", **range_tags("00", "01"))
    alerted.tick()
    assert len(hook.received) == 1
    (root / "inbox" / "source-mpd.json").unlink()
    assert alerted.run("ingest", **range_tags("00", "01")).is_success


@pytest.mark.parametrize("status", [302, 404, 503])
def test_what_the_hook_answers_is_logged_without_its_address(
    hook: Hook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    hook.status = status
    settings = Settings(alert_webhook=hook.secret)
    with caplog.at_level(logging.WARNING):
        assert not send(settings, Alert("It broke", "because"), logging.getLogger("test"))
    assert f"status {status}" in caplog.text
    assert "hook-secret" not in caplog.text
    assert not send(Settings(), Alert("It broke", "because"), logging.getLogger("test"))


def test_no_secret_and_no_user_is_told(project: Project) -> None:
    settings = project.settings.model_copy(
        update={
            "spotify_client_secret": SecretStr("s3cr3t"),
            "alert_webhook": SecretStr("https://hooks.example.org/T0/B0"),
        }
    )
    clean = cleaner(Project.open(settings))
    told = clean(
        "The login of 'anna.b' has ended: 'anna.b' has to log in again.\n  s3cr3t at https://hooks.example.org/T0/B0, "
        "https://me:pass@db.example.org/x, Bearer abc.def; synthetic-000007 and https://open.spotify.com/user/jo_hn?si=1"
    )
    for gone in ("anna", "s3cr3t", "T0/B0", "pass", "abc.def", "synthetic-000007", "jo_hn", "\n", "  "):
        assert gone not in told, gone
    assert told.startswith("The login of 'user#")
    assert told.split("'")[1] == told.split("'")[3]  # one person is one hash
    assert clean("File '/data/x.csv' is gone.") == "File '/data/x.csv' is gone."
    assert len(clean("word " * 200)) == 400


def test_with_a_broken_lake_it_is_told_all_the_same_and_hides_too_much(project: Project) -> None:
    for log in (project.settings.data / "lake" / "users" / "_delta_log").glob("*.json"):
        log.write_text("{")
    told = cleaner(project)("Table 'users' of 'somebody' is broken.")
    assert told.startswith("Table 'user#")
    assert "somebody" not in told


@pytest.mark.parametrize("address", ["hooks.example.org/T0", "ftp://example.org/x", "https:///x"])
def test_what_is_no_address_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(ValidationError) as error:
        Settings(alert_webhook=address)
    assert "https://HOST" in error.value.errors()[0]["msg"]
    assert Settings(alert_webhook="").alert_webhook is None
