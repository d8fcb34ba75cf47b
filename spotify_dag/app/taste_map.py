"""Where users are drawn on the map of tastes."""

from __future__ import annotations

import numpy as np

from spotify_dag.tower.factors import with_fixed_signs


def placed(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components of vectors as ranks, 0 to 1, so that no crowd hides another.

    Parameters
    ----------
    vectors
        ``[users, dim]`` float32.
    """
    if len(vectors) < 2:
        return np.full(len(vectors), 0.5), np.full(len(vectors), 0.5)
    _, directions = np.linalg.eigh(np.cov(vectors.T.astype(np.float64)))
    flat = vectors @ with_fixed_signs(directions[:, ::-1][:, :2]).astype(np.float32)
    # Half ranks, half distances: ranks alone draw a full square whatever the taste.
    ranks = np.argsort(np.argsort(flat, axis=0), axis=0) / (len(flat) - 1)
    spread = (flat - flat.min(axis=0)) / np.maximum(np.ptp(flat, axis=0), 1e-9)
    x, y = ((ranks + spread) / 2).T
    return x, y
