"""Searches of all who ask at the same time: the answers of each, and what becomes of who leaves or is in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spotify_dag.app.search_together import MOST_TOGETHER, SearchTogether
from spotify_dag.app.snapshot import Nearest


class Counting:
    """Answers with the numbers it is asked with, once it is let; and remembers who was asked for together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.let = threading.Event()

    def nearest(self, people: Sequence[Any], k: int) -> list[Nearest]:
        self.together.append([*people])
        assert self.let.wait(30)
        if -1 in people:
            raise ValueError("nobody is like -1")
        return [Nearest(np.arange(person, person + k), np.zeros(k, np.float32)) for person in people]


async def asked(search: SearchTogether, snapshot: Counting, numbers: Sequence[Any], k: int = 2) -> list[Any]:
    """Ask the first, then all others while it is answered; return all answers."""
    first = asyncio.create_task(search.nearest(snapshot, numbers[0], k))
    while not snapshot.together:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(search.nearest(snapshot, number, k)) for number in numbers[1:]]
    await asyncio.sleep(0.01)
    snapshot.let.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_who_asks_meanwhile_is_answered_together() -> None:
    search, snapshot = SearchTogether(), Counting()
    numbers = list(range(3 + MOST_TOGETHER))
    answers = asyncio.run(asked(search, snapshot, numbers))
    assert [answer.rows.tolist() for answer in answers] == [[number, number + 1] for number in numbers]
    assert snapshot.together == [[0], numbers[1 : 1 + MOST_TOGETHER], numbers[1 + MOST_TOGETHER :]]
    search.stop()


def test_other_users_and_other_numbers_are_looked_for_apart() -> None:
    search, one, other = SearchTogether(), Counting(), Counting()
    other.let.set()

    async def all_of_them() -> list[Any]:
        five: Any = 5
        six: Any = 6
        others = [search.nearest(other, five, 1), search.nearest(one, six, 3)]
        return [*await asyncio.gather(asked(search, one, [1, 2]), *others)]

    (first, second), third, fourth = asyncio.run(all_of_them())
    assert [it.rows.tolist() for it in (first, second, third, fourth)] == [[1, 2], [2, 3], [5], [6, 7, 8]]
    search.stop()


def test_an_error_is_told_to_all_of_them_and_the_next_are_answered() -> None:
    search, snapshot = SearchTogether(), Counting()

    async def both() -> list[Any]:
        return [*await asked(search, snapshot, [0, -1, 2]), *await asked(search, Counting(), [4])]

    first, *failed, last = asyncio.run(both())
    assert [first.rows.tolist(), last.rows.tolist()] == [[0, 1], [4, 5]]
    assert [str(error) for error in failed] == ["nobody is like -1"] * 2
    search.stop()


@pytest.mark.parametrize("left", [0, 1])
def test_who_leaves_stops_nobody(left: int) -> None:
    search, snapshot = SearchTogether(), Counting()

    async def with_one_who_leaves() -> list[int]:
        people: tuple[Any, ...] = (7, 8, 9)
        asking = [asyncio.create_task(search.nearest(snapshot, person, 1)) for person in people]
        while not snapshot.together:
            await asyncio.sleep(0.001)
        asking[left].cancel()
        snapshot.let.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(answers[left], asyncio.CancelledError)
        return [int(answer.rows[0]) for answer in answers if isinstance(answer, Nearest)]

    assert asyncio.run(with_one_who_leaves()) == [number for number in (7, 8, 9) if number != 7 + left]
    search.stop()
