"""Who asks while others are being answered is looked for together with all who did: a search reads every vector."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from spotify_dag.app.snapshot import Nearest, Person

MOST_TOGETHER = 8
"""More are found a little sooner each, and then all of their answers are written at once: the last one waits."""


class Searched(Protocol):
    """What is searched: a `snapshot.Snapshot`."""

    def nearest(self, people: Sequence[Person], k: int) -> list[Nearest]:
        """Return the nearest of each."""


class _Search(NamedTuple):
    """A search that has not begun: who else comes joins it."""

    people: list[Person]
    found: asyncio.Task[list[Nearest]]


class SearchTogether:
    """Searches one after the other, in a thread of its own. Used from one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "search")
        self._alone = asyncio.Lock()
        self._open: dict[tuple[int, int], _Search] = {}

    async def nearest(self, searched: Searched, person: Person, k: int) -> Nearest:
        """Return what `Snapshot.nearest` does for one person."""
        search = self._open.get((id(searched), k))
        if search is None or len(search.people) == MOST_TOGETHER:
            people: list[Person] = []
            search = _Search(people, asyncio.create_task(self._search(searched, people, k)))
            self._open[id(searched), k] = search
        place = len(search.people)
        search.people.append(person)
        # Others wait for the same search: who leaves must not end it.
        return (await asyncio.shield(search.found))[place]

    async def _search(self, searched: Searched, people: list[Person], k: int) -> list[Nearest]:
        async with self._alone:
            if (search := self._open.get((id(searched), k))) is not None and search.people is people:
                del self._open[id(searched), k]
            return await asyncio.get_running_loop().run_in_executor(self._thread, searched.nearest, people, k)

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
