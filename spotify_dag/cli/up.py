"""``spotify-dag up``: everything that serves one data root, in one terminal.

Each part is a process group of its own, so that Ctrl-C reaches this process alone, which then ends them one by one:
a run that is under way is interrupted, and made again after the next start. Cursors and schedules are in Dagster's
instance under the data root. A part that ends by itself is started again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from spotify_dag.console import clear_errors, err, open_project, out
from spotify_dag.errors import SpotifyDagError
from spotify_dag.layout import Layout, read_layout
from spotify_dag.locks import locked
from spotify_dag.project import Project

HOST = "127.0.0.1"
LOOK_SECONDS = 1.0
"""Between two looks whether each process is there."""
HEALTH_SECONDS = 15.0
"""Between two questions to a part that was well; one that is not is asked at every look."""
STOP_SECONDS = 30.0
"""Time to end by themselves; a run needs a moment to say that it was interrupted."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1.0, 60.0
STEADY_SECONDS = 60.0
"""A part that ran so long is started again at once when it ends."""
ILL = "not healthy"
HEALTH_QUERY = "{ instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"
PORT, APP_PORT, SIMULATOR_PORT = 3000, 7860, 8765


class UpError(SpotifyDagError):
    """Something cannot be started. The message says what, why and what to do."""


@dataclass
class Part:
    """One process that is kept running."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str]
    health: Callable[[], str | None]
    """Says where it is or what it does, None while it does not answer."""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0
    wait: float = FIRST_WAIT_SECONDS
    said: str = field(default="")
    well_until: float = 0
    """When it is asked again how it is."""

    def start(self) -> None:
        """Start it, its output appended to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                start_new_session=True,
            )  # fmt: skip
        self.started = time.monotonic()

    def look(self) -> str:
        """Return how it is, and start it again where it has ended."""
        if self.process is None or self.process.poll() is not None:
            ended = None if self.process is None else f"ended with status {self.process.returncode}, is started again"
            ran = time.monotonic() - self.started
            self.well_until = 0
            if ended is None or ran >= self.wait:
                self.wait = FIRST_WAIT_SECONDS if ran > STEADY_SECONDS else min(2 * self.wait, LONGEST_WAIT_SECONDS)
                self.start()
            if ended:
                return f"{ended}; see {self.log}"
        if time.monotonic() < self.well_until:
            return self.said
        answer = self.health()
        if answer is not None and answer == self.said and not answer.startswith(ILL):
            self.well_until = time.monotonic() + HEALTH_SECONDS
        return answer or "starting"

    def stop(self, how: signal.Signals) -> None:
        """Send a signal to it and all that it has started."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)

    def is_gone(self) -> bool:
        """Return whether it and all that it has started have ended."""
        if self.process is None:
            return True
        self.process.poll()
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


def up(
    context: typer.Context,
    port: Annotated[int, typer.Option(min=1, max=65_535, help=f"Port of the Dagster UI on {HOST}.")] = PORT,
    app_port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the web app.")] = APP_PORT,
    simulator_port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the simulated Spotify.")
    ] = SIMULATOR_PORT,
    no_app: Annotated[bool, typer.Option("--no-app", help="Without the web app.")] = False,
    no_simulator: Annotated[
        bool,
        typer.Option("--no-simulator", help="Without a simulated Spotify; there is none either with an app of yours."),
    ] = False,
) -> None:
    """Run the Dagster UI, its daemon, the web app and a simulated Spotify together, until Ctrl-C."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        ports = {"ui": port}
        if not no_app:
            ports["app"] = app_port
        if not no_simulator and project.settings.spotify_client_id is None:
            ports["simulator"] = simulator_port
        folder = project.settings.local_data / "up"
        with locked(folder / ".lock", wait=False) as alone:
            if not alone:
                raise UpError(f"spotify-dag up is running already on {project.settings.data}. End it first.")
            for name, number in ports.items():
                _check_free(name, number)
            keep_running(_parts(project, folder, ports), lambda: read_layout(project.settings.data))


def keep_running(parts: list[Part], layout: Callable[[], Layout | None] = lambda: None) -> None:
    """Start parts, tell of every change of their health, and end them when interrupted.

    The code server knows the partitions that there were when it started. It is started again once the layout is
    another; the app follows by itself.
    """
    known = layout()
    with _until_interrupted() as interrupted:
        try:
            while interrupted():
                if (present := layout()) != known and present is not None:
                    known = present
                    out.print(f"There are {present.n_buckets} user buckets now. The code server is started again.")
                    _stop(next(part for part in parts if part.name == "code"))
                for part in parts:
                    if not interrupted():
                        break
                    how = part.look()
                    if how != part.said:
                        out.print(f"{time.strftime('%H:%M:%S')}  {part.name:<12}{how}", soft_wrap=True)
                        part.said = how
                time.sleep(LOOK_SECONDS)
        finally:
            err.print("Stopping.", style="dim")
            # The code server last: what the others end with asks it.
            for part in reversed(parts):
                _stop(part)


