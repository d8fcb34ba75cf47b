"""The tastes of all users as sparse rows in memory, and explanations of matches from them.

`matching.explain` is the definition; this gives the same lists a thousand times sooner, as it scans no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.matching.explain import Explanation, New, Shared, in_decades, summed_weight
from spotify_dag.schemas import USER_TASTES

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.stores.lake import Lake

CHUNK_ROWS = 400_000
"""Rows read at once."""
KINDS = ("artist", "genre", "year")
ARTIST = KINDS.index("artist")
_Told = tuple[str, float, float]
"""A name, and what it weighs for who asks and for the other."""


@dataclass(frozen=True)
class Taste:
    """What one user listens to."""

    codes: np.ndarray
    """``[entries]`` int32, ascending: places in `Tastes.names`."""
    weights: np.ndarray
    """``[entries]`` float32: share of the user's listening."""


@dataclass(frozen=True)
class Tastes:
    """What all users listen to; years are decades."""

    names: list[str]
    """Artists, then genres, then decades; each part sorted."""
    ends: tuple[int, int, int]
    """Where each of `KINDS` ends in ``names``."""
    starts: np.ndarray
    """``[users + 1]`` int64: the entries of user i are ``starts[i]:starts[i + 1]``."""
    codes: np.ndarray
    """``[entries]`` int32, ascending within a user."""
    weights: np.ndarray
    """``[entries]`` float32."""

    @classmethod
    def read(cls, lake: Lake, users: pl.DataFrame) -> Tastes:
        """Read them from the lake, some buckets at a time.

        Parameters
        ----------
        lake
            With the table of tastes.
        users
            ``user_bucket, user_id``: the order of the rows. Sorted by the bucket as the data root was made, and the id.
        """
        import polars as pl

        names = lake.scan(USER_TASTES).select("kind", in_decades()).unique().collect()
        vocabulary = names.sort("kind", "name").with_row_index("code")
        place = pl.col("row").cast(pl.Int64) * vocabulary.height + pl.col("code")
        rows = users.select("user_bucket", "user_id").with_row_index("row")
        counts = np.zeros(users.height + 1, np.int64)
        codes, weights = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
        buckets = users["user_bucket"].unique().sort().to_list()
        for chunk in lake.chunks(USER_TASTES, buckets, CHUNK_ROWS, whole_origins=True):
            # In the order of the buckets, so that the rows of one chunk follow those of the one before.
            entries = (
                lake.scan(USER_TASTES, chunk)
                .select("user_id", "kind", in_decades(), "weight")
                .collect()
                .join(rows, on="user_id")
                .join(vocabulary, on=["kind", "name"])
                .select(place.alias("place"), pl.col("weight").cast(pl.Float64))
                .sort("place")
            )
            # Sums of what is sorted by one number anyway take half the time of groups by two columns.
            places = entries["place"].to_numpy()
            first = np.flatnonzero(np.diff(places, prepend=-1))
            counts[1:] += np.bincount(places[first] // vocabulary.height, minlength=users.height)
            codes.append((places[first] % vocabulary.height).astype(np.int32))
            weights.append(np.add.reduceat(entries["weight"].to_numpy(), first).astype(np.float32))
        per_kind = dict(vocabulary.group_by("kind").len().iter_rows())
        ends = np.cumsum([per_kind.get(kind, 0) for kind in KINDS])
        return cls(
            vocabulary["name"].to_list(), (int(ends[0]), int(ends[1]), int(ends[2])), counts.cumsum(),
            np.concatenate(codes), np.concatenate(weights),
        )  # fmt: skip

    def of(self, row: int) -> Taste:
        """Return the taste of the user in a row."""
        here = slice(self.starts[row], self.starts[row + 1])
        return Taste(self.codes[here], self.weights[here])

    def of_rows(self, tastes: pl.DataFrame) -> Taste:
        """Return the taste that rows of `schemas.USER_TASTES` of one user speak of; names nobody else has are left out.

        What nobody else listens to is shared with nobody.
        """
        import polars as pl

        begins = (0, *self.ends[:-1])
        places = pl.concat(
            pl.DataFrame({"name": self.names[begin:end]}, schema={"name": pl.String})
            .with_row_index("code", begin)
            .with_columns(pl.lit(kind).alias("kind"))
            for kind, begin, end in zip(KINDS, begins, self.ends, strict=True)
        )
        numbered = (
            tastes.select("kind", in_decades(), "weight")
            .join(places, on=["kind", "name"])
            .group_by("code")
            .agg(summed_weight())
            .sort("code")
        )
        return Taste(numbered["code"].to_numpy().astype(np.int32), numbered["weight"].to_numpy())

    def shared_artists(self, taste: Taste, rows: np.ndarray) -> np.ndarray:
        """Return how many artists of a taste the users in ``rows`` have, ``[rows]``."""
        mine = np.zeros(len(self.names), bool)
        mine[taste.codes[taste.codes < self.ends[0]]] = True
        owners, entries = self._entries(rows)
        return np.bincount(owners[mine[self.codes[entries]]], minlength=len(rows))

    def explain(self, taste: Taste, others: Sequence[Taste], limit: int | None = 10) -> list[Explanation]:
        """Explain the match of a user with each of ``others``, as `matching.explain.explain` does."""
        if not others:
            return []
        # All at once: numpy takes longer to begin than to sort what one person listens to.
        owners = np.repeat(np.arange(len(others)), [len(other.codes) for other in others])
        codes, theirs = (np.concatenate([getattr(other, name) for other in others]) for name in ("codes", "weights"))
        weights = np.zeros(len(self.names), np.float32)
        weights[taste.codes] = taste.weights
        yours, kinds = weights[codes], np.searchsorted(self.ends, codes, side="right")
        group, groups = owners * len(KINDS) + kinds, np.arange(len(others) * len(KINDS))

        def told(entries: np.ndarray, weights: np.ndarray) -> list[list[_Told]]:
            """Return entries by group, the heaviest first; those that weigh the same in the order of names."""
            order = entries[np.lexsort((-weights[entries], group[entries]))]
            begins = np.searchsorted(group[order], groups)
            if limit is not None:
                order = order[np.arange(len(order)) - begins[group[order]] < limit]
            ends = np.searchsorted(group[order], groups, side="right").tolist()
            names = [self.names[code] for code in codes[order].tolist()]
            rows = list(zip(names, yours[order].tolist(), theirs[order].tolist(), strict=True))
            return [rows[begin:end] for begin, end in pairwise((0, *ends))]

        shared = told(np.flatnonzero(yours), np.minimum(yours, theirs))
        unheard = told(np.flatnonzero((yours == 0) & (kinds == ARTIST)), theirs)
        return [
            _explanation(shared[first : first + len(KINDS)], unheard[first + ARTIST])
            for first in range(0, len(shared), len(KINDS))
        ]

    def heaviest(self, taste: Taste, kind: str, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` names of one of `KINDS` that weigh most in a taste, each with its weight."""
        begin, end = ((0, *self.ends)[KINDS.index(kind) + step] for step in (0, 1))
        here = (taste.codes >= begin) & (taste.codes < end)
        codes, weights = taste.codes[here], taste.weights[here]
        order = np.lexsort((codes, -weights))[:k]
        return [(self.names[code], weight) for code, weight in zip(codes[order], weights[order].tolist(), strict=True)]

    def dominant_genre(self) -> list[str | None]:
        """Return the genre that weighs most, for each user; None where no genre is known."""
        begin, end = self.ends[0], self.ends[1]
        owners = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        genres = (self.codes >= begin) & (self.codes < end)
        owner, code, weight = owners[genres], self.codes[genres], self.weights[genres]
        order = np.lexsort((code, -weight, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        dominant: list[str | None] = [None] * (len(self.starts) - 1)
        for user, genre in zip(owner[first].tolist(), code[first].tolist(), strict=True):
            dominant[user] = self.names[genre]
        return dominant

    def _entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries of some users, and beside each the place of its user in ``rows``."""
        begins, lengths = self.starts[rows], self.starts[rows + 1] - self.starts[rows]
        owners = np.repeat(np.arange(len(rows)), lengths)
        within = np.arange(len(owners)) - np.repeat(lengths.cumsum() - lengths, lengths)
        return owners, np.repeat(begins, lengths) + within


def _explanation(shared: Sequence[Sequence[_Told]], unheard: Sequence[_Told]) -> Explanation:
    # `_make` takes half the time of a call by fields, and there are hundreds in an answer.
    kinds = {kind: tuple(map(Shared._make, entries)) for kind, entries in zip(KINDS, shared, strict=True)}
    new = tuple(New(name, theirs) for name, _, theirs in unheard)
    return Explanation(kinds["genre"], kinds["artist"], kinds["year"], new)
