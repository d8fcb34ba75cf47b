"""Asset checks of tracks: what must be true before anybody is answered from them."""

from typing import Any

import dagster as dg

from spotify_dag.orchestration.checks import table_problems
from spotify_dag.project import Project
from spotify_dag.schemas import AUDIO_FEATURES, TRACK_CATALOGUE, Table
from spotify_dag.staleness.stale_buckets import index_difference
from spotify_dag.stores.text_encoder import unknown_texts
from spotify_dag.tracks.corpus import distinct_texts


def track_checks() -> list[Any]:
    """Return the checks of the assets of `assets.track_assets`."""

    def rows_conform(table: Table) -> Any:
        @dg.asset_check(
            asset=table.name,
            name="rows_conform",
            blocking=True,
            description=f"Required columns have values, numbers are finite, ({', '.join(table.key)}) is unique.",
        )
        def check(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
            problems = table_problems(project.lake, table, [])
            return dg.AssetCheckResult(passed=not problems, metadata={"problems": problems})

        return check

    @dg.asset_check(asset="track_catalogue", blocking=True, description="No catalogue number was given twice.")
    def numbers_are_unique(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        numbers = project.lake.scan(TRACK_CATALOGUE).select("catalogue_number").collect().to_series()
        twice = len(numbers) - numbers.n_unique()
        return dg.AssetCheckResult(passed=not twice, metadata={"given_twice": twice})

    @dg.asset_check(
        asset="track_vectors", blocking=True, description="Every title and artist to be indexed has a vector."
    )
    def every_text_has_a_vector(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        to_index, _ = index_difference(project)
        missing = unknown_texts(project.lake, project.encoder, distinct_texts(to_index)).height
        return dg.AssetCheckResult(passed=not missing, metadata={"without_vector": missing})

    @dg.asset_check(
        asset="track_index",
        blocking=True,
        description="The index holds every track of the catalogue once, as it is now.",
    )
    def index_is_the_catalogue(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        changed, gone = index_difference(project)
        keys = project.track_index.column("track_id").to_series()
        found = {"missing_or_old": changed.height, "surplus": gone.height, "in_twice": len(keys) - keys.n_unique()}
        return dg.AssetCheckResult(passed=not any(found.values()), metadata=found)

    @dg.asset_check(
        asset="track_factors", blocking=True, description="Weights and factors are finite, and no weight is negative."
    )
    def model_is_sound(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        import numpy as np

        if project.track_model.card() is None:  # nothing to learn from: there are no tracks
            return dg.AssetCheckResult(passed=True, metadata={"model": "none"})
        weights, factors = (project.track_model.array(name) for name in ("weights", "factors"))
        finite = bool(np.isfinite(weights).all() and np.isfinite(factors).all())
        least = float(weights.min())
        return dg.AssetCheckResult(passed=finite and least >= 0, metadata={"finite": finite, "least_weight": least})

    return [
        rows_conform(AUDIO_FEATURES),
        rows_conform(TRACK_CATALOGUE),
        numbers_are_unique,
        every_text_has_a_vector,
        index_is_the_catalogue,
        model_is_sound,
    ]
