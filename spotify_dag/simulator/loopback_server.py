"""Serving a simulator on a loopback port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from spotify_dag.errors import SpotifyDagError
from spotify_dag.simulator.api_call import Api
from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.web_api import create_app

HOST = "127.0.0.1"


class SimulatorError(SpotifyDagError):
    """The simulator cannot be started. The message says why and what to do."""


@dataclass(frozen=True)
class Simulator:
    """A running simulator."""

    url: str
    """``http://127.0.0.1:port``, without a slash; the Web API is under ``/v1``."""
    api: Api


@contextmanager
def serve(settings: SimulatorSettings, port: int = 0) -> Iterator[Simulator]:
    """Serve in a thread while the block runs; port 0 is any free one.

    Raises
    ------
    SimulatorError
        If the port is taken.
    """
    listening = _listen(port)
    api, server = _server(settings)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, name="simulator", daemon=True)
    thread.start()
    try:
        yield Simulator(_url(listening), api)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def serve_forever(settings: SimulatorSettings, port: int, started: Callable[[str], None]) -> None:
    """Serve until interrupted; ``started`` is told the URL.

    Raises
    ------
    SimulatorError
        If the port is taken.
    """
    with _listen(port) as listening:
        _, server = _server(settings)
        started(_url(listening))
        server.run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((HOST, port))
    except OSError as error:
        listening.close()
        raise SimulatorError(f"Port {port} cannot be used: {error.strerror}. Choose another with --port.") from error
    # From here on connections wait instead of being refused, even before the server has started.
    listening.listen(128)
    return listening


def _url(listening: socket.socket) -> str:
    return f"http://{HOST}:{listening.getsockname()[1]}"


def _server(settings: SimulatorSettings) -> tuple[Api, uvicorn.Server]:
    app = create_app(settings)
    api: Api = app.state.api
    connections = api.wire.connections

    class Protocol(H11Protocol):
        """A protocol that can close a connection without an answer: ASGI has no message for that."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections[transport.get_extra_info("peername")] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(self.transport.get_extra_info("peername"), None)
            super().connection_lost(exc)

    config = uvicorn.Config(
        app, http=Protocol, loop="asyncio", lifespan="off", log_level="warning", access_log=False,
        timeout_graceful_shutdown=1, server_header=False,
    )  # fmt: skip
    return api, uvicorn.Server(config)
