"""Four processes that replace existing users for 60 s, at once: 0 errors, 0 lost.

Each has buckets of its own and replaces five of the twenty users of one of them at a time, as a run for changed users
does. A fifth process adds new users beside them, and every user of every bucket must be there at the end, with what was
written last.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import print_table, run

if TYPE_CHECKING:
    import polars as pl

NAME = "writers"
WRITERS, BUCKETS_EACH, USERS = 4, 4, 20
SECONDS, QUICK_SECONDS = 60.0, 5.0
NOW = datetime(2026, 1, 1, tzinfo=UTC)
together: Barrier
"""Where the processes of the pool wait for each other; each gets it from `_keep`."""


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    from spotify_dag.schemas import USERS as TABLE
    from spotify_dag.stores.lake import Lake

    seconds = QUICK_SECONDS if quick else SECONDS
    spawn = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="writers-") as folder:
        buckets = (WRITERS + 1) * BUCKETS_EACH
        lake = Lake(Path(folder), buckets)
        lake.replace(TABLE, range(buckets), [users(bucket, range(USERS), 0) for bucket in range(buckets)])
        barrier = spawn.Barrier(WRITERS + 1)
        with spawn.Pool(WRITERS + 1, initializer=_keep, initargs=(barrier,)) as pool:
            tasks = [(folder, writer, seconds) for writer in range(WRITERS + 1)]
            told = pool.map(_write, tasks, chunksize=1)
        last = {bucket: wrote for _, _, wrote_last in told for bucket, wrote in wrote_last.items()}
        rows = lake.scan(TABLE).collect()
        columns = rows.select("user_bucket", "user_id", "rows_kept").iter_rows()
        found = {(bucket, user): wrote for bucket, user, wrote in columns}
        expected = {(bucket, f"user-{bucket}-{number}"): wrote for (bucket, number), wrote in last.items()}
    figures = {
        "seconds": seconds,
        "commits": sum(commits for commits, _, _ in told),
        "errors": [error for _, errors, _ in told for error in errors],
        "lost": sum(found.get(key) != wrote for key, wrote in expected.items()),
        "doubled": rows.height - len(found),
    }
    print_table("Writers at once", ["figure", "value"], [[name, str(value)] for name, value in figures.items()])
    return figures


def users(bucket: int, numbers: Any, wrote: int) -> pl.DataFrame:
    """Return users of a bucket; ``wrote`` tells one write from another."""
    import polars as pl

    from spotify_dag.schemas import USERS as TABLE

    rows = [(bucket, f"user-{bucket}-{number}", wrote, number, True) for number in numbers]
    names = {"user_bucket": pl.Int32, "user_id": pl.String, "rows_kept": pl.Int64, "content_hash": pl.Int64}
    frame = pl.DataFrame(rows, {**names, "opted_in": pl.Boolean}, orient="row")
    return TABLE.conform(frame.with_columns(source=pl.lit("bench"), fetched_at=pl.lit(NOW)))


def _keep(barrier: Barrier) -> None:
    """Keep the barrier at which the processes wait for each other."""
    global together  # noqa: PLW0603
    together = barrier


def _write(task: tuple[str, int, float]) -> tuple[int, list[str], dict[tuple[int, int], int]]:
    """Replace users again and again; return how often, what was refused, and what was written last of each user."""
    from spotify_dag.schemas import USERS as TABLE
    from spotify_dag.stores.lake import Lake

    folder, writer, seconds = task
    lake = Lake(Path(folder), (WRITERS + 1) * BUCKETS_EACH)
    last = {(writer * BUCKETS_EACH + own, number): 0 for own in range(BUCKETS_EACH) for number in range(USERS)}
    errors: list[str] = []
    together.wait()
    end, commits = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        commits += 1
        bucket, first = writer * BUCKETS_EACH + commits % BUCKETS_EACH, 5 * (commits // BUCKETS_EACH) % USERS
        numbers = range(first, first + 5) if writer < WRITERS else range(USERS + 5 * commits, USERS + 5 * commits + 5)
        rows = users(bucket, numbers, commits)
        try:
            lake.replace_users(TABLE, [bucket], rows["user_id"].to_list(), rows)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {str(error)[:200]}")
        else:
            last |= {(bucket, number): commits for number in numbers}
    return commits, errors, last


def main() -> int:
    """Measure; return 1 if something was refused, lost or doubled."""
    figures = run(NAME, __doc__ or "", measure)
    return int(bool(figures["errors"] or figures["lost"] or figures["doubled"]))


if __name__ == "__main__":
    sys.exit(main())
