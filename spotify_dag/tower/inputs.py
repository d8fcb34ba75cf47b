"""What is known of users as arrays: embeddings, tastes and statistics, with masks for what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.features.embeddings import RELEASE_YEAR_DIM
from spotify_dag.features.genres import artist_key
from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.factors import Vocabulary

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix

    from spotify_dag.features.embeddings import TextVectors

STATISTICS = {"mean_popularity": 100.0, "explicit_ratio": 1.0}
"""Statistics the tower sees, with their scale. Counts are left out: they say how much of a user was read, not what the
user likes."""


@dataclass(frozen=True)
class Catalogue:
    """The artists and genres that tastes speak of."""

    artists: Vocabulary
    """By `features.genres.artist_key`; content: the name's vector beside the mean vector of the artist's genres."""
    genres: Vocabulary
    """Content: the genre's vector."""


@dataclass(frozen=True)
class Listening:
    """The listening of users, or a part of it, as arrays; unknown entries are zero and masked."""

    embeddings: tuple[np.ndarray, ...]
    """One ``[users, dim]`` float32 array per embedding, in the order of `schemas.EMBEDDINGS`."""
    known: np.ndarray
    """``[users, embeddings]`` bool."""
    statistics: np.ndarray
    """``[users, len(STATISTICS)]`` float32, scaled to 0..1; NaN where unknown."""
    artists: csr_matrix
    """``[users, catalogue.artists]`` float32: share of listening."""
    genres: csr_matrix
    """``[users, catalogue.genres]`` float32: share of listening."""
    tracks: np.ndarray
    """``[users]`` int64: number of playlist items."""

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: np.ndarray) -> Listening:
        """Return some users."""
        return Listening(
            tuple(part[rows] for part in self.embeddings), self.known[rows], self.statistics[rows], self.artists[rows],
            self.genres[rows], self.tracks[rows],
        )  # fmt: skip


class Gathered:
    """Listening that comes in pieces, of some users at a time, put where it belongs at once.

    Kept as pieces until they are joined, it would be in memory twice.

    Parameters
    ----------
    users
        Of all pieces together.
    """

    def __init__(self, users: int) -> None:
        self._users, self._filled = users, 0
        self._dense: list[np.ndarray] = []
        self._artists: list[csr_matrix] = []
        self._genres: list[csr_matrix] = []

    def add(self, piece: Listening) -> None:
        """Take in the users that come next."""
        dense = (*piece.embeddings, piece.known, piece.statistics, piece.tracks)
        if not self._dense:
            self._dense = [np.empty((self._users, *part.shape[1:]), part.dtype) for part in dense]
        for whole, part in zip(self._dense, dense, strict=True):
            whole[self._filled : self._filled + len(piece)] = part
        self._filled += len(piece)
        self._artists.append(piece.artists)
        self._genres.append(piece.genres)

    def listening(self) -> Listening:
        """Return all users, in the order in which they came."""
        from scipy.sparse import vstack

        *embeddings, catalogue, statistics, tracks = self._dense
        return Listening(
            tuple(embeddings), catalogue, statistics, vstack(self._artists, "csr"), vstack(self._genres, "csr"), tracks
        )


def catalogue(artist_genres: pl.DataFrame, text_vectors: TextVectors) -> Catalogue:
    """Return the artists of `schemas.ARTIST_GENRES` rows and their genres.

    Parameters
    ----------
    artist_genres
        Rows of any buckets; an artist of several buckets counts once.
    text_vectors
        Vectors of (at least) their names and genres.
    """
    import polars as pl

    # Buckets may spell a name differently: the first spelling stands for the artist, whatever the order of rows.
    artists = (
        artist_genres.sort("artist_key", "artist_name")
        .unique("artist_key", keep="first", maintain_order=True)
        .select("artist_key", "artist_name", "genres")
    )
    place = text_vectors.texts.with_row_index("row").select("row", pl.col("text").alias("name"))
    width = text_vectors.vectors.shape[1]
    names = artists.join(place, left_on="artist_name", right_on="name", how="left", maintain_order="left")["row"]
    genres = artist_genres["genres"].explode().drop_nulls().unique().sort().to_frame("name")
    genre_rows = genres.join(place, on="name", how="left", maintain_order="left")["row"]
    genre_content = _vectors(text_vectors, genre_rows)

    pairs = (
        artists.with_row_index("artist")
        .explode("genres")
        .drop_nulls("genres")
        .join(genres.with_row_index("genre"), left_on="genres", right_on="name")
        .sort("artist", "genre")
    )
    sums = _matrix(pairs["artist"], pairs["genre"], np.ones(pairs.height), (artists.height, genres.height))
    count = np.maximum(np.asarray(sums.sum(axis=1)), 1).reshape(-1, 1)
    content = np.empty((artists.height, 2 * width), np.float32)
    content[:, :width] = _vectors(text_vectors, names)
    content[:, width:] = (sums @ genre_content) / count
    return Catalogue(
        Vocabulary(artists["artist_key"].to_list(), content), Vocabulary(genres["name"].to_list(), genre_content)
    )


