"""Every asset check of the graph in one table.

To add a check, write a function that takes a context and the project, and add a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from spotify_dag.orchestration.checks.drift import DRIFTS, drift_check
from spotify_dag.orchestration.checks.integrity import COUNTS, counting_check
from spotify_dag.orchestration.checks.recall import AT, RECALL, check_recall
from spotify_dag.orchestration.checks.table_rules import conformance_check
from spotify_dag.orchestration.checks.track_checks import (
    check_catalogue_numbers,
    check_continuation_model,
    check_track_index,
    check_track_vectors,
)
from spotify_dag.orchestration.checks.user_checks import (
    check_artist_factors,
    check_every_row_has_its_user,
    check_every_user_embedded_or_explained,
    check_gate_was_asked,
    check_tower_is_sound,
    check_user_index,
)
from spotify_dag.orchestration.freshness import freshness_check
from spotify_dag.orchestration.partitions import weekly_bucket_partitions
from spotify_dag.orchestration.stages import STAGES
from spotify_dag.schemas import (
    ARTIST_GENRES,
    AUDIO_FEATURES,
    INGESTS,
    LISTENING_MONTHS,
    RAW_PLAYLISTS,
    REJECTS,
    TEXT_VECTORS,
    TRACK_CATALOGUE,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    WEEKLY_PLAYLISTS,
)
from spotify_dag.tower.gate import COLLAPSE


@dataclass(frozen=True)
class Check:
    """One asset check."""

    asset: str
    name: str
    function: Callable[..., dg.AssetCheckResult]
    description: str
    blocking: bool = True
    """Whether a failure keeps what comes after from running."""
    by_bucket: bool = True
    """Whether it looks at the buckets of a run, not at the whole."""

    def definition(self, buckets: dg.StaticPartitionsDefinition) -> dg.AssetChecksDefinition:
        """Return the check as Dagster takes it."""
        return dg.asset_check(
            asset=self.asset,
            name=self.name,
            description=self.description,
            blocking=self.blocking,
            partitions_def=buckets if self.by_bucket else None,
        )(self.function)


CHECKS = (
    Check(
        RAW_PLAYLISTS.name,
        "every_row_has_its_user",
        check_every_row_has_its_user,
        "Every user named by a source is in the users table, with as many items as it says.",
    ),
    Check(
        USER_EMBEDDINGS.name,
        "every_user_embedded_or_explained",
        check_every_user_embedded_or_explained,
        "Every user has a row, with at least one embedding or the reason why not.",
    ),
    Check(
        "artist_factors",
        "factors_are_whole",
        check_artist_factors,
        "Every artist of the tower trained last has one vector, and all its numbers are finite.",
        by_bucket=False,
    ),
    Check(
        "tower_evaluation",
        "gate_was_asked",
        check_gate_was_asked,
        "The gate was asked about the tower trained last, so it is known why it serves or does not.",
        by_bucket=False,
    ),
    Check(
        "user_tower",
        "tower_is_sound",
        check_tower_is_sound,
        f"Weights are finite, and random pairs of users have a mean cosine of at most {COLLAPSE}.",
        blocking=False,  # the gate keeps such a tower from serving, and the champion goes on
        by_bucket=False,
    ),
    Check(
        "user_index",
        "index_is_whole",
        check_user_index,
        "Vectors have unit length, nobody is in twice, and every embedded user of the run is in.",
    ),
    Check(
        "user_index",
        "index_finds_the_nearest",
        check_recall,
        f"Of the {AT} users most like somebody, found by comparing with everybody, a search finds at least "
        f"{RECALL:.0%}. Asked of a sample of the run's users, once there is an approximate index, and again when rows "
        "were folded into it.",
        by_bucket=False,  # what it says, it says of the whole index
    ),
    Check(
        "track_catalogue",
        "numbers_are_unique",
        check_catalogue_numbers,
        "No catalogue number was given twice.",
        by_bucket=False,
    ),
    Check(
        "track_vectors",
        "every_text_has_a_vector",
        check_track_vectors,
        "Every title and artist to be indexed has a vector.",
        by_bucket=False,
    ),
    Check(
        "track_index",
        "index_is_the_catalogue",
        check_track_index,
        "The index holds every track of the catalogue once, as it is now.",
        by_bucket=False,
    ),
    Check(
        "track_factors",
        "model_is_sound",
        check_continuation_model,
        "Weights and factors are finite.",
        by_bucket=False,
    ),
)
TABLES_WRITTEN = (
    (RAW_PLAYLISTS, USERS, LISTENING_MONTHS, INGESTS, REJECTS),
    (ARTIST_GENRES,),
    (USER_TASTES,),
    (TEXT_VECTORS,),
    (USER_EMBEDDINGS,),
)
"""The tables that one asset of users writes; the first bears its name."""
TRACK_TABLES_WRITTEN = ((AUDIO_FEATURES,), (TRACK_CATALOGUE,))


def asset_checks(buckets: dg.StaticPartitionsDefinition) -> list[Any]:
    """Return every check of the graph."""
    return [
        *(conformance_check(tables, buckets) for tables in TABLES_WRITTEN),
        *(conformance_check(tables) for tables in TRACK_TABLES_WRITTEN),
        conformance_check((WEEKLY_PLAYLISTS,), weekly_bucket_partitions(buckets)),
        *(check.definition(buckets) for check in CHECKS),
        *(counting_check(buckets, name) for name in COUNTS),
        *(drift_check(drift) for drift in DRIFTS),
        *(freshness_check(stage) for stage in STAGES.values()),
    ]
