"""The number of buckets of a data root: remembered, multiplied by a split, and never another one by mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spotify_dag.files import DamagedFileError
from spotify_dag.layout import (
    Layout,
    LayoutChangedError,
    LayoutError,
    layout_of,
    layout_written_at,
    read_layout,
    refuse_other_layout,
)
from spotify_dag.schemas import USERS, Table, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.stores.lake import Lake


def test_before_its_first_use_a_root_has_the_number_that_it_will_have(tmp_path: Path) -> None:
    assert read_layout(tmp_path) is None
    assert layout_written_at(tmp_path) == 0
    assert layout_of(Settings(data=tmp_path)) == Layout(64, 64)
    assert layout_of(Settings(data=tmp_path, n_buckets=10)) == Layout(10, 10)
    refuse_other_layout(tmp_path, 3)


def test_a_file_of_before_there_were_splits_is_read(tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text('{"n_buckets": 16}')
    assert read_layout(tmp_path) == Layout(16, 16)
    Layout(64, 16).write(tmp_path)
    assert read_layout(tmp_path) == layout_of(Settings(data=tmp_path)) == Layout(64, 16)
    assert json.loads((tmp_path / "layout.json").read_text()) == {"n_buckets": 64, "made_with": 16}


def test_another_number_is_refused_and_a_split_noticed(tmp_path: Path) -> None:
    Layout(64, 16).write(tmp_path)
    with pytest.raises(LayoutError, match="has 64 user buckets, and SPOTIFY_DAG_N_BUCKETS says 16"):
        layout_of(Settings(data=tmp_path, n_buckets=16))
    refuse_other_layout(tmp_path, 64)
    with pytest.raises(LayoutChangedError, match=r"The 16 user buckets of .* were split into 64 meanwhile"):
        refuse_other_layout(tmp_path, 16)


def test_a_damaged_file_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "layout.json").write_text('{"n_buckets": ')
    with pytest.raises(DamagedFileError, match=r"layout\.json is damaged: .* Put it back from a backup"):
        layout_of(Settings(data=tmp_path))


@pytest.mark.parametrize(("before", "factor"), [(1, 2), (2, 4), (64, 4), (100, 7)])
def test_a_bucket_splits_on_its_own(before: int, factor: int) -> None:
    users = [f"user-{number}" for number in range(500)]
    after = user_buckets(users, before * factor)
    assert [bucket % before for bucket in after] == user_buckets(users, before)


class TestTables:
    def test_each_number_of_buckets_has_its_folders(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake", 2)
        assert lake.folder(USERS) == tmp_path / "lake" / "users"
        split = lake.divided(8)
        assert split.folder(USERS) == tmp_path / "lake" / "users-8"
        assert split.divided(16).folder(USERS) == tmp_path / "lake" / "users-16"
        others = Table("others", "Not by bucket", ("part",), (), partition_by="part")
        assert split.folder(others) == lake.folder(others)
        assert split.of_origin == split.divided(16).of_origin == 2

    def test_what_is_left_over_is_found_and_dropped(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake", 2)
        for number in (2, 8, 4):
            lake.divided(number).replace(USERS, [0], [])
        (tmp_path / "lake" / "users-old").mkdir()
        assert [other.n_buckets for other in lake.left_over()] == [4, 8]
        assert [other.n_buckets for other in lake.divided(8).left_over()] == [2, 4]
        for other in lake.left_over():
            other.drop()
        assert lake.left_over() == []
        assert lake.exists(USERS)

    def test_buckets_that_were_one_stay_together(self, tmp_path: Path) -> None:
        lake = Lake(tmp_path / "lake", 8, made_with=2)
        assert list(lake.chunks(USERS, [0, 1, 3, 4, 5, 6], 0, whole_origins=True)) == [[0, 4, 6, 1, 3, 5]]
        assert list(lake.chunks(USERS, [0, 1, 3], 0)) == [[0, 1, 3]]
