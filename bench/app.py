"""The app at 100,000 users on loopback: matches per second, new users from a file, start and memory.

The app runs in a process of its own, as ``spotify-dag app`` starts it; the load comes from this machine too: locust for
matches at a rate of 120 a second, a client of its own for files. Then matches are asked for once more while somebody
new is taken in by the graph and another version of the model becomes champion; this may be slow, and fails nobody.
``--world PATH`` asks a data root that `make_world` made before.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Any

import httpx

from bench.measure import console, in_fresh_process, print_table, run
from bench.pipeline import register_world, run_stages

NAME = "app"
USERS, QUICK_USERS = 100_000, 2_000
PLAYLISTS, TRACKS = 5, 50
TRAIN_USERS = 5_000
"""The size of the index is measured here, not the quality of the model."""
RATE, SECONDS, QUICK_SECONDS = 120, 60, 10
RESTING = 0.1
"""Seconds of processor time in a second, below which everything is loaded."""
FILES, QUICK_FILES = 60, 10
ASKED = 200
"""Users whose ten nearest are compared with those of an exact search."""
LIMITS = {
    "requests_per_second": 100, "recall_at_10": 0.97, "p95_ms": 100, "file_p50_ms": 150, "start_seconds": 15,
    "memory_gib": 2,
}  # fmt: skip


def measure(quick: bool, world: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = world or Path(folder)
        if world is None:
            in_fresh_process(make_world, root, users)
        index, _ = in_fresh_process(index_figures, root)
        with running(root) as (url, process, started):
            warm(url, process.pid)
            used = processor_seconds(process.pid)
            load = ask(url, QUICK_SECONDS if quick else SECONDS, users)
            load["processor_ms_per_request"] = 1e3 * (processor_seconds(process.pid) - used) / load["requests"]
            files = hand_in(url, QUICK_FILES if quick else FILES)
            users = ready(url)["users"]
            memory = peak_memory_gib(process.pid)
            changes = ask_while_it_changes(root, url, users)
            after = peak_memory_gib(process.pid)
    results = {
        "users": users, "start_seconds": started, "memory_gib": memory, **index, **load, **files,
        "while_it_changes": {**changes, "memory_gib": after},
    }  # fmt: skip
    show(results)
    return results


def make_world(root: Path, users: int) -> None:
    """Make a data root of generated users, up to date, with two versions of the model that know everybody."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    register_world(root, users, PLAYLISTS, TRACKS)
    run_stages(root, "index")
    os.environ["SPOTIFY_DAG_SEED"] = "1"
    run_stages(root, "train", train=True)
    registry = Project.open(Settings(data=root)).registry
    registry.promote(str(registry.latest()))
    run_stages(root, "index")


def index_figures(root: Path) -> dict[str, Any]:
    """Return how many of the nearest the published index finds, and what it takes on disk."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    index, _ = Project.open(Settings(data=root)).matcher.index()
    asked = [row["user_id"] for row in index.sample((), ASKED)]
    table = root / "vectors" / f"{index.name}.lance"
    parts = {part: sum(file.stat().st_size for file in (table / part).rglob("*.*")) for part in ("data", "_indices")}
    rows = index.rows().height
    return {"recall_at_10": index.recall(asked, 10)} | {f"{part}_bytes_a_user": parts[part] / rows for part in parts}


@contextmanager
def running(root: Path) -> Iterator[tuple[str, subprocess.Popen[bytes], float]]:
    """Start the app; give its address, its process and the seconds until it could answer."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "SPOTIFY_DAG_APP_REQUESTS_PER_MINUTE": "10000000",
        "SPOTIFY_DAG_APP_NEWCOMERS_PER_MINUTE": "1000000",
    }
    code = "from spotify_dag.cli.main import main; main()"
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, "--data", str(root), "app", "--port", str(port)],
        env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                ready(url)
                break
            except httpx.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() - begun > 300:
                raise RuntimeError("the app did not start")
            time.sleep(0.05)
        yield url, process, time.monotonic() - begun
    finally:
        process.terminate()
        process.wait(30)


def ready(url: str) -> dict[str, Any]:
    """Return what the app says it answers from."""
    answer = httpx.get(f"{url}/readyz", trust_env=False, timeout=10).raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


def warm(url: str, process: int) -> None:
    """Wait until a new user need not wait for anything to be loaded, and the app rests."""
    for _ in range(3):
        one_file(url, 0)
    used = -inf
    while (now := processor_seconds(process)) - used > RESTING:
        used = now
        time.sleep(1)


def ask(url: str, seconds: int, users: int) -> dict[str, Any]:
    """Ask for matches of users at random, at a fixed rate."""
    with asking(url, users) as figures:
        time.sleep(seconds)
    return figures


