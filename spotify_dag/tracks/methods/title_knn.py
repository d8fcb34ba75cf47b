"""Title-kNN: the tracks of playlists that are called alike, by letters and by meaning."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.incidence import Incidence, largest, weighted_sum
from spotify_dag.tracks.title_texts import TitleTexts

NEIGHBOURS = 200
SHARPNESS = 3
"""Power of the likeness of titles: one that is the same counts as many that are somewhat alike."""
MEANING_FLOOR = 0.2
"""Cosine of sentence vectors of titles that have nothing to do with each other."""


class TitleKnn:
    """Playlists with similar titles, and what they hold."""

    def __init__(self, incidence: Incidence, titles: TitleTexts, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.titles, self.neighbours = incidence, titles, neighbours

    def __call__(self, text: str, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``title_letters`` and ``title_meaning``, ``[tracks]``, and ``playlists``: their sum by playlist.

        Parameters
        ----------
        text, vector
            The folded title, and its unit vector ``[dim]``.
        """
        cosine = self.incidence.playlists.title_vectors @ vector
        meaning = self._of_playlists(np.maximum(cosine - MEANING_FLOOR, 0))
        letters = self._of_playlists(self.titles.likeness(text))
        return {
            "title_letters": self._tracks_of(letters),
            "title_meaning": self._tracks_of(meaning),
            "playlists": letters + meaning,
        }

    def by_letters(self, text: str) -> np.ndarray:
        """Return ``title_letters`` alone."""
        return self._tracks_of(self._of_playlists(self.titles.likeness(text)))

    def _of_playlists(self, likeness: np.ndarray) -> np.ndarray:
        return np.append(likeness, 0)[self.titles.number] ** SHARPNESS  # the last one is that of no title

    def _tracks_of(self, affinity: np.ndarray) -> np.ndarray:
        nearest = largest(affinity, self.neighbours)
        weight = affinity[nearest] / np.sqrt(self.incidence.length[nearest])
        return weighted_sum(self.incidence.by_playlist[nearest], weight)
