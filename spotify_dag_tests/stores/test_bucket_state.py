"""A remembered value is used while the files it was made from are the same, and never after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.schemas import ARTIST_FACTORS, TABLES, USERS, Table
from spotify_dag.stores import bucket_state
from spotify_dag.stores.bucket_state import of_buckets, read_state, sums_of_rows
from spotify_dag.stores.lake import ROW_FILE, Lake
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


class Summed:
    """Sums over the rows of users, and how many rows were read for them."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.rows = lake, 0

    def read(self, column: pl.Series) -> pl.Series:
        self.rows += len(column)
        return column

    def sums(self, buckets: list[int] | None = None) -> tuple[int, int]:
        hashed = pl.col("content_hash")
        expressions = {"sum": hashed.map_batches(self.read, pl.Int64), "dropped": pl.col("dropped_at").is_not_null()}
        sums = sums_of_rows(self.lake, USERS, "sums", expressions, buckets)
        return sums["sum"], sums["dropped"]


@pytest.fixture
def summed(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> Summed:
    monkeypatch.setattr(bucket_state, "REMEMBERED_ROWS", 1)
    return Summed(counted.lake)


def test_small_files_are_read_each_time(summed: Summed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_state, "REMEMBERED_ROWS", 2)
    summed.lake.replace(USERS, [3], [users_of(3, {"v": 40, "w": 50}, BUCKETS)])
    assert summed.sums() == summed.sums() == (96, 0)
    assert summed.rows == 5 + 3
    held = read_state(summed.lake.root / bucket_state.FOLDER / "sums-users.json")
    assert list(held["files"]) == summed.lake.files(USERS, "path")[3]


def test_a_sum_reads_only_new_files(summed: Summed) -> None:
    assert summed.sums() == (6, 0)
    assert summed.rows == 3
    summed.lake.replace_users(USERS, [1], ["v"], users_of(1, {"v": 40}, BUCKETS))
    assert summed.sums([1, 2]) == (45, 0)
    assert summed.rows == 4  # the file of the user who was there stays
    summed.lake.replace(USERS, [0], [users_of(0, {}, BUCKETS)])
    assert summed.sums() == (45, 0)
    assert summed.sums([0, 3]) == (0, 0)
    assert summed.rows == 4


def test_files_that_are_gone_are_forgotten(summed: Summed) -> None:
    summed.sums()
    summed.lake.replace(USERS, [0, 1, 2], [users_of(1, {"u1": 5}, BUCKETS)])
    assert summed.sums() == (5, 0)
    held = read_state(summed.lake.root / bucket_state.FOLDER / "sums-users.json")
    assert list(held["files"]) == summed.lake.files(USERS, "path")[1]


def test_other_sums_are_made_again(summed: Summed) -> None:
    summed.sums()
    assert sums_of_rows(summed.lake, USERS, "sums", {"kept": pl.col("rows_kept")}) == {"kept": 3}


def test_a_sum_over_a_table_that_is_not_by_bucket(summed: Summed) -> None:
    assert sums_of_rows(summed.lake, ARTIST_FACTORS, "sums", {"users": pl.col("users")}) == {"users": 0}
    for version, users in (("1", 3), ("2 ü/%", 4)):
        row = {"model_version": version, "artist_key": "a", "users": users, "predicted": False, "vector": [1.0]}
        rows = ARTIST_FACTORS.conform(pl.DataFrame([row]))
        summed.lake.overwrite(ARTIST_FACTORS, [rows], part=version)
    for _ in range(2):
        assert sums_of_rows(summed.lake, ARTIST_FACTORS, "sums", {"users": pl.col("users")}) == {"users": 7}


def test_a_column_that_files_lack_is_null_in_them(summed: Summed) -> None:
    lake, column = summed.lake, "dropped_at"
    older = replace(USERS, columns=tuple(c for c in USERS.columns if c.name != column))
    assert older.column_names != USERS.column_names
    lake.drop()
    lake.replace(older, [0], [users_of(0, {"u0": 1}, BUCKETS).drop(column)])
    lake.replace_users(USERS, [0], ["v"], users_of(0, {"v": 2}, BUCKETS))
    assert sums_of_rows(lake, USERS, "sums", {"null": pl.col(column).is_null()}) == {"null": 2}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_sum_over_any_table(tmp_path: Path, table: Table) -> None:
    lake = Lake(tmp_path / "lake", BUCKETS)
    lake.append(table, table.empty())
    assert sums_of_rows(lake, table, "sums", {"rows": pl.lit(1)}) == {"rows": 0}
    schema = lake.scan_files(table, ["any.parquet"]).collect_schema()
    assert schema == table.polars_schema() | {ROW_FILE: pl.String}
