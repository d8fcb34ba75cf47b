"""10,000 updates of one user each, with housekeeping and questions beside them: files, bytes, the slowest answer.

An update writes what a run for one changed user writes: the user's rows in every per-user table, what is counted per
bucket, and the user's vector, which is folded into the index by the product's own rule. Files and bytes, of lake and
index, must end within 3 times those of a fresh build of the same rows, and the slowest answer must stay under 250 ms.
Nobody may be lost, and no reader may fail.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import console, in_fresh_process, print_others, print_table, run

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project

NAME = "updates"
UPDATES, QUICK_UPDATES = 10_000, 300
USERS = 2_000
DIM = 256
ITEMS, TASTES = 50, 40
KEEP = timedelta(seconds=60)
"""For this long replaced versions can be read here; `housekeeping.tidy` keeps them longer by default."""
TIDY_SECONDS = 15.0
PAUSE_SECONDS = 0.05
"""Between questions, so that asking is not what the machine is busy with."""
MOST_TIMES, MOST_MS = 3, 250


def measure(quick: bool, updates: int | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    updates = updates or (QUICK_UPDATES if quick else UPDATES)
    with tempfile.TemporaryDirectory() as folder:
        fresh, fresh_cost = in_fresh_process(build, Path(folder) / "fresh")
        build_cost = in_fresh_process(build, Path(folder) / "updated")[1]
        context = get_context("spawn")
        with context.Pool(2) as pool:
            asked = pool.apply_async(ask, (Path(folder) / "updated", stop_file := Path(folder) / "stop"))
            tidied = pool.apply_async(keep_tidy, (Path(folder) / "updated", stop_file))
            seconds, cost = in_fresh_process(update, Path(folder) / "updated", updates)
            stop_file.touch()
            answers, most = asked.get(), tidied.get()
        left = finish(Path(folder) / "updated", updates)
    times = {name: left[name] / fresh[name] for name in ("files", "bytes")}
    rows = [
        ("fresh build", f"{fresh['files']:,}", f"{fresh['bytes'] / 2**20:,.1f}", ""),
        ("at most, while it ran", f"{most['files']:,}", f"{most['bytes'] / 2**20:,.1f}", ""),
        ("at the end", f"{left['files']:,}", f"{left['bytes'] / 2**20:,.1f}",
         f"{times['files']:.2f} and {times['bytes']:.2f}"),
    ]  # fmt: skip
    print_table("Lake and index", ("", "Files", "MiB", "Times a fresh build"), rows)
    print_table(
        f"{answers['answers']:,} answers meanwhile, {answers['errors']} errors",
        ("Milliseconds", "Median", "99 %", "Slowest"),
        [(name, *(f"{value:.1f}" for value in answers[name])) for name in ("index", "whole answer")],
    )
    console.print(f"{seconds / updates * 1000:.0f} ms an update")
    print_others({"updates": cost})
    good = max(times.values()) <= MOST_TIMES and answers["index"][2] < MOST_MS and not answers["errors"]
    console.print(f"{'Within' if good and not left['lost'] else '[red]Not within[/]'} the limits. Lost: {left['lost']}")
    return {
        "updates": updates, "seconds": seconds, "fresh": fresh, "most": most, "end": left,
        "times_fresh": times, "answers": answers, "build_seconds": [fresh_cost.seconds, build_cost.seconds],
    }  # fmt: skip


def opened(root: Path) -> Project:
    """Return the project of a data root."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    return Project.open(Settings(data=root))


def bucket_rows(bucket: int, content: int) -> Iterator[tuple[Any, pl.DataFrame]]:
    """Yield the rows of a bucket of every per-user table, as of an update."""
    import numpy as np
    import polars as pl

    from spotify_dag.schemas import ARTIST_GENRES, INGESTS, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, user_buckets
    from spotify_dag.schemas import USERS as USERS_TABLE

    ids = [f"synthetic-{number:06d}" for number in range(USERS)]
    ids = [user for user, own in zip(ids, user_buckets(ids, 64), strict=True) if own == bucket]
    now = pl.lit(datetime.now(UTC))
    base = pl.DataFrame({"user_id": ids}).with_columns(
        pl.lit(bucket, pl.Int32).alias("user_bucket"), pl.lit("synthetic").alias("source"), now.alias("fetched_at"),
        pl.lit(ITEMS).alias("rows_kept"), pl.lit(True).alias("opted_in"), pl.lit("f").alias("feature_version"),
        pl.when(pl.int_range(pl.len()) == 0).then(content).otherwise(0).alias("content_hash"),
        pl.lit(5).alias("playlists"), pl.lit(ITEMS).alias("tracks"),
    )  # fmt: skip
    drawn = np.random.default_rng(bucket)
    numbered = base.join(pl.DataFrame({"position": range(ITEMS)}), how="cross")
    names = pl.Series("artist_name", [f"Artist {number}" for number in drawn.integers(0, 3000, numbered.height)])
    yield RAW_PLAYLISTS, numbered.with_columns(
        names, pl.format("{}-0", "user_id").alias("playlist_id"), pl.lit(0).alias("playlist_position"),
        names.str.replace("Artist", "Track").alias("track_name"),
    )  # fmt: skip
    yield USERS_TABLE, base
    yield INGESTS, base.head(1).with_columns(
        pl.lit(f"{content}").alias("source_version"), pl.lit(0).alias("rows_read"), pl.lit(0).alias("rows_rejected"),
        pl.lit(len(ids)).alias("users"),
    )  # fmt: skip
    artists = names.value_counts(name="rows").with_columns(
        pl.lit(bucket, pl.Int32).alias("user_bucket"), pl.col("artist_name").str.to_lowercase().alias("artist_key"),
        pl.lit(["rock", f"rock {content}"]).alias("genres"), pl.lit("name").alias("matched_by"),
    )  # fmt: skip
    yield ARTIST_GENRES, artists.sort("artist_key")
    tasted = base.join(pl.DataFrame({"name": [f"Artist {number}" for number in range(TASTES)]}), how="cross")
    shares = pl.Series("weight", drawn.random(tasted.height), dtype=pl.Float32)
    yield USER_TASTES, tasted.with_columns(pl.lit("artist").alias("kind"), shares, shares.alias("size_weight"))
    vectors = drawn.normal(size=(len(ids), 384)).astype(np.float32)
    yield USER_EMBEDDINGS, base.with_columns(pl.Series("genre_embedding", vectors, dtype=pl.List(pl.Float32)))
    unit = vectors[:, :DIM] / np.linalg.norm(vectors[:, :DIM], axis=1, keepdims=True)
    yield None, base.with_columns(pl.Series("vector", unit, dtype=pl.Array(pl.Float32, DIM)))


