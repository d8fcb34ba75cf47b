"""A small world whose model nobody trained, served by a real server on loopback."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
import torch

from spotify_dag.app.asgi import Server, create_app
from spotify_dag.features.embeddings import user_embeddings
from spotify_dag.features.genres import bucket_artists, match_genres
from spotify_dag.features.tastes import user_tastes
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.text_encoder import load_vectors, store_vectors
from spotify_dag.tower.factors import FactorSettings
from spotify_dag.tower.mix import Mix
from spotify_dag.tower.parts import PartMap
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.tower_model import UserModel, UserTower
from spotify_dag.training_data.listening import read_listening, taste_texts
from spotify_dag_tests.conftest import made_once
from spotify_dag_tests.waiting import until

BUCKETS = [0, 1]
WORLD = {"users": 30, "playlists": 2, "tracks": 12}
EVIL = ("<img src=x onerror=alert(1)>", "\u202eABC شام", "${alert(1)}{{constructor}}", '"onmouseover="alert(1)', "=1+1")
"""Names somebody chose to do harm: markup, another direction of writing, templates, attributes, formulas."""
PRIVATE = "synthetic-000003"
"""Who did not agree to be shown."""


def user_id(number: int) -> str:
    return f"synthetic-{number:06d}"


def exportify(artists: list[str], titles: list[str] | None = None) -> bytes:
    """Return a playlist as Exportify writes it, a row per artist."""
    head = "Track URI,Track Name,Album Name,Artist Name(s),Release Date,Popularity,Explicit\n"
    rows = [
        f'spotify:track:{place:022d},"{(titles or artists)[place].replace(chr(34), chr(34) * 2)}",Album,'
        f'"{artist.replace(chr(34), chr(34) * 2)}",19{90 + place % 10}-01-01,50,false\n'
        for place, artist in enumerate(artists)
    ]
    return (head + "".join(rows)).encode()


def make_world(data: Path) -> Project:
    """Make a data root as the graph would, with a model of random weights; in seconds, without Dagster."""
    project = Project.open(Settings(data=data, n_buckets=len(BUCKETS)))
    project.check_layout()
    project.inbox.register_source("synthetic", WORLD)
    lake = project.lake
    ingestion = Ingestion(
        project.inbox.sources(), buckets=BUCKETS, n_buckets=2, profiles_count=None, now=datetime.now(UTC)
    )
    raw = pl.concat(ingestion.records())
    shown = pl.col("user_id") != PRIVATE
    users = ingestion.users().with_columns(shown.alias("opted_in"), pl.lit("synthetic").alias("source"))
    # Five titles that were chosen to do harm, in the first playlist of the first user.
    first = (pl.col("user_id") == user_id(0)) & (pl.col("playlist_position") == 0) & (pl.col("position") < len(EVIL))
    evil = pl.col("position").replace_strict(dict(enumerate(EVIL)), default=None, return_dtype=pl.String)
    raw = raw.with_columns(pl.when(first).then(evil).otherwise("track_name").alias("track_name"))
    lake.replace(RAW_PLAYLISTS, BUCKETS, [raw])
    lake.replace(USERS, BUCKETS, [users])
    genres = ARTIST_GENRES.conform(match_genres(bucket_artists(raw.lazy()), project.genre_tables()))
    lake.replace(ARTIST_GENRES, BUCKETS, [genres])
    tastes = user_tastes(raw.lazy(), genres)
    lake.replace(USER_TASTES, BUCKETS, [tastes])
    texts = taste_texts(project, BUCKETS)
    store_vectors(lake, project.encoder, texts, project.encoder.encode(texts["text"].to_list()))
    embedded = user_embeddings(
        users.sort("user_id"), raw.lazy(), tastes, load_vectors(lake, project.encoder, texts),
        top_artist_count=project.settings.top_artist_count, feature_version=feature_version(project),
    )  # fmt: skip
    lake.replace(USER_EMBEDDINGS, BUCKETS, [embedded])
    for seed in (1, 0):
        publish_model(project, seed)
    return project


def publish_model(project: Project, seed: int) -> str:
    """Make a model nobody trained the one that answers; return its version."""
    users = project.lake.scan(USER_EMBEDDINGS).sort("user_bucket", "user_id").collect()
    listening, catalogue = read_listening(project, BUCKETS, users)
    parts, _ = PartMap.fit(listening, catalogue, factors=FactorSettings(dim=8), axes=16, seed=seed)
    mix = Mix(axes=4.0, kept=64, power=0.5)
    parts = replace(parts, latent=parts.latent.weighed(mix.kept, mix.power))
    torch.manual_seed(seed)
    dims = [part.shape[1] for part in parts.over(catalogue)(listening).parts]
    tower = UserTower(dims, hidden=16, part_out=8, dim=8, anchor_dim=2, mix=mix)
    blank = ScoreScale(np.zeros(160, np.float32), 5.0)
    vectors = UserModel(parts, tower.eval(), blank).encode(listening, catalogue)
    scale = ScoreScale(ScoreScale.fit(vectors, vectors, vectors, listening.tracks).cosines, 20.0)
    card = {"feature_version": feature_version(project)}
    version = project.registry.save(UserModel(parts, tower.eval(), scale), card, metrics={}, history=[])
    index = project.user_index(version)
    shown = project.lake.scan(USERS).select("user_id", "opted_in").collect()
    keys = users.select("user_id", "user_bucket", "content_hash", "feature_version").join(
        shown, on="user_id", maintain_order="left"
    )
    column = pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
    index.replace(BUCKETS, keys.with_columns(column))
    project.publish(version)
    return version


def add_tracks(data: Path) -> None:
    """Have the graph make the tracks of a world findable, and playlists continuable."""
    from spotify_dag.definitions import build_definitions

    definitions = build_definitions(settings=Settings(data=data, n_buckets=len(BUCKETS)))
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert definitions.resolve_job_def("tracks").execute_in_process(run_config=quiet).success


@dataclass
class Served:
    """An app that listens, and a client without cookies of its own."""

    url: str
    project: Project
    service: Any
    client: httpx.Client

    def follow(self, answer: httpx.Response) -> tuple[str, dict[str, Any], list[str]]:
        """Follow what was begun; return how it ended, with what, and the stages on the way."""
        import json

        assert answer.status_code == 202, answer.text
        with self.client.stream("GET", answer.json()["events"]) as stream:
            told = stream.read().decode()
        events = [dict(line.split(": ", 1) for line in event.splitlines()) for event in told.strip().split("\n\n")]
        data = [(event["event"], json.loads(event["data"])) for event in events]
        return *data[-1], [found["stage"] for name, found in data if name == "progress"]


@contextmanager
def serving(project: Project, *, pages: bool = False, wait: bool = True) -> Iterator[Served]:
    """Serve the app of a data root in a thread."""
    app = create_app(project, pages=pages)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = Server(app, project)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            until(lambda: server.started and (not wait or client.get("/readyz").status_code == 200))
            yield Served(url, project, app.state.service, client)
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root of 30 users, with a model that answers and another one."""
    return made_once(tmp_path_factory, "app", lambda folder: make_world(folder / "data")) / "data"


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """A Spotify whose first 30 users are those of the world."""
    with serve(SimulatorSettings(**{**WORLD, "users": 40})) as running:
        yield running


