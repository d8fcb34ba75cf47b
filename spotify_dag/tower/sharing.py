"""Take every single user out of a trained model, so that it can be given away.

What a tower has learned of all users together stays: weights, and the vectors of artists and genres. What is one
user's goes: landmarks, which are user vectors, become means of groups of them. Names that few users listen to leave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.schemas import FEWEST_LISTENERS
from spotify_dag.tower.factors import unit
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.tower.redaction import redacted
from spotify_dag.tower.score import SHARES

if TYPE_CHECKING:
    from torch import Tensor

LEAST_MEMBERS = 5
"""Users whose mean a landmark is, at least."""
MEMBERS = 8
"""Users of a group, on average."""
PAIRS = 20_000


class SharingError(SpotifyDagError):
    """A model that cannot be given away. The message says why."""


@dataclass(frozen=True)
class SharedModel:
    """A model without users."""

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    groups: int
    """Means of users that stand in the place of landmarks; 0 for a model that never had any."""


def without_users(config: dict[str, Any], tensors: Mapping[str, Tensor], training: Mapping[str, Any]) -> SharedModel:
    """Return a model without its users.

    Parameters
    ----------
    config, tensors
        As `tower_model.UserModel` gives them.
    training
        The settings that it was trained with: how many components, raised to which power.

    Raises
    ------
    SharingError
        If too few users are in it to hide one among the others.
    """
    import torch

    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    names = _names(arrays["artists.names"])
    common = {name for name, users in zip(names, arrays["artists.users"], strict=True) if users >= FEWEST_LISTENERS}
    arrays = redacted(arrays, [], common) or arrays
    groups = 0
    if "components.landmarks" in arrays:
        users = arrays["components.landmarks"]
        users = users[np.abs(users).any(axis=1)]  # who was forgotten is zero
        means = group_means(users)
        groups = len(means)
        fitted = KernelComponents.fit(means, training["components"], training["component_power"])
        arrays |= {"components.landmarks": fitted.landmarks, "components.axes": fitted.axes}
        broad = _broad(config)
        vectors = unit(np.hstack([fitted.project(users), config["broad"] ** 0.5 * unit(users[:, broad])]))
        arrays["scale.cosines"] = _random_cosines(vectors)
    shared = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return SharedModel(config, shared, groups)


def group_means(users: np.ndarray) -> np.ndarray:
    """Return the unit means of groups of like users, ``[groups, width]``; of at least `LEAST_MEMBERS` users each.

    Raises
    ------
    SharingError
        If there are fewer users than that: their mean would tell who they are.
    """
    from sklearn.cluster import KMeans

    if len(users) < LEAST_MEMBERS:
        raise SharingError(
            f"This model compares users with {len(users)} of those it was trained on. Giving it away takes "
            f"{LEAST_MEMBERS} or more. Train it on more users."
        )
    count = max(1, len(users) // MEMBERS)
    fitted = KMeans(count, n_init=1, max_iter=20, random_state=0).fit(users)
    sizes = np.bincount(fitted.labels_, minlength=count)
    large = np.flatnonzero(sizes >= LEAST_MEMBERS)
    if not len(large):
        return unit(users.mean(axis=0, keepdims=True)).astype(np.float32)
    # Members of a group that is too small join the nearest one that is not.
    nearest = large[np.argmax(users @ unit(fitted.cluster_centers_[large]).T, axis=1)]
    labels = np.where(sizes[fitted.labels_] >= LEAST_MEMBERS, fitted.labels_, nearest)
    sums = np.zeros((count, users.shape[1]))
    np.add.at(sums, labels, users)
    return unit(sums[large]).astype(np.float32)


def _broad(config: Mapping[str, Any]) -> slice:
    from spotify_dag.tower.parts import PARTS

    tower = config["tower"]
    width = tower["anchor_dim"] + tower["part_dims"][PARTS.index("artist_factors")]
    return slice(tower["dim"], tower["dim"] + width)


def _random_cosines(vectors: np.ndarray) -> np.ndarray:
    first, second = np.random.default_rng(0).integers(0, len(vectors), (2, PAIRS))
    cosines = (vectors[first] * vectors[second]).sum(axis=1)[first != second]
    return np.quantile(cosines, SHARES).astype(np.float32)


def _names(array: np.ndarray) -> list[str]:
    return json.loads(array.tobytes())
