"""iALS: factors of co-occurrence, learned by implicit alternating least squares.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. Words of titles, and whole
titles, are further items: so a request of words only can be folded in, and words help requests of tracks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.als import als_solver, one_blas_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FACTORS, ITERATIONS = 96, 10
CONFIDENCE, REGULARISATION = 10.0, 0.05


@dataclass(frozen=True)
class Ials:
    """Factors of tracks and of words."""

    tracks: np.ndarray
    """``[tracks, factors]`` float32; zero for tracks in no playlist."""
    words: np.ndarray
    """``[words, factors]`` float32."""
    confidence: float = CONFIDENCE
    regularisation: float = REGULARISATION

    @cached_property
    def _gram(self) -> np.ndarray:
        both = self.tracks.T @ self.tracks + self.words.T @ self.words
        return both + self.regularisation * np.eye(both.shape[0], dtype=np.float32)

    def folded(self, seeds: np.ndarray, words: np.ndarray) -> np.ndarray:
        """Return the factors of a playlist of these tracks and words, ``[factors]`` float32."""
        rows = np.concatenate([self.tracks[seeds], self.words[words]])
        evidence = (self.confidence - 1) * rows.T @ rows
        return np.linalg.solve(self._gram + evidence, self.confidence * rows.sum(axis=0)).astype(np.float32)

    def __call__(self, seeds: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``ials`` (seeds alone) and ``ials_title`` (seeds and words), ``[tracks]``; what is negative is 0."""
        playlists = {}
        if len(seeds):
            playlists["ials"] = self.folded(seeds, words[:0])
        if len(words):
            playlists["ials_title"] = self.folded(seeds, words)
        if not playlists:
            return {}
        scores = np.maximum(self.tracks @ np.stack(list(playlists.values()), axis=1), 0)
        return dict(zip(playlists, np.ascontiguousarray(scores.T), strict=True))


def learn_ials(
    by_playlist: csr_matrix, words: csr_matrix | None = None, *, factors: int = FACTORS, confidence: float = CONFIDENCE,
    iterations: int = ITERATIONS, seed: int = 0, threads: int = 0,
) -> Ials:  # fmt: skip
    """Learn factors of tracks, and of the words of titles.

    Parameters
    ----------
    by_playlist, words
        ``[playlists, tracks]`` and ``[playlists, words]``, 1 where a playlist has one.
    threads
        How many are used, 0 for all.
    """
    from scipy.sparse import hstack

    table = by_playlist if words is None else hstack([by_playlist, words], format="csr")
    solver = als_solver(
        dim=factors, alpha=confidence, ridge=REGULARISATION, iterations=iterations, seed=seed, threads=threads
    )
    with one_blas_thread():  # the solver runs threads of its own, and they would wait for those of BLAS
        solver.fit(table.astype(np.float32), show_progress=False)
    listed = np.bincount(table.indices, minlength=table.shape[1]) > 0
    every = np.where(listed[:, None], np.nan_to_num(solver.item_factors), 0).astype(np.float32)
    count = by_playlist.shape[1]
    return Ials(every[:count], every[count:], confidence)
