"""The check that the vector index still finds the right users: an exact search of a sample says what it misses.

The exact search compares with everybody, so it is made once for each state of the vector index, not for each new user:
rows beside the index are searched exactly until they are folded in.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from spotify_dag.orchestration.dagster_internals.records import check_history
from spotify_dag.orchestration.partitions import tagged_buckets
from spotify_dag.project import Project
from spotify_dag.staleness.stale_buckets import index_version

RECALL = 0.95
AT = 10
USERS = 50
"""Users asked about: with so many, a recall of .99 is not taken for one below .95."""
BUCKETS = 4
"""Buckets they are drawn from: users are spread over buckets by a hash, so any few are a sample of all."""
NAME = "index_finds_the_nearest"


def check_recall(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Compare what the index finds with an exact search, for a sample of the run's users."""
    index = project.user_index(index_version(project) or "")
    approximation = index.approximation()
    if approximation is None:
        return dg.AssetCheckResult(passed=True, metadata={"approximate": False})
    buckets = tagged_buckets(context.run.tags) or list(range(project.lake.n_buckets))
    measured = _measured(context.instance, approximation)
    if measured is None:
        some = index.rows(buckets[:BUCKETS])["user_id"]
        asked = some.sample(min(USERS, len(some)), seed=0).to_list()
        measured = {"recall": index.recall(asked, AT), "users_asked": len(asked)}
    return dg.AssetCheckResult(
        passed=measured["recall"] >= RECALL, metadata={"approximate": True, "approximation": approximation, **measured}
    )


def _measured(instance: dg.DagsterInstance, approximation: str) -> dict[str, Any] | None:
    """Return what the last run measured, if it passed and was of this state of the vector index."""
    key = dg.AssetCheckKey(dg.AssetKey("user_index"), NAME)
    for _, evaluation in check_history(instance, key, limit=2):  # the first record is that of this run
        told: Mapping[str, Any] = evaluation.metadata
        same = evaluation.passed and "approximation" in told and told["approximation"].value == approximation
        return {name: told[name].value for name in ("recall", "users_asked")} if same else None
    return None
