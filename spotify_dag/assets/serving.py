"""What answers questions: the user index."""

from typing import Any

import dagster as dg

from spotify_dag.assets.common import OWNERS, report
from spotify_dag.orchestration.partitions import run_buckets, user_bucket_partitions
from spotify_dag.orchestration.staleness import index_version, stale_index
from spotify_dag.resources.listening import read_listening
from spotify_dag.resources.progress import Progress
from spotify_dag.resources.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS
from spotify_dag.settings import Settings


def serving_assets(settings: Settings) -> list[Any]:
    """Return the assets of this stage."""

    @dg.asset(
        deps=[
            "user_embeddings",
            *(dg.AssetDep(name, partition_mapping=dg.LastPartitionMapping()) for name in ("user_tower", "tower_evaluation")),
        ],
        group_name="serving",
        kinds={"lancedb"},
        owners=OWNERS,
        code_version="1",
        partitions_def=user_bucket_partitions(settings.n_buckets),
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="The user vectors of the champion, searched by cosine. Once every user is in it, it is "
        "published: one switch changes model and index together.",
    )
    def user_index(
        context: dg.AssetExecutionContext, project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
    ) -> dg.MaterializeResult:
        import polars as pl

        version = index_version(project)
        if version is None:
            raise dg.Failure("There is no champion for these features: materialise user_tower.", allow_retries=False)
        wanted, index = run_buckets(context), project.user_index(version)
        model = project.registry.load(version)
        rows = dict.fromkeys(wanted, 0)
        with progress.task("Indexing users", len(wanted)) as advance:
            for chunk in project.lake.chunks(USER_EMBEDDINGS, wanted, rows=50_000):
                embedded = pl.col("unembedded_reason").is_null()
                users = project.lake.scan(USER_EMBEDDINGS, chunk).filter(embedded).sort("user_id").collect()
                vectors = model.encode(*read_listening(project, chunk, users))
                keys = users.select("user_id", "user_bucket", "content_hash", "feature_version")
                index.replace(
                    chunk, keys.with_columns(pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])))
                )
                rows |= dict(users["user_bucket"].value_counts().iter_rows())
                advance(len(chunk))
        index.optimise()
        left = stale_index(project, index)
        if not left:
            project.publish(version)
        return report(context, rows, model_version=version, published=not left, buckets_left=len(left))

    return [user_index]
