"""Who chooses the mix of weights that were given away: users that may be trained on, but for those held out."""

from __future__ import annotations

import numpy as np
import pytest

from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.tower import evaluation
from spotify_dag.tower.local_mix import LEAST_USERS
from spotify_dag.tower.tower_model import UserModel
from spotify_dag.training_data.given_weights import fit_to_users


@pytest.fixture
def given(project: Project) -> UserModel:
    return project.registry.load(project.registry.latest() or "")


def limited(project: Project, users: int) -> Project:
    return Project.open(Settings(data=project.settings.data, n_buckets=2, train_users=users))


def test_all_who_may_be_trained_on_choose_the_same_each_time(project: Project, given: UserModel) -> None:
    first, again = (fit_to_users(limited(project, 40), given) for _ in range(2))
    assert first.users == 40
    assert 0 < first.given_mrr <= first.mrr <= 1
    assert (first.changed, first.mrr) == (again.changed, again.mrr)


def test_fewer_than_are_needed_choose_nothing(project: Project, given: UserModel) -> None:
    choice = fit_to_users(limited(project, LEAST_USERS - 1), given)
    assert (choice.model, choice.users, choice.changed) == (given, LEAST_USERS - 1, False)
    assert np.isnan(choice.mrr)


def test_who_is_held_out_does_not_choose(project: Project, given: UserModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [f"synthetic-{number:06d}" for number in range(40)]
    monkeypatch.setattr(evaluation, "LEAST_HELD_OUT", 1)
    held = int(evaluation.held_out(ids).sum())
    assert held > 0
    assert fit_to_users(limited(project, 40), given).users == 40 - held


def test_an_empty_base_keeps_what_was_given(given: UserModel, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = Project.open(Settings(data=tmp_path_factory.mktemp("empty"), n_buckets=2))
    assert fit_to_users(empty, given).users == 0
