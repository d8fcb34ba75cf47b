"""How the taste of one user changed: shares of genres and eras by period, and what came and went."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spotify_dag.features.genres import artist_key
from spotify_dag.features.left_out import same_name
from spotify_dag.schemas import ARTIST_GENRES, LISTENING_MONTHS, buckets_of

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.stores.lake import Lake
    from spotify_dag.stores.preferences import Preferences

MOST_PERIODS = 24
"""Up to so many months are shown one by one; of more, years are."""
NOW_MONTHS = 12
"""The last months that are *now*; the half of them where there are not twice as many. The others are *then*."""
MOST_NAMES, MOST_CHANGES = 8, 6
"""Genres, and what came and what went, that are told."""
SMALLEST_CHANGE = 0.02
"""Of the listening: less is no change."""
NOTHING = (
    "Nothing tells when this was heard. Histories of Spotify, exports of ListenBrainz or Last.fm, and lists with "
    "the column 'Added At' do: hand one in, with spotify-dag add or in the app."
)


def taste_over_time(lake: Lake, preferences: Preferences, user_id: str) -> dict[str, Any]:
    """Return how a user's taste changed.

    Returns
    -------
    ``periods`` (``2021``, or ``2021-03``), ``counts`` of each, ``genres`` and ``eras`` with their ``shares`` by period,
    ``then`` and ``now`` (first and last month), ``came`` and ``went``: ``kind, name, then, now`` as shares. Genres are
    those of the artists listened to most in a month; what was left out does not count in them. Where no file tells
    when, ``periods`` is empty and ``note`` says so.
    """
    import polars as pl

    buckets = buckets_of([user_id], lake.n_buckets)
    rows = lake.scan(LISTENING_MONTHS, buckets).filter(pl.col("user_id") == user_id).collect()
    totals = rows.filter(pl.col("kind") == "all")
    if totals.is_empty():
        empty: dict[str, Any] = {name: [] for name in ("periods", "counts", "genres", "eras", "came", "went")}
        return {"user_id": user_id, **empty, "then": None, "now": None, "note": NOTHING}
    left_out = preferences.left_out(buckets).filter(pl.col("user_id") == user_id)
    genres_of = lake.scan(ARTIST_GENRES, buckets).select("artist_key", "genres").collect()
    artists, genres = _artists_and_genres(rows.filter(pl.col("kind") == "artist"), genres_of, left_out)
    eras = rows.filter(pl.col("kind") == "decade").select("month", "name", pl.col("count").cast(pl.Float64))
    months = totals["month"].sort().to_list()
    by_year = len(months) > MOST_PERIODS
    periods, counts = _by_period(totals, by_year=by_year)
    then, now = _then_and_now(months)
    changes = [
        change
        for kind, frame in (("genre", genres), ("artist", artists), ("era", eras))
        for change in _changes(kind, frame, then, now)
    ]
    grown = sorted(changes, key=lambda change: (change["then"] - change["now"], change["name"]))
    return {
        "user_id": user_id,
        "periods": periods,
        "counts": counts,
        "genres": _shares(genres, periods, by_year=by_year),
        "eras": sorted(_shares(eras, periods, by_year=by_year), key=lambda era: era["name"]),
        "then": _ends(then),
        "now": _ends(now),
        "came": [change for change in grown if change["now"] > change["then"]][:MOST_CHANGES],
        "went": [change for change in reversed(grown) if change["now"] < change["then"]][:MOST_CHANGES],
        "note": None,
    }


def _artists_and_genres(
    artists: pl.DataFrame, genres_of: pl.DataFrame, left_out: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return ``month, name, count`` of artists, and of their genres with equal parts; without what is left out."""
    import polars as pl

    def keys(kind: str) -> pl.Series:
        return left_out.filter(pl.col("kind") == kind)["key"].implode()

    named = artists.select("month", "name", pl.col("count").cast(pl.Float64)).with_columns(
        artist_key(pl.col("name")).alias("artist_key")
    )
    with_genres = named.join(genres_of.unique("artist_key"), on="artist_key", how="left", maintain_order="left")
    odd = pl.col("genres").list.eval(same_name(pl.element()).is_in(keys("genre"))).list.any().fill_null(False)
    counted = with_genres.filter(~pl.col("artist_key").is_in(keys("artist")) & ~odd)
    parts = counted.filter(pl.col("genres").list.len() > 0).with_columns(pl.col("count") / pl.col("genres").list.len())
    genres = parts.drop("name").explode("genres").rename({"genres": "name"})
    columns = ("month", "name", "count")
    return counted.select(columns), genres.select(columns)


def _period(*, by_year: bool) -> pl.Expr:
    import polars as pl

    month = pl.col("month").cast(pl.String)
    return month.str.head(4) if by_year else pl.format("{}-{}", month.str.head(4), month.str.tail(2))


def _by_period(totals: pl.DataFrame, *, by_year: bool) -> tuple[list[str], list[int]]:
    import polars as pl

    summed = totals.group_by(_period(by_year=by_year).alias("period")).agg(pl.col("count").sum()).sort("period")
    return summed["period"].to_list(), summed["count"].to_list()


def _shares(counts: pl.DataFrame, periods: Sequence[str], *, by_year: bool) -> list[dict[str, Any]]:
    """Return the names with the largest share in any period, and their shares in each, largest first."""
    import polars as pl

    summed = counts.group_by(_period(by_year=by_year).alias("period"), "name").agg(pl.col("count").sum())
    shares = summed.with_columns((pl.col("count") / pl.col("count").sum().over("period")).alias("share"))
    most = shares.group_by("name").agg(pl.col("share").max()).sort("share", "name", descending=[True, False])
    of = {(period, name): share for period, name, share in shares.select("period", "name", "share").iter_rows()}
    return [
        {"name": name, "shares": [round(of.get((period, name), 0.0), 4) for period in periods]}
        for name in most["name"].head(MOST_NAMES)
    ]


def _then_and_now(months: Sequence[int]) -> tuple[list[int], list[int]]:
    last = min(NOW_MONTHS, max(1, len(months) // 2))
    return list(months[:-last]), list(months[-last:])


def _ends(months: Sequence[int]) -> dict[str, str] | None:
    if not months:
        return None
    first, last = (f"{month // 100}-{month % 100:02d}" for month in (months[0], months[-1]))
    return {"from": first, "to": last}


def _changes(kind: str, counts: pl.DataFrame, then: Sequence[int], now: Sequence[int]) -> list[dict[str, Any]]:
    """Return the names whose share changed by `SMALLEST_CHANGE` or more; none where there is no *then*."""
    import polars as pl

    def share(months: Sequence[int]) -> dict[str, float]:
        summed = counts.filter(pl.col("month").is_in(list(months))).group_by("name").agg(pl.col("count").sum())
        total = float(summed["count"].sum())
        return {str(name): count / total for name, count in summed.iter_rows()} if total else {}

    before, after = share(then), share(now)
    if not before or not after:
        return []
    names = sorted(before.keys() | after.keys())
    changed = [name for name in names if abs(after.get(name, 0) - before.get(name, 0)) >= SMALLEST_CHANGE]
    return [
        {"kind": kind, "name": name, "then": round(before.get(name, 0), 4), "now": round(after.get(name, 0), 4)}
        for name in changed
    ]
