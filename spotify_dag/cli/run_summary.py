"""What a data root holds, as ``spotify-dag run`` prints it at its end."""

from __future__ import annotations

from typing import Any

from spotify_dag.features.genres import genre_coverage
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, REJECTS, TRACK_CATALOGUE, USER_EMBEDDINGS
from spotify_dag.sources.base import COUNTED
from spotify_dag.staleness.stale_buckets import index_version, tracks_wait_until
from spotify_dag.stores.bucket_state import of_buckets
from spotify_dag.stores.lake import Lake
from spotify_dag.training_data.policy import nothing_to_train_on


def summary(project: Project) -> dict[str, Any]:
    """Return what the data root holds: users and rows per source, coverage, rejects, who is not embedded, the model.

    ``model_version`` is what answers, ``model`` its measures on users kept from all training. ``notes`` says what a
    person should know: why nothing was trained, or which number kept the version trained last from becoming champion.
    """
    import polars as pl

    lake = project.lake
    counts = ["users", "rows_read", "rows_kept", "rows_rejected"]
    sources = lake.scan(INGESTS).group_by("source").agg(pl.col(counts).cast(pl.Int64).sum()).sort("source").collect()
    counted = pl.col("field") == COUNTED
    rejects = (
        lake.scan(REJECTS)
        .group_by("source", "reason", (pl.col("dropped") | counted).alias("dropped"))
        .agg(pl.when(counted).then(pl.col("value").cast(pl.Int64, strict=False)).otherwise(1).sum().alias("count"))
        .sort("count", "reason", descending=[True, False])
        .collect()
    )
    version = project.published()
    return {
        "sources": sources.to_dicts(),
        "rejects": rejects.to_dicts(),
        "genre_coverage": genre_coverage(lake.scan(ARTIST_GENRES)),
        "not_embedded": _not_embedded(lake),
        "model_version": version,
        "model": project.registry.measurement(version) if version else None,
        "tracks": lake.scan(TRACK_CATALOGUE).select(pl.len()).collect().item(),
        "users_in_index": project.user_index(version).count() if version else 0,
        "notes": _notes(project),
    }


def _not_embedded(lake: Lake) -> list[dict[str, Any]]:
    """Return why users have no embedding: ``reason, users, for_example``. Buckets without any are not read again."""
    import polars as pl

    def counted(buckets: list[int]) -> dict[int, int]:
        reasons = lake.scan(USER_EMBEDDINGS, buckets).filter(pl.col("unembedded_reason").is_not_null())
        counts = reasons.group_by("user_bucket").agg(pl.len()).collect()
        return dict.fromkeys(buckets, 0) | dict(counts.iter_rows())

    counts = of_buckets(lake, "not-embedded", lambda: lake.fingerprints((USER_EMBEDDINGS,)), counted)
    having = [bucket for bucket, count in counts.items() if count]
    rows = lake.scan(USER_EMBEDDINGS, having).filter(pl.col("unembedded_reason").is_not_null())
    by_reason = rows.group_by(pl.col("unembedded_reason").alias("reason"))
    return (
        by_reason.agg(pl.len().alias("users"), pl.col("user_id").sort().head(5).alias("for_example"))
        .collect()
        .to_dicts()
    )


def _notes(project: Project) -> list[str]:
    reason = nothing_to_train_on(project)
    notes = [reason] if reason else []
    if until := tracks_wait_until(project):
        notes.append(
            f"Tracks of new users wait for those of others, until {until:%Y-%m-%d %H:%M} UTC at the latest. "
            "Not to wait: dg launch --assets 'group:tracks'"
        )
    latest, champion = project.registry.latest(), project.registry.champion()
    if latest is not None and latest != champion:
        decision = project.registry.decision(latest)
        if decision is not None and not decision["passed"]:
            answers = " It answers until there is a champion." if project.published() == latest else ""
            notes.append(f"{latest} stays a challenger: {decision['summary']}{answers}")
    if champion is not None and index_version(project) is None:
        notes.append(
            f"The champion {champion} was trained for other features than users have now, so nobody new is indexed. "
            "Set the features back, or train a tower that passes the gate: spotify-dag run --train"
        )
    return notes
