"""Title-kNN: the tracks of playlists that are called alike, by letters and by meaning."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.incidence import Incidence, largest, weighted_sum
from spotify_dag.tracks.title_texts import TitleTexts
from spotify_dag.tracks.track_arrays import Request

NEIGHBOURS = 200
SHARPNESS = 3
"""Power of the likeness of titles: one that is the same counts as many that are somewhat alike."""
MEANING_FLOOR = 0.2
"""Cosine of sentence vectors of titles that have nothing to do with each other."""


class TitleKnn:
    """Playlists with similar titles, and what they hold."""

    def __init__(self, incidence: Incidence, titles: TitleTexts, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.titles, self.neighbours = incidence, titles, neighbours

    def affinity(self, request: Request) -> dict[str, np.ndarray]:
        """Return what playlists' titles have of the request's, ``[playlists]``: ``letters`` and ``meaning``."""
        found = {}
        if request.title_text:
            found["letters"] = self._of_playlists(self.titles.likeness(request.title_text))
        if request.title is not None:
            cosine = self.incidence.playlists.title_vectors @ request.title
            found["meaning"] = self._of_playlists(np.maximum(cosine - MEANING_FLOOR, 0))
        return found

    def _of_playlists(self, likeness: np.ndarray) -> np.ndarray:
        return np.append(likeness, 0)[self.titles.number] ** SHARPNESS  # the last one is that of no title

    def tracks_of(self, affinity: np.ndarray) -> np.ndarray:
        """Return what the nearest playlists hold, ``[tracks]``."""
        nearest = largest(affinity, self.neighbours)
        return weighted_sum(self.incidence.by_playlist[nearest], affinity[nearest] / np.sqrt(self.incidence.length[nearest]))
