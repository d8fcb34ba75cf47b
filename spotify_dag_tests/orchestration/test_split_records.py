"""What Dagster is told of a split: automation starts nothing for it, and what is new afterwards starts as always."""

from __future__ import annotations

import dagster as dg
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.layout import LayoutChangedError
from spotify_dag.lifecycle.rebucket import rebucket
from spotify_dag.orchestration.automation import AUTOMATED
from spotify_dag.orchestration.split_records import RECORDED, record_split, what_goes_on
from spotify_dag.project import Project
from spotify_dag.schemas import user_buckets
from spotify_dag.settings import Settings
from spotify_dag_tests.scenarios.test_arrival import Daemon, with_everything_made
from spotify_dag_tests.staleness.test_changed_users import hand_in

BEFORE, AFTER = 2, 128


@pytest.fixture
def root(project: Project) -> Project:
    project.check_layout()
    return Project.open(Settings(data=project.settings.data))


def divided(root: Project, daemon: Daemon) -> None:
    """Split the buckets, and start the code server again: the daemon keeps its cursors.

    Before that it looks once more, with the partitions of before and records of others.
    """
    rebucket(root, AFTER, record=lambda there: record_split(daemon.instance, there, BEFORE))
    assert daemon.requested() == set()
    daemon.project = root.now()
    daemon.definitions = build_definitions(settings=root.settings)


@pytest.mark.slow
def test_nothing_is_asked_for_and_then_only_what_is_new(root: Project, instance: dg.DagsterInstance) -> None:
    daemon = with_everything_made(root, build_definitions(settings=root.settings), instance)
    divided(root, daemon)
    for _ in range(5):
        assert daemon.requested() == set()
        daemon.sensor("arrivals")
    hand_in(daemon.project, "anna", ["Radiohead"])
    (bucket,) = user_buckets(["export-anna"], AFTER)
    assert [event.partition for event in daemon.sensor("arrivals").asset_events] == [f"{bucket:03d}"]
    assert daemon.requested() == {(name, f"{bucket:03d}") for name in AUTOMATED}


@pytest.mark.slow
def test_a_daemon_without_cursors_asks_for_nothing_either(root: Project, instance: dg.DagsterInstance) -> None:
    divided(root, with_everything_made(root, build_definitions(settings=root.settings), instance))
    fresh = Daemon(root.now(), build_definitions(settings=root.settings), instance)
    for _ in range(3):
        fresh.sensor("arrivals")
        assert fresh.requested() == set()


def test_each_partition_gets_the_records_of_the_one_it_comes_from(root: Project, instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("user_tastes", partition="01"))
    heard: list[float] = []
    for _ in range(2):  # a split that was killed tells again
        record_split(instance, root.divided(4), BEFORE, heard.append)
    made = instance.get_materialized_partitions(dg.AssetKey("user_tastes"))
    assert made == {"01", "03"}
    assert instance.get_materialized_partitions(dg.AssetKey("raw_playlists")) == set()
    assert len(heard) == 2 * RECORDED
    record_split(instance, root.divided(AFTER), BEFORE)
    made = instance.get_materialized_partitions(dg.AssetKey("user_tastes"))
    assert made == {"01", "03", *(f"{part:03d}" for part in range(1, AFTER, 2))}


def test_runs_and_backfills_that_go_on_are_named(instance: dg.DagsterInstance) -> None:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def ingest() -> None:
        nothing()

    assert what_goes_on(instance) is None
    run = instance.create_run_for_job(ingest, status=dg.DagsterRunStatus.STARTING)
    assert what_goes_on(instance) == f"A run is going on: 'ingest' ({run.run_id[:8]}, STARTING)."
    other = instance.create_run_for_job(ingest, status=dg.DagsterRunStatus.STARTED)
    assert what_goes_on(instance).endswith("STARTED), and 1 more.")
    for each in (run, other):
        instance.report_run_canceled(each)
    assert what_goes_on(instance) is None


def test_a_code_server_of_before_says_so_and_does_nothing(root: Project, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(settings=root.settings)
    rebucket(root, 4)
    with pytest.raises(dg.DagsterResourceFunctionError) as refused:
        definitions.resolve_job_def("housekeeping").execute_in_process(instance=instance)
    assert isinstance(refused.value.__cause__, LayoutChangedError)
