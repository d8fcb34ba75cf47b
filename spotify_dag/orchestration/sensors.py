"""Sensors: what makes the graph start by itself. Both are running from the start."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import dagster as dg

from spotify_dag.orchestration.run import due_stages, known_users_observations, stage_tags
from spotify_dag.orchestration.staleness import known_users_versions
from spotify_dag.resources.project import Project

SWEEP_SECONDS = 20
"""Time that one tick may take requests in; Dagster gives a tick 60 s. What is left is for the next."""
CATCH_UP_SECONDS = 60
LONGEST_WAIT_SECONDS = 3600
UNFINISHED = dg.RunsFilter(
    statuses=[
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ]
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
    """Request the first stage that ``spotify-dag run`` would run, once it is still stale a tick later.

    By then automation has taken up whatever came in meanwhile. What stays stale although it was run is asked for again
    after twice the time before.
    """
    if context.instance.get_runs(UNFINISHED, limit=1):
        return dg.SensorResult(skip_reason="Runs are under way.", cursor=context.cursor)
    due = next(due_stages(project), None)
    if due is None:
        return dg.SensorResult(skip_reason="Everything is up to date.", cursor="")
    state = json.loads(context.cursor) if context.cursor else {}
    now, what = time.time(), [due.stage, due.reason, due.buckets]
    if state.get("what") != what:
        return dg.SensorResult(
            skip_reason=f"{due.stage}: {due.reason}. Left to automation first.",
            cursor=json.dumps({"what": what, "wait": CATCH_UP_SECONDS, "not_before": now}),
        )
    if now < state["not_before"]:
        return dg.SensorResult(
            skip_reason=f"{due.stage} was run, and is stale all the same; it is run again later.", cursor=context.cursor
        )
    wait = min(2 * state["wait"], LONGEST_WAIT_SECONDS)
    requests = [dg.RunRequest(job_name=due.stage, tags=tags) for tags in stage_tags(project, due)]
    return dg.SensorResult(
        run_requests=requests, cursor=json.dumps({"what": what, "wait": wait, "not_before": now + wait})
    )
