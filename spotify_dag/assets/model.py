"""The trained tower."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.common import OWNERS
from spotify_dag.assets.features import taste_texts
from spotify_dag.assets.plots import taste_map, training_curve
from spotify_dag.orchestration.staleness import feature_version
from spotify_dag.resources.encoder import load_vectors
from spotify_dag.resources.progress import Progress
from spotify_dag.resources.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.settings import Settings

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.tower.views import TrainingData


def model_assets(settings: Settings) -> list[Any]:
    """Return the assets of this stage."""

    @dg.asset(
        deps=["raw_playlists", "artist_genres", "text_vectors", "user_embeddings"],
        group_name="model",
        kinds={"pytorch"},
        owners=OWNERS,
        code_version="1",
        description="The network that maps user embeddings to user vectors, trained so that two halves of one user's "
        "listening find each other. Kept as a version of its own; the published version goes on serving.",
    )
    def user_tower(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        from spotify_dag.tower.inputs import tower_inputs
        from spotify_dag.tower.training import TrainingSettings, train_tower

        training = TrainingSettings(seed=settings.seed)
        buckets = training_buckets(project)
        data = training_data(project, buckets)
        with progress.task("Training the tower", training.epochs) as advance:
            trained = train_tower(data, training, lambda _: advance(1))
        embedded = embedded_users(project)
        card = {
            "feature_version": feature_version(project),
            "users_in_lake": embedded,
            "trained_on": {"users": data.users.height, "items": data.raw.height, "sources": sources_of(data.users)},
            "training": asdict(training),
            "metrics": trained.metrics,
        }
        version = project.registry.save(trained.tower, card)
        shown = project.lake.scan(USER_EMBEDDINGS, buckets).filter(_embedded()).sort("user_id").collect()
        vectors = trained.tower.encode(tower_inputs(shown, tuple(trained.tower.config["part_dims"])))
        return dg.MaterializeResult(
            metadata={
                "model_version": version,
                "users": data.users.height,
                "parameters": sum(tensor.numel() for tensor in trained.tower.parameters()),
                **trained.metrics,
                "training_curve": training_curve(trained.history),
                "taste_map": taste_map(vectors, dominant_genres(project, buckets, shown["user_id"].to_list())),
            },
            data_version=dg.DataVersion(version),
        )

    return [user_tower]


def training_buckets(project: Project) -> list[int]:
    """Return buckets, from the first on, that hold up to `Settings.train_users` users; at least one.

    Users are spread over buckets by a hash, so the first buckets are a fair sample.
    """
    import polars as pl

    counts = project.lake.scan(USERS).group_by("user_bucket").agg(pl.len()).sort("user_bucket").collect()
    within = counts.filter(pl.col("len").cum_sum() <= project.settings.train_users)
    return (within if within.height else counts.head(1))["user_bucket"].to_list()


def training_data(project: Project, buckets: list[int]) -> "TrainingData":
    """Read the users of some buckets for training, in an order that does not depend on when they came."""
    from spotify_dag.tower.views import TrainingData

    lake = project.lake
    columns = (
        "user_bucket", "user_id", "playlist_id", "playlist_position", "position", "artist_name", "release_year",
        "popularity", "explicit", "plays",
    )  # fmt: skip
    embedded = lake.scan(USER_EMBEDDINGS, buckets).filter(_embedded()).select("user_id")
    return TrainingData(
        users=lake.scan(USERS, buckets).join(embedded, on="user_id", how="semi").sort("user_id").collect(),
        raw=lake.scan(RAW_PLAYLISTS, buckets).select(columns).sort("user_id", "playlist_id", "position").collect(),
        artist_genres=lake.scan(ARTIST_GENRES, buckets).sort("user_bucket", "artist_key").collect(),
        text_vectors=load_vectors(lake, project.encoder, taste_texts(project, buckets)),
        top_artist_count=project.settings.top_artist_count,
        playlists_count=project.settings.playlists_count,
    )


def embedded_users(project: Project) -> int:
    """Return how many users have an embedding."""
    import polars as pl

    return int(project.lake.scan(USER_EMBEDDINGS).filter(_embedded()).select(pl.len()).collect().item())


def sources_of(users: "pl.DataFrame") -> dict[str, int]:
    """Return the number of users of each source."""
    return dict(users["source"].value_counts(sort=True).iter_rows())


def dominant_genres(project: Project, buckets: list[int], user_ids: list[str]) -> list[str | None]:
    """Return the genre with the largest weight of each user, None without genres."""
    import polars as pl

    top = (
        project.lake.scan(USER_TASTES, buckets)
        .filter(pl.col("kind") == "genre")
        .sort("weight", "name", descending=[True, False])
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("name").first())
        .collect()
    )
    names = dict(top.iter_rows())
    return [names.get(user) for user in user_ids]


def _embedded() -> "pl.Expr":
    import polars as pl

    return pl.col("unembedded_reason").is_null()
