"""Every table of the lake: column names, types, units and meaning, said once.

Delta tables, asset checks, the table schemas shown in the Dagster UI and the docs derive from here. Types are
written as short strings so that importing this module loads neither polars nor pyarrow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

TEXT_DIM = 384
"""Length of a sentence-transformer vector (MiniLM family)."""
FEWEST_LISTENERS = 3
"""A title or name that fewer users have may be a text of one of them: it is told to nobody else."""


@dataclass(frozen=True)
class Column:
    """One column: its name, its type (``str, bool, int16, int32, int64, float32, timestamp``, or ``list[…]``)."""

    name: str
    dtype: str
    doc: str
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One Delta table, its unique key and what it partitions by."""

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: str = "user_bucket"

    @property
    def column_names(self) -> list[str]:
        """Column names in table order."""
        return [column.name for column in self.columns]

    def polars_schema(self) -> pl.Schema:
        """Return the columns as a polars schema."""
        import polars as pl

        return pl.Schema({column.name: polars_dtype(column.dtype) for column in self.columns})

    def empty(self) -> pl.DataFrame:
        """Return a frame with this table's columns and no rows."""
        import polars as pl

        return pl.DataFrame(schema=self.polars_schema())

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return ``frame`` with exactly this table's columns and types. A missing nullable column is filled with null.

        Raises
        ------
        ValueError
            If a column that may not be null is missing, or holds a null.
        """
        import polars as pl

        missing = [c.name for c in self.columns if not c.nullable and c.name not in frame.columns]
        if missing:
            raise ValueError(f"Table '{self.name}' needs the column(s) {', '.join(missing)}, which the rows lack.")
        schema = self.polars_schema()
        conformed = frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
            for name, dtype in schema.items()
        )
        holes = [c.name for c in self.columns if not c.nullable and conformed[c.name].null_count()]
        if holes:
            raise ValueError(f"Table '{self.name}' got null in {', '.join(holes)}, which must always have a value.")
        return conformed


def polars_dtype(dtype: str) -> pl.DataType:
    """Return the polars type of a type string of this module."""
    import polars as pl

    if inner := re.fullmatch(r"list\[(.+)\]", dtype):
        return pl.List(polars_dtype(inner[1]))
    return {
        "str": pl.String(),
        "bool": pl.Boolean(),
        "int16": pl.Int16(),
        "int32": pl.Int32(),
        "int64": pl.Int64(),
        "float32": pl.Float32(),
        "timestamp": pl.Datetime("us", "UTC"),
    }[dtype]


def user_buckets(user_ids: Sequence[str], n_buckets: int) -> list[int]:
    """Return the partition of each user: ``blake2b(user_id) mod n_buckets``, the same on every machine and version."""
    return [int.from_bytes(blake2b(user.encode(), digest_size=8).digest(), "big") % n_buckets for user in user_ids]


def buckets_of(user_ids: Sequence[str], n_buckets: int) -> list[int]:
    """Return the partitions that these users are in, each once, ascending."""
    return sorted(set(user_buckets(user_ids, n_buckets)))


USER_BUCKET = Column("user_bucket", "int32", "hash(user_id) mod N: the partition key of every per-user table")
USER_ID = Column("user_id", "str", "The listener. Unique over all sources")
SOURCE = Column("source", "str", "Where the listening came from: synthetic, lastfm, mpd, …")
FETCHED_AT = Column("fetched_at", "timestamp", "When it was read, UTC")

RAW_PLAYLISTS = Table(
    "raw_playlists",
    "Every playlist item as its source gave it. A library of (artist, plays) is one playlist-like list.",
    key=("user_id", "playlist_id", "position"),
    columns=(
        USER_BUCKET,
        USER_ID,
        SOURCE,
        FETCHED_AT,
        Column("playlist_id", "str", "Playlist, unique within its user"),
        Column("playlist_name", "str", "Title of the playlist", nullable=True),
        Column("playlist_position", "int32", "Place of the playlist among the user's playlists, from 0"),
        Column("position", "int32", "Place of the item in its playlist, from 0"),
        Column("track_id", "str", "Spotify track id where there is one", nullable=True),
        Column("track_name", "str", "Title of the track", nullable=True),
        Column("album_name", "str", "Title of the album", nullable=True),
        Column("artist_id", "str", "Spotify artist id where there is one, else the source's own", nullable=True),
        Column(
            "artist_name", "str", "Name of the main artist: the first of artists, and the one that counts for taste"
        ),
        Column(
            "artists", "list[str]", "Names of all artists of the track in order; null where they were not kept", True
        ),
        Column("release_year", "int16", "Year of release", nullable=True),
        Column("popularity", "float32", "Popularity of the track, 0 to 100", nullable=True),
        Column("explicit", "bool", "Whether the track is marked explicit", nullable=True),
        Column("plays", "int64", "Number of plays; null in playlists, where an item counts once", nullable=True),
    ),
)

USERS = Table(
    "users",
    "Every user a source named, with counts and a hash of the items kept.",
    key=("user_id",),
    columns=(
        USER_BUCKET,
        USER_ID,
        SOURCE,
        FETCHED_AT,
        Column("rows_kept", "int32", "Playlist items kept"),
        Column("content_hash", "int64", "Order-free hash of the kept items: equal when nothing changed"),
        Column("opted_in", "bool", "Whether this user may be shown to others"),
        Column(
            "handed_in", "str", "For a user who was handed in one by one: the listening and consent that was read", True
        ),
        Column("gone_since", "timestamp", "Since when the source does not know the user any more", nullable=True),
        Column("dropped_at", "timestamp", "When retention dropped their listening", nullable=True),
    ),
)

LISTENING_MONTHS = Table(
    "listening_months",
    "How often users listened in each month, where their files tell when. Counts, never the times.",
    key=("user_id", "month", "kind", "name"),
    columns=(
        USER_BUCKET,
        USER_ID,
        Column("month", "int32", "Year and month, UTC, as 202403"),
        Column("kind", "str", "all, decade, or artist: those listened to most in the month"),
        Column("name", "str", "Decade of release such as 1990s, or artist name; empty for all"),
        Column("count", "int64", "Plays in the month; of files without plays, items added to lists"),
    ),
)

INGESTS = Table(
    "ingests",
    "What was read from which source, per bucket: the high-water mark of ingestion.",
    key=("user_bucket", "source"),
    columns=(
        USER_BUCKET,
        SOURCE,
        FETCHED_AT,
        Column("source_version", "str", "Fingerprint of what was read: files and their sizes and times, or parameters"),
        Column("rows_read", "int64", "Rows read that belong to this bucket"),
        Column("rows_kept", "int64", "Rows kept"),
        Column("rows_rejected", "int64", "Rows left out, each with its reason in rejects"),
        Column("users", "int32", "Users seen"),
    ),
)

REJECTS = Table(
    "rejects",
    "Every row or value that was left out, and why.",
    key=(),
    columns=(
        USER_BUCKET,
        SOURCE,
        FETCHED_AT,
        Column("file", "str", "File the row came from"),
        Column("row", "int64", "Line of a table, or item of a list; null for a whole file or part", nullable=True),
        Column("user_id", "str", "User the row belongs to, where that could be read", nullable=True),
        Column("field", "str", "The field that was wrong"),
        Column("value", "str", "The value found, at most 80 characters, control characters escaped", nullable=True),
        Column("reason", "str", "Why it was refused"),
        Column("dropped", "bool", "true: the row was left out; false: only this value was"),
    ),
)

ARTIST_GENRES = Table(
    "artist_genres",
    "The genres of every artist of a bucket, and how they were found. Missing stays missing.",
    key=("user_bucket", "artist_key"),
    columns=(
        USER_BUCKET,
        Column("artist_key", "str", "Normalised name: case, accents, punctuation and a leading 'The' removed"),
        Column("artist_name", "str", "The name as most rows of the bucket write it"),
        Column("artist_id", "str", "An id of the artist, where there is one", nullable=True),
        Column("genres", "list[str]", "Genres in the order of the table they came from; null where unknown", True),
        Column("matched_by", "str", "source, id or name; null where unknown", nullable=True),
        Column("rows", "int32", "Playlist items of this artist in the bucket"),
    ),
)

USER_TASTES = Table(
    "user_tastes",
    "Shares of a user's listening. Embeddings are built with these weights, and matches are explained with them.",
    key=("user_id", "kind", "name"),
    columns=(
        USER_BUCKET,
        USER_ID,
        Column("kind", "str", "genre, artist or year"),
        Column("name", "str", "Genre, artist name or four-digit year"),
        Column("weight", "float32", "Share, 0 to 1. Genre: mean over playlists of the share within the playlist"),
        Column("size_weight", "float32", "Share over all items, so that long playlists count more"),
    ),
)

TEXT_VECTORS = Table(
    "text_vectors",
    "The vector of every distinct genre and artist name, encoded once per encoder.",
    key=(),
    partition_by="encoder",
    columns=(
        Column("encoder", "str", "Digest of the encoder: its weights, tokenizer and pooling"),
        Column("text", "str", "The string"),
        Column("vector", "list[float32]", f"Its vector, {TEXT_DIM} numbers, unit length"),
    ),
)

USER_EMBEDDINGS = Table(
    "user_embeddings",
    "The feature row of every user. A part that cannot be known is null, never a zero vector.",
    key=("user_id",),
    columns=(
        USER_BUCKET,
        USER_ID,
        SOURCE,
        Column(
            "content_hash",
            "int64",
            "The user's content_hash when this row was made; if it differs now, the row is stale",
        ),
        Column("feature_version", "str", "Fingerprint of encoder, genre table and settings; the same for all users"),
        Column("genre_embedding", "list[float32]", "Mean over playlists of the playlist's mean genre vector", True),
        Column("artist_embedding", "list[float32]", "Frequency-weighted mean of the top artists' name vectors", True),
        Column("playlist_embedding", "list[float32]", "Mean of playlist genre vectors weighted by size", True),
        Column("release_year_embedding", "list[float32]", "Soft decade histogram, mean, spread, share unknown", True),
        Column("playlists", "int32", "Number of playlists used"),
        Column("tracks", "int32", "Number of playlist items used"),
        Column("mean_popularity", "float32", "Mean popularity of the items, 0 to 100", nullable=True),
        Column("explicit_ratio", "float32", "Share of items marked explicit, 0 to 1", nullable=True),
        Column("unembedded_reason", "str", "Why the user has no embedding; null where they have one", nullable=True),
    ),
)

WEEKLY_PLAYLISTS = Table(
    "weekly_playlist",
    "A list of new tracks for each user who wants one, by week. Lists of four weeks are kept.",
    key=("user_id", "week"),
    columns=(
        USER_BUCKET,
        USER_ID,
        Column("week", "str", "The Monday that it is for: 2026-01-05"),
        Column("made_at", "timestamp", "When it was made, UTC"),
        Column("tracks", "list[str]", "Ids of tracks of the catalogue, best first; none of them is in another list"),
        Column("scores", "list[float32]", "How well each track fits"),
        Column("reasons", "list[list[str]]", "Why each track is in the list"),
        Column("unmade_reason", "str", "Why the list is empty; null where it is not", nullable=True),
    ),
)

TRACK_CATALOGUE = Table(
    "track_catalogue",
    "Every distinct track seen in any source, one row per track id. Recordings of one song share a song key.",
    key=("track_id",),
    partition_by="part",
    columns=(
        Column("part", "int32", "Always 0: the catalogue has one partition"),
        Column("track_id", "str", "The source's id; local:artist:title where it has none"),
        Column("catalogue_number", "int64", "Number of the track, from 0 in the order of arrival; never reused"),
        Column("track_name", "str", "Title"),
        Column("artist_name", "str", "Name of the main artist"),
        Column("artist_key", "str", "Normalised name of the artist, as in artist_genres"),
        Column("song_key", "str", "Artist and title without guests and notes on the recording"),
        Column("album_name", "str", "Title of the album", nullable=True),
        Column("release_year", "int16", "Year of release", nullable=True),
        Column("popularity", "float32", "Popularity, 0 to 100", nullable=True),
        Column("explicit", "bool", "Whether the track is marked explicit", nullable=True),
        Column("playlists", "int32", "Playlist items of this track, over all sources"),
        Column("genres", "list[str]", "Genres of the artist; null where unknown", nullable=True),
        Column("content_hash", "int64", "Hash of the columns above and of the audio features"),
    ),
)

AUDIO_FEATURES = Table(
    "audio_features",
    "Audio features of tracks, in the units of features/audio.py. Impossible values are null.",
    key=("source", "track_id"),
    partition_by="source",
    columns=(
        SOURCE,
        Column("source_version", "str", "Fingerprint of what was read"),
        Column("track_id", "str", "The track"),
        *(
            Column(name, "float32", f"0 to 1, as Spotify's audio feature {name}", nullable=True)
            for name in (
                "danceability", "energy", "speechiness", "acousticness", "instrumentalness", "liveness", "valence",
            )
        ),
        Column("loudness", "float32", "Decibels relative to full scale", nullable=True),
        Column("tempo", "float32", "Beats per minute", nullable=True),
        Column("key", "float32", "Pitch class, 0 (C) to 11 (B)", nullable=True),
        Column("mode", "float32", "1 major, 0 minor", nullable=True),
        Column("duration_ms", "float32", "Milliseconds", nullable=True),
    ),
)  # fmt: skip

ARTIST_FACTORS = Table(
    "artist_factors",
    "The collaborative vector of every artist, by the model version it was learned for.",
    key=("model_version", "artist_key"),
    partition_by="model_version",
    columns=(
        Column("model_version", "str", "The model version it belongs to. Vectors of two versions cannot be compared"),
        Column("artist_key", "str", "Normalised name, as in artist_genres"),
        Column("users", "int32", "Training users who listen to the artist"),
        Column(
            "predicted", "bool", "true: no training user listens to the artist; the vector is predicted from its text"
        ),
        Column("vector", "list[float32]", "Vector of the artist; near those of artists with the same listeners"),
    ),
)

TABLES = (
    RAW_PLAYLISTS, USERS, LISTENING_MONTHS, INGESTS, REJECTS, ARTIST_GENRES, USER_TASTES, TEXT_VECTORS,
    USER_EMBEDDINGS, ARTIST_FACTORS, TRACK_CATALOGUE, AUDIO_FEATURES, WEEKLY_PLAYLISTS,
)  # fmt: skip

EMBEDDINGS = ("genre_embedding", "artist_embedding", "playlist_embedding", "release_year_embedding")
"""The embedding columns of `USER_EMBEDDINGS`, in the order the tower takes them."""
