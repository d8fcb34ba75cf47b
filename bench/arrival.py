"""10 new users on a small base and on a large one: what it costs, and where the time goes.

The bases are generated worlds whose tables and index are made by the real stages; the tower is trained on a few hundred
users, as how good it is costs nothing here. On each base 10 users are handed in and brought as far as the user index in
a warm process, through Dagster, three times; the median counts.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.measure import console, in_fresh_process, print_others, print_table, run
from bench.pipeline import register_world, run_stages

NAME = "arrival"
BASES, QUICK_BASES = (1_000, 100_000), (300, 3_000)
PLAYLISTS, TRACKS = 5, 50
NEW_USERS, REPEATS = 10, 3
TRAIN_USERS = 500
LIMIT = 1.5


def measure(quick: bool, bases: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    results: dict[str, Any] = {"bases": {}}
    costs = {}
    for users in QUICK_BASES if quick else BASES:
        with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
            root = Path(folder) / "data"
            if bases is None:
                in_fresh_process(build, root, users)
            else:
                kept = bases / f"{users}"
                if not kept.exists():
                    in_fresh_process(build, kept, users)
                shutil.copytree(kept, root)
            measured, costs[f"{users:,} users"] = in_fresh_process(arrive, root)
        results["bases"][users] = measured
    small, large = results["bases"].values()
    results["ratio"] = large["seconds"] / small["seconds"]
    results["within_limit"] = results["ratio"] <= LIMIT
    stages = sorted({stage for base in results["bases"].values() for stage in base["stages"]})
    print_table(
        f"Seconds for {NEW_USERS} new users, median of {REPEATS}",
        ("Part", *(f"{users:,} users" for users in results["bases"])),
        [
            *(
                (stage, *(f"{base['stages'].get(stage, 0):.2f}" for base in results["bases"].values()))
                for stage in stages
            ),
            ("all", *(f"{base['seconds']:.2f}" for base in results["bases"].values())),
        ],
    )
    verdict = "PASS" if results["within_limit"] else "OVER THE LIMIT"
    console.print(f"[bold]{verdict}[/]: {results['ratio']:.2f} times as much on the large base, limit {LIMIT}")
    print_others(costs)
    return results


def build(root: Path, users: int) -> None:
    """Make a base."""
    import os

    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    register_world(root, users, PLAYLISTS, TRACKS)
    run_stages(root, "index")


def arrive(root: Path) -> dict[str, Any]:
    """Hand users in and bring them into the index, `REPEATS` times after one that warms up; return the seconds."""
    import os

    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    project = Project.open(Settings(data=root))
    definitions = build_definitions(settings=project.settings)
    runs: list[dict[str, Any]] = []
    with open_instance(project) as instance:
        for repeat in range(REPEATS + 1):
            hand_in(project, repeat)
            begun = time.monotonic()
            steps: dict[str, float] = {}
            known = {run.run_id for run in instance.get_runs()}
            for stage in bring_up_to_date(project, definitions, instance):
                steps[stage.stage] = stage.seconds
            seconds = time.monotonic() - begun
            steps["looking for what is stale"] = seconds - sum(steps.values())
            for run in instance.get_runs():
                if run.run_id not in known:
                    for step in instance.get_run_step_stats(run.run_id):
                        name = f"  {step.step_key}"
                        steps[name] = steps.get(name, 0) + (step.end_time or 0) - (step.start_time or 0)
            runs.append({"seconds": seconds, "stages": steps})
    measured = runs[1:]
    names = {name for run in measured for name in run["stages"]}
    return {
        "seconds": statistics.median(run["seconds"] for run in measured),
        "stages": {name: statistics.median(run["stages"].get(name, 0) for run in measured) for name in names},
    }


def hand_in(project: Any, repeat: int) -> None:
    """Hand in users who listen to what somebody in the base listens to."""
    import polars as pl

    from spotify_dag.schemas import RAW_PLAYLISTS
    from spotify_dag.sources.base import RECORD_COLUMNS, no_rejects
    from spotify_dag.sources.export.kept import kept_frame

    rows = project.lake.scan(RAW_PLAYLISTS, [repeat]).select(RECORD_COLUMNS).collect()
    listeners = rows["user_id"].unique().sort().head(NEW_USERS).to_list()
    for number in range(NEW_USERS):
        user = f"export-new-{repeat}-{number}"
        # A small base has few users in a bucket: one may be the model of several.
        records = rows.filter(pl.col("user_id") == listeners[number % len(listeners)])
        records = records.with_columns(pl.lit(user).alias("user_id"))
        project.inbox.requests.hand_in("export", user, [kept_frame(records, no_rejects())], opted_in=True)
    project.inbox.requests.sweep()


if __name__ == "__main__":
    run(NAME, __doc__, measure, bases=(Path, "folder in which bases are kept for the next time, and copied from"))
