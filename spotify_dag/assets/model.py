"""The trained tower."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.common import OWNERS
from spotify_dag.assets.features import taste_texts
from spotify_dag.assets.plots import picture, taste_map, training_curve
from spotify_dag.orchestration.staleness import feature_version, index_version
from spotify_dag.resources.encoder import load_vectors
from spotify_dag.resources.policy import may_be_trained_on, nothing_to_train_on, trainable_users
from spotify_dag.resources.progress import Progress
from spotify_dag.resources.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, USER_TASTES, USERS
from spotify_dag.settings import Settings
from spotify_dag.tower.gate import decide

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
        output_required=False,  # where the data policy leaves nothing to train on, there is none
        description="The network that maps user embeddings to user vectors, trained so that two halves of one user's "
        "listening find each other. Kept as a version of its own, which the gate makes champion, or does not.",
    )
    def user_tower(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> Iterator[dg.MaterializeResult]:
        import polars as pl

        from spotify_dag.tower.inputs import tower_inputs
        from spotify_dag.tower.training import TrainingSettings, train_tower

        if reason := nothing_to_train_on(project):
            context.log.warning(reason)
            return
        training = TrainingSettings(seed=settings.seed)
        buckets = training_buckets(project)
        data = training_data(project, buckets)
        with progress.task("Training the tower", training.epochs) as advance:
            trained = train_tower(data, training, lambda _: advance(1))
        card = {
            "feature_version": feature_version(project),
            "users_in_lake": trainable_users(project).select(pl.len()).collect().item(),
            "snapshot": project.lake.snapshot(),
            "trained_on": {"users": data.users.height, "items": data.raw.height, "sources": sources_of(data.users)},
            "training": asdict(training),
        }
        shown = trainable_users(project, buckets).sort("user_id").collect()
        vectors = trained.tower.encode(tower_inputs(shown, tuple(trained.tower.config["part_dims"])))
        pictures = {
            "training_curve": training_curve(trained.history),
            "taste_map": taste_map(vectors, dominant_genres(project, buckets, shown["user_id"].to_list())),
        }
        version = project.registry.save(
            trained.tower, card, metrics=trained.metrics, history=trained.history, plots=pictures
        )
        decision = judge(project, version)
        yield dg.MaterializeResult(
            metadata={
                "model_version": version,
                "users": data.users.height,
                "parameters": sum(tensor.numel() for tensor in trained.tower.parameters()),
                **trained.metrics,
                "gate": decision,
                **{name: picture(name, png) for name, png in pictures.items()},
            },
            data_version=dg.DataVersion(version),
        )

    return [user_tower]


def training_buckets(project: Project) -> list[int]:
    """Return buckets, from the first on, that hold up to `Settings.train_users` users; at least one.

    Users are spread over buckets by a hash, so the first buckets are a fair sample.
    """
    import polars as pl

    counts = trainable_users(project).group_by("user_bucket").agg(pl.len()).sort("user_bucket").collect()
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
    trainable = trainable_users(project, buckets).select("user_id")
    listening = lake.scan(RAW_PLAYLISTS, buckets).filter(may_be_trained_on(project)).select(columns)
    return TrainingData(
        users=lake.scan(USERS, buckets).join(trainable, on="user_id", how="semi").sort("user_id").collect(),
        raw=listening.sort("user_id", "playlist_id", "position").collect(),
        artist_genres=lake.scan(ARTIST_GENRES, buckets).sort("user_bucket", "artist_key").collect(),
        text_vectors=load_vectors(lake, project.encoder, taste_texts(project, buckets)),
        top_artist_count=project.settings.top_artist_count,
        playlists_count=project.settings.playlists_count,
    )


def judge(project: Project, version: str) -> str:
    """Ask the gate about a version, make it champion if it passes, and return what the gate said.

    A champion trained for other features cannot serve the users as they are now: there is nobody to beat then.
    """
    registry = project.registry
    champion = index_version(project)
    if champion == version:
        return f"{version} is the champion already."
    theirs = registry.card(champion)["metrics"] if champion else None
    decision = decide(registry.card(version)["metrics"], theirs, baselines={})
    if decision.passed:
        registry.promote(version, decision)
    else:
        registry.record_decision(version, decision)
    return decision.summary


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
