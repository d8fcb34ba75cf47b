"""The lake: one commit replaces buckets, whatever else goes on; readers see the old rows or the new ones."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError
from polars.testing import assert_frame_equal

from spotify_dag.locks import locked
from spotify_dag.schemas import (
    ARTIST_GENRES,
    RAW_PLAYLISTS,
    REJECTS,
    TABLES,
    TEXT_VECTORS,
    USER_TASTES,
    USERS,
    Table,
)
from spotify_dag.stores.lake import Lake
from spotify_dag.tombstones import Tombstones
from spotify_dag_tests.waiting import GUARD

SPAWN = multiprocessing.get_context("spawn")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)


def users(bucket: int, count: int, tag: int = 0) -> pl.DataFrame:
    """Return ``count`` users of a bucket; ``tag`` tells one write from another."""
    return USERS.conform(
        pl.DataFrame(
            {
                "user_bucket": [bucket] * count,
                "user_id": [f"user-{bucket}-{number}" for number in range(count)],
                "rows_kept": [tag] * count,
                "content_hash": range(count),
                "opted_in": [True] * count,
            },
            schema_overrides={"user_bucket": pl.Int32},
        ).with_columns(source=pl.lit("test"), fetched_at=pl.lit(NOW))
    )


def held(lake: Lake) -> list[tuple[int, int, int]]:
    """Return ``(bucket, tag, rows)`` of what the users table holds, sorted."""
    return sorted(lake.scan(USERS).group_by("user_bucket", "rows_kept").len().collect().rows())


def version(lake: Lake, table: Table = USERS) -> int:
    return DeltaTable(lake.uri(table)).version()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake whose users table holds 3, 2 and 1 rows in buckets 0, 1 and 2, tagged 1."""
    lake = Lake(tmp_path / "lake", 8)
    lake.replace(USERS, [0, 1, 2], [users(0, 3, 1), users(1, 2, 1), users(2, 1, 1)])
    return lake


