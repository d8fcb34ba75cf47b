"""iALS: factors of co-occurrence, learned by implicit alternating least squares.

Hu, Koren, Volinsky, "Collaborative filtering for implicit feedback datasets", ICDM 2008. Words of titles, and whole
titles, are further items: so a request of words only can be folded in, and words help requests of tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.incidence import Incidence
from spotify_dag.tracks.title_texts import TitleTexts

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

    def __post_init__(self) -> None:
        every = np.concatenate([self.tracks, self.words])
        gram = every.T @ every + self.regularisation * np.eye(every.shape[1], dtype=np.float32)
        object.__setattr__(self, "_gram", gram)

    def folded(self, seeds: np.ndarray, words: np.ndarray = np.empty(0, np.int64)) -> np.ndarray:
        """Return the factors of a playlist of these tracks and words, ``[factors]`` float32."""
        rows = np.concatenate([self.tracks[seeds], self.words[words]])
        evidence = (self.confidence - 1) * rows.T @ rows
        return np.linalg.solve(self._gram + evidence, self.confidence * rows.sum(axis=0)).astype(np.float32)

    def __call__(self, seeds: np.ndarray, words: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``ials`` (seeds alone) and ``ials_title`` (seeds and words), ``[tracks]``; what is negative is 0."""
        playlists = {}
        if len(seeds):
            playlists["ials"] = self.folded(seeds)
        if len(words):
            playlists["ials_title"] = self.folded(seeds, words)
        if not playlists:
            return {}
        scores = np.maximum(self.tracks @ np.stack(list(playlists.values()), axis=1), 0)
        return dict(zip(playlists, np.ascontiguousarray(scores.T), strict=True))


def learn_ials(
    incidence: Incidence, titles: TitleTexts | None = None, *, factors: int = FACTORS, confidence: float = CONFIDENCE,
    iterations: int = ITERATIONS, seed: int = 0, threads: int = 0,
) -> Ials:  # fmt: skip
    """Learn factors of tracks, and of the words of titles where these are given.

    ``threads`` is how many are used, 0 for all.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import hstack
    from threadpoolctl import threadpool_limits

    table = incidence.by_playlist
    if titles is not None and titles.by_playlist.shape[1]:
        table = hstack([table, titles.by_playlist], format="csr")
    with threadpool_limits(1, "blas"):  # implicit runs threads of its own, and they would wait for those of BLAS
        als = AlternatingLeastSquares(
            factors=factors, alpha=confidence, regularization=REGULARISATION, iterations=iterations, random_state=seed,
            num_threads=threads,
        )  # fmt: skip
        als.fit(table.astype(np.float32), show_progress=False)
    listed = np.bincount(table.indices, minlength=table.shape[1]) > 0
    every = np.where(listed[:, None], np.nan_to_num(als.item_factors), 0).astype(np.float32)
    count = table.shape[1] - (0 if table is incidence.by_playlist else titles.by_playlist.shape[1])
    return Ials(every[:count], every[count:], confidence)
