"""Item-kNN: tracks that stand in the same playlists as the seeds.

Shrunk cosine of co-occurrence (Koren and Bell, "Advances in collaborative filtering", Recommender Systems Handbook).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from spotify_dag.tracks.incidence import Incidence, recency

SHRINKAGE, NEIGHBOURS = 20.0, 400
WINDOW = 5
"""Places before and after a seed that count as beside it."""


class ItemKnn:
    """Cosines with the seeds, summed: of all seeds alike, and of the last ones more.

    Parameters
    ----------
    incidence
        Tracks and playlists.
    shrinkage
        Added to the denominator: a track that stands in few playlists proves little.
    neighbours
        Nearest tracks of each seed that count.
    """

    def __init__(self, incidence: Incidence, shrinkage: float = SHRINKAGE, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.shrinkage, self.neighbours = incidence, shrinkage, neighbours
        self.norm = np.sqrt(incidence.track_count).astype(np.float32)

    def __call__(self, seeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``item_knn``, ``item_knn_recent`` and ``seeds_met`` (share of seeds met anywhere), ``[tracks]``."""
        from scipy.sparse import csr_matrix

        tracks, count = len(self.norm), len(seeds)
        listed, _, ends = self.incidence.listed(seeds)
        rows = csr_matrix((np.ones(len(listed), np.float32), listed, ends), (count, len(self.incidence.length)))
        together = rows @ self.incidence.by_playlist
        entries = np.diff(together.indptr)
        # Where only some of a seed's playlists were looked at, what they hold stands for the others.
        part = np.repeat(self.incidence.track_count[seeds] / np.maximum(np.diff(ends), 1), entries)
        own = np.repeat(self.norm[seeds], entries)
        cosine = part * together.data / (own * self.norm[together.indices] + self.shrinkage)
        met = np.bincount(together.indices, minlength=tracks) / max(count, 1)
        self._keep_nearest(cosine, together.indptr)
        weight = np.repeat(recency(count), entries)
        return {
            "item_knn": np.bincount(together.indices, cosine, tracks).astype(np.float32),
            "item_knn_recent": np.bincount(together.indices, cosine * weight, tracks).astype(np.float32),
            "seeds_met": met.astype(np.float32),
        }

    def _keep_nearest(self, cosine: np.ndarray, ends: np.ndarray) -> None:
        for start, end in pairwise(ends):
            if end - start > self.neighbours:
                row = cosine[start:end]
                row[row < np.partition(row, -self.neighbours)[-self.neighbours]] = 0


def beside(incidence: Incidence, seeds: np.ndarray) -> np.ndarray:
    """Return how often tracks stand within `WINDOW` places of a seed, ``[tracks]``; late and near ones count more."""
    playlists, places, ends = incidence.listed(seeds)
    of_seed = np.repeat(recency(len(seeds)) / np.sqrt(1 + incidence.track_count[seeds]), np.diff(ends))
    bounds = incidence.playlists.indptr
    scores = np.zeros(len(incidence.tracks))
    for step in (*range(-WINDOW, 0), *range(1, WINDOW + 1)):
        at = places + step
        inside = (at >= bounds[playlists]) & (at < bounds[playlists + 1])
        scores += np.bincount(
            incidence.playlists.indices[at[inside]], of_seed[inside] / (1 + abs(step)), minlength=len(scores)
        )
    return (scores / np.sqrt(1 + incidence.track_count)).astype(np.float32)
