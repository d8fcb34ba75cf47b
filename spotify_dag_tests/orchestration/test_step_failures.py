"""Steps wait where a source says so, try again where that helps, and end at once where it does not."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.errors import SpotifyDagError
from spotify_dag.layout import Layout
from spotify_dag.orchestration import step_failures
from spotify_dag.orchestration.schedules import buckets_of_the_day
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.staleness.stale_buckets import stale_ingests

pytestmark = pytest.mark.medium

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
WHOLE = {"dagster/asset_partition_range_start": "00", "dagster/asset_partition_range_end": "07"}


@pytest.fixture
def spotify(tmp_path: Path) -> Iterator[tuple[Project, Simulator]]:
    """A project that reads ten users from a simulated Spotify, and the simulator."""
    with serve(SimulatorSettings(users=10, playlists=2, tracks=6)) as simulator:
        listed = tmp_path / "users.txt"
        listed.write_text("\n".join(f"synthetic-{number:06d}" for number in range(10)))
        settings = Settings(
            data=tmp_path / "data", n_buckets=8, spotify_client_id="simulator", spotify_client_secret="simulator",
            spotify_api_url=f"{simulator.url}/v1/", spotify_auth_url=simulator.url, spotify_max_wait=0,
        )  # fmt: skip
        project = Project.open(settings)
        project.inbox.register_source("spotify", {"path": str(listed)})
        yield project, simulator


def execute(
    project: Project, instance: dg.DagsterInstance, tags: Mapping[str, str], job: str = "ingest"
) -> dg.ExecuteInProcessResult:
    definitions = build_definitions(settings=project.settings)
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance, tags=tags, raise_on_error=False, run_config=QUIET
    )


def test_a_source_that_says_when_to_resume_is_waited_for_and_nothing_fails(
    spotify: tuple[Project, Simulator], instance: dg.DagsterInstance
) -> None:
    project, simulator = spotify
    wire = simulator.api.wire
    wire.faults = Faults(rate_limited_long=0.15, long_retry_after=1)
    result = execute(project, instance, WHOLE)
    assert result.success
    assert wire.traffic.faults["rate_limited_long"] > 0
    waits = [event for event in result.all_events if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY]
    assert 0 < len(waits) <= 100
    assert all(event.step_retry_data.seconds_to_wait >= 1 for event in waits)
    assert project.lake.scan(USERS).collect().height == 10
    assert stale_ingests(project, project.inbox.sources()) == []


@pytest.mark.slow
def test_a_week_of_the_schedule_runs_every_bucket_once(
    spotify: tuple[Project, Simulator], instance: dg.DagsterInstance
) -> None:
    project, _ = spotify
    definitions = build_definitions(settings=project.settings)
    schedule = definitions.resolve_schedule_def("refresh")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "ingest"
    monday = datetime(2026, 3, 2, tzinfo=UTC)
    ran: list[int] = []
    for day in range(7):
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=monday + timedelta(days=day), resources={"project": project}
        )
        requests = schedule.evaluate_tick(context).run_requests
        assert len(requests) <= 1  # neighbours: one run
        for request in requests:
            assert execute(project, instance, request.tags).success
            first, last = (request.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end"))
            ran += range(int(first), int(last) + 1)
    assert sorted(ran) == list(range(8))


def test_days_are_even_and_follow_the_period() -> None:
    week = 7 * 86_400
    monday = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
    days = [buckets_of_the_day(monday + day * 86_400, Layout(64, 64), week) for day in range(14)]
    assert {len(day) for day in days} == {9, 10}
    assert sorted(chain(*days[:7])) == list(range(64))
    assert days[:7] == days[7:]
    # A split moves nobody to another day.
    split = [buckets_of_the_day(monday + day * 86_400, Layout(256, 64), week) for day in range(14)]
    assert split == [sorted(b + 64 * part for b in day for part in range(4)) for day in days]
    assert buckets_of_the_day(monday, Layout(64, 64), 86_400) == list(range(64))
    fortnight = [buckets_of_the_day(monday + day * 86_400, Layout(64, 64), 2 * week) for day in range(14)]
    assert sorted(chain(*fortnight)) == list(range(64))


def test_a_source_that_does_not_change_by_itself_is_left_alone(project: Project, instance: dg.DagsterInstance) -> None:
    schedule = build_definitions(settings=project.settings).resolve_schedule_def("refresh")
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2026, 3, 2, tzinfo=UTC), resources={"project": project}
    )
    tick = schedule.evaluate_tick(context)
    assert tick.run_requests == []
    assert "No source" in tick.skip_message


def test_what_a_person_must_mend_fails_at_once(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    project = Project.open(Settings(data=tmp_path, n_buckets=8))
    (tmp_path / "inbox").mkdir()
    entry = {"source": "mpd", "options": {"path": str(tmp_path / "gone")}}
    (tmp_path / "inbox" / "source-mpd.json").write_text(json.dumps(entry))
    result = execute(project, instance, WHOLE)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "gone" in failure.step_failure_data.user_failure_data.description
    assert not any(event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY for event in result.all_events)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (ConnectionResetError("reset"), True),
        (TimeoutError("slow"), True),
        (ValueError("wrong schema"), False),
        (OSError(28, "No space left on device"), False),
        (SpotifyDagError("mend this"), False),
    ],
)
def test_what_passes_is_tried_again_so_many_times(
    monkeypatch: pytest.MonkeyPatch, error: Exception, again: bool
) -> None:
    monkeypatch.setattr(step_failures, "BACKOFF", 0.01)
    tried = []

    @dg.asset
    @step_failures.resilient
    def flaky(context: dg.AssetExecutionContext) -> None:
        tried.append(time.monotonic())
        raise error

    result = dg.materialize([flaky], raise_on_error=False)
    assert not result.success
    assert len(tried) == (1 + step_failures.RETRIES if again else 1)


def test_two_writers_that_meet_are_a_passing_matter() -> None:
    import sqlite3

    import requests
    from deltalake.exceptions import CommitFailedError

    assert step_failures.passes(CommitFailedError("another transaction"))
    assert step_failures.passes(requests.ConnectTimeout())
    assert step_failures.passes(sqlite3.OperationalError("database is locked"))
    assert not step_failures.passes(sqlite3.OperationalError("no such table"))
    caused = RuntimeError("wrapped")
    caused.__cause__ = CommitFailedError("another transaction")
    assert step_failures.passes(caused)
