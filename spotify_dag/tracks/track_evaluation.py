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
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.ranking_metrics import (
    LENGTH,
    binary_ndcg,
    clicks,
    hit_rates,
    ndcg,
    r_precision,
    r_precision_with_artists,
    ranking,
)
from spotify_dag.tracks.continuation import DIVERSITY, Continuation
from spotify_dag.tracks.continuation_baselines import Baseline
from spotify_dag.tracks.track_arrays import Playlists, Request, request_of

if TYPE_CHECKING:
    import polars as pl

HOLD_OUT = 0.2
TEST_PLAYLISTS = 500
RESAMPLES = 1_000
MEASURES = ("r_precision", "r_precision_with_artists", "ndcg", "clicks")
SCENARIOS = {
    "title only": 0, "title, first track": 1, "title, first 5": 5, "title, first 10": 10, "title, first 25": 25,
    "title, random 25": -25,
}  # fmt: skip
"""Seeds of each scenario; below 0 they are drawn from anywhere in the playlist."""
OURS = "spotify_dag"
AT_50, FEWEST_ITEMS = "ndcg_at_50", 10


@dataclass(frozen=True)
class Split:
    """Playlists to learn from, and playlists to ask for."""

    train: np.ndarray
    test: np.ndarray


def split_playlists(count: int, seed: int = 0, most: int = TEST_PLAYLISTS) -> Split:
    """Set a fifth of the playlists aside, and ask for at most ``most`` of these."""
    order = np.random.default_rng(seed).permutation(count)
    held = int(count * HOLD_OUT)
    return Split(train=np.sort(order[held:]), test=order[:held][:most])


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
        for text, right_song in pairs:
            begun = time.perf_counter()
            songs = search(text)
            seconds.append(time.perf_counter() - begun)
            named = [song.partition("|")[0] if kind == "artist" else song for song in songs]
            places.append(named.index(right_song) + 1 if right_song in named else None)
        report[kind] = {
            **hit_rates(places),
            "queries": len(places),
            "p50_ms": float(np.quantile(seconds, 0.5) * 1e3),
            "p95_ms": float(np.quantile(seconds, 0.95) * 1e3),
        }
    return report


def requests(playlists: Playlists, size: int, catalogue: int, seed: int = 0) -> Iterator[tuple[Request, np.ndarray]]:
    """Yield what is given of each playlist, and what is withheld; playlists that are too short are left out.

    Parameters
    ----------
    playlists
        Playlists that nothing was learned from.
    size
        Number of seeds, see `SCENARIOS`.
    catalogue
        Number of tracks that can be recommended. Larger numbers are of tracks that only these playlists have: they are
        no seeds, and nobody can find them.
    seed
        Of seeds that are drawn.
    """
    for playlist in range(len(playlists)):
        if len(playlists[playlist]) > abs(size):
            # Of a seed of its own, so that other playlists do not change what is drawn from this one.
            drawn = np.random.default_rng([seed, playlist]) if size < 0 else None
            request, withheld = request_of(playlists, playlist, abs(size), drawn)
            yield replace(request, seeds=request.seeds[request.seeds < catalogue]), withheld


def evaluate_continuation(
    model: Continuation, baselines: Mapping[str, Baseline], playlists: Playlists, artist: np.ndarray, *, seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, dict[str, np.ndarray]]]:  # fmt: skip
    """Return for each scenario, and in it for each method, what its rankings of 500 are worth for each playlist.

    Parameters
    ----------
    model, baselines
        Learned without the playlists.
    playlists
        Those that are asked for, see `requests`.
    artist
        Number of each track's artist, those that nobody can find included; -1 where no track of the catalogue has it.

    Returns
    -------
    ``r_precision, r_precision_with_artists, ndcg, clicks``, ``[playlists]`` each.
    """
    count = len(model.stage.tracks)
    # Equal scores in any order but the catalogue's, which says which tracks came together.
    jitter = np.random.default_rng(seed).random(count) * 1e-6
    report: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for scenario, size in SCENARIOS.items():
        rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in (OURS, *baselines)}
        for request, withheld in requests(playlists, size, count, seed):
            ranked = {name: ranking(score(request), request.seeds, jitter) for name, score in baselines.items()}
            ranked[OURS] = model.ranked(request).tracks[:LENGTH]
            for name, order in ranked.items():
                rows[name].append(_measures(order, withheld, artist))
            progress(1)
        if rows[OURS]:
            report[scenario] = {
                name: dict(zip(MEASURES, np.array(values).T, strict=True)) for name, values in rows.items()
            }
    return report


