"""The stages of the graph: one table that jobs, ``spotify-dag run``, the sensors and freshness read.

To add a stage, add a row to `STAGES`: its assets, how to see that it is stale, and how long something may wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import dagster as dg

from spotify_dag.project import Project
from spotify_dag.schemas import USERS
from spotify_dag.staleness.due_weekly_lists import stale_weekly_lists
from spotify_dag.staleness.stale_buckets import (
    index_version,
    stale_features,
    stale_index,
    stale_ingests,
    stale_tracks,
    tower_is_stale,
)
from spotify_dag.training_data.policy import nothing_to_train_on

HOUR = 3600.0


class Partitions(StrEnum):
    """What the assets of a stage are partitioned by."""

    BUCKETS = "buckets"
    WEEKS = "weeks"
    BUCKETS_AND_WEEKS = "buckets and weeks"
    NONE = "none"


@dataclass(frozen=True)
class Due:
    """A stage that is stale."""

    stage: str
    reason: str
    buckets: list[int] | None = None
    """The stale buckets; None for a stage that is not partitioned by buckets."""


class DueStage(Protocol):
    """How to see that a stage is stale."""

    def __call__(self, project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
        """Compare tables and return what is stale, or None.

        Parameters
        ----------
        project
            The data root.
        train
            Somebody asked for a new tower.
        buckets
            Look at these buckets only; at all by default.
        """


@dataclass(frozen=True)
class Stage:
    """A part of the graph that one job materialises."""

    name: str
    assets: tuple[str, ...]
    """Names of its assets, in their order."""
    due: DueStage
    patience: float
    """Seconds for which something may wait for this stage before an alert is sent."""
    partitions: Partitions = Partitions.BUCKETS
    automated: bool = True
    """Whether Dagster's automation makes it when `known_users` changes in a bucket."""
    settle: Callable[[Project], None] | None = None
    """What can be finished without a run, before the stage is looked at."""


def _due_ingest(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    stale = stale_ingests(project, project.inbox.sources(), buckets)
    return Due("ingest", "a source has something new", stale) if stale else None


def _due_features(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    stale = stale_features(project, buckets)
    return Due("features", "users are new or changed", stale) if stale else None


def _due_tracks(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    reason = stale_tracks(project, train=train)
    return Due("tracks", reason) if reason else None


def _due_training(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    reason = "asked for" if train else tower_is_stale(project)
    return Due("train", reason) if reason and not nothing_to_train_on(project) else None


def _due_index(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    version = index_version(project)
    stale = [] if version is None else stale_index(project, project.user_index(version), buckets)
    return Due("index", "vectors are missing or old", stale) if stale else None


def _due_weekly(project: Project, *, train: bool = False, buckets: list[int] | None = None) -> Due | None:
    stale = stale_weekly_lists(project, buckets)
    return Due("weekly", "lists of this week are missing, or old ones are to go", stale) if stale else None


def _settle_index(project: Project) -> None:
    """Finish a promotion, and publish a complete index.

    A run may have been killed between the last vector and the switch, or somebody rolled back.
    """
    project.registry.finish_promotion()
    version = index_version(project)
    if version is None or project.published() == version:
        return
    if not stale_index(project, project.user_index(version)):
        project.publish(version)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("ingest", ("raw_playlists",), _due_ingest, patience=2 * HOUR),
        Stage(
            "features",
            ("artist_genres", "user_tastes", "text_vectors", "user_embeddings"),
            _due_features,
            patience=2 * HOUR,
        ),
        # Tracks and training come once a week.
        Stage(
            "tracks",
            ("audio_features", "track_catalogue", "track_vectors", "track_index", "track_factors"),
            _due_tracks,
            patience=8 * 24 * HOUR,
            partitions=Partitions.NONE,
            automated=False,
        ),
        Stage(
            "train",
            ("artist_factors", "user_tower", "tower_evaluation"),
            _due_training,
            patience=8 * 24 * HOUR,
            partitions=Partitions.WEEKS,
            automated=False,
        ),
        Stage("index", ("user_index",), _due_index, patience=2 * HOUR, settle=_settle_index),
        # Time makes it stale, and the wishes of users: neither is an event of an asset.
        Stage(
            "weekly",
            ("weekly_playlist",),
            _due_weekly,
            patience=8 * HOUR,
            partitions=Partitions.BUCKETS_AND_WEEKS,
            automated=False,
        ),
    )
}
"""The stages by name, in the order in which they run."""
LAST_OF_FEATURES = "features"
"""The last stage before anything is learned."""


def stage_job(stage: Stage) -> Any:
    """Return the job of a stage: a run in the UI says by its name what it did."""
    selection = dg.AssetSelection.assets(*stage.assets)
    return dg.define_asset_job(stage.name, selection, description=f"Materialise {', '.join(stage.assets)}")


STAGE_JOBS = {name: stage_job(stage) for name, stage in STAGES.items()}


def due_stages(project: Project, *, train: bool = False, only_features: bool = False) -> Iterator[Due]:
    """Yield what is stale, stage by stage: the next is looked for when the one before has been run."""
    for stage in STAGES.values():
        if stage.settle is not None:
            stage.settle(project)
        due = stage.due(project, train=train)
        if due is not None:
            yield due
        if only_features and stage.name == LAST_OF_FEATURES:
            return


def waiting(project: Project) -> dict[str, list[int]]:
    """Return what waits for each stage: its stale buckets. A stage without buckets stands as bucket 0.

    While there is no user, nothing waits for a stage that learns from all of them.
    """
    anybody = bool(project.lake.row_counts(USERS))
    waits: dict[str, list[int]] = {}
    for stage in STAGES.values():
        due = stage.due(project) if anybody or stage.partitions == Partitions.BUCKETS else None
        waits[stage.name] = [] if due is None else due.buckets or [0]
    return waits
