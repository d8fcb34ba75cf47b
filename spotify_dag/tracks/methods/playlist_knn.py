"""Playlist-kNN: the tracks of the playlists that share most with the request, rare tracks counting more."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.incidence import Incidence, largest, weighted_sum

NEIGHBOURS = 200


class PlaylistKnn:
    """Cosine of playlists, weighted by inverse document frequency, over the nearest ``neighbours``."""

    def __init__(self, incidence: Incidence, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.neighbours = incidence, neighbours
        self.rarity = np.log1p(len(incidence.playlists) / (1 + incidence.track_count)).astype(np.float32)
        self.length = np.sqrt(np.maximum(incidence.by_playlist @ self.rarity**2, 1e-6)).astype(np.float32)

    def __call__(self, seeds: np.ndarray) -> np.ndarray:
        """Return the scores of all tracks, ``[tracks]``."""
        listed, _, ends = self.incidence.listed(seeds)
        weight = np.repeat(self.rarity[seeds] ** 2, np.diff(ends))
        affinity = np.bincount(listed, weight, minlength=len(self.length)) / self.length
        nearest = largest(affinity, self.neighbours)
        return weighted_sum(self.incidence.by_playlist[nearest], affinity[nearest])
