"""Fit weights that somebody gave away to the users of a base: the mix of the blocks is chosen on some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.project import Project
from spotify_dag.tower.evaluation import held_out
from spotify_dag.training_data.listening import read_users
from spotify_dag.training_data.policy import training_buckets, training_sample

if TYPE_CHECKING:
    from spotify_dag.tower.local_mix import LocalChoice
    from spotify_dag.tower.tower_model import UserModel


def fit_to_users(project: Project, given: UserModel) -> LocalChoice:
    """Return weights with the mix that the users of a base choose (`tower.local_mix.choose_here`).

    To choose is to learn. So only users that may be trained on choose, and none that is held out.
    """
    import polars as pl

    from spotify_dag.tower.local_mix import HALVINGS, LEAST_USERS, MOST_USERS, LocalChoice, choose_here

    buckets = training_buckets(project)
    ids = np.sort(training_sample(project, buckets).select("user_id").collect()["user_id"].to_numpy())
    ids = ids[~held_out(ids.tolist())]
    if len(ids) < LEAST_USERS:
        return LocalChoice(given, len(ids), np.nan, np.nan, changed=False)
    ids = np.random.default_rng(project.settings.seed).permutation(ids)[:MOST_USERS]
    users = read_users(project, buckets, pl.LazyFrame({"user_id": ids.tolist()}))
    return choose_here(given, users.halved(HALVINGS, seed=project.settings.seed))
