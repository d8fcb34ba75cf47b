"""Listening to user embeddings: genres, tastes, text vectors, and the feature row of every user."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.reporting import bar_chart, histogram, lake_asset, report, typed_table
from spotify_dag.features.embeddings import FEATURES_CODE, user_embeddings
from spotify_dag.features.genres import bucket_artists, genre_coverage, match_genres
from spotify_dag.features.tastes import user_tastes
from spotify_dag.lifecycle.retention import with_artists_of_dropped, with_dropped
from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_GENRES,
    EMBEDDINGS,
    RAW_PLAYLISTS,
    TEXT_VECTORS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
)
from spotify_dag.settings import Settings
from spotify_dag.staleness.changed_users import Changes, changed_features, mark_stale, take_preferences
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.bucket_state import sums_of_rows
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import encode_missing, load_vectors, unknown_texts
from spotify_dag.training_data.listening import taste_texts

if TYPE_CHECKING:
    import polars as pl


def feature_assets(
    settings: Settings, buckets: dg.StaticPartitionsDefinition, backfills: dg.BackfillPolicy
) -> list[Any]:
    """Return the assets of this stage."""
    asset = partial(lake_asset, partitions=buckets, backfills=backfills, group="features")
    return [
        asset(compute_artist_genres, ARTIST_GENRES, deps=["raw_playlists"], code_version="1"),
        asset(compute_user_tastes, USER_TASTES, deps=["raw_playlists", "artist_genres"], code_version="1"),
        asset(compute_text_vectors, TEXT_VECTORS, deps=["user_tastes"], code_version="1"),
        asset(
            compute_user_embeddings,
            USER_EMBEDDINGS,
            deps=["raw_playlists", "user_tastes", "text_vectors"],
            code_version=f"{FEATURES_CODE}-{settings.top_artist_count}-{settings.playlists_count}",
        ),
    ]


def compute_artist_genres(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]
) -> dg.MaterializeResult:
    """Join the artists of the run's buckets to genres."""
    import polars as pl

    buckets, lake = run_buckets(context), project.lake
    marked: list[int] = []
    rows = lake.replace(ARTIST_GENRES, buckets, _matched_artists(project, buckets, marked))
    written = lake.scan(ARTIST_GENRES, buckets)
    matched = written.group_by("matched_by").agg(pl.col("rows").sum(), pl.len().alias("artists")).collect()
    per_genre = written.explode("genres").drop_nulls("genres").group_by("genres").agg(pl.col("rows").sum())
    common = per_genre.sort("rows", descending=True).head(12).collect()
    return report(
        context,
        rows,
        users_whose_artists_changed=sum(marked),
        genre_coverage=genre_coverage(written) or 0.0,
        matched=typed_table(matched),
        common_genres=bar_chart(common["genres"].to_list(), common["rows"].to_list(), " rows"),
    )


def _matched_artists(project: Project, buckets: list[int], marked: list[int]) -> "Iterator[pl.DataFrame]":
    """Yield the artists of each chunk of buckets with their genres.

    Where an artist of a bucket that is only added to changes, its listeners are marked stale; ``marked`` gets their
    number, chunk by chunk.
    """
    lake, tables = project.lake, project.genre_tables()
    whole = changed_features(project, buckets).whole
    for chunk in lake.chunks(RAW_PLAYLISTS, buckets):
        joined = match_genres(bucket_artists(lake.scan(RAW_PLAYLISTS, chunk)), tables)
        artists = with_artists_of_dropped(lake, chunk, joined)
        if added_to := [bucket for bucket in chunk if bucket not in whole]:
            before = lake.scan(ARTIST_GENRES, added_to).collect()
            marked.append(mark_stale(project, added_to, before, artists))
        yield artists


