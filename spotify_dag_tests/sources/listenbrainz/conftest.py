"""A simulated ListenBrainz that really listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import serve
from spotify_dag_tests.sources.listenbrainz.installation import Installation, name


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    with ExitStack() as stack:

        def make(users: int = 4, **settings: object) -> Installation:
            world = SimulatorSettings.model_validate(
                {"users": users, "playlists": 2, "tracks": 15, "listens": 200, **settings}
            )
            return Installation(stack.enter_context(serve(world)), tmp_path / "data", [name(n) for n in range(users)])

        yield make
