"""Digests of an index follow its rows and nothing else, and only new fragments are read for them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from spotify_dag.stores import index_digests as digests_module
from spotify_dag.stores.index_digests import index_digests, not_unit_length
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.user_index import UserIndex
from spotify_dag_tests.stores.test_user_index import drawn, rows

pytestmark = pytest.mark.medium


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", 4)


@pytest.fixture
def index(tmp_path: Path) -> UserIndex:
    index = UserIndex(tmp_path / "vectors", "tower-test", n_buckets=4)
    index.replace([0, 1], rows(["a", "b", "c"], [0, 0, 1], drawn(3)))
    index.replace([2], rows(["d"], 2, drawn(1)))
    return index


def test_a_bucket_without_rows_and_an_index_that_is_not_there_have_none(lake: Lake, index: UserIndex) -> None:
    assert [bucket for bucket, digest in index_digests(lake, index).items() if not digest] == [3]
    assert index_digests(lake, UserIndex(index.root, "tower-other")) == dict.fromkeys(range(4), 0)


def test_they_change_with_the_rows_of_their_bucket_alone_and_come_back_with_them(lake: Lake, index: UserIndex) -> None:
    before = index_digests(lake, index)
    index.merge(rows(["b"], 0, drawn(1), content=2), [])
    changed = index_digests(lake, index)
    assert [bucket for bucket in before if changed[bucket] != before[bucket]] == [0]
    index.mark_stale(["d"])
    assert index_digests(lake, index)[2] != before[2]
    index.replace([2], rows(["d"], 2, drawn(1)))
    index.merge(rows(["b"], 0, drawn(1)), [])
    assert index_digests(lake, index) == before
    index.merge(rows([], 0, drawn(0)), ["c"])
    assert index_digests(lake, index) == before | {1: 0}


def test_compaction_reads_new_fragments_and_changes_no_digest(
    lake: Lake, index: UserIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, read = index_digests(lake, index), []
    sums = digests_module._sums
    monkeypatch.setattr(digests_module, "_sums", lambda fragment: read.append(fragment.fragment_id) or sums(fragment))
    assert index_digests(lake, index) == before
    assert read == []
    index.merge(rows(["e"], 3, drawn(1)), [])
    assert index_digests(lake, index) != before
    assert len(read) == 1
    index.optimise(timedelta(0))
    assert index_digests(lake, index) == before | {3: index_digests(lake, index)[3]}
    assert len(read) == 2


def test_a_row_that_names_the_bucket_it_will_be_in_counts_where_it_is(lake: Lake, index: UserIndex) -> None:
    before = index_digests(lake, index)
    moved = replace(index, n_buckets=None).rows(with_vectors=True)
    index.merge(moved.with_columns(user_bucket=moved["user_bucket"] + 4), [])
    assert index_digests(lake, index) == before


def test_an_index_that_was_made_anew_is_read_anew(lake: Lake, index: UserIndex) -> None:
    before = index_digests(lake, index)
    index.drop()
    index.replace([0, 1], rows(["a", "b", "c"], [0, 0, 1], drawn(3), content=7))
    index.replace([2], rows(["d"], 2, drawn(1)))
    after = index_digests(lake, index)
    assert [bucket for bucket in before if after[bucket] != before[bucket]] == [0, 1]


def test_only_vectors_of_new_fragments_are_measured(
    lake: Lake, index: UserIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, length = [], digests_module._not_unit_length
    monkeypatch.setattr(
        digests_module,
        "_not_unit_length",
        lambda fragment, tolerance: measured.append(fragment.fragment_id) or length(fragment, tolerance),
    )
    assert not_unit_length(lake, index, 1e-3) == 0
    before = len(measured)
    wrong = drawn(3)
    wrong[0] *= 1.1
    wrong[1] *= 0
    index.merge(rows(["e", "f", "g"], 3, wrong), [])
    assert not_unit_length(lake, index, 1e-3) == 2
    assert not_unit_length(lake, index, 1e-3) == 2
    assert len(measured) == before + 1
    index.replace([3], rows(["e"], 3, drawn(1)))
    assert not_unit_length(lake, index, 1e-3) == 0
