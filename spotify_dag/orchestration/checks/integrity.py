"""Checks between tables: all users and rows that went into a stage came out of it.

Each check counts what disagrees, by name, in the buckets of the run; any count above zero blocks what comes after. That
every table keeps its own rules is checked in `table_rules`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.features.tastes import items
from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, RAW_PLAYLISTS, REJECTS, USER_TASTES, USERS, user_buckets
from spotify_dag.stores.bucket_state import sums_of_rows
from spotify_dag.stores.text_encoder import unknown_texts
from spotify_dag.training_data.listening import taste_texts

if TYPE_CHECKING:
    import polars as pl


def lost_at_reading(project: Project, buckets: list[int]) -> dict[str, int]:
    """Count what was read and is not in the tables, and users in a bucket that is not theirs.

    Counts of reading and tables are comparable where a bucket was last read as a whole. Where a part of its users was
    carried over, the counts of what they came from may be older than the users who are left of it.
    """
    import polars as pl

    lake, bucket, times = project.lake, "user_bucket", pl.col("fetched_at")
    counts = ("rows_kept", "rows_rejected", "users")
    present = {
        "rows_kept": lake.scan(RAW_PLAYLISTS, buckets),
        "rows_rejected": lake.scan(REJECTS, buckets).filter("dropped"),
        "users": lake.scan(USERS, buckets),
    }
    read = lake.scan(INGESTS, buckets).group_by(bucket).agg(
        pl.col(counts).cast(pl.Int64).sum(), times.min().alias("first"), times.max().alias("last")
    )  # fmt: skip
    people = present["users"].group_by(bucket).agg(times.min().alias("first_user"), times.max().alias("last_user"))
    read = read.join(people, on=bucket, how="left").filter(
        pl.col("first") == pl.col("last"),
        pl.col("first_user", "last_user").fill_null(pl.col("last")) == pl.col("last"),
    )  # fmt: skip
    for name, rows in present.items():
        counted = rows.group_by(bucket).agg(pl.len().cast(pl.Int64).alias(f"{name}_found"))
        read = read.join(counted, on=bucket, how="left")
    # Only what is missing counts: of a source that could not be read to its end, more is there than was counted.
    lost = [(pl.col(name) - pl.col(f"{name}_found").fill_null(0)).clip(lower_bound=0).sum() for name in counts]
    (missing,) = read.select(lost).collect().rows() or [(0, 0, 0)]
    lost_rows = {f"{name}_lost": n for name, n in zip(counts, missing, strict=True)}
    astray = {"users_in_another_bucket": pl.col(bucket) != _hashed_to(pl.col("user_id"), lake.n_buckets)}
    return lost_rows | sums_of_rows(lake, USERS, "astray", astray, buckets)


def _hashed_to(user_id: "pl.Expr", n_buckets: int) -> "pl.Expr":
    import polars as pl

    return user_id.map_batches(lambda ids: pl.Series(user_buckets(ids.to_list(), n_buckets), dtype=pl.Int32), pl.Int32)


def lost_artists(project: Project, buckets: list[int]) -> dict[str, int]:
    """Count playlist items whose artist is not in the artist table.

    Only the sums per bucket are compared, which is cheap. More artists than items are no fault: an artist may be kept
    without any item left.
    """
    import polars as pl

    bucket = "user_bucket"
    present = project.lake.scan(RAW_PLAYLISTS, buckets).group_by(bucket).agg(pl.len().cast(pl.Int64).alias("items"))
    counted = project.lake.scan(ARTIST_GENRES, buckets).group_by(bucket).agg(pl.col("rows").cast(pl.Int64).sum())
    lost = (pl.col("items") - pl.col("rows").fill_null(0)).clip(lower_bound=0).sum()
    both = present.join(counted, on=bucket, how="left")
    return {"items_without_their_artist": both.select(lost).collect().item()}


def lost_listeners(project: Project, buckets: list[int]) -> dict[str, int]:
    """Count users whose listening counts and has no tastes, and tastes of nobody."""
    lake = project.lake
    counted = project.used_preferences.counted(lake, buckets)
    listeners = items(counted, project.settings.playlists_count).select("user_id").unique()
    tastes = lake.scan(USER_TASTES, buckets).select("user_id", "kind")
    users = lake.scan(USERS, buckets).select("user_id")
    return {
        "users_lost": _count(listeners.join(tastes.filter(kind="artist"), on="user_id", how="anti")),
        "users_that_nobody_named": _count(tastes.select("user_id").unique().join(users, on="user_id", how="anti")),
    }


def lost_texts(project: Project, buckets: list[int]) -> dict[str, int]:
    """Count genre and artist names of the tastes that have no vector."""
    missing = unknown_texts(project.lake, project.encoder, taste_texts(project, buckets))
    return {"names_without_a_vector": missing.height}


COUNTS: dict[str, tuple[str, Callable[[Project, list[int]], dict[str, int]], str]] = {
    "nothing_lost_at_reading": (
        RAW_PLAYLISTS.name,
        lost_at_reading,
        "As many rows, rejects and users are in the tables as were read, every user in their own bucket.",
    ),
    "every_item_has_its_artist": (
        ARTIST_GENRES.name,
        lost_artists,
        "The artists of a bucket account for each of its playlist items.",
    ),
    "every_listener_has_tastes": (
        USER_TASTES.name,
        lost_listeners,
        "Every user with listening has tastes, and nobody else.",
    ),
    "every_name_has_its_vector": (
        "text_vectors",
        lost_texts,
        "Every genre and artist that tastes speak of was encoded.",
    ),
}
"""Checks by name: the asset, what counts disagreements, and what the check says."""


def counting_check(buckets: dg.StaticPartitionsDefinition, name: str) -> Any:
    """Return the check of `COUNTS` with this name."""
    asset, count, description = COUNTS[name]

    @dg.asset_check(
        asset=asset,
        name=name,
        partitions_def=buckets,
        blocking=True,
        description=description,
    )
    def check(context: dg.AssetCheckExecutionContext, project: dg.ResourceParam[Project]) -> dg.AssetCheckResult:
        counts = count(project, run_buckets(context))
        return dg.AssetCheckResult(passed=not any(counts.values()), metadata=counts)

    return check


def _count(rows: "pl.LazyFrame") -> int:
    import polars as pl

    return int(rows.select(pl.len()).collect().item())
