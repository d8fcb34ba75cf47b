"""Kernel principal components of users: near neighbours told apart, common directions of taste held back.

The cosine of two mixed vectors (`model.UserTower.encode`) falls slowly: from .7 for the nearest user to .4 for the
fiftieth, who knows half as much of what the user is missing. Its square falls faster, and is an inner product too: that
of the components found here. What all users have in common are the strongest of them; so each is divided by its
strength to a power, which a plain whitening of the mixed vectors cannot do, as they have few directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.als import one_blas_thread
from spotify_dag.tower.factors import unit, with_fixed_signs

LANDMARKS = 2_000
"""At most so many users are what others are compared with."""
LEAST_STRENGTH = 1e-3
"""Of a component, against the first: weaker ones are rounding."""
PROJECT_ROWS = 8_192


@dataclass(frozen=True)
class KernelComponents:
    """Kernel principal components (Schölkopf, Smola & Müller 1998) of the squared positive part of the cosine.

    Only some users are landmarks (the Nyström method: Williams & Seeger 2001), so that a user costs the same whatever
    the number of users.
    """

    landmarks: np.ndarray
    """``[landmarks, width]`` float32, unit length."""
    axes: np.ndarray
    """``[landmarks, components]`` float32: from kernels with the landmarks to components."""
    rows: np.ndarray | None = None
    """``[landmarks]``: which of the training users each landmark is; not kept with the model."""

    @classmethod
    def fit(cls, landmarks: np.ndarray, dim: int, power: float) -> KernelComponents:
        """Find the strongest components of some users.

        Parameters
        ----------
        landmarks
            ``[landmarks, width]`` float32, unit length.
        dim
            How many components at most; there are fewer than users.
        power
            Each is divided by its strength, relative to the first, to this power: 0 leaves the kernel as it is.
        """
        from scipy.linalg import eigh

        with one_blas_thread():
            kernel = _kernel(landmarks, landmarks).astype(np.float64)
            last = len(kernel) - 1
            # Unlike a solver for all of them, one for some gives other signs in another run of the same bits.
            values, directions = eigh(kernel, subset_by_index=(max(last - dim + 1, 0), last))
        strengths = np.sqrt(np.maximum(values[::-1], 0))
        strong = np.flatnonzero(strengths > LEAST_STRENGTH * strengths[0])
        strengths, directions = strengths[strong], with_fixed_signs(directions[:, ::-1][:, strong])
        axes = directions / strengths / (strengths / strengths[0]) ** power
        return cls(landmarks, axes.astype(np.float32))

    def without(self, gone: np.ndarray) -> KernelComponents:
        """Return the components with some landmarks, by number, overwritten by zeros, which are near nobody.

        Components of others move by what these landmarks were of them: one of up to `LANDMARKS`.
        """
        landmarks, axes = self.landmarks.copy(), self.axes.copy()
        landmarks[gone], axes[gone] = 0, 0
        return KernelComponents(landmarks, axes)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """Return the components of ``[users, width]``, ``[users, components]`` of unit length; zero of a zero row."""
        projected = np.empty((len(vectors), self.axes.shape[1]), np.float32)
        for start in range(0, len(vectors), PROJECT_ROWS):
            rows = slice(start, start + PROJECT_ROWS)
            projected[rows] = _kernel(vectors[rows], self.landmarks) @ self.axes
        return unit(projected)


def landmarks_of(users: np.ndarray, seed: int) -> np.ndarray:
    """Return those of the ``users``, row numbers, that others are compared with: all, or as many as are needed."""
    return np.sort(np.random.default_rng(seed).permutation(users)[:LANDMARKS])


def _kernel(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.maximum(first @ second.T, 0) ** 2
