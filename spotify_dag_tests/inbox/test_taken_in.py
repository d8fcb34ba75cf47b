"""The table of users taken in is in parts: only parts that changed are read and written."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from polars.testing import assert_frame_equal

from spotify_dag.files import DamagedFileError
from spotify_dag.inbox.taken_in import PARTS, TakenIn
from spotify_dag.schemas import user_buckets
from spotify_dag.sources.handed_in import GivenRequests, UserRequest, request_rows, requests_in
from spotify_dag_tests.waiting import until

SPAWN = multiprocessing.get_context("spawn")
NOW = datetime(2026, 1, 5, 12, 30, tzinfo=UTC)
BUCKETS = (1, 2, 5, 64, 96, 256, 1024)


def request(number: int, content: int = 0, *, user: str | None = None) -> UserRequest:
    user = user or f"export-{number}-ü{'z' * (number % 3)}"
    key = hashlib.blake2b(user.encode(), digest_size=8).hexdigest()
    return UserRequest(
        "export", user, f"{key}-{content:016x}.parquet", opted_in=number % 3 > 0, requested_at=NOW - timedelta(number)
    )


REQUESTS = [request(number) for number in range(1_500)]


@pytest.fixture
def table(tmp_path: Path) -> TakenIn:
    table = TakenIn(tmp_path)
    assert table.put(REQUESTS) == []
    return table


def write_old(root: Path) -> TakenIn:
    """Write the one file that older versions had."""
    request_rows(REQUESTS).sort("user_id").write_parquet(root / "users.parquet")
    return TakenIn(root)


def former_versions(requests: list[UserRequest], n_buckets: int, first: int | None) -> dict[int, str]:
    """Return the versions as they were computed when the table was one file, request by request."""
    counted = sorted(requests, key=lambda it: it.user_id)[:first]
    digests: dict[int, hashlib._Hash] = {}
    for it, bucket in zip(counted, user_buckets([it.user_id for it in counted], n_buckets), strict=True):
        digest = digests.setdefault(bucket, hashlib.sha256())
        digest.update(f"{it.user_id}|{it.content}|{it.opted_in}\\n".encode())
    return {bucket: digest.hexdigest()[:16] for bucket, digest in digests.items()}


def states(root: Path) -> dict[str, tuple[int, int]]:
    files = (root / "users").iterdir()
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def spoil(file: Path) -> None:
    """Damage a file, and have it look as it was: who reads it then is found out."""
    before = file.stat()
    file.write_bytes(b"x" * before.st_size)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("first", [None, 1, 700, 1_500, 9_999])
@pytest.mark.parametrize("n_buckets", BUCKETS)
def test_versions_and_rows_are_those_of_a_table_in_one_file(tmp_path: Path, n_buckets: int, first: int | None) -> None:
    table, buckets = write_old(tmp_path), range(n_buckets)
    expected = former_versions(REQUESTS, n_buckets, first)
    given = GivenRequests(request_rows(sorted(REQUESTS, key=lambda it: it.user_id)))
    rows = given.rows(buckets, n_buckets, first)
    assert given.versions(buckets, n_buckets, first) == expected
    some = [3 % n_buckets, n_buckets - 1]
    users = [it.user_id for it in REQUESTS[:20]]
    for is_old in (True, False):
        assert table.is_undivided() == is_old
        assert table.versions(buckets, n_buckets, first) == expected
        assert table.versions(some, n_buckets, first) == {it: expected[it] for it in sorted(set(some) & set(expected))}
        assert_frame_equal(table.rows(buckets, n_buckets, first), rows)
        assert_frame_equal(table.rows(some, n_buckets, first), given.rows(some, n_buckets, first))
        theirs = table.rows_of(users, first)
        assert_frame_equal(theirs, given.rows_of(users, first), check_row_order=False)
        table.take_over()


def test_a_user_who_comes_in_costs_one_part(table: TakenIn, tmp_path: Path) -> None:
    before, versions = states(tmp_path), table.versions(range(64), 64)
    anna = request(1, user="export-anna")
    assert table.put([anna]) == []
    (part,), (bucket,) = user_buckets([anna.user_id], PARTS), user_buckets([anna.user_id], 64)
    after = states(tmp_path)
    assert {name for name in after if after[name] != before.get(name)} == {f"{part:03d}.parquet"}
    for file in (tmp_path / "users").iterdir():
        if int(file.stem) % 64 != bucket:
            spoil(file)
    now = table.versions(range(64), 64)
    assert now == former_versions([*REQUESTS, anna], 64, None)
    assert {it for it in now if now[it] != versions[it]} == {bucket}
    assert table.rows_of([anna.user_id]).height == 1
    assert anna.user_id in table.rows([bucket], 64)["user_id"]
    assert table.put([anna]) == []
    assert states(tmp_path)[f"{part:03d}.parquet"] == after[f"{part:03d}.parquet"]
    assert table.remove(anna.user_id) == anna
    assert table.remove(anna.user_id) is None
    assert table.versions([bucket], 64) == {bucket: versions[bucket]}


def test_the_last_request_of_a_user_counts_and_what_it_replaces_is_told(table: TakenIn) -> None:
    changed = [replace(REQUESTS[3], content=request(3, n).content) for n in (1, 2)]
    hidden = replace(REQUESTS[4], opted_in=not REQUESTS[4].opted_in)
    assert table.put([*changed, hidden]) == [REQUESTS[3], changed[0]]
    theirs = {it.user_id: it for it in requests_in(table.rows([0], 1))}
    assert theirs == {it.user_id: it for it in REQUESTS} | {it.user_id: it for it in (changed[1], hidden)}
    assert table.put([changed[0], changed[1]]) == [changed[0]]
    assert table.unnamed([it.content for it in (*changed, *REQUESTS)]) == {REQUESTS[3].content, changed[0].content}


def test_all_of_a_source_leave_and_no_file_is_left(table: TakenIn, tmp_path: Path) -> None:
    assert table.remove_source("another").is_empty()
    assert not table.is_empty()
    assert_frame_equal(table.remove_source("export"), request_rows(REQUESTS), check_row_order=False)
    assert table.is_empty()
    assert states(tmp_path) == table.versions(range(64), 64) == {}


def test_a_damaged_part_is_named_with_the_remedy_and_others_are_read(table: TakenIn, tmp_path: Path) -> None:
    (part,) = user_buckets([REQUESTS[0].user_id], PARTS)
    spoil(tmp_path / "users" / f"{part:03d}.parquet")
    with pytest.raises(DamagedFileError, match=rf"users/{part:03d}\.parquet is damaged: .*put it back from a backup"):
        table.versions([part], PARTS)
    with pytest.raises(DamagedFileError, match=r"spotify-dag add"):
        table.put([replace(REQUESTS[0], opted_in=True)])
    assert table.versions([(part + 1) % PARTS], PARTS)


def _take_over(root: Path) -> None:
    TakenIn(root).take_over()


@pytest.mark.process
def test_killed_while_the_one_file_is_divided_nobody_is_lost(tmp_path: Path) -> None:
    table = write_old(tmp_path)
    worker = SPAWN.Process(target=_take_over, args=(tmp_path,))
    worker.start()
    until(lambda: len(list((tmp_path / "users").glob("*.parquet"))) > 3)
    os.kill(worker.pid or 0, signal.SIGKILL)
    worker.join()
    expected = sorted(REQUESTS, key=lambda it: it.user_id)
    assert requests_in(table.rows([0], 1)) == expected
    gone = REQUESTS[7].user_id
    assert table.remove(gone) == REQUESTS[7]
    assert not table.is_undivided()
    assert requests_in(table.rows([0], 1)) == [it for it in expected if it.user_id != gone]
