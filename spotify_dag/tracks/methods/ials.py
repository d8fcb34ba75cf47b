"""iALS: factors of co-occurrence, learned by implicit alternating least squares.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. Artists, words of titles and
whole titles are further items. So a request of words only can be folded in, and what is known of an artist helps where
a track stands in few playlists.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.als import als_solver, one_blas_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NOTHING = np.empty(0, np.int64)
FACTORS, ITERATIONS = 96, 10
CONFIDENCE, REGULARISATION = 10.0, 0.05
BESIDE = 0.5
"""What a word or an artist counts beside a track."""


@dataclass(frozen=True)
class Ials:
    """Factors of tracks, of words and of artists."""

    tracks: np.ndarray
    """``[tracks, factors]`` float32; zero for tracks in no playlist."""
    words: np.ndarray
    """``[words, factors]`` float32."""
    artists: np.ndarray
    """``[artists, factors]`` float32."""
    confidence: float = CONFIDENCE
    regularisation: float = REGULARISATION

    @cached_property
    def _gram(self) -> np.ndarray:
        summed = sum(part.T @ part for part in (self.tracks, self.words, self.artists))
        return summed + self.regularisation * np.eye(self.tracks.shape[1], dtype=np.float32)

    def folded(self, seeds: np.ndarray, words: np.ndarray = NOTHING, artists: np.ndarray = NOTHING) -> np.ndarray:
        """Return the factors of a playlist of these tracks, words and artists, ``[factors]`` float32.

        ``artists`` has one entry per seed, -1 where it is unknown.
        """
        distinct, counts = np.unique(artists[artists >= 0], return_counts=True)
        rows = np.concatenate([self.tracks[seeds], self.words[words], self.artists[distinct]])
        weights = np.concatenate([np.ones(len(seeds)), np.full(len(words), BESIDE), BESIDE * np.log1p(counts)])
        confidence = self.confidence * weights
        evidence = (rows.T * (confidence - 1)) @ rows
        return np.linalg.solve(self._gram + evidence, rows.T @ confidence).astype(np.float32)

    def __call__(self, seeds: np.ndarray, words: np.ndarray, artists: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the factors say; what is negative is 0.

        Returns
        -------
        ``ials`` (of the seeds alone) and ``ials_all`` (of words and artists, too), ``[tracks]``, and ``artists``,
        ``[artists]``. What a request has nothing for is left out.
        """
        folded = {}
        if len(seeds):
            folded["ials"] = self.folded(seeds)
        if len(seeds) or len(words) or (artists >= 0).any():
            folded["ials_all"] = self.folded(seeds, words, artists)
        if not folded:
            return {}
        scores = np.maximum(self.tracks @ np.stack(list(folded.values()), axis=1), 0)
        said = dict(zip(folded, np.ascontiguousarray(scores.T), strict=True))
        return said | {"artists": np.maximum(self.artists @ folded["ials_all"], 0)}


def learn_ials(
    by_playlist: csr_matrix, words: csr_matrix | None = None, artists: csr_matrix | None = None, *,
    factors: int = FACTORS, confidence: float = CONFIDENCE, iterations: int = ITERATIONS, seed: int = 0,
    threads: int = 0,
) -> Ials:  # fmt: skip
    """Learn factors of tracks, words and artists.

    Parameters
    ----------
    by_playlist, words, artists
        ``[playlists, tracks]`` and ``[playlists, words]``, 1 where a playlist has one, and ``[playlists, artists]``,
        log(1 + count).
    threads
        How many are used, 0 for all.
    """
    from scipy.sparse import hstack

    parts = [by_playlist, *(BESIDE * part for part in (words, artists) if part is not None)]
    table = hstack(parts, format="csr").astype(np.float32)
    solver = als_solver(
        dim=factors, alpha=confidence, ridge=REGULARISATION, iterations=iterations, seed=seed, threads=threads
    )
    with one_blas_thread():  # the solver runs threads of its own, and they would wait for those of BLAS
        solver.fit(table, show_progress=False)
    listed = np.bincount(table.indices, minlength=table.shape[1]) > 0
    every = np.where(listed[:, None], np.nan_to_num(solver.item_factors), 0).astype(np.float32)
    ends = np.cumsum([by_playlist.shape[1], 0 if words is None else words.shape[1]])
    of_tracks, of_words, of_artists = np.split(every, ends)
    return Ials(of_tracks, of_words, of_artists, confidence)
