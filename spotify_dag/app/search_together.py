"""Who asks while others are being answered is looked for together with all who did: beginning a search costs most."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from spotify_dag.app.snapshot import Near, Person

MOST_TOGETHER = 8
"""More are found a little sooner each, and then all of their answers are written at once: the last one waits."""


Asking = tuple[str, bool]
"""The id of a user, and whether only those who are shown count."""
Answer = tuple[Person, list[Near]] | Exception


class Searched(Protocol):
    """What is searched: a `snapshot.Snapshot`."""

    def matches_of(self, asking: Sequence[Asking], k: int) -> list[Answer]:
        """Return who is nearest to each."""


class _Search(NamedTuple):
    """A search that has not begun: who else comes joins it."""

    asking: list[Asking]
    found: asyncio.Task[list[Answer]]


class SearchTogether:
    """Searches one after the other, in a thread of its own. Used from one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "search")
        self._alone = asyncio.Lock()
        self._open: dict[tuple[int, int], _Search] = {}

    async def matches_of(self, searched: Searched, user: Asking, k: int) -> tuple[Person, list[Near]]:
        """Return what `Snapshot.matches_of` does for one user.

        Raises
        ------
        UnknownUserError
            If there is no such user.
        """
        search = self._open.get((id(searched), k))
        if search is None or len(search.asking) == MOST_TOGETHER:
            asking: list[Asking] = []
            search = _Search(asking, asyncio.create_task(self._search(searched, asking, k)))
            self._open[id(searched), k] = search
        place = len(search.asking)
        search.asking.append(user)
        # Others wait for the same search: who leaves must not end it.
        answer = (await asyncio.shield(search.found))[place]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _search(self, searched: Searched, asking: list[Asking], k: int) -> list[Answer]:
        async with self._alone:
            if (search := self._open.get((id(searched), k))) is not None and search.asking is asking:
                del self._open[id(searched), k]
            return await asyncio.get_running_loop().run_in_executor(self._thread, searched.matches_of, asking, k)

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
