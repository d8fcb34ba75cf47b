"""The stages of ``spotify-dag run`` on a synthetic world, started and stopped where a bench wants."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bench.measure import peak_gib


def register_world(root: Path, users: int, playlists: int, tracks: int) -> None:
    """Make an empty data root that has a world of users (playlists per user, mean tracks per playlist) to read."""
    register(root, "synthetic", {"users": users, "playlists": playlists, "tracks": tracks})


def register(root: Path, source: str, options: dict[str, Any], artist_genres: Path | None = None) -> None:
    """Make an empty data root that has a source, and perhaps an artist-genre table, to read."""
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    project.check_layout()
    if artist_genres is not None:
        project.inbox.register_artist_genres(artist_genres)
    project.inbox.register_source(source, options)


def run_stages(root: Path, last: str, *, train: bool = False) -> list[dict[str, Any]]:
    """Bring a data root up to date through Dagster, as the command line does, up to the stage ``last``.

    With ``train`` a new tower is trained even if the present one will do.

    Returns
    -------
    Per stage: ``stage``, ``seconds`` (wall clock), ``cpu_seconds``, and ``peak_gib``, the most resident memory of this
    process from its start to the end of the stage.
    """
    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    project = Project.open(Settings(data=root))
    definitions = build_definitions(settings=project.settings, overrides={"project": project})
    stages: list[dict[str, Any]] = []
    begun = time.process_time()
    with open_instance(project) as instance:
        for run in bring_up_to_date(project, definitions, instance, train=train):
            used, begun = time.process_time() - begun, time.process_time()
            stages.append({"stage": run.stage, "seconds": run.seconds, "cpu_seconds": used, "peak_gib": peak_gib()})
            if run.stage == last:
                break
    return stages


def lake_bytes(root: Path) -> dict[str, int]:
    """Return the bytes on disk of every table of the lake, Delta log included."""
    return {
        table.name: sum(file.stat().st_size for file in table.rglob("*") if file.is_file())
        for table in sorted((root / "lake").iterdir())
    }
