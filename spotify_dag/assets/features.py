"""Listening to user embeddings: genres, tastes, text vectors, and the feature row of every user."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.reporting import bar_chart, histogram, lake_asset, markdown_table, preview, report
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
from spotify_dag.staleness.changed_users import Changes, changed_features, mark_stale
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import encode_missing, load_vectors, unknown_texts
from spotify_dag.training_data.listening import taste_texts

if TYPE_CHECKING:
    import polars as pl


def feature_assets(settings: Settings) -> list[Any]:
    """Return the assets of this stage."""

    @lake_asset(ARTIST_GENRES, settings=settings, group="features", deps=["raw_playlists"], code_version="1")
    def artist_genres(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
        import polars as pl

        wanted, lake = run_buckets(context), project.lake
        tables = project.genre_tables()
        whole = changed_features(project, wanted).whole
        marked: list[int] = []

        def frames() -> "Iterator[pl.DataFrame]":
            for chunk in lake.chunks(RAW_PLAYLISTS, wanted):
                made = match_genres(bucket_artists(lake.scan(RAW_PLAYLISTS, chunk)), tables)
                artists = with_artists_of_dropped(lake, chunk, made)
                if carried_over := [bucket for bucket in chunk if bucket not in whole]:
                    before = lake.scan(ARTIST_GENRES, carried_over).collect()
                    marked.append(mark_stale(project, carried_over, before, artists))
                yield artists

        rows = lake.replace(ARTIST_GENRES, wanted, frames())
        written = lake.scan(ARTIST_GENRES, wanted)
        matched = written.group_by("matched_by").agg(pl.col("rows").sum(), pl.len().alias("artists")).collect()
        per_genre = written.explode("genres").drop_nulls("genres").group_by("genres").agg(pl.col("rows").sum())
        common = per_genre.sort("rows", descending=True).head(12).collect()
        return report(
            context,
            rows,
            users_whose_artists_changed=sum(marked),
            genre_coverage=genre_coverage(written) or 0.0,
            matched=dg.MetadataValue.md(markdown_table(matched)),
            common_genres=bar_chart(common["genres"].to_list(), common["rows"].to_list(), " rows"),
            preview=preview(written.head(8).collect()),
        )

    @lake_asset(
        USER_TASTES, settings=settings, group="features", deps=["raw_playlists", "artist_genres"], code_version="1"
    )
    def user_tastes_(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        import polars as pl

        wanted, lake = run_buckets(context), project.lake
        changes = changed_features(project, wanted)

        def tastes(buckets: list[int], raw: "pl.LazyFrame") -> "pl.DataFrame":
            artists = lake.scan(ARTIST_GENRES, buckets).collect()
            return user_tastes(raw, artists, playlists_count=settings.playlists_count)

        with progress.task("Weighing tastes", len(wanted)) as advance:

            def frames() -> "Iterator[pl.DataFrame]":
                for chunk in lake.chunks(RAW_PLAYLISTS, changes.whole):
                    yield with_dropped(lake, USER_TASTES, chunk, tastes(chunk, lake.scan(RAW_PLAYLISTS, chunk)))
                    advance(len(chunk))

            if changes.whole:
                lake.replace(USER_TASTES, changes.whole, frames())
            if changes.some:
                found = tastes(changes.some, of_users(lake, RAW_PLAYLISTS, changes))
                found = with_dropped(lake, USER_TASTES, changes.some, found)
                chosen = found.filter(pl.col("user_id").is_in(changes.users))
                lake.replace_users(USER_TASTES, changes.some, changes.users, chosen)
        rows = row_counts(lake, USER_TASTES, wanted)
        kinds = lake.scan(USER_TASTES, wanted).select("kind").collect()["kind"].value_counts(sort=True)
        return report(
            context,
            rows,
            kinds=bar_chart(kinds["kind"].to_list(), kinds["count"].to_list(), " rows"),
            preview=preview(lake.scan(USER_TASTES, wanted).head(8).collect()),
        )

    @lake_asset(TEXT_VECTORS, settings=settings, group="features", deps=["user_tastes"], code_version="1")
    def text_vectors(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        import polars as pl

        wanted, encoder = run_buckets(context), project.encoder
        changes = changed_features(project, wanted)
        texts = pl.concat(
            [taste_texts(project, changes.whole), taste_texts(project, changes.some, changes.users)]
        ).unique("text")
        new = unknown_texts(project.lake, encoder, texts)
        with progress.task("Encoding strings", new.height) as advance:
            encode_missing(project.lake, encoder, new, advance)
        return dg.MaterializeResult(
            metadata={
                "strings_needed": texts.height,
                "strings_encoded_in_this_run": new.height,
                "encoder": str(settings.encoder or "all-MiniLM-L6-v2"),
                "encoder_digest": encoder.digest,
                "preview": preview(new),
            }
        )

    @lake_asset(
        USER_EMBEDDINGS,
        settings=settings,
        group="features",
        deps=["raw_playlists", "user_tastes", "text_vectors"],
        code_version=f"{FEATURES_CODE}-{settings.top_artist_count}-{settings.playlists_count}",
    )
    def user_embeddings_(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        import polars as pl

        wanted, lake = run_buckets(context), project.lake
        changes = changed_features(project, wanted)

        def embedded(rows: "Callable[[Table], pl.LazyFrame]", texts: "pl.DataFrame") -> "pl.DataFrame":
            return user_embeddings(
                rows(USERS).sort("user_id").collect(), rows(RAW_PLAYLISTS), rows(USER_TASTES).collect(),
                load_vectors(lake, project.encoder, texts),
                top_artist_count=settings.top_artist_count, playlists_count=settings.playlists_count,
                feature_version=feature_version(project),
            )  # fmt: skip

        with progress.task("Embedding users", len(wanted)) as advance:

            def frames() -> "Iterator[pl.DataFrame]":
                for chunk in lake.chunks(RAW_PLAYLISTS, changes.whole):
                    made = embedded(partial(lake.scan, buckets=chunk), taste_texts(project, chunk))
                    yield with_dropped(lake, USER_EMBEDDINGS, chunk, made)
                    advance(len(chunk))

            if changes.whole:
                lake.replace(USER_EMBEDDINGS, changes.whole, frames())
            if changes.some:
                texts = taste_texts(project, changes.some, changes.users)
                found = embedded(lambda table: of_users(lake, table, changes), texts)
                found = with_dropped(lake, USER_EMBEDDINGS, changes.some, found)
                chosen = found.filter(pl.col("user_id").is_in(changes.users))
                lake.replace_users(USER_EMBEDDINGS, changes.some, changes.users, chosen)
        rows = row_counts(lake, USER_EMBEDDINGS, wanted)
        written = lake.scan(USER_EMBEDDINGS, wanted)
        # The mean over nobody is null: all users of these buckets may have left.
        known = written.select(pl.col(name).is_not_null().mean().fill_null(0) for name in EMBEDDINGS).collect()
        left_out = (
            written.filter(pl.col("unembedded_reason").is_not_null()).select("user_id", "unembedded_reason").collect()
        )
        return report(
            context,
            rows,
            users_embedded=sum(rows.values()) - left_out.height,
            users_not_embedded=left_out.height,
            not_embedded=preview(left_out),
            share_known=bar_chart(known.columns, known.row(0)),
            tracks_per_user=histogram(written.select("tracks").collect()["tracks"]),
            preview=preview(written.head(8).collect()),
        )

    return [artist_genres, user_tastes_, text_vectors, user_embeddings_]


def of_users(lake: Lake, table: Table, changes: Changes) -> "pl.LazyFrame":
    """Return the rows of the users whose bucket is not made anew as a whole."""
    import polars as pl

    return lake.scan(table, changes.some).filter(pl.col("user_id").is_in(changes.users))


def row_counts(lake: Lake, table: Table, buckets: list[int]) -> dict[int, int]:
    """Return the rows of each bucket, zeros included."""
    import polars as pl

    counts = lake.scan(table, buckets).group_by("user_bucket").agg(pl.len()).collect()
    return dict.fromkeys(buckets, 0) | dict(counts.iter_rows())
