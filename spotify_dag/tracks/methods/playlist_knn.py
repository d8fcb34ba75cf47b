"""Playlist-kNN: the tracks of the playlists that share most with the request, rare tracks counting more."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.incidence import Incidence, largest, recency, weighted_sum

NEIGHBOURS = 200
POPULAR = 0.0
"""Power of a track's number of playlists that its score is divided by."""


class PlaylistKnn:
    """Cosine of playlists, weighted by inverse document frequency, over the nearest ``neighbours``."""

    def __init__(self, incidence: Incidence, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.neighbours = incidence, neighbours
        self.rarity = np.log1p(len(incidence.playlists) / (1 + incidence.track_count)).astype(np.float32)
        self.length = np.sqrt(np.maximum(incidence.by_playlist @ self.rarity**2, 1e-6)).astype(np.float32)

    def __call__(self, seeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``playlist_knn`` and ``playlist_knn_recent``, ``[tracks]``."""
        listed, _, ends = self.incidence.listed(seeds)
        squared = self.rarity[seeds] ** 2
        scores = {}
        for name, weight in (("playlist_knn", squared), ("playlist_knn_recent", squared * recency(len(seeds)))):
            shared = np.bincount(listed, np.repeat(weight, np.diff(ends)), minlength=len(self.length))
            scores[name] = self.tracks_of(shared / self.length)
        return scores

    def tracks_of(self, affinity: np.ndarray) -> np.ndarray:
        """Return the affinities of its playlists for each track, summed over the nearest playlists."""
        nearest = largest(affinity, self.neighbours)
        return weighted_sum(self.incidence.by_playlist[nearest], affinity[nearest])