class TestReplace:
    def test_many_buckets_are_one_commit(self, lake: Lake) -> None:
        before = version(lake)
        written = lake.replace(USERS, [0, 1, 5, 6], [users(0, 4, 2), users(6, 7, 2), users(1, 1, 2), users(6, 2, 2)])
        assert written == {0: 4, 1: 1, 5: 0, 6: 9}
        assert version(lake) == before + 1
        assert held(lake) == [(0, 2, 4), (1, 2, 1), (2, 1, 1), (6, 2, 9)]

    def test_the_first_write_is_one_version_after_the_empty_table(self, lake: Lake) -> None:
        assert version(lake) == 1

    def test_other_buckets_keep_their_files(self, lake: Lake) -> None:
        def files() -> set[str]:
            return {file for file in DeltaTable(lake.uri(USERS)).file_uris() if "user_bucket=0" not in file}

        untouched = files()
        lake.replace(USERS, [0], [users(0, 9, 2)])
        assert files() == untouched
        assert len(untouched) == 2

    def test_a_bucket_without_rows_ends_up_empty(self, lake: Lake) -> None:
        assert lake.replace(USERS, [0, 2], [users(2, 2, 2)]) == {0: 0, 2: 2}
        assert held(lake) == [(1, 1, 2), (2, 2, 2)]
        assert lake.replace(USERS, [1, 2, 3], []) == {1: 0, 2: 0, 3: 0}
        assert held(lake) == []
        assert lake.scan(USERS).collect().schema == USERS.polars_schema()

    def test_the_rows_are_what_was_given(self, lake: Lake) -> None:
        given = users(4, 1_000, 5)
        lake.replace(USERS, [4], given.iter_slices(64))
        assert_frame_equal(lake.scan(USERS, [4]).collect(), given, check_row_order=False)
        assert lake.scan(USERS, [4, 1]).collect().height == 1_002
        assert lake.scan(USERS, []).collect().height == 0

    def test_columns_the_table_does_not_have_are_left_out(self, lake: Lake) -> None:
        lake.replace(USERS, [0], [users(0, 2, 2).with_columns(note=pl.lit("x")).reverse()])
        assert lake.scan(USERS, [0]).collect().columns == USERS.column_names
        assert "note" not in {field.name for field in DeltaTable(lake.uri(USERS)).schema().fields}

    def test_a_scan_keeps_the_version_it_was_made_at(self, lake: Lake) -> None:
        frame = lake.scan(USERS)
        lake.replace(USERS, [0, 1, 2], [users(0, 100, 2)])
        assert frame.collect().height == 6
        assert lake.scan(USERS).collect().height == 100

    @pytest.mark.parametrize("good_rows_first", [False, True])
    def test_a_row_of_another_bucket_is_refused(self, lake: Lake, good_rows_first: bool) -> None:
        rows, before = lake.scan(USERS).collect(), version(lake)
        frames = [*([users(0, 50_000, 2)] if good_rows_first else []), users(7, 1, 2)]
        with pytest.raises(ValueError, match=r"Table 'users': a row of bucket 7 in a write of \[0, 1\]"):
            lake.replace(USERS, [0, 1], frames)
        assert version(lake) == before
        assert_frame_equal(lake.scan(USERS).collect(), rows, check_row_order=False)

    @pytest.mark.parametrize(
        ("broken", "complaint"),
        [
            ([pl.exclude("source")], r"'users' needs the column\(s\) source"),
            ([pl.exclude("user_id"), pl.lit(None, pl.String).alias("user_id")], "'users' got null in user_id"),
            ([pl.exclude("user_bucket")], "user_bucket"),
        ],
    )
    def test_rows_that_break_the_schema_are_refused(self, lake: Lake, broken: list[pl.Expr], complaint: str) -> None:
        with pytest.raises((ValueError, pl.exceptions.ColumnNotFoundError), match=complaint):
            lake.replace(USERS, [0], [users(0, 3, 2), users(0, 3, 2).select(broken)])
        assert held(lake) == [(0, 1, 3), (1, 1, 2), (2, 1, 1)]

    @pytest.mark.parametrize("error", [KeyError("album"), OSError(28, "No space left"), RuntimeError("odd")])
    def test_what_goes_wrong_in_the_frames_comes_out_as_itself(self, lake: Lake, error: Exception) -> None:
        def frames() -> Iterator[pl.DataFrame]:
            yield users(0, 50_000, 2)
            yield users(1, 50_000, 2)
            raise error

        before = version(lake)
        with pytest.raises(type(error)) as raised:
            lake.replace(USERS, [0, 1], frames())
        assert raised.value is error
        assert not isinstance(raised.value, DeltaError)
        assert version(lake) == before
        assert held(lake) == [(0, 1, 3), (1, 1, 2), (2, 1, 1)]
        lake.replace(USERS, [0], [users(0, 1, 3)])
        assert held(lake) == [(0, 3, 1), (1, 1, 2), (2, 1, 1)]

    def test_frames_may_read_the_lake_while_they_are_written(self, lake: Lake) -> None:
        lake.replace(REJECTS, [0], [])
        seen = []

        def frames() -> Iterator[pl.DataFrame]:
            for bucket in range(3):
                count = lake.scan(USERS, [bucket]).select(pl.len()).collect().item()
                with lake.connect() as connection:
                    counted = connection.execute("select count(*) from users where user_bucket = ?", [bucket])
                    seen.append((count, *counted.fetchall()[0]))
                assert list(lake.chunks(USERS, [0, 1, 2], 4)) == [[0], [1, 2]]
                lake.replace(REJECTS, [bucket], [])
                yield users(bucket, 10 * count, 2)

        assert lake.replace(USERS, [0, 1, 2], frames()) == {0: 30, 1: 20, 2: 10}
        assert seen == [(3, 3), (2, 2), (1, 1)]
        assert held(lake) == [(0, 2, 30), (1, 2, 20), (2, 2, 10)]

    def test_frames_are_made_as_they_are_needed(self, lake: Lake) -> None:
        """At most one is held back while one is written: a large table passes through."""
        alive: list[int] = []
        most = 0

        class Frame(pl.DataFrame):
            def __del__(self) -> None:
                alive.pop()

        def frames() -> Iterator[pl.DataFrame]:
            nonlocal most
            for number in range(20):
                alive.append(number)
                most = max(most, len(alive))
                yield Frame(users(0, 1_000, number))

        assert lake.replace(USERS, [0], frames()) == {0: 20_000}
        assert most <= 4

    @pytest.mark.parametrize("root", ["it's", "two words", "Zoë 🎵", "100%", "a#b", 'say "hi"', "a+b&c"])
    @pytest.mark.medium
    def test_a_data_root_may_be_called_anything(self, tmp_path: Path, root: str) -> None:
        lake = Lake(tmp_path / root / "lake", 8)
        lake.replace(USERS, [0, 1], [users(0, 3), users(1, 2)])
        lake.replace(USERS, [0], [users(0, 1)])
        assert held(lake) == [(0, 0, 1), (1, 0, 2)]
        assert lake.scan(USERS, [1]).collect().height == 2
        with lake.connect() as connection:
            assert connection.execute("select user_bucket, count(*) from users group by 1 order by 1").fetchall() == [
                (0, 1),
                (1, 2),
            ]


