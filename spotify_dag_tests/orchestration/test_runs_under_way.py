"""What runs make that are queued or going on."""

from __future__ import annotations

import dagster as dg

from spotify_dag.orchestration.dagster_internals.processes import PROCESS_TAG, process_tag
from spotify_dag.orchestration.runs_under_way import buckets_of_other_runs, stages_under_way, without_launched
from spotify_dag.orchestration.stages import Due
from spotify_dag_tests.orchestration.dagster_internals.launched_runs import launched_run


@dg.op
def nothing() -> None: ...


@dg.job
def ingest() -> None:
    nothing()


@dg.job
def features() -> None:
    nothing()


def of_range(first: str, last: str) -> dict[str, str]:
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def test_buckets_of_other_runs_that_are_not_at_their_end() -> None:
    status = dg.DagsterRunStatus
    with dg.DagsterInstance.ephemeral() as instance:
        assert stages_under_way(instance) == set()
        own = instance.create_run_for_job(ingest, status=status.STARTED, tags=of_range("00", "03"))
        instance.create_run_for_job(ingest, status=status.NOT_STARTED, tags=of_range("04", "05"))
        instance.create_run_for_job(ingest, status=status.STARTING, tags={"dagster/partition": "09"})
        instance.create_run_for_job(ingest, status=status.SUCCESS, tags=of_range("10", "11"))
        instance.create_run_for_job(features, status=status.STARTED, tags=of_range("12", "13"))
        instance.create_run_for_job(ingest, status=status.STARTED)
        assert buckets_of_other_runs(instance, own.run_id, "raw_playlists") == {4, 5, 9}
        assert buckets_of_other_runs(instance, "", "raw_playlists") == {0, 1, 2, 3, 4, 5, 9}
        assert buckets_of_other_runs(instance, own.run_id, "user_embeddings") == {12, 13}
        assert stages_under_way(instance) == {"ingest", "features"}


def test_what_a_launched_run_makes_is_not_asked_for_again() -> None:
    started, queued = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.QUEUED
    with dg.DagsterInstance.ephemeral() as instance:
        due = Due("ingest", "new", [0, 1, 2, 3, 4, 5])
        assert without_launched(instance, due) == due
        launched_run(instance, status=queued, tags=of_range("00", "01"))
        launched_run(instance, status=started, tags={"dagster/partition": "03", PROCESS_TAG: process_tag()})
        # These may never end, or are at another stage: their buckets are asked for.
        launched_run(instance, status=started, tags={"dagster/partition": "02", PROCESS_TAG: "elsewhere:1:1"})
        launched_run(instance, status=dg.DagsterRunStatus.FAILURE, tags={"dagster/partition": "02"})
        launched_run(instance, "features", status=queued, tags={"dagster/partition": "04"})
        instance.create_run_for_job(ingest, status=started, tags={"dagster/partition": "04"})
        left = without_launched(instance, due)
        assert left is not None
        assert left.buckets == [2, 4, 5]
        launched_run(instance, status=queued, tags=of_range("02", "05"))
        assert without_launched(instance, due) is None


def test_a_stage_without_buckets_is_asked_for_once() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        due = Due("tracks", "new tracks")
        assert without_launched(instance, due) == due
        launched_run(instance, "tracks", status=dg.DagsterRunStatus.QUEUED)
        assert without_launched(instance, due) is None
