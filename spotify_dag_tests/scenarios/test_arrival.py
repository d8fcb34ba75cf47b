"""New users start the graph by themselves, and only theirs: sensors and conditions ticked on a real instance."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.locks import locked
from spotify_dag.orchestration.automation import AUTOMATED
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date, report_known_users
from spotify_dag.orchestration.partitions import WEEKS, current_week, tagged_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.sources.base import SourceError
from spotify_dag.staleness.stale_buckets import known_users_versions
from spotify_dag.stores.lake import Lake
from spotify_dag_tests.orchestration.dagster_internals.launched_runs import launched_run
from spotify_dag_tests.staleness.test_changed_users import hand_in
from spotify_dag_tests.waiting import GUARD

pytestmark = pytest.mark.slow

KNOWN_USERS = dg.AssetKey("known_users")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as instance:
        yield instance


@pytest.fixture
def definitions(project: Project) -> dg.Definitions:
    return build_definitions(settings=project.settings)


class Daemon:
    """What Dagster's daemon does at a tick, without its waits."""

    def __init__(self, project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.project, self.definitions, self.instance = project, definitions, instance
        self.cursors: dict[str, str | None] = {}
        self.conditions: dg.AssetDaemonCursor | None = None

    def sensor(self, name: str) -> Any:
        """Tick a sensor, record what it observed, and keep its cursor."""
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.cursors.get(name), definitions=self.definitions, sensor_name=name,
            resources={"project": self.project},
        )  # fmt: skip
        found = self.definitions.resolve_sensor_def(name).evaluate_tick(context)
        for observed in found.asset_events:
            self.instance.report_runless_asset_event(observed)
        self.cursors[name] = found.cursor
        return found

    def requested(self) -> set[tuple[str, str]]:
        """Evaluate the conditions; return the assets and partitions that they ask for."""
        found = dg.evaluate_automation_conditions(defs=self.definitions, instance=self.instance, cursor=self.conditions)
        self.conditions = found.cursor
        return {
            (key.to_user_string(), str(partition))
            for key in map(dg.AssetKey, AUTOMATED)
            for partition in found.get_requested_partitions(key)
        }


def with_everything_made(project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Daemon:
    """Return a daemon that has seen the base as it is, made by runs that are in its instance."""
    found = Daemon(project, definitions, instance)
    for name in AUTOMATED:
        for bucket in range(project.lake.n_buckets):
            instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=f"{bucket:02d}"))
    found.sensor("arrivals")
    found.requested()
    return found


@pytest.fixture
def daemon(project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance) -> Daemon:
    return with_everything_made(project, definitions, instance)


def test_one_new_user_asks_for_every_stage_of_one_bucket(project: Project, daemon: Daemon) -> None:
    hand_in(project, "anna", ["Radiohead"])
    (bucket,) = user_buckets(["export-anna"], 2)
    observed = daemon.sensor("arrivals").asset_events
    assert [event.partition for event in observed] == [f"{bucket:02d}"]
    assert daemon.requested() == {(name, f"{bucket:02d}") for name in AUTOMATED}
    assert daemon.sensor("arrivals").asset_events == []
    assert daemon.requested() == set()


def test_nothing_new_asks_for_nothing_over_twenty_ticks(daemon: Daemon) -> None:
    for _ in range(20):
        assert daemon.sensor("arrivals").asset_events == []
        assert daemon.requested() == set()


def test_of_64_buckets_none_is_asked_for_over_twenty_ticks_and_then_one(tmp_path: Path) -> None:
    project = Project.open(Settings(data=tmp_path / "data"))
    project.inbox.register_source("synthetic", {"users": 500})
    with dg.DagsterInstance.ephemeral() as instance:
        daemon = with_everything_made(project, build_definitions(settings=project.settings), instance)
        for _ in range(20):
            assert daemon.sensor("arrivals").asset_events == []
            assert daemon.requested() == set()
        hand_in(project, "anna", ["Radiohead"])
        (bucket,) = user_buckets(["export-anna"], 64)
        assert len(daemon.sensor("arrivals").asset_events) == 1
        assert daemon.requested() == {(name, f"{bucket:02d}") for name in AUTOMATED}


def test_a_lost_cursor_reports_everything_and_starts_nothing(daemon: Daemon) -> None:
    daemon.cursors.clear()
    assert len(daemon.sensor("arrivals").asset_events) == 2
    assert daemon.requested() == set()


