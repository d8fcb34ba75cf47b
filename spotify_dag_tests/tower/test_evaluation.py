"""Evaluation: a representation that knows everything, one that knows nothing, and what must not change a number."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from spotify_dag.tower.evaluation import (
    COLD_ITEMS,
    HOLD_OUT,
    LEAST_HELD_OUT,
    Dataset,
    Encoders,
    EvaluationError,
    Training,
    dataset,
    evaluate,
    held_out,
    measure,
)
from spotify_dag.tower.metrics import NEAREST, TOP
from spotify_dag.tower.user_baselines import baselines, tower
from spotify_dag.tower.views import UserData
from spotify_dag_tests.tower.worlds import QUICK, listeners

NO_FRIENDS = np.empty((0, 2), np.int64)
METRICS = {
    "hit@1", "hit@10", "mrr", "friend_auc", f"neighbour_ndcg@{TOP}", f"neighbour_recall@{TOP}", "hubness", "coverage",
    "popularity_correlation",
}  # fmt: skip
BLOCKS, USERS = 4, 60
COSINE = "raw-count cosine"


def some_listeners(*, own: bool = True, prefix: str = "user", noise: int = 0, strangers: int = 0) -> UserData:
    """Return users of four blocks with two to five lists each, with an artist of their ``own`` in each list.

    ``noise`` users listen to artists of all blocks; ``strangers`` have a single item.
    """
    rng = np.random.default_rng(5)
    lists = {
        f"{prefix} {number:03}": [
            [*[f"own {number}"] * own, *(f"artist {number % BLOCKS}-{rng.integers(30)}" for _ in range(12))]
            for _ in range(2 + number // BLOCKS % 4)
        ]
        for number in range(USERS)
    }
    lists |= {
        f"{prefix} noise {number}": [
            [f"artist {rng.integers(BLOCKS)}-{rng.integers(30)}" for _ in range(12)] for _ in range(2)
        ]
        for number in range(noise)
    }
    lists |= {f"{prefix} stranger {number}": [["artist 0-0"]] for number in range(strangers)}
    genres = {f"artist {block}-{number}": [f"genre {block}-{number % 3}"] for block in range(4) for number in range(30)}
    return listeners(lists, genres)


def world_of(data: UserData, *, seed: int = 0, friends: np.ndarray = NO_FRIENDS) -> Dataset:
    return dataset(data, halvings=("playlist",), friends=friends, seed=seed)


@pytest.fixture(scope="module")
def users() -> Dataset:
    """Sixty users in four blocks; all pairs within the first block are friends."""
    block = range(0, USERS, BLOCKS)
    return world_of(some_listeners(), friends=np.array([(a, b) for a in block for b in block if a < b]))


def constant(_: Training) -> Encoders:
    return Encoders.both(lambda sample: np.ones((len(sample.listening), 1), np.float32))


def own_artist(training: Training) -> Encoders:
    """Know everybody by the artist that nobody else has."""
    mine = np.array([name.startswith("own") for name in training.users.catalogue.artists.names])
    return Encoders.both(lambda sample: (sample.counts[:, mine] > 0).astype(np.float32))


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = rows
    return row


class TestKnownAnswers:
    @pytest.mark.medium
    def test_who_knows_everybody_finds_everybody(self, users: Dataset) -> None:
        row = only(evaluate([users], {"own": own_artist}, folds=3))
        assert (row["mrr"], row["hit@1"], row["hit@10"]) == (1, 1, 1)
        assert row["std"]["mrr"] == 0
        assert row["by"]["cold"]["mrr"] > 0.7, "ten of thirteen items are drawn: the own artist is mostly among them"

    def test_who_knows_nobody_gets_the_rank_of_a_tie(self, users: Dataset) -> None:
        row = only(evaluate([users], {"constant": constant}, folds=3))
        assert row["mrr"] == pytest.approx(2 / (USERS + 1))
        assert (row["hit@1"], row["hit@10"]) == (0, 0)
        assert row["friend_auc"] == 0.5

    def test_popularity_shows_everybody_the_same(self, users: Dataset) -> None:
        everybody = np.arange(USERS)
        encoders = baselines()["popularity"](users.fit_on(everybody))
        assert (encoders.query(users.first) == 1).all()
        found = measure(users, encoders, everybody)
        # Each is shown the same ten, but for themselves: eleven in all.
        assert found["coverage"] == pytest.approx((NEAREST + 1) / USERS)
        assert found["friend_auc"] < 0.9

    def test_friends_are_told_by_what_they_share(self, users: Dataset) -> None:
        row = only(evaluate([users], {"cosine": baselines()[COSINE]}, folds=3))
        # A quarter of random pairs is of one block, as friends are.
        assert 0.7 < row["friend_auc"] < 1

    def test_neighbours_recommend_what_the_other_half_holds(self, users: Dataset) -> None:
        rows = evaluate([users], {"cosine": baselines()[COSINE], "constant": constant}, folds=3)
        ndcg, recall = ([row[f"neighbour_{name}@{TOP}"] for row in rows] for name in ("ndcg", "recall"))
        assert ndcg[0] > ndcg[1] + 0.1
        assert recall[0] > recall[1] + 0.1
        assert recall[0] > 0.8


@pytest.mark.medium
class TestGroups:
    def test_by_activity_and_cold(self, users: Dataset) -> None:
        row = only(evaluate([users], {"cosine": baselines()[COSINE]}, folds=3))
        assert set(row) == METRICS | {"model", "std", "by", "fit_seconds"}
        assert set(row["by"]) == {"activity_q1", "activity_q2", "activity_q3", "activity_q4", "cold"}
        for group in row["by"].values():
            assert set(group) == METRICS
        assert row["by"]["cold"]["mrr"] < row["mrr"]

    def test_groups_are_all_of_the_test_users(self, users: Dataset) -> None:
        everybody = np.arange(USERS)
        found = measure(users, baselines()[COSINE](users.fit_on(everybody)), everybody)
        tracks = users.whole.listening.tracks
        sizes = np.unique(tracks, return_counts=True)[1]
        assert len(sizes) == 4
        mean = sum(found["by"][f"activity_q{number + 1}"]["mrr"] * sizes[number] for number in range(4)) / USERS
        assert mean == pytest.approx(found["mrr"])

    def test_cold_is_few_items_of_the_half_that_asks(self, users: Dataset) -> None:
        assert users.cold.listening.tracks.tolist() == [COLD_ITEMS] * USERS
        assert ((users.first.counts - users.cold.counts).toarray() >= 0).all()
        assert (users.first.counts + users.second.counts != users.whole.counts).nnz == 0

    def test_text_only_is_measured_where_there_is_text(self, users: Dataset) -> None:
        models = {name: baselines()[name] for name in ("genre text mean", "iALS")}
        text, ials = evaluate([users], models, folds=3)
        assert "text_only" not in ials["by"]
        # A mean of texts is the same whether artists are known or not.
        assert text["by"]["text_only"] == {name: text[name] for name in METRICS}

    def test_a_tower_knows_users_by_text_alone(self, users: Dataset) -> None:
        row = only(evaluate([users], {"tower": tower(dataclasses.replace(QUICK, epochs=2))}, folds=2))
        chance = sum(1 / rank for rank in range(1, USERS + 1)) / USERS
        assert row["mrr"] > 2 * chance
        assert row["by"]["text_only"]["mrr"] > 2 * chance
        assert row["by"]["text_only"]["mrr"] != row["mrr"]
        assert row["fit_seconds"] > 0


class TestFolds:
    def test_nothing_is_fitted_on_whom_it_is_tested_on(self, users: Dataset) -> None:
        names = users.catalogue.artists.names
        own = np.array([names.index(f"own{number}") for number in range(USERS)])
        seen = []

        def spy(training: Training) -> Encoders:
            known = np.asarray(training.counts.sum(axis=0)).ravel()[own] > 0
            halved = [side.artists for pair in training.users.halves for side in pair]
            for artists in (training.users.whole.artists, *halved):
                assert np.array_equal(np.asarray(artists.sum(axis=0)).ravel()[own] > 0, known)
            seen.append(known)
            return constant(training)

        heard: list[tuple[str, int, int]] = []
        evaluate([users], {"spy": spy}, folds=3, progress=lambda *one: heard.append(one))
        assert heard == [("spy", 0, number) for number in range(3)]
        # Every user is tested once and trained on otherwise.
        assert np.sum(seen, axis=0).tolist() == [2] * USERS
        assert [known.sum() for known in seen] == [USERS - USERS // 3] * 3

    def test_halvings_to_train_on_are_not_the_one_tested(self, users: Dataset) -> None:
        first, second = users.training.halves[0]
        for half in (users.first, users.second):
            same = [(side.artists != half.listening.artists).nnz == 0 for side in (first, second)]
            assert same == [False, False]

    def test_too_few_users(self, users: Dataset) -> None:
        few = world_of(dataclasses.replace(some_listeners(), users=some_listeners().users.head(5)))
        with pytest.raises(EvaluationError, match=r"^5 users have listening that can be split in two; 3 folds need 6"):
            evaluate([few], {"constant": constant}, folds=3)

    @pytest.mark.medium
    def test_means_and_deviations_are_over_folds_and_seeds(self) -> None:
        data = some_listeners()
        seeds = [world_of(data, seed=seed) for seed in (0, 1)]
        model = {"cosine": baselines()[COSINE]}
        both = only(evaluate(seeds, model, folds=2))
        alone = [only(evaluate([one], model, folds=2)) for one in seeds]
        assert alone[0]["mrr"] != alone[1]["mrr"]
        assert both["mrr"] == pytest.approx(np.mean([row["mrr"] for row in alone]))
        spread = [row["std"]["mrr"] ** 2 + (row["mrr"] - both["mrr"]) ** 2 for row in alone]
        assert both["std"]["mrr"] == pytest.approx(np.sqrt(np.mean(spread)))


@pytest.mark.medium
class TestWhatMustNotMatter:
    MODELS = ("raw-count cosine", "TF-IDF cosine", "genre text mean")

    @classmethod
    def rows(cls, data: UserData) -> list[dict[str, Any]]:
        models = {name: baselines()[name] for name in cls.MODELS}
        return evaluate([world_of(data, seed=seed) for seed in range(4)], models, folds=3)

    @pytest.fixture(scope="class")
    @classmethod
    def expected(cls) -> list[dict[str, Any]]:
        return cls.rows(some_listeners(own=False))

    def near(self, found: list[dict[str, Any]], expected: list[dict[str, Any]], within: float = 1) -> None:
        for one, other in zip(found, expected, strict=True):
            for name in METRICS - {"friend_auc"}:
                assert abs(one[name] - other[name]) <= within * other["std"][name] + 1e-6, (one["model"], name)

    def test_the_order_of_users(self, expected: list[dict[str, Any]]) -> None:
        data = some_listeners(own=False)
        shuffled = dataclasses.replace(
            data,
            users=data.users.sample(fraction=1, shuffle=True, seed=1),
            raw=data.raw.sample(fraction=1, shuffle=True, seed=2),
        )
        found = self.rows(shuffled)
        self.near(found, expected)
        # Folds of one size: who is in which does not matter where nothing is fitted.
        assert found[0]["mrr"] == pytest.approx(expected[0]["mrr"])

    def test_what_users_are_called(self, expected: list[dict[str, Any]]) -> None:
        self.near(self.rows(some_listeners(own=False, prefix="listener")), expected)

    def test_somebody_who_listens_to_everything(self, expected: list[dict[str, Any]]) -> None:
        # One in sixty: more would lower the means by being hard to find themselves. Folds are drawn anew, too.
        self.near(self.rows(some_listeners(own=False, noise=1)), expected, within=2)

    def test_users_who_cannot_be_asked_about(self, expected: list[dict[str, Any]]) -> None:
        found = self.rows(some_listeners(own=False, strangers=7))
        for name in ("mrr", "hit@1", "hit@10", "coverage", "hubness"):
            assert found[0][name] == pytest.approx(expected[0][name]), name


@pytest.mark.medium
def test_rows_are_plain_values(users: Dataset) -> None:
    rows = evaluate([users], baselines(), folds=2)
    assert [row["model"] for row in rows] == [name for name in baselines() if not name.startswith("seed ")]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_without_friends_there_is_no_friend_auc() -> None:
    row = only(evaluate([world_of(some_listeners())], {"constant": constant}, folds=2))
    assert np.isnan(row["friend_auc"])
    assert np.isnan(row["std"]["friend_auc"])


class TestHeldOut:
    IDS = tuple(f"user {number}" for number in range(5_000))

    def test_about_one_in_ten(self) -> None:
        assert held_out(self.IDS).mean() == pytest.approx(1 / HOLD_OUT, abs=0.02)

    def test_the_same_users_whoever_else_there_is(self) -> None:
        whole = dict(zip(self.IDS, held_out(self.IDS).tolist(), strict=True))
        some = self.IDS[4_000:2_000:-1]
        assert held_out(some).tolist() == [whole[user] for user in some]
        # This is what it said when it was written: a champion was trained on the others.
        assert [user for user in self.IDS[:60] if whole[user]] == [
            "user 6",
            "user 39",
            "user 41",
            "user 42",
            "user 52",
            "user 55",
            "user 56",
        ]

    def test_nobody_where_they_would_be_too_few(self) -> None:
        chosen = [user for user, held in zip(self.IDS, held_out(self.IDS), strict=True) if held]
        assert held_out(chosen[:LEAST_HELD_OUT]).all()
        assert not held_out(chosen[: LEAST_HELD_OUT - 1]).any()
        assert held_out([]).tolist() == []
