"""User embeddings as arrays a network can take, with masks for what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.schemas import EMBEDDINGS

if TYPE_CHECKING:
    import polars as pl

STATISTICS = ("mean_popularity", "explicit_ratio")
"""Statistics the tower sees. Counts are left out: they say how much of a user was read, not what the user likes."""
_SCALE = {"mean_popularity": 100.0, "explicit_ratio": 1.0}


@dataclass(frozen=True)
class TowerInputs:
    """Users as arrays; unknown entries are zero and masked."""

    parts: tuple[np.ndarray, ...]
    """One ``[users, dim]`` float32 array per embedding, in the order of `schemas.EMBEDDINGS`."""
    known: np.ndarray
    """``[users, parts]`` float32: 1 where the embedding is known."""
    statistics: np.ndarray
    """``[users, 2 * len(STATISTICS)]`` float32: values scaled to 0..1, then whether each is known."""

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: np.ndarray) -> TowerInputs:
        """Return some users."""
        return TowerInputs(tuple(part[rows] for part in self.parts), self.known[rows], self.statistics[rows])


def tower_inputs(embeddings: pl.DataFrame, part_dims: tuple[int, ...]) -> TowerInputs:
    """Return rows of `schemas.USER_EMBEDDINGS` as arrays; ``part_dims`` are the lengths of the embeddings."""
    import polars as pl

    parts, known = [], []
    for name, dim in zip(EMBEDDINGS, part_dims, strict=True):
        column = embeddings[name]
        here = column.is_not_null().to_numpy()
        part = np.zeros((embeddings.height, dim), np.float32)
        if here.any():
            part[here] = column.drop_nulls().cast(pl.Array(pl.Float32, dim)).to_numpy()
        parts.append(part)
        known.append(here)
    values = [embeddings[name].fill_null(0).to_numpy() / _SCALE[name] for name in STATISTICS]
    flags = [embeddings[name].is_not_null().to_numpy() for name in STATISTICS]
    return TowerInputs(
        tuple(parts), np.stack(known, axis=1).astype(np.float32), np.stack(values + flags, axis=1).astype(np.float32)
    )


def part_dims(embeddings: pl.DataFrame) -> tuple[int, ...]:
    """Return the length of each embedding in ``embeddings``; 1 for one that nobody has."""
    return tuple(int(embeddings[name].list.len().max() or 1) for name in EMBEDDINGS)  # type: ignore[arg-type]