def test_a_run_at_a_terminal_reports_what_it_read_and_the_sensor_starts_nothing_more(
    project: Project, daemon: Daemon
) -> None:
    hand_in(project, "anna", ["Radiohead"])
    report_known_users(project, daemon.instance, user_buckets(["export-anna"], 2))
    daemon.requested()
    daemon.sensor("arrivals")
    assert daemon.requested() == set()


def test_a_sweep_stops_in_time_and_goes_on_at_the_next_tick(project: Project) -> None:
    for name in ("anna", "ben"):
        requests, user = project.inbox.requests, f"export-{name}"
        requests.hand_in("export", user, [project.lake.scan(RAW_PLAYLISTS).head(1).collect()], opted_in=True)
    assert project.inbox.requests.sweep(seconds=-1).taken_in == 0
    assert project.inbox.requests.sweep(seconds=60).taken_in == 2


def test_a_tower_that_was_trained_indexes_nobody_by_itself(daemon: Daemon) -> None:
    for name in ("artist_factors", "user_tower", "tower_evaluation"):
        daemon.instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=current_week()))
    assert daemon.requested() == set()


class TestCatchUp:
    def test_quiet_where_nothing_is_left(self, daemon: Daemon) -> None:
        for _ in range(3):
            assert daemon.sensor("catch_up").run_requests == []

    def test_what_is_stale_for_two_ticks_is_run_once_and_then_waited_for(
        self, project: Project, daemon: Daemon
    ) -> None:
        hand_in(project, "anna", ["Radiohead"])
        assert daemon.sensor("catch_up").run_requests == []
        (request,) = daemon.sensor("catch_up").run_requests
        (bucket,) = user_buckets(["export-anna"], 2)
        assert (request.job_name, request.tags["dagster/asset_partition_range_start"]) == ("ingest", f"{bucket:02d}")
        assert daemon.sensor("catch_up").run_requests == []  # it was asked for: again only after twice the time
        waits = json.loads(daemon.cursors["catch_up"])["waits"]
        assert waits["ingest"][0] == 120

    def test_a_request_is_one_that_can_be_run(self, project: Project, daemon: Daemon) -> None:
        (project.vectors / "published.json").unlink()
        index = project.matcher.vectors / f"user_index_{project.registry.champion()}.lance"
        index.rename(index.with_suffix(".gone"))
        daemon.sensor("catch_up")
        (request,) = daemon.sensor("catch_up").run_requests
        job = daemon.definitions.resolve_job_def(request.job_name)
        assert job.execute_in_process(instance=daemon.instance, tags=request.tags).success
        assert project.published() == project.registry.champion()
        assert daemon.sensor("catch_up").run_requests == []

    def test_runs_share_a_stage_and_what_a_launched_one_makes_is_not_asked_for(
        self, project: Project, instance: dg.DagsterInstance
    ) -> None:
        settings = Settings(data=project.settings.data, n_buckets=2, buckets_per_run=1, top_artist_count=40)
        project = Project.open(settings)  # with other settings: all features are stale
        daemon = Daemon(project, build_definitions(settings=settings), instance)
        assert daemon.sensor("catch_up").run_requests == []
        seen = daemon.cursors["catch_up"]
        requests = daemon.sensor("catch_up").run_requests
        assert [(request.job_name, tagged_buckets(request.tags)) for request in requests] == [
            ("features", [0]),
            ("features", [1]),
        ]
        launched_run(instance, "features", status=dg.DagsterRunStatus.QUEUED, tags={"dagster/partition": "00"})
        daemon.cursors["catch_up"] = seen
        (request,) = daemon.sensor("catch_up").run_requests
        assert tagged_buckets(request.tags) == [1]


