"""64 buckets of 20,000 users split into 256: seconds, bytes, three kills, and no answer that changes meanwhile.

The world is generated and made by the real stages; the tower is trained on few users, as its quality is not measured.
``spotify-dag rebucket`` is killed three times (SIGKILL) and called again, while another process asks for matches, one
process after the other. Before and afterwards the same is asked: matches, continued playlists, searches, a blend. A run
afterwards must find nothing to do. Then somebody is added and somebody is forgotten. ``--world PATH`` splits a copy of
a data root that `make_world` made before.
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
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.measure import console, in_fresh_process, print_table, run
from bench.pipeline import register_world, run_stages

NAME = "rebucket"
USERS, QUICK_USERS = 20_000, 1_000
PLAYLISTS, TRACKS = 5, 50
TRAIN_USERS = 500
INTO = 256
KILLS = 3
ASKED = 40
"""Users whose ten matches are compared."""
SEARCHES = ("love", "rock from the nineties", "Radiohead")


def measure(quick: bool, world: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder) / "data"
        if world is None:
            in_fresh_process(make_world, root, users)
        else:
            shutil.copytree(world, root)
        before, _ = in_fresh_process(answers, root)
        sizes = {"before": size(root)}
        with asked_meanwhile(root) as asking:
            killed_after = [killed(root, drawn) for drawn in _times(quick)]
            done, cost = in_fresh_process(split, root)
        sizes["both"] = size(root)
        after, _ = in_fresh_process(answers, root)
        placed, _ = in_fresh_process(users_astray, root)
        left = spotify_dag(root, "run", "--json")["materialised"]
        in_fresh_process(drop_what_is_left, root)
        sizes["afterwards"] = size(root)
        afterwards, _ = in_fresh_process(add_and_forget, root)
    results = {
        "users": users, "into": INTO, "killed_after_seconds": killed_after, "last_call": done,
        "peak_gib": cost.peak_gib, "mib": {name: round(count / 2**20, 1) for name, count in sizes.items()},
        "asked_meanwhile": asking, "answers_changed": sum(a != b for a, b in zip(before, after, strict=True)),
        "answers": len(before), "users_astray": placed, "stages_run_afterwards": left, **afterwards,
    }  # fmt: skip
    show(results)
    return results


def make_world(root: Path, users: int) -> None:
    """Make a data root of generated users, up to date."""
    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    register_world(root, users, PLAYLISTS, TRACKS)
    run_stages(root, "index")


def answers(root: Path) -> list[str]:
    """Return what is told of matches, continued playlists, searches and a blend, each as text."""
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.schemas import RAW_PLAYLISTS, USERS
    from spotify_dag.settings import Settings
    from spotify_dag.tracks.blend_answers import BlendWish
    from spotify_dag.tracks.track_answers import ContinueRequest

    project = Project.open(Settings(data=root))
    people = project.lake.scan(USERS).select("user_id").collect()["user_id"].sort().gather_every(97)[:ASKED].to_list()
    told: list[Any] = [[m.as_dict() for m in found] for found in project.matcher.recommend(people, 10)[1]]
    for user in people[:5]:
        items = project.lake.scan(RAW_PLAYLISTS).filter(pl.col("user_id") == user).sort("playlist_id", "position")
        seeds = items.select("track_id").head(3).collect()["track_id"].to_list()
        told.append(project.track_answers.continued(ContinueRequest(tracks=seeds, count=20)))
    told += [project.track_answers.search(text, 20) for text in SEARCHES]
    told.append(project.blends.blended(people[:5], BlendWish(tracks=20)))
    return [json.dumps(one, default=str) for one in told]


def users_astray(root: Path) -> int:
    """Return how many rows of tables and indexes are not in the bucket that the hash says."""
    from spotify_dag.project import Project
    from spotify_dag.schemas import TABLES, user_buckets
    from spotify_dag.settings import Settings

    project, astray = Project.open(Settings(data=root)), 0
    frames = [
        project.lake.scan(one).select("user_id", "user_bucket").drop_nulls().collect()
        for one in TABLES
        if {"user_id", "user_bucket"} <= set(one.column_names)
    ]
    for frame in [*frames, *(index.rows() for index in project.user_indexes())]:
        theirs = user_buckets(frame["user_id"].to_list(), INTO)
        astray += sum(own != right for own, right in zip(frame["user_bucket"], theirs, strict=True))
    return astray


def drop_what_is_left(root: Path) -> None:
    """Delete old versions and the tables before, as ``spotify-dag tidy`` does after a quarter of an hour."""
    from datetime import timedelta

    from spotify_dag.lifecycle.housekeeping import tidy
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    tidy(Project.open(Settings(data=root)), timedelta(0))


def split(root: Path) -> dict[str, Any]:
    """Call ``spotify-dag rebucket`` once more and return what it says."""
    return spotify_dag(root, "rebucket", INTO, "--json")


def killed(root: Path, seconds: float) -> float:
    """Call ``spotify-dag rebucket`` and kill it after some seconds of splitting; return them."""
    process = subprocess.Popen(_command(root, "rebucket", INTO), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()  # what will be done: it begins now
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return seconds


def _times(quick: bool) -> list[float]:
    drawn = random.Random(0)
    return [drawn.uniform(0.5, 2 if quick else 12) for _ in range(KILLS)]


@contextmanager
def asked_meanwhile(root: Path) -> Iterator[dict[str, int]]:
    """Have another process ask for matches all the time; the counts are there afterwards."""
    told: dict[str, int] = {}
    context = get_context("spawn")
    stop = context.Event()
    with context.Pool(1, _keep, (stop,)) as pool:
        asked = pool.apply_async(ask, (root,))
        try:
            yield told
        finally:
            stop.set()
            told.update(asked.get())


_stop: Any = None


def _keep(stop: Any) -> None:
    global _stop  # noqa: PLW0603
    _stop = stop


def ask(root: Path) -> dict[str, int]:
    """Ask for matches until told to stop, the data root opened anew each time; count answers and other ones."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    first, count, others = None, 0, 0
    while not _stop.is_set():
        project = Project.open(Settings(data=root))
        found = json.dumps([m.as_dict() for m in project.matcher.recommend(["synthetic-000007"], 10)[1][0]])
        first = first or found
        count, others = count + 1, others + (found != first)
    return {"answers": count, "other answers": others}


