"""A list of new tracks for each Monday: made as `tracks_for` does, kept for some weeks, and read again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.schemas import WEEKLY_PLAYLISTS, user_buckets
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.listeners import ListenerError
from spotify_dag.tracks.track_answers import TrackAnswers, shown
from spotify_dag.tracks.tracks_for import MOST_SUGGESTED, SuggestWish, TracksFor

if TYPE_CHECKING:
    import polars as pl

WEEKS_KEPT = 4
"""Lists of so many weeks are kept of a user, the present one included. No track is in two of them."""
LENGTH = 50


def monday_of(now: datetime | None = None) -> str:
    """Return the Monday of the present week, or of another time's, in UTC: ``2026-01-05``."""
    now = now or datetime.now(UTC)
    return f"{now - timedelta(days=now.weekday()):%Y-%m-%d}"


def kept_weeks(now: datetime | None = None) -> list[str]:
    """Return the Mondays whose lists are kept, the present one first."""
    now = now or datetime.now(UTC)
    return [monday_of(now - timedelta(weeks=before)) for before in range(WEEKS_KEPT)]


def weekly_list(tracks_for: TracksFor, user_id: str, near: Sequence[str], before: Iterable[str]) -> dict[str, Any]:
    """Return the list of a user: ``tracks, scores, reasons`` of `schemas.WEEKLY_PLAYLISTS`, or ``unmade_reason``.

    Parameters
    ----------
    user_id, near
        As for `TracksFor.suggested`.
    before
        Ids of the tracks of the lists of the weeks before, which do not come again.
    """
    known = set(before)
    wish = SuggestWish(count=min(LENGTH + len(known), MOST_SUGGESTED))
    try:
        suggested = tracks_for.suggested(user_id, wish, near)["tracks"]
    except ListenerError as error:
        return {"tracks": [], "scores": [], "reasons": [], "unmade_reason": str(error)}
    new = [track for track in suggested if track["track_id"] not in known][:LENGTH]
    columns = {"tracks": "track_id", "scores": "score", "reasons": "why"}
    return {column: [track[name] for track in new] for column, name in columns.items()} | {"unmade_reason": None}


def read_weekly_list(lake: Lake, answers: TrackAnswers, user_id: str, week: str | None = None) -> dict[str, Any]:
    """Return a list that was made for a user.

    Parameters
    ----------
    week
        Its Monday; None for the latest.

    Returns
    -------
    ``week`` (None where there is no list), ``weeks`` (of all lists of the user, latest first), ``tracks`` as
    `TracksFor.suggested` gives them, as far as they are still here, and ``unmade_reason``.

    Raises
    ------
    WeeklyListError
        If there is none of that week.
    """
    lists = _lists_of(lake, user_id)
    weeks = [row["week"] for row in lists]
    if week is not None and week not in weeks:
        raise WeeklyListError(
            f"There is no list of '{week[:20]}' for '{user_id[:80]}'. There are: {', '.join(weeks) or 'none'}."
        )
    if not lists:
        return {"week": None, "weeks": [], "tracks": [], "unmade_reason": None}
    chosen = lists[weeks.index(week) if week else 0]
    cards = answers.index.rows(chosen["tracks"]) if chosen["tracks"] else {}
    tracks = [
        shown(cards[track]) | {"score": round(score, 4), "why": why}
        for track, score, why in zip(chosen["tracks"], chosen["scores"], chosen["reasons"], strict=True)
        if track in cards
    ]
    return {"week": chosen["week"], "weeks": weeks, "tracks": tracks, "unmade_reason": chosen["unmade_reason"]}


class WeeklyListError(SpotifyDagError):
    """There is no such list. The message names the user, the week and the remedy."""


def _lists_of(lake: Lake, user_id: str) -> list[dict[str, Any]]:
    import polars as pl

    rows: pl.LazyFrame = lake.scan(WEEKLY_PLAYLISTS, user_buckets([user_id], lake.n_buckets))
    return rows.filter(pl.col("user_id") == user_id).sort("week", descending=True).collect().to_dicts()
