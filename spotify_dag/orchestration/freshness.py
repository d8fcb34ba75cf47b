"""Freshness: no stage leaves work lying for longer than its policy says.

Dagster's own freshness policies count the time since the last materialisation, so they would call a base out of date to
which nothing new came. Here a stage is late only where something *waits* for it: what is stale is found as everywhere
else, by comparing tables (`staleness`), and a sensor remembers since when. It reports a failed check on the last asset
of the stage, which shows in the UI, and tells the alert webhook once; the next materialisation sets both right.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from spotify_dag.errors import SpotifyDagError
from spotify_dag.orchestration.alerts import Alert, send
from spotify_dag.orchestration.automation import WARNING_LAST
from spotify_dag.orchestration.partitions import spelled, tagged_buckets
from spotify_dag.orchestration.runs_under_way import stages_under_way
from spotify_dag.orchestration.stages import HOUR, STAGES, Partitions, Stage, waiting
from spotify_dag.project import Project

INTERVAL = 300
CHECK = "nothing_waits_too_long"


def since_when(
    now: float, waits: Mapping[str, Sequence[int]], before: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return since when each bucket waits for each stage; a bucket that did not wait before begins now."""
    return {
        stage: {str(bucket): before.get(stage, {}).get(str(bucket), now) for bucket in buckets}
        for stage, buckets in waits.items()
    }


def freshness_check(stage: Stage) -> Any:
    """Return the check of a stage, on its last asset.

    A run checks that what it made no longer waits; the sensor `freshness` fails the check when something waits too
    long.
    """

    @dg.asset_check(
        asset=stage.assets[-1],
        name=CHECK,
        op_tags=WARNING_LAST,
        description=f"Nothing new waits for this stage for more than {stage.patience / HOUR:g} hours. Looked at "
        f"after each run, and every {INTERVAL // 60} minutes by the sensor 'freshness'.",
    )
    def check(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        due = stage.due(project, buckets=tagged_buckets(context.run.tags) or None)
        return dg.AssetCheckResult(
            passed=due is None,
            severity=dg.AssetCheckSeverity.WARN,
            description=None if due is None else f"After the run, something still waits: {due.reason}.",
        )

    return check


@dg.sensor(
    minimum_interval_seconds=INTERVAL,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails the check of a stage for which something waits too long, and tells the alert webhook.",
)
def freshness(
    context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
) -> dg.SensorResult | dg.SkipReason:
    """Look at what waits, and since when."""
    return look(context, project, time.time())


def look(context: dg.SensorEvaluationContext, project: Project, now: float) -> dg.SensorResult | dg.SkipReason:
    """Do what the sensor does at a time: seconds since 1970."""
    try:
        waits = waiting(project)
    except SpotifyDagError as error:  # A source that is gone, say: the run that meets it fails, and that is told.
        return dg.SkipReason(f"What waits cannot be told: {error}")
    cursor = json.loads(context.cursor) if context.cursor else {"since": {}, "late": []}
    since = since_when(now, waits, cursor["since"])
    late = _late(since, now, besides=stages_under_way(context.instance))
    events = []
    for name, buckets in late.items():
        if name in cursor["late"]:
            continue
        hours = (now - min(since[name].values())) / HOUR
        alert = _alert(STAGES[name], buckets, hours)
        send(project.settings, alert, context.log)
        metadata = {"hours": hours, "buckets": spelled(buckets)}
        events.append(_evaluation(name, passed=False, description=alert.why, metadata=metadata))
    events += [_evaluation(name, passed=True) for name in cursor["late"] if name not in late]
    return dg.SensorResult(
        cursor=json.dumps({"since": since, "late": sorted(late)}),
        asset_events=events,
        skip_reason=None if events else f"Waiting, within policy: {_counts(waits)}.",
    )


def _late(since: Mapping[str, Mapping[str, float]], now: float, *, besides: set[str]) -> dict[str, list[int]]:
    """Return the buckets that waited longer than a stage's patience, by stage; stages without any are left out."""
    late = {
        name: [int(bucket) for bucket, begun in buckets.items() if now - begun > STAGES[name].patience]
        for name, buckets in since.items()
        if name not in besides
    }
    return {name: buckets for name, buckets in late.items() if buckets}


def _alert(stage: Stage, buckets: list[int], hours: float) -> Alert:
    by_bucket = stage.partitions in (Partitions.BUCKETS, Partitions.BUCKETS_AND_WEEKS)
    where = f", buckets {spelled(buckets)}" if by_bucket else ""
    return Alert(
        title=f"spotify_dag: something waits for the stage '{stage.name}'",
        why=f"for {hours:.1f} hours{where}; at most {stage.patience / HOUR:g} are expected",
        details={"stage": stage.name, "buckets": spelled(buckets)},
    )


def _evaluation(stage: str, *, passed: bool, **more: Any) -> dg.AssetCheckEvaluation:
    """Return the outcome of the freshness check of a stage; a failure warns and blocks nothing."""
    severity = dg.AssetCheckSeverity.ERROR if passed else dg.AssetCheckSeverity.WARN
    asset = dg.AssetKey(STAGES[stage].assets[-1])
    return dg.AssetCheckEvaluation(asset_key=asset, check_name=CHECK, passed=passed, severity=severity, **more)


def _counts(waits: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{len(buckets)} for {stage}" for stage, buckets in waits.items() if buckets) or "nothing"
