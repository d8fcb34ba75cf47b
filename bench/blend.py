"""One list for 2, 5 and 20 people: how satisfied the least satisfied of them is, beside lists made by turns.

2,000 users of a drawn world, 2,000 playlists of the Million Playlist Dataset, each taken for a user, and HetRec-2011
(``SPOTIFY_DAG_TEST_DATA``). The factors are learned from four fifths of the users. Groups are drawn from the others.
One half of the items of each is shown, the other half is hidden. Satisfaction is the share of somebody's listening
whose artists are in the list, beside the best list of as many tracks for them alone. It is measured on the hidden half,
and again by what the model itself expects. *hits* are hidden tracks in the list.

Two other lists are made by turns: of everybody's top tracks, and of the best new tracks by the same factors. HetRec
knows artists and plays alone: each artist is taken for a track. There half of the artists are hidden, as half of the
tracks elsewhere, and in another row half of the plays of each.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.measure import console, in_fresh_process, print_others, print_table, run

if TYPE_CHECKING:
    import numpy as np

    from spotify_dag.tracks.candidates import FirstStage
    from spotify_dag.tracks.listeners import Listener

NAME = "blend"
USERS, QUICK = 2_000, 300
FEWEST_ITEMS = 20
SIZES, GROUPS, QUICK_GROUPS = (2, 5, 20), 60, 6
TRACKS, KNOWN = 50, 0.5
TEST_DATA = Path(os.environ.get("SPOTIFY_DAG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users, groups = (QUICK, QUICK_GROUPS) if quick else (USERS, GROUPS)
    report: dict[str, Any] = {}
    costs = {}
    for name, (source, options, hides) in _worlds(users).items():
        if "path" in options and not Path(options["path"]).exists():
            console.print(f"{name} is left out: {options['path']} is not there. Set SPOTIFY_DAG_TEST_DATA.")
            continue
        report[name], costs[name] = in_fresh_process(measure_world, source, options, hides, users, groups)
        rows = [
            [f"{size} people, {what}", *(f"{row[column]:.3f}" for column in COLUMNS), f"{row['milliseconds']:.0f}"]
            for size, of_size in report[name].items()
            for what, row in of_size.items()
        ]
        print_table(name, ["", *COLUMNS, "ms"], rows)
        for size, of_size in report[name].items():
            turns = of_size["top tracks by turns"]
            for way in ("blend", "blend, any share known"):
                ratios = (f"{column} {of_size[way][column] / max(turns[column], 1e-9):.2f}" for column in COLUMNS[:4])
                console.print(f"{size} people, {way} beside top tracks by turns: {', '.join(ratios)}")
    print_others(costs)
    return {"worlds": report, "cost": {name: asdict(cost) for name, cost in costs.items()}}


COLUMNS = ("least", "mean", "least, expected", "mean, expected", "hits, least", "hits, mean")


Hides = Literal["items", "plays"]


def _worlds(users: int) -> dict[str, tuple[str, dict[str, Any], Hides]]:
    # Not seed 0: what a further track of an artist adds was chosen on that world.
    drawn = {"users": users, "playlists": 5, "tracks": 50, "seed": 1}
    mpd, hetrec = {"path": str(TEST_DATA / "mpd-part")}, {"path": str(TEST_DATA / "hetrec2011-lastfm-2k")}
    return {
        "drawn world": ("synthetic", drawn, "items"),
        "mpd-part": ("mpd", mpd, "items"),
        "HetRec-2011, half of the artists hidden": ("lastfm", hetrec, "items"),
        "HetRec-2011, half of the plays hidden": ("lastfm", hetrec, "plays"),
    }


def measure_world(source: str, options: dict[str, Any], hides: Hides, users: int, groups: int) -> dict[int, Any]:
    """Return for each size of group and each way of making a list the means over groups of `COLUMNS`."""
    import numpy as np

    from spotify_dag.tracks.blend import Limit, blend, interleaved
    from spotify_dag.tracks.blend_candidates import pool_of
    from spotify_dag.tracks.listeners import Listener

    stage, shown, hidden = _halves(source, options, hides, users)
    artist, rng, none = stage.tracks.artist, np.random.default_rng(1), np.zeros(0, np.int64)
    report: dict[int, Any] = {}
    for size in SIZES:
        rows: dict[str, list[tuple[float, ...]]] = {}
        for _ in range(groups):
            group = rng.choice(len(shown), size, replace=False).tolist()
            people = [Listener.of_tracks(f"{user:06}", shown[user][0], shown[user][1], stage) for user in group]
            judged = Judge(stage, people, [hidden[user] for user in group])
            begun = time.perf_counter()
            pool = pool_of(stage, people, without_songs=none, without_artists=none)
            made = pool.tracks[blend(pool.candidates, Limit(TRACKS, known=KNOWN)).chosen]
            took = (time.perf_counter() - begun) * 1e3
            free = pool.tracks[blend(pool.candidates, Limit(TRACKS)).chosen]
            top = interleaved([person.tracks for person in people], TRACKS)
            new = interleaved([_new(stage, person, artist) for person in people], TRACKS)
            lists = {"blend": (made, took), "blend, any share known": (free, 0.0)}
            lists |= {"top tracks by turns": (top, 0.0), "new tracks by turns": (new, 0.0)}
            for name, (tracks, milliseconds) in lists.items():
                rows.setdefault(name, []).append((*judged(tracks), milliseconds))
        report[size] = {
            name: dict(zip((*COLUMNS, "milliseconds"), np.mean(values, axis=0).tolist(), strict=True))
            for name, values in rows.items()
        }
        slowest = float(np.quantile([row[-1] for row in rows["blend"]], 0.95))
        console.print(f"{source}, {size} people: p95 {slowest:.0f} ms, {len(artist):,} tracks")
    return report


class Judge:
    """What lists are worth to some people: by what is hidden of them, and by what the model expects.

    Parameters
    ----------
    stage
        The catalogue and the factors.
    people
        By what is shown of them.
    hidden
        Tracks and plays that are not shown, one pair per person.
    """

    def __init__(self, stage: FirstStage, people: list[Listener], hidden: list[tuple[np.ndarray, np.ndarray]]) -> None:
        import numpy as np

        self.artist, self.hidden = stage.tracks.artist, hidden
        count = int(self.artist.max()) + 1
        heard = np.stack([np.bincount(self.artist[tracks], plays, count) / plays.sum() for tracks, plays in hidden])
        factors = (person.factors(stage.ials, self.artist) for person in people)
        expected = [person.liking(stage.ials, row) for person, row in zip(people, factors, strict=True)]
        self.shares = [heard, np.stack(expected)]

    def __call__(self, tracks: np.ndarray) -> tuple[float, ...]:
        """Return `COLUMNS` of a list."""
        import numpy as np

        artists = np.unique(self.artist[tracks])
        found: list[float] = []
        for shares in self.shares:
            best = -np.sort(-shares, axis=1)[:, :TRACKS].sum(axis=1)
            satisfied = shares[:, artists].sum(axis=1) / np.maximum(best, 1e-12)
            found += [float(satisfied.min()), float(satisfied.mean())]
        hits = [float(np.isin(tracks, own).sum()) for own, _ in self.hidden]
        return (*found, min(hits), sum(hits) / len(hits))


def _new(stage: FirstStage, person: Listener, artist: np.ndarray) -> np.ndarray:
    """Return the tracks that the factors name first for somebody, of those they do not have."""
    import numpy as np

    scores = stage.ials.tracks @ person.factors(stage.ials, artist)
    scores[person.tracks] = -np.inf
    return np.argsort(-scores, kind="stable")[:500]


Half = tuple["np.ndarray", "np.ndarray"]


def _halves(
    source: str, options: dict[str, Any], hides: Hides, users: int
) -> tuple[FirstStage, list[Half], list[Half]]:
    """Return the catalogue with factors of four fifths of the users, and two halves of each of the others."""
    import numpy as np

    from spotify_dag.tracks.candidates import FirstStage

    listened, artist = _listening(source, options)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(listened))[:users]
    held = len(order) // 5
    halves: tuple[list[Half], list[Half]] = ([], [])
    for user in order[:held].tolist():
        tracks, plays = listened[user]
        if hides == "plays":
            part = rng.binomial(plays.astype(np.int64), 0.5)
        else:
            part = plays * rng.permutation(np.arange(len(plays)) < len(plays) // 2)
        for half, own in zip(halves, (part, plays - part), strict=True):
            half.append((tracks[own > 0], own[own > 0].astype(float)))
    tracks_, playlists = _arrays([listened[user][0] for user in order[held:].tolist()], artist)
    return FirstStage.learn(tracks_, playlists), *halves


def _listening(source: str, options: dict[str, Any]) -> tuple[list[Half], np.ndarray]:
    """Return the items of each user with plays or mentions, and the artist of every item."""
    import polars as pl

    from spotify_dag.features.genres import artist_key
    from spotify_dag.settings import Settings
    from spotify_dag.sources import open_source
    from spotify_dag.tracks.catalogue_rows import track_identity

    items = pl.concat([batch.records for batch in open_source(source, options, Settings()).batches()])
    key = artist_key(pl.col("artist_name")).alias("artist_key")
    item = pl.when(pl.col("track_name").is_null()).then(key).otherwise(track_identity()).alias("item")
    plays = pl.col("plays").fill_null(1).cast(pl.Float64).sum()
    counted = items.group_by("user_id", item, key).agg(plays).sort("user_id", "item")
    counted = counted.unique(["user_id", "item"], keep="first", maintain_order=True)
    every = counted.group_by("item").agg(pl.col("artist_key").min()).sort("item")
    numbered = counted.join(
        every.select("item", pl.int_range(pl.len()).alias("number")), on="item", maintain_order="left"
    )
    users = numbered.partition_by("user_id", maintain_order=True)
    listened = [(rows["number"].to_numpy(), rows["plays"].to_numpy()) for rows in users if rows.height >= FEWEST_ITEMS]
    return listened, every.select(pl.col("artist_key").rank("dense") - 1).to_series().cast(pl.Int64).to_numpy()


def _arrays(lists: list[np.ndarray], artist: np.ndarray) -> tuple[Any, Any]:
    import numpy as np
    from scipy.sparse import csr_matrix

    from spotify_dag.features.audio import SCALED
    from spotify_dag.tracks.track_arrays import Playlists, Tracks

    count = len(artist)
    unknown = np.full(count, np.nan, np.float32)
    tracks = Tracks(
        artist=artist, album=np.full(count, -1), song=np.arange(count), year=unknown, popularity=unknown,
        audio=np.full((count, len(SCALED)), np.nan, np.float32), genres=csr_matrix((count, 1), dtype=np.float32),
        genre_text=np.zeros((1, 8), np.float32), text=np.zeros((count, 8), np.float32),
    )  # fmt: skip
    return tracks, Playlists(
        indptr=np.cumsum([0, *map(len, lists)]), indices=np.concatenate(lists).astype(np.int32),
        title=np.full(len(lists), -1, np.int32), title_vectors=np.zeros((0, 8), np.float32),
        titles=np.array([], object), moods=np.zeros((0, len(SCALED)), np.float32),
    )  # fmt: skip


if __name__ == "__main__":
    run(NAME, __doc__, measure)