def ask_while_it_changes(root: Path, url: str, users: int) -> dict[str, Any]:
    """Ask while the graph takes somebody new in, and while another version becomes champion."""

    def answers_with(name: str, value: Any) -> None:
        end = time.monotonic() + 300
        while ready(url)[name] != value:
            if time.monotonic() > end:
                raise RuntimeError(f"the app does not answer with {name} {value}")
            time.sleep(0.2)

    begun, before = time.monotonic(), ready(url)
    with asking(url, users) as figures:
        one_file(url, 0, consent=True)
        spotify_dag(root, "run")
        answers_with("users", before["users"] + 1)
        champion = json.loads(spotify_dag(root, "models", "rollback", "--json"))["champion"]
        spotify_dag(root, "run")
        answers_with("model_version", champion)
    return {"seconds": time.monotonic() - begun, **figures}


def spotify_dag(root: Path, *arguments: str) -> str:
    """Run a command on a data root; return what it prints."""
    command = [sys.executable, "-m", "spotify_dag", "--data", str(root), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout


@contextmanager
def asking(url: str, users: int) -> Iterator[dict[str, Any]]:
    """Ask for matches of users at random, in a process of its own; the figures are there afterwards."""
    figures: dict[str, Any] = {}
    command = [sys.executable, "-m", "bench.app_load", url, str(users), str(RATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        try:
            yield figures
        finally:
            load.terminate()
            told, _ = load.communicate()
    found = json.loads(told)
    p50, p95, p99 = (1e3 * statistics.quantiles(found["each"], n=100)[percent - 1] for percent in (50, 95, 99))
    figures |= {
        "requests": len(found["each"]),
        "errors": len(found["errors"]),
        "requests_per_second": len(found["each"]) / found["all"],
        "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
    }  # fmt: skip


def hand_in(url: str, count: int) -> dict[str, Any]:
    """Hand in files one after the other; each is another person's."""
    seconds = sorted(one_file(url, number) for number in range(1, count + 1))
    return {"file_p50_ms": 1e3 * statistics.median(seconds), "file_p95_ms": 1e3 * seconds[int(0.95 * len(seconds))]}


def exported(number: int) -> bytes:
    """Return a playlist of 100 tracks, as Exportify writes it."""
    catalogue = (Path(__file__).parents[1] / "spotify_dag" / "sources" / "artists.csv").read_text().splitlines()[1:]
    names = [line.split(",")[0].strip('"') for line in catalogue]
    head = "Track URI,Track Name,Album Name,Artist Name(s),Release Date,Popularity,Explicit\n"
    rows = "".join(
        f'spotify:track:{place:022d},Song {place},Album,"{name}",2001-01-01,50,false\n'
        for place, name in enumerate(names[(number * 37 + step) % len(names)] for step in range(0, 300, 3))
    )
    return (head + rows).encode()


def one_file(url: str, number: int, *, consent: bool = False) -> float:
    """Hand in a playlist of 100 tracks, perhaps to be kept; return the seconds until the matches were there."""
    content = exported(number)
    with httpx.Client(base_url=url, trust_env=False, timeout=120) as client:
        begun = time.perf_counter()
        file = {"file": ("list.csv", content)}
        answer = client.post("/api/v1/users", files=file, data={"consent": str(consent)})
        answer.raise_for_status()
        told = client.get(answer.json()["events"]).text
        took = time.perf_counter() - begun
    if "event: result" not in told:
        raise RuntimeError(told[-500:])
    return took


def peak_memory_gib(process: int) -> float:
    """Return the most memory that a process held resident so far, in GiB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kib * 1024 / 2**30


def processor_seconds(process: int) -> float:
    """Return the processor time of a process so far: what a busy machine does not lengthen."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def show(results: dict[str, Any]) -> None:
    """Print each figure beside its limit."""
    rows = []
    for name, limit in LIMITS.items():
        value = results[name]
        kept = value >= limit if name in ("requests_per_second", "recall_at_10") else value < limit
        rows.append((name.replace("_", " "), f"{value:,.2f}", str(limit), "PASS" if kept else "MISSED"))
    changes = results["while_it_changes"]
    for name, errors in (("errors", results["errors"]), ("errors while it changes", changes["errors"])):
        rows.append((name, str(errors), "0", "PASS" if not errors else "MISSED"))
    print_table(f"The app at {results['users']:,} users", ("Figure", "Measured", "Limit", ""), rows)
    console.print(
        f"{results['requests']:,} requests; p50 {results['p50_ms']:.0f} ms, p99 {results['p99_ms']:.0f} ms; "
        f"files p95 {results['file_p95_ms']:.0f} ms; index {results['data_bytes_a_user']:.0f} + "
        f"{results['_indices_bytes_a_user']:.0f} bytes a user; processor time per request "
        f"{results['processor_ms_per_request']:.1f} ms\n"
        f"While it changes: {changes['requests']:,} requests in {changes['seconds']:.0f} s, "
        f"p50 {changes['p50_ms']:.0f} ms, p95 {changes['p95_ms']:.0f} ms; memory {changes['memory_gib']:.2f} GiB"
    )


if __name__ == "__main__":
    run(NAME, __doc__, measure, world=(Path, "a data root that was made before"))
