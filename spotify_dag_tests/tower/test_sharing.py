"""Weights that are given away hold no user: neither a vector, nor a name that only a few have."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spotify_dag.schemas import FEWEST_LISTENERS
from spotify_dag.tower.factors import unit
from spotify_dag.tower.kernel import KernelComponents
from spotify_dag.tower.sharing import LEAST_MEMBERS, SharingError, group_means, without_users
from spotify_dag_tests.small_models import small_model, small_users

TRAINING = {"components": 16, "component_power": 0.5}


def test_every_mean_is_of_five_users_or_more() -> None:
    rng = np.random.default_rng(0)
    # Groups of like users, and some who are like nobody.
    centres = rng.normal(size=(6, 8))
    users = np.vstack([np.repeat(centres, [40, 20, 9, 6, 3, 1], axis=0) + rng.normal(0, 0.05, (79, 8))])
    users = unit(users).astype(np.float32)
    means = group_means(users)
    assert 1 <= len(means) <= len(users) // LEAST_MEMBERS
    np.testing.assert_allclose(np.linalg.norm(means, axis=1), 1, rtol=1e-5)
    # The one user who is like nobody is no mean of their own.
    assert (means @ users[-1]).max() < 0.999


def test_a_few_users_are_one_group_and_fewer_are_not_given_away() -> None:
    users = unit(np.random.default_rng(1).normal(size=(LEAST_MEMBERS, 4))).astype(np.float32)
    np.testing.assert_allclose(group_means(users), unit(users.mean(axis=0, keepdims=True)), rtol=1e-5)
    with pytest.raises(SharingError, match="with 4 of those it was trained on"):
        group_means(users[1:])


def test_no_vector_of_a_user_is_left_and_users_are_still_encoded() -> None:
    model = small_model(0)
    listening, catalogue = small_users(80)
    vectors = model.encode(listening, catalogue)
    model = replace(model, components=KernelComponents.fit(vectors, 16, 0.5), broad=1.0)
    shared = without_users(model.config, model.tensors(), TRAINING)
    assert 0 < shared.groups <= 80 // LEAST_MEMBERS
    for name, tensor in shared.tensors.items():
        rows = tensor.numpy()
        if rows.ndim == 2 and rows.shape[1] == vectors.shape[1]:
            nearest = (unit(rows.astype(np.float64)) @ vectors.T).max()
            assert nearest < 1 - 1e-4, name
    restored = type(model).restore(shared.config, shared.tensors)
    found = restored.encode(listening, catalogue)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-4)


def test_names_of_few_listeners_leave() -> None:
    model = small_model(0)
    tensors = model.tensors()
    names = json.loads(tensors["artists.names"].numpy().tobytes())
    users = torch.full_like(tensors["artists.users"], 10)
    users[0] = FEWEST_LISTENERS - 1
    shared = without_users(model.config, {**tensors, "artists.users": users}, TRAINING)
    assert json.loads(shared.tensors["artists.names"].numpy().tobytes()) == names[1:]
    assert names[0] not in json.loads(shared.tensors["latent.names"].numpy().tobytes())
    assert len(shared.tensors["artists.vectors"]) == len(names) - 1
