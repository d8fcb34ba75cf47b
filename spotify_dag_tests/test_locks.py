"""Locks between threads; what is killed, and waits between processes, are in the scenarios."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from spotify_dag.locks import locked, locked_in_order


def is_free(lock: Path, *, shared: bool = False) -> bool:
    with locked(lock, wait=False, shared=shared) as got:
        return got


def test_one_holds_it_alone_or_several_share_it(tmp_path: Path) -> None:
    lock = tmp_path / "locks" / "a"
    with locked(lock) as got:
        assert got
        assert not is_free(lock)
        assert not is_free(lock, shared=True)
        assert is_free(tmp_path / "locks" / "b")
    with locked(lock, shared=True), locked(lock, shared=True, wait=False) as both:
        assert both
        assert not is_free(lock)
    assert is_free(lock)


def test_a_wait_ends_when_it_is_free_or_the_time_is_up(tmp_path: Path) -> None:
    lock, told = tmp_path / "a", []
    with ThreadPoolExecutor(1) as pool:
        with locked(lock):
            with locked(lock, seconds=0.2, waiting=lambda: told.append("bounded")) as got:
                assert not got
            waits = pool.submit(is_got, lock, told)
            while "unbounded" not in told:
                time.sleep(0.01)
            assert not waits.done()
        assert waits.result(30)
    assert told == ["bounded", "unbounded"]


def is_got(lock: Path, told: list[str]) -> bool:
    with locked(lock, waiting=lambda: told.append("unbounded")) as got:
        return got


def test_several_are_held_to_the_end_and_a_wait_is_told_of_once(tmp_path: Path) -> None:
    locks, told = [tmp_path / name for name in "abc"], []
    with locked_in_order(locks):
        assert not any(map(is_free, locks))
        with locked_in_order(locks, seconds=0.1, waiting=lambda: told.append("waits")):
            assert told == ["waits"]
    assert all(map(is_free, locks))
