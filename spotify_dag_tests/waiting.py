"""Wait for what must happen, never for a fixed time: a busy machine may take long, and a quick one need not wait."""

from __future__ import annotations

import time
from collections.abc import Callable

GUARD = 300.0
"""Seconds after which a test gives up: far beyond what the busiest machine needs, so it measures nothing."""


def until(condition: Callable[[], object], seconds: float = GUARD) -> None:
    """Return as soon as ``condition`` holds; fail when it does not hold in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{condition} does not hold after {seconds:.0f} s"
        time.sleep(0.02)


def crowding() -> float:
    """Return how many times longer work takes now than with a core to itself: 1 on an idle machine.

    A limit by the clock is multiplied by it: what else the machine does must not decide.
    """
    begun, used = time.monotonic(), time.thread_time()
    while time.thread_time() - used < 0.3:
        pass
    return max(1.0, (time.monotonic() - begun) / 0.3)
