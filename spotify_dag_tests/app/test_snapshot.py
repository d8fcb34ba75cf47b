"""Answers from memory are those that the tables give."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from samples.app_world import PRIVATE, user_id
from spotify_dag.app import snapshot as snapshot_module
from spotify_dag.app.snapshot import Person, Snapshot, highest
from spotify_dag.app.taste_rows import Tastes
from spotify_dag.matching.explain import Explanation, explain
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.project import Project
from spotify_dag.schemas import USER_TASTES, user_buckets
from spotify_dag.settings import Settings
from spotify_dag.stores.lake import Lake

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def project(world: Path) -> Project:
    return Project.open(Settings(data=world, n_buckets=2))


@pytest.fixture(scope="module")
def snapshot(project: Project) -> Snapshot:
    return Snapshot.read(project)


def lists(why: Explanation) -> list[list[tuple[object, ...]]]:
    """Return an explanation as plain lists, weights to six digits."""
    return [
        [tuple(round(part, 6) if isinstance(part, float) else part for part in entry) for entry in part]
        for part in (why.shared_genres, why.shared_artists, why.shared_eras, why.new_to_you)
    ]


class TestExplanations:
    @pytest.mark.parametrize("limit", [None, 4])
    def test_they_are_those_of_the_tables(self, project: Project, snapshot: Snapshot, limit: int | None) -> None:
        tastes = project.lake.scan(USER_TASTES).collect()
        for number in (0, 7, 11):
            others = [user for user in snapshot.user_ids if user != user_id(number)]
            wanted = explain(tastes, user_id(number), others, limit)
            me = snapshot.tastes.of(snapshot.row_of[user_id(number)])
            found = snapshot.tastes.explain(me, [snapshot.tastes.of(snapshot.row_of[user]) for user in others], limit)
            assert [lists(why) for why in found] == [lists(why) for why in wanted]
            assert any(why.shared_artists for why in found)

    def test_somebody_new_is_explained_by_rows_of_their_own(self, project: Project, snapshot: Snapshot) -> None:
        mine = project.lake.scan(USER_TASTES).filter(pl.col("user_id") == user_id(7)).collect()
        strange = mine.head(1).with_columns(pl.lit("artist").alias("kind"), pl.lit("nobody knows them").alias("name"))
        taste = snapshot.tastes.of_rows(pl.concat([mine, strange]))
        assert taste.codes.tolist() == snapshot.tastes.of(snapshot.row_of[user_id(7)]).codes.tolist()

    def test_no_listening_at_all(self, tmp_path: Path) -> None:
        users = pl.DataFrame({"user_bucket": [0], "user_id": ["a"]}, schema_overrides={"user_bucket": pl.Int32})
        tastes = Tastes.read(Lake(tmp_path, 1), users)
        assert lists(tastes.explain(tastes.of(0), [tastes.of(0)])[0]) == [[], [], [], []]
        assert tastes.dominant_genre() == [None]


@pytest.mark.parametrize("count", [0, 1, 3, 40, 200])
@pytest.mark.parametrize("values", [3, 10**6])
def test_no_score_outside_is_higher_than_the_highest(count: int, values: int) -> None:
    rng = np.random.default_rng(count)
    for size in (200, 203, 2_000):
        scores = rng.integers(0, values, size).astype(np.float32)
        scores[rng.random(size) < 0.3] = -np.inf
        places = highest(scores, min(count, size))
        seen = int((scores > -np.inf).sum())
        assert min(count, seen) <= len(places) <= seen
        assert np.isfinite(scores[places]).all()
        others = np.delete(scores, places)
        assert not count or len(places) == seen or others.max() < scores[places].min()
        # Of many scores that all differ, few are told beside those that were asked for.
        assert values == 3 or size < 2_000 or len(places) <= 1.3 * count + 8


class TestMatches:
    def test_they_are_those_of_the_index_but_for_whom_nobody_may_see(
        self, project: Project, snapshot: Snapshot
    ) -> None:
        for number in (0, 7, 11):
            version, (wanted,) = project.matcher.recommend([user_id(number)], 29)
            found = snapshot.matches(snapshot.person(user_id(number)), 29)
            shown = [match.user_id for match in wanted if match.user_id != PRIVATE]
            assert [match.user_id for match in found] == shown
            assert len(found) == 28
            assert version == snapshot.model_version
            for one, other in zip(found, [match for match in wanted if match.user_id != PRIVATE], strict=True):
                assert one.score == pytest.approx(other.score, abs=1e-5)
                assert one.percent == pytest.approx(other.percent, abs=1e-2)
                assert one.confidence == pytest.approx(other.confidence)

    def test_whoever_is_not_shown_cannot_be_told_from_nobody(self, snapshot: Snapshot) -> None:
        said = []
        for user in (PRIVATE, "synthetic-999999"):
            with pytest.raises(UnknownUserError) as told:
                snapshot.person(user)
            said.append(str(told.value).replace(user, ""))
        assert said[0] == said[1]
        assert len(snapshot.matches(snapshot.person(PRIVATE, shown=False), 50)) == 29

    def test_artists_in_common_at_least(self, snapshot: Snapshot) -> None:
        me = snapshot.person(user_id(7))
        everybody = snapshot.matches(me, 29, limit=None)
        for least in (1, 2, 4):
            wanted = [match.user_id for match in everybody if len(match.why.shared_artists) >= least]
            assert [match.user_id for match in snapshot.matches(me, 29, min_shared=least)] == wanted
        assert snapshot.matches(me, 29, min_shared=500) == []

    def test_asked_together_all_are_answered_as_alone(self, snapshot: Snapshot) -> None:
        people = [snapshot.person(snapshot.user_ids[row], shown=False) for row in (3, 3, 7, 12)]
        together = snapshot.nearest(people, 5)
        for person, near in zip(people, together, strict=True):
            assert snapshot.explained(person, near) == snapshot.matches(person, 5)

    def test_a_comparison_seen_from_both_sides(self, snapshot: Snapshot) -> None:
        one, other = snapshot.person(user_id(7)), snapshot.person(user_id(11))
        match, mirrored = snapshot.compare(one, other)
        back, _ = snapshot.compare(other, one)
        assert match.score == pytest.approx(back.score)
        assert mirrored.new_to_you == back.why.new_to_you

    def test_listeners_to_choose_are_those_who_are_shown(self, project: Project, snapshot: Snapshot) -> None:
        tastes = project.lake.scan(USER_TASTES).filter(pl.col("kind") == "genre").collect()
        heaviest = tastes.sort("weight", "name", descending=[True, False])
        public = [user for row, user in enumerate(snapshot.user_ids) if snapshot.public[row]]
        for beginning in ("synthetic-00000", user_id(1)[:-1].upper(), "nobody"):
            wanted = sorted(user for user in public if user.startswith(beginning.lower()))
            found = snapshot.listeners(beginning, 50)
            assert [listener["user_id"] for listener in found] == wanted
            assert len(snapshot.listeners(beginning, 2)) == min(2, len(wanted))
            for listener in found:
                theirs = heaviest.filter(pl.col("user_id") == listener["user_id"])["name"].head(3)
                assert listener["genres"] == theirs.to_list()
        assert PRIVATE not in [listener["user_id"] for listener in snapshot.listeners("", 50)]

    def test_examples_differ_in_the_genre_they_prefer(self, snapshot: Snapshot) -> None:
        examples = snapshot.listeners("", 3)
        assert len({listener["genres"][0] for listener in examples}) == len(examples) == 3

    def test_somebody_hidden_at_the_very_moment_is_in_nothing_that_is_told(self, project: Project) -> None:
        snapshot = Snapshot.read(project)
        me = snapshot.person(user_id(7))
        (near,), user = snapshot.nearest([me], 5), snapshot.listeners("", 1)[0]["user_id"]
        nearest = snapshot.user_ids[near.rows[0]]
        # What other threads had begun is there only after somebody was hidden.
        assert {user, nearest} <= set(snapshot.taste_map["user_ids"])
        begun = {name: snapshot.__dict__[name] for name in ("_map", "_examples")}
        for hidden in {user, nearest}:
            snapshot.hide(hidden)
        snapshot.__dict__.update(begun)
        assert not {user, nearest} & set(snapshot.taste_map["user_ids"])
        assert not {user, nearest} & {listener["user_id"] for listener in snapshot.listeners("", 100)}
        told = [match.user_id for match in snapshot.explained(me, near)]
        assert told == [who for who in map(snapshot.user_ids.__getitem__, near.rows) if who not in (user, nearest)]

    def test_somebody_who_is_hidden_is_no_example_and_not_offered(self, project: Project) -> None:
        snapshot = Snapshot.read(project)
        hidden = snapshot.listeners("", 1)[0]["user_id"]
        assert snapshot.listeners(hidden, 1)
        snapshot.hide(hidden)
        assert snapshot.listeners(hidden, 1) == []
        assert hidden not in [listener["user_id"] for listener in snapshot.listeners("", 50)]

    def test_the_map_shows_all_who_may_be_shown(self, snapshot: Snapshot) -> None:
        found = snapshot.taste_map
        assert sorted(found["user_ids"]) == sorted(set(snapshot.user_ids) - {PRIVATE})
        assert {len(found[name]) for name in ("x", "y", "genre")} == {29}
        assert all(0 <= value <= 1 for name in ("x", "y") for value in found[name])
        assert max(found["genre"]) < len(found["genres"])


class TestManyUsers:
    def test_by_principal_axes_first_the_nearest_are_found_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(snapshot_module, "EXACT_ROWS", 1_000)
        rng = np.random.default_rng(0)
        users, dim = 20_000, 256
        # As user vectors are: variance falls off from direction to direction, and never to zero.
        vectors = (rng.normal(size=(users, dim)) * (np.arange(dim) + 1) ** -0.5).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        axes = snapshot_module._principal_axes(vectors)
        nobody = Tastes([], (0, 0, 0), np.zeros(users + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        ids = [f"u{number}" for number in range(users)]
        one = Snapshot(
            "v", "f", None, ids, np.ones(users, bool), [""] * users, np.ones(users, np.int64), vectors, axes,
            vectors @ axes, nobody, np.zeros(users, np.int64),
        )  # fmt: skip
        assert axes.shape == (dim, 64)
        hits = 0
        for row in range(50):
            wanted = np.argsort(-np.where(np.arange(users) == row, -9, vectors @ vectors[row]))[:10]
            (near,) = one.nearest([Person(vectors[row], nobody.of(row), 1, row)], 10)
            hits += len(set(near.rows) & set(wanted))
        assert hits >= 499

    def test_users_are_in_the_buckets_they_are_sorted_by(self, snapshot: Snapshot) -> None:
        buckets = user_buckets(snapshot.user_ids, 2)
        assert buckets == sorted(buckets)
