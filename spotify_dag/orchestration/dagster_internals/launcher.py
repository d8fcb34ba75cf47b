"""A run launcher that starts a run in a fraction of a second.

Dagster's own launcher starts an interpreter per run, which imports for longer than it works (torch, the encoder's
library, MLflow). Here runs are forked from one process that has imported all of that and done nothing else. It has no
thread pool, no tokio runtime and no open file that would not survive the fork.

Written against Dagster's interface for run launchers, which has no public names.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from multiprocessing import get_context
from typing import Any, Self

import dagster as dg
from dagster import _check as check
from dagster._cli.api import execute_run_command
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from spotify_dag.orchestration.dagster_internals.processes import PROCESS_TAG, health_of_process, living, process_tag
from spotify_dag.orchestration.stages import STAGES

_PRELOADED = "spotify_dag.preloaded"
NICENESS = 5
"""Niceness of runs of whole stages, started by sensors and schedules. Runs for new users come first."""


class ForkingRunLauncher(RunLauncher, ConfigurableClass):
    """Launches runs on this machine by forking a process that has imported everything."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """The configuration, as Dagster stores it."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of the configuration, which is empty."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return the launcher that ``dagster.yaml`` configures."""
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run, and write its id to a tag of the run."""
        run = context.dagster_run
        arguments = ExecuteRunArgs(check.not_none(context.job_code_origin), run.run_id, self._instance.get_ref())
        gives_way = run.job_name in STAGES
        process = _runs().Process(
            target=_execute, args=(serialize_value(arguments), gives_way), name=f"run {run.run_id}"
        )
        process.start()
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: process_tag(process.pid)})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, which then ends as canceled; return whether its process was alive."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        process = living(run)
        if process is None:
            return False
        process.send_signal(signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Whether run monitoring may call `check_run_worker_health`."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a run is alive, for all runs started on this machine."""
        return health_of_process(run)


def warm_up() -> None:
    """Start the process that runs are forked from. Return at once, while it imports."""
    from multiprocessing import forkserver

    _runs()
    forkserver.ensure_running()


def _runs() -> Any:
    context = get_context("forkserver")
    context.set_forkserver_preload([_PRELOADED])
    return context


def _execute(arguments: str, gives_way: bool) -> None:
    if gives_way:
        os.nice(NICENESS)
    execute_run_command.main(args=[arguments], standalone_mode=False)
