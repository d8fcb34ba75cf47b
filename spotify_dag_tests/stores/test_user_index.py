"""The user index: exactly the rows that were written, one per user, and neighbours equal to exact cosine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import lancedb
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from lance.file import LanceFileReader
from lancedb.index import IvfRq

from spotify_dag.stores import lance_upkeep as upkeep
from spotify_dag.stores import user_index as vectors_module
from spotify_dag.stores.index_search import METRIC, as_kept
from spotify_dag.stores.told import TOLD, packed, unpacked
from spotify_dag.stores.user_index import SMALL_FRAGMENTS, UserIndex
from spotify_dag_tests.waiting import GUARD

SPAWN = multiprocessing.get_context("spawn")
COLUMNS = ["user_id", "user_bucket", "content_hash", "feature_version", "opted_in"]


def rows(users: Sequence[str], bucket: int | Sequence[int], vectors: np.ndarray, content: int = 1) -> pl.DataFrame:
    """Return rows as the index asset makes them."""
    buckets = [bucket] * len(users) if isinstance(bucket, int) else list(bucket)
    return pl.DataFrame(
        {
            "user_id": users,
            "user_bucket": pl.Series(buckets, dtype=pl.Int32),
            "content_hash": [content] * len(users),
            "feature_version": ["features"] * len(users),
            "opted_in": [True] * len(users),
            "vector": pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])),
        }
    )


def drawn(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    """Return unit vectors ``[count, dim]``, as the index keeps them."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return as_kept(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def exact(users: Sequence[str], vectors: np.ndarray, query: np.ndarray, k: int) -> list[tuple[str, float]]:
    """Return what `UserIndex.nearest` should: by cosine, then by id."""
    cosines = (vectors @ query) / (np.linalg.norm(vectors, axis=1) * np.linalg.norm(query))
    return sorted(zip(users, cosines.tolist(), strict=True), key=lambda pair: (-round(pair[1], 5), pair[0]))[:k]


def held(index: UserIndex) -> list[tuple[str, int, int]]:
    return index.rows().select("user_id", "user_bucket", "content_hash").rows()


@pytest.fixture
def index(tmp_path: Path) -> UserIndex:
    return UserIndex(tmp_path / "vectors", "tower-test")


@pytest.mark.medium
def test_rows_may_name_the_bucket_they_will_be_in(index: UserIndex) -> None:
    """While 2 buckets become 8, bucket 1 is 1, 3, 5 or 7."""
    index.replace([0, 1], rows(["a", "b", "c", "d"], [0, 6, 1, 5], drawn(4)))
    of_two = replace(index, n_buckets=2)
    assert held(of_two) == [("a", 0, 1), ("b", 0, 1), ("c", 1, 1), ("d", 1, 1)]
    assert of_two.rows([1])["user_id"].to_list() == ["c", "d"]
    of_two.replace([1], rows(["c"], [1], drawn(1), content=2))
    assert held(index) == [("a", 0, 1), ("b", 6, 1), ("c", 1, 2)]
    of_two.replace([0], rows([], [], drawn(0)))
    assert held(index) == [("c", 1, 2)]


