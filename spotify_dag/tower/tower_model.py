"""The multi-part tower: one tower per part, then a joint tower to a unit vector, beside a linear discriminant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spotify_dag.tower.factors import Factors, FactorSettings, LatentAxes, unit
from spotify_dag.tower.inputs import Catalogue, Listening
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.tower.mix import DEFAULT_MIX, Mix
from spotify_dag.tower.parts import N_STATISTICS, PARTS, PartMap, TowerInputs
from spotify_dag.tower.score import ScoreScale

ENCODE_ROWS = 8_192
FACTORS = PARTS.index("artist_factors")
ANCHOR_PARTS = {"artist_factors": 2.0}
"""Weight of a part in the anchor where it is not 1: how much of the ridge it is spared."""
ANCHOR_STATISTICS = 0.3
"""Weight of a standardised statistic in the anchor, against parts of unit length."""


class UserTower(nn.Module):
    """Map the parts of a user to a unit vector that is compared by cosine.

    Each part goes through its own tower; an absent one is replaced by a learned vector, so that missing data is told
    apart from average data. The joint tower sees all of them and the statistics, and a linear path goes past it: the
    network starts as a weighted sum and learns only what that lacks.

    The mixed vector is what these learned beside blocks of closed form, which keep the broad directions of taste that a
    contrastive loss flattens, and err elsewhere than the network does: an *anchor*, the projection of the parts on the
    directions in which users differ from each other more than from themselves (Fisher's linear discriminants, here
    between the halves of a user's listening); where users lie by collaborative factors; and where by the latent axes of
    who listens to what. `mix` weighs them.

    Parameters
    ----------
    part_dims
        Length of each part.
    hidden, part_out, dim
        Widths: inside a part tower, out of one, and out of the joint tower.
    dropout
        Share of activations dropped in training.
    anchor_dim
        Number of discriminants.
    mix
        What the cosine of two users is made of.
    parts
        Names of the parts that are looked at; the others are treated as absent.
    anchor_ridge
        Ridge of the discriminants, in mean variances within users.
    anchor_power
        A discriminant weighs its ratio of variances to this power: 0 treats all alike.
    """

    def __init__(
        self,
        part_dims: Sequence[int],
        *,
        hidden: int = 256,
        part_out: int = 128,
        dim: int = 64,
        dropout: float = 0.3,
        anchor_dim: int = 64,
        anchor_ridge: float = 0.3,
        anchor_power: float = 0.125,
        mix: Mix = DEFAULT_MIX,
        parts: Sequence[str] = PARTS,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "part_dims": list(part_dims), "hidden": hidden, "part_out": part_out, "dim": dim, "dropout": dropout,
            "anchor_dim": anchor_dim, "anchor_ridge": anchor_ridge, "anchor_power": anchor_power, "parts": list(parts),
        }  # fmt: skip
        self.mix = mix
        self.part_towers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, part_out))
            for width in part_dims
        )
        self.absent = nn.Parameter(torch.zeros(len(part_dims), part_out))
        joint_in = len(part_dims) * part_out + 2 * N_STATISTICS
        self.joint = nn.Sequential(
            nn.LayerNorm(joint_in), nn.Linear(joint_in, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.linear = nn.Linear(sum(part_dims) + 2 * N_STATISTICS, dim)
        self.register_buffer("uses", torch.tensor([float(name in parts) for name in PARTS]), persistent=False)
        self.uses: Tensor
        stacked = sum(part_dims) + N_STATISTICS
        self.register_buffer("anchor_centre", torch.zeros(stacked))
        self.register_buffer("anchor", torch.zeros(stacked, anchor_dim))
        self.anchor: Tensor
        self.anchor_centre: Tensor

    def fit_anchor(self, views: Sequence[tuple[TowerInputs, TowerInputs]]) -> None:
        """Set the anchor from halves of the training users: each pair has row i of one user in both."""
        uses, rows = self.config["parts"], 2 * sum(len(first) for first, _ in views)
        # Stacked twice: all stacks at once would double what the views take.
        centre = np.sum([_stacked(side, uses).sum(axis=0) for pair in views for side in pair], axis=0) / rows
        within, total = (np.zeros((len(centre), len(centre)), np.float32) for _ in range(2))
        for pair in views:
            first, second = (_stacked(side, uses) for side in pair)
            difference = first - second
            within += difference.T @ difference / rows
            for half in (first, second):
                total += (half - centre).T @ (half - centre) / rows
        from scipy.linalg import eigh

        ridge = self.config["anchor_ridge"] * np.trace(within) / len(within)
        ridged = np.asarray(within, np.float64) + max(ridge, 1e-9) * np.eye(len(within))
        # Variance between users against variance within: large where two halves of a user agree and users differ.
        ratio, directions = eigh(np.asarray(total - within, np.float64), ridged)
        width = min(self.config["anchor_dim"], len(ratio))
        weight = np.maximum(ratio[::-1][:width], 0) ** self.config["anchor_power"]
        self.anchor.zero_()
        self.anchor[:, :width] = torch.from_numpy(directions[:, ::-1][:, :width] * weight)
        self.anchor_centre.copy_(torch.from_numpy(np.asarray(centre)))

    @property
    def broad(self) -> slice:
        """The columns of `encode` that hold the anchor and the factors."""
        first = self.config["dim"]
        return slice(first, first + self.config["anchor_dim"] + self.config["part_dims"][FACTORS])

    def forward(self, parts: Sequence[Tensor], known: Tensor, statistics: Tensor) -> tuple[Tensor, Tensor]:
        """Return learned vectors and anchors, ``[batch, dim]`` and ``[batch, anchor_dim]``, of unit length.

        ``parts`` are ``[batch, part_dim]``, ``known`` ``[batch, parts]``, ``statistics`` ``[batch, 2 * N_STATISTICS]``.
        """
        known = known * self.uses
        parts = [part * known[:, number : number + 1] for number, part in enumerate(parts)]
        outputs = []
        for number, (tower, part) in enumerate(zip(self.part_towers, parts, strict=True)):
            here = known[:, number : number + 1]
            # Of unit length as they come; of unit variance in each dimension, whatever their number, from here on.
            outputs.append(here * tower(part * part.shape[1] ** 0.5) + (1 - here) * self.absent[number])
        linear = self.linear(torch.cat([*(part * part.shape[1] ** 0.5 for part in parts), statistics], dim=1))
        learned = linear + self.joint(torch.cat([*outputs, statistics], dim=1))
        weighted = (ANCHOR_PARTS.get(name, 1.0) * part for name, part in zip(PARTS, parts, strict=True))
        stacked = torch.cat([*weighted, ANCHOR_STATISTICS * statistics[:, :N_STATISTICS]], dim=1)
        anchored = (stacked - self.anchor_centre) @ self.anchor
        return nn.functional.normalize(learned, dim=1), nn.functional.normalize(anchored, dim=1)

    def blocks(self, inputs: TowerInputs) -> tuple[np.ndarray, np.ndarray]:
        """Return learned vectors and anchors of users, ``[users, dim]`` and ``[users, anchor_dim]``, of unit length."""
        self.eval()
        device = self.absent.device
        learned = np.empty((len(inputs), self.config["dim"]), np.float32)
        anchored = np.empty((len(inputs), self.config["anchor_dim"]), np.float32)
        with torch.inference_mode():
            for start in range(0, len(inputs), ENCODE_ROWS):
                rows = slice(start, min(start + ENCODE_ROWS, len(inputs)))
                vectors = self(*to_tensors(inputs.take(np.arange(rows.start, rows.stop)), device))
                learned[rows], anchored[rows] = (block.cpu().numpy() for block in vectors)
        return learned, anchored

    def encode(self, inputs: TowerInputs) -> np.ndarray:
        """Return the mixed vectors of ``inputs``, ``[users, width]`` float32, unit length."""
        learned, anchored = self.blocks(inputs)
        mix = self.mix
        weighed = (
            (1.0, learned), (mix.anchor, anchored), (mix.factors, inputs.factors), (mix.axes, inputs.axes),
        )  # fmt: skip
        return unit(np.hstack([weight**0.5 * block for weight, block in weighed]))


@dataclass(frozen=True)
class UserModel:
    """All that takes a user from listening to a user vector and a readable score: one version of it serves."""

    parts: PartMap
    tower: UserTower
    scale: ScoreScale
    components: KernelComponents | None = None
    """What mixed vectors are projected on; None where they are compared as they are."""
    broad: float = 0.0
    """Weight of anchor and factors beside the components: friends agree in broad directions more than in fine ones."""

    def encode(self, listening: Listening, catalogue: Catalogue, *, artists_by_name: bool = True) -> np.ndarray:
        """Return user vectors, ``[users, dim]`` float32 of unit length.

        Without ``artists_by_name`` only the text of artists is used, as if none had been seen in training.
        """
        mixed = self.mixed(listening, catalogue, artists_by_name=artists_by_name)
        if self.components is None:
            return mixed
        return unit(np.hstack([self.components.project(mixed), self.broad**0.5 * unit(mixed[:, self.tower.broad])]))

    def mixed(self, listening: Listening, catalogue: Catalogue, *, artists_by_name: bool = True) -> np.ndarray:
        """Return the blocks of users side by side, weighed by the mix, ``[users, width]`` float32 of unit length."""
        inputs = self.parts.over(catalogue, artists_by_name=artists_by_name)(listening)
        axes = self.tower.mix.weigh_axes(inputs.axes, self.parts.latent.strengths)
        return self.tower.encode(replace(inputs, axes=axes))

    @property
    def config(self) -> dict[str, Any]:
        """What `restore` needs beside the tensors."""
        return {
            "tower": self.tower.config,
            "mix": asdict(self.tower.mix),
            "broad": self.broad,
            "factors": {
                kind: {
                    "n_users": factors.n_users,
                    "typical_idf": factors.typical_idf,
                    "settings": asdict(factors.settings),
                }
                for kind, factors in (("artists", self.parts.artists), ("genres", self.parts.genres))
            },
            "trust_at": self.scale.trust_at,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return everything learned, by name. Names of artists and genres are the bytes of a JSON list."""
        arrays: dict[str, np.ndarray] = {
            "latent.names": _names(self.parts.latent.names),
            "latent.vectors": self.parts.latent.vectors,
            "latent.strengths": self.parts.latent.strengths,
            "scale.cosines": self.scale.cosines, "middle": self.parts.middle, "spread": self.parts.spread,
        }  # fmt: skip
        for kind, factors in (("artists", self.parts.artists), ("genres", self.parts.genres)):
            arrays |= {
                f"{kind}.names": _names(factors.names),
                f"{kind}.vectors": factors.vectors,
                f"{kind}.gram": factors.gram,
                f"{kind}.users": factors.users,
                f"{kind}.from_text": factors.from_text,
            }
        for name, centre, axes in zip(PARTS, self.parts.centres, self.parts.axes, strict=True):
            arrays |= {f"centre.{name}": centre, f"axes.{name}": axes}
        if self.components is not None:
            arrays |= {"components.landmarks": self.components.landmarks, "components.axes": self.components.axes}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return tensors | {f"tower.{name}": tensor.contiguous() for name, tensor in self.tower.state_dict().items()}

    @classmethod
    def restore(cls, config: dict[str, Any], tensors: dict[str, Tensor]) -> UserModel:
        """Return the model that `config` and `tensors` were taken from."""
        array = {name: tensor.numpy() for name, tensor in tensors.items() if not name.startswith("tower.")}
        factors = {
            kind: Factors(
                json.loads(array[f"{kind}.names"].tobytes()), array[f"{kind}.vectors"], array[f"{kind}.gram"],
                array[f"{kind}.users"], config["factors"][kind]["n_users"], config["factors"][kind]["typical_idf"],
                array[f"{kind}.from_text"], FactorSettings(**config["factors"][kind]["settings"]),
            )
            for kind in ("artists", "genres")
        }  # fmt: skip
        tower = UserTower(**config["tower"], mix=Mix(**config["mix"]))
        tower.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("tower.")})
        parts = PartMap(
            **factors,
            latent=LatentAxes(
                json.loads(array["latent.names"].tobytes()), array["latent.vectors"], array["latent.strengths"]
            ),
            centres=tuple(array[f"centre.{name}"] for name in PARTS),
            axes=tuple(array[f"axes.{name}"] for name in PARTS),
            middle=array["middle"],
            spread=array["spread"],
        )
        components = None
        if "components.axes" in array:
            components = KernelComponents(array["components.landmarks"], array["components.axes"])
        scale = ScoreScale(array["scale.cosines"], config["trust_at"])
        return cls(parts, tower.eval(), scale, components, config.get("broad", 0.0))


def to_tensors(inputs: TowerInputs, device: torch.device) -> tuple[list[Tensor], Tensor, Tensor]:
    """Return inputs as the arguments of `UserTower.forward`."""
    parts = [torch.from_numpy(part).to(device) for part in inputs.parts]
    return parts, torch.from_numpy(inputs.known).to(device), torch.from_numpy(inputs.statistics).to(device)


def _names(names: Sequence[str]) -> np.ndarray:
    """Return names as the bytes of a JSON list."""
    return np.frombuffer(json.dumps(list(names)).encode(), np.uint8).copy()


def _stacked(inputs: TowerInputs, uses: Sequence[str]) -> np.ndarray:
    """Return the parts and statistics of users side by side, ``[users, stacked]``; zero for parts not in ``uses``."""
    weighted = (
        ANCHOR_PARTS.get(name, 1.0) * (name in uses) * part for name, part in zip(PARTS, inputs.parts, strict=True)
    )
    return np.hstack([*weighted, ANCHOR_STATISTICS * inputs.statistics[:, :N_STATISTICS]])