def listening(embeddings: pl.DataFrame, tastes: pl.DataFrame, catalogue: Catalogue) -> Listening:
    """Return users as arrays.

    Parameters
    ----------
    embeddings
        Rows of `schemas.USER_EMBEDDINGS`, one per user: the order of the result.
    tastes
        Their rows of `schemas.USER_TASTES`; other users' are ignored.
    catalogue
        Must have every artist and genre of ``tastes``; names it lacks are left out.
    """
    import polars as pl

    width = catalogue.genres.content.shape[1]
    parts, masks = [], []
    for name in EMBEDDINGS:
        column = embeddings[name]
        here = column.is_not_null().to_numpy()
        dim = RELEASE_YEAR_DIM if name == "release_year_embedding" else width
        part = np.zeros((embeddings.height, dim), np.float32)
        if here.any():
            part[here] = column.drop_nulls().cast(pl.Array(pl.Float32, dim)).to_numpy()
        parts.append(part)
        masks.append(here)
    users = embeddings.select("user_id").with_row_index("user")
    weighted = tastes.select("user_id", "kind", "name", "weight").join(users, on="user_id")
    artists = weighted.filter(pl.col("kind") == "artist").with_columns(artist_key(pl.col("name")).alias("name"))
    statistics = [
        embeddings[name].cast(pl.Float32).fill_null(np.nan).to_numpy() / by for name, by in STATISTICS.items()
    ]
    return Listening(
        tuple(parts),
        np.stack(masks, axis=1),
        np.stack(statistics, axis=1).astype(np.float32),
        weights(artists, catalogue.artists, embeddings.height),
        weights(weighted.filter(pl.col("kind") == "genre"), catalogue.genres, embeddings.height),
        embeddings["tracks"].cast(pl.Int64).to_numpy(),
    )


def weights(weighted: pl.DataFrame, vocabulary: Vocabulary, n_users: int) -> csr_matrix:
    """Return rows of ``user`` (its number), ``name`` and ``weight`` as ``[n_users, names]`` float32."""
    import polars as pl

    places = pl.DataFrame({"name": vocabulary.names}, schema={"name": pl.String}).with_row_index("place")
    # Two spellings of one artist in one list are one artist.
    rows = (
        weighted.join(places, on="name")
        .group_by("user", "place")
        .agg(pl.col("weight").cast(pl.Float64).sort().sum())
        .sort("user", "place")
    )
    return _matrix(rows["user"], rows["place"], rows["weight"].to_numpy(), (n_users, len(vocabulary.names)))


def _matrix(rows: pl.Series, columns: pl.Series, values: np.ndarray, shape: tuple[int, int]) -> csr_matrix:
    from scipy.sparse import csr_matrix

    return csr_matrix((values.astype(np.float32), (rows.to_numpy(), columns.to_numpy())), shape=shape)


def _vectors(text_vectors: TextVectors, rows: pl.Series) -> np.ndarray:
    """Return the vector of each row number, ``[rows, dim]``; zero where there is none."""
    vectors_by_row = np.zeros((len(rows), text_vectors.vectors.shape[1]), np.float32)
    here = rows.is_not_null().to_numpy()
    vectors_by_row[here] = text_vectors.vectors[rows.drop_nulls().to_numpy()]
    return vectors_by_row
