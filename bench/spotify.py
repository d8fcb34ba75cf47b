"""Reading a simulated Spotify: what a user costs, what faults and kills change, and what a mutated answer breaks.

The simulator runs in a process of its own, and so does every reader. Requests are those the simulator counted.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

from bench.measure import in_fresh_process, print_table, run

NAME = "spotify"
USERS, QUICK_USERS = 300, 40
CONCURRENCY = 4
LATENCY = 0.1
FAULT_RATE, KILLS, QUICK_KILLS = 0.15, 20, 4
MUTATIONS, QUICK_MUTATIONS = 2_000, 200
LIMIT_MIB = 300
Row = tuple[str, str, int, str]


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    results: dict[str, Any] = {"users": users, "concurrency": CONCURRENCY}
    for name, part in (
        ("no_latency", partial(throughput, users, 0)),
        ("latency_100_ms", partial(throughput, users, LATENCY)),
        ("faults_and_kills", partial(faults_and_kills, users, QUICK_KILLS if quick else KILLS)),
        ("long_limit", partial(long_limit, users)),
        ("fuzz", partial(fuzz, QUICK_MUTATIONS if quick else MUTATIONS)),
    ):
        results[name] = part()
        print_table(
            name.replace("_", " "), ("", "Value"), [(key, shown(value)) for key, value in results[name].items()]
        )
    return results


def throughput(users: int, latency: float) -> dict[str, Any]:
    """Read users twice, all being due the second time."""
    with simulator(users, latency) as url, tempfile.TemporaryDirectory() as folder:
        root = make_root(Path(folder), users)
        first, cost = in_fresh_process(read, url, root, 0.0)
        asked = traffic(url)
        again, _ = in_fresh_process(read, url, root, time.time())
        steady = traffic(url)
    assert first["digest"] == again["digest"] == expected(users)
    return {
        "seconds": first["seconds"],
        "users_per_second": users / first["seconds"],
        "requests": asked["requests"],
        "requests_per_user": asked["requests"] / users,
        "share_of_concurrency_used": asked["busy_seconds"] / first["seconds"] / CONCURRENCY,
        "peak_in_flight": asked["peak_in_flight"],
        "requests_of_second_read": steady["requests"],
        "peak_gib": cost.peak_gib,
    }


def faults_and_kills(users: int, kills: int) -> dict[str, Any]:
    """Read users with every kind of fault, killed at random moments, until they are all in."""
    from spotify_dag.simulator.faults_and_limits import RATE_KINDS

    rates = dict.fromkeys(RATE_KINDS, FAULT_RATE / len(RATE_KINDS))
    random_ = random.Random(0)
    spawn = multiprocessing.get_context("spawn")
    begun = time.monotonic()
    finished: dict[str, int] = {}
    killed = resumed = 0
    with simulator(users, 0) as url, tempfile.TemporaryDirectory() as folder:
        put_faults(url, {**rates, "retry_after": 1, "long_retry_after": 1, "drip_seconds": 3})
        root = make_root(Path(folder), users)
        while True:
            reader = spawn.Process(target=read_into, args=(url, root))
            reader.start()
            if killed < kills:
                # From the start of the process to well into its reading.
                reader.join(random_.uniform(2, 9))
            else:
                reader.join()
            if reader.is_alive():
                os.kill(reader.pid or 0, signal.SIGKILL)
                reader.join()
                killed += 1
            else:
                result = json.loads((root / "result.json").read_text())
                if result["resume_at"] is None:
                    break
                resumed += 1
                time.sleep(max(0.0, result["resume_at"] - time.time()))
            asked = fetches(url)
            twice = [playlist for playlist, count in finished.items() if asked.get(playlist) != count]
            assert not twice, f"fetched again although finished: {twice}"
            finished = {playlist: asked[playlist] for playlist in mirrored(root)}
        counts = traffic(url)
    assert result["digest"] == expected(users), "not what the world holds"
    return {
        "seconds": time.monotonic() - begun,
        "killed": killed,
        "ended_by_a_limit": resumed,
        "requests": counts["requests"],
        "faults": counts["faults"],
        "identical": True,
        "finished_playlists_fetched_again": 0,
    }


def long_limit(users: int) -> dict[str, Any]:
    """Return how long a read goes on after a Retry-After of a day, and what a second process asks."""
    with simulator(users, 0) as url, tempfile.TemporaryDirectory() as folder:
        put_faults(url, {"rate_limited_long": 0.02})
        root = make_root(Path(folder), users)
        first, _ = in_fresh_process(read, url, root, 0.0)
        limited_at = first["resume_at"] - 86_400
        traffic(url)
        second, _ = in_fresh_process(read, url, root, time.time())
        asked = traffic(url)["requests"]
    assert second["resume_at"] == first["resume_at"]
    return {
        "seconds_from_limit_to_end": first["ended_at"] - limited_at,
        "seconds_of_second": second["seconds"],
        "requests_of_second": asked,
    }


def fuzz(mutations: int) -> dict[str, Any]:
    """Read users through a proxy that mutates answers; playlists that were not mutated must arrive whole."""
    users = QUICK_USERS
    there = per_playlist(world_rows(users))
    mutated_answers = rounds = arrived = 0
    peak = 0.0
    with simulator(users, 0) as url, tempfile.TemporaryDirectory() as folder:
        listed = make_root(Path(folder), users) / "users.txt"
        while mutated_answers < mutations:
            with mutating_proxy(url, seed=rounds) as (proxy, spoiled):
                found, cost = in_fresh_process(read, proxy, Path(folder) / str(rounds), 0.0, listed, 2.0)
            whole = {
                f"{user} {playlist}": digest
                for (user, playlist), digest in there.items()
                if not {user, playlist} & set(spoiled)
            }
            lost = [name for name, digest in whole.items() if found["playlists"].get(name) != digest]
            assert not lost, f"mutating others' answers has changed {lost}"
            mutated_answers, rounds, arrived = mutated_answers + len(spoiled), rounds + 1, arrived + len(whole)
            peak = max(peak, cost.peak_gib * 1024)
    assert peak < LIMIT_MIB
    return {
        "mutated_answers": mutated_answers,
        "reads": rounds,
        "playlists_untouched_and_whole": arrived,
        "peak_mib": peak,
        "limit_mib": LIMIT_MIB,
    }


def read(url: str, root: Path, asked: float, users: Path | None = None, timeout: float = 30) -> dict[str, Any]:
    """Read all users into memory; return digests of what they have, and when to resume."""
    import polars  # noqa: F401  (loading what is loaded late anyway is not reading)
    import spotipy  # noqa: F401

    from spotify_dag.settings import Settings
    from spotify_dag.sources.ingestion import Ingestion
    from spotify_dag.sources.spotify import SpotifySource

    settings = Settings(
        data=root / "data", spotify_client_id="simulator", spotify_client_secret="simulator", spotify_timeout=timeout,
        spotify_api_url=f"{url}/v1", spotify_auth_url=url, spotify_concurrency=CONCURRENCY,
    )  # fmt: skip
    source = SpotifySource(settings, str(users or root / "users.txt"), asked)
    begun = time.monotonic()
    ingestion = Ingestion([source], buckets=range(64), n_buckets=64, profiles_count=None, now=datetime.now(UTC))
    rows = [
        row
        for frame in ingestion.records()
        for row in frame.select("user_id", "playlist_id", "position", "track_id").iter_rows()
    ]
    interrupted = ingestion.interrupted.get("spotify")
    return {
        "digest": digest(rows),
        "playlists": {" ".join(owner): found for owner, found in per_playlist(rows).items()},
        "seconds": time.monotonic() - begun,
        "ended_at": time.time(),
        "resume_at": interrupted.at if interrupted else None,
    }


def read_into(url: str, root: Path) -> None:
    """Read all users and leave the result in a file."""
    (root / "result.json").write_text(json.dumps(read(url, root, 0, timeout=2)))


def make_root(folder: Path, users: int) -> Path:
    """Write the list of users."""
    (folder / "users.txt").write_text("\n".join(f"synthetic-{user:06d}" for user in range(users)))
    return folder


def expected(users: int) -> str:
    """Return the digest of what the world holds."""
    return digest(world_rows(users))


def world_rows(users: int) -> list[Row]:
    """Return what the world holds: ``user_id, playlist_id, position, track_id``."""
    from spotify_dag.simulator.faults_and_limits import SimulatorSettings
    from spotify_dag.simulator.world import World

    settings = SimulatorSettings(users=users)
    world = World(users=users, seed=settings.seed, playlists=settings.playlists, tracks=settings.tracks)
    rows = []
    for user in range(users):
        for number in world.listed(user):
            playlist = world.playlist(number)
            if playlist.owner == world.user_id(user) or playlist.collaborative:
                rows += [
                    (world.user_id(user), world.playlist_ids.id_of(number), place, world.tracks.ids.id_of(int(track)))
                    for place, track in enumerate(playlist.tracks)
                ]
    return rows


def per_playlist(rows: list[Row]) -> dict[tuple[str, str], str]:
    """Return the digest of each user's each playlist."""
    playlists: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        playlists.setdefault(row[:2], []).append(row)
    return {owner: digest(found) for owner, found in playlists.items()}


