"""Answers from memory are those that the tables give."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from samples.app_world import PRIVATE, user_id
from spotify_dag.app.snapshot import Snapshot
from spotify_dag.matching.explain import Explanation, explain
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.matching.taste import Taste
from spotify_dag.project import Project
from spotify_dag.schemas import USER_TASTES
from spotify_dag.settings import Settings
from spotify_dag.stores import user_index
from spotify_dag.stores.rows_in_memory import RowsInMemory

pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def project(world: Path) -> Project:
    return Project.open(Settings(data=world, n_buckets=2))


@pytest.fixture(scope="module", params=[user_index.MEMORY_ROWS, 0], ids=["in memory", "from the index"])
def snapshot(project: Project, request: pytest.FixtureRequest) -> Iterator[Snapshot]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_index, "MEMORY_ROWS", request.param)
        read = Snapshot.read(project)
        assert isinstance(read.index, RowsInMemory) == (request.param > 0)
        yield read


def everybody(snapshot: Snapshot) -> list[str]:
    index = snapshot.index
    return list(index.columns["user_id"]) if isinstance(index, RowsInMemory) else index.rows()["user_id"].to_list()


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
            others = [user for user in everybody(snapshot) if user != user_id(number)]
            wanted = explain(tastes, user_id(number), others, limit)
            me, people = snapshot.person(user_id(number)).taste, snapshot.people(others)
            found = [me.explain(people[user].taste, limit) for user in others]
            assert [lists(why) for why in found] == [lists(why) for why in wanted]
            assert any(why.shared_artists for why in found)

    def test_somebody_new_is_explained_by_rows_of_their_own(self, project: Project, snapshot: Snapshot) -> None:
        mine = project.lake.scan(USER_TASTES).filter(pl.col("user_id") == user_id(7)).collect()
        assert Taste.of_rows(mine.sample(fraction=1, shuffle=True, seed=0)) == snapshot.person(user_id(7)).taste


class TestMatches:
    def test_they_are_those_of_the_index_but_for_whom_nobody_may_see(
        self, project: Project, snapshot: Snapshot
    ) -> None:
        for number in (0, 7, 11):
            version, (wanted,) = project.matcher.recommend([user_id(number)], 29)
            found = snapshot.matches(snapshot.person(user_id(number)), 29)
            shown = [match.user_id for match in wanted if match.user_id != PRIVATE]
            assert [match.user_id for match in found] == shown
            assert {match.source for match in found} == {"synthetic"}
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
        people = [snapshot.person(everybody(snapshot)[row], shown=False) for row in (3, 3, 7, 12)]
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
        public = set(everybody(snapshot)) - {PRIVATE}
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
        nearest = near[0].user_id
        # What other threads had begun is there only after somebody was hidden.
        assert {user, nearest} <= set(snapshot.taste_map["user_ids"])
        begun = {name: snapshot.__dict__[name] for name in ("_map", "_examples")}
        for hidden in {user, nearest}:
            snapshot.hide(hidden)
        snapshot.__dict__.update(begun)
        assert not {user, nearest} & set(snapshot.taste_map["user_ids"])
        assert not {user, nearest} & {listener["user_id"] for listener in snapshot.listeners("", 100)}
        told = [match.user_id for match in snapshot.explained(me, near)]
        assert told == [other.user_id for other in near if other.user_id not in (user, nearest)]

    def test_somebody_who_is_hidden_is_no_example_and_not_offered(self, project: Project) -> None:
        snapshot = Snapshot.read(project)
        hidden = snapshot.listeners("", 1)[0]["user_id"]
        assert snapshot.listeners(hidden, 1)
        snapshot.hide(hidden)
        assert snapshot.listeners(hidden, 1) == []
        assert hidden not in [listener["user_id"] for listener in snapshot.listeners("", 50)]

    def test_the_map_shows_all_who_may_be_shown(self, snapshot: Snapshot) -> None:
        found = snapshot.taste_map
        assert sorted(found["user_ids"]) == sorted(set(everybody(snapshot)) - {PRIVATE})
        assert {len(found[name]) for name in ("x", "y", "genre")} == {29}
        assert all(0 <= value <= 1 for name in ("x", "y") for value in found[name])
        assert max(found["genre"]) < len(found["genres"])