def compute_user_tastes(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Compute what share of a user's listening goes to each genre, artist and year."""
    buckets, lake, used = run_buckets(context), project.lake, project.used_preferences
    take_preferences(project, buckets)
    changes = changed_features(project, buckets)

    def tastes(chunk: list[int], users: list[str] | None) -> "pl.DataFrame":
        items, artists = used.counted(lake, chunk, users), lake.scan(ARTIST_GENRES, chunk).collect()
        return user_tastes(items, artists, playlists_count=project.settings.playlists_count)

    with progress.task("Weighing tastes", len(buckets)) as advance:
        replace_changed(lake, USER_TASTES, changes, tastes, advance)
    kinds = lake.scan(USER_TASTES, buckets).select("kind").collect()["kind"].value_counts(sort=True)
    return report(
        context,
        row_counts(lake, USER_TASTES, buckets),
        kinds=bar_chart(kinds["kind"].to_list(), kinds["count"].to_list(), " rows"),
    )


def compute_text_vectors(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Encode the genre and artist names of the run's tastes that have no vector yet."""
    import polars as pl

    buckets, encoder = run_buckets(context), project.encoder
    changes = changed_features(project, buckets)
    texts = pl.concat([taste_texts(project, changes.whole), taste_texts(project, changes.some, changes.users)])
    texts = texts.unique("text")
    new = unknown_texts(project.lake, encoder, texts)
    with progress.task("Encoding strings", new.height) as advance:
        encoded = encode_missing(project.lake, encoder, new, advance)
    return dg.MaterializeResult(
        metadata={
            "strings_needed": texts.height,
            "strings_encoded_in_this_run": encoded,
            "encoder": str(project.settings.encoder or "all-MiniLM-L6-v2"),
            "encoder_digest": encoder.digest,
        }
    )


def compute_user_embeddings(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Compute the feature row of every user: four embeddings and statistics."""
    import polars as pl

    buckets, lake, settings, used = run_buckets(context), project.lake, project.settings, project.used_preferences
    changes, version = changed_features(project, buckets), feature_version(project)

    def embeddings(chunk: list[int], users: list[str] | None) -> "pl.DataFrame":
        return user_embeddings(
            used.hashed(rows_of(lake, USERS, chunk, users), chunk).sort("user_id").collect(),
            used.counted(lake, chunk, users),
            rows_of(lake, USER_TASTES, chunk, users).collect(),
            load_vectors(lake, project.encoder, taste_texts(project, chunk, users)),
            top_artist_count=settings.top_artist_count,
            playlists_count=settings.playlists_count,
            feature_version=version,
        )

    with progress.task("Embedding users", len(buckets)) as advance:
        replace_changed(lake, USER_EMBEDDINGS, changes, embeddings, advance)
    rows, written = row_counts(lake, USER_EMBEDDINGS, buckets), lake.scan(USER_EMBEDDINGS, buckets)
    given = {name: pl.col(name).is_not_null() for name in (*EMBEDDINGS, "unembedded_reason")}
    counts = sums_of_rows(lake, USER_EMBEDDINGS, "given", given, buckets)
    left_out, users = counts["unembedded_reason"], max(1, sum(rows.values()))
    return report(
        context,
        rows,
        users_embedded=sum(rows.values()) - left_out,
        users_not_embedded=left_out,
        share_known=bar_chart(list(EMBEDDINGS), [counts[name] / users for name in EMBEDDINGS]),
        tracks_per_user=histogram(written.select("tracks").collect()["tracks"]),
    )


def replace_changed(
    lake: Lake,
    table: Table,
    changes: Changes,
    compute: "Callable[[list[int], list[str] | None], pl.DataFrame]",
    advance: Callable[[int], None],
) -> None:
    """Write the rows of changed users: whole buckets in one commit, single users of the others in another.

    Parameters
    ----------
    lake, table
        Where the rows belong.
    changes
        Which buckets are made anew as a whole, and which users of the others.
    compute
        Makes the rows of some buckets: of all their users (None), or of some.
    advance
        Hears how many buckets are done.
    """
    import polars as pl

    def whole() -> "Iterator[pl.DataFrame]":
        for chunk in lake.chunks(RAW_PLAYLISTS, changes.whole):
            yield with_dropped(lake, table, chunk, compute(chunk, None))
            advance(len(chunk))

    if changes.whole:
        lake.replace(table, changes.whole, whole())
    if changes.some:
        rows = with_dropped(lake, table, changes.some, compute(changes.some, changes.users))
        lake.replace_users(table, changes.some, changes.users, rows.filter(pl.col("user_id").is_in(changes.users)))


def rows_of(lake: Lake, table: Table, buckets: list[int], users: list[str] | None) -> "pl.LazyFrame":
    """Return the rows of some buckets: of all their users (None), or of some."""
    import polars as pl

    rows = lake.scan(table, buckets)
    return rows if users is None else rows.filter(pl.col("user_id").is_in(users))


def row_counts(lake: Lake, table: Table, buckets: list[int]) -> dict[int, int]:
    """Return the rows of each bucket, zeros included."""
    import polars as pl

    counts = lake.scan(table, buckets).group_by("user_bucket").agg(pl.len()).collect()
    return dict.fromkeys(buckets, 0) | dict(counts.iter_rows())