def digest(rows: list[Row]) -> str:
    """Return a digest of rows in any order; a row that is there twice counts twice."""
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def mirrored(root: Path) -> list[str]:
    """Return the playlists that are finished."""
    path = root / "data" / "spotify" / "simulator.sqlite"
    if not path.is_file():
        return []
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        try:
            return [playlist for (playlist,) in connection.execute("select playlist_id from playlists")]
        except sqlite3.OperationalError:  # killed before the tables were made
            return []


@contextmanager
def simulator(users: int, latency: float) -> Iterator[str]:
    """Run a simulator in another process; yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from spotify_dag.cli.main import main; main()", "simulate"]
    options = ["--users", str(users), "--latency", str(latency), "--port", str(port)]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL) as server:
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(url)
            yield url
        finally:
            server.terminate()


def traffic(url: str) -> dict[str, Any]:
    """Return what was counted since this was called last."""
    with urlopen(Request(f"{url}/simulator/requests")) as answer:
        found = json.load(answer)
    urlopen(Request(f"{url}/simulator/requests", method="DELETE")).close()
    return found


def fetches(url: str) -> dict[str, int]:
    """Return how often each playlist was asked for."""
    counts: dict[str, int] = {}
    with urlopen(Request(f"{url}/simulator/requests?urls=true")) as answer:
        for path, count in json.load(answer)["urls"].items():
            if path.startswith("/v1/playlists/"):
                playlist = path.split("/")[3]
                counts[playlist] = counts.get(playlist, 0) + count
    return counts


def put_faults(url: str, faults: dict[str, float]) -> None:
    """Put faults in force."""
    body, headers = json.dumps(faults).encode(), {"Content-Type": "application/json"}
    urlopen(Request(f"{url}/simulator/faults", data=body, headers=headers, method="PUT")).close()


@contextmanager
def mutating_proxy(url: str, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Pass requests on to a simulator and mutate half of its answers; yield its URL, and whose answers they were."""
    spoiled: list[str] = []
    random_ = random.Random(seed)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._pass_on(None)

        def do_POST(self) -> None:
            self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

        def log_message(self, *_: Any) -> None:
            pass

        def _pass_on(self, body: bytes | None) -> None:
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            try:
                with urlopen(Request(url + self.path, data=body, headers=headers)) as answer:
                    status, content = 200, answer.read()
            except OSError as error:
                status, content = getattr(error, "code", 502), b"{}"
            if body is None and random_.random() < 0.5:
                # /v1/users/ID/playlists, /v1/playlists/ID/items, /v1/artists
                spoiled.append(self.path.split("?")[0].split("/")[3] if self.path.count("/") > 3 else "")
                content = mutated(content, random_)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", spoiled
    finally:
        server.shutdown()


def mutated(content: bytes, random_: random.Random) -> bytes:
    """Return an answer with one to three values of its JSON replaced, or one of its bytes."""
    if random_.random() < 0.2:
        place = random_.randrange(len(content))
        return content[:place] + bytes([random_.randrange(256)]) + content[place + 1 :]
    body = json.loads(content)
    for _ in range(random_.randint(1, 3)):
        parent: Any = body
        while True:
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            if not keys:
                break
            key = random_.choice(keys)
            if isinstance(parent[key], (dict, list)) and parent[key] and random_.random() < 0.85:
                parent = parent[key]
                continue
            parent[key] = random_.choice([None, "", "\ud800", -1, 1e300, 10**400, True, [], {}, "x" * 100_000, [[[]]]])
            break
    return json.dumps(body).encode()


def shown(value: Any) -> str:
    """Return a figure as text."""
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def _wait_for(url: str) -> None:
    for _ in range(300):
        try:
            urlopen(f"{url}/simulator/requests").close()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("the simulator did not start")


if __name__ == "__main__":
    run(NAME, __doc__, measure)
