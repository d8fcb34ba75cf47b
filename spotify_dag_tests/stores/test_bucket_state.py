"""A remembered value is used while the files of its bucket are the same, and never after."""

from __future__ import annotations

from pathlib import Path

import pytest

from spotify_dag.schemas import USERS
from spotify_dag.stores import bucket_state
from spotify_dag.stores.bucket_state import of_buckets
from spotify_dag.stores.lake import Lake
from spotify_dag_tests.staleness.users_of_buckets import users_of

BUCKETS = 4


class Counted:
    """The sum of ``content_hash`` by bucket, and which buckets were read for it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.read: list[list[int]] = []

    def sums(self, buckets: list[int]) -> dict[int, int]:
        self.read.append(buckets)
        rows = self.lake.scan(USERS, buckets).collect()
        return {bucket: int(rows.filter(user_bucket=bucket)["content_hash"].sum()) for bucket in buckets}

    def values(self, buckets: list[int] | None = None) -> dict[int, int]:
        return of_buckets(self.lake, "sums", lambda: self.lake.fingerprints((USERS,)), self.sums, buckets)


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    lake = Lake(tmp_path / "lake", BUCKETS)
    for bucket in (0, 1, 2):
        lake.replace(USERS, [bucket], [users_of(bucket, {f"u{bucket}": bucket + 1}, BUCKETS)])
    return Counted(lake)


def test_only_buckets_that_were_written_are_read_again(counted: Counted) -> None:
    assert counted.values() == {0: 1, 1: 2, 2: 3, 3: 0}
    assert counted.values() == {0: 1, 1: 2, 2: 3, 3: 0}
    counted.lake.replace(USERS, [1], [users_of(1, {"u1": 9}, BUCKETS)])
    assert counted.values([1, 2]) == {1: 9, 2: 3}
    assert counted.values() == {0: 1, 1: 9, 2: 3, 3: 0}
    assert counted.read == [[0, 1, 2, 3], [1]]


def test_what_was_written_while_it_was_made_is_not_remembered(counted: Counted) -> None:
    sums = counted.sums

    def beside_a_writer(buckets: list[int]) -> dict[int, int]:
        before = sums(buckets)
        counted.lake.replace(USERS, [0], [users_of(0, {"u0": 50}, BUCKETS)])
        return before

    counted.sums = beside_a_writer  # type: ignore[method-assign]
    assert counted.values()[0] == 1
    counted.sums = sums  # type: ignore[method-assign]
    assert counted.values() == {0: 50, 1: 2, 2: 3, 3: 0}
    assert counted.read[-1] == [0]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"rules": "0", "state": {"0": ["", 7]}}'])
def test_a_damaged_file_or_one_of_other_rules_says_nothing(counted: Counted, content: bytes) -> None:
    counted.values()
    (counted.lake.root / bucket_state.FOLDER / "sums.json").write_bytes(content)
    assert counted.values() == {0: 1, 1: 2, 2: 3, 3: 0}
    assert counted.read == [[0, 1, 2, 3]] * 2


def test_what_cannot_be_remembered_is_made_each_time(counted: Counted) -> None:
    (counted.lake.root / bucket_state.FOLDER).write_bytes(b"in the way")
    for _ in range(2):
        assert counted.values() == {0: 1, 1: 2, 2: 3, 3: 0}
    assert counted.read == [[0, 1, 2, 3]] * 2
