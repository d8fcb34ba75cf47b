"""Continue a playlist in two stages: candidates by several methods (`candidates`), then a learned order (`ranker`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spotify_dag.als import one_blas_thread
from spotify_dag.tracks.candidate_features import FEATURES, REASONS, features
from spotify_dag.tracks.candidates import NAMES, Candidates, FirstStage
from spotify_dag.tracks.methods.ials import NOTHING
from spotify_dag.tracks.ranker import Ranker
from spotify_dag.tracks.ranker_learning import learn_ranker
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks

WISH_WEIGHT = 2.0
"""What a mood counts that was asked for, per standard deviation of an audio feature fully pulled."""
NO_NAMES = [FEATURES.index(name) for name in FEATURES if name.startswith(("title_text", "title_match", "title_names"))]
POOL = 1_000
"""Best candidates whose spread the knobs turn by."""
USUAL = 250
"""Answers up to which the usual number of candidates will do."""
AGAIN_AS_MANY = 3
"""How many times as many candidates are ranked where some are left out."""
DIVERSITY = 0.1
"""Of tracks for one person, unless they ask for another."""
KNOB = 2.0
"""Standard deviations of the scores of these that a knob turned all the way moves a track by."""


@dataclass(frozen=True)
class Recommendation:
    """One track that continues a playlist."""

    track: int
    """Its number."""
    score: float
    reasons: list[str]
    """What speaks for it most, best first."""


@dataclass(frozen=True)
class Ranked:
    """The candidates of a request, the best first."""

    tracks: np.ndarray
    """``[candidates]`` int."""
    scores: np.ndarray
    """``[candidates]`` float32, descending."""
    contributions: np.ndarray
    """``[candidates, len(FEATURES)]`` float32, what each feature adds to the score."""


@dataclass(frozen=True)
class Continuation:
    """Both stages over one catalogue."""

    stage: FirstStage
    ranker: Ranker

    @staticmethod
    def learn(
        tracks: Tracks, playlists: Playlists, *, seed: int = 0, threads: int = 0,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Continuation:  # fmt: skip
        """Learn the order from playlists that are held out in turn, then the methods from all of them.

        Parameters
        ----------
        tracks, playlists
            The catalogue, and playlists to learn from.
        seed
            Of everything random.
        threads
            How many factors are learned with, 0 for all.
        progress
            Hears how many playlists have been asked for.
        """
        with one_blas_thread():  # thousands of small products: more threads would wait for one another
            ranker = learn_ranker(tracks, playlists, seed=seed, threads=threads, progress=progress)
            return Continuation(FirstStage.learn(tracks, playlists, seed=seed, threads=threads), ranker)

    def ranked(self, request: Request, count: int = USUAL) -> Ranked:
        """Return the candidates of a request in order, ``count`` or more where the catalogue has them."""
        candidates = self.stage.candidates(request, max(1.0, count / USUAL), at_least=2 * count)
        contributions = self.ranker.contributions(features(self.stage, request, candidates), len(request))
        if request.wish:
            contributions = self._heard(contributions, request, candidates)
        scores = contributions.sum(axis=1)
        order = np.argsort(-scores, kind="stable")
        return Ranked(candidates.tracks[order], scores[order], contributions[order])

    def _heard(self, contributions: np.ndarray, request: Request, candidates: Candidates) -> np.ndarray:
        """Return the contributions where a mood is asked for.

        Titles of playlists seldom speak of sound, so weights learned from them are no measure of a wish for it.
        """
        contributions = contributions.copy()
        contributions[:, NO_NAMES] = 0
        if request.mood is not None:
            sound = np.nan_to_num(self.stage.content.audio[candidates.tracks])
            contributions[:, FEATURES.index("mood")] = WISH_WEIGHT * (sound @ request.mood.astype(np.float32))
        return contributions

    def recommend(
        self, request: Request, k: int, *, popularity: float = 0.0, diversity: float = 0.0,
        without_songs: np.ndarray = NOTHING, without_artists: np.ndarray = NOTHING,
    ) -> list[Recommendation]:  # fmt: skip
        """Return the ``k`` tracks that continue a request best; no seed, and of every song one recording only.

        Parameters
        ----------
        request, k
            What to continue, and by how many tracks.
        popularity
            -1 to 1: what is known, or what is not, comes first; 0 leaves it to the ranker.
        diversity
            0 to 1: how much every further track of an artist has to be better.
        without_songs, without_artists
            Numbers of songs and of artists to leave out.
        """
        tracks, more = self.stage.tracks, AGAIN_AS_MANY if len(without_songs) or len(without_artists) else 1
        ranked = self.ranked(request, more * k)
        if not len(ranked.tracks):  # the request has them all
            return []
        # The knobs turn in units of the spread of the scores they have to change.
        spread = float(np.std(ranked.scores[: max(POOL, 10 * k)])) or 1.0
        scores = ranked.scores + KNOB * spread * popularity * self.stage.known_popularity[ranked.tracks]
        order = np.argsort(-scores, kind="stable")
        songs = tracks.song[ranked.tracks[order]]
        _, first = np.unique(songs, return_index=True)
        first = first[~np.isin(songs[first], np.union1d(tracks.song[request.seeds], without_songs))]
        first = first[~np.isin(tracks.artist[ranked.tracks[order[first]]], without_artists)]
        best = order[np.sort(first)]
        chosen = _spread_out(scores[best], tracks.artist[ranked.tracks[best]], k, KNOB * spread * diversity)
        return [
            Recommendation(int(ranked.tracks[row]), float(scores[row]), reasons(ranked.contributions, row))
            for row in best[chosen]
        ]


def _spread_out(scores: np.ndarray, artist: np.ndarray, k: int, penalty: float) -> np.ndarray:
    """Return the places of the ``k`` best of descending scores, each further track of an artist at a penalty."""
    if penalty <= 0:
        return np.arange(min(k, len(scores)))
    level = scores.astype(np.float64)
    chosen = []
    for _ in range(min(k, len(scores))):
        place = int(np.argmax(level))
        chosen.append(place)
        level[artist == artist[place]] -= penalty
        level[place] = -np.inf
    return np.array(chosen, np.int64)


def reasons(contributions: np.ndarray, row: int, count: int = 3) -> list[str]:
    """Return in words what speaks for a candidate most, beside the other candidates of the request."""
    above = contributions[row] - contributions.mean(axis=0)
    summed: dict[str, float] = {}
    for words, value, own in zip(REASONS, above.tolist(), contributions[row].tolist(), strict=True):
        if own:
            summed[words] = summed.get(words, 0.0) + value
    best = sorted(summed, key=lambda words: -summed[words])
    return [words for words in best if summed[words] > 0][:count] or best[:1]


def feature_weights(model: Continuation) -> dict[str, float]:
    """Return the mean weight of the features of each method over all sizes; empty where ranks are fused."""
    if model.ranker.weights is None:
        return {}
    mean = np.abs(model.ranker.weights).mean(axis=0)
    return {name: float(mean[FEATURES.index(f"{name}_rank")]) for name in NAMES}
