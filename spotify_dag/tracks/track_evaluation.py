"""How good search and continuation are, against baselines, on playlists that were set aside.

Search: a track of the catalogue is wanted, a text made from its names is typed, with or without typos, and any
recording of the wanted song counts. Continuation: the manner of the RecSys Challenge 2018, part of a playlist is
given and the rest is wanted. Everything random has a seed, and no test playlist is seen by anything that learns.
"""

from __future__ import annotations

import random
import string
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.ranking_metrics import LENGTH, clicks, hit_rates, ndcg, r_precision, r_precision_with_artists
from spotify_dag.tracks.continuation import Continuation
from spotify_dag.tracks.continuation_baselines import BASELINES, Baseline
from spotify_dag.tracks.track_arrays import Playlists, Request, title_of

if TYPE_CHECKING:
    import polars as pl

HOLD_OUT = 0.2
MAX_TEST_PLAYLISTS = 500
SCENARIOS = {
    "title only": 0, "title, first track": 1, "title, first 5": 5, "title, first 10": 10, "title, first 25": 25,
    "title, random 25": -25,
}  # fmt: skip
"""Seeds of each scenario; below 0 they are drawn from anywhere in the playlist."""
OURS = "spotify_dag"


@dataclass(frozen=True)
class Split:
    """Playlists to learn from, and playlists to ask for."""

    train: np.ndarray
    test: np.ndarray


def split_playlists(count: int, seed: int = 0) -> Split:
    """Set a fifth of the playlists aside."""
    order = np.random.default_rng(seed).permutation(count)
    held = int(count * HOLD_OUT)
    return Split(train=np.sort(order[held:]), test=order[:held][:MAX_TEST_PLAYLISTS])


