"""What keeps a data root in order while nobody looks: retention once a day, housekeeping every hour."""

from typing import Any

import dagster as dg

from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.lifecycle.retention import retain
from spotify_dag.project import Project


@dg.op(name="tidy", description="Joins small files; deletes old versions, old indexes, and what killed runs left.")
def tidy_op(context: dg.OpExecutionContext, project: dg.ResourceParam[Project]) -> None:
    """Do what ``spotify-dag tidy`` does."""
    context.add_output_metadata(tidy(project).as_dict())


@dg.op(
    name="retain", description="Drops what was read too long ago, if a time is set, and users gone from their source."
)
def retain_op(context: dg.OpExecutionContext, project: dg.ResourceParam[Project]) -> None:
    """Do what ``spotify-dag retention`` does; how many users were removed is told, not who."""
    done = retain(project)
    removed = {"users_dropped": done.users_dropped, "users_removed": len(done.users_removed)}
    context.add_output_metadata({**removed, "rows_dropped": done.rows_dropped})


@dg.job(description="Join small files, delete old versions.")
def housekeeping() -> None:
    """Run `tidy_op`."""
    tidy_op()


@dg.job(description="Drop what is older than SPOTIFY_DAG_RETENTION_DAYS; remove users whom their source lost.")
def retention() -> None:
    """Run `retain_op`."""
    retain_op()


def care_jobs() -> list[Any]:
    """Return the jobs."""
    return [housekeeping, retention]


def care_schedules() -> list[dg.ScheduleDefinition]:
    """Return their schedules, in UTC: half past every hour, and ten past three at night."""
    running = dg.DefaultScheduleStatus.RUNNING
    return [
        dg.ScheduleDefinition(job=housekeeping, cron_schedule="30 * * * *", default_status=running),
        dg.ScheduleDefinition(job=retention, cron_schedule="10 3 * * *", default_status=running),
    ]
