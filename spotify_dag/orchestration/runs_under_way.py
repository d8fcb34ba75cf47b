"""Runs that are queued or going on, and what they make."""

from dataclasses import replace

import dagster as dg

from spotify_dag.orchestration.dagster_internals.processes import may_go_on
from spotify_dag.orchestration.partitions import tagged_buckets
from spotify_dag.orchestration.stages import STAGES, Due

_FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
UNFINISHED = [status for status in dg.DagsterRunStatus if status not in _FINISHED]


def runs_under_way(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Return the runs that are queued or going on."""
    return list(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))


def stages_under_way(instance: dg.DagsterInstance) -> set[str]:
    """Return the stages that a run is making: it may wait for a source that said when to resume."""
    made = [_assets(run) for run in runs_under_way(instance)]
    return {name for name, stage in STAGES.items() if any(assets & {*stage.assets} for assets in made)}


def buckets_of_other_runs(instance: dg.DagsterInstance, run_id: str, asset: str) -> set[int]:
    """Return the buckets for which runs that are queued or going on make an asset, but for one run."""
    others = [run for run in runs_under_way(instance) if run.run_id != run_id and asset in _assets(run)]
    return {bucket for run in others for bucket in tagged_buckets(run.tags)}


def without_launched(instance: dg.DagsterInstance, due: Due) -> Due | None:
    """Return a stage without the buckets that a launched run is going to make or is making; None if none is left.

    Runs in the process of a command are not looked at: where that was killed on another machine, nobody says so.
    """
    last = STAGES[due.stage].assets[-1]
    runs = [run for run in runs_under_way(instance) if last in _assets(run) and may_go_on(run)]
    if due.buckets is None:
        return None if runs else due
    made = {bucket for run in runs for bucket in tagged_buckets(run.tags)}
    left = [bucket for bucket in due.buckets if bucket not in made]
    return replace(due, buckets=left) if left else None


def _assets(run: dg.DagsterRun) -> set[str]:
    stage = STAGES.get(run.job_name)
    return {key.to_user_string() for key in run.asset_selection or ()} or {*(stage.assets if stage else ())}
