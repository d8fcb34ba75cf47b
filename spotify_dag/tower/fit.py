"""Fit parts, anchor and network on some users.

The network learns by contrast: two halves of one user's listening must find each other among everybody else's. The loss
is the symmetric InfoNCE of SimCLR and CLIP (van den Oord et al. 2018; Radford et al. 2021), with in-batch negatives and
a learned temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spotify_dag.errors import SpotifyDagError
from spotify_dag.tower.factors import FactorSettings
from spotify_dag.tower.hyperparameters import TrainingSettings, most_epochs
from spotify_dag.tower.metrics import own_half
from spotify_dag.tower.parts import PartMap, TowerInputs
from spotify_dag.tower.tower_model import UserTower, to_tensors
from spotify_dag.tower.views import Halved

Epoch = dict[str, float]
"""``epoch, loss`` and, where users are watched, ``mrr, hit@1, hit@10`` of these."""


class TrainingError(SpotifyDagError):
    """There is nothing to train on, or training went wrong. The message says why."""


@dataclass(frozen=True)
class Fitted:
    """What was fitted on some users. Its blocks are not weighed yet."""

    parts: PartMap
    tower: UserTower
    history: list[Epoch]
    epochs: int
    """How many epochs the network was trained."""


def fit(
    halved: Halved,
    training: np.ndarray,
    watched: np.ndarray,
    settings: TrainingSettings,
    progress: Callable[[Epoch], None],
    epochs: int | None = None,
) -> Fitted:
    """Fit everything on ``training`` users.

    Parameters
    ----------
    halved
        The users with their halves.
    training, watched
        Row numbers. The network stays at the epoch with the best MRR of the watched users; where nobody is watched,
        of the training users.
    settings
        How to train.
    progress
        Hears of each epoch.
    epochs
        Train so many epochs and watch nobody.

    Raises
    ------
    TrainingError
        If a loss is not finite.
    """
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    part_map, cross = PartMap.fit(
        halved.whole.take(training), halved.catalogue, factors=FactorSettings(settings.factors, settings.alpha),
        axes=settings.axes, seed=settings.seed,
    )  # fmt: skip
    crossed = cross.over(halved.catalogue)
    views = [(crossed(first.take(training)), crossed(second.take(training))) for first, second in halved.halves]
    tower = UserTower([part.shape[1] for part in views[0][0].parts], **settings.tower, mix=settings.mixes[0])
    tower.fit_anchor(views)
    if epochs is None:
        bound = part_map.over(halved.catalogue)
        watched = watched if len(watched) else training
        sides = [bound(half.take(watched)) for half in halved.judging]
        history = _train_to_the_best_epoch(tower, views, sides, settings, rng, progress)
        return Fitted(part_map, tower, history, best_epoch(history) + 1)
    descent = _Descent(tower, views, settings, rng, epochs)
    history = []
    for epoch in range(epochs):
        history.append({"epoch": float(epoch), "loss": descent.epoch(epoch)})
        progress(history[-1])
    tower.cpu().eval()
    return Fitted(part_map, tower, history, epochs)


def _train_to_the_best_epoch(
    tower: UserTower,
    views: Sequence[tuple[TowerInputs, TowerInputs]],
    watched: Sequence[TowerInputs],
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Callable[[Epoch], None],
) -> list[Epoch]:
    """Train the network, leave it at the epoch with the best MRR of ``watched``, and return the history."""
    descent = _Descent(tower, views, settings, rng)
    history: list[Epoch] = []
    best: dict[str, Tensor] = {}
    for epoch in range(most_epochs(len(views[0][0]), settings)):
        loss = descent.epoch(epoch)
        history.append({"epoch": float(epoch), "loss": loss} | own_half(*(tower.encode(half) for half in watched)))
        if best_epoch(history) == epoch:
            best = {name: tensor.detach().clone() for name, tensor in tower.state_dict().items()}
        progress(history[-1])
    tower.load_state_dict(best)
    tower.cpu().eval()
    return history


class _Descent:
    """The optimiser of one network: AdamW on a one-cycle schedule."""

    def __init__(
        self,
        tower: UserTower,
        views: Sequence[tuple[TowerInputs, TowerInputs]],
        settings: TrainingSettings,
        rng: np.random.Generator,
        epochs: int = 0,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tower, self.views, self.settings, self.rng = tower.to(self.device), views, settings, rng
        self.generator = torch.Generator().manual_seed(settings.seed)
        start = torch.tensor(-np.log(settings.temperature), dtype=torch.float32, device=self.device)
        self.log_scale = nn.Parameter(start)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": tower.parameters(), "weight_decay": settings.weight_decay},
                {"params": [self.log_scale], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        self.users = len(views[0][0])
        self.batches = -(-self.users // settings.batch)
        steps = max(most_epochs(self.users, settings), epochs) * self.batches
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, settings.learning_rate, total_steps=steps, pct_start=0.1
        )

    def epoch(self, number: int) -> float:
        """Show the network one halving of all users, drawn at random; return the mean loss."""
        self.tower.train()
        pair = self.views[int(self.rng.integers(len(self.views)))]
        batches = np.array_split(self.rng.permutation(self.users), self.batches)
        losses = [self._step(pair, batch) for batch in batches]
        if not np.isfinite(losses).all():
            raise TrainingError(f"The loss of epoch {number} is not finite; lower the learning rate.")
        return float(np.mean(losses))

    def _step(self, pair: tuple[TowerInputs, TowerInputs], batch: np.ndarray) -> float:
        share, generator = self.settings.part_dropout, self.generator
        first, second = (
            self.tower(*_drop_parts(to_tensors(view.take(batch), self.device), share, generator))[0] for view in pair
        )
        loss = _loss(self.settings.loss, first, second, self.log_scale)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        return loss.item()


def best_epoch(history: Sequence[Epoch]) -> int:
    """Return the epoch with the best MRR, the last of equal ones."""
    return max(range(len(history)), key=lambda epoch: (history[epoch]["mrr"], epoch))


def info_nce(first: Tensor, second: Tensor, log_scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of aligned unit vectors ``[batch, dim]``; temperature is exp(-log_scale)."""
    similarity = first @ second.T * log_scale.clamp(max=float(np.log(100))).exp()
    target = torch.arange(len(first), device=first.device)
    loss = nn.functional.cross_entropy
    return (loss(similarity, target) + loss(similarity.T, target)) / 2


def _loss(kind: str, first: Tensor, second: Tensor, log_scale: Tensor) -> Tensor:
    if kind == "info_nce":
        return info_nce(first, second, log_scale)
    another = second.roll(1, dims=0)
    alike, unlike = torch.ones(len(first)), -torch.ones(len(first))
    loss = nn.functional.cosine_embedding_loss
    if kind == "cosine_random":
        return loss(first, another, alike.to(first.device))
    return (loss(first, second, alike.to(first.device)) + loss(first, another, unlike.to(first.device))) / 2


def _drop_parts(
    tensors: tuple[list[Tensor], Tensor, Tensor], share: float, generator: torch.Generator
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Hide whole parts at random: the tower learns to do without any of them."""
    parts, known, statistics = tensors
    keep = torch.rand(known.shape, generator=generator) >= share
    # A user with no part left could not be told from anybody else, and keeps everything.
    left = known * keep.to(known.device)
    return parts, torch.where(left.sum(dim=1, keepdim=True) > 0, left, known), statistics