class TestSchema:
    @pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
    def test_columns_types_and_nullability_are_those_of_the_schema(self, tmp_path: Path, table: Table) -> None:
        lake = Lake(tmp_path, 8)
        lake.append(table, table.empty())
        stored = DeltaTable(lake.uri(table))
        assert [(field.name, field.nullable) for field in stored.schema().fields] == [
            (column.name, column.nullable) for column in table.columns
        ]
        assert stored.metadata().partition_columns == [table.partition_by]
        assert lake.scan(table).collect().schema == table.polars_schema()

    @pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
    def test_a_table_never_written_has_no_rows(self, tmp_path: Path, table: Table) -> None:
        lake = Lake(tmp_path, 8)
        assert not lake.exists(table)
        assert_frame_equal(lake.scan(table).collect(), table.empty())
        assert not list(tmp_path.iterdir())

    def test_buckets_of_a_table_never_written(self, tmp_path: Path) -> None:
        assert Lake(tmp_path, 8).scan(USERS, [1, 2]).collect().height == 0

    def test_what_may_be_missing_is_filled_with_null(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path, 8)
        required = {column.name for column in RAW_PLAYLISTS.columns if not column.nullable}
        lake.replace(RAW_PLAYLISTS, [3], [full_tables()[RAW_PLAYLISTS].select(required).with_columns(user_bucket=3)])
        rows = lake.scan(RAW_PLAYLISTS).collect()
        assert rows.height == 3
        assert {name for name in rows.columns if rows[name].null_count() == 3} == set(rows.columns) - required

    def test_append_adds_rows_in_one_commit(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path, 8)
        texts = pl.concat([text_vectors("aaaa", ["pop", "rock"]), text_vectors("bbbb", ["pop"])])
        lake.append(TEXT_VECTORS, texts)
        assert version(lake, TEXT_VECTORS) == 1
        lake.append(TEXT_VECTORS, text_vectors("aaaa", ["jazz"]))
        assert version(lake, TEXT_VECTORS) == 2
        assert sorted(lake.scan(TEXT_VECTORS).select("encoder", "text").collect().rows()) == [
            ("aaaa", "jazz"),
            ("aaaa", "pop"),
            ("aaaa", "rock"),
            ("bbbb", "pop"),
        ]


