"""The process of a run, and whether it is alive."""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil

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
