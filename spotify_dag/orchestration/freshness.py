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
from spotify_dag.orchestration.automation import LATER
from spotify_dag.orchestration.jobs import STAGES
from spotify_dag.orchestration.partitions import spelled
from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.staleness.stale_buckets import (
    index_version,
    stale_features,
    stale_index,
    stale_ingests,
    stale_tracks,
    tower_is_stale,
)
from spotify_dag.training_data.policy import nothing_to_train_on

HOUR = 3600.0
POLICY = {
    "ingest": 2 * HOUR, "features": 2 * HOUR, "tracks": 8 * 24 * HOUR, "train": 8 * 24 * HOUR, "index": 2 * HOUR,
}  # fmt: skip
"""Seconds for which something may wait for a stage that nobody runs. Training and tracks come once a week."""
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
INTERVAL = 300
CHECK = "nothing_waits_too_long"


def waiting(project: Project) -> dict[str, list[int]]:
    """Return what waits for each stage: its stale buckets. Tracks and training have none and stand as bucket 0."""
    import polars as pl

    anybody = project.lake.scan(USERS).select(pl.len()).collect().item() > 0
    trains = anybody and tower_is_stale(project) is not None and nothing_to_train_on(project) is None
    version = index_version(project)
    return {
        "ingest": stale_ingests(project, project.inbox.sources()),
        "features": stale_features(project),
        "tracks": [0] if anybody and stale_tracks(project) else [],
        "train": [0] if trains else [],
        "index": [] if version is None else stale_index(project, project.user_index(version)),
    }


def since_when(
    now: float, waits: Mapping[str, Sequence[int]], before: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Return since when each bucket waits for each stage; whoever did not wait before begins now."""
    return {
        stage: {str(bucket): before.get(stage, {}).get(str(bucket), now) for bucket in buckets}
        for stage, buckets in waits.items()
    }


def freshness_checks() -> list[Any]:
    """Return a check per stage, on its last asset. A run passes it; the sensor fails it when something waits."""

    def fresh(stage: str) -> Any:
        @dg.asset_check(
            asset=STAGES[stage][-1],
            name=CHECK,
            op_tags=LATER,
            description=f"Nothing new waits for this stage for more than {POLICY[stage] / HOUR:g} hours. Looked at "
            f"every {INTERVAL // 60} minutes by the sensor 'freshness'.",
        )
        def check() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True, severity=dg.AssetCheckSeverity.WARN)

        return check

    return [fresh(stage) for stage in STAGES]


def freshness_sensor() -> dg.SensorDefinition:
    """Return the sensor that looks what waits, and for how long."""

    @dg.sensor(
        name="freshness",
        minimum_interval_seconds=INTERVAL,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Fails the check of a stage for which something waits too long, and tells the alert webhook.",
    )
    def freshness(
        context: dg.SensorEvaluationContext, project: dg.ResourceParam[Project]
    ) -> dg.SensorResult | dg.SkipReason:
        return look(context, project, time.time())

    return freshness


def look(context: dg.SensorEvaluationContext, project: Project, now: float) -> dg.SensorResult | dg.SkipReason:
    """Do what the sensor does at a time: seconds since 1970."""
    try:
        waits = waiting(project)
    except SpotifyDagError as error:  # A source that is gone, say: the run that meets it fails, and that is told.
        return dg.SkipReason(f"What waits cannot be told: {error}")
    cursor = json.loads(context.cursor) if context.cursor else {"since": {}, "late": []}
    since = since_when(now, waits, cursor["since"])
    busy = _under_way(context.instance)
    late = {
        stage: buckets
        for stage, begun in since.items()
        if stage not in busy and (buckets := [int(bucket) for bucket, at in begun.items() if now - at > POLICY[stage]])
    }
    events = []
    for stage, buckets in late.items():
        if stage in cursor["late"]:
            continue
        hours = (now - min(since[stage].values())) / HOUR
        where = "" if stage == "train" else f", buckets {spelled(buckets)}"
        alert = Alert(
            title=f"spotify_dag: something waits for the stage '{stage}'",
            why=f"for {hours:.1f} hours{where}; at most {POLICY[stage] / HOUR:g} are expected",
            details={"stage": stage, "buckets": spelled(buckets)},
        )
        send(project.settings, alert, context.log)
        events.append(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(STAGES[stage][-1]),
                check_name=CHECK,
                passed=False,
                severity=dg.AssetCheckSeverity.WARN,
                description=alert.why,
                metadata={"hours": hours, "buckets": spelled(buckets)},
            )
        )
    caught_up = [stage for stage in cursor["late"] if stage not in late]
    events += [
        dg.AssetCheckEvaluation(asset_key=dg.AssetKey(STAGES[stage][-1]), check_name=CHECK, passed=True)
        for stage in caught_up
    ]
    return dg.SensorResult(
        cursor=json.dumps({"since": since, "late": sorted(late)}),
        asset_events=events,
        skip_reason=None if events else f"Waiting, within policy: {_counts(waits)}.",
    )


def _under_way(instance: dg.DagsterInstance) -> set[str]:
    """Return the stages that a run is making: it may wait for a source that said when to resume."""
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    busy: set[str] = set()
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished)):
        assets = {key.to_user_string() for key in run.asset_selection or ()} or {*STAGES.get(run.job_name, ())}
        busy |= {stage for stage, made in STAGES.items() if assets & {*made}}
    return busy


def _counts(waits: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{len(buckets)} for {stage}" for stage, buckets in waits.items() if buckets) or "nothing"
