"""Listening in: which users are known, and what they listen to."""

import time
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from spotify_dag.assets.reporting import OWNERS, bar_chart, histogram, lake_asset, report
from spotify_dag.orchestration.partitions import run_buckets, user_bucket_partitions
from spotify_dag.orchestration.runs_under_way import buckets_of_other_runs
from spotify_dag.orchestration.step_failures import TERMINAL_TAG
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS, LISTENING_MONTHS, RAW_PLAYLISTS, REJECTS, USERS
from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.ingestion import Ingestion, carried_over
from spotify_dag.staleness.changed_users import changed_requests, read_requests
from spotify_dag.staleness.stale_buckets import known_users_versions, read_once

RESUMES = 100
"""Times that Dagster goes on with a source that was not at its end: large lists take days."""


def ingest_assets(buckets: dg.StaticPartitionsDefinition, backfills: dg.BackfillPolicy) -> list[Any]:
    """Return the assets of this stage."""
    known_users = dg.observable_source_asset(
        name="known_users",
        partitions_def=buckets,
        group_name="ingest",
        description="Everything handed in to the inbox. Its data version changes when a source has something new.",
        # Dagster takes neither kinds nor owners of an observed asset as such.
        tags={"dagster/kind/json": ""},
        metadata={"owners": ", ".join(OWNERS)},
    )(observe_known_users)
    raw_playlists = lake_asset(
        compute_raw_playlists, RAW_PLAYLISTS, partitions=buckets, backfills=backfills, group="ingest",
        deps=["known_users"], code_version="1",
    )  # fmt: skip
    return [known_users, raw_playlists]


def observe_known_users(project: dg.ResourceParam[Project]) -> dg.DataVersionsByPartition:
    """Take in new requests, and return a data version per bucket."""
    project.inbox.requests.sweep()
    versions = known_users_versions(project)
    keys = user_bucket_partitions(len(versions)).get_partition_keys()
    return dg.DataVersionsByPartition(dict(zip(keys, versions, strict=True)))


def compute_raw_playlists(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Read the sources for the buckets of the run: all of a bucket, or the users in it who are new or changed."""
    import polars as pl

    buckets, lake, now = run_buckets(context), project.lake, datetime.now(UTC)
    changes = changed_requests(project, buckets)
    passes = []
    if changes.whole:
        others = buckets_of_other_runs(context.instance, context.run.run_id, RAW_PLAYLISTS.name)
        passes.append(_read_whole(project, changes.whole, others, progress, now))
    if changes.some:
        passes.append(read_requests(project, changes, now))
    interrupted = [error for ingestion in passes for error in ingestion.interrupted.values()]
    if interrupted:
        raise _retry(context, max(interrupted, key=lambda error: error.at))
    users, ingests = lake.scan(USERS, buckets).collect(), lake.scan(INGESTS, buckets).collect()
    # After a colon stands what a file holds: that is somebody's own text.
    reason = pl.col("reason").str.split(":").list.first()
    per_reason = lake.scan(REJECTS, buckets).group_by(reason).agg(pl.len()).sort("len", descending=True).collect()
    rows = dict.fromkeys(buckets, 0) | dict(users.group_by("user_bucket").agg(pl.col("rows_kept").sum()).iter_rows())
    return report(
        context,
        rows,
        users=users.height,
        users_read=sum(ingestion.users().height for ingestion in passes),
        rows_read=int(ingests["rows_read"].sum()),
        rows_rejected=int(ingests["rows_rejected"].sum()),
        sources=", ".join(sorted(ingests["source"].unique())),
        rejects=bar_chart(per_reason["reason"].to_list(), per_reason["len"].to_list()),
        items_per_user=histogram(users["rows_kept"]),
    )


def _read_whole(project: Project, buckets: list[int], others: set[int], progress: Progress, now: datetime) -> Ingestion:
    """Read every source for some buckets, and write down what they hold; leave what runs of others want."""
    lake, sources = project.lake, project.inbox.sources()
    together = read_once(project, buckets, others)
    ingestion = Ingestion(
        sources,
        buckets=buckets,
        n_buckets=lake.n_buckets,
        profiles_count=project.settings.profiles_count,
        now=now,
        forgotten=project.tombstones.among,
        batches=together.batches,
    )
    counts = [source.n_batches() for source in ingestion.sources]
    total = None if None in counts else sum(count or 0 for count in counts)
    with progress.task("Reading sources", total) as advance:
        lake.replace(RAW_PLAYLISTS, buckets, ingestion.records(advance))
    lake.replace(USERS, buckets, [carried_over(ingestion.users(), lake.scan(USERS, buckets).collect())])
    months = ingestion.months()
    if months.height or lake.exists(LISTENING_MONTHS):  # most sources do not tell when
        lake.replace(LISTENING_MONTHS, buckets, [months])
    lake.replace(REJECTS, buckets, [ingestion.rejects()])
    # Last: a run killed before this line is a run that has to be made again.
    lake.replace(INGESTS, buckets, [ingestion.ingests()])
    together.drop_taken(sources)
    return ingestion


def _retry(context: dg.AssetExecutionContext, interrupted: ResumeLaterError) -> Exception:
    """Return what makes Dagster run the step again when the source can be read again.

    A person at a terminal is told instead and not kept waiting: a source may ask for a day.
    """
    if TERMINAL_TAG in context.run.tags:
        return interrupted
    wait = max(1.0, interrupted.at - time.time())
    context.log.warning("%s", interrupted)
    return dg.RetryRequested(max_retries=RESUMES, seconds_to_wait=wait)
