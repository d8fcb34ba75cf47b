"""Find the tracks whose row in the catalogue may have changed. So a few new playlists cost a few rows, not all.

As in `stale_buckets`, tables are compared. Rows of one track come from many users. So fingerprints of whole user
buckets are compared with those that the catalogue was made from.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, AUDIO_FEATURES, RAW_PLAYLISTS, TRACK_CATALOGUE, USERS
from spotify_dag.stores.bucket_state import of_buckets
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.catalogue_rows import track_identity

if TYPE_CHECKING:
    import polars as pl

CATALOGUE_CODE = "2"
"""Raise it when the meaning of a row changes: the whole catalogue is then made anew."""
AT_ONCE = ("code", "artist_table", "audio")
"""Inputs whose change makes the catalogue stale at once."""
WHOLE_SHARE = 0.25
"""If a larger share of the buckets changed, the whole catalogue is made anew: that reads everything, but only once."""


def catalogue_inputs(project: Project) -> dict[str, Any]:
    """Return fingerprints of the inputs of the track catalogue; ``users`` is a list by bucket."""
    lake = project.lake
    summed = of_buckets(lake, "catalogue", lambda: lake.fingerprints((USERS,)), partial(_users_summed, lake))
    audio = lake.scan(AUDIO_FEATURES).select("source", "source_version").unique().collect()
    return {
        "code": CATALOGUE_CODE,
        "artist_table": project.inbox.artist_genres_version(),
        "genres": str(genres_of_artists(lake).collect().hash_rows().sum()),
        "audio": str(audio.hash_rows().sum()),
        "users": [summed[bucket] for bucket in range(lake.n_buckets)],
    }


def _users_summed(lake: Lake, buckets: list[int]) -> dict[int, str]:
    import polars as pl

    users = lake.scan(USERS, buckets)
    hashed = users.select("user_bucket", hashed=pl.struct("user_id", "content_hash", "opted_in").hash())
    # A sum does not depend on the order of the rows. It may wrap around.
    summed = hashed.group_by("user_bucket").agg(pl.col("hashed").sum()).collect()
    return dict.fromkeys(buckets, "") | {bucket: str(total) for bucket, total in summed.iter_rows()}


def genres_of_artists(lake: Lake) -> pl.LazyFrame:
    """Return ``artist_key, genres``, one row per artist with genres. If buckets disagree, the first one counts.

    The first as the data root was made: a split changes no answer.
    """
    import polars as pl

    with_genres = lake.scan(ARTIST_GENRES).drop_nulls("genres")
    order = pl.col("user_bucket") % lake.of_origin, pl.col("user_bucket")
    return with_genres.group_by("artist_key").agg(pl.col("genres").sort_by(*order).first())


def made_from(card: dict[str, Any], now: dict[str, Any]) -> dict[str, Any] | None:
    """Return the `catalogue_inputs` that the catalogue was made from, by its card; None if they cannot be told.

    Of buckets that were split since, those parts have the present fingerprint that sum up to the one before.
    """
    before = card.get("made_from")
    if not isinstance(before, dict):
        return None
    users, parts = before["users"], now["users"]
    if len(users) == len(parts):
        return before
    together = [_sum(parts[bucket :: len(users)]) for bucket in range(len(users))]
    return before | {
        "users": [
            part if together[bucket % len(users)] == users[bucket % len(users)] else None
            for bucket, part in enumerate(parts)
        ]
    }


def _sum(fingerprints: list[str]) -> str:
    """Return the fingerprint of several buckets together; empty for buckets without users."""
    present = [int(fingerprint) for fingerprint in fingerprints if fingerprint]
    return str(sum(present) % 2**64) if present else ""


def changed_buckets(before: dict[str, Any], now: dict[str, Any]) -> list[int]:
    """Return the buckets whose users differ between two results of `catalogue_inputs` with as many buckets."""
    return [bucket for bucket, users in enumerate(now["users"]) if users != before["users"][bucket]]


def touched_tracks(lake: Lake, before: dict[str, Any] | None, now: dict[str, Any]) -> pl.Series | None:
    """Return the keys of all tracks whose row in the catalogue may have to change; None if any row may.

    Parameters
    ----------
    lake
        The lake with playlists, genres and the catalogue.
    before, now
        The `catalogue_inputs` that the catalogue was made from, and the present ones.

    Returns
    -------
    A series of one list, for `among`.
    """
    import polars as pl

    if before is None or any(before[name] != now[name] for name in ("code", "audio")):
        return None
    buckets = changed_buckets(before, now)
    if len(buckets) > WHOLE_SHARE * lake.n_buckets:
        return None
    items = lake.scan(RAW_PLAYLISTS).filter(pl.col("track_name").is_not_null())
    listed = (
        items.select(_key(track_identity()), pl.col("user_bucket").is_in(buckets).alias("near"))
        .group_by("key")
        .agg(pl.len().cast(pl.Int32).alias("now"), pl.col("near").any())
    )
    catalogued = lake.scan(TRACK_CATALOGUE).select(_key(pl.col("track_id")), "playlists", "artist_key")
    # A row can only change if a playlist of these buckets holds the track, or if fewer or more playlists hold it now.
    # A track that is not in the catalogue is looked at only if these buckets have it.
    moved = catalogued.join(listed, on="key", how="full", coalesce=True).filter(
        pl.col("near") | (pl.col("playlists").is_not_null() & pl.col("now").ne_missing(pl.col("playlists")))
    )
    touched = [moved.select("key")]
    if before["genres"] != now["genres"]:
        had = lake.scan(TRACK_CATALOGUE).group_by("artist_key").agg(pl.col("genres").first())
        have = had.join(genres_of_artists(lake), on="artist_key", how="left", suffix="_now")
        others = have.filter(pl.col("genres").ne_missing(pl.col("genres_now")))
        touched.append(catalogued.join(others, on="artist_key", how="semi").select("key"))
    return pl.concat(touched).collect()["key"].unique().implode()


def among(track_id: pl.Expr, touched: pl.Series | None) -> pl.Expr:
    """Return a condition: true for tracks in the result of `touched_tracks`."""
    import polars as pl

    return pl.lit(value=True) if touched is None else _key(track_id).is_in(touched)


def _key(track_id: pl.Expr) -> pl.Expr:
    """Return a hash of a track id. Grouping and joining hashes is faster than ids.

    Two tracks with the same hash are both looked at, which does no harm.
    """
    return track_id.hash().alias("key")
