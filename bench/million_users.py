"""1,000,000 users: a tick with nothing new, 10 new users, one user forgotten. What they cost as the base grows.

A small world goes through the real stages: its tower answers. Users are drawn around its users, straight into the
tables and the index: listening of a few items, tastes, embeddings and vectors with noise. One bucket has listening of
real length, and there users are forgotten. The catalogue and the continuation model stay those of the small world.
``--root PATH`` keeps the base, and finds it there the next time.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bench.arrival import NEW_USERS, TRAIN_USERS, arrive
from bench.measure import Cost, console, in_fresh_process, print_others, print_table, run
from bench.pipeline import register_world, run_stages

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from spotify_dag.project import Project

NAME = "million_users"
USERS, QUICK_USERS = 1_000_000, 20_000
SMALL, PLAYLISTS, TRACKS = 2_000, 5, 50
"""The world that is not drawn."""
ITEMS, TASTES = 4, 24
"""Playlist items and tastes of a drawn user."""
WHOLE_BUCKET = 0
"""In this bucket drawn users have all items of the user they were drawn around."""
CHUNK = 4
"""Buckets that are drawn at a time."""
NOISE = 0.05
EMBEDDED = ("genre_embedding", "artist_embedding", "playlist_embedding")
FORGOTTEN = 3
TICK_SECONDS, TICK_GIB, FORGET_SECONDS = 1.0, 0.5, 10.0


def measure(quick: bool, users: int | None, root: Path | None) -> dict[str, Any]:
    """Measure, print and return the figures."""
    count = users or (QUICK_USERS if quick else USERS)
    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        base = root or Path(folder) / "data"
        costs: dict[str, Cost] = {}
        if not (base / "lake").exists():
            _, costs["small world"] = in_fresh_process(build, base)
            _, costs["drawing"] = in_fresh_process(draw, base, count)
        in_fresh_process(tick, base)  # what is known of each bucket is remembered from here on
        ticks, costs["ticks"] = in_fresh_process(tick, base)
        nothing, costs["a run with nothing to do"] = in_fresh_process(run_stages, base, "weekly")
        arrived, costs["10 new users"] = in_fresh_process(arrive, base)
        forgotten, costs["forgetting"] = in_fresh_process(forget_some, base)
    results = {"users": count, "ticks": ticks, "arrival": arrived, "forget_seconds": forgotten, "stages": nothing}
    rows = [
        *((f"tick of {name}, {when}", f"{seconds:.2f} s", f"{costs['ticks'].peak_gib:.2f} GiB")
          for name, both in ticks.items() for when, seconds in zip(("first of a process", "later"), both, strict=True)),
        *((name, f"{cost.seconds:,.1f} s", f"{cost.peak_gib:.2f} GiB") for name, cost in costs.items()),
        (f"{NEW_USERS} new users, median", f"{arrived['seconds']:.1f} s", ""),
        ("one user forgotten: first, median of the others", f"{forgotten[0]:.1f} s, {median(forgotten[1:]):.1f} s", ""),
    ]  # fmt: skip
    print_table(f"{count:,} users", ("", "Time", "Peak"), rows)
    good = (
        max(both[-1] for both in ticks.values()) <= TICK_SECONDS
        and costs["ticks"].peak_gib <= TICK_GIB
        and median(forgotten[1:]) <= FORGET_SECONDS
    )
    console.print(f"[bold]{'PASS' if good else 'OVER THE LIMIT'}[/]")
    print_others(costs)
    return {**results, "within_limit": good, "costs": {name: asdict(cost) for name, cost in costs.items()}}


def build(root: Path) -> None:
    """Make the small world."""
    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    register_world(root, SMALL, PLAYLISTS, TRACKS)
    run_stages(root, "index")


def tick(root: Path) -> dict[str, list[float]]:
    """Let both sensors look twice, the first time without a cursor; return their seconds, without their imports."""
    import dagster as dg

    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.orchestration.sensors import arrivals, catch_up

    project = opened(root)
    seconds: dict[str, list[float]] = {}
    with open_instance(project) as instance:
        for _ in range(2):
            for sensor in (arrivals, catch_up):
                begun = time.monotonic()
                sensor(dg.build_sensor_context(instance=instance, resources={"project": project}))
                seconds.setdefault(sensor.name, []).append(time.monotonic() - begun)
    return seconds


def forget_some(root: Path) -> list[float]:
    """Forget users of the bucket with listening of real length, one after the other; return the seconds of each."""
    import polars as pl

    from spotify_dag.lifecycle.forget import forget
    from spotify_dag.schemas import USERS as USERS_TABLE

    project = opened(root)
    users = project.lake.scan(USERS_TABLE, [WHOLE_BUCKET]).filter(pl.col("source") == "synthetic").collect()
    seconds = []
    for user in users["user_id"].sort().tail(FORGOTTEN):
        begun = time.monotonic()
        forget(project, user)
        seconds.append(time.monotonic() - begun)
    return seconds


def draw(root: Path, users: int) -> None:
    """Replace the users of the small world by so many drawn around them; tracks stay those of the small world."""
    import numpy as np
    import polars as pl

    from spotify_dag.schemas import RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, user_buckets
    from spotify_dag.schemas import USERS as USERS_TABLE

    project = opened(root)
    lake, index = project.lake, project.user_index(str(project.published()))
    small = {table: lake.scan(table).collect() for table in (RAW_PLAYLISTS, USERS_TABLE, USER_TASTES, USER_EMBEDDINGS)}
    small[USER_TASTES] = _first(small[USER_TASTES].sort("weight", descending=True), TASTES)
    few = _first(small[RAW_PLAYLISTS].sort("playlist_position", "position"), ITEMS)
    vectors = index.rows(with_vectors=True)
    ids = pl.DataFrame({"number": pl.int_range(users, eager=True)}).with_columns(
        pl.format("synthetic-{}", pl.col("number").cast(pl.String).str.zfill(6)).alias("drawn"),
        pl.format("synthetic-{}", (pl.col("number") % SMALL).cast(pl.String).str.zfill(6)).alias("user_id"),
    )
    ids = ids.with_columns(pl.Series("bucket", user_buckets(ids["drawn"].to_list(), lake.n_buckets), dtype=pl.Int32))
    source = project.inbox.register_source("synthetic", {"users": users, "playlists": PLAYLISTS, "tracks": TRACKS})
    index.drop()
    rng = np.random.default_rng(0)
    for first in range(0, lake.n_buckets, CHUNK):
        buckets = list(range(first, min(first + CHUNK, lake.n_buckets)))
        here = ids.filter(pl.col("bucket").is_in(buckets))
        is_whole = pl.col("bucket") == WHOLE_BUCKET
        items = [_copies(small[RAW_PLAYLISTS], here.filter(is_whole)), _copies(few, here.filter(~is_whole))]
        embedded = _copies(small[USER_EMBEDDINGS], here)
        noisy = [pl.Series(name, _noisy(embedded[name], rng)) for name in EMBEDDED]
        _write_listening(project, source.version(), buckets, pl.concat(items), _copies(small[USERS_TABLE], here))
        lake.replace(USER_TASTES, buckets, [_copies(small[USER_TASTES], here)])
        lake.replace(USER_EMBEDDINGS, buckets, [embedded.with_columns(noisy)])
        rows = _copies(vectors, here)
        made = pl.Series("vector", _noisy(rows["vector"], rng, unit=True)).cast(vectors["vector"].dtype)
        index.replace(buckets, rows.with_columns(made))
    index.optimise()
    _settle(project, source.version(), users)


def _write_listening(
    project: Project, version: str, buckets: list[int], items: pl.DataFrame, users: pl.DataFrame
) -> None:
    """Write what a run that reads the source writes of some buckets."""
    import polars as pl

    from spotify_dag.features.genres import bucket_artists, match_genres
    from spotify_dag.schemas import ARTIST_GENRES, INGESTS, RAW_PLAYLISTS
    from spotify_dag.schemas import USERS as USERS_TABLE

    lake = project.lake
    counts = items.group_by("user_id").agg(pl.len().cast(pl.Int32).alias("rows_kept"))
    users = users.drop("rows_kept").join(counts, on="user_id")
    ingested = users.group_by("user_bucket", "source").agg(
        pl.col("fetched_at").max(), pl.col("rows_kept").sum().cast(pl.Int64), pl.len().alias("users")
    )
    lake.replace(RAW_PLAYLISTS, buckets, [items])
    lake.replace(USERS_TABLE, buckets, [users])
    lake.replace(ARTIST_GENRES, buckets, [match_genres(bucket_artists(items.lazy()), project.genre_tables())])
    kept = pl.col("rows_kept")
    read = ingested.with_columns(source_version=pl.lit(version), rows_read=kept, rows_rejected=pl.lit(0))
    lake.replace(INGESTS, buckets, [read])


def _settle(project: Project, version: str, users: int) -> None:
    """Have nothing be stale: the tower counts as trained beside so many users, the tracks as made from them."""
    import polars as pl

    from spotify_dag.schemas import AUDIO_FEATURES
    from spotify_dag.staleness.changed_tracks import catalogue_inputs
    from spotify_dag.stores.model_registry import CARD_FILE

    card = project.settings.local_data / "models" / str(project.published()) / CARD_FILE
    card.write_text(json.dumps(json.loads(card.read_text()) | {"users_in_lake": users}))
    sounds = project.lake.scan(AUDIO_FEATURES).with_columns(source_version=pl.lit(version)).collect()
    project.lake.overwrite(AUDIO_FEATURES, [sounds], part="synthetic")
    made = {"made_from": catalogue_inputs(project), "made_at": datetime.now(UTC).isoformat()}
    project.set_track_catalogue_card(project.track_catalogue_card() | made)


def _first(rows: pl.DataFrame, count: int) -> pl.DataFrame:
    """Return the first rows of each user."""
    return rows.group_by("user_id", maintain_order=True).head(count).select(rows.columns)


def _copies(rows: pl.DataFrame, here: pl.DataFrame) -> pl.DataFrame:
    """Return rows of users of the small world for each user drawn around them."""
    import polars as pl

    joined = here.join(rows, on="user_id", how="inner").sort("number")
    if "content_hash" in rows.columns:
        joined = joined.with_columns(pl.col("content_hash") ^ (pl.col("number").cast(pl.Int64) // SMALL))
    return joined.with_columns(pl.col("bucket").alias("user_bucket"), pl.col("drawn").alias("user_id")).select(
        rows.columns
    )


def _noisy(embeddings: pl.Series, rng: np.random.Generator, *, unit: bool = False) -> pl.Series:
    """Return embeddings with noise, of unit length if wanted; those that are not known stay so."""
    import numpy as np
    import polars as pl

    frame = pl.DataFrame({"row": pl.int_range(len(embeddings), eager=True), "embedding": embeddings})
    known = frame.drop_nulls()
    matrix = known["embedding"].cast(pl.Array(pl.Float32, len(known["embedding"][0]))).to_numpy()
    matrix = matrix + rng.normal(scale=NOISE / matrix.shape[1] ** 0.5, size=matrix.shape).astype(np.float32)
    if unit:
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    made = pl.Series("made", matrix, dtype=pl.Array(pl.Float32, matrix.shape[1])).cast(pl.List(pl.Float32))
    return frame.join(known.select("row", made), on="row", how="left", maintain_order="left")["made"]


def opened(root: Path) -> Project:
    """Return the project of a data root."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    return Project.open(Settings(data=root))


if __name__ == "__main__":
    run(NAME, __doc__, measure, users=(int, f"how many, instead of {USERS:,}"), root=(Path, "where the base is kept"))
