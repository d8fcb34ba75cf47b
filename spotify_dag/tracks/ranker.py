"""The second stage: candidates in order, by weights that were learned, or by their ranks where nothing was learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.candidate_features import FEATURES
from spotify_dag.tracks.candidates import NAMES

BRACKETS = (0, 1, 3, 7, 15)
"""Sizes of requests, in seeds, from which on another set of weights is used."""
FUSION = 60.0
"""Of reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR 2009)."""
RANKS = np.array([FEATURES.index(f"{name}_rank") for name in NAMES])
RAW = np.array([FEATURES.index(name) for name in NAMES])


@dataclass(frozen=True)
class Ranker:
    """What each feature counts, by size of request.

    Its ``weights [len(BRACKETS), len(FEATURES)]`` are None where there was nothing to learn from: then the methods'
    ranks are fused.
    """

    weights: np.ndarray | None = None

    def contributions(self, features: np.ndarray, seeds: int) -> np.ndarray:
        """Return what each feature adds to each candidate's score, ``[candidates, len(FEATURES)]`` float32.

        Parameters
        ----------
        features
            See `candidate_features.features`.
        seeds
            Number of seeds of the request.
        """
        if self.weights is None:
            fused = np.zeros_like(features)
            heard = features[:, RAW] > 0
            # The rank feature is -log(1 + rank).
            fused[:, RANKS] = heard / (FUSION + np.exp(-features[:, RANKS]))
            return fused
        return features * self.weights[np.searchsorted(BRACKETS, seeds, side="right") - 1].astype(np.float32)
