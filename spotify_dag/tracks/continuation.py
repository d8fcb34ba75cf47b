"""Continue a playlist: the signals of `tracks.signals`, blended with learned weights (`tracks.signal_weights`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.signals import SIGNALS, Signals
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks

DEFAULT_WEIGHTS = np.array(
    [{"text": 3.0, "same_artist": 2.0, "playlists_artist": 2.0, "mood": 0.3, "title_match": 10.0}.get(name, 0.5)
     for name in SIGNALS], np.float32
)  # fmt: skip
"""What signals count where there is nothing to learn from."""
REASONS = {
    "playlists_track": "in playlists with your tracks",
    "playlists_walk": "in playlists with your tracks",
    "neighbours": "in playlists with your tracks",
    "factors": "in playlists like yours",
    "playlists_artist": "artist in playlists with your artists",
    "title_track": "in playlists with such a title",
    "title_artist": "artist in playlists with such a title",
    "same_artist": "an artist of yours",
    "same_album": "from an album of yours",
    "popularity": "widely known",
    "audio": "sounds like your tracks",
    "year": "from the same years",
    "genre": "of the same genres",
    "title_genre": "of the genres of playlists with such a title",
    "genre_named": "of the genre you wrote",
    "text": "a title and artist of the same kind",
    "title_audio": "sounds like playlists with such a title",
    "title_year": "from the years of playlists with such a title",
    "title_text": "title and artist fit what you wrote",
    "title_match": "title or artist is what you wrote",
    "mood": "sounds as you described",
}
BRACKETS = (0, 1, 3, 7, 15)
"""Sizes of requests, in seeds, from which on another set of weights is used."""
WISH_WEIGHT = 2.0
"""What a mood counts that was asked for, per standard deviation of an audio feature fully pulled."""
POOL = 1_000
"""Best tracks that the knobs choose from."""
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


class Continuation(Signals):
    """Signals and their blend over one catalogue.

    Parameters
    ----------
    tracks, playlists, factors
        See `Signals`.
    weights
        ``[len(BRACKETS), len(SIGNALS)]``, see `blend.learn_weights`; by default `DEFAULT_WEIGHTS`.
    """

    def __init__(
        self, tracks: Tracks, playlists: Playlists, factors: np.ndarray | None = None, weights: np.ndarray | None = None
    ) -> None:
        super().__init__(tracks, playlists, factors)
        self.weights = np.tile(DEFAULT_WEIGHTS, (len(BRACKETS), 1)) if weights is None else weights

    def score(self, request: Request) -> np.ndarray:
        """Return how well each track continues the request, ``[tracks]``; seeds are scored like any other."""
        return self.signals(request) @ self.weights_of(request)

    def recommend(
        self, request: Request, k: int, *, popularity: float = 0.0, diversity: float = 0.0
    ) -> list[Recommendation]:
        """Return the ``k`` tracks that continue a request best; no seed, and of every song one recording only.

        Parameters
        ----------
        request, k
            What to continue, and by how many tracks.
        popularity
            -1 to 1: what is known, or what is not, comes first; 0 leaves it to the blend.
        diversity
            0 to 1: how much every further track of an artist has to be better.
        """
        signals, weights = self.signals(request), self.weights_of(request)
        score = signals @ weights
        pool = min(len(score), max(POOL, 10 * k))
        # The knobs turn in units of the spread of the scores they have to change.
        spread = float(np.std(np.partition(score, -pool)[-pool:])) or 1.0
        score = score + KNOB * spread * popularity * self.popularity
        score[np.isin(self.tracks.song, self.tracks.song[request.seeds])] = -np.inf
        best = np.argpartition(-score, pool - 1)[:pool]
        best = best[np.lexsort((best, -score[best]))]
        _, first = np.unique(self.tracks.song[best], return_index=True)
        best = best[np.sort(first)]
        best = best[np.isfinite(score[best])]
        level = score[best].astype(np.float64)
        chosen: list[int] = []
        for _ in range(min(k, len(best))):
            place = int(np.argmax(level))
            chosen.append(place)
            level[self.tracks.artist[best] == self.tracks.artist[best[place]]] -= KNOB * spread * diversity
            level[place] = -np.inf
        return [
            Recommendation(int(best[place]), float(score[best[place]]), _reasons(signals[best[place]] * weights))
            for place in chosen
        ]

    def weights_of(self, request: Request) -> np.ndarray:
        """Return the weights of the signals for a request, ``[len(SIGNALS)]`` float32."""
        weights = self.weights[np.searchsorted(BRACKETS, len(request), side="right") - 1].astype(np.float32)
        if request.wish:
            # Titles of playlists seldom speak of sound, so weights learned from them are no measure of a wish for it.
            weights[[SIGNALS.index(name) for name in ("title_text", "title_match")]] = 0
            weights[SIGNALS.index("mood")] = WISH_WEIGHT
        return weights


def _reasons(contributions: np.ndarray, count: int = 3) -> list[str]:
    """Return the signals that contribute most in words, each once."""
    order = [place for place in np.argsort(-contributions, kind="stable") if contributions[place] > 0]
    return list(dict.fromkeys(REASONS[SIGNALS[place]] for place in order))[:count]