class TestChunks:
    @pytest.mark.parametrize(
        ("rows", "groups"),
        [
            (1, [[0], [1], [2, 3, 4]]),
            (2, [[0], [1], [2, 3, 4]]),
            (3, [[0], [1, 2, 3, 4]]),
            (5, [[0, 1], [2, 3, 4]]),
            (6, [[0, 1, 2, 3, 4]]),
        ],
    )
    def test_groups_hold_about_as_many_rows_as_asked_for(self, lake: Lake, rows: int, groups: list[list[int]]) -> None:
        lake.replace(USERS, [4], [])
        assert list(lake.chunks(USERS, range(5), rows)) == groups

    def test_buckets_come_in_the_order_given(self, lake: Lake) -> None:
        assert list(lake.chunks(USERS, [2, 0, 1], 4)) == [[2, 0], [1]]

    def test_of_a_table_never_written_all_buckets_are_one_group(self, tmp_path: Path) -> None:
        assert list(Lake(tmp_path, 8).chunks(USERS, [5, 6], 1)) == [[5, 6]]
        assert list(Lake(tmp_path, 8).chunks(USERS, [], 1)) == []


def text_vectors(encoder: str, texts: list[str]) -> pl.DataFrame:
    vectors = [[0.5, float(number), -1e-7] for number in range(len(texts))]
    return TEXT_VECTORS.conform(pl.DataFrame({"text": texts, "vector": vectors}).with_columns(encoder=pl.lit(encoder)))


def full_tables() -> dict[Table, pl.DataFrame]:
    """Return rows of every table: with nulls, empty lists, signs of every kind and the ends of the number ranges."""
    odd = ['O\'Brien "x"', "ü 🎵\\n", ""]
    values: dict[str, list[Any]] = {
        "str": odd,
        "bool": [True, False, True],
        "int16": [1_955, -1, 32_767],
        "int32": [0, -2_147_483_648, 2_147_483_647],
        "int64": [-9_223_372_036_854_775_808, 0, 9_223_372_036_854_775_807],
        "float32": [0.1, -1e-30, 3e38],
        "timestamp": [NOW, datetime(1970, 1, 1, tzinfo=UTC), datetime(2100, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)],
        "list[str]": [odd, [], ["pop"]],
        "list[list[str]]": [[odd, []], [], [["pop"]]],
        "list[float32]": [[0.1, 2.0], [], [-0.0, 1e-30, 3e38]],
    }
    tables = {}
    for table in TABLES:
        columns = {
            column.name: [
                None if column.nullable and row == 2 else value for row, value in enumerate(values[column.dtype])
            ]
            for column in table.columns
        }
        # What names a partition may be text of decimal digits only: it must not be read as a number.
        numbered = table.polars_schema()[table.partition_by] == pl.Int32
        columns |= {table.partition_by: [5, 0, 5] if numbered else ["0042", "00ff", "0042"]}
        tables[table] = pl.DataFrame(columns, schema=table.polars_schema())
    return tables


class TestDuckDB:
    @pytest.mark.medium
    def test_views_hold_the_rows_that_polars_sees(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path, 8)
        for table, rows in full_tables().items():
            if table.partition_by == "user_bucket":
                lake.replace(table, [0, 5], [rows])
            else:
                lake.append(table, rows)
        with lake.connect() as connection:
            for table, rows in full_tables().items():
                found = pl.DataFrame(connection.sql(f"select * from {table.name}").to_arrow_table())
                assert found.columns == table.column_names
                assert found.height == 3
                schema: dict[Any, Any] = dict(table.polars_schema())
                assert_frame_equal(found.cast(schema), lake.scan(table).collect(), check_row_order=False)
                assert_frame_equal(lake.scan(table).collect(), rows, check_row_order=False, check_exact=True)

    def test_buckets_and_lists_can_be_queried(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path, 8)
        lake.replace(ARTIST_GENRES, [0, 5], [full_tables()[ARTIST_GENRES]])
        with lake.connect() as connection:
            query = "select user_bucket, sum(rows), max(len(genres)) from artist_genres group by 1 order by 1"
            assert connection.execute(query).fetchall() == [(0, -2_147_483_648, 0), (5, 2_147_483_647, 3)]
            names = "select distinct unnest(genres) from artist_genres where user_bucket = 5 order by 1"
            assert [name for (name,) in connection.execute(names).fetchall()] == sorted(['O\'Brien "x"', "ü 🎵\\n", ""])

    def test_only_tables_that_were_written_have_a_view(self, lake: Lake) -> None:
        lake.replace(USER_TASTES, [1], [])
        with lake.connect() as connection:
            names = connection.execute("select table_name from information_schema.tables order by 1").fetchall()
            assert [name for (name,) in names] == ["user_tastes", "users"]
            assert connection.execute("select count(*) from user_tastes where weight > 0").fetchall() == [(0,)]
            assert connection.sql("select * from user_tastes").columns == USER_TASTES.column_names

    def test_a_view_stays_as_it_was_when_the_table_changes(self, lake: Lake) -> None:
        with lake.connect() as connection:
            lake.replace(USERS, [0, 1, 2], [users(0, 100, 2)])
            assert connection.execute("select count(*), max(rows_kept) from users").fetchall() == [(6, 1)]


