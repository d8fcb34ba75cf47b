"""What the tests of the tower share: a generated world, halved, and a tower trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import polars as pl
import pytest
import torch

from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag.tower.training import TrainedModel, train_tower
from spotify_dag.tower.views import Halved, UserData
from spotify_dag_tests.tower.worlds import QUICK, user_data


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tests that run side by side out of each other's way: these networks are too small to share out."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def source() -> SyntheticSource:
    return SyntheticSource(users=150, playlists=4, tracks=12)


@pytest.fixture(scope="session")
def world(source: SyntheticSource) -> UserData:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ingestion = Ingestion([source], buckets=range(4), n_buckets=4, profiles_count=None, now=now)
    raw = pl.concat(ingestion.records())
    return user_data(ingestion.users(), raw, source.artist_genres())


@pytest.fixture(scope="session")
def halved(world: UserData) -> Halved:
    """The users of the world, halved by playlist twice."""
    return world.halved(("playlist", "playlist"), seed=0)


@pytest.fixture(scope="session")
def trained(halved: Halved) -> TrainedModel:
    return train_tower(halved, QUICK)
