"""What answers questions: the user index."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.reporting import OWNERS, report
from spotify_dag.matching.taste import packed_tastes
from spotify_dag.orchestration.partitions import run_buckets
from spotify_dag.orchestration.step_failures import resilient
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.staleness.changed_users import changed_vectors
from spotify_dag.staleness.stale_buckets import indexed_versions, stale_index
from spotify_dag.training_data.listening import read_listening

if TYPE_CHECKING:
    import polars as pl


def serving_assets(buckets: dg.StaticPartitionsDefinition, backfills: dg.BackfillPolicy) -> list[Any]:
    """Return the assets of this stage."""
    latest = [
        dg.AssetDep(name, partition_mapping=dg.LastPartitionMapping()) for name in ("user_tower", "tower_evaluation")
    ]
    user_index = dg.asset(
        name="user_index",
        deps=["user_embeddings", *latest],
        group_name="serving",
        kinds={"lancedb"},
        owners=OWNERS,
        code_version="1",
        partitions_def=buckets,
        backfill_policy=backfills,
        output_required=False,  # without a champion there is nothing to index with
        description="The user vectors of the champion, searched by cosine. Once every user is in it, it is "
        "published: one switch changes model and index together.",
    )(resilient(compute_user_index))
    return [user_index]


def compute_user_index(
    context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> Iterator[dg.MaterializeResult]:
    """Bring the indexes of the champion and of what is published up to date, and publish a complete one."""
    versions, buckets = indexed_versions(project), run_buckets(context)
    if not versions:
        context.log.warning("There is no champion for these features: materialise user_tower.")
        return
    with progress.task("Indexing users", len(versions) * len(buckets)) as advance:
        written = {version: index_users(project, version, buckets, advance) for version in versions}
    version = versions[-1]
    index = project.user_index(version)
    left = [] if project.published() == version else stale_index(project, index)
    if not left:
        project.publish(version)
    rows = dict.fromkeys(buckets, 0) | dict(index.rows(buckets)["user_bucket"].value_counts().iter_rows())
    yield report(
        context, rows, model_version=version, published=not left, buckets_left=len(left), users_written=written
    )


def index_users(project: Project, version: str, buckets: list[int], advance: Callable[[int], None]) -> int:
    """Bring buckets of a version's index up to date; return how many vectors were written."""
    import polars as pl

    index, model = project.user_index(version), project.registry.load(version)
    changes = changed_vectors(project, index, buckets)
    embedded = pl.col("unembedded_reason").is_null()

    def known(chunk: list[int]) -> "pl.LazyFrame":
        shown = project.lake.scan(USERS, chunk).select("user_id", "opted_in", "source")
        return project.lake.scan(USER_EMBEDDINGS, chunk).filter(embedded).join(shown, on="user_id", how="left")

    def vectors(chunk: list[int], users: "pl.DataFrame") -> "pl.DataFrame":
        made = model.encode(*read_listening(project, chunk, users))
        columns = "user_id", "user_bucket", "content_hash", "feature_version", "opted_in", "source", "tracks"
        tastes = project.lake.scan(USER_TASTES, chunk).join(users.lazy().select("user_id"), on="user_id", how="semi")
        return (
            users.select(columns)
            .with_columns(pl.Series("vector", made, dtype=pl.Array(pl.Float32, made.shape[1])))
            .join(packed_tastes(tastes.collect()), on="user_id", how="left", maintain_order="left")
        )

    written = 0
    for chunk in project.lake.chunks(USER_EMBEDDINGS, changes.whole, rows=50_000):
        users = known(chunk).sort("user_id").collect()
        index.replace(chunk, vectors(chunk, users))
        written += users.height
        advance(len(chunk))
    if changes.some:
        users = known(changes.some).filter(pl.col("user_id").is_in(changes.users)).sort("user_id").collect()
        index.merge(vectors(changes.some, users), sorted(set(changes.users) - set(users["user_id"])))
        written += users.height
        advance(len(changes.some))
    index.fold()
    return written
