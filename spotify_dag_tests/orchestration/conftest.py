"""Fixtures of the tests of orchestration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spotify_dag_tests.orchestration.webhook import Hook


@pytest.fixture
def hook() -> Iterator[Hook]:
    """A webhook that listens."""
    hook = Hook()
    yield hook
    hook.server.shutdown()
    hook.server.server_close()