@pytest.fixture(scope="module")
def four() -> Iterator[ProcessPoolExecutor]:
    """Four processes, started as Dagster starts them."""
    with ProcessPoolExecutor(4, mp_context=SPAWN, initializer=keep, initargs=(SPAWN.Barrier(4),)) as pool:
        yield pool


together: Barrier


def keep(barrier: Barrier) -> None:
    """Keep the barrier at which the processes of the pool wait for each other."""
    global together  # noqa: PLW0603
    together = barrier


def replace_own(root: Path, worker: int, rounds: int) -> list[dict[int, int]]:
    own = [2 * worker, 2 * worker + 1]
    lake = Lake(root, 8)
    return [
        lake.replace(USERS, own, [users(own[0], 100 + round_, round_), users(own[1], 10, round_)])
        for round_ in range(rounds)
    ]


def replace_own_users(root: Path, worker: int, rounds: int) -> int:
    """Replace two of the users of an own bucket, again and again, and add one each time; return how many commits."""
    lake = Lake(root, 8)
    together.wait(timeout=GUARD)
    for round_ in range(1, rounds + 1):
        rows = users(worker, 2 + round_, round_)
        both = pl.concat([rows.head(2), rows.tail(1)])
        lake.replace_users(USERS, [worker], both["user_id"].to_list(), both)
    return rounds


def append_own(root: Path, worker: int, rounds: int) -> int:
    lake = Lake(root, 8)
    together.wait(timeout=GUARD)
    for round_ in range(rounds):
        lake.append(USERS, users(worker, 1, round_).with_columns(user_id=pl.lit(f"new-{round_}")))
    return rounds


def replace_own_together(root: Path, worker: int, rounds: int) -> list[dict[int, int]]:
    together.wait(timeout=GUARD)
    return replace_own(root, worker, rounds)


