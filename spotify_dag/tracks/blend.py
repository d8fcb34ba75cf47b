"""One list for several people: the least satisfied person is served best, then all together.

A person's satisfaction is the share of their listening that the list stands for, beside the best list of that length
for them alone (as utilities are normalised by Xiao, Zhang, Zhang, Gu, Liu, Ma, "Fairness-aware group recommendation
with Pareto-efficiency", RecSys 2017). A list stands for an artist if it has a track of them; further tracks of the same
artist add `AGAIN` times what the one before added. So satisfaction is submodular. The list maximises the sum of
``-(satisfaction + SOFT) ** -POWER`` over the people, which comes near to the leximin order (least misery first), by
greedy choice and then by swaps: a smooth form of the worst case of Krause, McMahan, Guestrin, Gupta, "Robust submodular
observation selection", JMLR 2008.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AGAIN = 0.1
"""What each further track of an artist adds, beside the one before."""
POWER, SOFT = 8, 0.02
SWAPPED_IN, ROUNDS = 400, 2
"""Candidates that are tried in the place of each track, and how often all places are gone through."""


@dataclass(frozen=True)
class Candidates:
    """Tracks that a list may have."""

    worth: np.ndarray
    """``[people, candidates]`` float: what each adds for each person as the first track of its artist."""
    artist: np.ndarray
    """``[candidates]`` int."""
    known: np.ndarray
    """``[candidates]`` bool: whether one of the people has the track."""
    seconds: np.ndarray
    """``[candidates]`` float."""

    def take(self, rows: np.ndarray) -> Candidates:
        """Return some of them."""
        return Candidates(self.worth[:, rows], self.artist[rows], self.known[rows], self.seconds[rows])


@dataclass(frozen=True)
class Limit:
    """How long a list may be."""

    tracks: int
    seconds: float = np.inf
    known: float | None = None
    """Share of tracks that one of the people has; None for any."""


@dataclass(frozen=True)
class Blend:
    """A list, and how satisfied it leaves each person."""

    chosen: np.ndarray
    """Places of the candidates, in order."""
    satisfaction: np.ndarray
    """``[people]``, 0 to 1."""


def blend(candidates: Candidates, limit: Limit) -> Blend:
    """Return the list that satisfies the least satisfied person most, then all. The order of people does not matter."""
    best = best_alone(candidates, limit.tracks)
    scaled = Candidates(
        candidates.worth / np.maximum(best, 1e-12)[:, None], candidates.artist, candidates.known, candidates.seconds
    )
    chosen = _greedy(scaled, limit)
    chosen = _swapped(scaled, chosen, limit)
    return Blend(np.array(chosen, np.int64), satisfaction(scaled, chosen))


def satisfaction(candidates: Candidates, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return what a list adds up to for each person, ``[people]``, in the unit of ``worth``."""
    rows = np.asarray(chosen, np.int64)
    if not len(rows):
        return np.zeros(len(candidates.worth))
    # Of each artist the track that is worth most counts first.
    total = np.zeros(len(candidates.worth))
    for artist in np.unique(candidates.artist[rows]):
        of_artist = -np.sort(-candidates.worth[:, rows[candidates.artist[rows] == artist]], axis=1)
        total += of_artist @ AGAIN ** np.arange(of_artist.shape[1])
    return total


def best_alone(candidates: Candidates, count: int) -> np.ndarray:
    """Return what the best list of ``count`` tracks adds up to for each person alone, ``[people]``."""
    order = np.argsort(candidates.artist, kind="stable")
    artist, worth = candidates.artist[order], candidates.worth[:, order]
    starts = np.flatnonzero(np.r_[True, artist[1:] != artist[:-1]])
    lengths = np.diff(np.r_[starts, len(artist)])
    within = np.repeat(np.arange(len(starts)), lengths)
    place = np.arange(len(artist)) - np.repeat(starts, lengths)
    best = []
    for row in worth:
        ranked = row[np.lexsort((-row, within))] * AGAIN**place
        best.append(-np.sort(-ranked)[:count].sum())
    return np.array(best)


def interleaved(rankings: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Return what a list has where people take turns and each names their best track that is not in it yet."""
    chosen: dict[int, None] = {}
    iterators = [iter(ranking.tolist()) for ranking in rankings]
    while iterators and len(chosen) < count:
        left = []
        for iterator in iterators:
            track = next((track for track in iterator if track not in chosen), None)
            if track is not None and len(chosen) < count:
                chosen[track] = None
                left.append(iterator)
        iterators = left
    return np.array(list(chosen), np.int64)


def _pain(satisfied: np.ndarray) -> np.ndarray:
    """Return how dissatisfied all are together: of ``[people, …]``, summed over people."""
    fourth = np.square(np.square(satisfied + SOFT))
    return (1 / np.square(fourth)).sum(axis=0)


def _greedy(candidates: Candidates, limit: Limit) -> list[int]:
    count = len(candidates.artist)
    free, left = np.ones(count, bool), limit.seconds
    weight = np.ones(count)
    total = np.zeros(len(candidates.worth))
    chosen: list[int] = []
    while len(chosen) < limit.tracks:
        open_ = free & (candidates.seconds <= left)
        if limit.known is not None:
            # So that every beginning of the list keeps the share, as far as there are such tracks.
            due = candidates.known[chosen].sum() < limit.known * (len(chosen) + 1) - 1e-9 if chosen else limit.known > 0
            of_kind = open_ & (candidates.known == due)
            open_ = of_kind if of_kind.any() else open_
        places = np.flatnonzero(open_)
        if not len(places):
            break
        pain = _pain(total[:, None] + candidates.worth[:, places] * weight[places])
        best = int(places[np.argmin(pain)])
        total = total + candidates.worth[:, best] * weight[best]
        weight[candidates.artist == candidates.artist[best]] *= AGAIN
        free[best] = False
        left -= candidates.seconds[best]
        chosen.append(best)
    return chosen


def _swapped(candidates: Candidates, chosen: list[int], limit: Limit) -> list[int]:
    """Put better tracks in the place of chosen ones, known for known and new for new where a share is asked for."""
    promising = np.argsort(-candidates.worth.sum(axis=0), kind="stable")[:SWAPPED_IN]
    now = np.array(chosen, np.int64)
    total = satisfaction(candidates, now)
    for _ in range(ROUNDS):
        improved = False
        for place in range(len(now)):
            rest = np.delete(now, place)
            without = total - _of_artist(candidates, now, now[place]) + _of_artist(candidates, rest, now[place])
            open_ = ~np.isin(promising, now)
            open_ &= candidates.seconds[promising] <= limit.seconds - candidates.seconds[rest].sum()
            if limit.known is not None:
                open_ &= candidates.known[promising] == candidates.known[now[place]]
            tried = promising[open_]
            if not len(tried):
                continue
            before = (candidates.artist[rest][:, None] == candidates.artist[tried]).sum(axis=0)
            pain = _pain(without[:, None] + candidates.worth[:, tried] * AGAIN**before)
            best = int(np.argmin(pain))
            if pain[best] < _pain(total) * (1 - 1e-9):
                now[place], improved = tried[best], True
                total = satisfaction(candidates, now)
        if not improved:
            break
    return now.tolist()


def _of_artist(candidates: Candidates, chosen: np.ndarray, track: int) -> np.ndarray:
    """Return what the tracks of one track's artist add up to."""
    return satisfaction(candidates, chosen[candidates.artist[chosen] == candidates.artist[track]])
