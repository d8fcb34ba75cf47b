"""The whole graph on one page.

known_users -> raw_playlists -> artist_genres -> user_tastes -> text_vectors -> user_embeddings
user_embeddings -> artist_factors -> user_tower -> tower_evaluation -> user_index
raw_playlists, artist_genres, audio_features -> track_catalogue -> track_vectors -> track_index -> track_factors
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from spotify_dag.assets.features import feature_assets
from spotify_dag.assets.ingest import ingest_assets
from spotify_dag.assets.serving import serving_assets
from spotify_dag.assets.track_assets import catalogue_assets
from spotify_dag.assets.training import model_assets
from spotify_dag.orchestration.alerts import failure_sensor
from spotify_dag.orchestration.automation import automated, automation_sensors
from spotify_dag.orchestration.bucket_locks import with_buckets_locked
from spotify_dag.orchestration.care import care_jobs, care_schedules
from spotify_dag.orchestration.checks import asset_checks
from spotify_dag.orchestration.freshness import freshness_sensor
from spotify_dag.orchestration.jobs import stage_jobs
from spotify_dag.orchestration.refresh import refresh_schedule
from spotify_dag.orchestration.sensors import sensors
from spotify_dag.orchestration.track_checks import track_checks
from spotify_dag.orchestration.weekly import weekly_training
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.settings import Settings


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
    with warnings.catch_warnings():
        # Single-run backfills and partitioned checks are what this graph is made of; Dagster calls them beta.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        jobs = stage_jobs()
        return dg.Definitions(
            assets=automated(
                *ingest_assets(settings),
                *feature_assets(settings),
                *catalogue_assets(),
                *model_assets(settings),
                *serving_assets(settings),
            ),
            asset_checks=[*asset_checks(settings), *track_checks()],
            jobs=[*jobs, *care_jobs()],
            sensors=[*automation_sensors(), *sensors(jobs), failure_sensor(), freshness_sensor()],
            schedules=[weekly_training(jobs), refresh_schedule(settings, jobs[0]), *care_schedules()],
            resources={**resources, "project": with_buckets_locked(resources["project"])},
            executor=dg.in_process_executor if settings.executor == "in_process" else dg.multiprocess_executor,
        )


@dg.definitions
def defs() -> dg.Definitions:
    """Return the graph that ``dg dev``, ``dagster dev`` and the workspace load."""
    return build_definitions()
