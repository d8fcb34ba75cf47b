"""Which track, and which artist, stands in which playlist: the sparse matrices that all methods share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tracks.track_arrays import Playlists, Tracks

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MAX_SEEDS = 500
"""Seeds beyond these many are left out, evenly over the playlist: an answer takes bounded time."""
MAX_PLAYLISTS = 2_000
"""Playlists of one track, evenly drawn, that a method looks at."""
RECENT = 5.0
"""Seeds from the end of a request after which a seed counts half for the methods that look at order."""


class Incidence:
    """Tracks, playlists, and both directions between them.

    Parameters
    ----------
    tracks, playlists
        The catalogue, and what to learn from.
    """

    def __init__(self, tracks: Tracks, playlists: Playlists) -> None:
        from scipy.sparse import csr_matrix

        self.tracks, self.playlists = tracks, playlists
        items, shape = playlists.indices, (len(playlists), len(tracks))
        self.length = np.maximum(np.diff(playlists.indptr), 1).astype(np.float32)
        self.by_playlist = csr_matrix((np.ones(len(items), np.float32), items, playlists.indptr), shape=shape)
        places = csr_matrix((np.arange(len(items)), items, playlists.indptr), shape=shape).T.tocsr()
        self.place = places.data
        """``[items]``, where each entry of ``by_track`` stands in ``playlists.indices``."""
        ones = np.ones(len(items), np.float32)
        self.by_track = csr_matrix((ones, places.indices, places.indptr), shape=shape[::-1])
        artists = int(tracks.artist.max(initial=-1)) + 1
        # A copy: to sum duplicates changes the numbers in place.
        of_artist = csr_matrix((ones.copy(), tracks.artist[items], playlists.indptr), (shape[0], artists))
        of_artist.sum_duplicates()
        of_artist.data = np.log1p(of_artist.data)
        self.artists_by_playlist, self.by_artist = of_artist, of_artist.T.tocsr()
        self.track_count, self.artist_count = (np.diff(matrix.indptr) for matrix in (self.by_track, self.by_artist))
        self.artist_length = np.sqrt(np.maximum(of_artist.multiply(of_artist).sum(axis=1), 1e-6)).A1.astype(np.float32)

    def listed(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the playlists of each seed, one after the other, at most `MAX_PLAYLISTS` of each.

        Returns
        -------
        ``playlists [entries]``, ``places [entries]`` (where the seed stands in ``playlists.indices``) and
        ``ends [seeds + 1]``.
        """
        starts, stops = self.by_track.indptr[seeds], self.by_track.indptr[seeds + 1]
        parts = [evenly(np.arange(start, stop), MAX_PLAYLISTS) for start, stop in zip(starts, stops, strict=True)]
        entries = np.concatenate([np.empty(0, np.int64), *parts])
        return self.by_track.indices[entries], self.place[entries], np.cumsum([0, *map(len, parts)])


def weighted_sum(matrix: csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the rows of a sparse matrix, dense float32."""
    spread = np.repeat(weights, np.diff(matrix.indptr)) * matrix.data
    return np.bincount(matrix.indices, weights=spread, minlength=matrix.shape[1]).astype(np.float32)


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return where the ``count`` largest positive values are, the largest first."""
    places = np.flatnonzero(values > 0)
    if len(places) > count:
        places = places[np.argpartition(-values[places], count)[:count]]
    return places[np.argsort(-values[places], kind="stable")]


def evenly(values: np.ndarray, count: int) -> np.ndarray:
    """Return at most ``count`` of the values, evenly spaced."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).astype(int)]


def recency(count: int) -> np.ndarray:
    """Return weights of the seeds in order, the last one's 1, halved every `RECENT` seeds before it."""
    return 0.5 ** (np.arange(count - 1, -1, -1) / RECENT)
