"""The process of a run, whether it is alive, and who asks: run monitoring, for any launcher."""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus

PROCESS_TAG = "spotify_dag/process"
"""Tag of a run that names its process."""
SLACK_SECONDS = 2
"""Tolerance of start times: the kernel counts them from a boot time that may be corrected later."""


def process_tag(pid: int | None = None) -> str:
    """Return a name of a process, by default of this one: host, id and start time. Ids alone are reused."""
    process = psutil.Process(pid or os.getpid())
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def is_dead(run: dg.DagsterRun) -> bool:
    """Return whether the process of a run was on this machine and is gone."""
    host, *_ = run.tags.get(PROCESS_TAG, "").split(":")
    return host == socket.gethostname() and living(run) is None


def living(run: dg.DagsterRun) -> psutil.Process | None:
    """Return the process of a run, or None if it is gone or on another machine."""
    tag = run.tags.get(PROCESS_TAG, "").split(":")
    if len(tag) != 3 or tag[0] != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(tag[1]))
        same = abs(process.create_time() - float(tag[2])) <= SLACK_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def is_launched(run: dg.DagsterRun) -> bool:
    """Return whether a launcher started a run, or will. If not, it is in the process of a command."""
    return run.remote_job_origin is not None


def may_go_on(run: dg.DagsterRun) -> bool:
    """Return whether a run that is not at its end is launched, and was not forked by a process that is gone.

    Of a run that is elsewhere, its launcher knows.
    """
    return is_launched(run) and (not run.tags.get(PROCESS_TAG) or living(run) is not None)


class WatchesOwnRuns(RunLauncher):
    """Has a launcher of a cluster watch the runs that it launched, and no others.

    ``spotify-dag run`` and ``dg launch`` record runs that are in their own process. A cluster does not know them, so
    run monitoring would mark each as failed while it goes on.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Launch a run. The tag that names the process of the run that it repeats is emptied."""
        if context.dagster_run.tags.get(PROCESS_TAG):
            self._instance.add_run_tags(context.dagster_run.run_id, {PROCESS_TAG: ""})
        super().launch_run(context)  # type: ignore[safe-super]

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return what the cluster says of a run, or whether its process on this machine is alive."""
        if is_launched(run):
            return super().check_run_worker_health(run)
        return health_of_process(run)


def health_of_process(run: dg.DagsterRun) -> CheckRunHealthResult:
    """Return whether the process of a run is alive, as run monitoring is told. On another machine it is."""
    if is_dead(run):
        return CheckRunHealthResult(WorkerStatus.FAILED, "The process of the run was killed.")
    return CheckRunHealthResult(WorkerStatus.RUNNING)
