"""Dagster's daemon, which does little while nothing happens, and starts the process that runs are forked from, if any.

Run as ``python -m spotify_dag.orchestration.dagster_internals.daemon``.
"""

from __future__ import annotations

import time
from typing import Any

import dagster as dg
from dagster._daemon import controller
from dagster._daemon.asset_daemon import AssetDaemon
from dagster._daemon.cli import main

from spotify_dag.orchestration.dagster_internals.code_server import ask_less_often
from spotify_dag.orchestration.dagster_internals.launcher import ForkingRunLauncher, warm_up
from spotify_dag.orchestration.dagster_internals.records import unfinished_backfills

LONGEST_SECONDS = 60.0
"""Automation is looked at once in so long, also where nothing has happened: a sensor may have been switched on."""


class WatchfulAssetDaemon(AssetDaemon):
    """Looks at automation conditions when something has happened, and not every five seconds.

    A condition follows from events, from backfills and from time. To find out that nothing changed took three seconds
    of processor time a minute: every condition of every bucket was asked.
    """

    _seen: object = None
    _looked = -LONGEST_SECONDS

    def _run_iteration_impl(self, workspace_process_context: Any, *given: Any, **named: Any) -> None:
        happened, now = what_happened(workspace_process_context.instance), time.monotonic()
        if happened == self._seen and now - self._looked < LONGEST_SECONDS:
            return
        super()._run_iteration_impl(workspace_process_context, *given, **named)
        self._seen, self._looked = happened, now


def what_happened(instance: dg.DagsterInstance) -> object:
    """Return what is equal to itself as long as there is no new event, and no backfill begins, goes on or ends."""
    return instance.event_log_storage.get_maximum_record_id(), unfinished_backfills(instance)


def forks_runs() -> bool:
    """Return whether runs are forked. Where a cluster has them, a process to fork from would only take memory."""
    with dg.DagsterInstance.get() as instance:
        return isinstance(instance.run_launcher, ForkingRunLauncher)


if __name__ == "__main__":
    controller.AssetDaemon = WatchfulAssetDaemon  # type: ignore[misc]
    ask_less_often()
    if forks_runs():
        warm_up()
    main()
