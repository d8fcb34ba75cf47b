"""From ``spotify-dag add`` to the user being found, under a warm ``spotify-dag up``: seconds, and where they go.

A small base, and everything that `up` starts by default. Users are handed in one after the other, each as a file with
the command, at moments that have nothing to do with the ticks of the sensors. The clock runs from the start of the
command until the published index has the user. One user more, first, is not counted: processes import what they need.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.app import exported
from bench.measure import console, in_fresh_process, print_table, run
from bench.pipeline import register_world, run_stages

NAME = "findable"
USERS, PLAYLISTS, TRACKS = 500, 5, 50
ADDS, QUICK_ADDS = 10, 2
LIMIT = 15.0
WAIT_SECONDS = 180.0
"""A user who is not there by then never comes."""
LOOK_SECONDS = 0.2
PAUSE_SECONDS = (2.0, 12.0)
COMMAND = [sys.executable, "-m", "spotify_dag"]


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        in_fresh_process(build, root)
        with running(root):
            adds, _ = in_fresh_process(add_all, root, QUICK_ADDS if quick else ADDS)
    parts = {name: statistics.median(add[name] for add in adds) for name in adds[0]}
    seconds = sorted(add["all"] for add in adds)
    print_table("Seconds, median", ("Part", "Seconds"), [(name, f"{value:.2f}") for name, value in parts.items()])
    console.print(f"All: {', '.join(f'{value:.1f}' for value in seconds)}")
    good = parts["all"] <= LIMIT
    console.print(f"[bold]{'PASS' if good else 'OVER THE LIMIT'}[/]: median {parts['all']:.1f} s, limit {LIMIT:.0f} s")
    return {"median": parts, "seconds": seconds, "within_limit": good}


def build(root: Path) -> None:
    """Make a base."""
    register_world(root, USERS, PLAYLISTS, TRACKS)
    run_stages(root, "index")


@contextmanager
def running(root: Path) -> Iterator[None]:
    """Run ``spotify-dag up`` on a data root, until it says that it watches."""
    ports = []
    with socket.socket() as one, socket.socket() as other, socket.socket() as third:
        for free in (one, other, third):
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    options = [word for pair in zip(("--port", "--app-port", "--simulator-port"), ports, strict=True) for word in pair]
    log = root.parent / f"{root.name}-up.log"
    with log.open("w") as printed:
        process = subprocess.Popen(
            [*COMMAND, "--data", str(root), "up", *options], stdout=printed, stderr=printed, env=environment()
        )
    try:
        until = time.monotonic() + WAIT_SECONDS
        while "watches, schedules" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"spotify-dag up did not start:\n{log.read_text()}")
            time.sleep(LOOK_SECONDS)
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT_SECONDS)
        log.unlink()


def environment() -> dict[str, str]:
    """Return the environment without the caller's settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SPOTIFY_DAG_", "DAGSTER_"))}


def add_all(root: Path, count: int) -> list[dict[str, float]]:
    """Add a user who is not counted, and some who are; return the seconds of each, part by part."""
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    drawn = random.Random(3)
    adds = []
    with open_instance(project) as instance:
        for number in range(-1, count):
            time.sleep(drawn.uniform(*PAUSE_SECONDS))
            adds.append(add_one(project, instance, number))
    return adds[1:]


def add_one(project: Any, instance: Any, number: int) -> dict[str, float]:
    """Add one user; return the seconds until they are found, all and by part."""
    import dagster as dg

    name = f"new-{number + 1}"
    user, file = f"export-{name}", project.settings.data.parent / f"{name}.csv"
    file.write_bytes(exported(number + 1))
    begun = time.time()
    subprocess.run(
        [*COMMAND, "--data", str(project.settings.data), "add", str(file), "--as", name],
        check=True, capture_output=True, env=environment(),
    )  # fmt: skip
    file.unlink()
    added = time.time()
    index = project.user_index(project.published())
    while not index.vectors([user]):
        if time.time() - begun > WAIT_SECONDS:
            raise RuntimeError(f"{user} was not found within {WAIT_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
    found = time.time()
    records = instance.fetch_observations(dg.AssetKey("known_users"), limit=1).records
    observed = records[0].timestamp
    (run,) = (
        record
        for record in instance.get_run_records(limit=5)
        if record.create_timestamp.timestamp() > observed and "raw_playlists" in str(record.dagster_run.asset_selection)
    )
    while not instance.get_run_by_id(run.dagster_run.run_id).is_finished:
        time.sleep(LOOK_SECONDS)
    steps = {step.step_key: step for step in instance.get_run_step_stats(run.dagster_run.run_id)}
    first = steps["raw_playlists"].start_time
    parts = {
        "the command": added - begun,
        "until a sensor sees the user": observed - added,
        "until a run is asked for": run.create_timestamp.timestamp() - observed,
        "until its first step": first - run.create_timestamp.timestamp(),
        "until found": found - first,
    }
    took = {f"  {key}": step.end_time - step.start_time for key, step in steps.items()}
    return {"all": found - begun, **parts, **took}


if __name__ == "__main__":
    run(NAME, __doc__, measure)
