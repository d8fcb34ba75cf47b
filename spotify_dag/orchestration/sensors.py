"""The sensors that start runs: new users, and stages that are stale although nobody runs them."""

import json
import time
from dataclasses import replace

import dagster as dg

from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.bring_up_to_date import known_users_observations, stage_tags
from spotify_dag.orchestration.runs_under_way import UNFINISHED, without_launched
from spotify_dag.orchestration.stages import STAGE_JOBS, Due, due_stages
from spotify_dag.project import Project
from spotify_dag.staleness.stale_buckets import known_users_versions
from spotify_dag.staleness.stamp import stamp

SWEEP_SECONDS = 20
"""Time that one tick may spend on taking requests in. Dagster gives a tick 60 s; the next tick takes the rest."""
CATCH_UP_SECONDS = 60
LONGEST_WAIT_SECONDS = 3600
WHOLE_LOOK_SECONDS = 600
"""Once in so long everything is looked at, also where nothing has changed since nothing was left over."""
ITS_UNFINISHED_RUNS = dg.RunsFilter(
    tags={"dagster/sensor_name": "catch_up"},
    statuses=UNFINISHED,
)


@dg.sensor(
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Takes in users who were handed in, and reports the buckets in which there is something new.",
)
def arrivals(context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]) -> dg.SensorResult:
    """Sweep the inbox, and report new data versions of `known_users`."""
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
    jobs=list(STAGE_JOBS.values()),
    description="Runs what is stale and nobody runs: after a kill, a failure, a promotion, a change of settings.",
)
def catch_up(context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]) -> dg.SensorResult:
    """Request the first stage that ``spotify-dag run`` would run, for the buckets that were stale a tick ago, too.

    Buckets that became stale since then are left to automation. A stage that is stale although it was run is asked for
    again after twice the time before.
    """
    state, now = json.loads(context.cursor or "{}"), time.time()
    before = stamp(project)
    quiet, looked_at = state.get("quiet") or (None, 0)
    # What time alone makes stale waits for the next whole look, and so does what changed in an MLflow elsewhere.
    if quiet == before and now - looked_at < WHOLE_LOOK_SECONDS:
        return dg.SensorResult(skip_reason="Nothing has changed.", cursor=context.cursor)
    for damaged in drop_damaged(project):
        context.log.warning(damaged)
    stale = {due.stage: due for due in due_stages(project)}
    if context.instance.get_runs(ITS_UNFINISHED_RUNS, limit=1):
        return dg.SensorResult(skip_reason="A stage is being run.", cursor=context.cursor)
    stages = {name: left for name, due in stale.items() if (left := without_launched(context.instance, due))}
    seen = state.get("seen", {})
    waits = {stage: wait for stage, wait in state.get("waits", {}).items() if stage in stale}
    overdue = _overdue(stages, seen, waits, time.time())
    requests: list[dg.RunRequest] = []
    if overdue is not None:
        wait, _ = waits.get(overdue.stage, (CATCH_UP_SECONDS, 0))
        waits[overdue.stage] = (min(2 * wait, LONGEST_WAIT_SECONDS), time.time() + wait)
        tagged = stage_tags(project, overdue, at_most=project.settings.buckets_per_run)
        requests = [dg.RunRequest(job_name=overdue.stage, tags=tags) for tags in tagged]
    elif stages:
        why = ", ".join(f"{stage}: {due.reason}" for stage, due in stages.items())
        context.log.info("Left to automation, or tried before. %s", why)
    seen = {stage: due.buckets for stage, due in stages.items()}
    cursor = json.dumps({"seen": seen, "waits": waits, "quiet": None if stale else (before, now)})
    skip_reason = None if requests else "Nothing is left over."
    return dg.SensorResult(run_requests=requests, cursor=cursor, skip_reason=skip_reason)


def _overdue(
    stages: dict[str, Due], seen: dict[str, list[int] | None], waits: dict[str, tuple[float, float]], now: float
) -> Due | None:
    """Return the first stage that was stale a tick ago, too, with the buckets that were; None without one.

    Parameters
    ----------
    stages, seen
        What is stale now, and what was at the last tick (buckets by stage).
    waits
        By stage: seconds to wait after the next try, and the time before which it is not tried again.
    now
        Seconds since 1970.
    """
    for stage, due in stages.items():
        still = due
        if due.buckets is not None:
            still = replace(due, buckets=sorted(set(due.buckets) & set(seen.get(stage) or [])))
        _, not_before = waits.get(stage, (CATCH_UP_SECONDS, 0))
        if stage in seen and still.buckets != [] and now >= not_before:
            return still
    return None
