"""Contrastive training: two halves of one user's listening must find each other among everybody else's.

The loss is the symmetric InfoNCE of SimCLR and CLIP (van den Oord et al. 2018; Radford et al. 2021) with in-batch
negatives and a learned temperature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from spotify_dag.errors import SpotifyDagError
from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.factors import FactorSettings
from spotify_dag.tower.inputs import Listening
from spotify_dag.tower.kernel import KernelComponents, landmarks_of
from spotify_dag.tower.metrics import own_half
from spotify_dag.tower.mix import MIXES, Blocks, Mix, Panel, choose, preferred
from spotify_dag.tower.parts import PARTS, PartMap, TowerInputs
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.tower_model import UserModel, UserTower, to_tensors
from spotify_dag.tower.views import By, Halved

VALIDATION_USERS = (150, 2_000)
"""At least so many users are needed to choose epoch and mix, and at most so many are asked."""
MIN_VALIDATION_USERS = 20
CHOICE_QUERIES, CHOICE_GALLERY = 500, 5_000
"""Users who ask, and who answer, when the mix is chosen."""
MAX_HALVINGS = 16
HALVED_USERS = 200_000
"""Users times halvings kept in memory: many halvings of few users, few of many."""


class TrainingError(SpotifyDagError):
    """There is nothing to train on, or training went wrong. The message says why."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train."""

    epochs: int = 30
    batches: int = 2_000
    """At most so many, but an epoch at least: of many users, fewer epochs teach as much."""
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 5e-2
    temperature: float = 0.1
    part_dropout: float = 0.1
    validation_share: float = 0.1
    """Of the users; where that is fewer than `VALIDATION_USERS`, see `train_tower`."""
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
    """What the mix of the blocks is chosen from."""
    components: int = 512
    """Kernel principal components that mixed vectors are projected on, at most; 0 compares them as they are."""
    component_power: float = 0.5
    """A component is divided by its strength to this power."""
    broad: float = 0.5
    """Weight of anchor and factors beside the components."""
    loss: Literal["info_nce", "cosine", "cosine_random"] = "info_nce"
    """``cosine``: both halves of a user alike, random users not; ``cosine_random``: random users alike, as the system
    this project grew out of had it. Both for comparison."""
    parts: tuple[str, ...] = PARTS
    """Parts the network may see."""
    seed: int = 0

    @property
    def tower(self) -> dict[str, Any]:
        """The settings that shape the network."""
        names = ("hidden", "dim", "dropout", "anchor_dim", "anchor_ridge", "anchor_power", "parts")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class TrainedModel:
    """A model with how its training went."""

    model: UserModel
    history: list[dict[str, float]] = field(repr=False)
    """Per epoch: ``epoch, loss, mrr, hit@1, hit@10`` on the validation users."""
    metrics: dict[str, float]
    """``mrr, hit@1, hit@10`` of the model, its ``mix_…`` and number of ``components`` (0 for none),
    ``random_pair_cosine``, and numbers of users."""


