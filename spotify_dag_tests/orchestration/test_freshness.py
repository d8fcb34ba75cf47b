"""What waits too long is told once; what does not wait, however old, is not."""

import json
from pathlib import Path

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.orchestration.freshness import CHECK, look, since_when
from spotify_dag.orchestration.stages import HOUR, STAGES
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS
from spotify_dag.settings import Settings
from spotify_dag_tests.orchestration.webhook import Hook

NOON = 1_800_000_000.0


class Watch:
    """The sensor, ticked at times of one's own."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.cursor: str | None = None

    def tick(self, hours: float) -> list[tuple[str, bool]]:
        """Tick; return which checks were reported, and how."""
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        result = look(context, self.project, NOON + hours * HOUR)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        return [(event.asset_key.to_user_string(), event.passed) for event in result.asset_events]


@pytest.fixture
def watched(project: Project, hook: Hook) -> Project:
    return Project.open(project.settings.model_copy(update={"alert_webhook": hook.secret}))


def lose_features(project: Project) -> None:
    rows = project.lake.scan(USER_EMBEDDINGS, [1]).collect()
    project.lake.replace(USER_EMBEDDINGS, [1], [rows.tail(-1)])


def test_nothing_waits_however_old_it_is(watched: Project, instance: dg.DagsterInstance, hook: Hook) -> None:
    watch = Watch(watched, instance)
    assert [watch.tick(hours) for hours in (0, 1, 1_000, 10_000)] == [[]] * 4
    assert hook.received == []


def test_what_waits_too_long_is_told_once_and_then_that_it_does_not(
    watched: Project, instance: dg.DagsterInstance, hook: Hook
) -> None:
    lose_features(watched)
    watch, late = Watch(watched, instance), STAGES["features"].patience / HOUR
    assert watch.tick(0) == watch.tick(late - 0.1) == []
    # The index has a vector of somebody who has no features: that waits, too.
    assert watch.tick(late + 0.1) == [("user_embeddings", False), ("user_index", False)]
    assert watch.tick(late + 1) == []
    texts = [message["text"] for message in hook.received]
    assert texts[0] == (
        "spotify_dag: something waits for the stage 'features'\nfor 2.1 hours, buckets 1; at most 2 are expected"
    )
    assert len(texts) == 2
    key = dg.AssetCheckKey(dg.AssetKey("user_embeddings"), CHECK)
    noted = instance.get_latest_asset_check_evaluation_record(key)
    assert noted.event.asset_check_evaluation.description.startswith("for 2.1 hours")

    built = build_definitions(settings=watched.settings)
    built.resolve_job_def("features").execute_in_process(instance=instance, tags={"dagster/partition": "01"})
    noted = instance.get_latest_asset_check_evaluation_record(key)
    assert noted.event.asset_check_evaluation.passed
    assert watch.tick(late + 2) == [("user_embeddings", True), ("user_index", True)]
    assert watch.tick(late + 9) == []
    assert len(hook.received) == 2


def test_whoever_is_at_it_is_not_late(watched: Project, instance: dg.DagsterInstance, hook: Hook) -> None:
    """A run that waits for a source has been told when to resume, and resumes."""
    lose_features(watched)
    watch = Watch(watched, instance)
    watch.tick(0)
    job = build_definitions(settings=watched.settings).resolve_job_def("features")
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert watch.tick(30) == [("user_index", False)]
    instance.report_run_canceled(run)
    assert watch.tick(31) == [("user_embeddings", False)]


def test_a_bucket_that_is_done_in_between_begins_anew() -> None:
    before = since_when(0, {"features": [1, 2]}, {})
    after = since_when(10, {"features": [2, 3]}, before)
    assert after == {"features": {"2": 0, "3": 10}}


def test_the_sensor_runs_by_itself_and_every_stage_has_its_policy(tmp_path: Path) -> None:
    definitions = build_definitions(settings=Settings(data=tmp_path))
    sensor = definitions.resolve_sensor_def("freshness")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"project": Project.open(Settings(data=tmp_path))}
        )
        tick = sensor.evaluate_tick(context)
    assert tick.run_requests == []
    assert json.loads(tick.cursor) == {"since": {stage: {} for stage in STAGES}, "late": []}


def test_a_source_that_is_gone_does_not_end_the_sensor(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    project = Project.open(Settings(data=tmp_path, n_buckets=2))
    entry = {"source": "mpd", "options": {"path": str(tmp_path / "gone")}}
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "source-mpd.json").write_text(json.dumps(entry))
    skipped = look(dg.build_sensor_context(instance=instance), project, NOON)
    assert isinstance(skipped, dg.SkipReason)
    assert "gone" in skipped.skip_message
