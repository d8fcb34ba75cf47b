"""Starts a Dagster run in a fraction of a second.

Dagster's own launcher starts an interpreter per run, which imports for ten seconds (torch, the encoder's
library, MLflow) before it works for three. Here the runs of a daemon are forked from one process that has
imported all of that and done nothing else: no thread pool, no tokio runtime and no file is open yet that would not
survive the fork.

Written against Dagster's interface for run launchers, which it has no public names for.
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
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from spotify_dag.orchestration.dagster_internals.processes import PROCESS_TAG, is_dead, living, process_tag
from spotify_dag.orchestration.stages import STAGES

_PRELOADED = "spotify_dag.preloaded"
NICENESS = 5
"""Of runs of whole stages, which sensors and schedules start: nobody waits for them as for somebody who was added."""


class ForkingRunLauncher(RunLauncher, ConfigurableClass):
    """Launches runs by forking a process that has imported everything; for one machine."""

    def __init__(self, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What it was configured with."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what can be configured: nothing."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return one from ``dagster.yaml``."""
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process of a run and note in the run which one it is."""
        run = context.dagster_run
        arguments = ExecuteRunArgs(check.not_none(context.job_code_origin), run.run_id, self._instance.get_ref())
        gives_way = run.job_name in STAGES
        process = _runs().Process(
            target=_execute, args=(serialize_value(arguments), gives_way), name=f"run {run.run_id}"
        )
        process.start()
        self._instance.add_run_tags(run.run_id, {PROCESS_TAG: process_tag(process.pid)})

    def terminate(self, run_id: str) -> bool:
        """Interrupt a run, which ends it as canceled; return whether there was a process to interrupt."""
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
        """Whether run monitoring may ask."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the process of a run, whoever started it on this machine, is alive."""
        if is_dead(run):
            return CheckRunHealthResult(WorkerStatus.FAILED, "The process of the run was killed.")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def warm_up() -> None:
    """Let the process that runs are forked from start to import. Returns at once."""
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
