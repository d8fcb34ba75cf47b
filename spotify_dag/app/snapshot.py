"""One published model version and its users, held in memory: what every answer is given from.

A request takes one snapshot and answers from nothing else, so it is wholly of one version.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.app.taste_rows import Taste, Tastes
from spotify_dag.matching.explain import Explanation
from spotify_dag.matching.matcher import Match, UnknownUserError
from spotify_dag.schemas import USER_EMBEDDINGS, USERS
from spotify_dag.tower.factors import with_fixed_signs
from spotify_dag.tower.score import ScoreScale

if TYPE_CHECKING:
    from spotify_dag.project import Project

EXACT_ROWS = 20_000
"""Up to so many users all coordinates of all vectors are compared; beyond, those on the principal axes come first."""
AXES = 64
"""So few that the vectors of 100,000 users on them stay in a processor's cache: reading them is what a search costs."""
SHORTLIST = 2_000
"""At least so many users are chosen by the principal axes, to be compared in full."""
BLOCK = 8
"""Scores that are looked at as one where the highest are looked for."""
MAP_GENRES = 10
EXAMPLE_ROWS = 2_000
"""Users that examples are chosen from: so few cost milliseconds, however many there are."""
GENRES_TOLD = 3
"""Of a user who is picked from a list."""
SAMPLE = 20_000
"""Users that the principal axes are found from."""


@dataclass(frozen=True)
class Person:
    """Somebody who asks: in the index, or new."""

    vector: np.ndarray
    """``[dim]`` float32, unit length."""
    taste: Taste
    tracks: int
    """Number of playlist items known."""
    row: int | None = None
    """Place in the snapshot; None for somebody new."""


@dataclass(frozen=True)
class Nearest:
    """The users most like somebody, best first."""

    rows: np.ndarray
    """``[k]`` int."""
    scores: np.ndarray
    """``[k]`` float32, cosines."""


@dataclass(frozen=True)
class Revised:
    """A user of the index as they are with what they leave out now; the next run writes the same into the index."""

    content_hash: int
    """What it was made from."""
    vector: np.ndarray | None
    """``[dim]`` float32, unit length; None where nothing is left that counts."""
    taste: Taste
    tracks: int


