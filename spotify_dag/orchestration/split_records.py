"""What Dagster is told when user buckets are split: its partitions then have other names, and more of them.

A new partition without a record is *missing*, and automation would make it. So before the switch each one gets the
records of the bucket that it comes from: a data version of `known_users`, and a materialisation of each asset that has
one. Records of the partitions before stay, under names that no partition has any more.
"""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

from spotify_dag.orchestration.automation import AUTOMATED
from spotify_dag.orchestration.bring_up_to_date import known_users_observations
from spotify_dag.orchestration.dagster_internals.records import unfinished_backfills
from spotify_dag.orchestration.instance import close_runs_of_dead_processes
from spotify_dag.orchestration.partitions import user_bucket_partitions
from spotify_dag.orchestration.runs_under_way import runs_under_way
from spotify_dag.project import Project
from spotify_dag.staleness.stale_buckets import known_users_versions

RECORDED = 1 + len(AUTOMATED)
"""Assets that `record_split` tells of."""


def what_goes_on(instance: dg.DagsterInstance) -> str | None:
    """Return which run or backfill is going on or queued, in a sentence; None if there is none."""
    close_runs_of_dead_processes(instance)
    runs = runs_under_way(instance)
    if runs:
        more = f", and {len(runs) - 1} more" if len(runs) > 1 else ""
        return f"A run is going on: '{runs[0].job_name}' ({runs[0].run_id[:8]}, {runs[0].status.value}){more}."
    backfills = unfinished_backfills(instance)
    return f"A backfill is going on: {backfills[0][0]} ({backfills[0][1]})." if backfills else None


def record_split(
    instance: dg.DagsterInstance, there: Project, n_buckets: int, advance: Callable[[float], None] = lambda _: None
) -> None:
    """Record for the partitions of a divided project what is recorded of those it is divided from.

    Parameters
    ----------
    instance
        Where.
    there, n_buckets
        The divided project, and how many buckets there were.
    advance
        Hears of each asset.
    """
    before, after = (user_bucket_partitions(count).get_partition_keys() for count in (n_buckets, there.lake.n_buckets))
    for observed in known_users_observations(dict(enumerate(known_users_versions(there))), there.lake.n_buckets):
        instance.report_runless_asset_event(observed)
    advance(1)
    origins = {key: before[part % n_buckets] for part, key in enumerate(after)}
    for asset in AUTOMATED:
        made = instance.get_materialized_partitions(dg.AssetKey(asset))
        for key in (key for key, origin in origins.items() if origin in made and key not in made):
            metadata = {"split_from": f"{origins[key]} of {n_buckets}"}
            instance.report_runless_asset_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))
        advance(1)
