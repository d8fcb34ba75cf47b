"""Several processes read at once, with faults and limits: everybody once, and nothing sent while it is forbidden."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import pytest

from spotify_dag.simulator.faults_and_limits import RATE_KINDS, Faults
from spotify_dag.sources.listenbrainz import ListenBrainzSource
from spotify_dag_tests.sources.listenbrainz.installation import Installation, expected_plays, read

USERS, PROCESSES = 24, 4
RATE = 0.15


def read_to_its_end(settings: dict[str, Any], listed: str, asked: float) -> None:
    """Read a source again and again until nothing interrupts it; what a process of its own runs."""
    from spotify_dag.settings import Settings

    for _ in range(20):
        found = read(ListenBrainzSource(Settings.model_validate(settings), listed, asked))
        if found.interrupted is None:
            return
        time.sleep(max(0.0, found.interrupted.at - time.time()))
    raise AssertionError("never came to its end")


@pytest.mark.slow
@pytest.mark.process
def test_four_processes_read_everybody_once(install: Callable[..., Installation]) -> None:
    short = {"retry_after": 2, "long_retry_after": 3, "drip_seconds": 1.0}
    faults = Faults.model_validate({**dict.fromkeys(RATE_KINDS, RATE / len(RATE_KINDS)), **short})
    here = install(users=USERS, listens=1_500, listenbrainz_requests=30, listenbrainz_window=4.0, faults=faults)
    source = here.source()
    settings = {"data": source.settings.data, "n_buckets": 8, "listenbrainz_api_url": here.simulator.url}
    spawn = multiprocessing.get_context("spawn")
    processes = [
        spawn.Process(target=read_to_its_end, args=(settings, source.users, source.asked)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    traffic = here.simulator.api.wire.traffic
    assert traffic.forbidden == 0
    assert traffic.faults.total() > 20
    # A page that was asked for once more had failed before, or its reader had been told to stop.
    here.simulator.api.wire.faults = Faults()
    found = read(ListenBrainzSource(source.settings, source.users, source.asked))
    assert all(found.plays(number) == expected_plays(here.listening, number) for number in range(USERS))
