"""``spotify-dag tune``: a bounded search for better settings of training."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.table import Table

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.progress import TerminalProgress
from spotify_dag.project import Project
from spotify_dag.tower.tuning import SPACE, Tuned, TuningError, search
from spotify_dag.training_data.policy import nothing_to_train_on
from spotify_dag.training_data.training_settings import save_training_settings, training_config

if TYPE_CHECKING:
    from spotify_dag.tower.hyperparameters import TrainingSettings
    from spotify_dag.tower.views import Halved


def tune(
    context: typer.Context,
    trials: Annotated[int, typer.Option(min=1, help="At most this many trainings.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, help="At most this many minutes of training.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the search.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Search for the settings of training with the best MRR on this data. Later trainings use them."""
    with clear_errors():
        from spotify_dag.tower.hyperparameters import TrainingSettings

        project = open_project(context)
        defaults = TrainingSettings(seed=project.settings.seed)
        halved = _halved_once(project)
        with TerminalProgress().task("Trying settings", trials) as advance:
            tuned = search(halved, defaults, trials=trials, seconds=60 * minutes, seed=seed, progress=advance)
        save_training_settings(project, tuned)
        if as_json:
            print_json({**asdict(tuned), "path": str(training_config(project))})
        else:
            _show(project, tuned, defaults)


def _halved_once(project: Project) -> Halved:
    """Return the users that may be trained on and are not held out for evaluation, with their halves."""
    from spotify_dag.tower.evaluation import held_out
    from spotify_dag.tower.hyperparameters import halvings
    from spotify_dag.training_data.listening import training_users

    if reason := nothing_to_train_on(project):
        raise TuningError(reason)
    data = training_users(project)
    kinds = halvings(data.users.height)
    learners = data.take(np.flatnonzero(~held_out(data.users["user_id"].to_list())))
    with TerminalProgress().task("Halving users", len(kinds)) as advance:
        return learners.halved(kinds, seed=project.settings.seed, progress=advance)


def _show(project: Project, tuned: Tuned, defaults: TrainingSettings) -> None:
    table = Table()
    for heading in ("Setting", "Default", "Best"):
        table.add_column(heading, justify="left" if heading == "Setting" else "right")
    for name in SPACE:
        table.add_row(name, f"{getattr(defaults, name):.4g}", f"{tuned.settings[name]:.4g}")
    out.print(table)
    chosen_by = f"{tuned.validation_users:,} users" if tuned.validation_users else "the training users, being few"
    out.print(
        f"Validation MRR {tuned.mrr:.3f}, by default {tuned.start_mrr:.3f}: best of {tuned.trials} trials, chosen by "
        f"{chosen_by}. The best of many flatters; the gate measures the next tower on other users.",
        soft_wrap=True,
    )
    out.print(f"Written: {training_config(project)}. Train with it: spotify-dag run --train", soft_wrap=True)
