"""Contrastive training: two halves of one user's listening must find each other among everybody else's.

The loss is the symmetric InfoNCE of SimCLR and CLIP (van den Oord et al. 2018; Radford et al. 2021) with in-batch
negatives and a learned temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from spotify_dag.errors import SpotifyDagError
from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.inputs import TowerInputs, part_dims, tower_inputs
from spotify_dag.tower.model import UserTower, to_tensors
from spotify_dag.tower.views import TrainingData

VIEW_PAIRS: Sequence[Literal["item", "playlist"]] = ("item", "playlist") * 4
"""How users are halved, one pair of views each; epochs take them in turn."""
MIN_VALIDATION_USERS = 20


class TrainingError(SpotifyDagError):
    """There is nothing to train on, or training went wrong. The message says why."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train."""

    epochs: int = 40
    batch: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    temperature: float = 0.07
    part_dropout: float = 0.1
    validation_share: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class TrainedTower:
    """A tower with how its training went."""

    tower: UserTower
    history: list[dict[str, float]]
    """Per epoch: ``epoch, loss, mrr, hit_at_10`` on the validation users."""
    metrics: dict[str, float]
    """``mrr, hit_at_1, hit_at_10`` of the kept epoch, ``random_pair_cosine``, and numbers of users."""


def train_tower(
    data: TrainingData, settings: TrainingSettings, progress: Callable[[dict[str, float]], None] = lambda _: None
) -> TrainedTower:
    """Train a tower and keep the epoch with the best validation MRR.

    Parameters
    ----------
    data
        The users to train on.
    settings
        How to train; the same data and settings give the same weights.
    progress
        Hears each epoch of the history.

    Raises
    ------
    TrainingError
        If fewer than two users have two halves, or an embedding or a loss is not finite.
    """
    pairs = _view_pairs(data, settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    rows = rng.permutation(len(pairs[0][0]))
    n_validation = int(len(rows) * settings.validation_share)
    n_validation = n_validation if n_validation >= MIN_VALIDATION_USERS else 0
    validation, training = rows[:n_validation], rows[n_validation:]
    # With too few users to spare any, the training users themselves say how it goes.
    watched = validation if n_validation else training

    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(settings.seed)
        tower = UserTower([part.shape[1] for part in pairs[0][0].parts])
        log_scale = nn.Parameter(torch.tensor(-np.log(settings.temperature), dtype=torch.float32))
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tower.fit_scaling(pairs[0][0].take(training))
        tower.to(device)
        log_scale = nn.Parameter(log_scale.detach().to(device))
        optimiser = torch.optim.AdamW(
            [
                {"params": tower.parameters(), "weight_decay": settings.weight_decay},
                {"params": [log_scale], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        batches = -(-len(training) // settings.batch)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, settings.learning_rate, total_steps=settings.epochs * batches, pct_start=0.1
        )
        history: list[dict[str, float]] = []
        best: dict[str, Tensor] = {}
        for epoch in range(settings.epochs):
            tower.train()
            first, second = pairs[epoch % len(pairs)]
            losses = []
            for part in np.array_split(rng.permutation(training), batches):
                vectors = [
                    tower(*_drop_parts(to_tensors(view.take(part), device), settings.part_dropout, generator))
                    for view in (first, second)
                ]
                loss = info_nce(vectors[0], vectors[1], log_scale)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                losses.append(loss.item())
            if not np.isfinite(losses).all():
                raise TrainingError(f"The loss of epoch {epoch} is not finite; lower the learning rate.")
            found = retrieval(tower, *(view.take(watched) for view in pairs[-1]))
            history.append({"epoch": epoch, "loss": float(np.mean(losses)), **found})
            if found["mrr"] >= max(entry["mrr"] for entry in history):
                best = {name: tensor.detach().clone() for name, tensor in tower.state_dict().items()}
                kept = found
            progress(history[-1])
    tower.load_state_dict(best)
    tower.cpu().eval()
    everyone = tower.encode(pairs[0][0])
    metrics = {
        **kept,
        "random_pair_cosine": random_pair_cosine(everyone, rng),
        "training_users": float(len(training)),
        "validation_users": float(n_validation),
    }
    return TrainedTower(tower, history, metrics)


def info_nce(first: Tensor, second: Tensor, log_scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of aligned unit vectors ``[batch, dim]``; temperature is exp(-log_scale)."""
    similarity = first @ second.T * log_scale.clamp(max=float(np.log(100))).exp()
    target = torch.arange(len(first), device=first.device)
    loss = nn.functional.cross_entropy
    return (loss(similarity, target) + loss(similarity.T, target)) / 2


def retrieval(tower: UserTower, queries: TowerInputs, gallery: TowerInputs) -> dict[str, float]:
    """Return ``mrr, hit_at_1, hit_at_10`` of finding row i of ``gallery`` from row i of ``queries``."""
    similarity = tower.encode(queries) @ tower.encode(gallery).T
    own = np.diag(similarity)[:, None]
    # Ties share their mean rank: with the best one, a tower that tells nobody apart would look perfect.
    rank = ((similarity > own).sum(axis=1) + (similarity >= own).sum(axis=1) + 1) / 2
    return {
        "mrr": float((1 / rank).mean()),
        "hit_at_1": float((rank == 1).mean()),
        "hit_at_10": float((rank <= 10).mean()),
    }


def random_pair_cosine(vectors: np.ndarray, rng: np.random.Generator, pairs: int = 20_000) -> float:
    """Return the mean cosine of random pairs of unit vectors; near 1 when training has collapsed."""
    first, second = rng.integers(0, len(vectors), (2, pairs))
    different = first != second
    return float((vectors[first[different]] * vectors[second[different]]).sum(axis=1).mean())


def _view_pairs(data: TrainingData, seed: int) -> list[tuple[TowerInputs, TowerInputs]]:
    """Return the view pairs of the users that have two halves in all of them."""
    import polars as pl

    frames = [data.views(by=by, seed=seed * 1_000 + number) for number, by in enumerate(VIEW_PAIRS)]
    reason = [frame["unembedded_reason"].is_null().to_numpy() for pair in frames for frame in pair]
    usable = np.logical_and.reduce(reason)
    if usable.sum() < 2:
        raise TrainingError(
            f"{int(usable.sum())} of {data.users.height} users have listening that can be split in two; "
            "training needs at least 2. Add users: spotify-dag run --source …"
        )
    dims = part_dims(pl.concat([frames[0][0], frames[0][1]]))
    kept = np.flatnonzero(usable)
    pairs = [(tower_inputs(first, dims).take(kept), tower_inputs(second, dims).take(kept)) for first, second in frames]
    for number, name in enumerate(EMBEDDINGS):
        if not all(np.isfinite(view.parts[number]).all() for pair in pairs for view in pair):
            raise TrainingError(
                f"Column '{name}' holds a number that is not finite; check the encoder (SPOTIFY_DAG_ENCODER)."
            )
    return pairs


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run torch on one processor thread meanwhile.

    The matrices are small: threads spend their time waiting for each other. On two cores that others use too, HetRec
    trains in 10 s on one thread and 32 s on two. It also makes the weights the same whatever the number of cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _drop_parts(
    tensors: tuple[list[Tensor], Tensor, Tensor], share: float, generator: torch.Generator
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Hide whole embeddings at random, so that the tower learns to do without any of them."""
    parts, known, statistics = tensors
    keep = torch.rand(known.shape, generator=generator) >= share
    # Somebody with nothing left could not be told from anybody else: such a user keeps everything.
    kept = known * keep.to(known.device)
    return parts, torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, known), statistics
