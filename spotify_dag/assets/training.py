"""The model: factors and tower, how good they are, and whether they may serve."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from spotify_dag.assets.plots import metric_bars, picture, score_calibration, taste_map, training_curve
from spotify_dag.assets.reporting import OWNERS, table_schema, typed_table
from spotify_dag.memory import return_freed_memory
from spotify_dag.orchestration.partitions import WEEKS
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_FACTORS, FEWEST_LISTENERS, USER_TASTES
from spotify_dag.staleness.stale_buckets import feature_version, index_version
from spotify_dag.tower.gate import decide
from spotify_dag.training_data.listening import training_users
from spotify_dag.training_data.policy import nothing_to_train_on, trainable_counts, training_buckets, training_digest
from spotify_dag.training_data.training_settings import load_training_settings

EVALUATED_USERS = 2_000
"""At most this many held-out users are asked about."""

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.tower.hyperparameters import TrainingSettings
    from spotify_dag.tower.inputs import Catalogue
    from spotify_dag.tower.tower_model import UserModel


def training_assets() -> list[Any]:
    """Return the assets of this stage: partitioned by week, each depending on every bucket of users."""
    model_training = dg.multi_asset(
        name="model_training",
        partitions_def=WEEKS,
        pool="training",
        specs=[
            _spec(
                "artist_factors",
                "deltalake",
                ["raw_playlists", "artist_genres", "text_vectors", "user_embeddings"],
                "The collaborative vector of every artist: who likes it. Artists that no training user listens to get "
                "one predicted from their text. Fitted anew with each tower, which works with no others.",
                metadata={"dagster/column_schema": table_schema(ARTIST_FACTORS)},
            ),
            _spec(
                "user_tower",
                "pytorch",
                ["artist_factors", "user_embeddings"],
                "The network that maps users to user vectors, trained so that two halves of one user's listening find "
                "each other. Kept as a version of its own, which the gate makes champion, or does not.",
            ),
        ],
    )(compute_user_tower)
    tower_evaluation = dg.asset(
        name="tower_evaluation",
        deps=["user_tower"],
        group_name="model",
        kinds={"pytorch"},
        owners=OWNERS,
        code_version="1",
        partitions_def=WEEKS,
        pool="training",
        output_required=False,  # where nothing was trained, there is nothing to measure
        description="The tower trained last, the champion and the baselines on users that none of them was trained "
        "on, and what the gate makes of it: a challenger that beats them all becomes champion.",
    )(compute_tower_evaluation)
    return [model_training, tower_evaluation]


def _spec(name: str, kind: str, deps: list[str], description: str, **more: Any) -> dg.AssetSpec:
    return dg.AssetSpec(
        name, deps=list(map(dependency, deps)), group_name="model", kinds={kind}, owners=OWNERS,
        code_version="2", skippable=True, description=description, **more,
    )  # fmt: skip


def dependency(name: str) -> dg.AssetDep:
    """Return what a week's tower depends on: the factors of the same week, of all else every bucket."""
    return dg.AssetDep(name, partition_mapping=None if name == "artist_factors" else dg.AllPartitionMapping())


