"""What runs make that are queued or going on."""

from __future__ import annotations

import dagster as dg

from spotify_dag.orchestration.runs_under_way import buckets_of_other_runs, stages_under_way


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
