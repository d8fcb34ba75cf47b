"""The Dagster instance of a data root: where it is, how it is configured, and runs whose process was killed."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import dagster as dg
import yaml

from spotify_dag.files import write_atomically
from spotify_dag.orchestration.dagster_internals.processes import is_dead
from spotify_dag.orchestration.dagster_internals.records import free_places_of_finished_runs
from spotify_dag.project import Project

INSTANCE_CONFIG = files("spotify_dag.orchestration").joinpath("dagster.yaml")
"""The Dagster instance of one machine; every data root gets a copy."""


def dagster_home(project: Project) -> Path:
    """Return where Dagster keeps its state: DAGSTER_HOME where that is set, else under the data root.

    It is configured unless DAGSTER_HOME names a folder with something in it, which is somebody else's.
    """
    given = project.settings.dagster_home
    home = given or project.settings.local_data / "dagster"
    if given is None or next(given.glob("[!.]*"), None) is None:  # a kill leaves nothing but a hidden file
        config = yaml.safe_load(INSTANCE_CONFIG.read_text())
        config["storage"]["custom"]["config"]["base_dir"] = str(home)
        write_atomically(home / "dagster.yaml", yaml.safe_dump(config).encode())
    return home


def open_instance(project: Project) -> dg.DagsterInstance:
    """Return the Dagster instance of a project."""
    return dg.DagsterInstance.from_config(str(dagster_home(project)))


def close_runs_of_dead_processes(instance: dg.DagsterInstance) -> None:
    """Mark runs as failed whose process on this machine is gone, and free their places in pools.

    A killed run can do neither, and every later run of its pool would wait for it.
    """
    unfinished = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(unfinished):
        if is_dead(run):
            instance.report_run_failed(run, "The process that ran this was killed. The next run does what was left.")
    free_places_of_finished_runs(instance)
