"""The catalogue of tracks: one row per track id, recordings of one song grouped, never dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.schemas import FEWEST_LISTENERS
from spotify_dag.sources import REQUEST_SOURCES
from spotify_dag.sources.track_links import SPOTIFY_ID

if TYPE_CHECKING:
    import polars as pl

CATALOGUE_ID = f"^{SPOTIFY_ID}$"
INDEX_CODE = 2
"""Raise when what the index keeps of a track means something else: every track is then indexed again."""
GUESTS = r"(?i)\s*(?:[(\[](?:feat|ft|featuring|with)\b[^)\]]*[)\]]|\b(?:feat|ft)\.\s.*$)"
"""Guests named in a title: ``(feat. X)``, ``[with X]``, ``ft. X`` at the end."""
_NOTE = (
    r"(?:(?:\d{4}|digital(?:ly)?|new|the)\s+)*remaster(?:ed)?\b[^)\]]*"
    r"|(?:\d{4}|radio|single|album|original|extended|full[ -]length|lp|video|studio)\s+(?:edit|version|mix|cut)"
    r"|(?:mono|stereo|explicit|clean|deluxe|bonus(?:\s+track)?|acoustic|unplugged|demo)(?:\s+(?:version|edition|mix))?"
    r"|(?:re-?)?recorded\b[^)\]]*|live\b[^)\]]*"
)
VERSION = rf"(?i)\s*[(\[](?:{_NOTE})[)\]]|\s+[-–—]\s+(?:{_NOTE})$"
"""A note on which recording of the song this is: ``- Remastered 2011``, ``(Live at …)``, ``- Radio Edit``."""


def folded(text: pl.Expr) -> pl.Expr:
    """Return text as it is compared: no accents, no case, no punctuation, words one space apart.

    Text of punctuation only ("?", "!!!") stays as it is, without spaces: it is somebody's name.
    """
    import polars as pl

    accents = r"[\x{300}-\x{36F}\x{FE00}-\x{FE0F}]+"
    plain = text.str.normalize("NFKD").str.replace_all(accents, "").str.to_lowercase()
    # An apostrophe joins (don't, dont); all other punctuation parts.
    words = plain.str.replace_all(r"['’`´]", "").str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()
    return pl.when(words == "").then(plain.str.replace_all(r"\s+", "")).otherwise(words)


def song_title(title: pl.Expr) -> pl.Expr:
    """Return the title of the song without guests and without notes on the recording; remixes stay what they are."""
    import polars as pl

    bare = title.str.replace_all(GUESTS, "").str.replace_all(VERSION, "").str.strip_chars()
    return pl.when(bare == "").then(title).otherwise(bare)


def distinct_tracks(items: pl.LazyFrame, users: pl.LazyFrame | None = None) -> pl.LazyFrame:
    """Return one row per track of playlist items that everybody may be told of.

    A title may be a text that somebody wrote for themselves. So a track counts if a catalogue has an id for it, or if
    `schemas.FEWEST_LISTENERS` users have it who agreed to be shown. What a catalogue or a user who agreed calls it
    counts more than what others do.

    Parameters
    ----------
    items
        Columns of `schemas.RAW_PLAYLISTS`. Items without a title (libraries of artists) are no tracks.
    users
        ``user_id, opted_in``; None where all tracks count.

    Returns
    -------
    ``track_id, track_name, artist_name, artist_id, album_name, release_year, popularity, explicit, playlists`` (number
    of playlist items), in no particular order. A track without an id goes by artist and title. Where rows of one id
    disagree, the first in alphabetical order wins, so that the order of reading does not matter.
    """
    import polars as pl

    first = ("track_name", "artist_name", "artist_id", "album_name", "release_year")
    numbers = pl.col("popularity").max(), pl.col("explicit").max(), pl.len().cast(pl.Int32).alias("playlists")
    titled = items.filter(pl.col("track_name").is_not_null())
    if users is None:
        rows = titled.with_columns(track_identity())
        return rows.group_by("track_id").agg(*(pl.col(name).min() for name in first), *numbers)
    public = pl.col("opted_in").fill_null(False)
    rows = (
        titled.join(users.select("user_id", "opted_in"), on="user_id", how="left")
        .with_columns(_has_catalogue_id().alias("real"), (public & ~_is_personal()).alias("told"))
        .with_columns(track_identity())
    )
    listeners = pl.col("user_id").filter(public & ~pl.col("real")).n_unique()
    return (
        rows.group_by("track_id")
        .agg(
            *(pl.coalesce(pl.col(name).filter("told").min(), pl.col(name).min()).alias(name) for name in first),
            *numbers,
            (pl.col("real").any() | (listeners >= FEWEST_LISTENERS)).alias("shown"),
        )
        .filter("shown")
        .drop("shown")
    )


def _is_personal() -> pl.Expr:
    """Return whether an item is from somebody's own file, in which anything may stand."""
    import polars as pl

    return pl.col("source").is_in(list(REQUEST_SOURCES))