@pytest.mark.medium
def test_who_is_forgotten_leaves_the_fragments_that_held_them_and_no_other_is_touched(
    index: UserIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a row of theirs was replaced before: it is still in its file until then."""
    monkeypatch.setattr(upkeep, "FRAGMENT_ROWS", 4)
    monkeypatch.setattr(vectors_module, "EXACT_ROWS", 10)
    for bucket in range(4):
        index.replace([bucket], rows([f"user-{bucket}-{number}" for number in range(6)], bucket, drawn(6, seed=bucket)))
    index.optimise()
    assert index.approximation() is not None
    index.merge(rows(["user-1-2"], 1, drawn(1), content=2), [])
    folder = index.root / f"{index.name}.lance"
    before = {name for fragment in upkeep.opened(folder).get_fragments() for name in paths(fragment)}
    named = {file.name for file in (folder / "data").iterdir() if b"user-1-2" in file.read_bytes()}
    assert len(named) == 2
    neighbours = index.rows(with_vectors=True).filter(pl.col("user_id") != "user-1-2")

    assert index.expunge("user-1-2") == 1
    after = {file.name for file in (folder / "data").iterdir()}
    assert before - after == named
    assert not [file for file in folder.rglob("*") if file.is_file() and b"user-1-2" in file.read_bytes()]
    assert index.rows(with_vectors=True).equals(neighbours)
    assert len(index._table().list_versions()) == 1
    assert index.expunge("user-1-2") == 0
    query = neighbours["vector"].to_numpy()[7]
    ((best,),) = index.nearest(query[None], 1)
    assert best[0] == neighbours["user_id"][7]


def paths(fragment: Any) -> list[str]:
    return [file.path for file in fragment.metadata.files]


@pytest.mark.medium
class TestReplace:
    @pytest.mark.medium
    def test_users_are_added_changed_and_deleted_within_the_buckets_only(self, index: UserIndex) -> None:
        first = drawn(5)
        index.replace([1, 2], rows(["a", "b", "c", "d", "e"], [1, 1, 1, 2, 2], first))
        assert held(index) == [("a", 1, 1), ("b", 1, 1), ("c", 1, 1), ("d", 2, 1), ("e", 2, 1)]
        second = drawn(3, seed=1)
        index.replace([1, 3], rows(["b", "f", "g"], [1, 1, 3], second, content=2))
        assert held(index) == [("b", 1, 2), ("d", 2, 1), ("e", 2, 1), ("f", 1, 2), ("g", 3, 2)]
        found = index.vectors(["a", "b", "c", "d", "e", "f", "g"])
        assert sorted(found) == ["b", "d", "e", "f", "g"]
        for user, vector in zip("bfgde", [*second, *first[3:]], strict=True):
            np.testing.assert_array_equal(found[user], vector)

    def test_the_same_rows_again_change_nothing(self, index: UserIndex) -> None:
        given = rows(["a", "b"], 1, drawn(2))
        for _ in range(3):
            index.replace([1], given)
        assert index.rows(with_vectors=True)["vector"].to_list() == given["vector"].to_list()
        assert held(index) == [("a", 1, 1), ("b", 1, 1)]

    def test_without_rows_the_buckets_end_up_empty(self, index: UserIndex) -> None:
        index.replace([1, 2, 3], rows(["a", "b", "c"], [1, 2, 3], drawn(3)))
        index.replace([1, 3, 4], rows([], 1, drawn(0)))
        assert held(index) == [("b", 2, 1)]
        index.replace([2], rows([], 1, drawn(0)))
        assert held(index) == []
        assert index.nearest(drawn(1), 3) == [[]]

    def test_a_user_that_changes_bucket_is_kept_once(self, index: UserIndex) -> None:
        index.replace([1], rows(["a"], 1, drawn(1)))
        index.replace([1, 2], rows(["a"], 2, drawn(1, seed=1)))
        assert held(index) == [("a", 2, 1)]

    def test_versions_of_the_model_are_apart(self, index: UserIndex) -> None:
        other = UserIndex(index.root, "tower-other")
        index.replace([1], rows(["a"], 1, drawn(1)))
        assert held(other) == []
        other.replace([1], rows(["b"], 1, drawn(1, dim=8)))
        assert held(index) == [("a", 1, 1)]
        assert held(other) == [("b", 1, 1)]

    @pytest.mark.process
    @pytest.mark.slow
    def test_four_processes_that_add_the_same_users_at_once_add_them_once(
        self, index: UserIndex, four: ProcessPoolExecutor
    ) -> None:
        rounds, new = 4, 20
        at_once(four, add_users, [(index, rounds, new)] * 4)
        users = [f"user-{number:03d}" for number in range(rounds * new)]
        assert held(index) == [(user, 1, 1) for user in users]
        found = index.vectors(users)
        np.testing.assert_array_equal(np.stack([found[user] for user in users]), drawn(rounds * new))
        assert sorted(path.name for path in index.root.iterdir()) == [".locks", f"{index.name}.lance"]

    @pytest.mark.process
    @pytest.mark.slow
    def test_four_processes_that_write_a_new_table_at_once(self, index: UserIndex, four: ProcessPoolExecutor) -> None:
        """The process that creates it must not undo what the others wrote, or make it fail."""
        for attempt in range(5):
            fresh = UserIndex(index.root, f"tower-{attempt}")
            at_once(four, replace_own, [(fresh, bucket, 1) for bucket in range(4)])
            assert held(fresh) == [(f"user-{bucket}-{number}", bucket, 0) for bucket in range(4) for number in range(5)]

    @pytest.mark.process
    def test_four_processes_replace_their_own_buckets_at_once(
        self, index: UserIndex, four: ProcessPoolExecutor
    ) -> None:
        rounds = 4
        at_once(four, replace_own, [(index, bucket, rounds) for bucket in range(4)])
        assert held(index) == [
            (f"user-{bucket}-{number}", bucket, rounds - 1) for bucket in range(4) for number in range(5)
        ]


@pytest.fixture(scope="module")
def four() -> Iterator[ProcessPoolExecutor]:
    """Four processes, started as Dagster starts them."""
    with ProcessPoolExecutor(4, mp_context=SPAWN, initializer=keep, initargs=(SPAWN.Barrier(4),)) as pool:
        yield pool


together: Barrier


def keep(barrier: Barrier) -> None:
    """Keep the barrier at which the processes of the pool wait for each other, and import what takes a while."""
    import lancedb  # noqa: F401

    global together  # noqa: PLW0603
    together = barrier


def at_once(four: ProcessPoolExecutor, work: Callable[..., None], arguments: list[tuple[Any, ...]]) -> None:
    """Run ``work`` in the four processes; they begin together."""
    for run in [four.submit(begin_together, work, *some) for some in arguments]:
        run.result(timeout=GUARD)


def begin_together(work: Callable[..., None], *arguments: Any) -> None:
    together.wait(timeout=GUARD)
    work(*arguments)


def add_users(index: UserIndex, rounds: int, new: int) -> None:
    vectors = drawn(rounds * new)
    for round_ in range(rounds):
        # Those of earlier rounds are given again: being gone from the bucket, they would be deleted. A process that
        # is a round behind may do that all the same, so the last round is what counts.
        count = (round_ + 1) * new
        index.replace([1], rows([f"user-{number:03d}" for number in range(count)], 1, vectors[:count]))


def replace_own(index: UserIndex, bucket: int, rounds: int) -> None:
    for round_ in range(rounds):
        users = [f"user-{bucket}-{number}" for number in range(5)]
        index.replace([bucket], rows(users, bucket, drawn(5), content=round_))


class TestNearest:
    def test_it_equals_exact_cosine(self, index: UserIndex) -> None:
        vectors = as_kept(drawn(500) * np.linspace(0.1, 10, 500, dtype=np.float32)[:, None])
        users = [f"user-{number:03d}" for number in range(500)]
        index.replace(range(8), rows(users, [number % 8 for number in range(500)], vectors))
        queries = np.concatenate([vectors[:3], drawn(5, seed=9)])
        answers = index.nearest(queries, 20)
        assert [len(answer) for answer in answers] == [20] * 8
        for query, answer in zip(queries, answers, strict=True):
            expected = exact(users, vectors, query, 20)
            assert [user for user, _ in answer] == [user for user, _ in expected]
            np.testing.assert_allclose([score for _, score in answer], [score for _, score in expected], atol=1e-5)

    @pytest.mark.medium
    def test_many_queries_are_answered_as_one(self, index: UserIndex) -> None:
        index.replace([1], rows([f"user-{number}" for number in range(300)], 1, drawn(300)))
        queries = drawn(64, seed=3)
        answers = index.nearest(queries, 7)
        for query, answer in zip(queries, answers, strict=True):
            ((*alone,),) = index.nearest(query[None], 7)
            assert [user for user, _ in alone] == [user for user, _ in answer]
            np.testing.assert_allclose([score for _, score in alone], [score for _, score in answer], atol=1e-6)

    def test_equal_vectors_come_by_id(self, index: UserIndex) -> None:
        vectors = drawn(30)
        vectors[10:20] = vectors[10]
        users = [f"user-{number:02d}" for number in np.random.default_rng(1).permutation(30)]
        index.replace([1], rows(users, 1, vectors))
        (answer,) = index.nearest(vectors[10:11], 30)
        assert [user for user, _ in answer[:10]] == sorted(users[10:20])
        assert [user for user, _ in answer] == [user for user, _ in exact(users, vectors, vectors[10], 30)]
        for _, score in answer[:10]:
            assert score == pytest.approx(1, abs=1e-6)

    def test_opposite_is_minus_one(self, index: UserIndex) -> None:
        (vector,) = drawn(1)
        index.replace([1], rows(["same", "opposite"], 1, np.stack([vector, -vector])))
        ((near, far),) = index.nearest(vector[None], 5)
        assert (near[0], far[0]) == ("same", "opposite")
        assert (near[1], far[1]) == pytest.approx((1, -1), abs=1e-6)

    def test_no_queries_no_answers(self, index: UserIndex) -> None:
        index.replace([1], rows(["a"], 1, drawn(1)))
        assert index.nearest(np.empty((0, 16), np.float32), 5) == []


class TestReading:
    def test_of_an_index_never_written(self, index: UserIndex) -> None:
        assert index.rows().columns == COLUMNS
        assert index.rows().height == 0
        assert index.vectors(["a"]) == {}
        assert index.nearest(drawn(3), 5) == [[], [], []]
        index.replace([1], rows([], 1, drawn(0)))
        index.optimise()
        assert not list(index.root.glob("*.lance"))

    def test_rows_come_by_user_with_vectors_if_asked_for(self, index: UserIndex) -> None:
        vectors = drawn(3)
        index.replace([1, 2], rows(["c", "a", "b"], [1, 2, 1], vectors))
        assert index.rows().columns == COLUMNS
        assert index.rows().rows() == [
            (user, bucket, 1, "features", True) for user, bucket in zip("abc", [2, 1, 1], strict=True)
        ]
        found = index.rows(with_vectors=True)
        assert found.columns == [*COLUMNS, "told", "vector"]
        np.testing.assert_array_equal(found["vector"].to_numpy(), vectors[[1, 2, 0]])
        assert found.schema["user_bucket"] == index.rows().schema["user_bucket"] == pl.Int32

    def test_more_rows_than_a_search_gives_by_default(self, index: UserIndex) -> None:
        users = [f"user-{number:04d}" for number in range(2_500)]
        index.replace([1], rows(users, 1, drawn(2_500)))
        assert index.rows()["user_id"].to_list() == users
        assert len(index.vectors(users)) == 2_500

    def test_odd_users_are_found(self, index: UserIndex) -> None:
        odd = ["o'brien", 'a"b', "a\\b", "%", "_", "ü🎵", "a\nb", "--", "') or true --", "null", "a`b", " "]
        vectors = drawn(len(odd))
        index.replace([1], rows(odd, 1, vectors))
        found = index.vectors([*odd, "nobody", "''"])
        assert sorted(found) == sorted(odd)
        for user, vector in zip(odd, vectors, strict=True):
            np.testing.assert_array_equal(index.vectors([user])[user], vector)
            assert found[user].dtype == np.float32
            ((best,),) = index.nearest(vector[None], 1)
            assert best[0] == user
        index.replace([1], rows(odd[:2], 1, vectors[:2], content=2))
        assert [content for _, _, content in held(index)] == [2, 2]


def named_in(index: UserIndex, user: str) -> list[str]:
    """Return the files of a table that name a user, decoded."""
    folder = Path(str(index.root)) / f"{index.name}.lance"
    found = []
    for file in sorted(folder.rglob("*.lance")):
        table = LanceFileReader(str(file)).read_all().to_table()
        if any(user in table[name].to_pylist() for name in table.column_names):
            found.append(str(file.relative_to(folder)))
    return found


ABOUT = {"source": "synthetic", "tracks": 5, "taste": b"packed"}


@pytest.mark.medium
class TestWhatIsTold:
    def test_what_stands_beside_a_vector_is_found_with_it(self, index: UserIndex) -> None:
        vectors = drawn(4)
        index.replace([1], told(["Anna", "anton", "bert", "private"], vectors))
        (found,) = index.search(vectors[:1], 3, ["source", "tracks", "taste", "vector"])
        assert [row["user_id"] for row in found if row["user_id"] == "private"] == []
        assert {name: found[0][name] for name in ("user_id", *ABOUT)} == {"user_id": "Anna", **ABOUT}
        np.testing.assert_array_equal(found[0]["vector"].astype("f4"), vectors[0])
        assert index.of(["private", "nobody"], ["tracks"]) == [{"user_id": "private", "tracks": 5}]
        assert sorted(row["user_id"] for row in index.beginning_with("AN", ["taste"], 5)) == ["Anna", "anton"]
        assert len(index.beginning_with("an", [], 1)) == 1
        assert index.beginning_with("priv", [], 5) == index.beginning_with("an' or true --", [], 5) == []
        assert sorted(row["user_id"] for row in index.sample(["tracks"], 100)) == ["Anna", "anton", "bert"]
        assert len(index.sample(["tracks"], 2)) <= 2
        assert (index.shown(), index.feature_version()) == (3, "features")

    def test_a_table_of_an_older_version_answers_and_is_made_again_whole(self, index: UserIndex) -> None:
        before = rows(["a", "b"], [1, 2], drawn(2)).to_arrow()
        vector = before["vector"].combine_chunks().cast(pa.list_(pa.float32(), 16))
        lancedb.connect(str(index.root)).create_table(index.name, before.set_column(5, "vector", vector))
        assert index.rows()["feature_version"].to_list() == ["", ""]
        assert [user for user, _ in index.nearest(drawn(2)[1:], 2)[0]] == ["b", "a"]
        assert index.search(drawn(1), 1, ["tracks"])[0][0]["tracks"] is None
        assert index.beginning_with("a", [], 5) == []
        index.merge(told(["a"], drawn(2)[:1]), [])
        assert index.rows()["feature_version"].to_list() == ["features", ""]
        known = {row["user_id"]: row["tracks"] for row in index.of(["b", "a"], ["tracks"])}
        assert known == {"a": 5, "b": None}
        assert [user for user, _ in index.nearest(drawn(2)[1:], 2)[0]] == ["b", "a"]

    @pytest.mark.parametrize("about", [(True, "synthetic", 5, b"x"), (False, None, None, None), (True, "é", 0, b"")])
    def test_it_is_one_value_of_a_row(self, about: tuple[bool, str | None, int | None, bytes | None]) -> None:
        (value,) = packed([about])
        assert tuple(unpacked(value)[name] for name in TOLD) == about

    def test_an_index_that_is_held_stays_as_it_was(self, index: UserIndex) -> None:
        index.replace([1], told(["a"], drawn(1)))
        held_open = index.held()
        index.replace([1], told(["a", "b"], drawn(2)))
        assert (held_open.shown(), index.shown(), held_open.held(held_open).shown()) == (1, 2, 2)

    def test_one_that_was_held_and_never_asked_is_followed_when_its_version_is_gone(self, index: UserIndex) -> None:
        index.replace([1], told(["a"], drawn(1)))
        held_open = index.held()
        index.replace([1], told(["a", "b"], drawn(2)))
        index.optimise(timedelta(0))
        assert [row["user_id"] for row in held_open.held(held_open).of(["b"], ["tracks"])] == ["b"]


def told(users: Sequence[str], vectors: np.ndarray) -> pl.DataFrame:
    about = [pl.lit(value).alias(name) for name, value in ABOUT.items()]
    return rows(users, 1, vectors).with_columns(*about, opted_in=pl.col("user_id") != "private")


@pytest.mark.medium
class TestLarge:
    """With `EXACT_ROWS` lowered: beyond it an IVF index answers."""

    COUNT, DIM, K = 20_000, 32, 10

    @pytest.fixture
    def clustered(self) -> np.ndarray:
        rng = np.random.default_rng(5)
        centres = rng.normal(size=(100, self.DIM))
        return (centres[rng.integers(0, 100, self.COUNT)] + 0.5 * rng.normal(size=(self.COUNT, self.DIM))).astype("f4")

    def recall(self, index: UserIndex, users: Sequence[str], vectors: np.ndarray, queries: np.ndarray) -> float:
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        true = np.argsort(-(queries @ unit.T), axis=1)[:, : self.K]
        answers = index.nearest(queries, self.K)
        hits = [
            len({user for user, _ in answer} & {users[place] for place in places})
            for answer, places in zip(answers, true, strict=True)
        ]
        return sum(hits) / (self.K * len(queries))

    @pytest.mark.slow
    def test_recall_and_rows_added_since(
        self, index: UserIndex, clustered: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vectors_module, "EXACT_ROWS", 5_000)
        users = [f"user-{number:05d}" for number in range(self.COUNT)]
        buckets = [number % 8 for number in range(self.COUNT)]
        index.replace(range(8), rows(users, buckets, clustered))
        index.optimise()
        table = index._table()
        indexed = {found.columns[0]: found.index_type for found in table.list_indices()}
        # A bit per coordinate is too little for so short vectors: a byte is taken.
        assert indexed == {"user_id": "BTree", "shown_as": "BTree", "vector": "IvfSq"}
        assert table.index_stats("vector_idx").distance_type == METRIC
        assert table.index_stats("vector_idx").num_indexed_rows == self.COUNT
        queries = clustered[::100]
        assert self.recall(index, users, clustered, queries) >= 0.95
        plan = table.search(queries[0]).distance_type(METRIC).limit(self.K).explain_plan()
        assert "ANN" in plan

        added = (clustered[:50] + 10 * drawn(50, self.DIM, seed=8)).astype("f4")
        new = [f"new-{number:02d}" for number in range(50)]
        index.replace([9], rows(new, 9, added))
        assert table.index_stats("vector_idx").num_indexed_rows == self.COUNT
        assert [answer[0][0] for answer in index.nearest(added, 1)] == new
        index.optimise()
        assert index._table().index_stats("vector_idx").num_unindexed_rows == 0
        assert [answer[0][0] for answer in index.nearest(added, 1)] == new
        assert self.recall(index, [*users, *new], np.concatenate([clustered, added]), queries) >= 0.95
        assert index.rows().height == self.COUNT + 50

        index.replace([9], rows(new[:5], 9, added[:5], content=2))
        index.replace([0], rows([], 0, added[:0]))
        assert index.rows().height == self.COUNT * 7 // 8 + 5
        gone = {user for user, bucket in zip(users, buckets, strict=True) if bucket == 0} | set(new[5:])
        assert not gone & {user for answer in index.nearest(queries, self.K) for user, _ in answer}

    def test_a_run_that_was_killed_before_it_measured_leaves_the_choice_to_the_next(
        self, index: UserIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vectors_module, "EXACT_ROWS", 100)
        index.replace([1], rows([f"user-{number:04d}" for number in range(3_000)], 1, drawn(3_000)))
        index._table().create_index("vector", config=IvfRq(distance_type=METRIC))
        users = index.rows()["user_id"].sample(50, seed=1).to_list()
        assert index.recall(users, 10) < vectors_module.RECALL
        index.optimise()
        assert index.recall(users, 10) >= vectors_module.RECALL
        chosen = index.approximation()
        index.optimise()
        assert index.approximation() == chosen

    @pytest.mark.parametrize("gone", ["user-000", "user-150", "user-299"])
    def test_who_is_expunged_is_in_no_index_either(
        self, index: UserIndex, gone: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vectors_module, "EXACT_ROWS", 100)
        users = [f"user-{number:03d}" for number in range(300)]
        index.replace([1], rows(users, 1, drawn(300, 64)))
        index.optimise()
        assert {part.split("/")[0] for part in named_in(index, gone)} == {"data", "_indices"}
        assert index.expunge(gone) == 1
        assert named_in(index, gone) == []
        assert len(index.beginning_with("user", [], 500)) == 299

    def test_files_of_a_few_rows_are_joined_before_there_are_many(
        self, index: UserIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vectors_module, "EXACT_ROWS", 100)
        monkeypatch.setattr(upkeep, "FRAGMENT_ROWS", 50)  # those of the first rows are large
        index.replace([1], rows([f"user-{number:03d}" for number in range(300)], 1, drawn(300)))
        assert index.fold()
        before, fragments = index.approximation(), []
        for number in range(12):
            index.merge(rows([f"new-{number:02d}"], 1, drawn(1, seed=number)), [])
            assert not index.fold()
            fragments.append(index._table().stats()["fragment_stats"]["num_fragments"])
        assert max(fragments) <= SMALL_FRAGMENTS + 1
        assert index.approximation() == before
        assert index.nearest(drawn(1, seed=7), 1)[0][0][0] == "new-07"

    def test_few_rows_are_searched_exactly(self, index: UserIndex) -> None:
        vectors = drawn(2_000)
        users = [f"user-{number:04d}" for number in range(2_000)]
        for bucket in range(4):
            index.replace([bucket], rows(users[bucket::4], bucket, vectors[bucket::4]))
        index.optimise()
        assert index._table().list_indices() == []
        for query in vectors[:20]:
            (answer,) = index.nearest(query[None], 10)
            assert [user for user, _ in answer] == [user for user, _ in exact(users, vectors, query, 10)]
