"""Answers that cost much: so many at once, so many that wait, and the others are told to come again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread

from spotify_dag.app.problems import AppError

Answer = TypeVar("Answer")


class HeavyWork:
    """Runs functions in threads of its own.

    Parameters
    ----------
    at_once
        So many run.
    waiting
        So many wait.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._limiter = CapacityLimiter(at_once)
        self._room = at_once + waiting
        self._inside = 0

    async def run(self, work: Callable[..., Answer], *arguments: Any) -> Answer:
        """Return what ``work`` returns.

        Raises
        ------
        AppError
            If too many wait already.
        """
        if self._inside >= self._room:
            raise AppError(503, "Too many ask for this at once. Try again in a moment.", {"Retry-After": "2"})
        self._inside += 1
        try:
            return await to_thread.run_sync(work, *arguments, limiter=self._limiter)
        finally:
            self._inside -= 1