def _has_catalogue_id() -> pl.Expr:
    """Return whether a catalogue has an id for a track: of somebody's own file, one that looks like Spotify's."""
    import polars as pl

    return pl.col("track_id").is_not_null() & (~_is_personal() | pl.col("track_id").str.contains(CATALOGUE_ID))


def track_identity() -> pl.Expr:
    """Return the track id of playlist items: the source's own, else one made of artist and title."""
    import polars as pl

    # Names are folded where they are needed only: of a million tracks with ids that saves seconds.
    nameless = pl.col("track_id").is_null()
    artist, title = (folded(pl.when(nameless).then(pl.col(name))) for name in ("artist_name", "track_name"))
    local = pl.format("local:{}:{}", artist, title)
    return pl.coalesce("track_id", local).alias("track_id")


def with_song_keys(tracks: pl.DataFrame) -> pl.DataFrame:
    """Add ``artist_key`` and ``song_key``: equal for all recordings of one song by one artist."""
    import polars as pl

    artists = tracks.select("artist_name").unique().with_columns(artist_key(pl.col("artist_name")).alias("artist_key"))
    return tracks.join(artists, on="artist_name", how="left", maintain_order="left").with_columns(
        pl.format("{}|{}", "artist_key", folded(song_title(pl.col("track_name")))).alias("song_key")
    )


def catalogue(
    seen: pl.DataFrame, known: pl.DataFrame, genres: pl.DataFrame, audio: pl.DataFrame, first_free: int = 0
) -> pl.DataFrame:
    """Return the catalogue as it should be, rows of `schemas.TRACK_CATALOGUE` sorted by catalogue number.

    Parameters
    ----------
    seen
        Rows of `distinct_tracks`: of all tracks, or of some.
    known
        The catalogue so far, of these tracks: a track keeps its number, and keys are worked out once per name.
    genres
        ``artist_key, genres``, one row per artist.
    audio
        ``track_id`` and audio features, one row per track.
    first_free
        The number of the first new track.
    """
    import polars as pl

    before = known.select(
        "track_id", "catalogue_number", "artist_key", "song_key",
        pl.struct("track_name", "artist_name").hash().alias("names"),
    )  # fmt: skip
    keyed = seen.join(before, on="track_id", how="left")
    # Keys are worked out where the track is new or is called something else than before.
    named = (pl.struct("track_name", "artist_name").hash() == pl.col("names")).fill_null(False)
    keyed = pl.concat(
        [keyed.filter(named), with_song_keys(keyed.filter(~named).drop("artist_key", "song_key"))], how="diagonal"
    )
    numbered = keyed.drop("names").sort("catalogue_number", "track_id", nulls_last=True)
    new = pl.col("catalogue_number").is_null()
    described = numbered.with_columns(
        pl.coalesce("catalogue_number", first_free + new.cum_sum().cast(pl.Int64) - 1).alias("catalogue_number")
    ).join(genres, on="artist_key", how="left", maintain_order="left")
    heard = described.select("track_id").join(audio, on="track_id", how="left", maintain_order="left")
    hashed = pl.concat([described, heard.drop("track_id")], how="horizontal").hash_rows(INDEX_CODE)
    return described.with_columns(
        hashed.reinterpret(signed=True).alias("content_hash"), pl.lit(0, pl.Int32).alias("part")
    )
