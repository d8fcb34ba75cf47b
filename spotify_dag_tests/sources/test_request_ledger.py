"""What answers tell of a limit holds for every process, requests under way included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spotify_dag.sources.request_ledger import Database, WindowLedger
from spotify_dag.sources.service_errors import RateLimitedError


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[list[WindowLedger]]:
    """Two processes' ledgers of one service: two connections to one file."""
    with closing(Database(tmp_path / "l.sqlite")) as one, closing(Database(tmp_path / "l.sqlite")) as other:
        yield [WindowLedger(one), WindowLedger(other)]


def test_one_request_finds_out_what_is_allowed(ledgers: list[WindowLedger]) -> None:
    one, other = ledgers
    ticket = one.take("x")
    with pytest.raises(RateLimitedError, match="finding out"):
        other.take("x")
    one.answered(ticket, 2, 60)
    other.take("x")
    one.take("x")
    with pytest.raises(RateLimitedError) as refused:
        other.take("x")
    assert 58 < refused.value.at - time.time() <= 60
    assert one.spent() == {"x": 3}


def test_requests_under_way_count_as_made(ledgers: list[WindowLedger]) -> None:
    one, other = ledgers
    one.answered(one.take("x"), 10, 60)
    tickets = [other.take("x") for _ in range(3)]
    # The service has seen one of the three.
    one.answered(tickets[0], 4, 60)
    one.take("x")
    one.take("x")
    with pytest.raises(RateLimitedError):
        other.take("x")


def test_an_answer_of_a_window_before_changes_nothing(ledgers: list[WindowLedger]) -> None:
    one, _ = ledgers
    late = one.take("x")
    one.answered(late, 5, 60)
    slow = one.take("x")
    one.answered(slow, 0, 30)
    one.take("x")


def test_a_request_without_an_answer_leaves_the_next_one_to_find_out(ledgers: list[WindowLedger]) -> None:
    one, other = ledgers
    one.answered(one.take("x"), None, None)
    other.take("x")


def test_a_killed_probe_blocks_no_longer_than_a_request_may_take(tmp_path: Path) -> None:
    with closing(Database(tmp_path / "l.sqlite")) as database:
        ledger = WindowLedger(database, seconds=0.2)
        ledger.take("x")
        with pytest.raises(RateLimitedError):
            ledger.take("x")
        time.sleep(0.25)
        ledger.take("x")
