"""Learn from playlists: factors of co-occurrence, and how much every signal counts.

The weights are those of a logistic regression without negative ones, one per size of request: being alike never counts
against a track. Without that bound a blend learns from a small catalogue that what nobody has put in a list yet is what
is wanted, as it is exactly that in lists set aside for learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.als import als_solver, one_blas_thread
from spotify_dag.tracks.continuation import BRACKETS, DEFAULT_WEIGHTS, Continuation
from spotify_dag.tracks.signals import CONFIDENCE, REGULARISATION, SIGNALS, Content
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, title_of

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEARNING_SIZES = (0, 1, 5, 10, 25)
"""Sizes of the requests that weights are learned from, one per bracket."""
LEARNING_PLAYLISTS = 300
"""At most this many playlists are set aside to learn from; with fewer, all are, in `FOLDS` parts."""
LEARNING_TRACKS = 5_000
"""Of larger catalogues, so many tracks stand for those that are not in a playlist."""
FOLDS = 4
LEARNING_SAMPLES = 100
"""Requests of each size that are learned from."""
FEWEST_PLAYLISTS = 20
"""With fewer playlists than this, nothing can be learned and `DEFAULT_WEIGHTS` serve."""
ALONE = ("neighbours", "factors", "playlists_track")
"""Signals each of which is a recommender by itself: item-kNN, iALS and playlist-kNN."""
LIKELY = 400
"""Tracks beside the wanted that rankings are compared on: so many that score well, and so many by item-kNN."""
WORTH = 1.01
"""What a ranking has to gain for a weight to be changed."""
NEGATIVES = (200, 150)
"""Tracks not in the playlist that a learned request is compared with: any, and of the thousand that score best."""
HARD_SHARE = 0.3
"""What the latter count among them, 0 to 1: without them tops of rankings suffer, with them alone all the rest."""
RIDGE = 1e-3
RANK, ITERATIONS = 64, 12
"""Of the factors: implicit alternating least squares (Hu, Koren, Volinsky, "Collaborative filtering for implicit
feedback datasets", ICDM 2008)."""


def learn_factors(by_playlist: csr_matrix, seed: int = 0) -> np.ndarray:
    """Return factors of co-occurrence, ``[tracks, RANK]`` float32; zero for tracks in no playlist."""
    als = als_solver(dim=RANK, alpha=CONFIDENCE, ridge=REGULARISATION, iterations=ITERATIONS, seed=seed)
    with one_blas_thread():  # the solver runs threads of its own, and they would wait for those of BLAS
        als.fit(by_playlist, show_progress=False)
    listed = np.diff(by_playlist.T.tocsr().indptr) > 0
    return np.where(listed[:, None], np.nan_to_num(als.item_factors), 0).astype(np.float32)


def learn_weights(
    tracks: Tracks, playlists: Playlists, moods: np.ndarray | None = None, *, seed: int = 0
) -> np.ndarray:
    """Learn how much each signal counts from playlists set aside, ``[len(BRACKETS), len(SIGNALS)]``.

    Parameters
    ----------
    tracks, playlists
        The catalogue, and playlists; their last parts are withheld and asked for.
    moods
        ``[titles, 13]``, what titles say about sound, see `Request.mood`.
    seed
        Of the choice of playlists and of negatives.
    """
    if len(playlists) < FEWEST_PLAYLISTS:
        return np.tile(DEFAULT_WEIGHTS, (len(BRACKETS), 1))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(playlists))
    folds = np.array_split(order, FOLDS) if len(order) < FOLDS * LEARNING_PLAYLISTS else [order[:LEARNING_PLAYLISTS]]
    samples: list[list[tuple[np.ndarray, ...]]] = [[] for _ in BRACKETS]
    for fold in folds:
        rest = playlists.take(np.setdiff1d(order, fold))
        model = Continuation(_as_known_from(tracks, rest), rest)
        model.factors = learn_factors(model.by_playlist, seed)
        # Not only tracks that somebody listed: what nobody has is a likely mistake too.
        others = rng.permutation(len(tracks))[:LEARNING_TRACKS]
        rows = np.union1d(others, playlists.take(fold).indices)
        among = model.content(rows)
        for sample, size in zip(samples, LEARNING_SIZES, strict=True):
            long = [playlist for playlist in fold if len(playlists[playlist]) > size]
            for playlist in rng.permutation(long)[: LEARNING_SAMPLES // len(folds)]:
                sample.append(_sample(model, playlists, int(playlist), size, rows, among, moods, rng))
    return np.stack([_tuned(_fit(sample), sample) if sample else DEFAULT_WEIGHTS for sample in samples])


def _as_known_from(tracks: Tracks, playlists: Playlists) -> Tracks:
    """Return the catalogue without the genres of artists that stand in none of these playlists.

    Some sources know genres only as labels of playlists. Those of a playlist that is set aside would tell of it.
    """
    from scipy.sparse import diags

    known = np.isin(tracks.artist, tracks.artist[playlists.indices]).astype(np.float32)
    return replace(tracks, genres=(diags(known) @ tracks.genres).tocsr())


def _sample(
    model: Continuation, playlists: Playlists, playlist: int, size: int, rows: np.ndarray, among: Content,
    moods: np.ndarray | None, rng: np.random.Generator,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Return the signals of withheld tracks of a playlist, of any others, and of likely others.

    Parameters
    ----------
    rows, among
        The tracks to choose from, in ascending order, and their content.
    """
    own = playlists[playlist]
    # Half of the requests are the beginning of the playlist, half are drawn from anywhere in it.
    order = np.arange(len(own)) if rng.random() < 0.5 else rng.permutation(len(own))
    number = playlists.title[playlist]
    mood = moods[number] if moods is not None and number >= 0 else None
    signals = model.signals(Request(own[order[:size]], title_of(playlists, playlist), mood), among)
    places = np.searchsorted(rows, own)
    wanted = places[order[size:]]
    others = np.delete(np.arange(len(rows)), places)
    if not len(others):
        return signals[wanted], signals[others], signals[others], signals[others]
    count = min(1_000, len(others))
    likely = others[np.argpartition(-signals[others].sum(axis=1), count - 1)[:count]]
    neighbours = signals[others, SIGNALS.index("neighbours")]
    near = others[np.argpartition(-neighbours, min(LIKELY, count) - 1)[:LIKELY]]
    return (
        signals[wanted],
        signals[rng.choice(others, NEGATIVES[0])],
        signals[rng.choice(likely, NEGATIVES[1])],
        signals[np.union1d(rng.permutation(likely)[:LIKELY], near)],
    )


def _fit(samples: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Return the weights, none negative, of a ridge logistic regression in which every playlist counts the same."""
    from scipy.optimize import minimize

    samples = [sample[:3] for sample in samples]
    shares = (1.0, 1 - HARD_SHARE, HARD_SHARE)
    rows = np.concatenate([part for sample in samples for part in sample]).astype(np.float64)
    wanted = np.concatenate([np.full(len(part), place == 0) for sample in samples for place, part in enumerate(sample)])
    weight = np.concatenate(
        [
            np.full(len(part), share / max(len(part), 1))
            for sample in samples
            for share, part in zip(shares, sample, strict=True)
        ]
    )
    weight /= weight.sum()
    spread = rows.std(axis=0)
    rows = rows / np.where(spread > 0, spread, 1)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        logit = parameters[0] + rows @ parameters[1:]
        error = weight * (1 / (1 + np.exp(-logit)) - wanted)
        value = (weight * (np.logaddexp(0, logit) - wanted * logit)).sum() + RIDGE * (parameters[1:] ** 2).sum()
        return value, np.concatenate([[error.sum()], rows.T @ error + 2 * RIDGE * parameters[1:]])

    bounds = [(None, None), *[(0, None)] * rows.shape[1]]
    found = minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds).x[1:]
    return np.where(spread > 0, found / np.where(spread > 0, spread, 1), DEFAULT_WEIGHTS)


def _tuned(weights: np.ndarray, samples: Sequence[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Return the weights, or better ones: those that rank the withheld tracks of the same playlists best.

    A logistic regression tells wanted tracks from others anywhere; what counts is the top of the ranking. Tried are the
    signals of `ALONE`, each by itself and together, item-kNN beside the blend, and every weight halved and doubled; a
    change has to be worth `WORTH`. More freedom than that fits these few requests and loses on others.
    """
    worth = _Rankings(samples)
    scale = worth.spread(weights)
    neighbours, *others = (scale * np.eye(len(SIGNALS))[SIGNALS.index(name)] for name in ALONE)
    best, value = weights, worth(weights)
    together = [neighbours, *others, neighbours + others[0], neighbours + sum(others)]
    for candidate in (*together, *(weights + step * neighbours for step in (0.25, 1.0, 4.0))):
        if (found := worth(candidate)) > value * WORTH:
            best, value = candidate, found
    for place in np.flatnonzero(best):
        for factor in (0.5, 2.0):
            candidate = best.copy()
            candidate[place] *= factor
            if (found := worth(candidate)) > value * WORTH:
                best, value = candidate, found
    return best


class _Rankings:
    """Requests with their wanted tracks and likely others, to be ranked by any weights."""

    def __init__(self, samples: Sequence[tuple[np.ndarray, ...]]) -> None:
        width = max(len(sample[0]) + len(sample[3]) for sample in samples)
        self.signals = np.zeros((len(samples), width, len(SIGNALS)), np.float32)
        self.wanted, self.there = (np.zeros((len(samples), width), bool) for _ in range(2))
        for row, (wanted, *_, likely) in enumerate(samples):
            self.signals[row, : len(wanted)] = wanted
            self.signals[row, len(wanted) : len(wanted) + len(likely)] = likely
            self.wanted[row, : len(wanted)] = True
            self.there[row, : len(wanted) + len(likely)] = True
        self.count = self.wanted.sum(axis=1)
        # Equal scores must not be ranked with the wanted first.
        self.jitter = np.random.default_rng(0).random(self.wanted.shape).astype(np.float32) * 1e-5
        self.discount = 1 / np.log2(np.arange(2, width + 2))

    def __call__(self, weights: np.ndarray) -> float:
        """Return the mean of R-precision and NDCG."""
        scores = self.signals @ weights.astype(np.float32)
        scores = np.where(self.there, scores + self.jitter * (np.abs(scores).max() + 1), -np.inf)
        hits = np.take_along_axis(self.wanted, np.argsort(-scores, axis=1), axis=1)
        first = np.arange(hits.shape[1]) < self.count[:, None]
        precision = (hits & first).sum(axis=1) / self.count
        gain = (hits * self.discount).sum(axis=1) / (first * self.discount).sum(axis=1)
        return float((precision + gain).mean() / 2)

    def spread(self, weights: np.ndarray) -> float:
        """Return the largest score."""
        return float((self.signals @ weights.astype(np.float32)).max())
