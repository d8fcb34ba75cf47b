"""Files for a cluster say what Kubernetes and Ray take: they are held against their schemas. No cluster is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from spotify_dag_tests.conftest import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
KUBERNETES = "1.33"
CONFIGS = {name: yaml.safe_load((DEPLOY / f"dagster-{name}.yaml").read_text()) for name in ("postgres", "ray", "k8s")}
CLUSTER: dict[str, Any] = yaml.safe_load((DEPLOY / "raycluster.yaml").read_text())


def test_everything_that_stays_running_on_kubernetes() -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    for thing in objects:
        kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    assert {thing["metadata"]["namespace"] for thing in objects} == {"spotify-dag"}
    deployments = {thing["metadata"]["name"]: thing["spec"] for thing in objects if thing["kind"] == "Deployment"}
    services = {thing["metadata"]["name"]: thing["spec"] for thing in objects if thing["kind"] == "Service"}
    assert list(deployments) == ["code", "daemon", "ui", "app"]
    for name, service in services.items():
        (container,) = deployments[name]["template"]["spec"]["containers"]
        assert service["selector"] == deployments[name]["template"]["metadata"]["labels"]
        assert [port["port"] for port in service["ports"]] == [port["containerPort"] for port in container["ports"]]


def test_pods_of_a_ray_cluster_on_kubernetes() -> None:
    (workers,) = CLUSTER["spec"]["workerGroupSpecs"]
    for template in (CLUSTER["spec"]["headGroupSpec"]["template"], workers["template"]):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    (container,) = workers["template"]["spec"]["containers"]
    cores = int(container["resources"]["limits"]["cpu"]) * workers["maxReplicas"]
    at_once = CONFIGS["ray"]["concurrency"]["runs"]["max_concurrent_runs"]
    assert at_once * CONFIGS["ray"]["run_launcher"]["config"]["ray"]["num_cpus"] <= cores


def test_one_version_of_ray() -> None:
    version = CLUSTER["spec"]["rayVersion"]
    image = next(line for line in (DEPLOY / "cluster.Dockerfile").read_text().splitlines() if line.startswith("FROM"))
    assert f"rayproject/ray:{version}-" in image
    assert f"ray=={version}" in (REPOSITORY / "requirements-dev.lock").read_text().splitlines()


def test_a_ray_cluster_on_machines_of_ones_own() -> None:
    ray = pytest.importorskip("ray", reason="it is not installed: pip install 'spotify-dag[ray]'")
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    cluster = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    jsonschema.validate(cluster, schema)
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])


@pytest.mark.parametrize("name", ["ray", "k8s"])
def test_instances_are_the_same_but_for_who_starts_runs(name: str) -> None:
    one_machine, cluster = CONFIGS["postgres"], CONFIGS[name]
    assert set(cluster) - set(one_machine) == {"compute_logs"}
    assert cluster["run_monitoring"].pop("start_timeout_seconds") == 300
    differing = {key for key in one_machine if cluster[key] != one_machine[key]}
    assert differing == {"run_launcher"}
