"""Asset checks: what must be true of every table before anything downstream may use it.

One check per asset derives from the schemas of what it writes. The others say what a schema cannot: that nobody is lost
between stages (more of these in `integrity`), that the tower has not collapsed, that the index holds everybody once and
finds them. `drift` and `freshness` have the checks that warn.
"""

from typing import Any

import dagster as dg

from spotify_dag.orchestration.drift import drift_checks
from spotify_dag.orchestration.freshness import freshness_checks
from spotify_dag.orchestration.integrity import integrity_checks
from spotify_dag.orchestration.partitions import run_buckets, user_bucket_partitions
from spotify_dag.orchestration.recall import recall_check
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_FACTORS,
    ARTIST_GENRES,
    INGESTS,
    RAW_PLAYLISTS,
    REJECTS,
    TEXT_VECTORS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
)
from spotify_dag.settings import Settings
from spotify_dag.staleness.stale_buckets import index_version, stale_index
from spotify_dag.stores.lake import Lake
from spotify_dag.tower.gate import COLLAPSE, soundness

UNIT_TOLERANCE = 1e-3


def table_problems(lake: Lake, table: Table, buckets: list[int]) -> dict[str, int]:
    """Return how many rows of some buckets break the table's schema, by rule; nothing where all is well.

    A column that is not as the schema has it counts as one, and is named alone: nothing else can be asked then.
    """
    import polars as pl

    expected, found = dict(table.polars_schema()), dict(lake.stored_schema(table))  # in whatever order
    if found != expected:
        named = expected.keys() | found.keys()
        return {
            f"{name} is {found.get(name, 'missing')}, not {expected.get(name, 'a column')}": 1
            for name in sorted(named)
            if found.get(name) != expected.get(name)
        }
    rows = lake.scan(table, buckets if table.partition_by == "user_bucket" else None)
    required = [column.name for column in table.columns if not column.nullable]
    vectors = [column.name for column in table.columns if column.dtype == "list[float32]"]
    numbers = [column.name for column in table.columns if column.dtype == "float32"]
    rules = {
        "null where a value is required": pl.any_horizontal(pl.col(required).is_null()),
        **{f"{name} is not finite": ~pl.col(name).is_finite() for name in numbers},
        **{f"{name} is not finite": ~pl.col(name).list.eval(pl.element().is_finite()).list.all() for name in vectors},
    }
    if table.key:
        # A column by itself takes a third of the time of a struct of one.
        key = pl.col(table.key[0]) if len(table.key) == 1 else pl.struct(table.key)
        rules[f"{', '.join(table.key)} is not unique"] = key.is_duplicated()
    counts = rows.select(rule.fill_null(False).sum().alias(name) for name, rule in rules.items()).collect()
    return {name: count for name, count in zip(counts.columns, counts.row(0), strict=True) if count}


