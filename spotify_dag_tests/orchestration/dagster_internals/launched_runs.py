"""Runs as a launcher gets them: with the place of their job, which those in the process of a command do not have."""

from __future__ import annotations

from typing import Any

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test


def launched_run(instance: dg.DagsterInstance, job: str = "ingest", **details: Any) -> dg.DagsterRun:
    """Record a run that a launcher started, or will."""
    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("spotify_dag"), "__repository__")
    return create_run_for_test(instance, job, remote_job_origin=RemoteJobOrigin(repository, job), **details)
