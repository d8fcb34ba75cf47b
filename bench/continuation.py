"""Continuing playlists of the size and the kind of the Million Playlist Dataset: no audio, no genres, no years.

Playlists are drawn: artists have one of 60 styles, tracks belong to artists, and what is heard follows Zipf's law. A
playlist is of one or two styles, of runs by one artist, and of a few hits of any kind; its title says a style or
nothing. Made data cannot say how good a continuation is on real lists; it says how long learning and answering take,
how much memory, and that the blend is not behind the best of what it is blended from.
"""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.measure import console, in_fresh_process, print_others, print_table, run

NAME = "continuation"
PLAYLISTS, QUICK = 10_000, 600
TRACKS, ARTISTS, STYLES = 60_000, 12_000, 60
MEAN_TRACKS = 60
PER_SLICE = 1_000


def measure(quick: bool, playlists: int | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    playlists = playlists or (QUICK if quick else PLAYLISTS)
    with tempfile.TemporaryDirectory() as folder:
        in_fresh_process(write_slices, folder, playlists)
        found, cost = in_fresh_process(evaluate, folder)
    for metric in ("r_precision", "ndcg"):
        methods = list(next(iter(found["scenarios"].values())))
        rows = [
            [
                scenario,
                *(f"{figures[name][metric]:.4f}" for name in methods),
                f"{found['lead'][metric][scenario]['ratio']:.3f}",
            ]
            for scenario, figures in found["scenarios"].items()
        ]
        print_table(metric, ["", *methods, "times the best"], rows)
    took = "; ".join(f"{name}: {seconds:,.0f} s" for name, seconds in found["seconds"].items())
    console.print(f"{took}; {cost.peak_gib:.1f} GiB")
    print_others({"all": cost})
    return {**found, "playlists": playlists, "cost": asdict(cost)}


def evaluate(folder: str) -> dict[str, Any]:
    """Evaluate on the slices in ``folder``; return the report, with the seconds of each part."""
    from contextlib import contextmanager

    from spotify_dag.progress import Progress
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings
    from spotify_dag.tracks.evaluate_source import Evaluation

    seconds: dict[str, float] = {}

    class Clock(Progress):
        @contextmanager
        def task(self, description: str, total: int | None = None) -> Any:
            begun = time.monotonic()
            yield lambda _=1: None
            seconds[description] = time.monotonic() - begun

    project = Project.open(Settings(data=Path(folder) / "data"))
    evaluation = Evaluation(project.settings, project.lake, project.encoder, Clock())
    report = evaluation.continuation(Path(folder))
    return {**report, "seconds": seconds}


def write_slices(folder: str, playlists: int) -> None:
    """Write slices of drawn playlists."""
    import numpy as np

    rng = np.random.default_rng(0)
    style = rng.integers(0, STYLES, ARTISTS)
    artist = _zipf(rng, ARTISTS, TRACKS)
    weight = rng.zipf(1.6, TRACKS).clip(max=2_000).astype(float)
    words = np.array(["".join(rng.choice(list("bdfgklmnprstaeiou"), 6)) for _ in range(4_000)])
    names = [" ".join(words[rng.integers(0, len(words), size)]) for size in rng.integers(1, 5, TRACKS)]
    artists = [" ".join(pair) for pair in words[rng.integers(0, len(words), (ARTISTS, 2))]]
    of_style = [np.flatnonzero(style[artist] == number) for number in range(STYLES)]
    of_artist = np.split(np.argsort(artist, kind="stable"), np.cumsum(np.bincount(artist, minlength=ARTISTS))[:-1])

    def draw(among: Any, count: int) -> Any:
        share = weight[among]
        return rng.choice(among, min(count, len(among)), replace=False, p=share / share.sum())

    everything = np.arange(TRACKS)
    for first in range(0, playlists, PER_SLICE):
        rows = []
        for number in range(first, min(first + PER_SLICE, playlists)):
            length = int(np.clip(rng.lognormal(np.log(MEAN_TRACKS) - 0.3, 0.8), 5, 250))
            styles = rng.choice(STYLES, rng.integers(1, 3), replace=False)
            own = np.concatenate([draw(of_style[one], length // len(styles) + 1) for one in styles])
            runs = [draw(of_artist[artist[track]], 6) for track in own[: length // 20]]
            listed = np.unique(np.concatenate([own[: length * 3 // 4], *runs, draw(everything, length // 8 + 1)]))
            named = rng.random() < 0.6
            title = f"{words[styles[0]]} {words[rng.integers(0, 50)]}" if named else words[rng.integers(100, 4_000)]
            rows.append(
                {
                    "pid": number, "name": title,
                    "tracks": [
                        {"pos": place, "track_name": names[track], "track_uri": f"spotify:track:t{track}",
                         "artist_name": artists[artist[track]], "artist_uri": f"spotify:artist:a{artist[track]}",
                         "album_name": f"album {artist[track]} {track % 3}"}
                        for place, track in enumerate(rng.permutation(listed))
                    ],
                }
            )  # fmt: skip
        path = Path(folder) / f"mpd.slice.{first}-{first + len(rows) - 1}.json"
        path.write_text(json.dumps({"info": {}, "playlists": rows}))


def _zipf(rng: Any, count: int, size: int) -> Any:
    """Return ``size`` numbers below ``count``, the n-th as often as 1 / (n + 10)."""
    import numpy as np

    share = 1 / (np.arange(count) + 10)
    return rng.choice(count, size, p=share / share.sum())


if __name__ == "__main__":
    run(NAME, __doc__, measure, playlists=(int, f"how many, instead of {PLAYLISTS:,}"))
