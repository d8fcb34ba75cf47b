"""From tables of tracks and playlist items to the arrays that a continuation is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.features.audio import scaled
from spotify_dag.tracks.catalogue_rows import folded, song_title, track_identity
from spotify_dag.tracks.moods import PHRASES, mood_pull
from spotify_dag.tracks.text_search import QUERY_CHARS
from spotify_dag.tracks.track_arrays import Playlists, Tracks

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.features.embeddings import TextVectors

FEWEST_ARTISTS = 3
"""A genre of fewer artists than this is folded away: it names the artists, not what they play."""
MOST_GENRES = 500
"""Of more genres, those of the most artists are kept."""


def title_words(title: pl.Expr) -> pl.Expr:
    """Return the distinct words of the song's title, folded, as a list.

    Words are encoded, not titles: a catalogue has several times fewer of them, and each is shorter.
    """
    return folded(song_title(title)).str.split(" ").list.unique(maintain_order=True)


def distinct_texts(tracks: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct strings that `text_vectors` needs, names of artists and words of titles, as ``text``."""
    import polars as pl

    # By themselves: an expression may compute a part of it twice, and `unique` has another order each time.
    titles = tracks.select(pl.col("track_name").unique())
    words = titles.select(title_words(pl.col("track_name")).explode())["track_name"]
    return pl.DataFrame({"text": pl.concat([words, tracks["artist_name"]]).drop_nulls().unique().sort()})


def text_vectors(tracks: pl.DataFrame, known: TextVectors) -> np.ndarray:
    """Return the unit vector of each track's title and artist, ``[tracks, dim]`` float32: the mean of the two.

    That of a title is the mean of its words'.
    """
    import polars as pl
    from scipy.sparse import csr_matrix

    words = tracks.select(title_words(pl.col("track_name")).alias("text"))["text"]
    ends = np.concatenate([[0], np.cumsum(words.list.len().to_numpy())])
    distinct = known.texts["text"]
    places = (
        words.explode()
        .to_frame("text")
        .join(distinct.to_frame("text").with_row_index("place"), on="text", how="left", maintain_order="left")["place"]
    )
    held = places.is_not_null().to_numpy()
    entries = csr_matrix((held.astype(np.float32), places.fill_null(0).to_numpy(), ends), (len(words), len(distinct)))
    both = unit_rows(entries @ known.vectors) + known.rows(tracks["artist_name"])
    return unit_rows(both)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Return rows at length 1, float32; zero stays zero."""
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def genre_names(tracks: pl.DataFrame) -> pl.DataFrame:
    """Return the distinct ``genres`` of tracks in a column ``text``."""
    return tracks.select("genres").explode("genres").drop_nulls().unique().sort("genres").rename({"genres": "text"})


def tracks_of(frame: pl.DataFrame, audio: pl.DataFrame, text: np.ndarray, known: TextVectors) -> Tracks:
    """Return the arrays of a catalogue.

    Parameters
    ----------
    frame
        ``track_id, artist_key, album_name, song_key, release_year, popularity`` and ``genres`` (list, null where
        unknown), one row per track.
    audio
        ``track_id`` and the columns of `features.audio.RANGES`; not every track need be there.
    text
        ``[tracks, dim]``, see `text_vectors`.
    known
        Vectors of at least all genres.
    """
    import polars as pl
    from scipy.sparse import csr_matrix

    def numbers(name: pl.Expr) -> np.ndarray:
        return frame.select(name.rank("dense").cast(pl.Int64).fill_null(0) - 1).to_series().to_numpy()

    listed = frame.select(pl.int_range(pl.len()).alias("track"), "artist_key", "genres").explode("genres").drop_nulls()
    common = (
        listed.group_by("genres")
        .agg(pl.col("artist_key").n_unique().alias("artists"))
        .filter(pl.col("artists") >= FEWEST_ARTISTS)
        .sort("artists", "genres", descending=[True, False])
        .head(MOST_GENRES)
        .select("genres", pl.int_range(pl.len()).alias("genre"))
    )
    hot = listed.join(common, on="genres")
    genres = csr_matrix(
        (np.ones(hot.height, np.float32), (hot["track"].to_numpy(), hot["genre"].to_numpy())),
        shape=(frame.height, max(common.height, 1)),
    )
    return Tracks(
        artist=numbers(pl.col("artist_key")),
        album=numbers(pl.format("{}|{}", "artist_key", "album_name")),
        song=numbers(pl.col("song_key")),
        audio=scaled(frame.select("track_id").join(audio, on="track_id", how="left", maintain_order="left")),
        year=frame["release_year"].cast(pl.Float32).to_numpy().astype(np.float32),
        popularity=(frame["popularity"] / 100).cast(pl.Float32).to_numpy().astype(np.float32),
        genres=genres,
        genre_text=known.rows(common["genres"]) if common.height else np.zeros((1, text.shape[1]), np.float32),
        text=text,
    )


def playlist_table(items: pl.LazyFrame, tracks: pl.DataFrame) -> pl.DataFrame:
    """Return one row per playlist of at least two tracks.

    Libraries of play counts are no playlists: their order and their company mean nothing.

    Returns
    -------
    ``user_id, playlist_id, playlist_name`` and ``tracks``: row numbers of the catalogue, in order, each once.
    """
    import polars as pl

    numbered = tracks.lazy().select("track_id", pl.int_range(pl.len(), dtype=pl.Int32).alias("track"))
    return (
        items.filter(pl.col("track_name").is_not_null() & pl.col("plays").is_null())
        .select("user_id", "playlist_id", "playlist_name", "position", track_identity())
        .join(numbered, on="track_id")
        .sort("user_id", "playlist_id", "position")
        .group_by("user_id", "playlist_id", maintain_order=True)
        .agg(pl.col("playlist_name").first(), pl.col("track").unique(maintain_order=True).alias("tracks"))
        .filter(pl.col("tracks").list.len() > 1)
        .collect()
    )


def playlists_of(table: pl.DataFrame, known: TextVectors) -> Playlists:
    """Return the arrays of playlists.

    Parameters
    ----------
    table
        Rows of `playlist_table`.
    known
        Vectors of at least all titles and of `moods.PHRASES`.
    """
    import polars as pl

    titles = table["playlist_name"].drop_nulls().unique().sort()
    vectors = known.rows(titles)
    number = table.select(pl.col("playlist_name").rank("dense").cast(pl.Int64).fill_null(0) - 1).to_series().to_numpy()
    lengths = table["tracks"].list.len().to_numpy()
    return Playlists(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        indices=table["tracks"].explode().to_numpy().astype(np.int32),
        title=number.astype(np.int32),
        title_vectors=vectors,
        titles=titles.to_frame("title").select(folded(pl.col("title").str.head(QUERY_CHARS))).to_series().to_numpy(),
        moods=mood_pull(vectors, known.rows(pl.Series(PHRASES))),
    )
