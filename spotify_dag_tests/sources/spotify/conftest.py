"""Simulators that really listen, servers that misbehave, and sources that read them."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest

from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.simulator.wire import Traffic
from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.spotify import SpotifySource

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SECRET = "simulator"


def user_id(number: int) -> str:
    return f"synthetic-{number:06d}"


@dataclass(frozen=True)
class Ingested:
    """What one pass over a source gave."""

    raw: pl.DataFrame
    users: pl.DataFrame
    rejects: pl.DataFrame
    ingests: pl.DataFrame
    interrupted: ResumeLaterError | None

    def items(self) -> list[tuple[Any, ...]]:
        """Return the good rows, sorted, without the time of reading."""
        return self.raw.drop("fetched_at").sort("user_id", "playlist_id", "position").rows()


def ingest(source: SpotifySource, profiles_count: int | None = None) -> Ingested:
    """Read a source in one pass."""
    ingestion = Ingestion([source], buckets=range(8), n_buckets=8, profiles_count=profiles_count, now=NOW)
    raw = pl.concat([RAW_PLAYLISTS.empty(), *ingestion.records()])
    found = (raw, ingestion.users(), ingestion.rejects(), ingestion.ingests())
    return Ingested(*found, ingestion.interrupted.get("spotify"))


@dataclass
class Installation:
    """A data root, a simulator, and a list of users to read."""

    simulator: Simulator
    data: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return settings_for(self.simulator.url, self.data, **self.options)

    def source(self, *names: str, asked: float = 0) -> SpotifySource:
        """Return a source of users by name; of those who are logged in without any."""
        if not names:
            return SpotifySource(self.settings, None, asked)
        file = self.data.parent / "users.txt"
        if not file.is_file() or file.read_text() != "\n".join(names):
            file.write_text("\n".join(names))
        return SpotifySource(self.settings, str(file), asked)

    def traffic(self) -> Traffic:
        """Return what was asked for since this was called last."""
        wire = self.simulator.api.wire
        found, wire.traffic = wire.traffic, Traffic()
        return found

    def faults(self, **faults: Any) -> None:
        self.simulator.api.wire.faults = Faults(**faults)

    def expected(self, users: range, *, followed: bool = False) -> list[tuple[str, str, int, str | None]]:
        """Return ``user_id, playlist_id, position, track_id`` of what the world holds, sorted."""
        world = self.simulator.api.world
        rows: list[tuple[str, str, int, str | None]] = []
        for user in users:
            for number in world.listed(user):
                playlist = world.playlist(number)
                if followed or playlist.owner == user_id(user) or playlist.collaborative:
                    rows += [
                        (user_id(user), world.playlist_ids.id_of(number), position, world.tracks.ids.id_of(int(track)))
                        for position, track in enumerate(playlist.tracks)
                    ]
        return sorted(rows)


def found_items(ingested: Ingested) -> list[tuple[Any, ...]]:
    return sorted(ingested.raw.select("user_id", "playlist_id", "position", "track_id").rows())


def settings_for(url: str, data: Path, **options: Any) -> Settings:
    usual = {"spotify_client_id": "simulator", "spotify_client_secret": SECRET, "spotify_timeout": 5}
    return Settings(data=data, spotify_api_url=f"{url}/v1/", spotify_auth_url=url, **{**usual, **options})


@pytest.fixture(scope="session")
def simulators() -> Iterator[Callable[[SimulatorSettings], Simulator]]:
    """Simulators by their settings: drawing a world takes longer than most tests."""
    with ExitStack() as stack:

        @cache
        def start(settings: SimulatorSettings) -> Simulator:
            return stack.enter_context(serve(settings))

        yield start


@pytest.fixture
def install(simulators: Callable[[SimulatorSettings], Simulator], tmp_path: Path) -> Callable[..., Installation]:
    """Make an installation: ``install(options, **simulator_settings)``. Tests that change a world take a seed."""

    def start(options: dict[str, Any] | None = None, **settings: Any) -> Installation:
        usual = {"users": 12, "playlists": 4, "tracks": 14}
        here = Installation(simulators(SimulatorSettings(**{**usual, **settings})), tmp_path / "data", options or {})
        here.faults()
        here.traffic()
        return here

    return start


@contextmanager
def raw_server(answer: Callable[[socket.socket, bytes], None]) -> Iterator[str]:
    """Serve a function that is given each connection and the request on it; yield the URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def handle(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(20)
                try:
                    while request := _request(connection):
                        answer(connection, request)
                except OSError:
                    pass

        def accept() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                Thread(target=handle, args=[connection], daemon=True).start()

        Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


def _request(connection: socket.socket) -> bytes:
    """Return the next request with its body; nothing when there is none."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (part := connection.recv(65_536)):
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65_536)
    return head + b"\r\n\r\n" + body


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole HTTP response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
