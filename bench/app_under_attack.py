"""The app under load while others mean harm: the same requests with and without attackers, in one run.

50 clients that drip the heads of their requests, 5 that hand in files of 10,000 artists nobody has heard of, again and
again, and 200 streams that are held open. All come from addresses of their own on loopback. A machine that is shared is
slow by itself: what counts is the second column against the first.

``--world PATH`` asks a data root that `bench.app.make_world` made before.
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from bench.app import QUICK_SECONDS, QUICK_USERS, RATE, USERS, ask, make_world, ready, running, warm
from bench.measure import console, in_fresh_process, print_table, run

NAME = "app_under_attack"
SECONDS = 30
SLOW, UPLOADS, STREAMS = 50, 5, 200
STREAMS_OF_AN_ADDRESS = 20
ARTISTS = 10_000
LIMITS = {"requests_per_second": 117 / RATE, "p95_ms": 100}
"""Of the rate that is asked for, and milliseconds."""


def measure(quick: bool, world: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    seconds = QUICK_SECONDS if quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = world or Path(folder)
        if world is None:
            in_fresh_process(make_world, root, QUICK_USERS if quick else USERS)
        with running(root) as (url, process, _):
            warm(url, process.pid)
            users = ready(url)["users"]
            alone = ask(url, seconds, users)
            with attacked(url) as done:
                attacked_ = ask(url, seconds, users)
                done["healthz"] = httpx.get(f"{url}/healthz", trust_env=False, timeout=30).status_code
    results = {"users": users, "alone": alone, "attacked": attacked_, "attackers": dict(done)}
    show(results)
    return results


@contextmanager
def attacked(url: str) -> Iterator[dict[str, Any]]:
    """Have attackers at work; what they got done is there afterwards."""
    done: dict[str, Any] = {"slow": 0, "streams": 0, "uploads": 0, "refused": 0}
    ended = threading.Event()
    with ExitStack() as opened:
        threads = [threading.Thread(target=_drip, args=(url, number, ended, done)) for number in range(SLOW)]
        threads += [threading.Thread(target=_hand_in, args=(url, number, ended, done)) for number in range(UPLOADS)]
        for number in range(STREAMS):
            transport = httpx.HTTPTransport(local_address=f"127.0.3.{1 + number // STREAMS_OF_AN_ADDRESS}")
            client = opened.enter_context(httpx.Client(transport=transport, base_url=url, timeout=60))
            stream = opened.enter_context(client.stream("GET", f"/gradio_api/heartbeat/{number}"))
            done["streams"] += stream.status_code == 200
        for thread in threads:
            thread.start()
        time.sleep(2)
        try:
            yield done
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def _drip(url: str, number: int, ended: threading.Event, done: dict[str, Any]) -> None:
    """Send a byte a second of a head that never ends; begin again when it is cut off."""
    parts = urlsplit(url)
    while not ended.is_set():
        with suppress(OSError), socket.socket() as slow:
            slow.bind((f"127.0.1.{1 + number}", 0))
            slow.settimeout(5)
            slow.connect((parts.hostname, parts.port))
            done["slow"] += 1
            slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ")
            while not ended.wait(1):
                slow.sendall(b"x")


def _hand_in(url: str, number: int, ended: threading.Event, done: dict[str, Any]) -> None:
    """Hand in a file of names that were never encoded, follow it to its end, and begin again."""
    head = "Track URI,Track Name,Album Name,Artist Name(s),Release Date,Popularity,Explicit\n"
    transport = httpx.HTTPTransport(local_address=f"127.0.2.{1 + number}")
    with httpx.Client(transport=transport, base_url=url, timeout=300) as client:
        turn = 0
        while not ended.is_set():
            rows = (
                f"spotify:track:{place:022d},Song,Album,Zq {number} {turn} {place} Nobody,2001-01-01,50,false\n"
                for place in range(ARTISTS)
            )
            answer = client.post("/api/v1/users", files={"file": ("list.csv", (head + "".join(rows)).encode())})
            turn += 1
            if answer.status_code != 202:
                done["refused"] += 1
                ended.wait(1)
                continue
            done["uploads"] += 1
            with client.stream("GET", answer.json()["events"]) as events:
                for _ in events.iter_lines():
                    if ended.is_set():
                        break


def show(results: dict[str, Any]) -> None:
    """Print both loads beside each other."""
    alone, under = results["alone"], results["attacked"]
    names = ("requests_per_second", "p50_ms", "p95_ms", "p99_ms", "errors")
    rows = [
        (name.replace("_", " "), f"{alone[name]:,.1f}", f"{under[name]:,.1f}", f"{under[name] / alone[name]:.2f}")
        if alone[name]
        else (name.replace("_", " "), f"{alone[name]:,.1f}", f"{under[name]:,.1f}", "")
        for name in names
    ]
    print_table(f"The app at {results['users']:,} users", ("Figure", "Alone", "Attacked", "Ratio"), rows)
    kept = under["requests_per_second"] >= LIMITS["requests_per_second"] * RATE and under["p95_ms"] < LIMITS["p95_ms"]
    console.print(f"{results['attackers']}; 117 requests/s with p95 under 100 ms: {'PASS' if kept else 'MISSED'}")


if __name__ == "__main__":
    run(NAME, __doc__, measure, world=(Path, "a data root that was made before"))
