"""100,000 users, about 25 million playlist items, from nothing to user embeddings within 8 GiB of memory.

The stages ``ingest`` and ``features`` of ``spotify-dag run --source synthetic --users 100000`` run in a process of
their own, from the start of the interpreter to the last embedding in the lake: generating the world, Dagster's
records, the encoder and every write are in the figure. The stages ``train`` and ``index`` follow on the same data root
in another process and are reported apart.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import Cost, console, in_fresh_process, print_others, print_table, run
from bench.pipeline import lake_bytes, register_world, run_stages

NAME = "hundred_thousand_users"
USERS, QUICK_USERS = 100_000, 5_000
PLAYLISTS, TRACKS = 5, 50
"""Playlists per user, mean tracks per playlist."""
LIMIT_GIB = 8.0


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        embedding_stages, embedding = in_fresh_process(embed, root, users)
        size, _ = in_fresh_process(sizes, root)
        serving_stages, serving = in_fresh_process(run_stages, root, "index")
    results = {
        "world": {"users": users, "playlists_per_user": PLAYLISTS, "mean_tracks_per_playlist": TRACKS},
        **size,
        "to_user_embeddings": {
            **asdict(embedding),
            "users_per_second": size["users_embedded"] / embedding.seconds,
            "limit_gib": LIMIT_GIB,
            "within_limit": embedding.peak_gib <= LIMIT_GIB,
            "stages": embedding_stages,
        },
        "train_and_index": {**asdict(serving), "stages": serving_stages},
    }
    show(results, embedding, serving)
    return results


def embed(root: Path, users: int) -> list[dict[str, Any]]:
    """Make a data root and bring it as far as user embeddings; return its stages."""
    register_world(root, users, PLAYLISTS, TRACKS)
    return run_stages(root, "features")


def sizes(root: Path) -> dict[str, Any]:
    """Return what a data root holds: rows, users embedded, distinct strings encoded, bytes per table."""
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.schemas import INGESTS, TEXT_VECTORS, USER_EMBEDDINGS
    from spotify_dag.settings import Settings

    lake = Project.open(Settings(data=root)).lake
    embedded = lake.scan(USER_EMBEDDINGS).filter(pl.col("unembedded_reason").is_null())
    return {
        "rows": lake.scan(INGESTS).select(pl.col("rows_kept").sum()).collect().item(),
        "users_embedded": embedded.select(pl.len()).collect().item(),
        "strings_encoded": lake.scan(TEXT_VECTORS).select(pl.len()).collect().item(),
        "bytes_on_disk": lake_bytes(root),
    }


def show(results: dict[str, Any], embedding: Cost, serving: Cost) -> None:
    """Print the stages, the tables on disk and whether memory stayed within the limit."""
    print_table(
        "Stages",
        ("Stage", "Seconds", "CPU seconds", "Peak so far, GiB"),
        [
            *map(_stage_row, results["to_user_embeddings"]["stages"]),
            _cost_row("nothing to user embeddings, process start included", embedding),
            *map(_stage_row, results["train_and_index"]["stages"]),
            _cost_row("train and index, a process of their own", serving),
        ],
    )
    print_table(
        "On disk",
        ("Table", "MB"),
        [(name, f"{size / 1e6:,.1f}") for name, size in results["bytes_on_disk"].items()],
    )
    verdict = "PASS" if results["to_user_embeddings"]["within_limit"] else "OVER THE LIMIT"
    console.print(
        f"{results['rows']:,} rows, {results['users_embedded']:,} users embedded, "
        f"{results['strings_encoded']:,} distinct strings encoded, "
        f"{results['to_user_embeddings']['users_per_second']:,.0f} users per second\n"
        f"[bold]{verdict}[/]: peak {embedding.peak_gib:.2f} GiB of {LIMIT_GIB:.0f} GiB, {embedding.seconds:.0f} s"
    )
    print_others({"to user embeddings": embedding, "train and index": serving})


def _stage_row(stage: dict[str, Any]) -> tuple[str, ...]:
    return (
        stage["stage"],
        f"{stage['seconds']:,.1f}",
        f"{stage['cpu_seconds']:,.1f}",
        f"{stage['peak_gib']:.2f}",
    )


def _cost_row(name: str, cost: Cost) -> tuple[str, ...]:
    return f"[bold]{name}[/]", f"{cost.seconds:,.1f}", f"{cost.cpu_seconds:,.1f}", f"{cost.peak_gib:.2f}"


if __name__ == "__main__":
    run(NAME, __doc__, measure)
