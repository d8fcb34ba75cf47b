"""Automation is looked at when something happened: an event, a backfill; and now and then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._daemon.asset_daemon import AssetDaemon

from spotify_dag.orchestration.dagster_internals import daemon
from spotify_dag.orchestration.dagster_internals.daemon import WatchfulAssetDaemon


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The looks that Dagster's own daemon took."""
    taken: list[Any] = []
    monkeypatch.setattr(AssetDaemon, "_run_iteration_impl", lambda _, context, **__: taken.append(context))
    return taken


def test_what_happened_is_looked_at_once(looks: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        watching, context = (
            WatchfulAssetDaemon(settings={}, pre_sensor_interval_seconds=30),
            SimpleNamespace(instance=instance),
        )

        def looked() -> int:
            looks.clear()
            for _ in range(3):
                watching._run_iteration_impl(
                    context, threadpool_executor=None, amp_tick_futures={}, debug_crash_flags={}
                )
            return len(looks)

        assert looked() == 1
        assert looked() == 0
        instance.report_runless_asset_event(dg.AssetObservation("known_users", partition="00"))
        assert looked() == 1
        backfill = PartitionBackfill(
            "one",
            BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
            asset_selection=[dg.AssetKey("a")],
            serialized_asset_backfill_data="{}",
        )
        instance.add_backfill(backfill)
        assert looked() == 1
        instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
        assert looked() == 1
        assert looked() == 0
        monkeypatch.setattr(daemon, "LONGEST_SECONDS", 0.0)
        assert looked() == 3


def test_a_run_that_ends_is_an_event(looks: list[Any]) -> None:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job
    def idle() -> None:
        nothing()

    with dg.DagsterInstance.ephemeral() as instance:
        before = daemon.what_happened(instance)
        assert daemon.what_happened(instance) == before
        idle.execute_in_process(instance=instance)
        assert daemon.what_happened(instance) != before
