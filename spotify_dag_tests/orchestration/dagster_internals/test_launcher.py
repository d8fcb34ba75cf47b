"""Runs are forked, say which process they are, and are found dead when that is killed."""

from __future__ import annotations

import dagster as dg
import psutil
import pytest
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import LaunchRunContext, WorkerStatus

from spotify_dag.orchestration.dagster_internals.launcher import NICENESS, ForkingRunLauncher
from spotify_dag.orchestration.dagster_internals.processes import living
from spotify_dag.orchestration.instance import open_instance
from spotify_dag.project import Project
from spotify_dag_tests.waiting import until

pytestmark = [pytest.mark.process, pytest.mark.slow]


def launched(instance: dg.DagsterInstance, bucket: str) -> str:
    """Launch a run of the stage ``ingest``, as the daemon does; return its id."""
    repository = ReconstructableRepository.for_module("spotify_dag.definitions", "defs")
    job = repository.get_reconstructable_job("ingest")
    run = instance.create_run_for_job(
        job.get_definition(), tags={"dagster/partition": bucket}, job_code_origin=job.get_python_origin()
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return run.run_id


def test_runs_are_forked_give_way_and_are_found_when_killed(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_DATA", str(project.settings.data))
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")
    with open_instance(project) as instance:
        launcher = instance.run_launcher
        assert isinstance(launcher, ForkingRunLauncher)
        done = launched(instance, "01")
        with project.lake.buckets_locked([0]):  # so that the run is there to be killed
            killed = launched(instance, "00")
            until(lambda: instance.get_run_by_id(killed).status == dg.DagsterRunStatus.STARTED)
            process = living(instance.get_run_by_id(killed))
            assert process is not None
            assert process.nice() == psutil.Process().nice() + NICENESS
            assert launcher.check_run_worker_health(instance.get_run_by_id(killed)).status == WorkerStatus.RUNNING
            process.kill()
            until(lambda: living(instance.get_run_by_id(killed)) is None)
            found = launcher.check_run_worker_health(instance.get_run_by_id(killed))
            assert found.status == WorkerStatus.FAILED
        until(lambda: instance.get_run_by_id(done).is_finished)
        assert instance.get_run_by_id(done).status == dg.DagsterRunStatus.SUCCESS
        assert not launcher.terminate(done)
