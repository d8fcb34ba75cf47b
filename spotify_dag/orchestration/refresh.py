"""The schedule that looks at users again, so that nobody's listening here is older than a refresh period.

When it is a bucket's turn is a matter of the calendar (`sources.base.last_turn`), so a day on which nothing ran is made
up for: its buckets stay stale until somebody reads them. The schedule starts the run at the time of the turn.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from spotify_dag.orchestration.partitions import ranges, user_bucket_partitions
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.sources.base import RefreshedSource, last_turn

DAY = 86_400.0


def buckets_of_the_day(now: float, n_buckets: int, period: float) -> list[int]:
    """Return the buckets whose turn came in the last 24 hours: a seventh each day, where the period is a week.

    Parameters
    ----------
    now, period
        In seconds; ``now`` since 1970.
    """
    return [bucket for bucket in range(n_buckets) if now - last_turn(now, bucket, n_buckets, period) < DAY]


def refresh_schedule(settings: Settings, ingest: Any) -> dg.ScheduleDefinition:
    """Return the schedule; ``ingest`` is the job that reads sources."""
    keys = user_bucket_partitions(settings.n_buckets).get_partition_keys()

    @dg.schedule(
        job=ingest,
        name="refresh",
        cron_schedule="0 0 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks at the users of a seventh of the buckets again, where a source says that they may have "
        "changed; the rest of their stages follow as for anybody new.",
    )
    def refresh(
        context: dg.ScheduleEvaluationContext, project: dg.ResourceParam[Project]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        if not any(isinstance(source, RefreshedSource) for source in project.inbox.sources()):
            yield dg.SkipReason("No source has users who change by themselves.")
            return
        now = (context.scheduled_execution_time or datetime.fromtimestamp(time.time(), UTC)).timestamp()
        due = buckets_of_the_day(now, settings.n_buckets, settings.spotify_refresh_hours * 3600)
        for first, last in ranges(due):
            tags = {
                "dagster/asset_partition_range_start": keys[first],
                "dagster/asset_partition_range_end": keys[last],
            }
            yield dg.RunRequest(run_key=f"{datetime.fromtimestamp(now, UTC):%Y-%m-%d}-{keys[first]}", tags=tags)

    return refresh
