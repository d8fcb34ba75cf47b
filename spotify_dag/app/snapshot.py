"""One version of the published user index: what every answer is given from.

A row of the index holds all that is told of a user. So an answer reads a few rows, whatever the number of users, and
the app holds none of them but those asked for last.

A request takes one snapshot and answers from nothing else, so it is wholly of one model version.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from spotify_dag.app.taste_map import placed
from spotify_dag.matching.explain import Explanation
from spotify_dag.matching.matcher import Match, UnknownUserError, asked_again
from spotify_dag.matching.taste import Taste
from spotify_dag.stores.index_copy import on_this_machine
from spotify_dag.stores.index_search import Found
from spotify_dag.stores.rows_in_memory import RowsInMemory
from spotify_dag.stores.user_index import UserIndex
from spotify_dag.tower.factors import unit
from spotify_dag.tower.score import ScoreScale

if TYPE_CHECKING:
    from spotify_dag.project import Project

SHORTLIST = 2_000
"""Where users must share artists, they are looked for among so many of the nearest: an artist costs time to compare."""
REMEMBERED = 2_000
"""Users whose rows are kept, the last ones asked for: some 6 KB each."""
MAP_GENRES = 10
MAP_USERS = 20_000
"""Users on the map: more points than that are not told apart."""
EXAMPLE_USERS = 2_000
"""Users that examples are chosen from."""
OFFERED = 1_000
"""Of users whose ids begin with a text, so many are looked at, to offer the first."""
GENRES_TOLD = 3
"""Of a user who is picked from a list."""
_TOLD = ("tracks", "source", "taste")
_HELD = (*_TOLD, "opted_in", "content_hash", "vector")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Person:
    """Somebody who asks: in the index, or new."""

    vector: np.ndarray
    """``[dim]`` float32, unit length."""
    taste: Taste
    tracks: int
    """Number of playlist items known."""
    user_id: str | None = None
    """None for somebody who has none."""
    source: str = ""
    content_hash: int = 0
    """What it was made from."""
    shown: bool = False
    """Whether others may be told of them."""

    @classmethod
    def of(cls, row: Found) -> Person:
        """Return who a row of the index is about."""
        return cls(
            unit(row["vector"][None])[0], Taste.unpacked(row["taste"]), row["tracks"] or 0, row["user_id"],
            row["source"] or "", row["content_hash"], bool(row["opted_in"]),
        )  # fmt: skip


@dataclass(frozen=True)
class Near:
    """A user who is like somebody."""

    user_id: str
    score: float
    """Cosine of the two vectors."""
    tracks: int
    source: str
    packed: bytes | None = None
    """The taste, as the index has it; few of those who are found are told."""
    revised: Taste | None = None
    """The taste of somebody who changed what they leave out."""

    @cached_property
    def taste(self) -> Taste:
        """What they listen to."""
        return Taste.unpacked(self.packed) if self.revised is None else self.revised


@dataclass(frozen=True)
class Snapshot:
    """The users of one model version, in the index at one time."""

    model_version: str
    feature_version: str
    scale: ScoreScale
    index: UserIndex | RowsInMemory
    """Its rows in memory where they are few; else it is held open."""
    revised: Mapping[str, Person | None] = field(default_factory=dict)
    """Users who changed what they leave out since they were indexed, as they are now; None where nothing is left. The
    next run writes the same into the index."""
    hidden: set[str] = field(default_factory=set)
    """Users who were forgotten since."""
    _rows: OrderedDict[str, Person] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def read(cls, project: Project, before: Snapshot | None = None) -> Snapshot:
        """Return what is published now; with what one ``before`` has in memory of it.

        Raises
        ------
        NoModelError
            If nothing is published yet.
        """
        index, scale = project.matcher.index()
        known = before.index if before is not None and isinstance(before.index, UserIndex) else None
        index = on_this_machine(index, project.index_copies).held(known)
        answering = index.in_memory() or index
        return cls(index.model_version, answering.feature_version(), scale, answering)

    def with_revised(self, revised: Mapping[str, Person | None]) -> Snapshot:
        """Return the same users with these in the place of what is indexed. The map stays until it is read anew."""
        copy = replace(self, revised=revised)
        copy.__dict__.update({name: self.__dict__[name] for name in ("_map", "users") if name in self.__dict__})
        return copy

    def hide(self, user_id: str) -> None:
        """Show a user to nobody any more: they were forgotten, and what is read next is without them.

        What another thread finds or makes at this moment may still hold them: who uses it looks at ``hidden`` again.
        """
        self.hidden.add(user_id)
        with self._lock:
            self._rows.pop(user_id, None)

    @cached_property
    def users(self) -> int:
        """The number of users who are shown."""
        return self._asked(lambda index: index.shown())

    def people(self, user_ids: Sequence[str]) -> dict[str, Person]:
        """Return those of some users who are in the index, shown or not, as they are now."""
        with self._lock:
            people = {user: self._rows[user] for user in user_ids if user in self._rows}
            for user in people:
                self._rows.move_to_end(user)
        missing = sorted({user for user in user_ids if user not in people})
        if missing:
            rows = self._asked(lambda index: index.of(missing, _HELD))
            new = {row["user_id"]: Person.of(row) for row in rows}
            with self._lock:
                self._rows.update((user, person) for user, person in new.items() if user not in self.hidden)
                while len(self._rows) > REMEMBERED:
                    self._rows.popitem(last=False)
            people |= new
        return {user: person for user, person in people.items() if user not in self.hidden}

    def person(self, user_id: str, *, shown: bool = True) -> Person:
        """Return a user of the index.

        Raises
        ------
        UnknownUserError
            If there is no such user or, where only those ``shown`` count, others must not be told of them: the two
            cannot be told apart.
        """
        return self._admitted(user_id, self.people([user_id]).get(user_id), shown)

    def is_shown(self, user_id: str) -> bool:
        """Return whether a user is known here, and others may be told of them."""
        person = self.people([user_id]).get(user_id)
        return person is not None and person.shown

    def _admitted(self, user_id: str, person: Person | None, shown: bool) -> Person:
        if person is None or (shown and not person.shown):
            raise UnknownUserError(
                f"Nobody called '{user_id[:80]}' can be shown here. "
                "Add new users in the app, with POST /api/v1/users, or with: spotify-dag add"
            )
        person = self.revised.get(user_id, person)
        if person is None:
            raise UnknownUserError(f"Everything that '{user_id[:80]}' listens to is left out. Undo some of it.")
        return person

    def matches(self, person: Person, k: int, *, min_shared: int = 0, limit: int | None = 10) -> list[Match]:
        """Return the ``k`` users most like somebody, best first: only those who opted in, and never themselves.

        Parameters
        ----------
        person
            Who asks.
        k
            At most this many.
        min_shared
            Only users with at least this many of the same artists, of the `SHORTLIST` nearest.
        limit
            Entries per list of an explanation.
        """
        return self.explained(person, self.nearest([person], k, min_shared)[0], limit)

    def matches_of(self, asking: Sequence[tuple[str, bool]], k: int) -> list[tuple[Person, list[Near]] | Exception]:
        """Return several users who ask, each with the ``k`` nearest; in their place, why there is no such user.

        Parameters
        ----------
        asking
            Of each the id, and whether only those who are shown count, as for `person`.
        k
            As for `matches`.
        """
        known = self.people([user for user, _ in asking])
        answers: list[Any] = []
        for user, shown in asking:
            try:
                answers.append(self._admitted(user, known.get(user), shown))
            except UnknownUserError as error:
                answers.append(error)
        people = [answer for answer in answers if isinstance(answer, Person)]
        near = iter(self.nearest(people, k) if people else [])
        return [(answer, next(near)) if isinstance(answer, Person) else answer for answer in answers]

    def explained(self, person: Person, near: Sequence[Near], limit: int | None = 10) -> list[Match]:
        """Return the users that `nearest` named as matches, with at most ``limit`` entries per list of reasons."""
        shown = [other for other in near if other.user_id not in self.hidden]
        return self._as_matches(person, shown, [person.taste.explain(other.taste, limit) for other in shown])

    def compare(self, person: Person, other: Person, limit: int | None = None) -> tuple[Match, Explanation]:
        """Return how somebody matches a user of the index, and why seen from the other side."""
        if other.user_id is None:
            raise ValueError("The other side must be a user of the index.")
        near = _near(other, float(person.vector @ other.vector))
        (match,) = self._as_matches(person, [near], [person.taste.explain(other.taste, limit)])
        return match, other.taste.explain(person.taste, limit)

    def rescored(self, matches: Sequence[Match], scores: np.ndarray) -> list[Match]:
        """Return matches with other scores, ``[matches]``."""
        percents = self.scale.percent(scores).tolist()
        return [
            replace(match, score=score, percent=percent)
            for match, score, percent in zip(matches, scores.tolist(), percents, strict=True)
        ]

    def _as_matches(self, person: Person, near: Sequence[Near], reasons: Sequence[Explanation]) -> list[Match]:
        scores = np.array([other.score for other in near], np.float64)
        trust = self.scale.confidence(person.tracks, np.array([other.tracks for other in near], np.int64))
        percents, confident = self.scale.percent(scores).tolist(), trust.tolist()
        return [
            Match(other.user_id, other.score, percent, confidence, why, other.source)
            for other, percent, confidence, why in zip(near, percents, confident, reasons, strict=True)
        ]

    def nearest(self, people: Sequence[Person], k: int, min_shared: int = 0) -> list[list[Near]]:
        """Return the ``k`` users nearest to each of several people who ask, as `matches` does for one.

        All are looked for at once: a search costs more to begin than to make.
        """
        if min_shared:
            return [self._nearest_of(person, k, min_shared) for person in people]
        spare = 1 + min(len(self.hidden) + len(self.revised), SHORTLIST)
        rows_of = self._searched(people, k + spare)
        answers = [self._without(person, rows) for person, rows in zip(people, rows_of, strict=True)]
        for number, (person, rows) in enumerate(zip(people, rows_of, strict=True)):
            if len(answers[number]) < k and len(rows) == k + spare:
                answers[number] = self._nearest_of(person, k, 0)
        return [self._with_revised(person, near, 0)[:k] for person, near in zip(people, answers, strict=True)]

    def _nearest_of(self, person: Person, k: int, min_shared: int) -> list[Near]:
        """Return the nearest of a shortlist, where not all of those who are found may be told."""
        (rows,) = self._searched([person], max(SHORTLIST, 2 * k))
        near = self._without(person, rows)
        if min_shared:
            near = [it for it in near if it.taste.shared_artists(person.taste) >= min_shared]
        return self._with_revised(person, near, min_shared)[:k]

    def _searched(self, people: Sequence[Person], k: int) -> list[list[Found]]:
        vectors = np.stack([person.vector for person in people])
        return self._asked(lambda index: index.search(vectors, k, _TOLD))

    def _without(self, person: Person, rows: Sequence[Found]) -> list[Near]:
        """Return who was found, but for who asks, who was forgotten, and who is another now."""
        gone = {person.user_id, *self.hidden, *self.revised}
        return [
            Near(row["user_id"], row["score"], row["tracks"] or 0, row["source"] or "", row["taste"])
            for row in rows
            if row["user_id"] not in gone
        ]

    def _with_revised(self, person: Person, near: list[Near], min_shared: int) -> list[Near]:
        """Return users with those who changed what they leave out, as they are now."""
        others = [
            other
            for user, other in self.revised.items()
            if other is not None and other.shown and user != person.user_id and user not in self.hidden
            and (not min_shared or other.taste.shared_artists(person.taste) >= min_shared)
        ]  # fmt: skip
        if not others:
            return near
        scores = np.stack([other.vector for other in others]) @ person.vector
        revised = [_near(other, score) for other, score in zip(others, scores.tolist(), strict=True)]
        return sorted([*near, *revised], key=lambda other: (-other.score, other.user_id))

    def listeners(self, beginning: str, k: int) -> list[dict[str, Any]]:
        """Return users who are shown and whose ids begin with a text, each with the ``genres`` that weigh most.

        For no text, examples of different tastes.
        """
        if not beginning:
            return [it for it in self._examples if it["user_id"] not in self.hidden][:k]
        rows = self._asked(lambda index: index.beginning_with(beginning, ("shown_as", "taste"), OFFERED))
        rows = sorted((row for row in rows if row["user_id"] not in self.hidden), key=lambda row: row["shown_as"])
        return [_listener(row["user_id"], self._taste(row)) for row in rows[:k]]

    @cached_property
    def _examples(self) -> list[dict[str, Any]]:
        """Of each of the commonest genres, the user who prefers it and has most tracks; among some users."""
        rows = self._asked(lambda index: index.sample(("tracks", "taste"), EXAMPLE_USERS))
        lovers: dict[str, list[Found]] = {}
        for row in sorted(rows, key=lambda row: (-(row["tracks"] or 0), row["user_id"])):
            for genre, _ in Taste.unpacked(row["taste"]).heaviest("genre", 1):
                lovers.setdefault(genre, []).append(row)
        common = sorted(lovers, key=lambda genre: (-len(lovers[genre]), genre))
        return [_listener(row["user_id"], self._taste(row)) for row in (lovers[genre][0] for genre in common)]

    def _taste(self, row: Found) -> Taste:
        revised = self.revised.get(row["user_id"])
        return Taste.unpacked(row["taste"]) if revised is None else revised.taste

    @property
    def taste_map(self) -> dict[str, Any]:
        """Users who are shown, on a plane: see `api_models.MapAnswer`. The plane is made once per snapshot."""
        gone = self.hidden
        if not gone.intersection(self._map["user_ids"]):
            return self._map
        left = [place for place, user in enumerate(self._map["user_ids"]) if user not in gone]
        parts = {name: [self._map[name][place] for place in left] for name in ("user_ids", "x", "y", "genre")}
        return self._map | parts

    @cached_property
    def _map(self) -> dict[str, Any]:
        rows = sorted(
            self._asked(lambda index: index.sample(("vector", "taste"), MAP_USERS)), key=lambda row: row["user_id"]
        )
        x, y = placed(np.stack([row["vector"] for row in rows]).astype(np.float32) if rows else np.zeros((0, 1)))
        heaviest = [Taste.unpacked(row["taste"]).heaviest("genre", 1) for row in rows]
        common = [genre for genre, _ in Counter(told[0][0] for told in heaviest if told).most_common(MAP_GENRES)]
        number = {genre: place for place, genre in enumerate(common)}
        return {
            "model_version": self.model_version,
            "genres": [*common, "other"],
            "user_ids": [row["user_id"] for row in rows],
            "x": np.round(x, 4).tolist(),
            "y": np.round(y, 4).tolist(),
            "genre": [number.get(told[0][0], len(common)) if told else len(common) for told in heaviest],
        }

    def _asked(self, ask: Callable[[UserIndex | RowsInMemory], Answer]) -> Answer:
        """Ask the index; again as it is now, where files of it were deleted because somebody was forgotten."""
        index = self.index
        if isinstance(index, RowsInMemory):
            return ask(index)
        tried = iter([index])
        return asked_again(lambda: ask(next(tried, None) or index.held(index)))


def _near(other: Person, score: float) -> Near:
    return Near(other.user_id or "", score, other.tracks, other.source, revised=other.taste)


def _listener(user_id: str, taste: Taste) -> dict[str, Any]:
    return {"user_id": user_id, "genres": [name for name, _ in taste.heaviest("genre", GENRES_TOLD)]}
