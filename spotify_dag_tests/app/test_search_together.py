"""Searches of all who ask at the same time: the answers of each, and what becomes of who leaves or is in the way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from spotify_dag.app.search_together import MOST_TOGETHER, Answer, Asking, SearchTogether
from spotify_dag.app.snapshot import Near, Person
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.matching.taste import NO_TASTE


class Counting:
    """Answers with the numbers it is asked with, once it is let; and remembers who was asked for together."""

    def __init__(self) -> None:
        self.together: list[list[int]] = []
        self.let = threading.Event()

    def matches_of(self, asking: Sequence[Asking], k: int) -> list[Answer]:
        numbers = [int(user) for user, _ in asking]
        self.together.append(numbers)
        assert self.let.wait(30)
        if -1 in numbers:
            raise ValueError("nobody is like -1")
        return [UnknownUserError(f"nobody is {number}") if number > 999 else answer(number, k) for number in numbers]


def answer(number: int, k: int) -> tuple[Person, list[Near]]:
    near = [Near(str(number + place), 0.0, 1, "") for place in range(k)]
    return Person(np.zeros(2, np.float32), NO_TASTE, 1, str(number)), near


def told(answered: tuple[Person, list[Near]]) -> list[int]:
    """Return who asked, and who is near."""
    person, near = answered
    return [int(person.user_id or -1), *(int(other.user_id) for other in near)]


def one(number: int) -> Asking:
    return str(number), True


async def asked(search: SearchTogether, snapshot: Counting, numbers: Sequence[int], k: int = 2) -> list[Any]:
    """Ask the first, then all others while it is answered; return all answers."""
    first = asyncio.create_task(search.matches_of(snapshot, one(numbers[0]), k))
    while not snapshot.together:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(search.matches_of(snapshot, one(number), k)) for number in numbers[1:]]
    await asyncio.sleep(0.01)
    snapshot.let.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_who_asks_meanwhile_is_answered_together() -> None:
    search, snapshot = SearchTogether(), Counting()
    numbers = list(range(3 + MOST_TOGETHER))
    answers = asyncio.run(asked(search, snapshot, numbers))
    assert [told(answer) for answer in answers] == [[number, number, number + 1] for number in numbers]
    assert snapshot.together == [[0], numbers[1 : 1 + MOST_TOGETHER], numbers[1 + MOST_TOGETHER :]]
    search.stop()


def test_other_users_and_other_numbers_are_looked_for_apart() -> None:
    search, snapshot, other = SearchTogether(), Counting(), Counting()
    other.let.set()

    async def all_of_them() -> list[Any]:
        others = [search.matches_of(other, one(5), 1), search.matches_of(snapshot, one(6), 3)]
        return [*await asyncio.gather(asked(search, snapshot, [1, 2]), *others)]

    (first, second), third, fourth = asyncio.run(all_of_them())
    assert [told(it)[1:] for it in (first, second, third, fourth)] == [[1, 2], [2, 3], [5], [6, 7, 8]]
    search.stop()


def test_an_error_is_told_to_all_of_them_and_the_next_are_answered() -> None:
    search, snapshot = SearchTogether(), Counting()

    async def both() -> list[Any]:
        return [*await asked(search, snapshot, [0, -1, 2]), *await asked(search, Counting(), [4])]

    first, *failed, last = asyncio.run(both())
    assert [told(first), told(last)] == [[0, 0, 1], [4, 4, 5]]
    assert [str(error) for error in failed] == ["nobody is like -1"] * 2
    search.stop()


def test_who_is_not_known_is_told_so_and_others_are_answered() -> None:
    search = SearchTogether()
    first, unknown, last = asyncio.run(asked(search, Counting(), [1, 1_000, 3]))
    assert [told(first), told(last)] == [[1, 1, 2], [3, 3, 4]]
    assert isinstance(unknown, UnknownUserError)
    search.stop()


@pytest.mark.parametrize("left", [0, 1])
def test_who_leaves_stops_nobody(left: int) -> None:
    search, snapshot = SearchTogether(), Counting()

    async def with_one_who_leaves() -> list[int]:
        asking = [asyncio.create_task(search.matches_of(snapshot, one(number), 1)) for number in (7, 8, 9)]
        while not snapshot.together:
            await asyncio.sleep(0.001)
        asking[left].cancel()
        snapshot.let.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert isinstance(answers[left], asyncio.CancelledError)
        return [told(answer)[0] for answer in answers if not isinstance(answer, BaseException)]

    assert asyncio.run(with_one_who_leaves()) == [number for number in (7, 8, 9) if number != 7 + left]
    search.stop()
