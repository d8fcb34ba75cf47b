"""What must be true of tracks before anybody is answered from them."""

import dagster as dg
import numpy as np

from spotify_dag.project import Project
from spotify_dag.schemas import TRACK_CATALOGUE
from spotify_dag.staleness.stale_buckets import index_difference
from spotify_dag.stores.text_encoder import unknown_texts
from spotify_dag.tracks.continuation_model import AUTOENCODER, FACTORS
from spotify_dag.tracks.corpus import distinct_texts


def check_catalogue_numbers(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for catalogue numbers that were given twice."""
    numbers = project.lake.scan(TRACK_CATALOGUE).select("catalogue_number").collect().to_series()
    twice = len(numbers) - numbers.n_unique()
    return dg.AssetCheckResult(passed=not twice, metadata={"given_twice": twice})


def check_track_vectors(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for titles and artists without a vector."""
    to_index, _ = index_difference(project)
    missing = unknown_texts(project.lake, project.encoder, distinct_texts(to_index)).height
    return dg.AssetCheckResult(passed=not missing, metadata={"without_vector": missing})


def check_track_index(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Compare the track index with the catalogue, track by track."""
    changed, gone = index_difference(project)
    keys = project.track_index.column("track_id").to_series()
    counts = {"missing_or_old": changed.height, "surplus": gone.height, "in_twice": len(keys) - keys.n_unique()}
    return dg.AssetCheckResult(passed=not any(counts.values()), metadata=counts)


def check_continuation_model(project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
    """Look for numbers of the continuation model that are not finite."""
    if project.track_model.card() is None:  # nothing to learn from: there are no tracks
        return dg.AssetCheckResult(passed=True, metadata={"model": "none"})
    names = ("weights", AUTOENCODER, *FACTORS)
    strange = [name for name in names if not np.isfinite(project.track_model.array(name)).all()]
    return dg.AssetCheckResult(passed=not strange, metadata={"not_finite": ", ".join(strange) or "none"})
