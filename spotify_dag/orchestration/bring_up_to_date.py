"""Bring everything up to date: what ``spotify-dag run`` does. Dagster underneath, so the UI shows every step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg

from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.dagster_internals.processes import PROCESS_TAG, process_tag
from spotify_dag.orchestration.instance import close_runs_of_dead_processes
from spotify_dag.orchestration.partitions import current_week, ranges, user_bucket_partitions
from spotify_dag.orchestration.stages import STAGES, Due, Partitions, due_stages
from spotify_dag.orchestration.step_failures import TERMINAL_TAG
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.staleness.stale_buckets import known_users_versions
from spotify_dag.tracks.weekly_lists import monday_of


@dataclass(frozen=True)
class StageRun:
    """One stage that was run: why, over how many buckets (0 where it has none), and how long it took."""

    stage: str
    reason: str
    buckets: int
    seconds: float


def bring_up_to_date(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    train: bool = False,
    only_features: bool = False,
    started: Callable[[str, str], None] = lambda _stage, _reason: None,
) -> Iterator[StageRun]:
    """Materialise what is stale, stage by stage, and nothing else.

    Parameters
    ----------
    project, definitions, instance
        What to run, and where to record it.
    train
        Train a new tower even if the present one will do.
    only_features
        Stop before anything is trained.
    started
        Hears the name of a stage, and why it runs, before it runs.

    Yields
    ------
    Each stage that was run.
    """
    close_runs_of_dead_processes(instance)
    for damaged in drop_damaged(project):
        started("repair", damaged)
    for due in due_stages(project, train=train, only_features=only_features):
        started(due.stage, due.reason)
        begun = time.monotonic()
        if due.stage == "ingest":
            report_known_users(project, instance, due.buckets or [])
        for tags in stage_tags(project, due):
            _execute(definitions, instance, due.stage, tags)
        yield StageRun(due.stage, due.reason, len(due.buckets or []), time.monotonic() - begun)


def stage_tags(project: Project, due: Due, *, at_most: int | None = None) -> list[dict[str, str]]:
    """Return the tags of the runs that make a stage: one per range of buckets, the present week, or both.

    Parameters
    ----------
    project, due
        What is stale, and where.
    at_most
        Stale buckets of one run; None for no limit.
    """
    if STAGES[due.stage].partitions == Partitions.WEEKS:
        return [{"dagster/partition": current_week()}]
    if due.buckets is None:
        return [{}]
    keys = user_bucket_partitions(project.lake.n_buckets).get_partition_keys()
    if STAGES[due.stage].partitions == Partitions.BUCKETS_AND_WEEKS:
        keys = [f"{key}|{monday_of()}" for key in keys]
    # Of a small base, every second bucket has nobody: a run that goes through it is quicker than two runs.
    empty = set(range(project.lake.n_buckets)).difference(project.lake.row_counts(USERS))
    return [
        {"dagster/asset_partition_range_start": keys[first], "dagster/asset_partition_range_end": keys[last]}
        for first, last in ranges(due.buckets, through=empty, at_most=at_most)
    ]


def _execute(definitions: dg.Definitions, instance: dg.DagsterInstance, stage: str, tags: dict[str, str]) -> None:
    job = definitions.resolve_job_def(stage)
    job.execute_in_process(
        instance=instance,
        tags={**tags, PROCESS_TAG: process_tag(), TERMINAL_TAG: "", "dagster/triggered_by": "spotify-dag run"},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def report_known_users(project: Project, instance: dg.DagsterInstance, buckets: list[int]) -> None:
    """Record the new data version of the source in Dagster, so that the UI shows what the run read."""
    versions = known_users_versions(project)
    for observed in known_users_observations({bucket: versions[bucket] for bucket in buckets}, len(versions)):
        instance.report_runless_asset_event(observed)


def known_users_observations(versions: Mapping[int, str], n_buckets: int) -> list[dg.AssetObservation]:
    """Return data versions of the source, by bucket, as Dagster records them."""
    keys = user_bucket_partitions(n_buckets).get_partition_keys()
    return [
        dg.AssetObservation("known_users", partition=keys[bucket], tags={"dagster/data_version": version})
        for bucket, version in versions.items()
    ]