def _stop(part: Part) -> None:
    part.stop(signal.SIGINT)
    until = time.monotonic() + STOP_SECONDS
    while not part.is_gone() and time.monotonic() < until:
        time.sleep(0.05)
    part.stop(signal.SIGKILL)


@contextmanager
def _until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yield a function that is true until SIGINT or SIGTERM. In the block neither ends this process."""
    stopped: list[int] = []
    before = {
        number: signal.signal(number, lambda received, _: stopped.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: not stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _parts(project: Project, folder: Path, ports: dict[str, int]) -> list[Part]:
    """Return the parts to run, in the order of their start."""
    # Dagster takes a second to import: only what needs it pays.
    from spotify_dag.orchestration.instance import dagster_home

    code_port = _free_port()
    workspace = folder / "workspace.yaml"
    server = {"host": HOST, "port": code_port, "location_name": "spotify_dag"}
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
    environment = {
        **os.environ,
        "SPOTIFY_DAG_DATA": str(project.settings.data),
        "SPOTIFY_DAG_LOCAL": str(project.settings.local_data),
        "DAGSTER_HOME": str(dagster_home(project)),
    }
    if "simulator" in ports:
        from spotify_dag.cli.simulate import variables
        from spotify_dag.simulator.faults_and_limits import SimulatorSettings

        environment |= variables(f"http://{HOST}:{ports['simulator']}", SimulatorSettings())

    def part(name: str, arguments: list[str], health: Callable[[], str | None]) -> Part:
        log = folder / f"{name}.log"
        log.unlink(missing_ok=True)  # of the last time
        return Part(name, [sys.executable, "-m", *arguments], log, environment, health)

    ui = f"http://{HOST}:{ports['ui']}"
    parts = [
        part(
            "code",
            [
                "dagster", "api", "grpc", "--module-name", "spotify_dag.definitions", "--location-name", "spotify_dag",
                "--host", HOST, "--port", str(code_port), "--lazy-load-user-code",
            ],
            lambda: "the graph is loaded" if _answers(code_port) else None,
        ),
        part(
            "ui",
            [
                "spotify_dag.orchestration.dagster_internals.webserver", "--host", HOST, "--port", str(ports["ui"]),
                "--workspace", str(workspace),
            ],
            lambda: ui if _answers(ports["ui"]) else None,
        ),
        part(
            "daemon",
            ["spotify_dag.orchestration.dagster_internals.daemon", "run", "--workspace", str(workspace)],
            lambda: _daemon_health(ui),
        ),
    ]  # fmt: skip
    if "simulator" in ports:
        arguments = ["spotify_dag", "simulate", "--port", str(ports["simulator"])]
        url = f"http://{HOST}:{ports['simulator']}"
        parts.append(part("simulator", arguments, lambda: url if _answers(ports["simulator"]) else None))
    if "app" in ports:
        arguments = ["spotify_dag", "app", "--host", HOST, "--port", str(ports["app"])]
        app = f"http://{HOST}:{ports['app']}"
        parts.append(part("app", arguments, lambda: app if _answers(ports["app"]) else None))
    return parts


def _daemon_health(ui: str) -> str | None:
    """Return the state of Dagster's daemons, or None before it is known."""
    request = urllib.request.Request(  # noqa: S310
        f"{ui}/graphql", json.dumps({"query": HEALTH_QUERY}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
            body: dict[str, Any] = json.load(answer)
        statuses = body["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    needed = {status["daemonType"]: status["healthy"] for status in statuses if status["required"]}
    ill = sorted(name.lower() for name, healthy in needed.items() if not healthy)
    if len(ill) == len(needed):
        return None
    return f"{ILL}: {', '.join(ill)}" if ill else "watches, schedules and runs"


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((HOST, port), timeout=0.5):
        return True
    return False


def _check_free(name: str, port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            option = "--port" if name == "ui" else f"--{name}-port"
            raise UpError(
                f"Port {port} of the {name} cannot be used: {error.strerror}. Choose another: {option}"
            ) from error


def _free_port() -> int:
    with socket.socket() as tried:
        tried.bind((HOST, 0))
        return int(tried.getsockname()[1])
