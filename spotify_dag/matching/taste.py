"""What one user listens to, as it stands in a row of the user index, and why two users match by it.

`matching.explain` is the definition; this gives the same lists a thousand times sooner, as it reads no table.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from spotify_dag.matching.explain import Explanation, New, Shared, in_decades, summed_weight

if TYPE_CHECKING:
    import polars as pl

Kind = Literal["artist", "genre", "year"]
KINDS: Final[tuple[Kind, ...]] = ("artist", "genre", "year")
MOST_NAMES = 1_000
"""Names of a kind that a row of the index holds, the heaviest first. What weighs less explains nothing."""
_LENGTHS = "<3H"


@dataclass(frozen=True)
class Taste:
    """What share of a user's listening goes to each artist, genre and decade; the heaviest first."""

    weights: Mapping[Kind, Mapping[str, float]]

    @classmethod
    def of_rows(cls, tastes: pl.DataFrame) -> Taste:
        """Return the taste that rows of `schemas.USER_TASTES` of one user speak of."""
        rows = packed_tastes(tastes)
        return cls.unpacked(rows["taste"][0]) if rows.height else NO_TASTE

    @classmethod
    def unpacked(cls, packed: bytes | None) -> Taste:
        """Return the taste in a row of the index; none where the row is of an older version."""
        if packed is None:
            return NO_TASTE
        lengths = struct.unpack_from(_LENGTHS, packed)
        begin, count = struct.calcsize(_LENGTHS), sum(lengths)
        weights = iter(struct.unpack_from(f"<{count}f", packed, begin))
        names = iter(json.loads(zlib.decompress(packed[begin + 4 * count :])))
        return cls(
            {
                kind: dict(zip(islice(names, length), islice(weights, length), strict=True))
                for kind, length in zip(KINDS, lengths, strict=True)
            }
        )

    def heaviest(self, kind: Kind, k: int) -> list[tuple[str, float]]:
        """Return the ``k`` names of a kind that weigh most, each with its weight."""
        return list(self.weights[kind].items())[:k]

    def shared_artists(self, other: Taste) -> int:
        """Return how many artists both listen to."""
        return len(self.weights["artist"].keys() & other.weights["artist"].keys())

    def explain(self, other: Taste, limit: int | None = 10) -> Explanation:
        """Explain the match of this user with another, as `matching.explain.explain` does."""
        artists, genres, decades = (self._shared(other, kind, limit) for kind in KINDS)
        mine, theirs = self.weights["artist"], other.weights["artist"]
        new = (New(name, weight) for name, weight in theirs.items() if name not in mine)
        return Explanation(genres, artists, decades, tuple(islice(new, limit)))

    def _shared(self, other: Taste, kind: Kind, limit: int | None) -> tuple[Shared, ...]:
        mine, theirs = self.weights[kind], other.weights[kind]
        both = [Shared(name, mine[name], theirs[name]) for name in mine.keys() & theirs.keys()]
        both.sort(key=lambda it: (-min(it.yours, it.theirs), it.name))
        return tuple(both[:limit])


NO_TASTE = Taste({kind: {} for kind in KINDS})


def packed_tastes(tastes: pl.DataFrame) -> pl.DataFrame:
    """Return ``user_id, taste`` of some users: the column ``taste`` of the user index.

    A value is the number of names of each kind (uint16), their weights (float32), and the names (JSON, compressed).
    About 10 bytes an artist.

    Parameters
    ----------
    tastes
        Rows of `schemas.USER_TASTES` of these users.
    """
    import polars as pl

    sums = (
        tastes.lazy()
        .select("user_id", "kind", in_decades(), "weight")
        .group_by("user_id", "kind", "name")
        .agg(summed_weight())
        .with_columns(pl.col("kind").cast(pl.Enum(KINDS)).to_physical().alias("kind"))
        .sort("user_id", "kind", "weight", "name", descending=[False, False, True, False])
        .filter(pl.int_range(pl.len()).over("user_id", "kind") < MOST_NAMES)
        .collect()
    )
    names, weights = sums["name"].to_list(), sums["weight"].to_numpy()
    groups = sums.group_by("user_id", maintain_order=True).agg(
        *((pl.col("kind") == number).sum().alias(kind) for number, kind in enumerate(KINDS))
    )
    packed, begin = [], 0
    for lengths in groups.select(KINDS).iter_rows():
        end = begin + sum(lengths)
        text = json.dumps(names[begin:end], ensure_ascii=False, separators=(",", ":")).encode()
        parts = struct.pack(_LENGTHS, *lengths), weights[begin:end].tobytes(), zlib.compress(text, 1)
        packed.append(b"".join(parts))
        begin = end
    return groups.select("user_id", pl.Series("taste", packed, dtype=pl.Binary))
