"""The jobs: one per stage, so that a run in the UI says by its name what it did."""

from __future__ import annotations

from typing import Any

import dagster as dg

STAGES = {
    "ingest": ("raw_playlists",),
    "features": ("artist_genres", "user_tastes", "text_vectors", "user_embeddings"),
    "tracks": ("audio_features", "track_catalogue", "track_vectors", "track_index", "track_factors"),
    "train": ("artist_factors", "user_tower", "tower_evaluation"),
    "index": ("user_index",),
}
"""The stages in their order, with their assets."""


def stage_jobs() -> list[Any]:
    """Return a job per stage."""
    return [
        dg.define_asset_job(stage, dg.AssetSelection.assets(*assets), description=f"Materialise {', '.join(assets)}")
        for stage, assets in STAGES.items()
    ]
