"""Take a user out of a trained model: their landmark, and names that nobody listens to any more."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence

import numpy as np

from spotify_dag.tower.kernel import KernelComponents

NAMED = {
    "artists": ("vectors", "users"),
    "latent": ("vectors",),
}
"""Parts of a model that have a row per artist, and what these rows are in."""


def redacted(
    arrays: Mapping[str, np.ndarray], landmarks: Sequence[int], held: Container[str]
) -> dict[str, np.ndarray] | None:
    """Return the tensors of a model without some landmarks and names; None where it has none of them.

    Parameters
    ----------
    arrays
        As `tower_model.UserModel.tensors` gives them.
    landmarks
        Numbers of the landmarks to overwrite by zeros.
    held
        The artists with at least one listener. Others leave the model, to which they are then names never seen.
    """
    changed = dict(arrays)
    rows = [row for row in landmarks if "components.axes" in arrays and arrays["components.landmarks"][row].any()]
    if rows:
        components = KernelComponents(arrays["components.landmarks"], arrays["components.axes"])
        components = components.without(np.array(rows))
        changed |= {"components.landmarks": components.landmarks, "components.axes": components.axes}
    fewer = False
    for part, columns in NAMED.items():
        names = json.loads(arrays[f"{part}.names"].tobytes())
        left = np.array([name in held for name in names], bool)
        if left.all():
            continue
        fewer = True
        left_names = [name for name, here in zip(names, left, strict=True) if here]
        changed[f"{part}.names"] = np.frombuffer(json.dumps(left_names).encode(), np.uint8).copy()
        changed |= {f"{part}.{column}": arrays[f"{part}.{column}"][left] for column in columns}
    return changed if rows or fewer else None
