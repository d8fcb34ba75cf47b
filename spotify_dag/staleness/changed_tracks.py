"""Which tracks may be others than the catalogue says, so that a few new playlists cost a few rows and not all of them.

As in `staleness`, what was made is compared with what it is made from. The catalogue is made from the items of all
playlists, and rows of one track come from many users: what is compared is fingerprints of the user buckets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, AUDIO_FEATURES, RAW_PLAYLISTS, TRACK_CATALOGUE, USERS
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.catalogue_rows import track_identity

if TYPE_CHECKING:
    import polars as pl

CATALOGUE_CODE = "2"
"""Changes when what the catalogue says of the same tracks changes."""
AT_ONCE = ("code", "artist_table", "audio")
"""Inputs whose change nobody waits with."""
WHOLE_SHARE = 0.25
"""With a larger share of the buckets changed, the whole catalogue is made anew: that reads everything, but once."""


def catalogue_inputs(project: Project) -> dict[str, Any]:
    """Return fingerprints of the rows that the catalogue of tracks is made from; those of users by bucket."""
    import polars as pl

    lake = project.lake
    users = lake.scan(USERS).select("user_bucket", hashed=pl.struct("user_id", "content_hash").hash())
    # Without an order: a sum that wraps around.
    summed = dict(users.group_by("user_bucket").agg(pl.col("hashed").sum()).collect().iter_rows())
    audio = lake.scan(AUDIO_FEATURES).select("source", "source_version").unique().collect()
    return {
        "code": CATALOGUE_CODE,
        "artist_table": project.inbox.artist_genres_version(),
        "genres": str(genres_of_artists(lake).collect().hash_rows().sum()),
        "audio": str(audio.hash_rows().sum()),
        "users": [str(summed.get(bucket, "")) for bucket in range(lake.n_buckets)],
    }


def genres_of_artists(lake: Lake) -> pl.LazyFrame:
    """Return ``artist_key, genres``, one row per artist that has any: where buckets disagree, those of the first."""
    import polars as pl

    known = lake.scan(ARTIST_GENRES).drop_nulls("genres")
    return known.group_by("artist_key").agg(pl.col("genres").sort_by("user_bucket").first())


def touched_tracks(lake: Lake, before: dict[str, Any] | None, now: dict[str, Any]) -> pl.Series | None:
    """Return the keys of all tracks whose row in the catalogue may have to change; None where any may.

    Parameters
    ----------
    lake
        Where playlists, genres and the catalogue are.
    before, now
        What the catalogue was made from, and what it is to be made from: `catalogue_inputs`.

    Returns
    -------
    A series of one list, for `among`.
    """
    import polars as pl

    if not isinstance(before, dict) or any(before[name] != now[name] for name in ("code", "audio")):
        return None
    buckets = [bucket for bucket, users in enumerate(now["users"]) if users != before["users"][bucket]]
    if len(buckets) > WHOLE_SHARE * lake.n_buckets:
        return None
    items = lake.scan(RAW_PLAYLISTS).filter(pl.col("track_name").is_not_null())
    listed = (
        items.select(_key(track_identity()), pl.col("user_bucket").is_in(buckets).alias("near"))
        .group_by("key")
        .agg(pl.len().cast(pl.Int32).alias("now"), pl.col("near").any())
    )
    known = lake.scan(TRACK_CATALOGUE).select(_key(pl.col("track_id")), "playlists", "artist_key")
    # Its row is another one only where a playlist of these buckets holds a track, or did and is one less to do so.
    moved = known.join(listed, on="key", how="full", coalesce=True).filter(
        pl.col("near") | pl.col("now").ne_missing(pl.col("playlists"))
    )
    touched = [moved.select("key")]
    if before["genres"] != now["genres"]:
        had = lake.scan(TRACK_CATALOGUE).group_by("artist_key").agg(pl.col("genres").first())
        have = had.join(genres_of_artists(lake), on="artist_key", how="left", suffix="_now")
        others = have.filter(pl.col("genres").ne_missing(pl.col("genres_now")))
        touched.append(known.join(others, on="artist_key", how="semi").select("key"))
    return pl.concat(touched).collect()["key"].unique().implode()


def among(track_id: pl.Expr, touched: pl.Series | None) -> pl.Expr:
    """Return whether tracks are among those of `touched_tracks`."""
    import polars as pl

    return pl.lit(value=True) if touched is None else _key(track_id).is_in(touched)


def _key(track_id: pl.Expr) -> pl.Expr:
    """Return a number for a track: to group and join a million of them takes a third of the time that ids take.

    Two that share one are looked at together.
    """
    return track_id.hash().alias("key")
