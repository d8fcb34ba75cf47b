"""Why two users match: what they share, with the weight on each side, and what is new to one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import polars as pl


# Hundreds of these are made for each answer: tuples are made in half the time.
class Shared(NamedTuple):
    """A genre, artist or decade that both users listen to, with its share of each user's listening (0 to 1)."""

    name: str
    yours: float
    theirs: float


class New(NamedTuple):
    """An artist that the other user listens to and you do not, with its share of their listening (0 to 1)."""

    name: str
    theirs: float


@dataclass(frozen=True)
class Explanation:
    """Why two users match, seen from one of them. Each list is sorted by descending weight."""

    shared_genres: tuple[Shared, ...]
    shared_artists: tuple[Shared, ...]
    shared_eras: tuple[Shared, ...]
    new_to_you: tuple[New, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain lists and numbers."""
        # `asdict` would copy every name and number, which takes longer than finding them.
        shared = {
            kind: [{"name": name, "yours": yours, "theirs": theirs} for name, yours, theirs in entries]
            for kind, entries in (
                ("shared_genres", self.shared_genres), ("shared_artists", self.shared_artists),
                ("shared_eras", self.shared_eras),
            )
        }  # fmt: skip
        return {**shared, "new_to_you": [{"name": name, "theirs": theirs} for name, theirs in self.new_to_you]}


def in_decades() -> pl.Expr:
    """Return the names of tastes (`schemas.USER_TASTES`), years as decades."""
    import polars as pl

    decade = pl.format("{}0s", pl.col("name").str.head(3))
    return pl.when(pl.col("kind") == "year").then(decade).otherwise("name").alias("name")


def summed_weight() -> pl.Expr:
    """Return the sum of ``weight`` of the rows of a group: the same in whatever order they come."""
    import polars as pl

    # Sums of a few float32 are exact in float64.
    return pl.col("weight").cast(pl.Float64).sum().cast(pl.Float32)


def explain(tastes: pl.DataFrame, user_id: str, others: Sequence[str], limit: int | None = 10) -> list[Explanation]:
    """Explain the match of a user with each of ``others``.

    Parameters
    ----------
    tastes
        Rows of `schemas.USER_TASTES` of all of them.
    user_id
        The user who asks.
    others
        Ids of the matches.
    limit
        At most this many entries per list; None for all.

    Returns
    -------
    One explanation per match, in order. Shared entries are sorted by the smaller of the two weights: so much the two
    have in common. Seen from the other side, the lists are equal with the weights swapped.
    """
    import polars as pl

    decades = tastes.with_columns(in_decades()).group_by("user_id", "kind", "name").agg(summed_weight())
    yours = decades.filter(pl.col("user_id") == user_id).select("kind", "name", pl.col("weight").alias("yours"))
    pairs = decades.filter(pl.col("user_id").is_in(list(others))).join(yours, on=["kind", "name"], how="left")
    both = (
        pairs.filter(pl.col("yours").is_not_null())
        .with_columns(pl.min_horizontal("yours", "weight").alias("common"))
        .sort("common", "name", descending=[True, False])
    )
    new = pairs.filter(pl.col("yours").is_null() & (pl.col("kind") == "artist")).sort(
        "weight", "name", descending=[True, False]
    )

    def shared(other: str, kind: str) -> tuple[Shared, ...]:
        rows = both.filter((pl.col("user_id") == other) & (pl.col("kind") == kind))
        rows = rows if limit is None else rows.head(limit)
        return tuple(Shared(*row) for row in rows.select("name", "yours", "weight").iter_rows())

    def unheard(other: str) -> tuple[New, ...]:
        rows = new.filter(pl.col("user_id") == other)
        rows = rows if limit is None else rows.head(limit)
        return tuple(New(*row) for row in rows.select("name", "weight").iter_rows())

    return [
        Explanation(shared(other, "genre"), shared(other, "artist"), shared(other, "year"), unheard(other))
        for other in others
    ]