@dataclass(frozen=True)
class Snapshot:
    """The users of one model version. Rows are sorted by bucket and id."""

    model_version: str
    feature_version: str
    scale: ScoreScale
    user_ids: list[str]
    public: np.ndarray
    """``[users]`` bool: who agreed that others are told of them."""
    sources: list[str]
    tracks: np.ndarray
    """``[users]`` int64: playlist items known."""
    vectors: np.ndarray
    """``[users, dim]`` float32, rows of unit length."""
    axes: np.ndarray
    """``[dim, AXES]`` float32: the principal axes."""
    reduced: np.ndarray
    """``[users, AXES]`` float32: the vectors on them; no rows where all are compared in full."""
    tastes: Tastes
    content_hashes: np.ndarray
    """``[users]`` int64: what each vector was made from."""
    revised: Mapping[int, Revised] = field(default_factory=dict)
    """By row: users who changed what they leave out since they were indexed."""

    @classmethod
    def read(cls, project: Project) -> Snapshot:
        """Read what is published now.

        Raises
        ------
        NoModelError
            If nothing is published yet.
        """
        import polars as pl

        index, scale = project.matcher.index()
        # Buckets that were split follow each other: who is as near as somebody else stays before or behind them.
        order = (pl.col("user_bucket") % project.lake.of_origin, pl.col("user_id"))
        rows_of_index = index.rows().sort(order)
        about = (
            rows_of_index.select("user_bucket", "user_id")
            .join(
                project.lake.scan(USERS).select("user_id", "opted_in", "source").collect(),
                on="user_id", how="left", maintain_order="left",
            )
            .join(
                project.lake.scan(USER_EMBEDDINGS).select("user_id", "tracks").collect(),
                on="user_id", how="left", maintain_order="left",
            )
        )  # fmt: skip
        # Vectors last: with everything else beside them, reading would take twice the memory that answering does.
        tastes = Tastes.read(project.lake, about)
        with_vectors = index.rows(with_vectors=True).sort(order)
        if not with_vectors["user_id"].equals(rows_of_index["user_id"]):
            raise RuntimeError("The index changed while it was read.")
        vectors = with_vectors["vector"].to_numpy()
        del with_vectors
        axes = _principal_axes(vectors)
        return cls(
            model_version=index.model_version,
            feature_version=next(iter(rows_of_index["feature_version"]), ""),
            scale=scale,
            user_ids=about["user_id"].to_list(),
            # A user that left the lake is not shown, although the index may still have them.
            public=about["opted_in"].fill_null(False).to_numpy(),
            sources=about["source"].fill_null("").to_list(),
            tracks=about["tracks"].fill_null(0).cast(pl.Int64).to_numpy(),
            vectors=vectors,
            axes=axes,
            reduced=vectors @ axes if len(vectors) > EXACT_ROWS else np.empty((0, axes.shape[1]), np.float32),
            tastes=tastes,
            content_hashes=rows_of_index["content_hash"].to_numpy(),
        )

    def with_revised(self, revised: Mapping[int, Revised]) -> Snapshot:
        """Return the same users with these in the place of what is indexed. The map stays until it is read anew."""
        copy = replace(self, revised=revised)
        copy.__dict__.update({name: self.__dict__[name] for name in ("row_of", "_map") if name in self.__dict__})
        return copy

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of each user."""
        return {user: row for row, user in enumerate(self.user_ids)}

    def hide(self, user_id: str) -> None:
        """Show a user to nobody any more: they were forgotten, and what is read next is without them.

        What another thread finds or makes at this moment may still hold them: who uses it looks at ``public`` again.
        """
        row = self.row_of.pop(user_id, None)
        if row is not None:
            self.public[row] = False
        for made in ("_map", "_shown_ids", "_examples"):
            self.__dict__.pop(made, None)

    def listeners(self, beginning: str, k: int) -> list[dict[str, Any]]:
        """Return users who are shown and whose ids begin with a text, each with the ``genres`` that weigh most.

        For no text, examples of different tastes.
        """
        if not beginning:
            rows = [row for row in self._examples if self.public[row]][:k]
        else:
            folded, users = self._shown_ids
            first = bisect_left(folded, beginning.casefold())
            rows = [
                self.row_of[users[place]]
                for place in range(first, min(first + k, len(folded)))
                if folded[place].startswith(beginning.casefold()) and users[place] in self.row_of
            ]
        return [{"user_id": self.user_ids[row], "genres": self._genres(self._taste(row), GENRES_TOLD)} for row in rows]

    @cached_property
    def _shown_ids(self) -> tuple[list[str], list[str]]:
        """The ids of all who are shown, sorted as they are looked for; and as they are."""
        shown = sorted(
            (self.user_ids[row].casefold(), self.user_ids[row]) for row in np.flatnonzero(self.public).tolist()
        )
        return [folded for folded, _ in shown], [user for _, user in shown]

    @cached_property
    def _examples(self) -> list[int]:
        """Of each of the commonest genres, the row of the user who prefers it and has most tracks; among some users."""
        shown = np.flatnonzero(self.public)
        lovers: dict[str, list[int]] = {}
        for row in shown[:: -(-len(shown) // EXAMPLE_ROWS) or 1].tolist():
            for genre in self._genres(self.tastes.of(row), 1):
                lovers.setdefault(genre, []).append(row)
        common = sorted(lovers, key=lambda genre: (-len(lovers[genre]), genre))
        return [max(lovers[genre], key=lambda row: (self.tracks[row], -row)) for genre in common]

    @property
    def taste_map(self) -> dict[str, Any]:
        """All who are shown, on a plane: see `models.MapAnswer`. The plane is made once per snapshot."""
        shown, made = self._map
        if not self.public[shown].all():
            self.__dict__.pop("_map", None)
            return self.taste_map
        return made

    @cached_property
    def _map(self) -> tuple[np.ndarray, dict[str, Any]]:
        """The rows of all who are shown, and `taste_map`."""
        shown = np.flatnonzero(self.public)
        x, y = _on_a_plane(self.vectors[shown])
        dominant = self.tastes.dominant_genre()
        named = [dominant[row] for row in shown.tolist()]
        common = [genre for genre, _ in Counter(name for name in named if name).most_common(MAP_GENRES)]
        place = {genre: number for number, genre in enumerate(common)}
        made = {
            "model_version": self.model_version,
            "genres": [*common, "other"],
            "user_ids": [self.user_ids[row] for row in shown.tolist()],
            "x": np.round(x, 4).tolist(),
            "y": np.round(y, 4).tolist(),
            "genre": [place.get(name or "", len(common)) for name in named],
        }
        return shown, made

    def person(self, user_id: str, *, shown: bool = True) -> Person:
        """Return a user of the index.

        Raises
        ------
        UnknownUserError
            If there is no such user or, where only those ``shown`` count, others must not be told of them: the two
            cannot be told apart.
        """
        row = self.row_of.get(user_id)
        if row is None or (shown and not self.public[row]):
            raise UnknownUserError(
                f"Nobody called '{user_id[:80]}' can be shown here. "
                "Add new users in the app, with POST /api/v1/users, or with: spotify-dag add"
            )
        if row not in self.revised:
            return Person(self.vectors[row], self.tastes.of(row), int(self.tracks[row]), row)
        revised = self.revised[row]
        if revised.vector is None:
            raise UnknownUserError(f"Everything that '{user_id[:80]}' listens to is left out. Undo some of it.")
        return Person(revised.vector, revised.taste, revised.tracks, row)

    def matches(self, person: Person, k: int, *, min_shared: int = 0, limit: int | None = 10) -> list[Match]:
        """Return the ``k`` users most like somebody, best first: only those who opted in, and never themselves.

        Parameters
        ----------
        person
            Who asks.
        k
            At most this many.
        min_shared
            Only users with at least this many of the same artists.
        limit
            Entries per list of an explanation.
        """
        return self.explained(person, self.nearest([person], k, min_shared)[0], limit)

    def explained(self, person: Person, near: Nearest, limit: int | None = 10) -> list[Match]:
        """Return the users that `nearest` named as matches, with at most ``limit`` entries per list of reasons."""
        shown = self.public[near.rows]
        rows = near.rows[shown]
        reasons = self.tastes.explain(person.taste, [self._taste(row) for row in rows.tolist()], limit)
        return self.as_matches(person, rows, near.scores[shown], reasons)

    def compare(self, person: Person, other: Person, limit: int | None = None) -> tuple[Match, Explanation]:
        """Return how somebody matches a user of the index, and why seen from the other side."""
        if other.row is None:
            raise ValueError("The other side must be a user of the index.")
        (why,) = self.tastes.explain(person.taste, [other.taste], limit)
        (mirrored,) = self.tastes.explain(other.taste, [person.taste], limit)
        score = np.atleast_1d(person.vector @ other.vector)
        (match,) = self.as_matches(person, np.array([other.row]), score, [why])
        return match, mirrored

    def as_matches(
        self, person: Person, rows: np.ndarray, scores: np.ndarray, reasons: Sequence[Explanation]
    ) -> list[Match]:
        """Return matches with the users in ``rows``, ``[matches]``, by their scores and reasons."""
        tracks = self.tracks[rows]
        for row in self.revised.keys() & set(rows.tolist()):
            tracks[rows == row] = self.revised[row].tracks
        trust = self.scale.confidence(person.tracks, tracks).tolist()
        percents, users = self.scale.percent(scores).tolist(), [self.user_ids[row] for row in rows.tolist()]
        return [Match(*told) for told in zip(users, scores.tolist(), percents, trust, reasons, strict=True)]

    def nearest(self, people: Sequence[Person], k: int, min_shared: int = 0) -> list[Nearest]:
        """Return the ``k`` users nearest to each of several people who ask, as `matches` does for one.

        Vectors of all users are read once for all of them: that is most of what an answer costs.
        """
        vectors = np.stack([person.vector for person in people])
        # This way round BLAS takes a third of the time: 100,000 users are its rows, and those who ask its columns.
        rough = self.reduced @ (vectors @ self.axes).T if len(self.reduced) else self.vectors @ vectors.T
        rough[~self.public] = -np.inf
        return [
            self._chosen(person, np.ascontiguousarray(scores), k, min_shared)
            for person, scores in zip(people, rough.T, strict=True)
        ]

    def _chosen(self, person: Person, rough: np.ndarray, k: int, min_shared: int) -> Nearest:
        """Return the nearest by rough scores of all users, ``[users]``, minus infinity for who is not shown."""
        again = {row: revised.vector for row, revised in self.revised.items() if rough[row] > -np.inf}
        for row, vector in again.items():
            rough[row] = -np.inf if vector is None else vector @ person.vector
        if person.row is not None:
            rough[person.row] = -np.inf
        people = int((rough > -np.inf).sum())
        count = min(k, people)
        size = max(SHORTLIST, 10 * k)
        while True:
            size = min(size, people)
            rows = highest(rough, size)
            if min_shared:
                rows = rows[self._shared_artists(person.taste, rows) >= min_shared]
            if len(rows) >= count or size == people:
                break
            size *= 10
        scores = self.vectors[rows] @ person.vector
        for row, vector in again.items():
            if vector is not None:
                scores[rows == row] = vector @ person.vector
        # Equal scores in the order of rows: the same question always gets the same answer.
        order = np.lexsort((rows, -scores))[:k]
        return Nearest(rows[order], scores[order])

    def _genres(self, taste: Taste, k: int) -> list[str]:
        return [name for name, _ in self.tastes.heaviest(taste, "genre", k)]

    def _taste(self, row: int) -> Taste:
        return self.revised[row].taste if row in self.revised else self.tastes.of(row)

    def _shared_artists(self, taste: Taste, rows: np.ndarray) -> np.ndarray:
        """Return how many artists of a taste the users in ``rows`` have, ``[rows]``."""
        shared = self.tastes.shared_artists(taste, rows)
        for row, revised in self.revised.items():
            common = np.intersect1d(revised.taste.codes, taste.codes, assume_unique=True)
            shared[rows == row] = (common < self.tastes.ends[0]).sum()
        return shared


def highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the places of the ``count`` highest of some scores, and at times of the next ones.

    The maxima of blocks say which score is high enough: of as many blocks as are asked for, each holds one no lower
    than the lowest of their maxima. `numpy.argpartition` of all scores takes nine times as long. Places of minus
    infinity are not told.
    """
    if not count:
        return np.zeros(0, np.int64)
    whole = len(scores) // BLOCK * BLOCK
    # With fewer blocks most of them would be wanted, and their lowest maximum says little.
    among = scores[:whole].reshape(BLOCK, -1).max(axis=0) if whole >= 4 * BLOCK * count else scores
    last = np.partition(among, len(among) - count)[len(among) - count]
    places = np.flatnonzero(scores >= last)
    return places[scores[places] > -np.inf]


