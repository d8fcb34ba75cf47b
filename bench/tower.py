"""Training a tower: how long it takes, how much memory, and what the time goes to.

HetRec-2011 (``SPOTIFY_DAG_TEST_DATA``), and 100,000 synthetic users with every one of them trained on. The graph brings
both as far as user embeddings; from there each part runs in a process of its own. The profile is one of a few epochs of
the same training; it makes what is not a matrix product a little larger than it is.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.measure import console, in_fresh_process, print_others, print_table, run
from bench.pipeline import register, run_stages

NAME = "tower"
USERS, QUICK_USERS = 100_000, 5_000
PLAYLISTS, TRACKS = 5, 50
"""Playlists per user, mean tracks per playlist."""
LIMIT_SECONDS = {"hetrec": 120, "synthetic": 900}
LIMIT_GIB = 8.0
PROFILED_EPOCHS = 3
MATRIX_PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
TEST_DATA = Path(os.environ.get("SPOTIFY_DAG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    worlds: dict[str, tuple[str, dict[str, Any], Path | None]]
    worlds = {"synthetic": ("synthetic", {"users": users, "playlists": PLAYLISTS, "tracks": TRACKS}, None)}
    hetrec, genres = TEST_DATA / "hetrec2011-lastfm-2k", TEST_DATA / "artist-genres" / "artist_genres.parquet"
    if hetrec.is_dir() and genres.is_file():
        worlds = {"hetrec": ("lastfm", {"path": str(hetrec)}, genres), **worlds}
    else:
        console.print(f"HetRec-2011 is left out: {hetrec} or {genres} is not there. Set SPOTIFY_DAG_TEST_DATA.")
    return {name: measure_world(name, world, users) for name, world in worlds.items()}


def measure_world(name: str, world: tuple[str, dict[str, Any], Path | None], train_users: int) -> dict[str, Any]:
    """Return the figures of one world (source, its options, artist-genre table), after printing them."""
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        console.print(f"{name}: making user embeddings …")
        in_fresh_process(register, root, *world)
        in_fresh_process(run_stages, root, "features")
        console.print(f"{name}: training …")
        trained, cost = in_fresh_process(train, root, train_users)
        console.print(f"{name}: profiling {PROFILED_EPOCHS} epochs …")
        profiled, profile_cost = in_fresh_process(profile, root, train_users)
    limit = LIMIT_SECONDS[name]
    results = {
        **trained,
        "limit_seconds": limit,
        "limit_gib": LIMIT_GIB,
        "within_limits": trained["seconds"] <= limit and cost.peak_gib <= LIMIT_GIB,
        "process": asdict(cost),
        "profile": profiled,
    }
    print_table(
        f"{name}: training on {trained['users']:,} users",
        ("What", "Seconds"),
        [(what, f"{seconds:,.1f}") for what, seconds in trained["parts"].items()],
    )
    verdict = "PASS" if results["within_limits"] else "OVER THE LIMIT"
    console.print(
        f"[bold]{verdict}[/]: {trained['seconds']:.0f} s of {limit} s, peak {cost.peak_gib:.2f} GiB of "
        f"{LIMIT_GIB:.0f} GiB, validation MRR {trained['mrr']:.3f}\n"
        f"Of an epoch, {profiled['outside_matrix_products']:.0%} is not matrix products of torch: "
        f"{profiled['other_operators']:.0%} its other operators, {profiled['outside_torch']:.0%} outside of torch "
        "(taking the rows of a batch, asking the validation users)."
    )
    print_table(
        "The most expensive operators",
        ("Operator", "Share of an epoch"),
        [(operator, f"{share:.1%}") for operator, share in profiled["operators"].items()],
    )
    print_others({"training": cost, "profile": profile_cost})
    return results


def train(root: Path, train_users: int) -> dict[str, Any]:
    """Train from the stored features as the graph does, but on held-out users too; return seconds and MRR."""
    import numpy as np

    from spotify_dag.tower.training import train_tower

    begun = time.monotonic()
    data, settings, seconds = _from_features(root, train_users)
    ends: list[float] = []
    start = time.monotonic()
    trained = train_tower(data, settings, lambda _: ends.append(time.monotonic()))
    end = time.monotonic()
    epoch = float(np.diff(ends).mean())
    seconds["factors, part map and anchor"] = ends[0] - epoch - start
    seconds[f"{len(ends)} epochs"] = ends[-1] - ends[0] + epoch
    seconds["mix, components and scale of scores"] = end - ends[-1]
    return {"users": len(data), "mrr": trained.metrics["validation_mrr"], "seconds": end - begun, "parts": seconds}


def profile(root: Path, train_users: int) -> dict[str, Any]:
    """Train a few epochs under torch's profiler; return shares of their time, 0 to 1.

    The profiler starts with the end of the first epoch, so nothing that happens once is in it.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    from spotify_dag.tower.training import train_tower

    data, settings, _ = _from_features(root, train_users)
    profiler = torch_profile(activities=[ProfilerActivity.CPU])
    moments: list[float] = []

    def watch(entry: dict[str, float]) -> None:
        if entry["epoch"] == 0 and not moments:
            profiler.start()
            moments.append(time.monotonic())
        elif entry["epoch"] == PROFILED_EPOCHS:
            moments.append(time.monotonic())
            profiler.stop()

    train_tower(data, replace(settings, epochs=PROFILED_EPOCHS + 1), watch)
    total = moments[1] - moments[0]
    # One thread computes, but the backward pass is another's: both never at the same time, so shares add up.
    share = {event.key: event.self_cpu_time_total / 1e6 / total for event in profiler.key_averages()}
    products = sum(share.get(name, 0.0) for name in MATRIX_PRODUCTS)
    in_torch = sum(share.values())
    costly = sorted(share, key=lambda name: -share[name])[:8]
    return {
        "epochs": PROFILED_EPOCHS,
        "seconds": total,
        "outside_matrix_products": 1 - products,
        "other_operators": in_torch - products,
        "outside_torch": 1 - in_torch,
        "operators": {name: share[name] for name in costly},
    }


def _from_features(root: Path, train_users: int) -> tuple[Any, Any, dict[str, float]]:
    """Return users with their halves, how to train, and the seconds that reading and halving took."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings
    from spotify_dag.tower.hyperparameters import halvings
    from spotify_dag.training_data.listening import training_users
    from spotify_dag.training_data.training_settings import load_training_settings

    project = Project.open(Settings(data=root, train_users=train_users))
    begun = time.monotonic()
    users = training_users(project)
    read = time.monotonic()
    data = users.halved(halvings(users.users.height), seed=project.settings.seed)
    seconds = {"read the lake": read - begun, "halve and embed": time.monotonic() - read}
    return data, load_training_settings(project), seconds


if __name__ == "__main__":
    run(NAME, __doc__, measure)
