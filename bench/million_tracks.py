"""1,000,000 tracks: from playlists to a searchable catalogue, 100 tracks more, and how long a search takes.

Playlists, titles and artists are drawn: titles of one to five words of a vocabulary of 60,000 that follows Zipf's
law, and 100,000 artists, so that almost every title has to be encoded. Reading the source is not measured here.
``--world PATH`` keeps the data root, and finds it there the next time: it is then only added to and searched.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import in_fresh_process, print_others, print_table, run

NAME = "million_tracks"
TRACKS, QUICK = 1_000_000, 30_000
ADDED = 100
PER_PLAYLIST = 50
LISTED = 1.5
"""Playlist items per track."""
QUERIES = 200


def measure(quick: bool, world: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    tracks = QUICK if quick else TRACKS
    results: dict[str, Any] = {"tracks": tracks}
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        root = str(world or folder)
        if not (Path(root) / "lake").exists():
            in_fresh_process(prepare, root, tracks)
            results["build"], costs["build"] = in_fresh_process(bring_up_to_date, root)
        for name, imported in (("add", True), ("add_cold", False)):
            in_fresh_process(add, root, ADDED)
            results[name], costs[name] = in_fresh_process(bring_up_to_date, root, imported)
        results["search_ms"], costs["search"] = in_fresh_process(search, root, QUERIES)
    labels = {
        "build": "catalogue, vectors, index, model",
        "add": f"{ADDED} tracks more, as runs of the daemon start",
        "add_cold": f"{ADDED} tracks more, libraries still to be imported",
    }
    rows = [
        *([labels[name], f"{results[name]['seconds']:,.1f} s", f"{costs[name].peak_gib:.1f} GiB"]
          for name in labels if name in results),
        *([f"search: {kind}", f"p50 {p50:.1f} ms", f"p95 {p95:.1f} ms"]
          for kind, (p50, p95) in results["search_ms"].items()),
    ]  # fmt: skip
    print_table(f"{tracks:,} tracks", ["", "time", ""], rows)
    print_others(costs)
    return {**results, "costs": {name: asdict(cost) for name, cost in costs.items()}}


def prepare(folder: str, tracks: int) -> None:
    """Write the playlists of a catalogue into the lake of a new data root."""
    import numpy as np

    rng = np.random.default_rng(0)
    listed = np.concatenate([rng.permutation(tracks), rng.zipf(1.3, int((LISTED - 1) * tracks)) % tracks])
    _write(folder, rng.permutation(listed), first_playlist=0)


def add(folder: str, count: int) -> None:
    """Write a few more playlists: every other track was never seen, the others are those of playlists before."""
    import numpy as np

    known = _tracks(_project(folder))
    new = 10**8 + known + np.arange(count)
    old = np.random.default_rng(known).permutation(min(known, TRACKS))[:count]
    _write(folder, np.column_stack([new, old]).ravel(), first_playlist=int(new[0]))


def bring_up_to_date(folder: str, imported: bool = False) -> dict[str, float]:
    """Run the stage of the tracks; return its seconds, whole and by asset.

    Runs of the daemon are forked from a process that has ``imported`` everything; `spotify-dag run` begins without.
    """
    from spotify_dag.definitions import build_definitions

    if imported:
        import spotify_dag.preloaded  # noqa: F401
    project = _project(folder)
    definitions = build_definitions(settings=project.settings)
    before = _tracks(project)
    begun = time.monotonic()
    result = definitions.resolve_job_def("tracks").execute_in_process(
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    )
    seconds = time.monotonic() - begun
    steps = {event.step_key: event for event in result.all_events if event.event_type_value == "STEP_SUCCESS"}
    by_asset = {name: event.step_success_data.duration_ms / 1e3 for name, event in steps.items() if name}
    assert _tracks(project) > before, "no track was new"
    return {"seconds": seconds, **by_asset}


def search(folder: str, count: int) -> dict[str, tuple[float, float]]:
    """Return p50 and p95 in ms of warm queries of each kind."""
    import numpy as np

    from spotify_dag.schemas import TRACK_CATALOGUE
    from spotify_dag.tracks.track_evaluation import known_item_queries

    project = _project(folder)
    answers = project.track_answers
    tracks = project.lake.scan(TRACK_CATALOGUE).collect()
    kinds = {**known_item_queries(tracks, count, seed=1), "meaning": [("a song about the rain at night", "")] * count}
    project.encoder.encode(["warm"])
    found = {}
    for kind, queries in kinds.items():
        for text, _ in queries[:20]:
            answers.search(text)
        times = []
        for text, _ in queries:
            begun = time.perf_counter()
            answers.search(text)
            times.append((time.perf_counter() - begun) * 1e3)
        found[kind] = (float(np.median(times)), float(np.quantile(times, 0.95)))
    return found


def _write(folder: str, listed: Any, first_playlist: int) -> None:
    import numpy as np
    import polars as pl

    from spotify_dag.schemas import RAW_PLAYLISTS, USERS, user_buckets

    rng = np.random.default_rng(1)
    syllables = [a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "el", "is", "or", "un")]
    words = np.array(["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(60_000)])
    # Everything about a track follows from its number, whichever playlist it is in.
    draw = np.random.default_rng(2).integers(0, 2**31, (1 << 20, 8))[listed % (1 << 20)]
    draw = draw ^ (listed[:, None] * 2_654_435_761 % 2**31)

    def word(column: int) -> Any:
        # Zipf's law, by its inverse.
        return words[(len(words) ** (draw[:, column] / 2**31)).astype(int) - 1]

    title = pl.concat_list(pl.Series(word(column)) for column in range(5))
    artist = draw[:, 6] % 100_000
    playlist = first_playlist + np.arange(len(listed)) // PER_PLAYLIST
    frame = pl.DataFrame({"track": listed, "playlist": playlist, "length": draw[:, 5] % 5 + 1}).with_columns(
        pl.format("track-{}", "track").alias("track_id"),
        pl.select(title.alias("title")).to_series(),
        pl.format("user-{}", "playlist").alias("user_id"),
        pl.format("{} {}", pl.Series(words[artist % 60_000]), pl.Series(words[artist // 7])).alias("artist_name"),
        pl.Series("popularity", draw[:, 7] % 101, dtype=pl.Float32),
        pl.lit("mpd").alias("source"),
        pl.lit(datetime.now(UTC)).alias("fetched_at"),
        (pl.int_range(pl.len(), dtype=pl.Int32) % PER_PLAYLIST).alias("position"),
    )
    users = frame.select("user_id").unique(maintain_order=True)["user_id"]
    project = _project(folder)
    buckets = pl.DataFrame({"user_id": users, "user_bucket": user_buckets(users.to_list(), project.lake.n_buckets)})
    rows = frame.join(buckets.cast({"user_bucket": pl.Int32}), on="user_id", maintain_order="left").with_columns(
        pl.col("title").list.head(pl.col("length")).list.join(" ").alias("track_name"),
        pl.col("user_id").alias("playlist_id"),
        pl.col("title").list.first().alias("playlist_name"),
        pl.lit(0, pl.Int32).alias("playlist_position"),
    )
    project.lake.append(RAW_PLAYLISTS, rows)
    everybody = rows.group_by("user_id").agg(
        pl.col("user_bucket", "source", "fetched_at").first(),
        pl.len().cast(pl.Int32).alias("rows_kept"),
        pl.col("track").sum().alias("content_hash"),
        pl.lit(False).alias("opted_in"),
    )
    project.lake.append(USERS, everybody)


def _tracks(project: Any) -> int:
    import polars as pl

    from spotify_dag.schemas import TRACK_CATALOGUE

    return int(project.lake.scan(TRACK_CATALOGUE).select(pl.len()).collect().item())


def _project(folder: str) -> Any:
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    return Project.open(Settings(data=Path(folder)))


if __name__ == "__main__":
    run(NAME, __doc__, measure, world=(Path, "a data root to keep, or one that was kept before"))
