"""Which settings of a training are worth a search, and the search: a bounded number of trials by Optuna.

The sampler is the tree-structured Parzen estimator (Bergstra et al. 2011). Its first trial is the settings as they are,
so the best is never worse than these on the users it is judged by.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError

if TYPE_CHECKING:
    import optuna

    from spotify_dag.tower.hyperparameters import TrainingSettings
    from spotify_dag.tower.views import Halved


class TuningError(SpotifyDagError):
    """There is nothing to tune on or with, or no time to. The message says what to do."""


@dataclass(frozen=True)
class Span:
    """The values that are tried for one setting, both ends included."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> float:
        """Return a value to try."""
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def holds(self, value: Any) -> bool:
        """Return whether a value, of whatever type, is one that could have been tried."""
        kinds = (int,) if self.whole else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


SPACE = {
    "learning_rate": Span(1e-4, 1e-2, log=True),
    "weight_decay": Span(1e-4, 0.5, log=True),
    "dropout": Span(0.0, 0.6),
    "epochs": Span(10, 60, whole=True),
    "temperature": Span(0.02, 0.5, log=True),
    "alpha": Span(5.0, 200.0, log=True),
    "factors": Span(16, 128, log=True, whole=True),
    "anchor_ridge": Span(0.1, 10.0, log=True),
    "anchor_power": Span(0.0, 0.5),
}
"""By name of `TrainingSettings`. The sizes of the network are not here: they cost time and bytes, not only quality."""


@dataclass(frozen=True)
class Tuned:
    """What a search found."""

    settings: dict[str, float]
    """A value for each name of `SPACE`."""
    mrr: float
    """Validation MRR of the best trial, the largest of ``trials`` numbers and so a little flattering."""
    start_mrr: float
    """Validation MRR of the settings the search began with."""
    trials: int
    """Trials that came to their end."""
    validation_users: int
    """Users the MRR is of; 0 where there are too few to spare any, and it is of the training users."""


def search(
    halved: Halved,
    start: TrainingSettings,
    *,
    trials: int,
    seconds: float,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Tuned:
    """Search `SPACE` for the settings with the best validation MRR.

    Parameters
    ----------
    halved
        The users to train on; each trial trains on the same halves and is judged by the same users.
    start
        Settings of the first trial, inside of `SPACE`; what is not in `SPACE` is the same in all trials.
    trials, seconds
        The search ends at whichever comes first. A trial that is training when the time is up ends with its epoch, and
        does not count.
    seed
        Of the sampler: the same data, settings and seed give the same trials.
    progress
        Hears of each trial that ended.

    Raises
    ------
    TuningError
        If Optuna is not installed, or there was no time for a single trial.
    TrainingError
        If ``start`` itself cannot be trained with.
    """
    try:
        import optuna
    except ImportError as error:
        raise TuningError("Tuning needs Optuna. Install it: pip install 'spotify-dag[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mrr = partial(_validation_mrr, halved=halved, start=start, deadline=time.monotonic() + seconds)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({name: getattr(start, name) for name in SPACE})
    study.optimize(mrr, n_trials=trials, timeout=seconds, callbacks=[lambda _study, _trial: progress(1)])
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if not done:
        raise TuningError(f"{seconds / 60:g} minutes are too few for one trial. Give more: --minutes")
    best = study.best_trial
    return Tuned(best.params, study.best_value, done[0].values[0], len(done), best.user_attrs["validation_users"])


def _validation_mrr(trial: optuna.Trial, *, halved: Halved, start: TrainingSettings, deadline: float) -> float:
    """Train with the settings of a trial, and return the validation MRR.

    ``deadline`` is a time of the monotonic clock, in seconds. A training that is not at its end by then does not count,
    nor do settings that cannot be trained with, except those of the first trial.
    """
    import optuna

    from spotify_dag.tower.training import TrainingError, train_tower

    def stop_in_time(_epoch: dict[str, float]) -> None:
        if time.monotonic() > deadline:
            raise optuna.TrialPruned

    settings: dict[str, Any] = {name: span.suggest(trial, name) for name, span in SPACE.items()}
    try:
        trained = train_tower(halved, replace(start, **settings), stop_in_time)
    except TrainingError as error:
        if trial.number == 0:
            raise
        raise optuna.TrialPruned from error
    trial.set_user_attr("validation_users", int(trained.metrics["validation_users"]))
    return trained.metrics["validation_mrr"]
