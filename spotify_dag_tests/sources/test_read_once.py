"""What runs leave each other of a source: whole or not at all, of this version, and nothing of who was forgotten."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.schemas import user_buckets
from spotify_dag.sources.base import Batch
from spotify_dag.sources.read_once import ReadOnce, drop_left
from spotify_dag.sources.synthetic import BLOCK_USERS, SyntheticSource

BUCKETS = 8
WORLD = SyntheticSource(users=2 * BLOCK_USERS, playlists=1, tracks=2)


class Counted(SyntheticSource):
    """The generated world, which counts its batches, and fails after some."""

    read = 0
    fails_after = 99

    def batches(self) -> Iterator[Batch]:
        for number, batch in enumerate(super().batches()):
            if number == self.fails_after:
                raise OSError("the disk is gone")
            Counted.read += 1
            yield replace(batch, gone={"synthetic-000001": 5.0}, mended=number, marked="elsewhere")


@pytest.fixture
def world() -> Counted:
    Counted.read, Counted.fails_after = 0, 99
    return Counted(users=WORLD.users, playlists=WORLD.playlists, tracks=WORLD.tracks)


def run(
    folder: Path, buckets: set[int], stale: set[int], forgotten: Collection[str] = (), count: int | None = None,
    of_others: Collection[int] = range(BUCKETS),
) -> ReadOnce:  # fmt: skip
    return ReadOnce(
        folder, BUCKETS, frozenset(buckets), frozenset(of_others), lambda _source: stale,
        lambda users: set(forgotten) & set(users), count,
    )  # fmt: skip


def mine(batch: Batch, name: str, buckets: set[int]) -> list[tuple[object, ...]]:
    """Return the rows of a frame of a batch that are of users of some buckets."""
    frame = getattr(batch, name)
    own = user_buckets(frame["user_id"].to_list(), BUCKETS)
    return frame.filter(pl.Series([bucket in buckets for bucket in own], dtype=pl.Boolean)).rows()


def test_what_the_first_leaves_is_what_the_others_would_have_read(tmp_path: Path, world: Counted) -> None:
    first, second, stale = {0, 1, 2}, {3, 4}, {0, 1, 2, 3, 4, 5}
    alone = list(world.batches())
    Counted.read = 0
    read = list(run(tmp_path, first, stale).batches(world))
    assert [batch.records.equals(whole.records) for batch, whole in zip(read, alone, strict=True)] == [True, True]
    left = list(run(tmp_path, second, stale - first).batches(world))
    assert Counted.read == len(alone) == 2
    for batch, whole in zip(left, alone, strict=True):
        assert batch.records.rows() == mine(whole, "records", second)
        assert batch.records.schema == whole.records.schema
        assert batch.rows_read.equals(whole.rows_read)
        assert (batch.marked, batch.gone, batch.mended, batch.months) == (whole.marked, whole.gone, whole.mended, None)
    (place,) = tmp_path.glob("synthetic-*")
    written = pl.read_parquet(place / "00000000" / "records.parquet")["user_id"]
    assert set(user_buckets(written.to_list(), BUCKETS)) == stale - first


def test_one_who_reads_alone_leaves_nothing(tmp_path: Path, world: Counted) -> None:
    assert len(list(run(tmp_path, {0, 1}, {0, 1}).batches(world))) == 2
    # Others are stale, but no run waits to read them.
    assert len(list(run(tmp_path, {0, 1}, {0, 1, 2}, of_others={0, 1}).batches(world))) == 2
    assert not list(tmp_path.glob("[!.]*"))
    assert len(list(run(tmp_path, {0, 1}, {0, 1, 2, 3}, of_others={1, 2}).batches(world))) == 2
    (place,) = tmp_path.glob("[!.]*")
    left = pl.read_parquet(place / "00000000" / "records.parquet")["user_id"]
    assert set(user_buckets(left.to_list(), BUCKETS)) == {2}


def test_another_version_is_read_from_the_source(tmp_path: Path, world: Counted) -> None:
    list(run(tmp_path, {0}, {0, 1}).batches(world))
    list(run(tmp_path, {1}, {1}).batches(replace(world, seed=1)))
    assert Counted.read == 4
    list(run(tmp_path, {1}, {1}, count=5).batches(world))
    assert Counted.read == 6


def test_what_could_not_be_read_to_its_end_is_not_left(tmp_path: Path, world: Counted) -> None:
    Counted.fails_after = 1
    with pytest.raises(OSError, match="the disk is gone"):
        list(run(tmp_path, {0}, {0, 1}).batches(world))
    reading = run(tmp_path, {0}, {0, 1}).batches(world)
    next(reading)
    reading.close()  # who asked gave up
    assert not list(tmp_path.glob("[!.]*"))


def test_the_first_users_are_enough_where_no_more_are_wanted(tmp_path: Path, world: Counted) -> None:
    assert len(list(run(tmp_path, {0}, {0, 1}, count=5).batches(world))) == 1
    left = list(run(tmp_path, {1}, {1}, count=5).batches(world))
    assert (len(left), left[0].rows_read.height) == (1, BLOCK_USERS)


def test_nothing_is_left_of_who_was_forgotten_meanwhile(tmp_path: Path, world: Counted) -> None:
    user = "synthetic-000007"
    everybody, (own,) = set(range(BUCKETS)), user_buckets([user], BUCKETS)
    list(run(tmp_path, everybody - {own}, everybody, {user}).batches(world))
    assert not list(tmp_path.glob("[!.]*"))
    list(run(tmp_path, {own}, everybody, {user}).batches(world))  # what is left is of others
    assert len(list(tmp_path.glob("synthetic-*"))) == 1


def test_it_is_deleted_when_nobody_is_stale(tmp_path: Path, world: Counted) -> None:
    list(run(tmp_path, {0}, {0, 1}).batches(world))
    run(tmp_path, {0}, {1}).drop_taken([world])
    assert len(list(tmp_path.glob("synthetic-*"))) == 1
    reading = run(tmp_path, {1}, {1}).batches(world)
    next(reading)
    run(tmp_path, {1}, set()).drop_taken([world])
    assert len(list(tmp_path.glob("synthetic-*"))) == 1  # somebody reads it
    list(reading)
    run(tmp_path, {1}, set()).drop_taken([world])
    assert not list(tmp_path.glob("[!.]*"))


def test_what_a_killed_run_began_is_not_read_and_deleted(tmp_path: Path, world: Counted) -> None:
    reading = run(tmp_path, {0}, {0, 1}).batches(world)
    next(reading)
    assert drop_left(tmp_path, seconds=0) == 0  # it is being written
    (begun,) = tmp_path.glob("synthetic-*")
    shutil.copytree(begun, tmp_path / "killed")
    reading.close()
    shutil.move(tmp_path / "killed", begun)
    left = [batch.records.rows() for batch in run(tmp_path, {1}, {1}).batches(world)]
    assert left == [batch.records.rows() for batch in WORLD.batches()]
    assert drop_left(tmp_path, seconds=0) == 1
    assert not list(tmp_path.glob("[!.]*"))
    shutil.rmtree(begun, ignore_errors=True)
    begun.mkdir()
    (begun / "of an earlier one").write_text("")
    list(run(tmp_path, {0}, {0, 1}).batches(world))
    assert sorted(path.name for path in begun.iterdir()) == ["00000000", "00000001", "whole"]


def test_old_ones_are_deleted(tmp_path: Path, world: Counted) -> None:
    list(run(tmp_path, {0}, {0, 1}).batches(world))
    assert drop_left(tmp_path, 0, seconds=0) == 0
    assert drop_left(tmp_path, seconds=1) == 1
    assert not list(tmp_path.glob("[!.]*"))
