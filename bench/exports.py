"""Files that people hand in: 5,000 damaged ones, a listening history of 1 GiB, and 100,000 users in the inbox.

Damaged files are those of the tests (`samples.damaged_exports`): a row whose own text is untouched must
be kept, and nothing but one clear error may be raised. Memory may reach 300 MiB in both of the first two.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.measure import console, in_fresh_process, print_others, print_table, run

NAME = "exports"
MUTANTS, QUICK_MUTANTS = 5_000, 200
HISTORY_BYTES, QUICK_HISTORY_BYTES = 1 << 30, 1 << 26
USERS, QUICK_USERS = 100_000, 5_000
LIMIT_MIB = 300


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        fuzz, fuzz_cost = in_fresh_process(read_mutants, root, QUICK_MUTANTS if quick else MUTANTS)
        file = root / "Streaming_History_Audio_2010-2025_0.json"
        plays, _ = in_fresh_process(write_history, file, QUICK_HISTORY_BYTES if quick else HISTORY_BYTES)
        history, history_cost = in_fresh_process(hand_in, root, file)
        history |= {"plays_in_file": plays, "mib": file.stat().st_size / 2**20}
        inbox, inbox_cost = in_fresh_process(fill_inbox, root, QUICK_USERS if quick else USERS)
    costs = {"mutants": fuzz_cost, "history": history_cost, "inbox": inbox_cost}
    within = all(cost.peak_gib * 1024 <= LIMIT_MIB for cost in (fuzz_cost, history_cost))
    print_table(
        "Work and memory",
        ("", "Seconds", "Peak, MiB"),
        [(name, f"{cost.seconds:,.1f}", f"{cost.peak_gib * 1024:,.0f}") for name, cost in costs.items()],
    )
    print_table("Inbox", ("", "Seconds"), [(name, f"{seconds:.3f}") for name, seconds in inbox["seconds"].items()])
    passed = within and not fuzz["lost_rows"] and not fuzz["tracebacks"]
    console.print(
        f"{fuzz['mutants']:,} damaged files with {fuzz['good_rows']:,} good rows: {fuzz['lost_rows']} lost, "
        f"{fuzz['tracebacks']} tracebacks\n{history['mib']:,.0f} MiB of history, {plays:,} plays, "
        f"{history['plays']:,} counted\n[bold]{'PASS' if passed else 'FAIL'}[/] (limit {LIMIT_MIB} MiB)"
    )
    print_others(costs)
    found = {"mutants": fuzz, "history": history, "inbox": inbox}
    results = {name: {**figures, **asdict(costs[name])} for name, figures in found.items()}
    return {"passed": passed, **results}


def read_mutants(root: Path, count: int) -> dict[str, int]:
    """Read damaged files."""
    from samples.damaged_exports import lost, mutants

    good = lost_rows = tracebacks = 0
    for corpus, content in mutants(2026, count):
        good += len(corpus.good(content))
        try:
            lost_rows += len(lost(corpus, content, root))
        except Exception as error:
            console.print(f"{corpus.name}: {error!r}")
            tracebacks += 1
    return {"mutants": count, "good_rows": good, "lost_rows": lost_rows, "tracebacks": tracebacks}


def write_history(file: Path, size: int) -> int:
    """Write an extended history as Spotify indents it; return its number of plays."""
    import random

    from samples.export_files import play

    rng, plays = random.Random(0), 0
    with file.open("w") as stream:
        stream.write("[")
        while stream.tell() < size:
            years, minute = divmod(3 * plays, 28 * 24 * 60)
            track = int(rng.paretovariate(0.5)) % 40_000
            found = play(track, minute, rng.randint(1_000, 300_000))
            found["ts"] = f"{2010 + years // 12}-{years % 12 + 1:02d}{found['ts'][7:]}"
            found["master_metadata_album_artist_name"] = f"Artist {track // 7}"
            stream.write("," * bool(plays) + json.dumps(found, indent=2))
            plays += 1
        stream.write("]")
    return plays


def hand_in(root: Path, file: Path) -> dict[str, int]:
    """Do what ``spotify-dag add`` does."""
    from spotify_dag.inbox.registered_sources import Inbox
    from spotify_dag.sources.export.reading import Reading

    reading = Reading(file, "export-anna")
    Inbox(root / "inbox").requests.hand_in("export", reading.user_id, reading.frames(), opted_in=True)
    return {"plays": reading.plays, "tracks": reading.kept.total()}


def fill_inbox(root: Path, users: int) -> dict[str, Any]:
    """Sweep many requests, then one more, then none, and open the source."""
    from spotify_dag.inbox.registered_sources import Inbox
    from spotify_dag.inbox.user_requests import REQUEST
    from spotify_dag.sources.base import UserRequest
    from spotify_dag.sources.ingestion import source_versions

    inbox = Inbox(root / "many")
    requests = inbox.requests
    for folder in (requests.content, requests.root / "new"):
        folder.mkdir(parents=True)

    def request(number: int) -> None:
        content = f"{number:016x}-{0:016x}.parquet"
        (requests.content / content).write_bytes(b"any")
        made = UserRequest("export", f"export-{number}", content, opted_in=True, requested_at=datetime.now(UTC))
        (requests.root / "new" / f"{number:06d}.json").write_bytes(REQUEST.dump_json(made))

    def time_of(step: Callable[[], Any]) -> float:
        begun = time.monotonic()
        step()
        return time.monotonic() - begun

    for number in range(users):
        request(number)
    seconds = {f"sweep of {users:,} new users": time_of(requests.sweep)}
    request(users)
    seconds["sweep of one new user"] = time_of(requests.sweep)
    seconds["sweep of nobody"] = time_of(requests.sweep)
    seconds["open the source"] = time_of(inbox.sources)
    (source,) = inbox.sources()
    seconds["its versions, per bucket"] = time_of(lambda: source_versions(source, n_buckets=64, profiles_count=None))
    return {"users": len(requests.all()), "seconds": seconds}


if __name__ == "__main__":
    run(NAME, __doc__, measure)