def known_item_queries(tracks: pl.DataFrame, count: int, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return, for each kind of query, ``count`` pairs of a text and what is wanted.

    Parameters
    ----------
    tracks
        ``track_name, artist_name, song_key, artist_key``.

    Returns
    -------
    Wanted is a song key; for the kind ``artist`` it is an artist key.
    """
    rng = random.Random(seed)  # noqa: S311 - for typos, not for secrets
    rows = tracks.select("track_name", "artist_name", "song_key", "artist_key").rows()

    def full(row: Sequence[str]) -> str:
        return f"{row[0]} {row[1]}"

    makers: dict[str, Callable[[Sequence[str]], str]] = {
        "title": lambda row: row[0],
        "title, artist": full,
        "title, artist, 1 typo": lambda row: typo(full(row), rng),
        "title, artist, 2 typos": lambda row: typo(typo(full(row), rng), rng),
        "title, 1 typo": lambda row: typo(row[0], rng),
        "words in another order": lambda row: " ".join(rng.sample(full(row).split(), len(full(row).split()))),
        "artist": lambda row: row[1],
    }
    chosen = [rows[rng.randrange(len(rows))] for _ in range(count)]
    return {
        kind: [(make(row), row[3] if kind == "artist" else row[2]) for row in chosen] for kind, make in makers.items()
    }


def typo(text: str, rng: random.Random) -> str:
    """Return a text with one character left out, doubled up by another, replaced, or swapped with the next."""
    place = rng.randrange(len(text))
    letter = rng.choice(string.ascii_lowercase)
    before, at, after = text[:place], text[place], text[place + 1 :]
    edits = (before + after, before + letter + at + after, before + letter + after, before + after[:1] + at + after[1:])
    return rng.choice(edits)


def evaluate_search(
    queries: Mapping[str, Sequence[tuple[str, str]]], search: Callable[[str], Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Return ``hit@1, hit@10, mrr, queries`` and ``p50_ms, p95_ms`` for each kind of query.

    Parameters
    ----------
    queries
        See `known_item_queries`.
    search
        Returns the song keys of the ten answers to a text, best first.
    """
    report = {}
    for kind, pairs in queries.items():
        places: list[int | None] = []
        seconds = []
        for text, wanted in pairs:
            begun = time.perf_counter()
            found = search(text)
            seconds.append(time.perf_counter() - begun)
            named = [song.partition("|")[0] if kind == "artist" else song for song in found]
            places.append(named.index(wanted) + 1 if wanted in named else None)
        report[kind] = {
            **hit_rates(places),
            "queries": len(places),
            "p50_ms": float(np.quantile(seconds, 0.5) * 1e3),
            "p95_ms": float(np.quantile(seconds, 0.95) * 1e3),
        }
    return report


def requests(
    playlists: Playlists, chosen: np.ndarray, size: int, moods: np.ndarray, seed: int = 0
) -> Iterator[tuple[Request, np.ndarray]]:
    """Yield what is given of each chosen playlist, and what is withheld; playlists that are too short are left out."""
    for playlist in chosen:
        own = playlists[playlist]
        if len(own) <= abs(size):
            continue
        order = np.arange(len(own))
        if size < 0:
            # Of their own seed each, so that other playlists do not change what is drawn from this one.
            drawn = np.random.default_rng([seed, int(playlist)]).permutation(len(own))
            order = np.concatenate([np.sort(drawn[: abs(size)]), np.sort(drawn[abs(size) :])])
        title = title_of(playlists, int(playlist))
        mood = None if title is None else moods[playlists.title[playlist]]
        yield Request(own[order[: abs(size)]], title, mood), own[order[abs(size) :]]


def evaluate_continuation(
    model: Continuation, playlists: Playlists, test: np.ndarray, moods: np.ndarray, *, seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, float]]]:  # fmt: skip
    """Return for each scenario, and in it for each method, what its rankings of 500 are worth.

    Parameters
    ----------
    model
        Learned without the test playlists; the baselines learn from what it knows.
    playlists, test
        All playlists, and which of them are asked for.
    moods
        ``[titles, 13]``, what titles say about sound.

    Returns
    -------
    ``r_precision, r_precision_with_artists, ndcg, clicks``: means over playlists. ``coverage``: share of the
    catalogue that was in any ranking's first hundred. ``popularity``: mean number of playlists of these tracks.
    """
    rng = np.random.default_rng(seed)
    # Equal scores in any order but the catalogue's, which says which tracks came together.
    jitter = rng.random(len(model.tracks)) * 1e-6
    methods: dict[str, Baseline] = {OURS: model.score, **{name: make(model) for name, make in BASELINES.items()}}
    report: dict[str, dict[str, dict[str, float]]] = {}
    for scenario, size in SCENARIOS.items():
        measured: dict[str, list[tuple[float, ...]]] = {name: [] for name in methods}
        shown: dict[str, list[np.ndarray]] = {name: [] for name in methods}
        for request, wanted in requests(playlists, test, size, moods, seed):
            for name, score in methods.items():
                ranked = ranking(score(request), request.seeds, jitter)
                shown[name].append(ranked[:100])
                measured[name].append(
                    (
                        r_precision(ranked, wanted), r_precision_with_artists(ranked, wanted, model.tracks.artist),
                        ndcg(ranked, wanted), clicks(ranked, wanted),
                    )
                )  # fmt: skip
            progress(1)
        names = ("r_precision", "r_precision_with_artists", "ndcg", "clicks")
        report[scenario] = {
            name: {
                **dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)),
                "coverage": len(np.unique(np.concatenate(shown[name]))) / len(model.tracks),
                "popularity": float(model.track_count[np.concatenate(shown[name])].mean()),
                "playlists": len(rows),
            }
            for name, rows in measured.items()
            if rows
        }
    return {scenario: methods for scenario, methods in report.items() if methods}


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


def lead(report: Mapping[str, Mapping[str, Mapping[str, float]]], metric: str) -> dict[str, float]:
    """Return by what share our figure is ahead of the best baseline's in each scenario: 0.1 is 10 % more."""
    found: dict[str, Any] = {}
    for scenario, methods in report.items():
        best = max(figures[metric] for name, figures in methods.items() if name != OURS)
        found[scenario] = methods[OURS][metric] / best - 1 if best else float("inf")
    return found