def asset_checks(settings: Settings) -> list[Any]:
    """Return every check of the graph."""
    buckets = user_bucket_partitions(settings.n_buckets)

    def rows_conform(*tables: Table) -> Any:
        """Check the tables that one asset writes; the first bears its name."""

        @dg.asset_check(
            asset=tables[0].name,
            name="rows_conform",
            partitions_def=buckets,
            blocking=True,
            description="Columns are those of the schema, required ones have values, numbers are finite, keys unique: "
            + "; ".join(f"{table.name} ({', '.join(table.key) or 'no key'})" for table in tables),
        )
        def check(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
            wanted = run_buckets(context)
            problems = {
                f"{table.name}: {problem}": count
                for table in tables
                for problem, count in table_problems(project.lake, table, wanted).items()
            }
            return dg.AssetCheckResult(passed=not problems, metadata={"problems": problems})

        return check

    @dg.asset_check(
        asset=RAW_PLAYLISTS.name,
        partitions_def=buckets,
        blocking=True,
        description="Every user named by a source is in the users table, with as many items as it says.",
    )
    def every_row_has_its_user(
        context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
    ) -> dg.AssetCheckResult:
        import polars as pl

        wanted = run_buckets(context)
        items = project.lake.scan(RAW_PLAYLISTS, wanted).group_by("user_id").agg(pl.len().alias("items"))
        kept = pl.when(pl.col("dropped_at").is_null()).then("rows_kept").otherwise(0)
        users = project.lake.scan(USERS, wanted).select("user_id", kept.alias("rows_kept"))
        both = items.join(users, on="user_id", how="full", coalesce=True)
        wrong = both.filter(pl.col("items").fill_null(0) != pl.col("rows_kept").fill_null(-1)).collect()
        return dg.AssetCheckResult(passed=wrong.is_empty(), metadata={"users_that_differ": wrong.height})

    @dg.asset_check(
        asset=USER_EMBEDDINGS.name,
        partitions_def=buckets,
        blocking=True,
        description="Every user has a row, with at least one embedding or the reason why not.",
    )
    def every_user_embedded_or_explained(
        context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
    ) -> dg.AssetCheckResult:
        import polars as pl

        wanted = run_buckets(context)
        users = project.lake.scan(USERS, wanted).select("user_id")
        rows = project.lake.scan(USER_EMBEDDINGS, wanted).select("user_id", "unembedded_reason")
        lost = users.join(rows, on="user_id", how="anti").select(pl.len()).collect().item()
        unknown = rows.join(users, on="user_id", how="anti").select(pl.len()).collect().item()
        explained = rows.filter(pl.col("unembedded_reason").is_not_null()).select(pl.len()).collect().item()
        return dg.AssetCheckResult(
            passed=lost == 0 and unknown == 0,
            metadata={"users_lost": lost, "users_that_nobody_named": unknown, "users_not_embedded": explained},
        )

    @dg.asset_check(
        asset="artist_factors",
        blocking=True,
        description="Every artist of the tower trained last has one vector, and all its numbers are finite.",
    )
    def factors_are_whole(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        import polars as pl

        version = project.registry.latest()
        rows = project.lake.scan(ARTIST_FACTORS).filter(pl.col("model_version") == version).collect()
        finite = rows["vector"].explode().is_finite().all()
        twice = rows.height - rows["artist_key"].n_unique()
        return dg.AssetCheckResult(
            passed=bool(finite) and not twice, metadata={"artists": rows.height, "in_twice": twice}
        )

    @dg.asset_check(
        asset="tower_evaluation",
        blocking=True,
        description="The gate was asked about the tower trained last, so it is known why it serves or does not.",
    )
    def gate_was_asked(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        registry = project.registry
        version = registry.latest()
        asked = version is not None and (version == registry.champion() or registry.decision(version) is not None)
        return dg.AssetCheckResult(passed=asked, metadata={"model_version": str(version)})

    @dg.asset_check(
        asset="user_tower",  # not blocking: the gate keeps such a tower from serving, and the champion goes on
        description=f"Weights are finite, and random pairs of users have a mean cosine of at most {COLLAPSE}.",
    )
    def tower_is_sound(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        version = project.registry.latest()
        if version is None:
            return dg.AssetCheckResult(passed=False, metadata={"problem": "no tower"})
        found = soundness(project.registry.card(version)["metrics"])
        return dg.AssetCheckResult(passed=found.passed, metadata=found.as_dict())

    @dg.asset_check(
        asset="user_index",
        partitions_def=buckets,
        blocking=True,
        description="Vectors have unit length, nobody is in twice, and every embedded user of the run is in.",
    )
    def index_is_whole(
        context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]
    ) -> dg.AssetCheckResult:
        import numpy as np

        wanted = run_buckets(context)
        index = project.user_index(index_version(project) or "")
        rows = index.rows(wanted, with_vectors=True)
        norm = np.linalg.norm(rows["vector"].to_numpy(), axis=1)
        twice = rows.height - rows["user_id"].n_unique()
        stale = stale_index(project, index, wanted)
        off = int((~(np.abs(norm - 1) <= UNIT_TOLERANCE)).sum())  # not finite is off too
        return dg.AssetCheckResult(
            passed=not (twice or off or stale),
            metadata={
                "users": rows.height,
                "in_twice": twice,
                "not_unit_length": off,
                "buckets_incomplete": len(stale),
            },
        )

    tables = ((RAW_PLAYLISTS, USERS, INGESTS, REJECTS), (ARTIST_GENRES,), (USER_TASTES,), (TEXT_VECTORS,))
    return [
        *(rows_conform(*written) for written in (*tables, (USER_EMBEDDINGS,))),
        every_row_has_its_user,
        every_user_embedded_or_explained,
        factors_are_whole,
        tower_is_sound,
        gate_was_asked,
        index_is_whole,
        recall_check(settings),
        *integrity_checks(settings),
        *drift_checks(settings),
        *freshness_checks(),
    ]
