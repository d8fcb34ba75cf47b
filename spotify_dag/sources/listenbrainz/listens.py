"""Listens as ListenBrainz writes them, in its API and in its dumps: from JSON to counts, from counts to rows.

A user's listens are one list, a row per track with its plays, most played first. The API and the dumps go through the
same functions, so the same listens make the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import local
from typing import TYPE_CHECKING, Any

import orjson

from spotify_dag.sources.base import (
    COUNTED,
    RECORD_COLUMNS,
    REJECT_COLUMNS,
    Batch,
    clean,
    no_rejects,
)
from spotify_dag.sources.export.rows import BANNED

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    import pyarrow as pa

LISTENS, LOVED, HATED = "listens", "loved", "hated"
"""Kinds of counts; the first two are lists of the user."""
TITLES = {LISTENS: "Listens", LOVED: "Loved"}
MOST_TRACKS = 20_000
"""Rows kept of one list: the most played."""
LEFT_AS_LEAST = f"only the {MOST_TRACKS:,} most played tracks are kept"
BETWEEN = "\x1f"
"""Stands between the artists of a track in counts: a list cannot be grouped by."""
NO_JSON = "not readable as JSON"
IDENTITY = ["artists", "artist_id", "track_name", "track_id"]
COUNTS = ("user_name", *IDENTITY, "album_name", "plays")
"""Columns of counts: text, and ``plays`` as int64."""

_STRUCTURE = """{"user_name": "VARCHAR", "track_metadata": {
    "artist_name": "VARCHAR", "track_name": "VARCHAR", "release_name": "VARCHAR",
    "additional_info": {"artist_names": ["VARCHAR"], "artist_mbids": ["VARCHAR"], "recording_mbid": "VARCHAR",
                        "spotify_id": "VARCHAR"},
    "mbid_mapping": {"artist_mbids": ["VARCHAR"], "recording_mbid": "VARCHAR",
                     "artists": [{"artist_credit_name": "VARCHAR"}]}}}"""
_PARSED = f"""
    select listen.user_name as user_name, track, track.mbid_mapping as mapped, track.additional_info as more
    from (select listen, listen.track_metadata as track
          from (select json_transform(line, '{_STRUCTURE}') as listen from LINES))
"""  # noqa: S608
# The artists as MusicBrainz credits them, else as they were handed in, else the one name. The ids belong to the first.
_COUNTED = f"""
    select
        user_name,
        array_to_string(coalesce(
            nullif(list_filter(list_transform(mapped.artists, lambda x: x.artist_credit_name), lambda x: x != ''), []),
            nullif(list_filter(more.artist_names, lambda x: x != ''), []),
            [track.artist_name]
        ), '{BETWEEN}') as artists,
        coalesce(mapped.artist_mbids[1], more.artist_mbids[1]) as artist_id,
        track.track_name as track_name,
        coalesce(
            nullif(regexp_extract(more.spotify_id, 'track[:/]([0-9A-Za-z]{{22}})', 1), ''),
            mapped.recording_mbid, more.recording_mbid
        ) as track_id,
        min(track.release_name) as album_name,
        count(*) as plays
    from ({_PARSED}) group by all
"""  # noqa: S608
_of_thread = local()


def count_lines(lines: pa.Table) -> tuple[pl.DataFrame, int]:
    """Count listens, one JSON object in each row of the column ``line``.

    Returns
    -------
    Counts (`COUNTS`), and how many lines are no JSON. A value of another type than it should have is null.
    """
    import duckdb
    import polars as pl

    connection = _connection()
    connection.register("listen_lines", lines)
    try:
        try:
            counted = connection.sql(_COUNTED.replace("LINES", "listen_lines")).to_arrow_table()
            unreadable = 0
        except duckdb.Error:
            readable = "(select line from listen_lines where json_valid(line))"
            counted = connection.sql(_COUNTED.replace("LINES", readable)).to_arrow_table()
            bad = "select count(*) from listen_lines where not json_valid(line)"
            ((unreadable,),) = connection.sql(bad).fetchall()
    finally:
        connection.unregister("listen_lines")
    frame = pl.DataFrame(counted)
    return frame.select(COUNTS), unreadable


def count_listens(listens: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Count listens of one user as the API gives them: `COUNTS`."""
    import pyarrow as pa

    texts = [orjson.dumps(listen).decode() for listen in listens]
    return count_lines(pa.table({"line": pa.array(texts, pa.large_string())}))[0]