def evaluate_halves(
    model: Continuation, baselines: Mapping[str, Baseline], playlists: Playlists, *, seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """Return for each method what its 50 tracks for somebody are worth, by the half of their tracks that is withheld.

    Parameters
    ----------
    model, baselines
        Learned without the playlists.
    playlists
        Each is taken for a person. Those of fewer than `FEWEST_ITEMS` tracks are left out.

    Returns
    -------
    ``ndcg_at_50``, ``[people]``. Ours are the tracks that `Continuation.recommend` gives with the diversity of
    `tracks_for`: one recording of each song. The other methods are held to no such thing.
    """
    count = len(model.stage.tracks)
    jitter = np.random.default_rng(seed).random(count) * 1e-6
    rows: dict[str, list[float]] = {name: [] for name in (OURS, *baselines)}
    for number in range(len(playlists)):
        own = playlists[number]
        progress(1)
        if len(own) < FEWEST_ITEMS:
            continue
        mixed = np.random.default_rng([seed, number]).permutation(len(own))
        given, withheld = own[np.sort(mixed[: len(own) // 2])], own[mixed[len(own) // 2 :]]
        request = Request(given[given < count])
        ranked = {name: ranking(score(request), request.seeds, jitter, 50) for name, score in baselines.items()}
        ranked[OURS] = np.array([made.track for made in model.recommend(request, 50, diversity=DIVERSITY)], np.int64)
        for name, order in ranked.items():
            hits = np.isin(order, withheld)[None]
            rows[name].append(float(binary_ndcg(hits, np.array([len(withheld)]), 50)[0]))
    return {name: {AT_50: np.array(values)} for name, values in rows.items()}


def _measures(ranked: np.ndarray, withheld: np.ndarray, artist: np.ndarray) -> tuple[float, ...]:
    return (
        r_precision(ranked, withheld),
        r_precision_with_artists(ranked, withheld, artist),
        ndcg(ranked, withheld),
        clicks(ranked, withheld),
    )


def summary(
    report: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], seed: int = 0
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the means of `evaluate_continuation` over playlists, and their standard errors by bootstrap."""
    return {
        scenario: {
            name: {
                **{measure: float(values.mean()) for measure, values in figures.items()},
                **{f"{measure}_error": _bootstrap(lambda rows: rows[:, 0].mean(), values[:, None], seed)
                   for measure, values in figures.items()},
                "playlists": len(next(iter(figures.values()))),
            }
            for name, figures in methods.items()
        }
        for scenario, methods in report.items()
    }  # fmt: skip


def lead(
    report: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], measure: str, seed: int = 0
) -> dict[str, dict[str, float | str]]:
    """Return how many times the best baseline's mean ours is, in each scenario, with its standard error by bootstrap.

    Returns
    -------
    ``ratio, error`` and ``best``: the name of that baseline.
    """
    leads: dict[str, dict[str, float | str]] = {}
    for scenario, methods in report.items():
        best = max((name for name in methods if name != OURS), key=lambda name: methods[name][measure].mean())
        pairs = np.column_stack([methods[OURS][measure], methods[best][measure]])
        leads[scenario] = {"ratio": _ratio(pairs), "error": _bootstrap(_ratio, pairs, seed), "best": best}
    return leads


def _ratio(pairs: np.ndarray) -> float:
    ours, best = pairs.mean(axis=0)
    return float(ours / best) if best else float("inf")


def _bootstrap(statistic: Callable[[np.ndarray], float], rows: np.ndarray, seed: int) -> float:
    """Return the standard deviation of a statistic over `RESAMPLES` samples of the rows with replacement."""
    rng = np.random.default_rng(seed)
    drawn = [statistic(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(RESAMPLES)]
    return float(np.std(drawn))
