"""What a continuation has to beat. Each baseline scores every track for a request: `Baseline`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.features.audio import SCALED
from spotify_dag.tracks.continuation import Continuation
from spotify_dag.tracks.signal_weights import learn_factors
from spotify_dag.tracks.signals import NEIGHBOURS, SHRINKAGE
from spotify_dag.tracks.track_arrays import Request

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Baseline = Callable[[Request], np.ndarray]
"""Takes a request, returns ``[tracks]``: larger is better."""


def popularity(model: Continuation) -> Baseline:
    """Return the number of playlists of each track, whatever the request."""
    return lambda _: model.track_count.astype(np.float32)


def seed_system(model: Continuation) -> Baseline:
    """Return the method of the system this one succeeds, as described.

    Nearest neighbours, by Euclidean distance, of the mean of the seeds' features: audio features scaled to 0 … 1, the
    artist's popularity from 0 to 100 as it is, and the number of the row in the table.
    """
    tracks = model.tracks
    shown = np.nan_to_num(tracks.popularity) * 100
    artists = np.bincount(tracks.artist, weights=shown) / np.maximum(np.bincount(tracks.artist), 1)
    table = np.column_stack([np.nan_to_num(tracks.audio), artists[tracks.artist], np.arange(len(tracks))])

    def score(request: Request) -> np.ndarray:
        if not len(request.seeds):
            return np.zeros(len(tracks), np.float32)
        return -np.square(table - table[request.seeds].mean(axis=0)).sum(axis=1)

    return score


def item_knn(model: Continuation, shrinkage: float = SHRINKAGE, neighbours: int = NEIGHBOURS) -> Baseline:
    """Return the sum of cosines of co-occurrence with the seeds, shrunk, over each track's nearest neighbours."""
    similarity = _cosines(model.by_track, shrinkage, neighbours)
    return lambda request: np.asarray(similarity[request.seeds].sum(axis=0)).ravel()


def ials(model: Continuation) -> Baseline:
    """Return implicit alternating least squares; a request is folded in as a new playlist."""
    with_factors = Continuation(model.tracks, model.playlists, learn_factors(model.by_playlist))
    return lambda request: with_factors.from_factors(request.seeds)


def audio_only(model: Continuation) -> Baseline:
    """Return the cosine with the mean of the seeds' audio features, standardised; missing features are average."""
    table = np.nan_to_num(model.audio)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)
    seeds_mean = lambda seeds: table[seeds].mean(axis=0) if len(seeds) else np.zeros(len(SCALED), np.float32)  # noqa: E731
    return lambda request: table @ seeds_mean(request.seeds)


def text_only(model: Continuation) -> Baseline:
    """Return the cosine of title and artist with the sum of the seeds' and of the playlist's title."""
    text = model.tracks.text

    def score(request: Request) -> np.ndarray:
        query = text[request.seeds].sum(axis=0)
        return text @ (query if request.title is None else query + request.title)

    return score


BASELINES: dict[str, Callable[[Continuation], Baseline]] = {
    "popularity": popularity,
    "seed system": seed_system,
    "item-kNN": item_knn,
    "iALS": ials,
    "audio only": audio_only,
    "text only": text_only,
}


def _cosines(by_track: csr_matrix, shrinkage: float, neighbours: int, rows: int = 2_000) -> csr_matrix:
    """Return the shrunk cosines of every track with its nearest neighbours, ``[tracks, tracks]``."""
    from scipy.sparse import csr_matrix, vstack

    norm = np.sqrt(np.diff(by_track.indptr)).astype(np.float32)
    by_playlist = by_track.T.tocsr()
    parts = []
    for start in range(0, by_track.shape[0], rows):
        block = (by_track[start : start + rows] @ by_playlist).tocsr()
        own = np.repeat(np.arange(start, start + block.shape[0]), np.diff(block.indptr))
        block.data /= norm[own] * norm[block.indices] + shrinkage
        block.data[own == block.indices] = 0
        # By row, the nearest first; each entry's place within its row follows from where the row begins.
        order = np.lexsort((-block.data, own))
        place = np.arange(len(order)) - block.indptr[own - start]
        keep = order[place < neighbours]
        parts.append(csr_matrix((block.data[keep], (own[keep] - start, block.indices[keep])), shape=block.shape))
    return vstack(parts).tocsr()