def halvings(users: int) -> Sequence[By]:
    """Return how users should be halved to train on this many: by item and by playlist in turn."""
    pairs = int(np.clip(HALVED_USERS // max(users, 1), 2, MAX_HALVINGS)) // 2
    return ("item", "playlist") * pairs


def epochs_of(users: int, settings: TrainingSettings) -> int:
    """Return how many epochs training on this many users takes at most."""
    return _epochs(users, settings) * (1 if settings.validation_share * users >= VALIDATION_USERS[0] else 2)


def _epochs(users: int, settings: TrainingSettings) -> int:
    """Return how many epochs a network sees this many users at most."""
    return max(min(settings.epochs, settings.batches // max(-(-users // settings.batch), 1)), 1)


def train_tower(
    data: Halved, settings: TrainingSettings, progress: Callable[[dict[str, float]], None] = lambda _: None
) -> TrainedModel:
    """Train a tower: the epoch with the best validation MRR, and the mix that serves the validation users best.

    Where the share of users that is set aside would be too small to choose by, a third is, in a trial; everybody is
    trained on afterwards, with what the trial chose. With too few for that too, the training users themselves say how
    it goes.

    Parameters
    ----------
    data
        The users to train on, with at least one halving.
    settings
        How to train; the same data and settings give the same weights.
    progress
        Hears each epoch of the history.

    Raises
    ------
    TrainingError
        If fewer than two users have two halves, or an embedding or a loss is not finite.
    """
    _check(data)
    rng = np.random.default_rng(settings.seed)
    rows = rng.permutation(np.flatnonzero(data.usable))
    least, most = VALIDATION_USERS
    share = int(len(rows) * settings.validation_share)
    aside = min(share, most) if share >= least else min(least, len(rows) // 3)
    validation = np.sort(rows[: aside if aside >= MIN_VALIDATION_USERS else 0])
    everybody = np.sort(rows)

    with torch.random.fork_rng(devices=[]), _one_thread():
        trial = _fit(data, np.setdiff1d(everybody, validation), validation, settings, progress)
        watched = validation if len(validation) else everybody
        mix, judge = _chosen(trial, data, validation, settings)
        # The last halving is one by playlist, as a user's listening is split when matches are judged.
        asked, shown = (judge.encode(half.take(watched), data.catalogue) for half in data.halves[-1])
        others = judge.encode(data.halves[-1][1].take(np.setdiff1d(everybody, watched)), data.catalogue)
        found = own_half(asked, np.concatenate([shown, others]))
        if share < least and len(validation):
            last = _fit(data, everybody, validation[:0], settings, progress, epochs=trial.epochs)
            model = _joined(last, mix)
            if judge.components is not None:
                model = _projected(model, data, everybody, settings)
        else:
            model = judge
        vectors = model.encode(data.whole.take(everybody), data.catalogue)
        scale = ScoreScale.fit(vectors, asked, shown, data.halves[-1][0].tracks[watched])
    metrics = {
        **found,
        **{f"mix_{name}": float(value) for name, value in asdict(mix).items()},
        "components": float(0 if model.components is None else model.components.axes.shape[1]),
        "random_pair_cosine": random_pair_cosine(vectors, rng),
        "training_users": float(len(everybody) - (len(validation) if model is judge else 0)),
        "validation_users": float(len(validation)),
    }
    return TrainedModel(replace(model, scale=scale), trial.history, metrics)


@dataclass(frozen=True)
class _Fitted:
    """What was fitted on some users, not yet mixed."""

    parts: PartMap
    tower: UserTower
    history: list[dict[str, float]]
    epochs: int
    """How many epochs the network was trained."""


def _fit(
    data: Halved,
    training: np.ndarray,
    watched: np.ndarray,
    settings: TrainingSettings,
    progress: Callable[[dict[str, float]], None],
    epochs: int | None = None,
) -> _Fitted:
    """Fit everything on ``training`` users: for so many epochs, or as many as were best for the ``watched`` ones."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    part_map, cross = PartMap.fit(
        data.whole.take(training), data.catalogue, factors=FactorSettings(settings.factors, settings.alpha),
        axes=settings.axes, seed=settings.seed,
    )  # fmt: skip
    crossed = cross.over(data.catalogue)
    views = [(crossed(first.take(training)), crossed(second.take(training))) for first, second in data.halves]
    bound = part_map.over(data.catalogue)
    judges = watched if len(watched) or epochs is not None else training
    sides = [bound(half.take(judges)) for half in data.halves[-1]]
    tower = UserTower([part.shape[1] for part in views[0][0].parts], **settings.tower, mix=settings.mixes[0])
    tower.fit_anchor(views)
    history = _descend(tower, views, sides, settings, rng, progress, epochs)
    return _Fitted(part_map, tower, history, len(history) if epochs else int(best_epoch(history)) + 1)


@dataclass(frozen=True)
class _Trial:
    """Validation users, asking among everybody."""

    data: Halved
    asking: np.ndarray
    answering: np.ndarray

    @classmethod
    def of(cls, data: Halved, validation: np.ndarray, seed: int) -> _Trial:
        asking = validation[:CHOICE_QUERIES]
        rest = np.random.default_rng(seed).permutation(np.setdiff1d(np.flatnonzero(data.usable), asking))
        return cls(data, asking, np.concatenate([asking, rest[: CHOICE_GALLERY - len(asking)]]))

    @property
    def halves(self) -> tuple[Listening, Listening]:
        first, second = self.data.halves[-1]
        return first.take(self.asking), second.take(self.answering)

    @property
    def panel(self) -> Panel:
        asked, shown = self.data.halves[-1]
        return Panel(
            np.arange(len(self.asking)), asked.artists[self.asking], shown.artists[self.asking],
            self.data.whole.artists[self.answering],
        )  # fmt: skip

    def mix(self, fitted: _Fitted, mixes: Sequence[Mix]) -> Mix:
        """Return the mix that serves them best."""
        if len(mixes) == 1:
            return mixes[0]
        bound = fitted.parts.over(self.data.catalogue)

        def blocks(half: Listening) -> Blocks:
            inputs = bound(half)
            return Blocks(*fitted.tower.blocks(inputs), inputs.factors, inputs.axes)

        first, second = self.halves
        return choose(blocks(first), blocks(second), self.panel, fitted.parts.latent.strengths, mixes)

    def best(self, models: Sequence[UserModel]) -> int:
        """Return the number of the model that serves them best."""

        def judged(model: UserModel) -> tuple[np.ndarray, np.ndarray]:
            asked, shown = (model.encode(half, self.data.catalogue) for half in self.halves)
            return self.panel.judge(asked @ shown.T)

        return preferred([judged(model) for model in models])


def _chosen(fitted: _Fitted, data: Halved, validation: np.ndarray, settings: TrainingSettings) -> tuple[Mix, UserModel]:
    """Return the mix that serves the validation users best, and the model of it, with components if they help."""
    if not len(validation):
        return settings.mixes[0], _joined(fitted, settings.mixes[0])
    trial = _Trial.of(data, validation, settings.seed)
    mix = trial.mix(fitted, settings.mixes)
    plain = _joined(fitted, mix)
    if not settings.components:
        return mix, plain
    training = np.setdiff1d(np.flatnonzero(data.usable), validation)
    models = (plain, _projected(plain, data, training, settings))
    return mix, models[trial.best(models)]


def _joined(fitted: _Fitted, mix: Mix) -> UserModel:
    """Return the model of a mix, whose scores mean nothing yet."""
    fitted.tower.mix = mix
    parts = replace(fitted.parts, latent=fitted.parts.latent.weighed(mix.kept, mix.power))
    return UserModel(parts, fitted.tower, ScoreScale(np.empty(0, np.float32), 1.0))


def _projected(model: UserModel, data: Halved, training: np.ndarray, settings: TrainingSettings) -> UserModel:
    """Return the model with the components of the ``training`` users."""
    landmarks = model.encode(data.whole.take(landmarks_of(training, settings.seed)), data.catalogue)
    components = KernelComponents.fit(landmarks, settings.components, settings.component_power)
    return replace(model, components=components, broad=settings.broad)


def _descend(
    tower: UserTower,
    views: Sequence[tuple[TowerInputs, TowerInputs]],
    watched: Sequence[TowerInputs],
    settings: TrainingSettings,
    rng: np.random.Generator,
    progress: Callable[[dict[str, float]], None],
    epochs: int | None,
) -> list[dict[str, float]]:
    """Train the network, leave it at the epoch with the best MRR of ``watched``, and return the history.

    With ``epochs``, as many are run and the last one is kept.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tower.to(device)
    generator = torch.Generator().manual_seed(settings.seed)
    log_scale = nn.Parameter(torch.tensor(-np.log(settings.temperature), dtype=torch.float32, device=device))
    optimiser = torch.optim.AdamW(
        [
            {"params": tower.parameters(), "weight_decay": settings.weight_decay},
            {"params": [log_scale], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
    )
    users = len(views[0][0])
    batches = -(-users // settings.batch)
    most = _epochs(users, settings)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=max(most, epochs or 0) * batches, pct_start=0.1
    )
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    for epoch in range(epochs or most):
        tower.train()
        pair = views[int(rng.integers(len(views)))]
        losses = []
        for part in np.array_split(rng.permutation(users), batches):
            learned = [
                tower(*_drop_parts(to_tensors(view.take(part), device), settings.part_dropout, generator))[0]
                for view in pair
            ]
            loss = _loss(settings.loss, learned[0], learned[1], log_scale)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        if not np.isfinite(losses).all():
            raise TrainingError(f"The loss of epoch {epoch} is not finite; lower the learning rate.")
        entry = {"epoch": epoch, "loss": float(np.mean(losses))}
        if epochs is None:
            history.append(entry | own_half(*(tower.encode(half) for half in watched)))
            if best_epoch(history) == epoch:
                best = {name: tensor.detach().clone() for name, tensor in tower.state_dict().items()}
        else:
            history.append(entry)
        progress(history[-1])
    if best:
        tower.load_state_dict(best)
    tower.cpu().eval()
    return history


def best_epoch(history: Sequence[dict[str, float]]) -> int:
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


def random_pair_cosine(vectors: np.ndarray, rng: np.random.Generator, pairs: int = 20_000) -> float:
    """Return the mean cosine of random pairs of unit vectors; near 1 when training has collapsed."""
    first, second = rng.integers(0, len(vectors), (2, pairs))
    different = first != second
    return float((vectors[first[different]] * vectors[second[different]]).sum(axis=1).mean())


def _check(data: Halved) -> None:
    usable = int(data.usable.sum())
    if usable < 2:
        raise TrainingError(
            f"{usable} of {len(data)} users have listening that can be split in two; training needs at least 2. "
            "Add users: spotify-dag run --source …"
        )
    for number, name in enumerate(EMBEDDINGS):
        sides = [data.whole, *(side for pair in data.halves for side in pair)]
        if not all(np.isfinite(side.embeddings[number]).all() for side in sides):
            raise TrainingError(
                f"Column '{name}' holds a number that is not finite; check the encoder (SPOTIFY_DAG_ENCODER)."
            )


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
    """Hide whole parts at random, so that the tower learns to do without any of them."""
    parts, known, statistics = tensors
    keep = torch.rand(known.shape, generator=generator) >= share
    # Somebody with nothing left could not be told from anybody else: such a user keeps everything.
    kept = known * keep.to(known.device)
    return parts, torch.where(kept.sum(dim=1, keepdim=True) > 0, kept, known), statistics
