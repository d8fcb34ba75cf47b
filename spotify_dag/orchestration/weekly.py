"""The weekly training: Sunday 00:00 UTC, the partition of the week that begins then.

A schedule, and no automation condition: a condition keeps what it knows by partition, so the first tick of a new week
would know nothing of what came in the week before. What is new is found in the data: whom the last tower learned from.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from spotify_dag.orchestration.partitions import current_week
from spotify_dag.project import Project
from spotify_dag.training_data.policy import nothing_to_train_on, training_digest


def weekly_training(jobs: Sequence[Any]) -> dg.ScheduleDefinition:
    """Return the schedule; ``jobs`` are those of the stages."""

    @dg.schedule(
        cron_schedule="0 0 * * 0",
        execution_timezone="UTC",
        job=next(job for job in jobs if job.name == "train"),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Trains a tower on everybody who came since the last one, and asks the gate.",
    )
    def weekly_training(
        context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
    ) -> dg.RunRequest | dg.SkipReason:
        if reason := nothing_to_train_on(project):
            return dg.SkipReason(reason)
        latest = project.registry.latest()
        trained_on = project.registry.card(latest)["trained_on"].get("digest") if latest else None
        if trained_on == training_digest(project):
            return dg.SkipReason(f"Nobody is new or changed since {latest} was trained.")
        return dg.RunRequest(partition_key=current_week(context.scheduled_execution_time))

    return weekly_training
