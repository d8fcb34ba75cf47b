"""What Dagster recorded of asset checks and backfills, and which runs hold a place in a pool.

Dagster has public names for the last evaluation of a check, but not for its history, nor for backfills and pools.
"""

from __future__ import annotations

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus

UNFINISHED = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]


def unfinished_backfills(instance: dg.DagsterInstance) -> list[tuple[str, str]]:
    """Return the id and the status of each backfill that begins, goes on or ends."""
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=UNFINISHED))
    return [(backfill.backfill_id, backfill.status.value) for backfill in backfills]


def check_history(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, limit: int
) -> list[tuple[str, dg.AssetCheckEvaluation]]:
    """Return the run id and the evaluation of a check, the last one first, from its last ``limit`` records.

    A run that is to evaluate the check has a record without an evaluation. Such records count, but are left out.
    """
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=limit)
    evaluations = [(record.run_id, record.event and record.event.asset_check_evaluation) for record in records]
    return [(run_id, evaluation) for run_id, evaluation in evaluations if evaluation]


def free_places_of_finished_runs(instance: dg.DagsterInstance) -> None:
    """Free the places in pools that finished or deleted runs still hold."""
    storage = instance.event_log_storage
    pools = [storage.get_concurrency_info(pool) for pool in storage.get_concurrency_keys()]
    claimed = {place.run_id for pool in pools for place in pool.claimed_slots}
    for run_id in claimed | {step.run_id for pool in pools for step in pool.pending_steps}:
        holder = instance.get_run_by_id(run_id)
        if holder is None or holder.is_finished:
            storage.free_concurrency_slots_for_run(run_id)
