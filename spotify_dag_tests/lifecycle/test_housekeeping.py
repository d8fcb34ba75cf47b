"""Updates leave no more behind than a fresh build has, and nobody who reads notices."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spotify_dag.lifecycle.housekeeping import tidy, usage
from spotify_dag.project import Project
from spotify_dag.schemas import TEXT_VECTORS, USERS
from spotify_dag.settings import Settings

pytestmark = pytest.mark.medium

NOW = timedelta(0)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(Settings(data=tmp_path / "data", n_buckets=2))


def users(bucket: int, content: int, count: int = 20) -> pl.DataFrame:
    return pl.DataFrame({"user_id": [f"u-{bucket}-{n}" for n in range(count)]}).with_columns(
        pl.lit(bucket, pl.Int32).alias("user_bucket"), pl.lit("synthetic").alias("source"),
        pl.lit(datetime.now(UTC)).alias("fetched_at"), pl.lit(3, pl.Int32).alias("rows_kept"),
        pl.lit(content, pl.Int64).alias("content_hash"), pl.lit(True).alias("opted_in"),
    )  # fmt: skip


def vectors(bucket: int, content: int) -> pl.DataFrame:
    drawn = np.random.default_rng(content).normal(size=(20, 8)).astype(np.float32)
    return users(bucket, content).with_columns(
        pl.lit("f").alias("feature_version"), pl.Series("vector", drawn, dtype=pl.Array(pl.Float32, 8))
    )


def update(project: Project, rounds: int) -> None:
    for content in range(rounds):
        for bucket in (0, 1):
            project.lake.replace(USERS, [bucket], [users(bucket, content)])
            project.user_index("tower-1").replace([bucket], vectors(bucket, content))
        texts = pl.DataFrame({"encoder": ["e"], "text": [f"t{content}"], "vector": [[0.5] * 384]})
        project.lake.append(TEXT_VECTORS, texts.cast(TEXT_VECTORS.polars_schema()))


@pytest.mark.slow
def test_many_updates_end_like_a_fresh_build(project: Project, tmp_path: Path) -> None:
    fresh = Project.open(Settings(data=tmp_path / "fresh", n_buckets=2))
    update(fresh, 1)
    update(project, 25)
    grown = usage(project)
    assert grown[0] > 5 * usage(fresh)[0]
    done = tidy(project, NOW)
    tidy(project, NOW)  # a log is cut at a checkpoint that was there before
    files, size = usage(project)
    assert (done.files_before, done.bytes_before) == grown
    assert files <= 1.5 * usage(fresh)[0]
    assert size <= 3 * usage(fresh)[1]
    assert project.lake.scan(USERS).select("content_hash").unique().collect().item() == 24
    assert project.lake.scan(TEXT_VECTORS).collect().height == 25
    assert project.user_index("tower-1").rows()["content_hash"].unique().to_list() == [24]
    update(project, 2)  # and it can be written to as before
    assert project.lake.scan(USERS).select("content_hash").unique().collect().item() == 1


def test_a_version_that_was_just_replaced_can_still_be_read(project: Project) -> None:
    update(project, 3)
    reading = project.lake.scan(USERS)
    table = project.user_index("tower-1")._table()
    update(project, 5)
    tidy(project, timedelta(hours=1))
    assert reading.select("content_hash").unique().collect().item() == 2
    assert set(table.search().limit(None).to_arrow()["content_hash"].to_pylist()) == {2}
    tidy(project, NOW)
    with pytest.raises(FileNotFoundError):
        reading.collect()
    assert project.lake.scan(USERS).collect().height == 40


def test_what_killed_writers_left_goes_and_what_is_being_written_stays(project: Project) -> None:
    update(project, 1)
    data = project.settings.data
    orphan = project.lake.root / "users" / "user_bucket=1" / "part-00000-killed.zstd.parquet"
    orphan.write_bytes(b"rows that were never committed")
    old, new = data / "inbox" / f".{'a' * 32}.tmp", data / "inbox" / f".{'b' * 32}.tmp"
    old.parent.mkdir()
    folder = data / "vectors" / ".new-x"
    folder.mkdir()
    for path in (old, new):
        path.touch()
    long_ago = time.time() - 2 * 86_400
    for path in (old, folder):
        os.utime(path, (long_ago, long_ago))
    assert tidy(project).abandoned == 2
    assert [path.exists() for path in (orphan, old, folder, new)] == [False, False, False, True]


def test_a_table_that_is_written_to_is_left_for_another_time(project: Project) -> None:
    update(project, 1)
    orphan = project.lake.root / "users" / "user_bucket=1" / "part-00000-written-now.zstd.parquet"
    with project.lake._writing(USERS):
        orphan.touch()
        assert tidy(project, NOW).busy == ["users"]
        assert orphan.exists()
    assert tidy(project, NOW).busy == []
    assert not orphan.exists()


def test_two_indexes_are_kept_the_published_one_among_them(project: Project) -> None:
    for version in ("tower-a", "tower-b", "tower-c", "tower-d"):
        project.user_index(version).replace([0], vectors(0, 1))
        time.sleep(0.01)
    assert tidy_with(project, "tower-b") == ["tower-a", "tower-c"]
    assert [index.model_version for index in project.user_indexes()] == ["tower-b", "tower-d"]
    assert tidy_with(project, "tower-b") == []


def tidy_with(project: Project, published: str) -> list[str]:
    from spotify_dag_tests.matching.test_matcher import SCALE

    project.user_index(published).publish(SCALE)
    return tidy(project, NOW).indexes_dropped
