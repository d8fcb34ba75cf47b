"""How good a ranking is: the measures of the RecSys Challenge 2018, whose rankings are 500 long.

Chen, Lamere, Schedl, Zamani, "RecSys Challenge 2018: automatic music playlist continuation", RecSys 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LENGTH = 500
PAGE = 10
"""Tracks the challenge's client shows at a time."""
ARTIST_CREDIT = 0.25
"""What a track counts that is not wanted but by a wanted artist, in `r_precision_with_artists`."""


def r_precision(ranked: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of wanted tracks among the first ``len(wanted)`` of the ranking."""
    return float(np.isin(wanted, ranked[: len(wanted)]).mean())


def r_precision_with_artists(ranked: np.ndarray, wanted: np.ndarray, artist: np.ndarray) -> float:
    """Return R-precision in which a wanted artist, named by another track, counts a quarter, once.

    Parameters
    ----------
    ranked, wanted
        Numbers of tracks.
    artist
        ``[tracks]``, number of each track's artist.
    """
    first = ranked[: len(wanted)]
    hits = np.isin(first, wanted)
    near = np.setdiff1d(np.intersect1d(artist[first[~hits]], artist[wanted]), artist[first[hits]])
    return float(min(1.0, (hits.sum() + ARTIST_CREDIT * len(near)) / len(wanted)))


def ndcg(ranked: np.ndarray, wanted: np.ndarray) -> float:
    """Return the normalised discounted cumulative gain of the ranking, with binary gain and log2(place + 1)."""
    discount = 1 / np.log2(np.arange(2, max(len(ranked), len(wanted)) + 2))
    best = discount[: min(len(wanted), LENGTH)].sum()
    return float(discount[: len(ranked)][np.isin(ranked, wanted)].sum() / best)


def clicks(ranked: np.ndarray, wanted: np.ndarray) -> int:
    """Return how often a listener asks for ten more before the first wanted track; 51 if none of 500 is wanted."""
    hits = np.flatnonzero(np.isin(ranked[:LENGTH], wanted))
    return int(hits[0]) // PAGE if len(hits) else LENGTH // PAGE + 1


def hit_rates(places: Sequence[int | None]) -> dict[str, float]:
    """Return ``hit@1, hit@10`` and ``mrr`` of places from 1 on, None where the item was not found."""
    reciprocal = np.array([1 / place if place else 0.0 for place in places])
    return {
        "hit@1": float((reciprocal == 1).mean()),
        "hit@10": float((reciprocal >= 1 / 10).mean()),
        "mrr": float(reciprocal.mean()),
    }
