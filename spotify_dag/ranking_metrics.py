"""Measures of rankings, for people and tracks alike. Tracks are measured as in the RecSys Challenge 2018.

Chen, Lamere, Schedl, Zamani, "RecSys Challenge 2018: automatic music playlist continuation", RecSys 2018. Its rankings
are 500 long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LENGTH = 500
PAGE = 10
"""Tracks the challenge's client shows at a time."""
ARTIST_CREDIT = 0.25
"""Credit in `r_precision_with_artists` for a track that is not relevant, but by a relevant artist."""


def binary_ndcg(hits: np.ndarray, relevant: np.ndarray, length: int) -> np.ndarray:
    """Return the normalised discounted cumulative gain of rankings with binary gain (Järvelin and Kekäläinen 2002).

    ``NDCG = sum over hits of 1 / log2(place + 1), over the same sum of a ranking with all relevant items first``.

    Parameters
    ----------
    hits
        ``[rankings, places]`` bool: whether the item at each place, from 1 on, is relevant.
    relevant
        ``[rankings]`` int: number of relevant items.
    length
        Places that count in the best possible ranking.

    Returns
    -------
    ``[rankings]`` float64, 0 to 1; NaN where nothing is relevant.
    """
    discount = 1 / np.log2(np.arange(2, max(hits.shape[1], length) + 2))
    ideal = np.concatenate([[np.nan], np.cumsum(discount)])[np.minimum(relevant, length)]
    return (hits * discount[: hits.shape[1]]).sum(axis=1) / ideal


def ndcg(ranked: np.ndarray, withheld: np.ndarray) -> float:
    """Return `binary_ndcg` of one ranking; ``ranked`` and ``withheld`` are numbers of tracks."""
    return float(binary_ndcg(np.isin(ranked, withheld)[None], np.array([len(withheld)]), LENGTH)[0])


def r_precision(ranked: np.ndarray, withheld: np.ndarray) -> float:
    """Return the share of withheld tracks among the first ``len(withheld)`` of the ranking."""
    return float(np.isin(withheld, ranked[: len(withheld)]).mean())


def r_precision_with_artists(ranked: np.ndarray, withheld: np.ndarray, artist: np.ndarray) -> float:
    """Return R-precision in which a withheld artist, named by another track, counts a quarter, once.

    Parameters
    ----------
    ranked, withheld
        Numbers of tracks.
    artist
        ``[tracks]``, number of each track's artist.
    """
    first = ranked[: len(withheld)]
    hits = np.isin(first, withheld)
    near = np.setdiff1d(np.intersect1d(artist[first[~hits]], artist[withheld]), artist[first[hits]])
    return float(min(1.0, (hits.sum() + ARTIST_CREDIT * len(near)) / len(withheld)))


def clicks(ranked: np.ndarray, withheld: np.ndarray) -> int:
    """Return how often a listener asks for ten more before the first withheld track; 51 if none of 500 is withheld."""
    hits = np.flatnonzero(np.isin(ranked[:LENGTH], withheld))
    return int(hits[0]) // PAGE if len(hits) else LENGTH // PAGE + 1


def retrieval(rank: np.ndarray) -> dict[str, float]:
    """Return ``hit@1, hit@10, mrr`` (mean reciprocal rank) of ranks from 1 on; infinity where nothing was found."""
    return {
        "hit@1": float((rank <= 1).mean()),
        "hit@10": float((rank <= 10).mean()),
        "mrr": float((1 / rank).mean()),
    }


def hit_rates(places: Sequence[int | None]) -> dict[str, float]:
    """Return `retrieval` of places from 1 on, None where the item was not found."""
    return retrieval(np.array([place or np.inf for place in places], float))


def ranking(scores: np.ndarray, seeds: np.ndarray, jitter: np.ndarray, length: int = LENGTH) -> np.ndarray:
    """Return the numbers of the best tracks that are no seeds, best first.

    Scores are brought to one scale first, so that ``jitter`` (``[tracks]``, tiny) decides among equals only.
    """
    low, high = float(scores.min()), float(scores.max())
    level = (scores.astype(np.float64) - low) / (high - low or 1) + jitter
    level[seeds] = -1
    length = min(length, len(level) - len(np.unique(seeds)))
    best = np.argpartition(-level, min(length, len(level) - 1))[:length]
    return best[np.argsort(-level[best], kind="stable")]
