"""A list of new tracks for every user who wants one, each Monday."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.reporting import lake_asset, report
from spotify_dag.orchestration.partitions import run_buckets, run_week, weekly_bucket_partitions
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import WEEKLY_PLAYLISTS
from spotify_dag.staleness.due_weekly_lists import missing_lists, surplus_lists
from spotify_dag.tracks.tracks_for import NEAR
from spotify_dag.tracks.weekly_lists import kept_weeks, weekly_list

if TYPE_CHECKING:
    import polars as pl


def weekly_assets(buckets: dg.StaticPartitionsDefinition, backfills: dg.BackfillPolicy) -> list[Any]:
    """Return the assets of this stage."""
    by_bucket = dg.MultiToSingleDimensionPartitionMapping(partition_dimension_name="bucket")
    of_users = [dg.AssetDep(name, partition_mapping=by_bucket) for name in ("raw_playlists", "user_index")]
    return [
        lake_asset(
            compute_weekly_playlist, WEEKLY_PLAYLISTS, partitions=weekly_bucket_partitions(buckets),
            backfills=backfills, group="serving", deps=[*of_users, "track_factors"], code_version="1",
        )
    ]  # fmt: skip


def compute_weekly_playlist(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Make the lists of a week that are missing in the run's buckets, and drop those that nobody wants or keeps."""
    week, buckets, lake = run_week(context), run_buckets(context), project.lake
    missing = missing_lists(project, week, buckets) if week in kept_weeks() else {}
    surplus = surplus_lists(project, buckets)
    made = 0
    with progress.task("Making lists", sum(map(len, missing.values()))) as advance:
        # Bucket by bucket: what a killed run has made stays.
        for bucket in sorted({*missing, *surplus["user_bucket"]}):
            before = lake.scan(WEEKLY_PLAYLISTS, [bucket]).collect()
            left = before.join(surplus, on=["user_id", "week"], how="anti")
            lists = _lists(project, week, bucket, missing.get(bucket, []), left)
            lake.replace(WEEKLY_PLAYLISTS, [bucket], [left, lists])
            made += lists.height
            advance(lists.height)
    rows = dict.fromkeys(buckets, 0)
    counts = lake.scan(WEEKLY_PLAYLISTS, buckets).select("user_bucket").collect()["user_bucket"].value_counts()
    return report(context, rows | dict(counts.iter_rows()), lists_made=made, lists_dropped=surplus.height)


def _lists(project: Project, week: str, bucket: int, users: list[str], before: "pl.DataFrame") -> "pl.DataFrame":
    """Return the lists of users of a bucket, as rows of `schemas.WEEKLY_PLAYLISTS`.

    Parameters
    ----------
    before
        Their lists that are kept; those of weeks before this one say which tracks do not come again.
    """
    import polars as pl

    tracks_for, made_at = project.tracks_for, datetime.now(UTC)
    rows = []
    for user in users:
        earlier = before.filter((pl.col("user_id") == user) & (pl.col("week") < week))["tracks"].explode().drop_nulls()
        made = weekly_list(tracks_for, user, project.nearest(user, NEAR), earlier)
        rows.append({"user_bucket": bucket, "user_id": user, "week": week, "made_at": made_at, **made})
    return WEEKLY_PLAYLISTS.conform(pl.DataFrame(rows, schema=WEEKLY_PLAYLISTS.polars_schema()))
