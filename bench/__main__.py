"""Run the benches one after the other, each in a process of its own: ``python -m bench [--quick] [NAME …]``."""

from __future__ import annotations

import argparse
import subprocess
import sys

BENCHES = {
    "hundred_thousand_users": "100,000 users from nothing to user embeddings: seconds, peak memory, bytes on disk",
    "tower": "training on HetRec-2011 and on 100,000 users: seconds, peak memory, what is not a matrix product",
    "left_out": "what each part of the tower is worth on three worlds: MRR and NDCG@20 without it",
    "exports": "5,000 damaged files of every reader, histories of 264,000 plays of 1 GiB, a million users in the inbox",
    "spotify": "reading a simulated Spotify: requests per user, use of the concurrency limit, faults, kills, mutations",
    "listens": "20,000,000 listens of a dump to embeddings; 4 processes on a simulated ListenBrainz; weights shared",
    "app": "the app at 100,000 users: matches per second, new users from a file, start, memory",
    "app_under_attack": "the same load with and without slow clients, hostile uploads and idle streams, in one run",
    "app_contract": "the app against its own description: thousands of generated requests, no server error",
    "updates": "10,000 updates of one user each: files and bytes beside a fresh build, the slowest answer meanwhile",
    "arrival": "10 new users on bases of 1,000 and 100,000: seconds, ratio, where the time goes",
    "million_users": "1,000,000 drawn users: a tick with nothing new, 10 new users, one forgotten: seconds, memory",
    "findable": "from spotify-dag add to the index under a warm spotify-dag up: seconds, where they go",
    "crash": "a load of 1,000 users killed 30 times; 8 processes that add, refresh, forget, run and ask at once",
    "rebucket": "64 buckets of 20,000 users split into 256: seconds, bytes, three kills, no answer that changes",
    "writers": "4 processes that replace users, and one that adds some, for 60 s at once: errors, lost rows",
    "seed_loop": "the feature loop of the seed system beside ours on the same 200 users: users per second",
    "continuation": "10,000 playlists without audio and genres: seconds to learn and to answer, gain over item-kNN",
    "blend": "one list for 2, 5 and 20 of 2,000 people: the least satisfied beside lists made by turns, milliseconds",
    "million_tracks": "1,000,000 tracks to search and to continue playlists with: seconds, peak memory, ms per query",
}
"""In the order they run: `seed_loop` quotes the figure of the one before it."""


def main() -> int:
    """Run the named benches, all by default; return 1 if one of them failed."""
    listed = "\n".join(f"  {name:<24}{what}" for name, what in BENCHES.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=f"benches:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to run; default: all, in order")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, to see that everything works")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(BENCHES)):
        parser.error(f"no bench named {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    chosen = [name for name in BENCHES if not arguments.names or name in arguments.names]
    failed = [name for name in chosen if _run(name, quick=arguments.quick)]
    if failed:
        sys.stderr.write(f"Failed: {', '.join(failed)}\n")
    return bool(failed)


def _run(name: str, *, quick: bool) -> int:
    return subprocess.run([sys.executable, "-m", f"bench.{name}", *["--quick"] * quick], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
