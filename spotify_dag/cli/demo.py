"""``spotify-dag demo``: the whole graph on a generated world, and some users more through simulated services."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from spotify_dag.console import clear_errors, out
from spotify_dag.settings import Settings

ROOT = Path("data/demo")
ARRIVALS = 5
"""Users that come through each simulated service."""
SERVICES = {"spotify": "Spotify", "listenbrainz": "ListenBrainz"}
MATCHES = 5


def demo(
    context: typer.Context,
    users: Annotated[int, typer.Option(min=20, help="Listeners of the generated world.")] = 500,
) -> None:
    """Show everything: generate listeners, run the graph on them, let more arrive, and print matches."""
    with clear_errors():
        # Without --data a root of its own: a demo is not mixed with the user's data.
        root = context.obj or ROOT
        local = Settings(data=root).local_data
        command = [sys.executable, "-m", "spotify_dag", "--data", str(root)]
        _run([*command, "run", "--source", "synthetic", "--users", str(users)])
        for place, (source, service) in enumerate(SERVICES.items()):
            out.print(f"{ARRIVALS} more listeners, read from a simulated {service}:")
            first = users + place * ARRIVALS
            listed = local / f"{source}_users.txt"
            listed.write_text("".join(f"synthetic-{number:06d}\n" for number in range(first, first + ARRIVALS)))
            arrive = [*command, "run", "--source", source, "--path", str(listed)]
            _run([*command, "simulate", "--users", str(users + len(SERVICES) * ARRIVALS), "--", *arrive])
        _run([*command, "recommend", "synthetic-000007", "-k", str(MATCHES)])
        out.print("The pages people use, the graph in the Dagster UI and the simulated services, in one terminal:")
        out.print(f"  spotify-dag --data {root} up", soft_wrap=True)


def _run(command: list[str]) -> None:
    """Run a command of this program as its user would; end as it ends if it fails."""
    status = subprocess.run(command, check=False).returncode  # noqa: S603
    if status:
        raise typer.Exit(status)
