"""What is remembered of buckets never hides that something is stale: each answer equals one without a memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spotify_dag.lifecycle.forget import remove
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, USERS
from spotify_dag.settings import Settings
from spotify_dag.staleness import stale_buckets
from spotify_dag.staleness.stale_buckets import feature_version, stale_features, stale_index
from spotify_dag.stores.bucket_state import FOLDER
from spotify_dag.stores.preferences import Preference
from spotify_dag.stores.user_index import UserIndex
from spotify_dag_tests.staleness.users_of_buckets import embeddings_of, indexed, users_in, users_of

pytestmark = pytest.mark.medium
BUCKETS, USERS_EACH, STEPS = 4, 5, 40


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.open(Settings(data=tmp_path / "data", n_buckets=BUCKETS))
    project.check_layout()
    for bucket in range(BUCKETS):
        read(project, bucket, 1)
        embed(project, bucket)
        index(project).replace([bucket], rows_to_index(project, bucket))
    return project


def index(project: Project) -> UserIndex:
    return project.user_index("tower-1")


def read(project: Project, bucket: int, content: int, *, opted_in: bool = True, count: int = USERS_EACH) -> None:
    users = users_in(bucket, BUCKETS, count)
    rows = users_of(bucket, dict.fromkeys(users, content), BUCKETS, {users[0]: opted_in} if users else None)
    project.lake.replace(USERS, [bucket], [rows])


def embed(project: Project, bucket: int) -> None:
    users = project.preferences.hashed(project.lake.scan(USERS, [bucket]), [bucket]).collect()
    project.lake.replace(USER_EMBEDDINGS, [bucket], [embeddings_of(users, feature_version(project))])


def rows_to_index(project: Project, bucket: int) -> pl.DataFrame:
    lake = project.lake
    return indexed(lake.scan(USER_EMBEDDINGS, [bucket]).collect(), lake.scan(USERS, [bucket]).collect())


def stale(project: Project) -> tuple[list[int], list[int]]:
    return stale_features(project), stale_index(project, index(project))


def without_memory(project: Project) -> tuple[list[int], list[int]]:
    folder = project.lake.root / FOLDER
    shutil.move(folder, folder.with_name("aside"))
    try:
        return stale(project)
    finally:
        shutil.rmtree(folder)
        shutil.move(folder.with_name("aside"), folder)


def test_nothing_is_read_where_nothing_was_written(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert stale(project) == ([], [])
    monkeypatch.setattr(stale_buckets, "_differing", lambda *_: pytest.fail("rows were compared"))
    assert stale(project) == ([], [])
    assert stale_features(project, [2]) == []


def test_a_kill_between_two_tables_is_seen_and_what_finishes_it_too(project: Project) -> None:
    assert stale(project) == ([], [])
    read(project, 1, 2)
    assert stale(project) == ([1], [])
    assert stale(project) == ([1], [])
    embed(project, 1)
    assert stale(project) == ([], [1])
    index(project).replace([1], rows_to_index(project, 1))
    assert stale(project) == ([], [])


def test_other_features_and_what_somebody_leaves_out_make_buckets_stale(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stale(project) == ([], [])
    project.preferences.change(users_in(3, BUCKETS, 1)[0], [Preference("artist", "Prince")])
    assert stale_features(project) == [3]
    embed(project, 3)
    assert stale(project) == ([], [3])
    monkeypatch.setattr(stale_buckets, "FEATURES_CODE", "other")
    assert stale_features(project) == [0, 1, 2, 3]
    monkeypatch.undo()
    assert stale_features(project) == []


def test_an_opt_in_that_was_withdrawn_makes_the_index_stale(project: Project) -> None:
    assert stale(project) == ([], [])
    read(project, 0, 1, opted_in=False)
    assert stale(project) == ([], [0])


def test_an_index_that_was_dropped_and_made_again_is_another(project: Project) -> None:
    assert stale(project) == ([], [])
    index(project).drop()
    assert stale(project) == ([], [0, 1, 2, 3])
    for bucket in range(BUCKETS):
        rows = rows_to_index(project, bucket)
        index(project).replace([bucket], rows if bucket else rows.with_columns(content_hash=pl.lit(5, pl.Int64)))
    assert stale(project) == ([], [0])


def test_a_split_begins_without_a_memory_of_its_buckets(project: Project) -> None:
    assert stale(project) == ([], [])
    there = project.divided(2 * BUCKETS)
    for bucket in range(2 * BUCKETS):
        users = users_of(bucket, dict.fromkeys(users_in(bucket, 2 * BUCKETS, 2), 1), 2 * BUCKETS)
        there.lake.replace(USERS, [bucket], [users])
    assert stale_features(there) == list(range(2 * BUCKETS))
    assert stale(project) == ([], [])


def steps(project: Project, rng: np.random.Generator) -> list[Callable[[], object]]:
    """Return what may happen to a bucket next."""
    bucket, content = int(rng.integers(BUCKETS)), int(rng.integers(3))
    user = users_in(bucket, BUCKETS, USERS_EACH)[int(rng.integers(USERS_EACH))]
    lake, theirs = project.lake, index(project)
    return [
        lambda: read(project, bucket, content, opted_in=bool(rng.integers(2)), count=int(rng.integers(USERS_EACH + 1))),
        lambda: embed(project, bucket),
        lambda: theirs.replace([bucket], rows_to_index(project, bucket)),
        lambda: theirs.merge(rows_to_index(project, bucket).head(1), []),
        lambda: theirs.mark_stale([user]),
        lambda: theirs.optimise(timedelta(0)),
        lambda: remove(project, user),
        lambda: project.preferences.change(user, [Preference("artist", f"Artist {rng.integers(10**6)}")]),
        lambda: [lake.tidy(table, timedelta(0)) for table in (USERS, USER_EMBEDDINGS)],
        lambda: lake.replace_users(USERS, [bucket], [user], users_of(bucket, {user: content}, BUCKETS)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_the_answer_is_that_without_a_memory(project: Project, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = set()
    for _ in range(STEPS):
        choices = steps(project, rng)
        choices[int(rng.integers(len(choices)))]()
        answer = stale(project)
        assert answer == without_memory(project)
        seen.add(str(answer))
    assert len(seen) > STEPS // 5