def add_and_forget(root: Path) -> dict[str, Any]:
    """Hand in somebody and bring the root up to date, then forget them and somebody else; return what is left."""
    file = root.parent / "new.csv"
    file.write_text("Track Name,Artist Name\n" + "".join(f"Song {n},Radiohead\n" for n in range(30)))
    spotify_dag(root, "add", file, "--as", "new", "--json")
    stages = [stage["stage"] for stage in spotify_dag(root, "run", "--json")["materialised"]]
    matches = spotify_dag(root, "recommend", "export-new", "--json")["matches"]
    mentions = 0
    for user in ("export-new", "synthetic-000011"):
        spotify_dag(root, "forget", user, "--json")
        mentions += spotify_dag(root, "forget", user, "--verify", "--json")["mentions"]
    return {"stages_for_somebody_new": stages, "their_matches": len(matches), "mentions_of_forgotten": mentions}


def size(root: Path) -> int:
    """Return the bytes of the lake and the indexes."""
    folders = (root / "lake", root / "vectors")
    return sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())


def spotify_dag(root: Path, *arguments: object) -> Any:
    """Run a command and return the JSON that it prints."""
    done = subprocess.run(_command(root, *arguments), capture_output=True, text=True, check=False)
    if not done.stdout:
        raise RuntimeError(f"{arguments} failed: {done.stderr}")
    return json.loads(done.stdout)


def _command(root: Path, *arguments: object) -> list[str]:
    return [sys.executable, "-m", "spotify_dag", "--data", str(root), *map(str, arguments)]


def show(results: dict[str, Any]) -> None:
    """Print the figures."""
    done, mib, asked = results["last_call"], results["mib"], results["asked_meanwhile"]
    rows = [
        ("killed after", ", ".join(f"{seconds:.1f} s" for seconds in results["killed_after_seconds"])),
        ("the last call", f"{done['seconds']:.1f} s, {done['copied']} buckets copied"),
        ("nobody could write for", f"{done['locked_seconds']:.2f} s"),
        ("peak memory of it, children included", f"{results['peak_gib']:.2f} GiB"),
        ("lake and indexes", ", ".join(f"{name} {count:,.0f} MiB" for name, count in mib.items())),
        ("asked meanwhile", ", ".join(f"{count:,} {name}" for name, count in asked.items())),
        ("answers that changed", f"{results['answers_changed']} of {results['answers']}"),
        ("rows in another bucket", f"{results['users_astray']}"),
        ("stages that a run makes afterwards", ", ".join(results["stages_run_afterwards"]) or "none"),
        ("stages for somebody new", ", ".join(results["stages_for_somebody_new"])),
        ("mentions of two who were forgotten", f"{results['mentions_of_forgotten']}"),
    ]
    print_table(f"{results['users']:,} users, 64 buckets into {results['into']}", ("", ""), rows)
    good = not (
        results["answers_changed"] or results["users_astray"] or results["stages_run_afterwards"]
        or asked["other answers"] or results["mentions_of_forgotten"]
    )  # fmt: skip
    console.print("All as it must be." if good else "[red]Not as it must be.[/]")


if __name__ == "__main__":
    run(NAME, __doc__, measure, world=(Path, "a data root that was made before"))
