"""Learn the ranker: what continues playlists that the first stage has not seen.

A part of the playlists is held out of the first stage and asked for in requests of several sizes. So features are
computed while learning as they are while serving, by the same code, from a first stage that does not know the answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from spotify_dag.tracks.candidate_features import FEATURES, features
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.ranker import BRACKETS, Ranker
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, request_of

SIZES = (0, 1, 5, 10, 25)
"""Sizes of the requests that are learned from, one per bracket."""
HELD_OUT = 0.2
MOST_PLAYLISTS, ENOUGH_PLAYLISTS = 500, 400
"""At most so many playlists are held out at once; parts are held out in turn until there are so many."""
FEWEST_PLAYLISTS = 50
"""With fewer playlists, nothing can be learned: ranks are fused."""
FEWEST_REQUESTS = 20
"""Requests of a size below which another size's weights serve."""
NEGATIVES = 200
"""Candidates that were not withheld, drawn uniformly, per request. Those from the top of a ranking teach worse."""
STRENGTH = 0.003
"""Inverse strength of the regularisation of scikit-learn's logistic regression."""


@dataclass(frozen=True)
class Sample:
    """Some candidates of one request, and which of them were withheld."""

    request: Request
    tracks: np.ndarray
    """``[rows]`` int."""
    features: np.ndarray
    """``[rows, len(FEATURES)]``."""
    withheld: np.ndarray
    """``[rows]`` bool."""

    @property
    def seeds(self) -> int:
        """Number of seeds of the request."""
        return len(self.request)


def learn_ranker(
    tracks: Tracks, playlists: Playlists, *, seed: int = 0, threads: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Ranker:  # fmt: skip
    """Return a ranker learned from the playlists; with too few of them, one that fuses ranks.

    Parameters
    ----------
    tracks, playlists
        The catalogue, and playlists.
    seed
        Of the choice of playlists, requests and negatives.
    threads
        How many learn factors and answer requests, 0 for one per core. The ranker does not depend on their number.
    progress
        Hears how many playlists are done.
    """
    if len(playlists) < FEWEST_PLAYLISTS:
        return Ranker()
    rng = np.random.default_rng(seed)
    samples: list[Sample] = []
    for held_out in held_out_parts(len(playlists), rng):
        rest = np.setdiff1d(np.arange(len(playlists)), held_out)
        stage = FirstStage.learn(tracks, playlists.take(rest), seed=seed, threads=threads)
        ask = partial(samples_of, stage, playlists, seed=seed)
        # Most of the time is spent in sorts and products, during which other threads run.
        with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            for made in pool.map(ask, held_out.tolist()):
                samples += made
                progress(1)
    return Ranker(fit(samples))


def asked_while_learning(playlists: int) -> int:
    """Return how many of so many playlists `learn_ranker` asks for."""
    if playlists < FEWEST_PLAYLISTS:
        return 0
    return sum(map(len, held_out_parts(playlists, np.random.default_rng(0))))


def held_out_parts(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the numbers of the playlists that are held out, part after part."""
    order = rng.permutation(count)
    size = min(MOST_PLAYLISTS, int(count * HELD_OUT))
    parts = min(count // size, -(-min(ENOUGH_PLAYLISTS, count) // size))
    return [order[part * size : (part + 1) * size] for part in range(parts)]


def samples_of(stage: FirstStage, playlists: Playlists, playlist: int, seed: int) -> list[Sample]:
    """Return what is learned from one playlist that the first stage has not seen: a request of each size."""
    samples, rng = [], np.random.default_rng([seed, playlist])
    for size in SIZES:
        if len(playlists[playlist]) > size:
            # Half of the requests are the beginning of the playlist, half are drawn from anywhere in it.
            request, withheld = request_of(playlists, playlist, size, rng if rng.random() < 0.5 else None)
            samples.append(_sample(stage, request, withheld, rng))
    return samples


def _sample(stage: FirstStage, request: Request, withheld: np.ndarray, rng: np.random.Generator) -> Sample:
    candidates = stage.candidates(request)
    # What only held-out playlists have looks like nothing else does: it would teach that the unlisted is wanted.
    listed = stage.popularity[candidates.tracks] > 0
    hits = np.isin(candidates.tracks, withheld)
    others = rng.permutation(np.flatnonzero(listed & ~hits))[:NEGATIVES]
    rows = np.concatenate([np.flatnonzero(listed & hits), others])
    return Sample(request, candidates.tracks[rows], features(stage, request, candidates, rows), hits[rows])


def fit(samples: list[Sample]) -> np.ndarray:
    """Return the weights of a logistic regression for each size of request, ``[len(BRACKETS), features]`` float32.

    A size with too few requests takes the weights of the next smaller one, or of the next larger.
    """
    weights = [
        _fit_one([row for row in samples if np.searchsorted(BRACKETS, row.seeds, side="right") - 1 == bracket])
        for bracket in range(len(BRACKETS))
    ]
    for order in (range(1, len(BRACKETS)), range(len(BRACKETS) - 2, -1, -1)):
        for bracket in order:
            if weights[bracket] is None:
                weights[bracket] = weights[bracket - 1 if order.step > 0 else bracket + 1]
    return np.stack([np.zeros(len(FEATURES), np.float32) if row is None else row for row in weights])


def _fit_one(samples: list[Sample]) -> np.ndarray | None:
    from sklearn.linear_model import LogisticRegression

    if len(samples) < FEWEST_REQUESTS:
        return None
    rows = np.concatenate([sample.features for sample in samples]).astype(np.float64)
    withheld = np.concatenate([sample.withheld for sample in samples])
    if not 0 < withheld.sum() < len(withheld):
        return None
    deviation = rows.std(axis=0)
    scale = np.where(deviation > 1e-6, deviation, np.inf)
    # Newton's method: with many more rows than features, ten steps instead of hundreds.
    model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=50)
    model.fit((rows - rows.mean(axis=0)) / scale, withheld)
    return (model.coef_[0] / scale).astype(np.float32)
