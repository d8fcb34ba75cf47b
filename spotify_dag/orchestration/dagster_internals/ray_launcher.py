"""Runs as jobs of a Ray cluster. Written against dagster-ray 0.4: ``pip install 'spotify-dag[ray]'``.

``deploy/dagster-ray.yaml`` names it. Nothing else imports this module.
"""

from spotify_dag.orchestration.dagster_internals.processes import WatchesOwnRuns

try:
    from dagster_ray import RayRunLauncher
except ImportError as error:  # not as a missing module: Dagster would hide what it says
    raise ImportError(
        f"The instance file has runs on Ray, which needs: pip install 'spotify-dag[ray]' ({error})"
    ) from error


class RayLauncher(WatchesOwnRuns, RayRunLauncher):
    """Launches each run as a job of Ray, on any node that has a core free."""
