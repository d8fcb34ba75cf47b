"""The whole graph on one page.

known_users -> raw_playlists -> artist_genres -> user_tastes -> text_vectors -> user_embeddings
user_embeddings -> artist_factors -> user_tower -> tower_evaluation -> user_index
raw_playlists, artist_genres, audio_features -> track_catalogue -> track_vectors -> track_index -> track_factors
raw_playlists, user_index, track_factors -> weekly_playlist
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from spotify_dag.assets.features import feature_assets
from spotify_dag.assets.ingest import ingest_assets
from spotify_dag.assets.serving import serving_assets
from spotify_dag.assets.track_assets import track_assets
from spotify_dag.assets.training import training_assets
from spotify_dag.assets.weekly import weekly_assets
from spotify_dag.orchestration.alerts import alert_on_failure
from spotify_dag.orchestration.automation import AUTOMATION_SENSOR, automated
from spotify_dag.orchestration.bucket_locks import with_buckets_locked
from spotify_dag.orchestration.checks.table import asset_checks
from spotify_dag.orchestration.freshness import freshness
from spotify_dag.orchestration.partitions import bucket_backfills, user_bucket_partitions
from spotify_dag.orchestration.schedules import LIFECYCLE_JOBS, SCHEDULES
from spotify_dag.orchestration.sensors import arrivals, catch_up
from spotify_dag.orchestration.stages import STAGE_JOBS
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.settings import Settings

DECLARED = Path(__file__).parent / "defs"
"""Where ``dg scaffold defs`` writes."""


def build_definitions(
    *, settings: Settings | None = None, overrides: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Assemble the graph.

    Parameters
    ----------
    settings
        What to build it for; from the environment by default.
    overrides
        Resources to use instead of the usual ones, by name: ``project``, ``progress``.
    """
    settings = settings or Settings()
    resources = {"project": Project.open(settings), "progress": Progress(), **(overrides or {})}
    buckets = user_bucket_partitions(resources["project"].lake.n_buckets)
    backfills = bucket_backfills(settings.buckets_per_run)
    with warnings.catch_warnings():
        # Single-run backfills and partitioned checks are what this graph is made of; Dagster calls them beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return dg.Definitions(
            assets=automated(
                *ingest_assets(buckets, backfills),
                *feature_assets(settings, buckets, backfills),
                *track_assets(),
                *training_assets(),
                *serving_assets(buckets, backfills),
                *weekly_assets(buckets, backfills),
            ),
            asset_checks=asset_checks(buckets),
            jobs=[*STAGE_JOBS.values(), *LIFECYCLE_JOBS],
            sensors=[AUTOMATION_SENSOR, arrivals, catch_up, alert_on_failure, freshness],
            schedules=SCHEDULES,
            resources={**resources, "project": with_buckets_locked(resources["project"])},
            executor=dg.in_process_executor if settings.executor == "in_process" else dg.multiprocess_executor,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the graph that ``dg dev``, ``dagster dev`` and the workspace load, and what ``defs/`` declares."""
    if next(DECLARED.rglob("defs.yaml"), None) is None:
        return build_definitions()
    return dg.Definitions.merge(build_definitions(), dg.load_from_defs_folder(path_within_project=DECLARED))
