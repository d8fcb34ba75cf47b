"""How a tower is trained. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spotify_dag.tower.mix import MIXES, NETWORK_ALONE, Mix
from spotify_dag.tower.parts import PARTS
from spotify_dag.tower.views import By

VALIDATION_USERS = (150, 2_000)
"""Choosing takes at least so many users, and asks at most so many."""
MAX_HALVINGS = 16
HALVED_USERS = 200_000
"""Users times halvings kept in memory: many halvings of few users, few of many."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train."""

    epochs: int = 30
    batches: int = 2_000
    """At most so many, but at least one epoch: with many users, fewer epochs teach as much."""
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 5e-2
    temperature: float = 0.1
    part_dropout: float = 0.1
    validation_share: float = 0.1
    """Of the users; where that is fewer than `VALIDATION_USERS`, see `training.train_tower`."""
    factors: int = 64
    alpha: float = 40.0
    axes: int = 128
    hidden: int = 256
    dim: int = 64
    dropout: float = 0.3
    anchor_dim: int = 64
    anchor_ridge: float = 1.0
    anchor_power: float = 0.125
    mixes: tuple[Mix, ...] = MIXES
    """The mix of the blocks is one of these."""
    components: int = 512
    """At most so many kernel principal components; 0 compares mixed vectors as they are."""
    component_power: float = 0.5
    """A component is divided by its strength to this power."""
    broad: float = 0.5
    """Weight of anchor and factors beside the components."""
    loss: Literal["info_nce", "cosine", "cosine_random"] = "info_nce"
    """``cosine``: the halves of a user are alike, random users are not. ``cosine_random``: random users are alike, as
    in the first system. Both for comparison."""
    parts: tuple[str, ...] = PARTS
    """Parts the network may see."""
    seed: int = 0

    @property
    def tower(self) -> dict[str, Any]:
        """The settings that shape the network."""
        names = ("hidden", "dim", "dropout", "anchor_dim", "anchor_ridge", "anchor_power", "parts")
        return {name: getattr(self, name) for name in names}


SEED_PRESET = TrainingSettings(
    loss="cosine_random", epochs=100, batches=10**6, batch=32, learning_rate=1e-4, weight_decay=0.0,
    part_dropout=0.0, dropout=0.2, mixes=(NETWORK_ALONE,), components=0,
    parts=("genre_embedding", "artist_embedding", "playlist_embedding"),
)  # fmt: skip
"""How the first system trained: every label +1, against random users, on three text embeddings."""


def halvings(users: int) -> Sequence[By]:
    """Return how to halve this many users for training: by item and by playlist in turn."""
    pairs = int(np.clip(HALVED_USERS // max(users, 1), 2, MAX_HALVINGS)) // 2
    return ("item", "playlist") * pairs


def most_epochs(users: int, settings: TrainingSettings) -> int:
    """Return how many epochs a network sees this many users at most."""
    return max(min(settings.epochs, settings.batches // max(-(-users // settings.batch), 1)), 1)


def epochs_of(users: int, settings: TrainingSettings) -> int:
    """Return how many epochs training on this many users takes at most, the trial included."""
    return most_epochs(users, settings) * (1 if settings.validation_share * users >= VALIDATION_USERS[0] else 2)
