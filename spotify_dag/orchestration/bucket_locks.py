"""One run at a time per bucket, however it was started: the daemon, ``spotify-dag run``, the UI, another program.

Dagster's pools and queues only know the runs that pass through them, and no partitions. So a run holds a lock of the
file system on its buckets from its first step to its last; stages of two runs would else mix, and rows be marked as
made from what they were not made from. With the multiprocess executor every step holds it for itself.
"""

from collections.abc import Iterator

import dagster as dg

from spotify_dag.layout import refuse_other_layout
from spotify_dag.orchestration.partitions import tagged_buckets
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS
from spotify_dag.sources.base import SourceError


def with_buckets_locked(project: Project) -> dg.ResourceDefinition:
    """Return the project as a resource that holds the lock on the buckets of a run for as long as the run lasts."""

    @dg.resource
    def locked_project(context: dg.InitResourceContext) -> Iterator[Project]:
        # The partitions of a process that knew the root before its buckets were split mean other buckets now.
        refuse_other_layout(project.settings.data, project.lake.n_buckets)
        buckets = tagged_buckets(context.run.tags) if context.run else []
        if not buckets:
            yield project  # a sensor, or a run without buckets
            return

        def waiting() -> None:
            if context.log:
                context.log.info("Another run has these buckets. This one goes on when that one ends.")

        if not project.lake.exists(INGESTS) and project.inbox.is_empty():
            raise SourceError(
                f"There is nothing in {project.settings.data} to make buckets from: no source was ever named. Name one "
                "(spotify-dag run --source synthetic), or set SPOTIFY_DAG_DATA to the data root that is meant."
            )
        with project.lake.buckets_locked(buckets, waiting):
            refuse_other_layout(project.settings.data, project.lake.n_buckets)  # again: it may have waited for a split
            yield project

    return locked_project
