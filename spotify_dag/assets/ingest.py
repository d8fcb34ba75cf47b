"""Listening in: who is known, and what they listen to."""

import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from spotify_dag.assets.common import OWNERS, bar_chart, histogram, lake_asset, preview, report
from spotify_dag.orchestration.partitions import run_buckets, user_bucket_partitions
from spotify_dag.orchestration.run import TERMINAL_TAG
from spotify_dag.orchestration.staleness import known_users_versions
from spotify_dag.resources.progress import Progress
from spotify_dag.resources.project import Project
from spotify_dag.schemas import INGESTS, RAW_PLAYLISTS, REJECTS, USERS
from spotify_dag.settings import Settings
from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.ingestion import Ingestion

RESUMES = 100
"""Times that Dagster goes on with a source that was not at its end: large lists take days."""


def ingest_assets(settings: Settings) -> list[Any]:
    """Return the assets of this stage."""
    buckets = user_bucket_partitions(settings.n_buckets)

    @dg.observable_source_asset(
        partitions_def=buckets,
        group_name="ingest",
        description="Everything handed in to the inbox. Its data version changes when a source has something new.",
        # Dagster takes neither kinds nor owners of an observed asset as such.
        tags={"dagster/kind/json": ""},
        metadata={"owners": ", ".join(OWNERS)},
    )
    def known_users(project: dg.ResourceParam[Project]) -> dg.DataVersionsByPartition:
        project.inbox.requests.sweep()
        versions = known_users_versions(project)
        return dg.DataVersionsByPartition(dict(zip(buckets.get_partition_keys(), versions, strict=True)))

    @lake_asset(RAW_PLAYLISTS, settings=settings, group="ingest", deps=["known_users"], code_version="1")
    def raw_playlists(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        wanted, lake = run_buckets(context), project.lake
        ingestion = Ingestion(
            project.inbox.sources(),
            buckets=wanted,
            n_buckets=lake.n_buckets,
            profiles_count=settings.profiles_count,
            now=datetime.now(UTC),
        )
        counts = [source.n_batches() for source in ingestion.sources]
        total = None if None in counts else sum(count or 0 for count in counts)
        with progress.task("Reading sources", total) as advance:
            rows = lake.replace(RAW_PLAYLISTS, wanted, ingestion.records(advance))
        users, rejects, ingests = ingestion.users(), ingestion.rejects(), ingestion.ingests()
        lake.replace(USERS, wanted, [users])
        lake.replace(REJECTS, wanted, [rejects])
        # Last: a run killed before this line is a run that has to be made again.
        lake.replace(INGESTS, wanted, [ingests])
        if ingestion.interrupted:
            raise _retry(context, max(ingestion.interrupted.values(), key=lambda error: error.at))
        per_reason = rejects.group_by("reason").len().sort("len", descending=True)
        return report(
            context,
            rows,
            users=users.height,
            rows_read=int(ingests["rows_read"].sum()),
            rows_rejected=int(ingests["rows_rejected"].sum()),
            sources=", ".join(source.name for source in ingestion.sources),
            rejects=bar_chart(per_reason["reason"].to_list(), per_reason["len"].to_list()),
            items_per_user=histogram(users["rows_kept"]),
            preview=preview(lake.scan(RAW_PLAYLISTS, wanted).head(8).collect()),
        )

    return [known_users, raw_playlists]


def _retry(context: dg.AssetExecutionContext, interrupted: ResumeLaterError) -> Exception:
    """Return what makes Dagster run the step again when the source can be read again.

    Whoever waits at a terminal is told instead, and not kept waiting: a source may ask for a day.
    """
    if TERMINAL_TAG in context.run.tags:
        return interrupted
    wait = max(1.0, interrupted.at - time.time())
    context.log.warning("%s", interrupted)
    return dg.RetryRequested(max_retries=RESUMES, seconds_to_wait=wait)
