"""Bring everything up to date: what ``spotify-dag run`` does. Dagster underneath, so the UI shows every step."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from spotify_dag.features.genres import genre_coverage
from spotify_dag.orchestration.partitions import ranges, user_bucket_partitions
from spotify_dag.orchestration.staleness import (
    index_version,
    known_users_versions,
    stale_features,
    stale_index,
    stale_ingests,
    stale_tracks,
    tower_is_stale,
)
from spotify_dag.resources.policy import nothing_to_train_on
from spotify_dag.resources.project import Project
from spotify_dag.resources.registry import write_atomically
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, REJECTS, TRACK_CATALOGUE, USER_EMBEDDINGS
from spotify_dag.sources.base import COUNTED

INSTANCE_CONFIG = Path(__file__).parents[2] / "dagster.yaml"
PROCESS_TAG = "spotify_dag/process"


@dataclass(frozen=True)
class StageRun:
    """One stage that was run: why, over how many buckets (0 where it has none), and how long it took."""

    stage: str
    reason: str
    buckets: int
    seconds: float


def open_instance(project: Project) -> dg.DagsterInstance:
    """Return the Dagster instance: DAGSTER_HOME where that is set, else the one under the data root."""
    home = project.settings.dagster_home
    if home is None:
        home = project.settings.data / "dagster"
        config = yaml.safe_load(INSTANCE_CONFIG.read_text())
        config["storage"]["sqlite"]["base_dir"] = str(home)
        write_atomically(home / "dagster.yaml", yaml.safe_dump(config).encode())
    return dg.DagsterInstance.from_config(str(home))


def bring_up_to_date(
    project: Project,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    *,
    train: bool = False,
    only_features: bool = False,
    started: Callable[[str, str], None] = lambda _stage, _reason: None,
) -> Iterator[StageRun]:
    """Materialise what is stale, stage by stage, and nothing else.

    Parameters
    ----------
    project, definitions, instance
        What to run, and where to record it.
    train
        Train a new tower even if the present one will do.
    only_features
        Stop before anything is trained.
    started
        Hears the name of a stage, and why it runs, before it runs.

    Yields
    ------
    Each stage that was run.
    """
    _close_runs_of_dead_processes(instance)

    def stage(name: str, reason: str, buckets: list[int] | None) -> StageRun:
        started(name, reason)
        begun = time.monotonic()
        for tags in [{}] if buckets is None else [_range_tags(project, *span) for span in ranges(buckets)]:
            _execute(definitions, instance, name, tags)
        return StageRun(name, reason, len(buckets or []), time.monotonic() - begun)

    if buckets := stale_ingests(project, project.inbox.sources()):
        _report_known_users(project, instance, buckets)
        yield stage("ingest", "a source has something new", buckets)
    if buckets := stale_features(project):
        yield stage("features", "users are new or changed", buckets)
    if only_features:
        return
    if reason := stale_tracks(project, train=train):
        yield stage("tracks", reason, None)
    if (reason := ("asked for" if train else tower_is_stale(project))) and not nothing_to_train_on(project):
        yield stage("train", reason, None)
    project.registry.finish_promotion()
    version = index_version(project)
    if version is None:
        return
    if buckets := stale_index(project, project.user_index(version)):
        yield stage("index", "vectors are missing or old", buckets)
    elif project.published() != version:
        # Killed between the last vector and the switch, or rolled back: only the switch is left to do.
        project.publish(version)


def summary(project: Project) -> dict[str, Any]:
    """Return what the data root holds: users and rows per source, coverage, rejects, who is not embedded, the model.

    ``model_version`` is what answers. ``notes`` says what a person should know of: why nothing was trained, or which
    number kept the version trained last from becoming champion.
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
    left_out = (
        lake.scan(USER_EMBEDDINGS)
        .filter(pl.col("unembedded_reason").is_not_null())
        .group_by(pl.col("unembedded_reason").alias("reason"))
        .agg(pl.len().alias("users"), pl.col("user_id").sort().head(5).alias("for_example"))
        .collect()
    )
    version = project.published()
    return {
        "sources": sources.to_dicts(),
        "rejects": rejects.to_dicts(),
        "genre_coverage": genre_coverage(lake.scan(ARTIST_GENRES)),
        "not_embedded": left_out.to_dicts(),
        "model_version": version,
        "model": project.registry.card(version)["metrics"] if version else None,
        "tracks": lake.scan(TRACK_CATALOGUE).select(pl.len()).collect().item(),
        "users_in_index": project.user_index(version).rows().height if version else 0,
        "notes": _notes(project),
    }


def _notes(project: Project) -> list[str]:
    reason = nothing_to_train_on(project)
    notes = [reason] if reason else []
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


def _execute(definitions: dg.Definitions, instance: dg.DagsterInstance, stage: str, tags: dict[str, str]) -> None:
    job = definitions.resolve_job_def(stage)
    process = f"{socket.gethostname()}:{os.getpid()}"
    job.execute_in_process(
        instance=instance,
        tags={**tags, PROCESS_TAG: process, "dagster/triggered_by": "spotify-dag run"},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )


def _range_tags(project: Project, first: int, last: int) -> dict[str, str]:
    keys = user_bucket_partitions(project.lake.n_buckets).get_partition_keys()
    return {"dagster/asset_partition_range_start": keys[first], "dagster/asset_partition_range_end": keys[last]}


def _report_known_users(project: Project, instance: dg.DagsterInstance, buckets: list[int]) -> None:
    """Record the new data version of the source in Dagster, so that the UI shows what the run read."""
    keys = user_bucket_partitions(project.lake.n_buckets).get_partition_keys()
    versions = known_users_versions(project)
    for bucket in buckets:
        tags = {"dagster/data_version": versions[bucket]}
        instance.report_runless_asset_event(dg.AssetObservation("known_users", partition=keys[bucket], tags=tags))


def _close_runs_of_dead_processes(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed whose process on this machine is gone: killed, they could not say so themselves."""
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(unfinished):
        host, _, process = run.tags.get(PROCESS_TAG, "").partition(":")
        if host == socket.gethostname() and not Path(f"/proc/{process}").exists():
            instance.report_run_failed(run, "The process that ran this was killed. The next run does what was left.")
