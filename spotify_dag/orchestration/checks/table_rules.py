"""The check that derives from a schema: columns, required values, finite numbers, unique keys."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import Table
from spotify_dag.stores.bucket_state import sums_of_rows
from spotify_dag.stores.lake import Lake


def table_problems(lake: Lake, table: Table, buckets: list[int]) -> dict[str, int]:
    """Return how many rows of some buckets break the table's schema, by rule; nothing where all is well.

    A column that is not as the schema has it counts as one, and is named alone: nothing else can be asked then.
    """
    import polars as pl

    expected, stored = dict(table.polars_schema()), dict(lake.stored_schema(table))  # in whatever order
    if stored != expected:
        named = expected.keys() | stored.keys()
        return {
            f"{name} is {stored.get(name, 'missing')}, not {expected.get(name, 'a column')}": 1
            for name in sorted(named)
            if stored.get(name) != expected.get(name)
        }
    chosen = buckets if table.partition_by == "user_bucket" else None
    required = [column.name for column in table.columns if not column.nullable]
    vectors = [column.name for column in table.columns if column.dtype == "list[float32]"]
    numbers = [column.name for column in table.columns if column.dtype == "float32"]
    rules = {
        "null where a value is required": pl.any_horizontal(pl.col(required).is_null()),
        **{f"{name} is not finite": ~pl.col(name).is_finite() for name in numbers},
        **{f"{name} is not finite": ~pl.col(name).list.eval(pl.element().is_finite()).list.all() for name in vectors},
    }
    counts = sums_of_rows(lake, table, "rules", rules, chosen)
    if table.key:
        # A column by itself takes a third of the time of a struct of one.
        key = pl.col(table.key[0]) if len(table.key) == 1 else pl.struct(table.key)
        twice = lake.scan(table, chosen).select(key.is_duplicated().sum()).collect().item()
        counts[f"{', '.join(table.key)} is not unique"] = twice
    return {name: count for name, count in counts.items() if count}


def conformance_check(tables: Sequence[Table], partitions: dg.PartitionsDefinition[Any] | None = None) -> Any:
    """Return the check of the tables that one asset writes; the first bears the asset's name.

    ``partitions`` are those of that asset, by buckets; None where it has none.
    """

    @dg.asset_check(
        asset=tables[0].name,
        name="rows_conform",
        partitions_def=partitions,
        blocking=True,
        description="Columns are those of the schema, required ones have values, numbers are finite, keys unique: "
        + "; ".join(f"{table.name} ({', '.join(table.key) or 'no key'})" for table in tables),
    )
    def rows_conform(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        buckets = run_buckets(context) if partitions else []
        problems = {
            f"{table.name}: {problem}": count
            for table in tables
            for problem, count in table_problems(project.lake, table, buckets).items()
        }
        return dg.AssetCheckResult(passed=not problems, metadata={"problems": problems})

    return rows_conform
