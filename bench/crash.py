"""An incremental load that is killed at random moments, and made again each time, ends as an undisturbed one.

1,000 users are handed in on a small base. ``spotify-dag run`` takes them in; its whole process group gets SIGKILL at a
random moment, and it is started again, until 30 kills were survived. Whenever a load gets to its end, tables and index
are compared with those of an undisturbed load, and it begins anew. Before that, 8 processes add users, read them again,
forget them, run, and ask for matches, all at once; nobody may be lost, be there twice, come back or hear of an error.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.measure import console, run
from spotify_dag.root import Root
from spotify_dag.settings import data_root

NAME = "crash"
BASE_USERS = 200
NEW_USERS, QUICK_NEW_USERS = 1_000, 60
KILLS, QUICK_KILLS = 30, 4
ROLES = ("add", "add", "run", "run", "refresh", "forget", "ask", "ask")
MUST_BE_NONE = ("lost", "twice", "came_back", "still_named", "left_over", "errors")
SECONDS, QUICK_SECONDS = 60, 25
COMMAND = [sys.executable, "-m", "spotify_dag"]
ENVIRONMENT = {**os.environ, "SPOTIFY_DAG_TRAIN_USERS": str(BASE_USERS), "COLUMNS": "200"}


def measure(quick: bool, root: str | None) -> dict[str, Any]:
    """Measure, print and return the figures; on a root in object storage those of the crowd alone."""
    world = ["--source", "synthetic", "--users", str(BASE_USERS), "--playlists", "3", "--tracks", "20"]
    if root is not None:
        spotify_dag(data_root(root), "run", *world)
        crowd = crowded(data_root(root), QUICK_SECONDS if quick else SECONDS)
        console.print_json(json.dumps({"crowd": crowd}))
        passed = not any(crowd[what] for what in MUST_BE_NONE)
        console.print(f"[bold]{'PASS' if passed else 'FAIL'}[/]")
        return {"crowd": crowd, "passed": passed}
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        base = Path(folder) / "base"
        spotify_dag(base, "run", *world)
        crowd = crowded(shutil.copytree(base, Path(folder) / "crowd"), QUICK_SECONDS if quick else SECONDS)
        hand_in(base, "load", QUICK_NEW_USERS if quick else NEW_USERS)
        killed = survive(base, Path(folder), QUICK_KILLS if quick else KILLS)
    console.print_json(json.dumps({"killed": killed, "crowd": crowd}))
    passed = not any([*(killed[what] for what in ("differing", "left_over")), *(crowd[what] for what in MUST_BE_NONE)])
    console.print(f"[bold]{'PASS' if passed else 'FAIL'}[/]")
    return {"killed": killed, "crowd": crowd, "passed": passed}


def survive(base: Path, folder: Path, kills: int) -> dict[str, Any]:
    """Load users with kills until there were enough; return what differs from an undisturbed load, and what is left."""
    calm = shutil.copytree(base, folder / "calm")
    begun = time.monotonic()
    spotify_dag(calm, "run")
    seconds = time.monotonic() - begun
    expected = content(calm)
    drawn = random.Random(7)
    found: dict[str, Any] = {"calm_seconds": seconds, "kills": 0, "loads": 0, "differing": [], "left_over": []}
    while found["kills"] < kills:
        rough = shutil.copytree(base, folder / "rough")
        while not run_killed(rough, drawn.uniform(0.5, seconds)):
            found["kills"] += 1
            if found["kills"] >= kills:
                spotify_dag(rough, "run")
                break
        found["loads"] += 1
        found["differing"] += [name for name, frame in content(rough).items() if not same(frame, expected[name])]
        found["left_over"] += left_over(rough)
        shutil.rmtree(rough)
        console.print(f"{found['kills']} kills in {found['loads']} loads")
    return found


def run_killed(root: Root, seconds: float) -> bool:
    """Start a run and kill its process group after some seconds; return whether it was at its end before."""
    process = subprocess.Popen(
        [*COMMAND, "--data", str(root), "run"], env=ENVIRONMENT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def crowded(root: Root, seconds: float) -> dict[str, Any]:
    """Let 8 processes add users, bring the graph up to date, and ask, all at once; return what went wrong."""
    until = time.time() + seconds
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.crash_worker", str(root), role, str(number), str(until)],
            env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number, role in enumerate(ROLES)
    ]  # fmt: skip
    told = [worker.communicate() for worker in workers]
    errors = [err.strip().splitlines()[-1] for worker, (_, err) in zip(workers, told, strict=True) if worker.returncode]
    done: dict[str, list[str]] = {}
    for what, value in (line.split() for out, _ in told for line in out.splitlines()):
        done.setdefault(what, []).append(value)
    spotify_dag(root, "run")
    made = content(root)
    users, index = made["users"]["user_id"], made["user_index"]["user_id"]
    added, forgotten = set(done.get("added", [])), set(done.get("forgot", []))
    base = {f"synthetic-{number:06d}" for number in range(BASE_USERS)}
    return {
        "added": len(added),
        "forgotten": len(forgotten),
        "refreshed_buckets": sum(map(int, done.get("refreshed", []))),
        "asked": sum(map(int, done.get("asked", []))),
        "runs": sum(map(int, done.get("ran", []))),
        "lost": len((added | base) - forgotten - set(users)) + len((added | base) - forgotten - set(index)),
        "twice": users.len() - users.n_unique() + index.len() - index.n_unique(),
        "came_back": len(forgotten & {*users, *index}),
        "still_named": still_named(root, forgotten),
        "left_over": left_over(root),
        "errors": errors,
    }


def still_named(root: Root, forgotten: set[str]) -> list[str]:
    """Return the files that name somebody who was forgotten."""
    from spotify_dag.lifecycle.find_mentions import find_mentions
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    return sorted({file for user in forgotten for file in find_mentions(project, user).counts})


def hand_in(root: Root, name: str, users: int) -> list[str]:
    """Hand in users who listen to what others in the base listen to; return their ids."""
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.schemas import RAW_PLAYLISTS
    from spotify_dag.settings import Settings
    from spotify_dag.sources.base import RECORD_COLUMNS, no_rejects
    from spotify_dag.sources.export.kept import kept_frame

    project = Project.open(Settings(data=root))
    rows = project.lake.scan(RAW_PLAYLISTS).select(RECORD_COLUMNS).collect()
    models = rows.partition_by("user_id", maintain_order=True)
    ids = [f"export-{name}-{number}" for number in range(users)]
    for number, user in enumerate(ids):
        records = models[number % len(models)].with_columns(pl.lit(user).alias("user_id"))
        project.inbox.requests.hand_in("export", user, [kept_frame(records, no_rejects())], opted_in=True)
    return ids


def content(root: Root) -> dict[str, Any]:
    """Return every keyed table and the index, without the time of reading."""
    from spotify_dag.project import Project
    from spotify_dag.schemas import TABLES
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    tables = {
        table.name: project.lake.scan(table).drop("fetched_at", strict=False).sort(table.key).collect()
        for table in TABLES
        if table.key
    }
    return {**tables, "user_index": project.matcher.index()[0].rows(with_vectors=True)}


def same(one: Any, other: Any) -> bool:
    """Return whether two frames are equal, vectors to five digits."""
    from polars.testing import assert_frame_equal

    try:
        assert_frame_equal(one, other, abs_tol=1e-5)
    except AssertionError:
        return False
    return True


def left_over(root: Root) -> list[str]:
    """Return temporary files, and files of tables that nobody needs, that housekeeping leaves.

    It takes for abandoned what is older than a day, so all files are made to be, and keeps what was replaced for
    readers for a while, so there are none; twice, as a log is cut at the checkpoint before.
    """
    from deltalake import DeltaTable

    from spotify_dag.files import paths_below
    from spotify_dag.lifecycle.housekeeping import tidy
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    long_ago = time.time() - 2 * 24 * 3600
    for _ in range(2):
        if isinstance(root, Path):
            for file in root.rglob("*"):
                os.utime(file, (long_ago, long_ago))
        tidy(Project.open(Settings(data=root)), timedelta(0))
    found = [file for file in paths_below(root) if file.name.startswith(".new-") or file.name.endswith((".tmp", "#1"))]
    for log in root.glob("lake/*/_delta_log"):
        # Also those that no log names, as killed writers leave them; and named are some that are deleted already.
        unneeded = DeltaTable(str(log.parent)).vacuum(0, dry_run=True, enforce_retention_duration=False, full=True)
        found += [log.parent / name for name in unneeded if (log.parent / name).exists()]
    return [str(file) for file in found]


def spotify_dag(root: Root, *arguments: str) -> None:
    """Run a command that has to succeed."""
    done = subprocess.run(
        [*COMMAND, "--data", str(root), *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"spotify-dag {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    run(NAME, __doc__, measure, root=(str, "an empty root in object storage: only the crowd is measured, there"))
