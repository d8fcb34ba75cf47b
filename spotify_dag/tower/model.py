"""The multi-embedding tower: one tower per embedding, then a joint tower to a unit vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.inputs import STATISTICS, TowerInputs

ENCODE_ROWS = 8_192
ANCHOR_PART = EMBEDDINGS.index("genre_embedding")


class UserTower(nn.Module):
    """Map user embeddings to unit vectors that are compared by cosine.

    Each embedding goes through its own tower; an absent one is replaced by a learned vector, so that missing data is
    told apart from average data. The joint tower sees all of them and the statistics. Embeddings are centred and
    scaled by what the training users looked like: means of text vectors are so alike (random pairs at cosine .97) that
    without centring there is little to learn from.

    The user vector is what the joint tower learned beside an anchor: the principal components of the genre embedding.
    Telling people apart is what the loss asks for, and an era or a side interest does that as well as a taste; the
    anchor keeps neighbours neighbours in taste while the tower learns the rest.

    Parameters
    ----------
    part_dims
        Length of each embedding.
    hidden, part_out, dim
        Widths: inside a part tower, out of one, and out of the joint tower.
    dropout
        Share of activations dropped in training.
    anchor_dim, anchor_weight
        Number of principal components, and the weight of the anchor against the learned 1; the user vector has
        ``dim + anchor_dim`` numbers.
    """

    def __init__(
        self,
        part_dims: Sequence[int],
        *,
        hidden: int = 256,
        part_out: int = 96,
        dim: int = 64,
        dropout: float = 0.2,
        anchor_dim: int = 64,
        anchor_weight: float = 0.7,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "part_dims": list(part_dims), "hidden": hidden, "part_out": part_out, "dim": dim, "dropout": dropout,
            "anchor_dim": anchor_dim, "anchor_weight": anchor_weight,
        }  # fmt: skip
        self.part_towers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, part_out))
            for width in part_dims
        )
        self.absent = nn.Parameter(torch.zeros(len(part_dims), part_out))
        joint_in = len(part_dims) * part_out + 2 * len(STATISTICS)
        self.joint = nn.Sequential(
            nn.LayerNorm(joint_in), nn.Linear(joint_in, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        # A linear path past the joint tower: the network starts as a weighted sum and learns only what that lacks.
        self.skip = nn.Linear(joint_in, dim)
        self.register_buffer("anchor", torch.zeros(part_dims[ANCHOR_PART], anchor_dim))
        self.anchor: Tensor
        for number, width in enumerate(part_dims):
            self.register_buffer(f"centre_{number}", torch.zeros(width))
            self.register_buffer(f"scale_{number}", torch.ones(()))

    def fit_scaling(self, inputs: TowerInputs) -> None:
        """Set centre and scale of each embedding from the training users who have it."""
        for number, part in enumerate(inputs.parts):
            here = part[inputs.known[:, number] > 0]
            if not len(here):
                continue
            centre = here.mean(axis=0)
            spread = np.sqrt(((here - centre) ** 2).sum(axis=1).mean())
            getattr(self, f"centre_{number}").copy_(torch.from_numpy(centre))
            # After scaling, an embedding has unit variance per dimension whatever its length.
            getattr(self, f"scale_{number}").fill_(max(float(spread), 1e-6) / np.sqrt(part.shape[1]))
            if number == ANCHOR_PART:
                self.anchor.zero_()
                _, _, components = np.linalg.svd(here - centre, full_matrices=False)
                width = min(self.anchor.shape[1], len(components))
                self.anchor[:, :width] = torch.from_numpy(components[:width].T.copy())

    def forward(self, parts: Sequence[Tensor], known: Tensor, statistics: Tensor) -> Tensor:
        """Return unit vectors ``[batch, width]``. ``parts`` are ``[batch, part_dim]``, ``known`` ``[batch, parts]``."""
        outputs = []
        for number, (tower, part) in enumerate(zip(self.part_towers, parts, strict=True)):
            scaled = (part - getattr(self, f"centre_{number}")) / getattr(self, f"scale_{number}")
            here = known[:, number : number + 1]
            outputs.append(here * tower(scaled) + (1 - here) * self.absent[number])
        joined = torch.cat([*outputs, statistics], dim=1)
        learned = nn.functional.normalize(self.skip(joined) + self.joint(joined), dim=1)
        centred = parts[ANCHOR_PART] - getattr(self, f"centre_{ANCHOR_PART}")
        anchored = nn.functional.normalize(centred @ self.anchor, dim=1) * known[:, ANCHOR_PART : ANCHOR_PART + 1]
        return nn.functional.normalize(torch.cat([learned, self.config["anchor_weight"] * anchored], dim=1), dim=1)

    def encode(self, inputs: TowerInputs) -> np.ndarray:
        """Return the user vectors of ``inputs``, ``[users, dim + anchor_dim]`` float32, unit length."""
        self.eval()
        device = self.absent.device
        vectors = []
        with torch.inference_mode():
            for start in range(0, len(inputs), ENCODE_ROWS):
                chunk = inputs.take(np.arange(start, min(start + ENCODE_ROWS, len(inputs))))
                vectors.append(self(*to_tensors(chunk, device)).cpu().numpy())
        width = self.config["dim"] + self.config["anchor_dim"]
        return np.concatenate(vectors) if vectors else np.empty((0, width), np.float32)


def to_tensors(inputs: TowerInputs, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return inputs as the arguments of `UserTower.forward`."""
    parts = [torch.from_numpy(part).to(device) for part in inputs.parts]
    return parts, torch.from_numpy(inputs.known).to(device), torch.from_numpy(inputs.statistics).to(device)
