"""What every asset reports in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from spotify_dag.orchestration.partitions import user_bucket_partitions
from spotify_dag.orchestration.step_failures import resilient
from spotify_dag.schemas import Table
from spotify_dag.settings import Settings

if TYPE_CHECKING:
    import polars as pl

OWNERS = ["team:spotify-dag"]
PREVIEW_ROWS = 8
NAMING = ("user_id", "playlist_id", "playlist_name")
"""Columns that say who somebody is."""


def lake_asset(
    compute: Callable[..., dg.MaterializeResult],
    table: Table,
    *,
    settings: Settings,
    group: str,
    deps: Sequence[str],
    code_version: str,
) -> Any:
    """Return ``compute`` as the asset that writes ``table`` bucket by bucket."""
    decorate = dg.asset(
        name=table.name,
        description=table.doc,
        deps=list(deps),
        group_name=group,
        kinds={"deltalake", "polars"},
        owners=OWNERS,
        code_version=code_version,
        partitions_def=user_bucket_partitions(settings.n_buckets),
        backfill_policy=dg.BackfillPolicy.single_run(),
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
        context.add_asset_metadata({"dagster/partition_row_count": rows[int(key)]}, partition_key=key)
    return dg.MaterializeResult(metadata={"rows_written_in_this_run": sum(rows.values()), **metadata})


def preview(frame: pl.DataFrame) -> dg.MarkdownMetadataValue:
    """Return the first rows as a table; vectors are cut to their first numbers, and nobody is named.

    Dagster keeps what it is told, so it is not told whose rows they are.
    """
    import polars as pl

    frame = frame.drop(NAMING, strict=False)
    shown = frame.head(PREVIEW_ROWS).select(
        pl.col(name).list.head(3).cast(pl.List(pl.String)).list.join(", ") + " …"
        if dtype == pl.List(pl.Float32)
        else (pl.col(name).list.join(", ") if dtype == pl.List(pl.String) else pl.col(name).cast(pl.String))
        for name, dtype in frame.schema.items()
    )
    return dg.MetadataValue.md(markdown_table(shown))


def markdown_table(frame: pl.DataFrame) -> str:
    """Return a frame as a Markdown table; cells cannot break out of it."""
    rows = [frame.columns, ["---"] * frame.width, *frame.iter_rows()]
    cells = (
        ["" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ")[:60] for cell in row] for row in rows
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def bar_chart(labels: Sequence[str], values: Sequence[float], unit: str = "") -> dg.MarkdownMetadataValue:
    """Return numbers as bars of text, which any page can show."""
    top = max([*values, 0]) or 1
    width = max((len(label) for label in labels), default=0)
    lines = [
        f"{label:<{width}}  {'█' * round(30 * value / top):<30}  {value:,.4g}{unit}"
        for label, value in zip(labels, values, strict=True)
    ]
    return dg.MetadataValue.md("```\n" + "\n".join(lines) + "\n```")


def histogram(values: pl.Series, bins: int = 10) -> dg.MarkdownMetadataValue:
    """Return how values are spread, as bars of text."""
    known = values.drop_nulls().to_numpy()
    if not len(known):
        return dg.MetadataValue.md("no values")
    counts, edges = np.histogram(known, bins=bins)
    labels = [f"{low:,.3g} to {high:,.3g}" for low, high in pairwise(edges)]
    return bar_chart(labels, counts.tolist())
