"""Continuing playlists of a drawn world of the size of the Million Playlist Dataset's parts: no audio, genres or years.

Artists have one of 60 styles, tracks belong to artists, and what is heard follows Zipf's law. A playlist is of one or
two styles, of runs by one artist, and of a few hits of any kind; its title says a style or nothing. Made data cannot
say how good a continuation is on real lists. It says how long learning and answering take, how much memory, and in a
smaller world that the order is not behind the best of the methods that name candidates.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from bench.measure import console, in_fresh_process, print_others, print_table, run

NAME = "continuation"
PLAYLISTS, QUICK = 6_000, 600
TRACKS_PER_PLAYLIST, TRACKS_PER_ARTIST, STYLES = 30, 5, 60
MEAN_TRACKS = 60
DIM = 384
ASKED, COMPARED = 200, 1_500
"""Playlists asked for, and playlists of the world in which the order is compared with single methods."""


def measure(quick: bool, playlists: int | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    times, learning = in_fresh_process(learn_and_ask, playlists or (QUICK if quick else PLAYLISTS))
    console.print(
        f"{times['tracks']:,} tracks, {times['playlists']:,} playlists: learned in {times['learned_s']:,.0f} s "
        f"({times['learned_cpu_s']:,.0f} s of processors), {learning.peak_gib:.1f} GiB; "
        f"a request p50 {times['p50'][0]:.0f} ms, p95 {times['p95'][0]:.0f} ms "
        f"({times['p50'][1]:.0f} and {times['p95'][1]:.0f} ms of processors)"
    )
    found, comparing = in_fresh_process(compare, QUICK if quick else COMPARED)
    for metric in ("r_precision", "ndcg"):
        rows = [
            [
                scenario,
                *(f"{methods[name][metric]:.4f}" for name in methods),
                f"{found['lead'][metric][scenario]['ratio']:.3f}",
            ]
            for scenario, methods in found["scenarios"].items()
        ]
        print_table(metric, ["", *next(iter(found["scenarios"].values())), "times the best"], rows)
    print_others({"learning": learning, "comparing": comparing})
    return {"times": times, **found, "cost": {"learning": asdict(learning), "comparing": asdict(comparing)}}


def learn_and_ask(playlists: int) -> dict[str, Any]:
    """Learn from a drawn world, ask for playlists that it does not have, and return how long each took."""
    import numpy as np

    from spotify_dag.als import one_blas_thread
    from spotify_dag.tracks.continuation import Continuation
    from spotify_dag.tracks.track_evaluation import SCENARIOS, requests

    tracks, everything = world(playlists + ASKED)
    begun, used = time.monotonic(), time.process_time()
    model = Continuation.learn(tracks, everything.take(np.arange(playlists)))
    learned = {"learned_s": time.monotonic() - begun, "learned_cpu_s": time.process_time() - used}
    asked = everything.take(np.arange(playlists, playlists + ASKED))
    took = []
    with one_blas_thread():  # as the app and `spotify-dag continue` answer
        for size in SCENARIOS.values():
            for request, _ in requests(asked, size, len(tracks)):
                begun, used = time.perf_counter(), time.process_time()
                model.recommend(request, 20)
                took.append((time.perf_counter() - begun, time.process_time() - used))
    quantiles = {f"p{share}": (np.quantile(took, share / 100, axis=0) * 1e3).tolist() for share in (50, 95)}
    return {"tracks": len(tracks), "playlists": playlists, "requests": len(took), **learned, **quantiles}


def compare(playlists: int) -> dict[str, Any]:
    """Return how good the order and single methods are on playlists that nothing was learned from."""
    import numpy as np

    from spotify_dag.tracks.continuation import Continuation
    from spotify_dag.tracks.continuation_baselines import fixed, tuned
    from spotify_dag.tracks.track_evaluation import evaluate_continuation, lead, summary

    tracks, everything = world(playlists + ASKED)
    lists, asked = everything.take(np.arange(playlists)), everything.take(np.arange(playlists, playlists + ASKED))
    model = Continuation.learn(tracks, lists)
    baselines, settings = tuned(tracks, lists)
    report = evaluate_continuation(model, fixed(model.stage) | baselines, asked, tracks.artist)
    leads = {measure: lead(report, measure) for measure in ("r_precision", "ndcg")}
    return {"compared_among": len(tracks), "settings": settings, "scenarios": summary(report), "lead": leads}


def world(playlists: int) -> tuple[Any, Any]:
    """Return the arrays of drawn tracks and playlists, in proportion."""
    import numpy as np
    from scipy.sparse import csr_matrix

    from spotify_dag.features.audio import SCALED
    from spotify_dag.tracks.corpus import unit_rows
    from spotify_dag.tracks.track_arrays import Playlists, Tracks

    rng = np.random.default_rng(0)
    count, artists = playlists * TRACKS_PER_PLAYLIST, playlists * TRACKS_PER_PLAYLIST // TRACKS_PER_ARTIST
    style, artist = rng.integers(0, STYLES, artists), _zipf(rng, artists, count)
    weight = rng.zipf(1.6, count).clip(max=2_000).astype(float)
    heard = np.cumsum(weight)
    named = rng.standard_normal((artists, DIM), np.float32)[artist] + rng.standard_normal((count, DIM), np.float32)
    unknown = np.full(count, np.nan, np.float32)
    tracks = Tracks(
        artist=artist, album=artist * 3 + rng.integers(0, 3, count), song=np.arange(count),
        audio=np.full((count, len(SCALED)), np.nan, np.float32), year=unknown, popularity=unknown,
        genres=csr_matrix((count, 1), dtype=np.float32), genre_text=np.zeros((1, DIM), np.float32),
        text=unit_rows(named),
    )  # fmt: skip
    of_style = [np.flatnonzero(style[artist] == number) for number in range(STYLES)]
    of_artist = np.split(np.argsort(artist, kind="stable"), np.cumsum(np.bincount(artist, minlength=artists))[:-1])
    words = np.array(["".join(rng.choice(list("bdfgklmnprstaeiou"), 6)) for _ in range(4_000)])

    def draw(among: Any, size: int) -> Any:
        share = weight[among]
        return rng.choice(among, min(size, len(among)), replace=False, p=share / share.sum())

    rows, called = [], []
    for _ in range(playlists):
        length = int(np.clip(rng.lognormal(np.log(MEAN_TRACKS) - 0.3, 0.8), 5, 250))
        styles = rng.choice(STYLES, rng.integers(1, 3), replace=False)
        own = np.concatenate([draw(of_style[one], length // len(styles) + 1) for one in styles])
        runs = [draw(of_artist[artist[track]], 6) for track in own[: length // 20]]
        hits = np.searchsorted(heard, rng.random(length // 8 + 1) * heard[-1])
        rows.append(rng.permutation(np.unique(np.concatenate([own[: length * 3 // 4], *runs, hits]))))
        tells = rng.random() < 0.6
        called.append(f"{words[styles[0]]} {words[rng.integers(50)]}" if tells else words[rng.integers(100, 4_000)])
    titles, number = np.unique(np.array(called, object), return_inverse=True)
    return tracks, Playlists(
        indptr=np.cumsum([0, *map(len, rows)]), indices=np.concatenate(rows).astype(np.int32),
        title=number.astype(np.int32), title_vectors=unit_rows(rng.standard_normal((len(titles), DIM))),
        titles=titles, moods=np.zeros((len(titles), len(SCALED)), np.float32),
    )  # fmt: skip


def _zipf(rng: Any, count: int, size: int) -> Any:
    """Return ``size`` numbers below ``count``, the n-th as often as 1 / (n + 10)."""
    import numpy as np

    share = 1 / (np.arange(count) + 10)
    return rng.choice(count, size, p=share / share.sum())


if __name__ == "__main__":
    run(NAME, __doc__, measure, playlists=(int, f"how many, instead of {PLAYLISTS:,}"))
