"""The command ``spotify-dag simulate``."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError

if TYPE_CHECKING:
    from spotify_dag.simulator.faults_and_limits import SimulatorSettings

PORT = 8_765


def simulate(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND",
            help="Run this command against the simulator, and end when it ends.",
            show_default=False,
        ),
    ] = None,
    *,
    mode: Annotated[
        Literal["extended", "development"],
        typer.Option(
            help="extended: an app that may read what is public. development: one that reads what its user owns."
        ),
    ] = "extended",
    users: Annotated[int, typer.Option(min=1, help="Users of the generated world.")] = 500,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the world, of users' tastes and of faults.")] = 0,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help=f"Port of 127.0.0.1; default: {PORT}, or any free one with a COMMAND."),
    ] = None,
    latency: Annotated[float, typer.Option(min=0, help="Least time of a request, in seconds.")] = 0,
    fault_rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of requests that go wrong, in all 13 ways.")
    ] = 0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Rate of one fault (hang_up=0.1), or a detail (long_retry_after=2); repeatable.",
        ),
    ] = None,
) -> None:
    """Serve a simulated Spotify, ListenBrainz and Last.fm, until interrupted or while a command runs."""
    from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
    from spotify_dag.simulator.loopback_server import SimulatorError, serve_forever

    wrong = [part for part in fault or () if "=" not in part]
    if wrong:
        raise SimulatorError(f"--fault is '{wrong[0]}'; it must be NAME=VALUE, for example hang_up=0.1.")
    try:
        faults = Faults.evenly(fault_rate, **dict(part.split("=", 1) for part in fault or ()))
    except ValidationError as error:
        problem = error.errors()[0]
        name = problem["loc"][0] if problem["loc"] else "rates"
        names = f" There are: {', '.join(Faults.model_fields)}." if problem["type"] == "extra_forbidden" else ""
        raise SimulatorError(f"--fault {name}: {problem['msg']}.{names}") from error
    settings = SimulatorSettings(mode=mode, users=users, seed=seed, latency=latency, faults=faults)
    if command:
        raise typer.Exit(_run_beside(settings, command, port or 0))
    serve_forever(settings, PORT if port is None else port, lambda url: typer.echo(_how_to_use(url, settings)))


def _run_beside(settings: SimulatorSettings, command: Sequence[str], port: int) -> int:
    """Run a command against a simulator; return its exit status."""
    from spotify_dag.simulator.loopback_server import SimulatorError, serve

    with serve(settings, port) as simulator:
        os.environ.update(variables(simulator.url, settings))
        child: subprocess.Popen[bytes] | None = None
        told_to_end = False

        def end(*_: object) -> None:
            nonlocal told_to_end
            told_to_end = True
            if child is not None:
                child.terminate()

        # Before there is a command: a signal that comes while it starts must not leave it behind. Ctrl-C reaches it by
        # itself, and it may take its time to end; what is sent to this process alone does not reach it.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGTERM, end)
        try:
            child = subprocess.Popen(command)  # noqa: S603
        except OSError as error:
            raise SimulatorError(f"Cannot run '{command[0]}': {error.strerror}.") from error
        if told_to_end:
            child.terminate()
        status = child.wait()
        return status if status >= 0 else 128 - status


def variables(url: str, settings: SimulatorSettings) -> dict[str, str]:
    """Return the environment variables that make this project use the simulator."""
    return {
        "SPOTIFY_DAG_SPOTIFY_API_URL": f"{url}/v1",
        "SPOTIFY_DAG_SPOTIFY_AUTH_URL": url,
        "SPOTIFY_DAG_SPOTIFY_CLIENT_ID": settings.client_id,
        "SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET": settings.client_secret,
        "SPOTIFY_DAG_LISTENBRAINZ_API_URL": url,
        "SPOTIFY_DAG_LASTFM_API_URL": url,
        "SPOTIFY_DAG_LASTFM_API_KEY": settings.client_id,
    }


def _how_to_use(url: str, settings: SimulatorSettings) -> str:
    exports = "\n".join(f"  export {name}={value}" for name, value in variables(url, settings).items())
    services = "Spotify, ListenBrainz and Last.fm"
    asked = f"Requests so far: {url}/simulator/requests"
    return f"Simulated {services} at {url}, until Ctrl-C. To use them:\n{exports}\n{asked}"
