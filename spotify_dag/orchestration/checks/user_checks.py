"""What must be true of users, the tower and the user index before anything downstream may use them."""

import dagster as dg

from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_FACTORS, RAW_PLAYLISTS, USER_EMBEDDINGS, USERS
from spotify_dag.staleness.stale_buckets import index_version, stale_index
from spotify_dag.stores.index_digests import not_unit_length
from spotify_dag.tower.gate import soundness

UNIT_TOLERANCE = 1e-3


def check_every_row_has_its_user(
    context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
) -> dg.AssetCheckResult:
    """Compare the number of items of every user with what the users table says."""
    import polars as pl

    buckets = run_buckets(context)
    items = project.lake.scan(RAW_PLAYLISTS, buckets).group_by("user_id").agg(pl.len().alias("items"))
    expected = pl.when(pl.col("dropped_at").is_null()).then("rows_kept").otherwise(0)
    users = project.lake.scan(USERS, buckets).select("user_id", expected.alias("rows_kept"))
    both = items.join(users, on="user_id", how="full", coalesce=True)
    wrong = both.filter(pl.col("items").fill_null(0) != pl.col("rows_kept").fill_null(-1)).collect()
    return dg.AssetCheckResult(passed=wrong.is_empty(), metadata={"users_that_differ": wrong.height})


def check_every_user_embedded_or_explained(
    context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
) -> dg.AssetCheckResult:
    """Look for users without a row of embeddings, and for rows of nobody."""
    import polars as pl

    buckets = run_buckets(context)
    users = project.lake.scan(USERS, buckets).select("user_id")
    rows = project.lake.scan(USER_EMBEDDINGS, buckets).select("user_id", "unembedded_reason")
    lost = users.join(rows, on="user_id", how="anti").select(pl.len()).collect().item()
    unknown = rows.join(users, on="user_id", how="anti").select(pl.len()).collect().item()
    explained = rows.filter(pl.col("unembedded_reason").is_not_null()).select(pl.len()).collect().item()
    return dg.AssetCheckResult(
        passed=lost == 0 and unknown == 0,
        metadata={"users_lost": lost, "users_that_nobody_named": unknown, "users_not_embedded": explained},
    )


def check_artist_factors(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for vectors that are not finite, and for artists with two."""
    import polars as pl

    version = project.registry.latest()
    rows = project.lake.scan(ARTIST_FACTORS).filter(pl.col("model_version") == version).collect()
    finite = rows["vector"].explode().is_finite().all()
    twice = rows.height - rows["artist_key"].n_unique()
    return dg.AssetCheckResult(passed=bool(finite) and not twice, metadata={"artists": rows.height, "in_twice": twice})


def check_gate_was_asked(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for the gate's decision on the tower trained last."""
    registry = project.registry
    version = registry.latest()
    asked = version is not None and (version == registry.champion() or registry.decision(version) is not None)
    return dg.AssetCheckResult(passed=asked, metadata={"model_version": str(version)})


def check_tower_is_sound(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Ask the gate's rules of soundness about the tower trained last."""
    version = project.registry.latest()
    if version is None:
        return dg.AssetCheckResult(passed=False, metadata={"problem": "no tower"})
    problems = soundness(project.registry.card(version)["metrics"])
    return dg.AssetCheckResult(passed=problems.passed, metadata=problems.as_dict())


def check_user_index(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for vectors that are not of unit length, twice there, or missing."""
    buckets = run_buckets(context)
    index = project.user_index(index_version(project) or "")
    rows = index.rows(buckets)
    twice = rows.height - rows["user_id"].n_unique()
    stale = stale_index(project, index, buckets)
    off = not_unit_length(project.lake, index, UNIT_TOLERANCE) if rows.height else 0
    return dg.AssetCheckResult(
        passed=not (twice or off or stale),
        metadata={
            "users": rows.height,
            "in_twice": twice,
            "not_unit_length": off,
            "buckets_incomplete": len(stale),
        },
    )
