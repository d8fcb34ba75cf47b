"""Choose the mix of the blocks, and whether components help, on users that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spotify_dag.tower.fit import Fitted
from spotify_dag.tower.hyperparameters import TrainingSettings
from spotify_dag.tower.inputs import Listening
from spotify_dag.tower.kernel import KernelComponents, landmarks_of
from spotify_dag.tower.mix import Blocks, Mix, Panel, choose, preferred
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.tower_model import UserModel
from spotify_dag.tower.views import Halved

CHOICE_QUERIES, CHOICE_GALLERY = 500, 5_000
"""Users who ask, and users who answer."""


@dataclass(frozen=True)
class Choice:
    """What validation users chose."""

    mix: Mix
    model: UserModel
    """The model of the mix; its scores mean nothing yet."""


def choose_model(
    fitted: Fitted, halved: Halved, validation: np.ndarray, training: np.ndarray, settings: TrainingSettings
) -> Choice:
    """Return the mix that serves the validation users best, and its model, with components if they help.

    Parameters
    ----------
    fitted
        What was fitted on the ``training`` users.
    halved
        The users with their halves.
    validation, training
        Row numbers of disjoint users. Without validation users the first mix is taken, without components.
    settings
        The mixes, and the size of components.
    """
    if not len(validation):
        return Choice(settings.mixes[0], with_mix(fitted, settings.mixes[0]))
    trial = _Trial.of(halved, validation, settings.seed)
    mix = trial.best_mix(fitted, settings.mixes)
    plain = with_mix(fitted, mix)
    if not settings.components:
        return Choice(mix, plain)
    models = (plain, with_components(plain, halved, training, settings))
    return Choice(mix, models[trial.best_model(models)])


def with_mix(fitted: Fitted, mix: Mix) -> UserModel:
    """Return the model of a mix; its scores mean nothing yet."""
    fitted.tower.mix = mix
    return UserModel(fitted.parts, fitted.tower, ScoreScale(np.empty(0, np.float32), 1.0))


def with_components(model: UserModel, halved: Halved, training: np.ndarray, settings: TrainingSettings) -> UserModel:
    """Return the model with the components of the ``training`` users."""
    rows = landmarks_of(training, settings.seed)
    landmarks = model.encode(halved.whole.take(rows), halved.catalogue)
    components = KernelComponents.fit(landmarks, settings.components, settings.component_power)
    return replace(model, components=replace(components, rows=rows), broad=settings.broad)


@dataclass(frozen=True)
class _Trial:
    """Validation users, who ask among everybody."""

    data: Halved
    asking: np.ndarray
    answering: np.ndarray

    @classmethod
    def of(cls, halved: Halved, validation: np.ndarray, seed: int) -> _Trial:
        asking = validation[:CHOICE_QUERIES]
        rest = np.random.default_rng(seed).permutation(np.setdiff1d(np.flatnonzero(halved.usable), asking))
        return cls(halved, asking, np.concatenate([asking, rest[: CHOICE_GALLERY - len(asking)]]))

    @property
    def halves(self) -> tuple[Listening, Listening]:
        first, second = self.data.judging
        return first.take(self.asking), second.take(self.answering)

    @property
    def panel(self) -> Panel:
        asked, shown = self.data.judging
        return Panel(
            np.arange(len(self.asking)), asked.artists[self.asking], shown.artists[self.asking],
            self.data.whole.artists[self.answering],
        )  # fmt: skip

    def best_mix(self, fitted: Fitted, mixes: Sequence[Mix]) -> Mix:
        if len(mixes) == 1:
            return mixes[0]
        bound = fitted.parts.over(self.data.catalogue)

        def blocks(half: Listening) -> Blocks:
            inputs = bound(half)
            return Blocks(*fitted.tower.blocks(inputs), inputs.factors, inputs.axes)

        first, second = self.halves
        return choose(blocks(first), blocks(second), self.panel, fitted.parts.latent.strengths, mixes)

    def best_model(self, models: Sequence[UserModel]) -> int:
        """Return the number of the model that serves the validation users best."""

        def judged(model: UserModel) -> tuple[np.ndarray, np.ndarray]:
            asked, shown = (model.encode(half, self.data.catalogue) for half in self.halves)
            return self.panel.judge(asked @ shown.T)

        return preferred([judged(model) for model in models])