class TestWeekly:
    def tick(self, project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance, now: datetime) -> list:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=now, repository_def=definitions.get_repository_def(),
            resources={"project": project},
        )  # fmt: skip
        found = definitions.resolve_schedule_def("weekly_training").evaluate_tick(context)
        return list(found.run_requests or [])

    def test_trains_for_the_week_that_begins_and_not_without_anybody_new(
        self, project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
    ) -> None:
        sunday = datetime(2026, 3, 1, tzinfo=UTC)
        assert self.tick(project, definitions, instance, sunday) == []
        hand_in(project, "anna", ["Radiohead", "Muse"])
        list(bring_up_to_date(project, definitions, instance))
        (request,) = self.tick(project, definitions, instance, sunday)
        assert request.partition_key == "2026-03-01"
        assert request.partition_key in WEEKS.get_partition_keys()

    def test_the_present_week_is_a_partition(self) -> None:
        assert current_week() == WEEKS.get_last_partition_key()
        assert current_week(datetime(2026, 3, 7, 23, 59, tzinfo=UTC)) == "2026-03-01"

    def test_everything_is_running_from_the_start(self, definitions: dg.Definitions) -> None:
        sensors = [definitions.resolve_sensor_def(name) for name in ("arrivals", "catch_up", "automation")]
        assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}
        weekly = definitions.resolve_schedule_def("weekly_training")
        assert (weekly.cron_schedule, weekly.default_status) == ("0 0 * * 0", dg.DefaultScheduleStatus.RUNNING)


def _hold(root: Path, buckets: Iterable[int], got: Event, release: Event) -> None:
    with Lake(root, 64).buckets_locked(buckets):
        got.set()
        release.wait(GUARD)


def test_a_bucket_is_one_run_s_at_a_time_between_processes(
    project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance
) -> None:
    """A run waits for another process that has one of its buckets, and for none that has others."""
    context = multiprocessing.get_context("spawn")
    got, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(project.lake.root, [1], got, release))
    other.start()
    assert got.wait(GUARD)
    with project.lake.buckets_locked([0]):
        pass
    waited: list[float] = []

    def waiting() -> None:
        waited.append(time.monotonic())
        release.set()

    with project.lake.buckets_locked([1, 0], waiting):
        assert len(waited) == 1
    other.join(GUARD)
    assert other.exitcode == 0


def test_who_waits_for_a_bucket_for_so_long_goes_on_without(tmp_path: Path) -> None:
    lake, others = Lake(tmp_path / "lake", 64), Lake(tmp_path / "others", 64)
    with lake.buckets_locked(range(64)):
        begun = time.monotonic()
        with lake.buckets_locked([5], seconds=0.3):
            assert time.monotonic() - begun >= 0.3
        with others.buckets_locked([5], seconds=GUARD):
            pass
    with lake.buckets_locked([5], seconds=GUARD):
        assert time.monotonic() - begun < GUARD / 2


def test_a_killed_holder_gives_its_buckets_back(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    got, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, range(64), got, release))
    other.start()
    assert got.wait(GUARD)
    other.kill()
    with Lake(tmp_path, 64).buckets_locked([5]):
        pass
    other.join()


def test_a_run_over_an_empty_data_root_says_that_there_is_no_source(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """It may be another folder than was meant: ``dg launch`` without SPOTIFY_DAG_DATA uses ./data."""
    from spotify_dag.orchestration.bucket_locks import with_buckets_locked

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["00", "01"]))
    def probe(project: dg.ResourceParam[Project]) -> None: ...

    empty = Project.open(Settings(data=tmp_path / "empty", n_buckets=2))
    with pytest.raises(dg.DagsterError) as refused:  # Dagster's own, which prints what it was caused by
        dg.materialize(
            [probe], partition_key="01", resources={"project": with_buckets_locked(empty)}, instance=instance
        )
    assert isinstance(refused.value.__cause__, SourceError)
    assert f"There is nothing in {empty.settings.data} " in str(refused.value.__cause__)
    assert not empty.settings.data.exists()


def test_a_run_holds_its_buckets(
    project: Project, definitions: dg.Definitions, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a run is at work, nobody else gets one of its buckets; before and after everybody does."""
    seen: list[bool] = []
    versions = known_users_versions(project)
    assert len(versions) == 2

    def is_free(bucket: int) -> bool:
        with locked(project.lake.root / ".locks" / f"bucket-{bucket}", wait=False) as free:
            return free

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["00", "01"]))
    def probe(project: dg.ResourceParam[Project]) -> None:
        seen.extend([is_free(0), is_free(1)])

    from spotify_dag.orchestration.bucket_locks import with_buckets_locked

    dg.materialize([probe], partition_key="01", resources={"project": with_buckets_locked(project)}, instance=instance)
    assert seen == [True, False]
    assert is_free(1)