def compute_user_tower(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> Iterator[dg.MaterializeResult]:
    """Train a tower and the artist factors it works with, and save both as a version."""
    from spotify_dag.tower.evaluation import held_out
    from spotify_dag.tower.hyperparameters import epochs_of, halvings
    from spotify_dag.tower.training import train_tower

    if reason := nothing_to_train_on(project):
        context.log.warning(reason)
        return
    return_freed_memory()
    training, data, seed = load_training_settings(project), training_users(project), project.settings.seed
    users, items, kinds = data.users, data.raw.height, halvings(data.users.height)
    tested = held_out(users["user_id"].to_list())
    learners, whole = np.flatnonzero(~tested), data.halved((), seed=seed).whole
    with progress.task("Halving users", len(kinds)) as advance:
        halved = data.take(learners).halved(kinds, seed=seed, progress=advance)
    del data  # the vectors of all strings are no longer needed
    return_freed_memory()
    with progress.task("Training the tower", epochs_of(len(learners), training)) as advance:
        trained = train_tower(halved, training, lambda _: advance(1))
    catalogue = halved.catalogue
    del halved
    vectors = trained.model.encode(whole, catalogue)
    pictures = {
        "training_curve": training_curve(trained.history),
        "taste_map": taste_map(vectors, dominant_genres(project, users["user_id"].to_list())),
    }
    card = _card(project, users, items, training, held_out=int(tested.sum()))
    components = trained.model.components
    rows = learners[:0] if components is None or components.rows is None else learners[components.rows]
    version = project.registry.save(
        trained.model,
        card,
        metrics=trained.metrics,
        history=trained.history,
        plots=pictures,
        landmark_users=project.tombstones.digests(users["user_id"].gather(rows)),
    )
    yield _stored_factors(project, version, trained.model, catalogue)
    yield dg.MaterializeResult(
        asset_key="user_tower",
        metadata={
            "model_version": version,
            "users": users.height,
            "users_held_out_for_evaluation": int(tested.sum()),
            "parameters": sum(tensor.numel() for tensor in trained.model.tower.parameters()),
            **trained.metrics,
            **{name: picture(name, png) for name, png in pictures.items()},
        },
        data_version=dg.DataVersion(version),
    )


def _card(
    project: Project, users: "pl.DataFrame", items: int, training: "TrainingSettings", *, held_out: int
) -> dict[str, Any]:
    """Return what a model card says of the data (``users`` and how many items) and settings of a training."""
    return {
        "feature_version": feature_version(project),
        "users_in_lake": sum(trainable_counts(project).values()),
        "snapshot": project.lake.snapshot(),
        "trained_on": {
            "users": users.height - held_out,
            "held_out": held_out,
            "items": items,
            "sources": sources_of(users),
            "digest": training_digest(project),
        },
        "training": asdict(training),
    }


def _stored_factors(project: Project, version: str, model: "UserModel", catalogue: "Catalogue") -> dg.MaterializeResult:
    """Store the artist factors of a version, and return what the asset `artist_factors` reports."""
    factors = artist_factors(project, version, model, catalogue)
    return dg.MaterializeResult(
        asset_key="artist_factors",
        metadata={
            "model_version": version,
            "artists": factors.height,
            "predicted_from_text": int(factors["predicted"].sum()),
            "nearest": typed_table(nearest_artists(factors)),
        },
        data_version=dg.DataVersion(version),
    )


@dataclass(frozen=True)
class _Measured:
    """What an evaluation measured of the tower, the champion and the baselines."""

    rows: dict[str, dict[str, Any]]
    """Metrics by model; ``tower`` and, if there is another one, ``champion`` are among them."""
    users_asked: int
    baselines: list[str]
    """Names of the baselines; none where too few users could be held out."""
    halves: "list[np.ndarray]"
    """Vectors of the two halves of the asked users."""


def compute_tower_evaluation(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> Iterator[dg.MaterializeResult]:
    """Measure the tower trained last against the champion and the baselines, and ask the gate."""
    import polars as pl

    version = project.registry.latest()
    if version is None or nothing_to_train_on(project):
        context.log.warning("There is no tower to evaluate.")
        return
    return_freed_memory()
    model, champion = project.registry.load(version), _comparable_champion(project)
    measured = _measure(project, progress, version, model, champion)
    rows = measured.rows
    decision = decide(
        {**project.registry.card(version)["metrics"], **rows["tower"]},
        None if champion is None or _has_seen(project, champion, measured) else rows.get("champion"),
        {name: rows[name] for name in measured.baselines},
    )
    measured_row = {key: value for key, value in rows["tower"].items() if key != "by" and np.isfinite(value)}
    held_out = bool(measured.baselines) and not _has_seen(project, version, measured)
    if held_out:
        project.registry.record_measurement(version, {**measured_row, "users": measured.users_asked})
    if champion != version:
        if decision.passed:
            project.registry.promote(version, decision)
        else:
            project.registry.record_decision(version, decision)
    shown = [
        {"model": name, **{key: f"{value:.3f}" for key, value in row.items() if key != "by"}}
        for name, row in rows.items()
    ]
    yield dg.MaterializeResult(
        metadata={
            "model_version": version,
            "users_asked": measured.users_asked,
            "held_out": held_out,
            "gate": decision.summary,
            "passed": decision.passed,
            "table": typed_table(pl.DataFrame(shown)),
            # Without held-out users these are figures of training users: they stand in the table alone.
            **(measured_row if held_out else {}),
            "metrics": picture("metrics", metric_bars(rows)),
            "score_calibration": picture("score_calibration", score_calibration(model.scale, *measured.halves)),
        },
        data_version=dg.DataVersion(version),
    )


def _comparable_champion(project: Project) -> str | None:
    """Return the champion, if it was trained for the features that users have now."""
    champion = project.registry.champion()
    return champion if champion is not None and champion == index_version(project) else None


def _has_seen(project: Project, version: str, measured: "_Measured") -> bool:
    """Return whether a version was trained on users held out now: when it was trained, too few were there to spare."""
    trained_on = project.registry.card(version).get("trained_on", {})
    return bool(measured.baselines) and not trained_on.get("held_out", 0)


def _measure(project: Project, progress: Progress, version: str, model: "UserModel", champion: str | None) -> _Measured:
    """Measure a tower, the champion and the baselines on users that none of them was trained on.

    Where too few users are there to hold any out, only the tower and the champion are measured, on all users.
    """
    from spotify_dag.tower.evaluation import dataset, held_out, measure
    from spotify_dag.tower.user_baselines import baselines, encoders

    users = training_users(project)
    data_set = dataset(users, halvings=(), friends=np.empty((0, 2), np.int64), seed=project.settings.seed)
    tested = held_out(users.users["user_id"].to_list())
    test = np.intersect1d(np.flatnonzero(tested), data_set.usable)[:EVALUATED_USERS]
    fits = baselines() if len(test) else {}
    test = test if len(test) else data_set.usable
    contenders = {"tower": encoders(model, data_set.catalogue)}
    if champion not in (None, version):
        contenders["champion"] = encoders(project.registry.load(str(champion)), data_set.catalogue)
    rows: dict[str, dict[str, Any]] = {}
    with progress.task("Evaluating the tower", len(contenders) + len(fits)) as advance:
        for name, contender in contenders.items():
            rows[name] = measure(data_set, contender, test)
            advance(1)
        training = data_set.fit_on(np.flatnonzero(~tested))
        for name, fit in fits.items():
            rows[name] = measure(data_set, fit(training), test)
            return_freed_memory()
            advance(1)
    halves = [model.encode(side.take(test).listening, data_set.catalogue) for side in (data_set.first, data_set.second)]
    return _Measured(rows, len(test), list(fits), halves)


def artist_factors(project: Project, version: str, model: "UserModel", catalogue: "Catalogue") -> "pl.DataFrame":
    """Store the vector of every artist, once per version, and return the rows."""
    import polars as pl

    loadings = model.parts.artists.over(catalogue.artists)
    listeners = np.round(np.exp(loadings.popularity) * (model.parts.artists.n_users + 0.5) - 0.5)
    rows = pl.DataFrame(
        {
            "model_version": [version] * len(loadings.known),
            "artist_key": catalogue.artists.names,
            "users": listeners.astype(np.int32),
            "predicted": ~loadings.known,
            "vector": pl.Series(loadings.vectors, dtype=pl.Array(pl.Float32, loadings.vectors.shape[1])).arr.to_list(),
        }
    )
    stored = project.lake.scan(ARTIST_FACTORS).filter(pl.col("model_version") == version)
    if stored.head(1).collect().is_empty():
        project.lake.append(ARTIST_FACTORS, rows)
    return rows


def nearest_artists(factors: "pl.DataFrame", shown: int = 8) -> "pl.DataFrame":
    """Return the most popular artists with the artists whose vectors are nearest to theirs.

    A name that few users have may be a text of one of them, and is nobody else's business.
    """
    import polars as pl

    common = factors.filter(~pl.col("predicted"), pl.col("users") >= FEWEST_LISTENERS)
    popular = common.sort("users", "artist_key", descending=[True, False]).head(2_000)
    if popular.is_empty():
        return popular.select("artist_key", "users")
    vectors = np.array(popular["vector"].to_list(), np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    near = np.argsort(-(vectors[:shown] @ vectors.T), axis=1)[:, 1:6]
    names = popular["artist_key"].to_list()
    return (
        popular.head(shown)
        .select("artist_key", "users")
        .with_columns(pl.Series("nearest", [", ".join(names[other] for other in row) for row in near], dtype=pl.String))
    )


def sources_of(users: "pl.DataFrame") -> dict[str, int]:
    """Return the number of users of each source."""
    return dict(users["source"].value_counts(sort=True).iter_rows())


def dominant_genres(project: Project, user_ids: list[str]) -> list[str | None]:
    """Return the genre with the largest weight of each training user, None without genres."""
    import polars as pl

    top = (
        project.lake.scan(USER_TASTES, training_buckets(project))
        .filter(pl.col("kind") == "genre")
        .sort("weight", "name", descending=[True, False])
        .group_by("user_id", maintain_order=True)
        .agg(pl.col("name").first())
        .collect()
    )
    names = dict(top.iter_rows())
    return [names.get(user) for user in user_ids]