def merged(counts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return several frames of counts as one, each track once."""
    import polars as pl

    together = pl.concat([no_counts(), *counts])
    tracks = together.group_by("user_name", *IDENTITY).agg(pl.col("album_name").min(), pl.col("plays").sum())
    return tracks.select(COUNTS)


def no_counts() -> pl.DataFrame:
    """Return an empty frame of counts."""
    import polars as pl

    return pl.DataFrame(schema={name: pl.Int64 if name == "plays" else pl.String for name in COUNTS})


def batch(counts: Mapping[str, pl.DataFrame], notes: Sequence[tuple[str, str, int | None]] = (), **more: Any) -> Batch:
    """Return the rows of some users.

    Parameters
    ----------
    counts
        `COUNTS` and ``user_id``, by kind: `LISTENS`, `LOVED` and `HATED`.
    notes
        ``(user_id, reason, count)``: what else is to be said of users, and of how many rows.
    more
        Of the batch: ``marked``, ``gone``.
    """
    import polars as pl

    empty = no_counts().with_columns(pl.lit(None, pl.String).alias("user_id"))
    listens, banned = _without_hated(counts.get(LISTENS, empty), counts.get(HATED, empty))
    listens, least = _most_played(listens)
    loved = counts.get(LOVED, empty).with_columns(pl.lit(None, pl.Int64).alias("plays"))
    rows = pl.concat(
        [
            part.with_columns(pl.lit(kind).alias("playlist_id"), pl.lit(TITLES[kind]).alias("playlist_name"))
            for kind, part in ((LISTENS, listens), (LOVED, loved))
        ]
    )
    order = ["user_id", "playlist_id", "plays", *IDENTITY]
    rows = rows.sort(order, descending=[name == "plays" for name in order], nulls_last=True).with_columns(
        pl.int_range(pl.len()).over("user_id", "playlist_id").alias("position"),
        pl.when(pl.col("playlist_id") == LISTENS).then(0).otherwise(1).alias("playlist_position"),
        pl.col("artists").str.split(BETWEEN),
        pl.int_range(pl.len()).alias("row"),
    )
    cleaned = clean(rows.drop("user_name"), file="listens")
    rejects = pl.concat([_told(cleaned.rejects, rows), *map(_lines, (banned, least)), _noted(notes)])
    rejects = rejects.with_columns(pl.format("listens of {}", "user_id").alias("file"))
    return Batch(cleaned.records.select(RECORD_COLUMNS), rejects, _read(cleaned.records, rejects, counts), **more)


def _without_hated(listens: pl.DataFrame, hated: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return listens but for the tracks that their user hates, and how many plays are left out."""
    key = ["user_id", "artists", "track_name"]
    of_hated = listens.join(hated.select(key).unique(), on=key, how="semi", nulls_equal=True)
    left = listens.join(hated.select(key).unique(), on=key, how="anti", nulls_equal=True) if hated.height else listens
    return left, _per_user(of_hated, BANNED, dropped=True)


def _most_played(listens: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    import polars as pl

    sizes = listens.group_by("user_id").len().filter(pl.col("len") > MOST_TRACKS)
    if sizes.is_empty():
        return listens, _per_user(listens.clear(), LEFT_AS_LEAST, dropped=False)
    order = ["plays", *IDENTITY]
    ranked = listens.sort(order, descending=[name == "plays" for name in order], nulls_last=True)
    place = pl.int_range(pl.len()).over("user_id")
    least = ranked.filter(place >= MOST_TRACKS)
    return ranked.filter(place < MOST_TRACKS), _per_user(least, LEFT_AS_LEAST, dropped=False)


def _per_user(rows: pl.DataFrame, reason: str, *, dropped: bool) -> pl.DataFrame:
    """Return how many plays of each user are left out for one reason: ``user_id, value, reason, dropped``."""
    import polars as pl

    return (
        rows.group_by("user_id", maintain_order=True)
        .agg(pl.col("plays").sum().cast(pl.String).alias("value"))
        .with_columns(pl.lit(reason).alias("reason"), pl.lit(dropped).alias("dropped"))
    )


def _told(rejects: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return rejects of rows as one line for each user and reason, with the number of plays; others as they are."""
    import polars as pl

    plays = rows.select(pl.col("row").cast(pl.Int64), pl.col("plays").fill_null(1))
    per_reason = (
        rejects.filter("dropped")
        .join(plays, on="row")
        .group_by("user_id", "reason", "dropped", maintain_order=True)
        .agg(pl.col("plays").sum().cast(pl.String).alias("value"))
    )
    return pl.concat([_lines(per_reason), rejects.filter(~pl.col("dropped")).select(REJECT_COLUMNS)])


def _lines(told: pl.DataFrame) -> pl.DataFrame:
    """Return ``user_id, value, reason, dropped`` as rejects."""
    import polars as pl

    schema = no_rejects().schema
    # Numbered by what they say: two reasons of one user are two rows that were left out.
    return told.with_columns(
        pl.lit("").alias("file"), pl.lit(COUNTED).alias("field"),
        (pl.col("reason").hash() % 1_000_000).cast(pl.Int64).alias("row"),
    ).select(pl.col(name).cast(schema[name]) for name in REJECT_COLUMNS)  # fmt: skip


def _noted(notes: Sequence[tuple[str, str, int | None]]) -> pl.DataFrame:
    import polars as pl

    schema = no_rejects().schema
    told = pl.DataFrame(
        [(user_id, "user" if count is None else COUNTED, reason, None if count is None else str(count))
         for user_id, reason, count in notes],
        schema={"user_id": pl.String, "field": pl.String, "reason": pl.String, "value": pl.String}, orient="row",
    )  # fmt: skip
    return told.with_columns(
        pl.lit("").alias("file"), pl.lit(None, pl.Int64).alias("row"), pl.lit(False).alias("dropped")
    ).select(pl.col(name).cast(schema[name]) for name in REJECT_COLUMNS)


def _read(records: pl.DataFrame, rejects: pl.DataFrame, counts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return ``user_id, rows_read``: rows that were kept and lines of those that were not; in the order of ids."""
    import polars as pl

    everybody = [part.select("user_id") for part in (*counts.values(), rejects)]
    rows = [records.select("user_id"), rejects.filter("dropped").unique(["user_id", "row"]).select("user_id")]
    read = pl.concat(rows).group_by("user_id").agg(pl.len().alias("rows_read"))
    users = pl.concat(everybody).drop_nulls().unique().sort("user_id")
    return users.join(read, on="user_id", how="left", maintain_order="left").with_columns(
        pl.col("rows_read").fill_null(0)
    )


def _connection() -> duckdb.DuckDBPyConnection:
    """Return this thread's connection: they are made once, as that takes some milliseconds."""
    import duckdb

    if not hasattr(_of_thread, "connection"):
        _of_thread.connection = duckdb.connect(config={"preserve_insertion_order": False, "threads": 1})
    return _of_thread.connection
