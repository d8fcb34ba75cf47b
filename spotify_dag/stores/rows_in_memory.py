"""The rows of a user index in memory, where they are few: an answer then costs half of what a query of LanceDB does."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

COMPARED_ROWS = 20_000
"""Up to so many users all coordinates of all vectors are compared; beyond, those on the principal axes come first."""
AXES = 64
"""So few that the vectors of 100,000 users on them stay in a processor's cache: reading them is what a search costs."""
SHORTLIST = 2_000
"""At least so many users are chosen by the principal axes, to be compared in full."""
BLOCK = 8
"""Scores that are looked at as one where the highest are looked for."""
SAMPLE = 20_000
"""Users that the principal axes are found from."""


@dataclass(frozen=True)
class RowsInMemory:
    """What a user index held at one time. It answers the same questions as a `user_index.UserIndex`."""

    columns: Mapping[str, Sequence[Any]]
    """By name, but for the vectors; sorted by ``user_id``."""
    vectors: np.ndarray
    """``[users, dim]`` float32, of unit length."""

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {user: row for row, user in enumerate(self.columns["user_id"])}

    @cached_property
    def _public(self) -> np.ndarray:
        return np.array([bool(shown) for shown in self.columns["opted_in"]], bool)

    @cached_property
    def _axes(self) -> np.ndarray:
        """The axes on which vectors differ most, ``[dim, min(dim, AXES)]``."""
        sample = self.vectors[:: -(-len(self.vectors) // SAMPLE)].astype(np.float64)
        # About zero, not the mean: inner products are what is to be kept.
        _, directions = np.linalg.eigh(sample.T @ sample)
        return directions[:, ::-1][:, :AXES].astype(np.float32)

    @cached_property
    def _reduced(self) -> np.ndarray:
        return self.vectors @ self._axes

    @cached_property
    def _by_name(self) -> list[tuple[str, int]]:
        """The ids of all who are shown as they are looked for, sorted, each with its row."""
        return sorted((name, row) for row, name in enumerate(self.columns["shown_as"]) if name is not None)

    def feature_version(self) -> str:
        """Return what features vectors were made of; empty if none are up to date."""
        return next((version for version in self.columns["feature_version"] if version), "")

    def shown(self) -> int:
        """Return the number of users who are shown."""
        return self._shown

    @cached_property
    def _shown(self) -> int:
        return int(self._public.sum())

    def of(self, user_ids: Sequence[str], columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return some columns of the rows of some users, beside ``user_id``; users who are not in it are left out."""
        return [self._row(self._row_of[user], columns) for user in user_ids if user in self._row_of]

    def beginning_with(self, text: str, columns: Sequence[str], most: int) -> list[dict[str, Any]]:
        """Return users who are shown and whose ids begin with a text, whatever its case; the first ``most`` of them."""
        begins = text.casefold()
        first = bisect_left(self._by_name, (begins, -1))
        beginning = [row for name, row in self._by_name[first : first + most] if name.startswith(begins)]
        return [self._row(row, columns) for row in beginning]

    def sample(self, columns: Sequence[str], most: int) -> list[dict[str, Any]]:
        """Return users who are shown: all of them, or ``most``, evenly from all."""
        rows = np.flatnonzero(self._public)
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(int)]
        return [self._row(row, columns) for row in rows.tolist()]

    def search(self, queries: np.ndarray, k: int, columns: Sequence[str] = ()) -> list[list[dict[str, Any]]]:
        """Return what `UserIndex.search` does. All vectors are read once for all queries: that is most of the cost."""
        if not len(self.vectors):
            return [[] for _ in queries]
        asked = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-9)
        few = len(self.vectors) <= COMPARED_ROWS
        # This way round BLAS takes a third of the time: 100,000 users are its rows, and those who ask its columns.
        rough = self.vectors @ asked.T if few else self._reduced @ (asked @ self._axes).T
        rough[~self._public] = -np.inf
        return [
            self._nearest(query, np.ascontiguousarray(scores), k, columns)
            for query, scores in zip(asked, rough.T, strict=True)
        ]

    def _nearest(self, query: np.ndarray, rough: np.ndarray, k: int, columns: Sequence[str]) -> list[dict[str, Any]]:
        rows = highest(rough, min(max(SHORTLIST, 10 * k), self.shown()))
        scores = self.vectors[rows] @ query
        # Equal scores in the order of ids: the same question always gets the same answer.
        order = np.lexsort((rows, -scores))[:k]
        return [
            self._row(row, columns) | {"score": score}
            for row, score in zip(rows[order].tolist(), scores[order].tolist(), strict=True)
        ]

    def _row(self, row: int, columns: Sequence[str]) -> dict[str, Any]:
        told = {name: self.columns[name][row] for name in ("user_id", *columns) if name != "vector"}
        return told | {"vector": self.vectors[row]} if "vector" in columns else told


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
