"""Listening to user embeddings: genres, tastes, text vectors, and the feature row of every user."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.common import bar_chart, histogram, lake_asset, markdown_table, preview, report
from spotify_dag.features.embeddings import FEATURES_CODE, user_embeddings
from spotify_dag.features.genres import bucket_artists, genre_coverage, match_genres
from spotify_dag.features.tastes import user_tastes
from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.orchestration.staleness import feature_version
from spotify_dag.resources.encoder import encode_missing, load_vectors, unknown_texts
from spotify_dag.resources.listening import taste_texts
from spotify_dag.resources.progress import Progress
from spotify_dag.resources.project import Project
from spotify_dag.resources.retention import with_artists_of_dropped, with_dropped
from spotify_dag.schemas import (
    ARTIST_GENRES,
    EMBEDDINGS,
    RAW_PLAYLISTS,
    TEXT_VECTORS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
)
from spotify_dag.settings import Settings

if TYPE_CHECKING:
    import polars as pl


def feature_assets(settings: Settings) -> list[Any]:
    """Return the assets of this stage."""

    @lake_asset(ARTIST_GENRES, settings=settings, group="features", deps=["raw_playlists"], code_version="1")
    def artist_genres(context: dg.AssetExecutionContext, project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
        import polars as pl

        wanted, lake = run_buckets(context), project.lake
        tables = project.genre_tables()
        frames = (
            with_artists_of_dropped(lake, chunk, match_genres(bucket_artists(lake.scan(RAW_PLAYLISTS, chunk)), tables))
            for chunk in lake.chunks(RAW_PLAYLISTS, wanted)
        )
        rows = lake.replace(ARTIST_GENRES, wanted, frames)
        written = lake.scan(ARTIST_GENRES, wanted)
        matched = written.group_by("matched_by").agg(pl.col("rows").sum(), pl.len().alias("artists")).collect()
        per_genre = written.explode("genres").drop_nulls("genres").group_by("genres").agg(pl.col("rows").sum())
        common = per_genre.sort("rows", descending=True).head(12).collect()
        return report(
            context,
            rows,
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
        wanted, lake = run_buckets(context), project.lake

        with progress.task("Weighing tastes", len(wanted)) as advance:

            def frames() -> "Iterator[pl.DataFrame]":
                for chunk in lake.chunks(RAW_PLAYLISTS, wanted):
                    made = user_tastes(
                        lake.scan(RAW_PLAYLISTS, chunk),
                        lake.scan(ARTIST_GENRES, chunk).collect(),
                        playlists_count=settings.playlists_count,
                    )
                    yield with_dropped(lake, USER_TASTES, chunk, made)
                    advance(len(chunk))

            rows = lake.replace(USER_TASTES, wanted, frames())
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
        wanted, encoder = run_buckets(context), project.encoder
        texts = taste_texts(project, wanted)
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

        wanted, lake, version = run_buckets(context), project.lake, feature_version(project)

        with progress.task("Embedding users", len(wanted)) as advance:

            def frames() -> "Iterator[pl.DataFrame]":
                for chunk in lake.chunks(RAW_PLAYLISTS, wanted):
                    made = user_embeddings(
                        lake.scan(USERS, chunk).sort("user_id").collect(),
                        lake.scan(RAW_PLAYLISTS, chunk),
                        lake.scan(USER_TASTES, chunk).collect(),
                        load_vectors(lake, project.encoder, taste_texts(project, chunk)),
                        top_artist_count=settings.top_artist_count,
                        playlists_count=settings.playlists_count,
                        feature_version=version,
                    )
                    yield with_dropped(lake, USER_EMBEDDINGS, chunk, made)
                    advance(len(chunk))

            rows = lake.replace(USER_EMBEDDINGS, wanted, frames())
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
