"""Runs as Jobs of Kubernetes: ``pip install 'spotify-dag[k8s]'``.

``deploy/dagster-k8s.yaml`` names it. Nothing else imports this module.
"""

from spotify_dag.orchestration.dagster_internals.processes import WatchesOwnRuns

try:
    from dagster_k8s import K8sRunLauncher
except ImportError as error:  # not as a missing module: Dagster would hide what it says
    raise ImportError(
        f"The instance file has runs on Kubernetes, which needs: pip install 'spotify-dag[k8s]' ({error})"
    ) from error


class K8sLauncher(WatchesOwnRuns, K8sRunLauncher):
    """Launches each run as a Job of Kubernetes, in a pod of its own."""
