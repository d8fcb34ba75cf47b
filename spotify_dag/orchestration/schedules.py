"""The schedules, in UTC: weekly training, Monday's lists, the daily refresh, hourly housekeeping, nightly retention."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from spotify_dag.layout import Layout
from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.lifecycle.retention import retain
from spotify_dag.orchestration.bring_up_to_date import stage_tags
from spotify_dag.orchestration.partitions import current_week, ranges, user_bucket_partitions
from spotify_dag.orchestration.stages import STAGE_JOBS, STAGES
from spotify_dag.project import Project
from spotify_dag.sources.base import RefreshedSource, last_turn
from spotify_dag.training_data.policy import nothing_to_train_on, training_digest

DAY = 86_400.0


# A schedule, not an automation condition: a condition keeps what it knows by partition, so the first tick of a new week
# would know nothing of what came in the week before. What is new is found in the data.
@dg.schedule(
    cron_schedule="0 0 * * 0",
    execution_timezone="UTC",
    job=STAGE_JOBS["train"],
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Trains a tower on everybody who came since the last one, and asks the gate.",
)
def weekly_training(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
) -> dg.RunRequest | dg.SkipReason:
    """Train for the week that begins on Sunday, if users are new or changed since the last training."""
    if reason := nothing_to_train_on(project):
        return dg.SkipReason(reason)
    latest = project.registry.latest()
    trained_on = project.registry.card(latest)["trained_on"].get("digest") if latest else None
    if trained_on == training_digest(project):
        return dg.SkipReason(f"Nobody is new or changed since {latest} was trained.")
    return dg.RunRequest(partition_key=current_week(context.scheduled_execution_time))


def buckets_of_the_day(now: float, layout: Layout, period: float) -> list[int]:
    """Return the buckets whose turn came in the last 24 hours: a seventh each day, where the period is a week.

    Parameters
    ----------
    now, period
        In seconds; ``now`` since 1970.
    """
    return [
        bucket for bucket in range(layout.n_buckets) if now - last_turn(now, bucket, layout.made_with, period) < DAY
    ]


@dg.schedule(
    job=STAGE_JOBS["ingest"],
    cron_schedule="0 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Reads the users of a seventh of the buckets again, where a source says that they may have changed. "
    "The rest of their stages follow as for new users.",
)
def refresh(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Read the buckets whose turn it is.

    The turn of a bucket follows from the calendar (`sources.base.last_turn`). After a day on which nothing ran, its
    buckets stay stale until they are read.
    """
    if not any(isinstance(source, RefreshedSource) for source in project.inbox.sources()):
        yield dg.SkipReason("No source has users who change by themselves.")
        return
    keys = user_bucket_partitions(project.lake.n_buckets).get_partition_keys()
    now = (context.scheduled_execution_time or datetime.fromtimestamp(time.time(), UTC)).timestamp()
    due = buckets_of_the_day(now, project.layout(), project.settings.spotify_refresh_hours * 3600)
    for first, last in ranges(due, at_most=project.settings.buckets_per_run):
        tags = {"dagster/asset_partition_range_start": keys[first], "dagster/asset_partition_range_end": keys[last]}
        yield dg.RunRequest(run_key=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}-{keys[first]}", tags=tags)


@dg.schedule(
    job=STAGE_JOBS["weekly"],
    cron_schedule="0 0 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Makes the lists of the week that begins, for the users who want one.",
)
def monday_lists(
    context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    """Make the lists that are missing. What it misses, the sensor ``catch_up`` makes."""
    due = STAGES["weekly"].due(project)
    if due is None:
        yield dg.SkipReason("Nobody wants a list, or all lists are there.")
        return
    for tags in stage_tags(project, due, at_most=project.settings.buckets_per_run):
        yield dg.RunRequest(run_key=tags["dagster/asset_partition_range_start"], tags=tags)


@dg.op(name="tidy", description="Joins small files; deletes old versions, old indexes, and what killed runs left.")
def tidy_op(context: dg.OpExecutionContext, project: dg.ResourceParam[Project]) -> None:
    """Do what ``spotify-dag tidy`` does."""
    context.add_output_metadata(tidy(project).as_dict())


@dg.op(
    name="retain", description="Drops what was read too long ago, if a time is set, and users gone from their source."
)
def retain_op(context: dg.OpExecutionContext, project: dg.ResourceParam[Project]) -> None:
    """Do what ``spotify-dag retention`` does. The metadata counts removed users and names none."""
    done = retain(project)
    removed = {"users_dropped": done.users_dropped, "users_removed": len(done.users_removed)}
    context.add_output_metadata({**removed, "rows_dropped": done.rows_dropped})


@dg.job(description="Join small files, delete old versions.")
def housekeeping() -> None:
    """Run `tidy_op`."""
    tidy_op()


@dg.job(description="Drop what is older than SPOTIFY_DAG_RETENTION_DAYS; remove users that their source lost.")
def retention() -> None:
    """Run `retain_op`."""
    retain_op()


LIFECYCLE_JOBS = (housekeeping, retention)
SCHEDULES = (
    weekly_training,
    monday_lists,
    refresh,
    dg.ScheduleDefinition(
        job=housekeeping, cron_schedule="30 * * * *", default_status=dg.DefaultScheduleStatus.RUNNING
    ),
    dg.ScheduleDefinition(job=retention, cron_schedule="10 3 * * *", default_status=dg.DefaultScheduleStatus.RUNNING),
)
"""Housekeeping runs at half past every hour, retention at ten past three at night."""