def build(root: Path) -> dict[str, Any]:
    """Write all rows in one commit per table, as a first run does; return files and bytes."""
    import numpy as np
    import polars as pl

    from spotify_dag.tower.score import SHARES, ScoreScale

    project = opened(root)
    frames: dict[Any, list[pl.DataFrame]] = {}
    for bucket in range(64):
        for table, rows in bucket_rows(bucket, 0):
            frames.setdefault(table, []).append(rows)
    index = project.user_index("tower-1")
    for table, parts in frames.items():
        if table is None:
            index.replace(range(64), pl.concat(parts))
        else:
            project.lake.replace(table, range(64), parts)
    index.optimise()
    index.publish(ScoreScale(np.linspace(-1, 1, len(SHARES), dtype=np.float32), 5.0))
    return used(project)


def used(project: Project) -> dict[str, Any]:
    """Return files and bytes of lake and index."""
    from spotify_dag.lifecycle.housekeeping import usage

    return dict(zip(("files", "bytes"), usage(project), strict=True))


def update(root: Path, updates: int) -> float:
    """Update one user after the other; return the seconds it took."""
    from spotify_dag.schemas import ARTIST_GENRES, INGESTS

    project = opened(root)
    index = project.user_index("tower-1")
    begun = time.monotonic()
    for number in range(1, updates + 1):
        bucket = number % 64
        for table, rows in bucket_rows(bucket, number):
            if table is None:
                index.merge(rows.head(1), [])
                index.fold()
            elif table in (INGESTS, ARTIST_GENRES):
                project.lake.replace(table, [bucket], [rows])
            else:
                user = rows["user_id"][0]
                project.lake.replace_users(table, [bucket], [user], rows.filter(user_id=user))
    return time.monotonic() - begun


def ask(root: Path, stop: Path) -> dict[str, Any]:
    """Ask until told to stop; return how long answers took: median, 99 % and slowest, in milliseconds."""
    import numpy as np

    project = opened(root)
    drawn = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"index": [], "whole answer": []}
    errors: list[str] = []

    def timed(name: str, question: Callable[[], Any]) -> None:
        begun = time.perf_counter()
        try:
            question()
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}")
        seconds[name].append(time.perf_counter() - begun)

    user = "synthetic-000001"
    vector = project.user_index("tower-1").vectors([user])[user]
    project.matcher.recommend([user], 10)  # the first question of a process imports and opens
    while not stop.exists():
        user = f"synthetic-{drawn.integers(USERS):06d}"
        timed("index", lambda: project.user_index("tower-1").nearest(vector[None], 11))
        timed("whole answer", lambda user=user: project.matcher.recommend([user], 10))  # type: ignore[misc]
        time.sleep(PAUSE_SECONDS)
    found: dict[str, Any] = {
        name: [float(np.quantile(values, share) * 1000) for share in (0.5, 0.99, 1)] for name, values in seconds.items()
    }
    return {**found, "answers": sum(map(len, seconds.values())), "errors": len(errors), "first_errors": errors[:5]}


def keep_tidy(root: Path, stop: Path) -> dict[str, Any]:
    """Do what the schedule of housekeeping does, more often; return the most files and bytes there were."""
    from spotify_dag.lifecycle.housekeeping import tidy

    project = opened(root)
    most = {"files": 0, "bytes": 0}
    while not stop.exists():
        for name, value in used(project).items():
            most[name] = max(most[name], value)
        tidy(project, KEEP)
        time.sleep(TIDY_SECONDS)
    return most


def finish(root: Path, updates: int) -> dict[str, Any]:
    """Tidy once nobody reads any more; return files, bytes, and how many users are lost or not as updated last."""
    from spotify_dag.lifecycle.housekeeping import tidy
    from spotify_dag.schemas import USERS as USERS_TABLE

    project = opened(root)
    for _ in range(2):  # a log is cut at the checkpoint before
        tidy(project, timedelta(0))
    users = project.lake.scan(USERS_TABLE).collect()
    rows = project.user_index("tower-1").rows()
    differ = users.join(rows, on=["user_id", "content_hash"], how="anti").height
    return {**used(project), "lost": USERS - users.height + USERS - rows.height + differ, "updates": updates}


if __name__ == "__main__":
    run(NAME, __doc__, measure, updates=(int, f"how many, instead of {UPDATES:,}"))
