"""Bring everything up to date: what ``spotify-dag run`` does. Dagster underneath, so the UI shows every step."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.genres import genre_coverage
from spotify_dag.files import write_atomically
from spotify_dag.lifecycle.repair import drop_damaged
from spotify_dag.orchestration.dagster_internals.processes import PROCESS_TAG, is_dead, process_tag
from spotify_dag.orchestration.partitions import current_week, ranges, user_bucket_partitions
from spotify_dag.orchestration.step_failures import TERMINAL_TAG
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, REJECTS, TRACK_CATALOGUE, USER_EMBEDDINGS, USERS
from spotify_dag.sources.base import COUNTED
from spotify_dag.staleness.stale_buckets import (
    index_version,
    known_users_versions,
    stale_features,
    stale_index,
    stale_ingests,
    stale_tracks,
    tower_is_stale,
    tracks_wait_until,
)
from spotify_dag.training_data.policy import nothing_to_train_on

INSTANCE_CONFIG = files("spotify_dag.orchestration").joinpath("dagster.yaml")
"""The Dagster instance of one machine; every data root gets a copy."""


class DiskFullError(SpotifyDagError):
    """There is no room for what a stage writes. The message says what to do."""


@dataclass(frozen=True)
class Due:
    """A stage that is stale: why, and the buckets it concerns (None where it has none)."""

    stage: str
    reason: str
    buckets: list[int] | None


@dataclass(frozen=True)
class StageRun:
    """One stage that was run: why, over how many buckets (0 where it has none), and how long it took."""

    stage: str
    reason: str
    buckets: int
    seconds: float


def dagster_home(project: Project) -> Path:
    """Return where Dagster keeps its state: DAGSTER_HOME where that is set, else under the data root, configured."""
    home = project.settings.dagster_home
    if home is None:
        home = project.settings.data / "dagster"
        config = yaml.safe_load(INSTANCE_CONFIG.read_text())
        config["storage"]["custom"]["config"]["base_dir"] = str(home)
        write_atomically(home / "dagster.yaml", yaml.safe_dump(config).encode())
    return home


def open_instance(project: Project) -> dg.DagsterInstance:
    """Return the Dagster instance of a project."""
    return dg.DagsterInstance.from_config(str(dagster_home(project)))


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
    for damaged in drop_damaged(project):
        started("repair", damaged)
    for due in due_stages(project, train=train, only_features=only_features):
        started(due.stage, due.reason)
        begun = time.monotonic()
        if due.stage == "ingest":
            report_known_users(project, instance, due.buckets or [])
        for tags in stage_tags(project, due):
            _execute(definitions, instance, due.stage, tags)
        yield StageRun(due.stage, due.reason, len(due.buckets or []), time.monotonic() - begun)


def due_stages(project: Project, *, train: bool = False, only_features: bool = False) -> Iterator[Due]:
    """Yield what is stale, stage by stage: the next is looked for when the one before has been run.

    Asked for more than there is to run, it does what is left to do without a run: promote, and publish.
    """
    if buckets := stale_ingests(project, project.inbox.sources()):
        yield Due("ingest", "a source has something new", buckets)
    if buckets := stale_features(project):
        yield Due("features", "users are new or changed", buckets)
    if only_features:
        return
    if reason := stale_tracks(project, train=train):
        yield Due("tracks", reason, None)
    if (reason := ("asked for" if train else tower_is_stale(project))) and not nothing_to_train_on(project):
        yield Due("train", reason, None)
    project.registry.finish_promotion()
    version = index_version(project)
    if version is None:
        return
    if buckets := stale_index(project, project.user_index(version)):
        yield Due("index", "vectors are missing or old", buckets)
    elif project.published() != version:
        # Killed between the last vector and the switch, or rolled back: only the switch is left to do.
        project.publish(version)


def stage_tags(project: Project, due: Due) -> list[dict[str, str]]:
    """Return the tags of the runs that make a stage: one per range of buckets, or the present week."""
    if due.stage == "train":
        return [{"dagster/partition": current_week()}]
    if due.buckets is None:
        return [{}]
    keys = user_bucket_partitions(project.lake.n_buckets).get_partition_keys()
    peopled = project.lake.scan(USERS).select("user_bucket").unique().collect()["user_bucket"]
    # Of a small base, every second bucket has nobody: a run that goes through it is quicker than two runs.
    empty = set(range(project.lake.n_buckets)).difference(peopled)
    return [
        {"dagster/asset_partition_range_start": keys[first], "dagster/asset_partition_range_end": keys[last]}
        for first, last in ranges(due.buckets, through=empty)
    ]


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


def _execute(definitions: dg.Definitions, instance: dg.DagsterInstance, stage: str, tags: dict[str, str]) -> None:
    job = definitions.resolve_job_def(stage)
    try:
        job.execute_in_process(
            instance=instance,
            tags={**tags, PROCESS_TAG: process_tag(), TERMINAL_TAG: "", "dagster/triggered_by": "spotify-dag run"},
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
    except Exception as error:
        # Every library says it in its own class; what the operating system says is in all of them.
        if os.strerror(errno.ENOSPC) in str(error):
            raise DiskFullError(
                f"The disk is full: stage {stage} could not be written. What was there is whole. Make room, and run "
                "spotify-dag run again"
            ) from error
        raise


def report_known_users(project: Project, instance: dg.DagsterInstance, buckets: list[int]) -> None:
    """Record the new data version of the source in Dagster, so that the UI shows what the run read."""
    versions = known_users_versions(project)
    for observed in known_users_observations({bucket: versions[bucket] for bucket in buckets}, len(versions)):
        instance.report_runless_asset_event(observed)


def known_users_observations(versions: Mapping[int, str], n_buckets: int) -> list[dg.AssetObservation]:
    """Return data versions of the source, by bucket, as Dagster records them."""
    keys = user_bucket_partitions(n_buckets).get_partition_keys()
    return [
        dg.AssetObservation("known_users", partition=keys[bucket], tags={"dagster/data_version": version})
        for bucket, version in versions.items()
    ]


def _close_runs_of_dead_processes(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed whose process on this machine is gone: killed, they could not say so themselves.

    Nor could they give back their place in a pool, which everybody after them would wait for.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(unfinished):
        if is_dead(run):
            instance.report_run_failed(run, "The process that ran this was killed. The next run does what was left.")
    storage = instance.event_log_storage
    for pool in storage.get_concurrency_keys():
        places = storage.get_concurrency_info(pool)
        holders = {place.run_id for place in places.claimed_slots} | {step.run_id for step in places.pending_steps}
        for run_id in holders:
            holder = instance.get_run_by_id(run_id)
            if holder is None or holder.is_finished:
                storage.free_concurrency_slots_for_run(run_id)
