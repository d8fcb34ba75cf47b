"""Launchers of clusters: which runs they watch, and the Job that Kubernetes would be asked for."""

from __future__ import annotations

import importlib
import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.launcher import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.test_utils import create_run_for_test

from spotify_dag.orchestration.dagster_internals.daemon import forks_runs
from spotify_dag.orchestration.dagster_internals.processes import (
    PROCESS_TAG,
    WatchesOwnRuns,
    is_dead,
    may_go_on,
    process_tag,
)
from spotify_dag_tests.conftest import REPOSITORY
from spotify_dag_tests.orchestration.dagster_internals.launched_runs import launched_run

GONE = f"{socket.gethostname()}:{os.getpid()}:1"
"""A process of this machine that is gone: its id is another's now."""
KUBERNETES = "1.33"
CLIENT = {
    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
    "users": [{"name": "me", "user": {}}],
    "current-context": "here",
}


class Cluster(RunLauncher):
    """A cluster that knows of no run that is going on."""

    def launch_run(self, context: LaunchRunContext) -> None: ...

    def terminate(self, run_id: str) -> bool:
        return False

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        return CheckRunHealthResult(WorkerStatus.UNKNOWN, "no such job")


class OwnRuns(WatchesOwnRuns, Cluster):
    pass


def health(run: dg.DagsterRun) -> WorkerStatus:
    return OwnRuns().check_run_worker_health(run).status


def test_a_run_in_the_process_of_a_command_is_not_looked_for_in_the_cluster(instance: dg.DagsterInstance) -> None:
    elsewhere = process_tag().replace(socket.gethostname(), "elsewhere")
    for tag, status in (
        (process_tag(), WorkerStatus.RUNNING),
        (elsewhere, WorkerStatus.RUNNING),
        (GONE, WorkerStatus.FAILED),
    ):
        assert health(create_run_for_test(instance, tags={PROCESS_TAG: tag})) == status
    assert health(create_run_for_test(instance)) == WorkerStatus.RUNNING  # dg launch
    assert health(launched_run(instance)) == WorkerStatus.UNKNOWN


def test_a_run_that_repeats_another_is_not_in_the_process_of_that(instance: dg.DagsterInstance) -> None:
    run, launcher = launched_run(instance, tags={PROCESS_TAG: GONE}), OwnRuns()
    launcher.register_instance(instance)
    assert is_dead(run)
    assert not may_go_on(run)
    launcher.launch_run(LaunchRunContext(run, workspace=None))
    repeated = instance.get_run_by_id(run.run_id)
    assert not is_dead(repeated)
    assert may_go_on(repeated)


def test_only_where_runs_are_forked_is_there_something_to_fork_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("dagster_ray", reason="it is not installed: pip install 'spotify-dag[ray]'")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    for name, forks in (("dagster-postgres", True), ("dagster-ray", False)):
        without_storage = yaml.safe_load((REPOSITORY / "deploy" / f"{name}.yaml").read_text())
        del without_storage["storage"]
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(without_storage))
        assert forks_runs() == forks


@pytest.mark.parametrize("extra", ["ray", "k8s"])
def test_without_the_package_the_error_says_what_to_install(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"spotify_dag.orchestration.dagster_internals.{extra}_launcher"
    monkeypatch.setitem(sys.modules, f"dagster_{extra}", None)
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match=re.escape(f"pip install 'spotify-dag[{extra}]'")):
        importlib.import_module(name)


@contextmanager
def kubernetes_api() -> Iterator[tuple[str, list[Any]]]:
    """Serve what a launcher asks of Kubernetes; yield the address, and what was posted."""
    posted: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            posted.append((self.path, json.loads(body)))
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", posted
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.medium
def test_the_job_of_a_run_is_one_that_kubernetes_takes(tmp_path: Path) -> None:
    pytest.importorskip("dagster_k8s", reason="it is not installed: pip install 'spotify-dag[k8s]'")
    import kubernetes_validate

    config = yaml.safe_load((REPOSITORY / "deploy" / "dagster-k8s.yaml").read_text())
    del config["storage"]  # PostgreSQL
    with kubernetes_api() as (url, posted):
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(CLIENT | {"clusters": [{"name": "here", "cluster": {"server": url}}]}))
        config["run_launcher"]["config"] |= {"load_incluster_config": False, "kubeconfig_file": str(kubeconfig)}
        (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config))
        job = ReconstructableRepository.for_module("spotify_dag.definitions", "defs").get_reconstructable_job("ingest")
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            run = launched_run(instance, job_code_origin=job.get_python_origin())
            instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    ((path, body),) = posted
    assert path == "/apis/batch/v1/namespaces/spotify-dag/jobs"
    kubernetes_validate.validate({"apiVersion": "batch/v1", "kind": "Job", **body}, KUBERNETES, strict=True)
    (container,) = body["spec"]["template"]["spec"]["containers"]
    assert container["args"][:3] == ["dagster", "api", "execute_run"]
    assert run.run_id in container["args"][3]
    assert container["image"] == "spotify-dag-cluster"
    assert {"secretRef": {"name": "spotify-dag"}} in container["envFrom"]
    mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"/srv/spotify-dag", "/opt/dagster/dagster_home"}
    assert body["spec"]["backoffLimit"] == 0
    assert body["spec"]["template"]["spec"]["restartPolicy"] == "Never"
