"""1,000,000 users: a tick with nothing new, 10 new users, one user forgotten. What they cost as the base grows.

A small world goes through the real stages: its tower answers. Further users are drawn around its users, straight into
the tables and the index: ids, listening of a few items, tastes, embeddings and vectors with noise. One bucket has
listening of real length, and there users are forgotten. ``--users`` gives another number of users. ``--root PATH``
keeps the base, and finds it there the next time.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.pipeline import register_world, run_stages

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from spotify_dag.project import Project

NAME = "million_users"
USERS, QUICK_USERS = 1_000_000, 20_000
SMALL, PLAYLISTS, TRACKS, TRAIN_USERS = 2_000, 5, 50, 500
"""The world that is not drawn."""
ITEMS, TASTES = 4, 24
"""Playlist items and tastes of a drawn user."""
WHOLE_BUCKET = 0
"""In this bucket users keep all items of the user whom they were drawn around."""
CHUNK = 4
"""Buckets that are drawn at a time."""
NOISE = 0.05
FORGOTTEN = 3
TICK_SECONDS, TICK_GIB, FORGET_SECONDS = 1.0, 0.5, 10.0


def build(root: Path, users: int) -> None:
    """Make a base."""
    os.environ["SPOTIFY_DAG_TRAIN_USERS"] = str(TRAIN_USERS)
    register_world(root, SMALL, PLAYLISTS, TRACKS)
    run_stages(root, "index")


def draw(root: Path, users: int) -> None:
    """Replace the users of the small world by so many drawn around them, and bring the rest of the graph up to date."""
    import numpy as np
    import polars as pl

    from spotify_dag.features.genres import bucket_artists, match_genres
    from spotify_dag.schemas import ARTIST_GENRES, INGESTS, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, user_buckets
    from spotify_dag.schemas import USERS as USERS_TABLE
    from spotify_dag.stores.model_registry import CARD_FILE

    project = opened(root)
    lake, version = project.lake, project.published()
    index = project.user_index(str(version))
    small = {table: lake.scan(table).collect() for table in (RAW_PLAYLISTS, USERS_TABLE, USER_TASTES, USER_EMBEDDINGS)}
    small[USER_TASTES] = _first(small[USER_TASTES].sort("weight", descending=True), TASTES)
    vectors = index.rows(with_vectors=True)
    ids = pl.DataFrame({"number": pl.int_range(users, eager=True)}).with_columns(
        pl.format("synthetic-{}", pl.col("number").cast(pl.String).str.zfill(6)).alias("drawn"),
        pl.format("synthetic-{}", (pl.col("number") % SMALL).cast(pl.String).str.zfill(6)).alias("user_id"),
    )
    ids = ids.with_columns(pl.Series("bucket", user_buckets(ids["drawn"].to_list(), lake.n_buckets), dtype=pl.Int32))
    source = project.inbox.register_source("synthetic", {"users": users, "playlists": PLAYLISTS, "tracks": TRACKS})
    index.drop()
    rng = np.random.default_rng(0)
    tables = project.genre_tables()
    few = _first(small[RAW_PLAYLISTS].sort("playlist_position", "position"), ITEMS)
    for first in range(0, lake.n_buckets, CHUNK):
        buckets = list(range(first, min(first + CHUNK, lake.n_buckets)))
        here = ids.filter(pl.col("bucket").is_in(buckets))
        whole = here.filter(pl.col("bucket") == WHOLE_BUCKET)
        items = pl.concat(
            [_copies(small[RAW_PLAYLISTS], whole), _copies(few, here.filter(pl.col("bucket") != WHOLE_BUCKET))]
        )
        drawn = _copies(small[USERS_TABLE], here)
        drawn = drawn.drop("rows_kept").join(
            items.group_by("user_id").agg(pl.len().cast(pl.Int32).alias("rows_kept")), on="user_id"
        )
        embedded = _copies(small[USER_EMBEDDINGS], here)
        embedded = embedded.with_columns(
            pl.Series(name, _noisy(embedded[name], rng))
            for name in ("genre_embedding", "artist_embedding", "playlist_embedding")
        )
        lake.replace(RAW_PLAYLISTS, buckets, [items])
        lake.replace(USERS_TABLE, buckets, [drawn])
        lake.replace(ARTIST_GENRES, buckets, [match_genres(bucket_artists(items.lazy()), tables)])
        lake.replace(USER_TASTES, buckets, [_copies(small[USER_TASTES], here)])
        lake.replace(USER_EMBEDDINGS, buckets, [embedded])
        rows = _copies(vectors, here).with_columns(opted_in=pl.lit(True))
        width = vectors["vector"].dtype.shape[0]
        made = rows["vector"].to_numpy() + rng.normal(scale=NOISE / width**0.5, size=(rows.height, width)).astype(
            np.float32
        )
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        index.replace(buckets, rows.with_columns(pl.Series("vector", made, dtype=pl.Array(pl.Float32, width))))
        ingested = (
            drawn.group_by("user_bucket", "source")
            .agg(pl.col("fetched_at").max(), pl.col("rows_kept").sum().cast(pl.Int64), pl.len().alias("users"))
            .with_columns(
                pl.lit(source.version()).alias("source_version"),
                pl.col("rows_kept").alias("rows_read"),
                pl.lit(0).alias("rows_rejected"),
            )
        )
        lake.replace(INGESTS, buckets, [ingested])
        print(first, time.strftime("%X"), flush=True)
    card_file = root / "models" / str(version) / CARD_FILE
    card_file.write_text(json.dumps(json.loads(card_file.read_text()) | {"users_in_lake": users}))
    index.optimise()


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


def _noisy(embeddings: pl.Series, rng: np.random.Generator) -> pl.Series:
    """Return embeddings with noise; those that are not known stay so."""
    import numpy as np
    import polars as pl

    frame = pl.DataFrame({"row": pl.int_range(len(embeddings), eager=True), "embedding": embeddings})
    known = frame.drop_nulls()
    matrix = np.stack(known["embedding"].to_numpy())
    matrix = matrix + rng.normal(scale=NOISE / matrix.shape[1] ** 0.5, size=matrix.shape).astype(np.float32)
    made = pl.DataFrame(
        {
            "row": known["row"],
            "made": pl.Series(matrix, dtype=pl.Array(pl.Float32, matrix.shape[1])).cast(pl.List(pl.Float32)),
        }
    )
    return frame.join(made, on="row", how="left", maintain_order="left")["made"]


def opened(root: Path) -> Project:
    """Return the project of a data root."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    return Project.open(Settings(data=root))
