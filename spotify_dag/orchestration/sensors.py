"""Sensors: what makes the graph start by itself. Both are running from the start."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.bring_up_to_date import due_stages, known_users_observations, stage_tags
from spotify_dag.project import Project
from spotify_dag.staleness.stale_buckets import known_users_versions

SWEEP_SECONDS = 20
"""Time that one tick may take requests in; Dagster gives a tick 60 s. What is left is for the next."""
CATCH_UP_SECONDS = 60
LONGEST_WAIT_SECONDS = 3600
UNFINISHED = dg.RunsFilter(
    tags={"dagster/sensor_name": "catch_up"},
    statuses=[
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)


def sensors(jobs: Sequence[Any]) -> list[Any]:
    """Return every sensor; ``jobs`` are those of the stages."""

    @dg.sensor(
        minimum_interval_seconds=1,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Takes in who was handed in, and reports the buckets in which there is something new.",
    )
    def arrivals(context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]) -> dg.SensorResult:
        # Nothing depends on the cursor: without it every bucket is reported, and an equal version starts nothing.
        reported = json.loads(context.cursor) if context.cursor else []
        rejected = project.inbox.requests.sweep(seconds=SWEEP_SECONDS).rejected
        versions = known_users_versions(project)
        new = {
            bucket: version
            for bucket, version in enumerate(versions)
            if len(reported) != len(versions) or reported[bucket] != version
        }
        for reason in rejected:
            context.log.warning(reason)
        if not new:
            return dg.SensorResult(skip_reason="Nobody new.")
        return dg.SensorResult(asset_events=known_users_observations(new, len(versions)), cursor=json.dumps(versions))

    @dg.sensor(
        minimum_interval_seconds=CATCH_UP_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        jobs=jobs,
        description="Runs what is stale and nobody runs: after a kill, a failure, a promotion, a change of settings.",
    )
    def catch_up(context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]) -> dg.SensorResult:
        return _catch_up(context, project)

    return [arrivals, catch_up]


def _catch_up(context: dg.SensorEvaluationContext, project: Project) -> dg.SensorResult:
    """Request the first stage that ``spotify-dag run`` would run, for the buckets that were stale a tick ago, too.

    Buckets that became stale since are left to automation. A stage that is stale although it was run is asked for again
    after twice the time before.
    """
    state = json.loads(context.cursor or "{}")
    for damaged in drop_damaged(project):
        context.log.warning(damaged)
    due = {found.stage: found for found in due_stages(project)}
    if context.instance.get_runs(UNFINISHED, limit=1):
        return dg.SensorResult(skip_reason="A stage is being run.", cursor=context.cursor)
    seen, waits, now = state.get("seen", {}), state.get("waits", {}), time.time()
    waits = {stage: wait for stage, wait in waits.items() if stage in due}
    requests: list[dg.RunRequest] = []
    for stage, found in due.items():
        still = found if found.buckets is None else replace(found, buckets=_both(found.buckets, seen.get(stage)))
        wait, not_before = waits.get(stage, (CATCH_UP_SECONDS, 0))
        if stage in seen and still.buckets != [] and now >= not_before:
            requests = [dg.RunRequest(job_name=stage, tags=tags) for tags in stage_tags(project, still)]
            waits[stage] = (min(2 * wait, LONGEST_WAIT_SECONDS), now + wait)
            break
    if due and not requests:
        why = ", ".join(f"{stage}: {found.reason}" for stage, found in due.items())
        context.log.info("Left to automation, or tried before. %s", why)
    cursor = json.dumps({"seen": {stage: found.buckets for stage, found in due.items()}, "waits": waits})
    return dg.SensorResult(
        run_requests=requests, cursor=cursor,
        skip_reason=None if requests else "Nothing is left over.",
    )  # fmt: skip


def _both(buckets: list[int], before: list[int] | None) -> list[int]:
    return sorted(set(buckets) & set(before or []))
