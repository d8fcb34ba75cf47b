"""The command ``spotify-dag simulate``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer


def simulate(
    mode: Annotated[
        Literal["extended", "development"],
        typer.Option(
            help="extended: an app that may read what is public. development: one that reads what its user owns."
        ),
    ] = "extended",
    users: Annotated[int, typer.Option(min=1, help="Users of the generated world.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world, of users' tastes and of faults.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of 127.0.0.1; 0: any that is free.")] = 8_765,
    latency: Annotated[float, typer.Option(min=0, help="Seconds that every request takes at least.")] = 0,
    fault_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of requests that go wrong, in every way there is.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="One fault: its rate (hang_up=0.1), or a detail of them (long_retry_after=2). Repeatable.",
        ),
    ] = None,
) -> None:
    """Serve a simulated Spotify Web API over the generated world, until interrupted."""
    from pydantic import ValidationError

    from spotify_dag.simulator.server import SimulatorError, serve_forever
    from spotify_dag.simulator.settings import Faults, SimulatorSettings

    wrong = [part for part in fault or () if "=" not in part]
    if wrong:
        raise SimulatorError(f"--fault is '{wrong[0]}'; it must be NAME=VALUE, for example hang_up=0.1.")
    try:
        faults = Faults.evenly(fault_rate, **dict(part.split("=", 1) for part in fault or ()))
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0] if problem["loc"] else "rates"
        known = ", ".join(Faults.model_fields)
        raise SimulatorError(f"--fault {name}: {problem['msg']}. Known names: {known}.") from error
    settings = SimulatorSettings(mode=mode, users=users, seed=seed, latency=latency, faults=faults)
    serve_forever(settings, port, lambda url: typer.echo(_how_to_use(url, settings.client_id, settings.client_secret)))


def _how_to_use(url: str, client_id: str, client_secret: str) -> str:
    return f"""Simulated Spotify at {url}, until Ctrl-C. To use it:
  export SPOTIFY_DAG_SPOTIFY_API_URL={url}/v1/ SPOTIFY_DAG_SPOTIFY_AUTH_URL={url}
  export SPOTIFY_DAG_SPOTIFY_CLIENT_ID={client_id} SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET={client_secret}
Requests so far: {url}/simulator/requests"""