@pytest.mark.process
@pytest.mark.slow
class TestProcesses:
    def test_four_replace_their_own_buckets_at_once(self, tmp_path: Path, four: ProcessPoolExecutor) -> None:
        rounds = 6
        runs = [four.submit(replace_own_together, tmp_path, worker, rounds) for worker in range(4)]
        for worker, run in enumerate(runs):
            written = run.result(timeout=GUARD)
            assert written == [{2 * worker: 100 + round_, 2 * worker + 1: 10} for round_ in range(rounds)]
        lake, last = Lake(tmp_path, 8), rounds - 1
        assert held(lake) == [(bucket, last, 10 if bucket % 2 else 100 + last) for bucket in range(8)]
        assert lake.scan(USERS).collect()["user_id"].is_unique().all()
        assert version(lake) == 4 * rounds

    def test_four_replace_users_at_once(self, tmp_path: Path, four: ProcessPoolExecutor) -> None:
        """Others commit between any two of one's own commits, and what they wrote is looked at with one's condition."""
        lake, rounds = Lake(tmp_path, 8), 8
        lake.replace(USERS, range(4), [users(bucket, 2, 0) for bucket in range(4)])
        runs = [four.submit(replace_own_users, tmp_path, worker, rounds) for worker in range(4)]
        assert [run.result(timeout=GUARD) for run in runs] == [rounds] * 4
        # The two users are as the last round wrote them; of each round there is the user it added.
        added = [(bucket, round_, 1) for bucket in range(4) for round_ in range(1, rounds)]
        assert held(lake) == sorted([*added, *((bucket, rounds, 3) for bucket in range(4))])
        assert lake.scan(USERS).collect()["user_id"].is_unique().all()

    def test_four_that_replace_users_of_a_new_table_at_once(self, tmp_path: Path, four: ProcessPoolExecutor) -> None:
        for attempt in range(3):
            root = tmp_path / f"{attempt}"
            runs = [four.submit(replace_own_users, root, worker, 1) for worker in range(4)]
            assert [run.result(timeout=GUARD) for run in runs] == [1] * 4
            assert held(Lake(root, 8)) == [(bucket, 1, 3) for bucket in range(4)]

    def test_rows_are_appended_beside_who_replaces_other_buckets(
        self, tmp_path: Path, four: ProcessPoolExecutor
    ) -> None:
        lake, rounds = Lake(tmp_path, 8), 6
        lake.replace(USERS, range(8), [users(bucket, 2, 0) for bucket in range(8)])
        adding = four.submit(append_own, tmp_path, 7, rounds)
        replacing = [four.submit(replace_own_together, tmp_path, worker, rounds) for worker in range(3)]
        assert adding.result(timeout=GUARD) == rounds
        for run in replacing:
            run.result(timeout=GUARD)
        assert lake.scan(USERS, [7]).filter(pl.col("user_id").str.starts_with("new-")).collect().height == rounds

    def test_four_that_write_a_new_table_at_once(self, tmp_path: Path, four: ProcessPoolExecutor) -> None:
        """The process that creates it must not make the commits of the others fail."""
        for attempt in range(8):
            root = tmp_path / f"{attempt}"
            runs = [four.submit(replace_own_together, root, worker, 1) for worker in range(4)]
            assert [run.result(timeout=GUARD) for run in runs] == [[{2 * n: 100, 2 * n + 1: 10}] for n in range(4)]
            assert held(Lake(root, 8)) == [(bucket, 0, 10 if bucket % 2 else 100) for bucket in range(8)]
            assert version(Lake(root, 8)) == 4
            assert sorted(path.name for path in root.iterdir()) == [".locks", "users"]

    def test_a_reader_sees_whole_commits_only(self, tmp_path: Path) -> None:
        """Two buckets are replaced in one commit: they are never seen with different tags or half of their rows."""
        lake = Lake(tmp_path, 8)
        lake.replace(USERS, [0, 1], [users(0, 500, 0), users(1, 500, 0)])
        with subprocess.Popen(
            [sys.executable, "-c", OVERWRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            try:
                assert writer.stdout.readline() == "1\n"
                seen: list[int] = []
                while len(set(seen)) < 5:
                    by_polars = held(lake)
                    with lake.connect() as connection:
                        query = "select user_bucket, rows_kept, count(*) from users group by all order by 1"
                        by_duckdb = connection.execute(query).fetchall()
                    for groups in (by_polars, by_duckdb):
                        ((_, tag, _), _) = groups
                        assert groups == [(0, tag, 500), (1, tag, 500)]
                        seen.append(tag)
            finally:
                writer.kill()
        assert seen == sorted(seen)

    @pytest.mark.parametrize("after", [0.0, 0.013, 0.11, 0.31])
    def test_a_killed_writer_leaves_whole_commits(self, tmp_path: Path, after: float) -> None:
        lake = Lake(tmp_path, 8)
        with subprocess.Popen(
            [sys.executable, "-c", OVERWRITE_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "1\n"
            time.sleep(after)
            writer.send_signal(signal.SIGKILL)
            acknowledged = [1, *map(int, writer.stdout.read().split())][-1]
        assert writer.returncode == -signal.SIGKILL
        ((_, tag, _), _) = held(lake)
        assert held(lake) == [(0, tag, 500), (1, tag, 500)]
        # Either the last commit it told of, or the one it was about to tell of.
        assert tag in (acknowledged, acknowledged + 1)
        lake.replace(USERS, [0], [users(0, 2, 99)])
        assert held(lake) == [(0, 99, 2), (1, tag, 500)]

    def test_a_writer_killed_in_the_middle_of_its_rows_leaves_the_old_ones(self, lake: Lake) -> None:
        before = version(lake)
        with subprocess.Popen(
            [sys.executable, "-c", HANG_IN_THE_MIDDLE, str(lake.root)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout.readline() == "half\n"
            assert held(lake) == [(0, 1, 3), (1, 1, 2), (2, 1, 1)]
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        assert version(lake) == before
        assert held(lake) == [(0, 1, 3), (1, 1, 2), (2, 1, 1)]
        with lake.connect() as connection:
            assert connection.execute("select count(*) from users").fetchall() == [(6,)]
        lake.replace(USERS, [0], [users(0, 1, 3)])
        assert held(lake) == [(0, 3, 1), (1, 1, 2), (2, 1, 1)]

    def test_threads_replace_their_own_buckets_at_once(self, tmp_path: Path) -> None:
        """The app reads in threads, and Dagster may write in them."""
        threads = [threading.Thread(target=replace_own, args=(tmp_path, worker, 3)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert held(Lake(tmp_path, 8)) == [(bucket, 2, 10 if bucket % 2 else 102) for bucket in range(8)]

    def test_who_waits_to_be_alone_does_not_stop_a_write_that_has_begun(self, lake: Lake) -> None:
        alone = threading.Thread(target=lake.expunge, args=(USERS, 1, pl.col("user_id") == "user-1-0"), daemon=True)

        class AskedWhileAnotherWaits(Tombstones):
            def among(self, user_ids: Iterable[str]) -> set[str]:
                alone.start()
                free = True
                while free:
                    with locked(lake.root / ".locks" / "users.gate", wait=False) as free:
                        time.sleep(0.01)
                return super().among(user_ids)

        writer = Lake(lake.root, 8, AskedWhileAnotherWaits(lake.root.parent))
        begun = threading.Thread(
            target=writer.replace_users, args=(USERS, [0], ["user-0-0"], users(0, 1, 2)), daemon=True
        )
        begun.start()
        for thread in (begun, alone):
            thread.join(30)
            assert not thread.is_alive()
        assert held(lake) == [(0, 1, 2), (0, 2, 1), (1, 1, 1), (2, 1, 1)]

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be kept to one core here")
    def test_on_one_core_rows_that_are_read_from_the_lake_are_written_to_it(self, lake: Lake) -> None:
        subprocess.run([sys.executable, "-c", ADD_ONE_ON_ONE_CORE, str(lake.root)], check=True, timeout=GUARD)
        assert held(lake) == [(0, 2, 3), (1, 2, 2), (2, 2, 1)]


ADD_ONE_ON_ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pathlib import Path
import polars as pl
from spotify_dag.stores.lake import Lake
from spotify_dag.schemas import USERS

lake = Lake(Path(sys.argv[1]), 8)
frames = (lake.scan(USERS, [bucket]).with_columns(pl.col("rows_kept") + 1).collect() for bucket in range(3))
lake.replace(USERS, [0, 1, 2], frames)
"""
OVERWRITE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from spotify_dag.stores.lake import Lake
from spotify_dag.schemas import USERS
from spotify_dag_tests.stores.test_lake import users

for tag in itertools.count(1):
    Lake(Path(sys.argv[1]), 8).replace(USERS, [0, 1], [users(0, 500, tag), users(1, 500, tag)])
    print(tag, flush=True)
"""
HANG_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from spotify_dag.stores.lake import Lake
from spotify_dag.schemas import USERS
from spotify_dag_tests.stores.test_lake import users

def frames():
    for _ in range(4):
        yield users(0, 100_000, 2)
    print("half", flush=True)
    time.sleep(600)
    yield users(1, 1, 2)

Lake(Path(sys.argv[1]), 8).replace(USERS, [0, 1, 2], frames())
"""