def _on_a_plane(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components of vectors as ranks, 0 to 1, so that no crowd hides another."""
    if len(vectors) < 2:
        return np.full(len(vectors), 0.5), np.full(len(vectors), 0.5)
    sample = vectors[:: -(-len(vectors) // SAMPLE)].astype(np.float64)
    _, directions = np.linalg.eigh(np.cov(sample.T))
    flat = vectors @ with_fixed_signs(directions[:, ::-1][:, :2]).astype(np.float32)
    # Half ranks, half distances: ranks alone draw a full square whatever the taste.
    ranks = np.argsort(np.argsort(flat, axis=0), axis=0) / (len(flat) - 1)
    spread = (flat - flat.min(axis=0)) / np.maximum(np.ptp(flat, axis=0), 1e-9)
    x, y = ((ranks + spread) / 2).T
    return x, y


def _principal_axes(vectors: np.ndarray) -> np.ndarray:
    """Return the axes on which vectors differ most, ``[dim, min(dim, AXES)]``."""
    dim = vectors.shape[1] if vectors.ndim == 2 else 0
    if len(vectors) <= EXACT_ROWS:
        return np.empty((dim, 0), np.float32)
    sample = vectors[:: -(-len(vectors) // SAMPLE)].astype(np.float64)
    # About zero, not the mean: inner products are what is to be kept.
    _, directions = np.linalg.eigh(sample.T @ sample)
    return directions[:, ::-1][:, :AXES].astype(np.float32)
