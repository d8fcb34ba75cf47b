"""The check that the vector index still finds whom it should: an exact search of a sample says what it misses."""

from typing import Any

import dagster as dg

from spotify_dag.orchestration.partitions import run_buckets, user_bucket_partitions
from spotify_dag.orchestration.staleness import index_version
from spotify_dag.resources.project import Project
from spotify_dag.settings import Settings

RECALL = 0.95
AT = 10
USERS = 50
"""Users asked about: with so many, a recall of .99 is not taken for one below .95."""
BUCKETS = 4
"""Buckets they are drawn from: users are spread over buckets by a hash, so any few are a sample of all."""


def recall_check(settings: Settings) -> Any:
    """Return the check."""

    @dg.asset_check(
        asset="user_index",
        partitions_def=user_bucket_partitions(settings.n_buckets),
        blocking=True,
        description=f"Of the {AT} users most like somebody, found by comparing with everybody, a search finds at least "
        f"{RECALL:.0%}. Asked of a sample of the run's users, once there is an approximate index.",
    )
    def index_finds_the_nearest(
        context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
    ) -> dg.AssetCheckResult:
        index = project.user_index(index_version(project) or "")
        if not index.approximate():
            return dg.AssetCheckResult(passed=True, metadata={"approximate": False})
        sample = index.rows(run_buckets(context)[:BUCKETS], with_vectors=True)
        asked = sample.sample(min(USERS, sample.height), seed=0)
        found = index.recall(asked["vector"].to_numpy(), AT)
        return dg.AssetCheckResult(
            passed=found >= RECALL, metadata={"approximate": True, "recall": found, "users_asked": asked.height}
        )

    return index_finds_the_nearest
