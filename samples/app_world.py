"""A small world whose model nobody trained, as the app answers from it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import torch

from spotify_dag.assets.serving import index_users
from spotify_dag.features.embeddings import user_embeddings
from spotify_dag.features.genres import bucket_artists, match_genres
from spotify_dag.features.tastes import user_tastes
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES, USERS
from spotify_dag.settings import Settings
from spotify_dag.simulator.world import World
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.text_encoder import load_vectors, store_vectors
from spotify_dag.tower.factors import FactorSettings
from spotify_dag.tower.mix import Mix
from spotify_dag.tower.parts import PartMap
from spotify_dag.tower.score import ScoreScale
from spotify_dag.tower.tower_model import UserModel, UserTower
from spotify_dag.training_data.listening import read_listening, taste_texts

BUCKETS = [0, 1]
WORLD = {"users": 30, "playlists": 2, "tracks": 12}
EVIL = ("<img src=x onerror=alert(1)>", "\u202eABC شام", "${alert(1)}{{constructor}}", '"onmouseover="alert(1)', "=1+1")
"""Names somebody chose to do harm: markup, another direction of writing, templates, attributes, formulas."""
PRIVATE = "synthetic-000003"
"""Who did not agree to be shown."""


def user_id(number: int) -> str:
    return f"synthetic-{number:06d}"


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
    # Tracks have the ids that they have at the simulated Spotify.
    ids = World(users=WORLD["users"], seed=0, playlists=WORLD["playlists"], tracks=WORLD["tracks"]).tracks.ids
    number = pl.col("track_id").str.strip_prefix("synthetic-track-").cast(pl.Int64)
    raw = raw.with_columns(
        pl.when(first).then(evil).otherwise("track_name").alias("track_name"),
        number.map_elements(ids.id_of, return_dtype=pl.String).alias("track_id"),
    )
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
    torch.manual_seed(seed)
    dims = [part.shape[1] for part in parts.over(catalogue)(listening).parts]
    tower = UserTower(dims, hidden=16, part_out=8, dim=8, anchor_dim=2, mix=mix)
    blank = ScoreScale(np.zeros(160, np.float32), 5.0)
    vectors = UserModel(parts, tower.eval(), blank).encode(listening, catalogue)
    scale = ScoreScale(ScoreScale.fit(vectors, vectors, vectors, listening.tracks).cosines, 20.0)
    card = {"feature_version": feature_version(project)}
    version = project.registry.save(UserModel(parts, tower.eval(), scale), card, metrics={}, history=[])
    index_users(project, version, BUCKETS, lambda _: None)
    project.publish(version)
    return version


def add_tracks(data: Path) -> None:
    """Have the graph make the tracks of a world findable, and playlists continuable."""
    from spotify_dag.definitions import build_definitions

    definitions = build_definitions(settings=Settings(data=data, n_buckets=len(BUCKETS)))
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert definitions.resolve_job_def("tracks").execute_in_process(run_config=quiet).success
