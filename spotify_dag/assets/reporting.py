"""What every asset reports in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from spotify_dag.orchestration.partitions import bucket_of
from spotify_dag.orchestration.step_failures import resilient
from spotify_dag.schemas import Table

if TYPE_CHECKING:
    import polars as pl

OWNERS = ["team:spotify-dag"]


def lake_asset(
    compute: Callable[..., dg.MaterializeResult],
    table: Table,
    *,
    partitions: dg.PartitionsDefinition[Any],
    backfills: dg.BackfillPolicy,
    group: str,
    deps: Sequence[str | dg.AssetDep],
    code_version: str,
) -> Any:
    """Return ``compute`` as the asset that writes ``table`` by partitions that name buckets."""
    decorate = dg.asset(
        name=table.name,
        description=table.doc,
        deps=list(deps),
        group_name=group,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        code_version=code_version,
        partitions_def=partitions,
        backfill_policy=backfills,
        metadata={"dagster/column_schema": table_schema(table), "unique_key": ", ".join(table.key)},
    )
    return decorate(resilient(compute))


def table_schema(table: Table) -> dg.TableSchema:
    """Return a table's columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.dtype,
                column.doc,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.key == (column.name,)),
            )
            for column in table.columns
        ]
    )


def report(context: dg.AssetExecutionContext, rows: Mapping[int, int], **metadata: Any) -> dg.MaterializeResult:
    """Return the result of a write: the rows of each bucket on that bucket, the rest on all of them."""
    for key in context.partition_keys:
        context.add_asset_metadata({"dagster/partition_row_count": rows[bucket_of(key)]}, partition_key=key)
    return dg.MaterializeResult(metadata={"rows_written_in_this_run": sum(rows.values()), **metadata})


def typed_table(frame: pl.DataFrame) -> dg.TableMetadataValue:
    """Return a small frame as a table whose cells the UI shows as plain text, whatever they hold."""
    records = [
        dg.TableRecord({name: "" if cell is None else cell for name, cell in row.items()}) for row in frame.to_dicts()
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in frame.columns]))


def plain_label(text: str) -> str:
    """Return text that stays inside a block of code, on one line."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable()).replace("`", "'")[:60]


def bar_chart(labels: Sequence[str], values: Sequence[float], unit: str = "") -> dg.MarkdownMetadataValue:
    """Return numbers as bars of text, which any page can show."""
    labels = list(map(plain_label, labels))
    top = max([*values, 0]) or 1
    width = max((len(label) for label in labels), default=0)
    lines = [
        f"{label:<{width}}  {'█' * round(30 * value / top):<30}  {value:,.4g}{unit}"
        for label, value in zip(labels, values, strict=True)
    ]
    return dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```")


def histogram(values: pl.Series, bins: int = 10) -> dg.MarkdownMetadataValue:
    """Return how values are spread, as bars of text."""
    numbers = values.drop_nulls().to_numpy()
    if not len(numbers):
        return dg.MetadataValue.md("no values")
    counts, edges = np.histogram(numbers, bins=bins)
    labels = [f"{low:,.3g} to {high:,.3g}" for low, high in pairwise(edges)]
    return bar_chart(labels, counts.tolist())
