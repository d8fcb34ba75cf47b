"""Small worlds the tests of the tower share: what the graph would hand it, but with a random vector per name."""

from __future__ import annotations

import numpy as np
import polars as pl

from spotify_dag.features.embeddings import TextVectors
from spotify_dag.features.genres import bucket_artists, match_genres
from spotify_dag.schemas import RAW_PLAYLISTS, USERS
from spotify_dag.tower.hyperparameters import TrainingSettings
from spotify_dag.tower.views import UserData

TEXT_DIM = 16
QUICK = TrainingSettings(epochs=8, batch=64, factors=16, axes=16, hidden=64, dim=32, anchor_dim=16, learning_rate=3e-3)


def random_vectors(texts: list[str]) -> TextVectors:
    vectors = np.random.default_rng(0).normal(size=(len(texts), TEXT_DIM)).astype(np.float32)
    return TextVectors(pl.DataFrame({"text": texts}), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def user_data(users: pl.DataFrame, raw: pl.DataFrame, genres: pl.DataFrame) -> UserData:
    """Return users as the graph reads them."""
    artist_genres = match_genres(bucket_artists(raw.lazy()), [("source", genres)])
    texts = {*artist_genres["artist_name"], *artist_genres["genres"].explode().drop_nulls()}
    return UserData(
        users=users.sort("user_id"),
        raw=raw.sort("user_id", "playlist_id", "position"),
        artist_genres=artist_genres,
        text_vectors=random_vectors(sorted(texts)),
        top_artist_count=50,
        playlists_count=None,
    )


def listeners(playlists: dict[str, list[list[str]]], genres: dict[str, list[str]]) -> UserData:
    """Return users with the artists of each of their playlists, in a world of artists with these genres."""
    rows = [
        (0, user, "planted", f"list {number}", number, position, artist, 1970 + position, 50.0, False)
        for user, lists in playlists.items()
        for number, some in enumerate(lists)
        for position, artist in enumerate(some)
    ]
    columns = [
        "user_bucket", "user_id", "source", "playlist_id", "playlist_position", "position", "artist_name",
        "release_year", "popularity", "explicit",
    ]  # fmt: skip
    schema = RAW_PLAYLISTS.polars_schema()
    raw = pl.DataFrame(rows, {name: schema[name] for name in columns}, orient="row").with_columns(
        artist_id=pl.lit(None, pl.String), plays=pl.lit(None, pl.Int64)
    )
    users = USERS.polars_schema()
    return user_data(
        pl.DataFrame(
            [(0, user, "planted", 1) for user in playlists],
            {name: users[name] for name in ("user_bucket", "user_id", "source", "content_hash")},
            orient="row",
        ),
        raw,
        pl.DataFrame(
            [(None, artist, names) for artist, names in genres.items()],
            {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)},
            orient="row",
        ),
    )


def planted(blocks: int = 4, users: int = 16) -> UserData:
    """Return users who listen to the artists of their own block, and to one artist everybody knows."""
    rng = np.random.default_rng(5)
    return listeners(
        {
            f"user {block}-{user:02}": [
                ["Everybody's Darling", *(f"artist {block}-{rng.integers(8)}" for _ in range(5))] for _ in range(3)
            ]
            for block in range(blocks)
            for user in range(users)
        },
        {f"artist {block}-{number}": [f"genre {block}-{number % 3}"] for block in range(blocks) for number in range(8)},
    )


def block_of(data: UserData) -> np.ndarray:
    """Return the block of each user of `planted`."""
    return np.array([user.split()[1].split("-")[0] for user in data.users["user_id"]])


def neighbours(vectors: np.ndarray, k: int) -> np.ndarray:
    """Return the ``k`` nearest other users of each, ``[users, k]``."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -2)
    return np.argsort(-similarity, axis=1)[:, :k]
