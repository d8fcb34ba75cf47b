"""Who asks while others are being answered is looked for together with all who did: a search reads every vector."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from spotify_dag.app.snapshot import Nearest, Person, Snapshot

MOST_TOGETHER = 8


@dataclass(frozen=True, eq=False)
class _Question:
    snapshot: Snapshot
    person: Person
    k: int
    answer: asyncio.Future[Nearest]


class SearchTogether:
    """Searches in a thread of its own, for all who wait at once. Used from one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "search")
        self._waiting: list[_Question] = []
        self._searching: asyncio.Task[None] | None = None

    async def nearest(self, snapshot: Snapshot, person: Person, k: int) -> Nearest:
        """Return what `Snapshot.nearest` does for one person."""
        question = _Question(snapshot, person, k, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if self._searching is None:
            self._searching = asyncio.create_task(self._answer_all())
        return await question.answer

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                first = self._waiting[0]
                alike = (it for it in self._waiting if it.snapshot is first.snapshot and it.k == first.k)
                together = list(islice(alike, MOST_TOGETHER))
                self._waiting = [it for it in self._waiting if it not in together]
                await self._answer(together)
        finally:
            self._searching = None

    async def _answer(self, together: list[_Question]) -> None:
        loop, first = asyncio.get_running_loop(), together[0]
        people = [question.person for question in together]
        try:
            answers = await loop.run_in_executor(self._thread, first.snapshot.nearest, people, first.k)
        except Exception as error:  # each of them is told
            for question in together:
                if not question.answer.done():
                    question.answer.set_exception(error)
            return
        for question, near in zip(together, answers, strict=True):
            # One who has left waits no more.
            if not question.answer.done():
                question.answer.set_result(near)

    def stop(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)
