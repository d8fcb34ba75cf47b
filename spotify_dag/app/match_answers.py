"""What is told of matches: where their profiles are, and the tracks they have most often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spotify_dag.sources.lastfm_api import lastfm_profile_url
from spotify_dag.sources.listenbrainz.names import parse_name

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.app.snapshot import Person, Snapshot
    from spotify_dag.matching.matcher import Match


def match_answer(snapshot: Snapshot, user_id: str, person: Person, matches: Sequence[Match]) -> dict[str, Any]:
    """Return the matches of a user; without those who were forgotten since they were found."""
    return {
        "user_id": user_id,
        "model_version": snapshot.model_version,
        "tracks": person.tracks,
        "matches": [
            match.as_dict() | {"profile": profile_url(match.user_id, match.source)}
            for match in matches
            if match.user_id not in snapshot.hidden
        ],
    }


def profile_url(user_id: str, source: str = "spotify") -> str | None:
    """Return where a user's profile is at the service that their listening comes from; None where there is none."""
    if source.startswith("listenbrainz"):
        return f"https://listenbrainz.org/user/{quote(parse_name(user_id), safe='')}"
    if source == "lastfm-api":
        return lastfm_profile_url(user_id)
    return f"https://open.spotify.com/user/{quote(user_id, safe='')}" if source == "spotify" else None


def top_tracks(raw: pl.LazyFrame, limit: int) -> dict[str, list[dict[str, str]]]:
    """Return the tracks that each user of some playlist items has most often."""
    import polars as pl

    rows = (
        raw.filter(pl.col("track_name").is_not_null())
        .group_by("user_id", "track_name", "artist_name")
        .agg(pl.col("plays").fill_null(1).sum())
        .sort("user_id", "plays", "track_name", "artist_name", descending=[False, True, False, False])
        .group_by("user_id", maintain_order=True)
        .head(limit)
        .collect()
    )
    tracks_of: dict[str, list[dict[str, str]]] = {}
    for user, title, artist in rows.select("user_id", "track_name", "artist_name").iter_rows():
        tracks_of.setdefault(user, []).append({"title": title, "artist": artist})
    return tracks_of