@pytest.fixture(scope="session")
def connected(simulator: Simulator) -> dict[str, Any]:
    """Settings of an app that reads the simulated Spotify, and lets tests ask as often as they like."""
    return {
        "spotify_api_url": f"{simulator.url}/v1", "spotify_auth_url": simulator.url,
        "spotify_client_id": "simulator", "spotify_client_secret": "simulator", "n_buckets": 2,
        "app_connections_per_client": 1_000, "app_requests_per_minute": 1_000_000,
        "app_newcomers_per_minute": 100_000, "app_max_upload_mb": 2,
    }  # fmt: skip


@pytest.fixture(scope="session")
def served(world: Path, connected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with its pages, which tests share: they may add to it, and take nothing away."""
    data = tmp_path_factory.mktemp("served") / "data"
    shutil.copytree(world, data)
    with serving(Project.open(Settings(data=data, **connected)), pages=True) as running:
        running.service.newcomers.warm(running.service.serving.snapshot())
        yield running


@pytest.fixture(scope="session")
def with_tracks(world: Path, connected: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The app with its pages over the same world, with tracks."""

    def make(folder: Path) -> None:
        shutil.copytree(world, folder / "data")
        add_tracks(folder / "data")

    data = made_once(tmp_path_factory, "app-tracks", make) / "data"
    with serving(Project.open(Settings(data=data, **connected)), pages=True) as running:
        yield running


@pytest.fixture
def fresh(world: Path, connected: dict[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """Serve a copy of the world: ``with fresh(setting=…) as served``."""

    def start(*, wait: bool = True, pages: bool = False, **settings: Any) -> Any:
        data = tmp_path / f"data-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(world, data)
        return serving(Project.open(Settings(data=data, **{**connected, **settings})), wait=wait, pages=pages)

    return start
