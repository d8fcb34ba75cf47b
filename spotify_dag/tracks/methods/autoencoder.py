"""Linear autoencoder: what a playlist holds, predicted from what it holds, by one regression over all tracks.

Steck, "Autoencoders that don't overfit towards the identity", NeurIPS 2020. With playlists as rows of ``X`` and a
diagonal ``L``, it scores a request ``x`` by ``x (X'X + L)^-1 X'X``. By Woodbury's identity that is
``x L^-1 X' (I + X L^-1 X')^-1 X``: what is inverted has a row per playlist, not per track. Artists are further columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tracks.incidence import Incidence, evenly

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST_PLAYLISTS = 8_000
"""Playlists that are learned from, evenly drawn. The inverse of so many takes 256 MB; time grows with their cube."""
POPULAR = 0.7
"""Power of a column's sum of squares in ``L``: 1 would be Steck's dropout, 0 a ridge."""
BESIDE = 0.5
"""What an artist counts beside a track."""
ROWS = 512
"""Rows of the kernel that are computed at once."""


class Autoencoder:
    """The regression, in its dual form.

    Rows of ``X`` and requests have length 1 in the metric of ``L^-1``: a long playlist counts like a short one.

    Parameters
    ----------
    incidence
        Tracks and playlists.
    inverse
        ``[rows, rows]`` float32, ``(I + X L^-1 X')^-1``, of the same playlists; None learns it.
    most
        Playlists that are learned from at most.
    """

    def __init__(self, incidence: Incidence, inverse: np.ndarray | None = None, *, most: int = MOST_PLAYLISTS) -> None:
        from scipy.sparse import diags, hstack

        drawn = evenly(np.arange(len(incidence.playlists)), most)
        columns = [incidence.by_playlist[drawn], BESIDE * incidence.artists_by_playlist[drawn]]
        table = hstack(columns, format="csr").astype(np.float32)
        squares = table.multiply(table).tocsr()
        held = np.asarray(squares.sum(axis=0)).ravel()
        # L is singular where no playlist has a column; nothing is said of that one.
        self.weight = np.where(held > 0, np.maximum(held, 1e-9) ** -POPULAR, 0).astype(np.float32)
        length = np.sqrt(np.maximum(squares @ self.weight, 1e-9))
        rows = (diags(1 / length) @ table).tocsr().astype(np.float32)
        self.by_column: csr_matrix = rows.T.tocsr()
        self.tracks = len(incidence.tracks)
        self.inverse = _inverse(rows, self.weight) if inverse is None else inverse

    def __call__(self, seeds: np.ndarray, artists: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``autoencoder [tracks]`` and ``artists [artists]``; what is negative is 0.

        Parameters
        ----------
        seeds
            Numbers of tracks.
        artists
            Number of each seed's artist, -1 where it is unknown.
        """
        distinct, counts = np.unique(artists[artists >= 0], return_counts=True)
        columns = np.concatenate([seeds, self.tracks + distinct]).astype(np.int64)
        request = np.concatenate([np.ones(len(seeds)), BESIDE * np.log1p(counts)])
        weighted = self.weight[columns] * request
        length = np.sqrt(weighted @ request)
        if not length > 0:
            return {}
        likeness = self.by_column[columns].T @ (weighted / length).astype(np.float32)
        scores = np.maximum(self.by_column @ (self.inverse @ likeness), 0)
        return {"autoencoder": scores[: self.tracks], "artists": scores[self.tracks :]}


def _inverse(rows: csr_matrix, weight: np.ndarray) -> np.ndarray:
    """Return ``(I + X L^-1 X')^-1`` float32 of rows ``X`` and the diagonal ``weight`` of ``L^-1``."""
    from scipy.linalg import inv
    from scipy.sparse import diags

    count = rows.shape[0]
    weighted = (rows @ diags(weight)).T.tocsr()
    kernel = np.empty((count, count), np.float32)
    for start in range(0, count, ROWS):  # the product as a sparse matrix would take twice the memory
        kernel[start : start + ROWS] = (rows[start : start + ROWS] @ weighted).toarray()
    kernel[np.diag_indices(count)] += 1
    # By Cholesky: a third of the time of an inverse that knows nothing of the matrix.
    return inv(kernel, overwrite_a=True, check_finite=False, assume_a="pos")
