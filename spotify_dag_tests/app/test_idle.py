"""An app that nobody asks costs next to nothing: it looks at names and queues, and reads nothing again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from spotify_dag_tests.waiting import until

Start = Callable[..., Any]
IDLE_SECONDS = 5
MOST_SHARE = 0.04
"""Of a core: 2.4 s of processor time a minute. Gradio's own queue alone took 3 s."""


def share() -> float:
    """Return what share of a core this process took for some seconds in which it had nothing to do."""
    process = psutil.Process()
    used, begun = process.cpu_times(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    now, seconds = process.cpu_times(), time.monotonic() - begun
    return (now.user + now.system - used.user - used.system) / seconds


@pytest.mark.process
@pytest.mark.slow
def test_an_idle_app_hardly_costs_processor_time(fresh: Start) -> None:
    with fresh(pages=True) as served:
        assert served.client.get("/").status_code == 200
        until(lambda: share() < MOST_SHARE)  # once what the start began, imports above all, has ended


def test_what_changes_is_noticed_without_reading_it(fresh: Start) -> None:
    with fresh() as served:
        serving = served.service.serving
        before = serving._stamp()
        assert serving._stamp() == before
        index, _ = served.project.matcher.index()
        index.replace([0], index.rows([0], with_vectors=True))
        assert serving._stamp() != before
