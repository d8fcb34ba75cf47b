"""Matches: only users who opted in, as many as were asked for, even where the index lags behind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from spotify_dag.matching.matcher import Matcher, PrivateUserError, UnknownUserError
from spotify_dag.project import Project
from spotify_dag.schemas import USER_EMBEDDINGS, USERS, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.stores.index_search import as_kept
from spotify_dag.tower.score import SHARES, ScoreScale

pytestmark = pytest.mark.medium

N = 60
IDS = [f"user-{number:03d}" for number in range(N)]
BUCKETS = user_buckets(IDS, 2)
SCALE = ScoreScale(np.linspace(-1, 1, len(SHARES), dtype=np.float32), 5.0)


def vectors() -> np.ndarray:
    drawn = np.random.default_rng(0).normal(size=(N, 8)).astype(np.float32)
    return as_kept(drawn / np.linalg.norm(drawn, axis=1, keepdims=True))


def put_users(project: Project, private: set[str], ids: list[str] = IDS) -> None:
    """Write the users table as ingestion does."""
    now = datetime.now(UTC)
    rows = pl.DataFrame({"user_id": ids, "user_bucket": user_buckets(ids, 2)}).with_columns(
        pl.lit("synthetic").alias("source"), pl.lit(now).alias("fetched_at"), pl.lit(3).alias("rows_kept"),
        pl.lit(1).alias("content_hash"), (~pl.col("user_id").is_in(private)).alias("opted_in"),
    )  # fmt: skip
    project.lake.replace(USERS, [0, 1], [rows])


def put_index(project: Project, private: set[str]) -> None:
    """Write the index as its asset does."""
    rows = pl.DataFrame({"user_id": IDS, "user_bucket": pl.Series(BUCKETS, dtype=pl.Int32)}).with_columns(
        pl.lit(1).alias("content_hash"), pl.lit("features").alias("feature_version"),
        (~pl.col("user_id").is_in(private)).alias("opted_in"),
        pl.Series("vector", vectors(), dtype=pl.Array(pl.Float32, 8)),
    )  # fmt: skip
    index = project.user_index("tower-1")
    index.replace([0, 1], rows)
    index.publish(SCALE)


def nearest(user: str, shown: set[str], k: int) -> list[str]:
    """Return what `Matcher.recommend` should, by brute force."""
    cosines = vectors() @ vectors()[IDS.index(user)]
    ranked = [IDS[place] for place in np.argsort(-cosines)]
    return [other for other in ranked if other != user and other in shown][:k]


def found(matcher: Matcher, user: str, k: int) -> list[str]:
    return [match.user_id for match in matcher.recommend([user], k)[1][0]]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(Settings(data=tmp_path / "data", n_buckets=2))


@pytest.mark.parametrize("indexed", ["as now", "before they changed their minds"])
@pytest.mark.medium
def test_private_users_are_never_shown_and_never_missed(project: Project, indexed: str) -> None:
    private = set(IDS[::2]) | set(nearest("user-001", set(IDS), 20))
    put_users(project, private)
    put_index(project, private if indexed == "as now" else set())
    shown = set(IDS) - private
    assert len(shown) >= 10
    for user in IDS[:8]:  # private ones among them: they may ask
        assert found(project.matcher, user, 10) == nearest(user, shown, 10)
    assert len(found(project.matcher, "user-001", 50)) == len(shown - {"user-001"})


@pytest.mark.medium
def test_who_is_not_in_the_lake_any_more_is_not_shown(project: Project) -> None:
    put_users(project, set(), IDS[:30])
    put_index(project, set())
    assert found(project.matcher, "user-001", 29) == nearest("user-001", set(IDS[:30]), 29)


def test_only_the_one_who_asks_may_be_private(project: Project) -> None:
    put_users(project, {"user-001"})
    put_index(project, {"user-001"})
    matcher = project.matcher
    assert matcher.compare("user-001", "user-002")[1].user_id == "user-002"
    assert matcher.compare("user-002", "user-001", asking="user-001")[1].user_id == "user-001"
    for pair in (("user-002", "user-001"), ("user-003", "user-001")):
        with pytest.raises(PrivateUserError, match="User 'user-001' is private"):
            matcher.compare(*pair)
    with pytest.raises(UnknownUserError, match=r"Unknown user '001'\. See who is known"):
        matcher.compare("001", "user-002")  # no hint at somebody private
    with pytest.raises(UnknownUserError, match="Did you mean user-002"):
        matcher.compare("002", "user-001")


@pytest.mark.medium
def test_an_index_from_before_the_flag_shows_by_the_lake_and_is_brought_up_to_date(project: Project) -> None:
    put_users(project, {"user-002"})
    put_index(project, set())
    index = project.user_index("tower-1")
    index._table().drop_columns(["opted_in"])
    shown = set(IDS) - {"user-002"}
    assert index.rows()["opted_in"].null_count() == N
    assert found(project.matcher, "user-001", 59) == nearest("user-001", shown, 59)
    put_index(project, {"user-002"})
    assert index.rows().filter("opted_in").height == N - 1
    assert found(project.matcher, "user-001", 59) == nearest("user-001", shown, 59)


def test_an_indexed_search_finds_as_many_as_there_are(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an index of its own kind, few users who opted in lie in any of its parts."""
    from spotify_dag.stores import user_index as module

    private = set(IDS) - set(IDS[::6])
    put_users(project, private)
    monkeypatch.setattr(module, "EXACT_ROWS", 10)
    put_index(project, private)
    project.user_index("tower-1").optimise()
    assert found(project.matcher, "user-001", 10) == nearest("user-001", set(IDS[::6]), 10)


def test_files_deleted_meanwhile_do_not_spoil_an_answer(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    put_users(project, set())
    put_index(project, set())
    embeddings = pl.DataFrame(
        {"user_bucket": BUCKETS, "user_id": IDS, "source": "synthetic", "content_hash": 1, "feature_version": "f",
         "playlists": 1, "tracks": 5}
    )  # fmt: skip
    project.lake.replace(USER_EMBEDDINGS, [0, 1], [embeddings])
    matcher, shown = project.matcher, Matcher._shown
    forgotten: list[int] = []

    def deletes_first(self: Matcher, user_ids: set[str]) -> set[str]:
        answer = shown(self, user_ids)
        if not forgotten:
            rows = self.lake.scan(USER_EMBEDDINGS)
            forgotten.append(project.lake.expunge(USER_EMBEDDINGS, BUCKETS[9], pl.col("user_id") == IDS[9]))
            rows.collect()  # of the files as they were: raises
        return answer

    monkeypatch.setattr(Matcher, "_shown", deletes_first)
    assert found(matcher, "user-001", 10) == nearest("user-001", set(IDS), 10)
    assert forgotten == [1]
