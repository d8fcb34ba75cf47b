"""Read the listening of users from the lake, as arrays for the tower."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, USER_TASTES, USERS
from spotify_dag.stores.text_encoder import load_vectors
from spotify_dag.tower.inputs import catalogue, listening
from spotify_dag.training_data.policy import training_buckets, training_sample

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.tower.inputs import Catalogue, Listening
    from spotify_dag.tower.views import UserData

BUCKETS_AT_ONCE = 8
"""Buckets whose listening is read and sorted at one time. Sorting takes several times the memory of the rows."""


def taste_texts(project: Project, buckets: Sequence[int], users: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the distinct genres and artist names (column ``text``) in the tastes of some buckets.

    With ``users``, only those in the tastes of these users.
    """
    import polars as pl

    tastes = project.lake.scan(USER_TASTES, buckets).filter(pl.col("kind").is_in(["genre", "artist"]))
    if users is not None:
        tastes = tastes.filter(pl.col("user_id").is_in(users))
    return tastes.select(pl.col("name").alias("text")).unique().sort("text").collect()


def read_listening(project: Project, buckets: Sequence[int], embeddings: pl.DataFrame) -> tuple[Listening, Catalogue]:
    """Return the listening of users as arrays, and the catalogue that their columns refer to.

    Parameters
    ----------
    buckets
        The buckets of the users.
    embeddings
        Rows of `schemas.USER_EMBEDDINGS`. The arrays have their order.

    Raises
    ------
    LookupError
        If a genre or artist name has no vector yet.
    """
    import polars as pl

    lake = project.lake
    tastes = lake.scan(USER_TASTES, buckets).filter(pl.col("user_id").is_in(embeddings["user_id"].implode())).collect()
    names = tastes.filter(pl.col("kind") == "artist").select(artist_key(pl.col("name")).alias("artist_key")).unique()
    artists = lake.scan(ARTIST_GENRES, buckets).join(names.lazy(), on="artist_key", how="semi").collect()
    text_columns = [tastes.filter(pl.col("kind").is_in(["genre", "artist"]))["name"], artists["artist_name"]]
    texts = pl.concat(text_columns).unique().sort().to_frame("text")
    names_and_vectors = catalogue(artists, load_vectors(lake, project.encoder, texts))
    return listening(embeddings, tastes, names_and_vectors), names_and_vectors


def read_users(project: Project, buckets: Sequence[int], chosen: pl.LazyFrame) -> UserData:
    """Read the listening of ``chosen`` users (column ``user_id``). The order depends on ids alone, not on arrival."""
    import polars as pl

    from spotify_dag.tower.views import UserData

    lake = project.lake
    columns = (
        "user_bucket", "user_id", "playlist_id", "playlist_position", "position", "artist_name", "release_year",
        "popularity", "explicit", "plays",
    )  # fmt: skip
    chosen = chosen.select("user_id").collect().lazy()
    items = [
        project.used_preferences.counted(lake, buckets[first : first + BUCKETS_AT_ONCE])
        .join(chosen, on="user_id", how="semi")
        .select(columns)
        .sort("user_id", "playlist_id", "position")
        .collect()
        for first in range(0, max(len(buckets), 1), BUCKETS_AT_ONCE)
    ]
    return UserData(
        users=lake.scan(USERS, buckets).join(chosen, on="user_id", how="semi").sort("user_id").collect(),
        raw=pl.concat(items),
        artist_genres=lake.scan(ARTIST_GENRES, buckets).sort("user_bucket", "artist_key").collect(),
        text_vectors=load_vectors(lake, project.encoder, taste_texts(project, buckets)),
        top_artist_count=project.settings.top_artist_count,
        playlists_count=project.settings.playlists_count,
    )


def training_users(project: Project) -> UserData:
    """Read the users that a tower is trained and evaluated on: the `training_sample` of `training_buckets`."""
    buckets = training_buckets(project)
    return read_users(project, buckets, training_sample(project, buckets))
