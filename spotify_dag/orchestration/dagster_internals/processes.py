"""Which process makes a run, and whether it still does."""

from __future__ import annotations

import os
import socket

import dagster as dg
import psutil

PROCESS_TAG = "spotify_dag/process"
"""Tag of a run: the process that makes it."""
SLACK_SECONDS = 2
"""The kernel counts the start of a process in ticks from a boot time that clocks may correct."""


def process_tag(pid: int | None = None) -> str:
    """Return what names a process of this machine, by default this one: a number alone comes back some day."""
    process = psutil.Process(pid or os.getpid())
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.0f}"


def is_dead(run: dg.DagsterRun) -> bool:
    """Return whether a run was made by a process of this machine that is gone."""
    host, *_ = run.tags.get(PROCESS_TAG, "").split(":")
    return host == socket.gethostname() and living(run) is None


def living(run: dg.DagsterRun) -> psutil.Process | None:
    """Return the process that makes a run, None if it is gone or none of this machine."""
    tag = run.tags.get(PROCESS_TAG, "").split(":")
    if len(tag) != 3 or tag[0] != socket.gethostname():
        return None
    try:
        process = psutil.Process(int(tag[1]))
        same = abs(process.create_time() - float(tag[2])) <= SLACK_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
