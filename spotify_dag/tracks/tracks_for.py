"""Tracks for one person: what their playlists and the nearest users suggest that they do not have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.features.audio import SCALED
from spotify_dag.schemas import RAW_PLAYLISTS, buckets_of
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.continuation import DIVERSITY
from spotify_dag.tracks.continuation_model import LoadedModel
from spotify_dag.tracks.listeners import Listener, ListenerError, Listeners
from spotify_dag.tracks.track_answers import TrackAnswers, shown
from spotify_dag.tracks.track_arrays import Request, Unseen

if TYPE_CHECKING:
    import polars as pl

MOST_SUGGESTED = 500
NEAR = 20
"""Nearest users whose tracks are looked at."""
OWN_PLAYLISTS, FEWEST_TRACKS = 50, 3
"""Playlists of one's own that a track may fit, and tracks of each at least."""
MOST_ARTISTS = 100
"""Artists that speak for somebody where no track of theirs is known."""


class SuggestWish(BaseModel):
    """How the tracks shall be."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(50, ge=1, le=MOST_SUGGESTED)
    popularity: float = Field(0.0, ge=-1, le=1, description="-1: rather unknown tracks; 1: rather popular ones")
    diversity: float = Field(
        DIVERSITY, ge=0, le=1, description="How much better every further track of an artist must be"
    )


@dataclass(frozen=True)
class TracksFor:
    """Answers from one data root."""

    answers: TrackAnswers
    listeners: Listeners

    def suggested(self, user_id: str, wish: SuggestWish, near: Sequence[str] = ()) -> dict[str, Any]:
        """Return tracks that a user does not have, in no recording, best first.

        Parameters
        ----------
        user_id
            Somebody in the lake.
        wish
            How many, and of what kind.
        near
            The users who listen most like them, see `NEAR`. They say how many of them have a track.

        Returns
        -------
        ``tracks``, each with ``why`` and ``near`` (how many of the nearest users have the song); ``has``, how many
        tracks of theirs are known here; ``near_users``, how many were looked at.

        Raises
        ------
        ListenerError
            If there is no such user, or nothing is known of what they listen to.
        NoTracksError
            If there is no model yet.
        """
        loaded = self.answers.loaded()
        items, has = self._items(user_id)
        person = self.listeners.with_preferences(user_id, items, loaded)
        if not len(person.artists):
            raise ListenerError(
                f"Nothing that '{user_id[:80]}' listens to is among the tracks here. Bring the tracks up to date with: "
                "spotify-dag run"
            )
        request = request_for(person, loaded.model.stage.tracks.text.shape[1])
        songs = loaded.model.stage.tracks.song[np.array(list(loaded.numbers(has).values()), np.int64)]
        made = loaded.model.recommend(
            request, wish.count, popularity=wish.popularity, diversity=wish.diversity,
            without_songs=np.union1d(songs, person.not_for_me), without_artists=person.left_out,
        )  # fmt: skip
        tracks = np.array([recommended.track for recommended in made], np.int64)
        others = self.listeners.of([user for user in near[:NEAR] if user != user_id], loaded, missing_ok=True)
        having = _having(loaded, tracks, others)
        fitting = _fitting(loaded, tracks, items)
        ids = loaded.track_ids["track_id"].gather(tracks).to_list()
        cards = self.answers.index.rows(ids)
        answer = []
        for place, (track_id, recommended) in enumerate(zip(ids, made, strict=True)):
            if track_id in cards:
                why = [f"{having[place]} of the {len(others)} nearest listeners have it"] if having[place] else []
                why += [f"fits your “{fitting[place]}”"] if fitting[place] else []
                said = {"score": round(recommended.score, 4), "near": having[place], "why": recommended.reasons + why}
                answer.append(shown(cards[track_id]) | said)
        return {"tracks": answer, "has": len(person.tracks), "near_users": len(others)}

    def _items(self, user_id: str) -> tuple[pl.DataFrame, list[str]]:
        """Return the items of a user that count, and the ids of all their tracks, those left out too."""
        import polars as pl

        columns = ["playlist_id", "playlist_name", "track_id", "track_name", "artist_name", "plays"]
        lake, counted = self.listeners.lake, self.listeners.preferences.counted_of(self.listeners.lake, [user_id])
        rows = lake.scan(RAW_PLAYLISTS, buckets_of([user_id], lake.n_buckets))
        titled = rows.filter(pl.col("user_id") == user_id, pl.col("track_name").is_not_null())
        items, has = pl.collect_all([counted.select(columns), titled.select(track_identity()).unique()])
        if items.is_empty():
            raise ListenerError(
                f"Nobody called '{user_id[:80]}' is known, or all they listen to is left out. "
                "Add them with: spotify-dag add"
            )
        return items, has["track_id"].to_list()


def request_for(person: Listener, dim: int) -> Request:
    """Return what to continue for somebody: their tracks, the most played last, as what is last counts most.

    Of somebody whose tracks nobody knows, the artists stand in their place.

    Parameters
    ----------
    dim
        Length of the vectors of texts.
    """
    if len(person.tracks):
        return Request(person.tracks[::-1])
    artists = person.artists[np.argsort(person.shares, kind="stable")][-MOST_ARTISTS:]
    count = len(artists)
    nothing = np.full(count, np.nan, np.float32)
    audio, text = np.full((count, len(SCALED)), np.nan, np.float32), np.zeros((count, dim), np.float32)
    return Request(np.zeros(0, np.int64), unseen=Unseen(artists, audio, nothing, text))


def _having(loaded: LoadedModel, tracks: np.ndarray, others: Sequence[Listener]) -> list[int]:
    """Return how many of some people have the song of each track."""
    song = loaded.model.stage.tracks.song
    counts = np.zeros(len(tracks), np.int64)
    for other in others:
        counts += np.isin(song[tracks], song[other.tracks])
    return [int(count) for count in counts]


def _fitting(loaded: LoadedModel, tracks: np.ndarray, items: pl.DataFrame) -> list[str]:
    """Return the title of the person's own playlist that each track fits best; empty where none is like it."""
    import polars as pl

    stage = loaded.model.stage
    titled = items.filter(pl.col("playlist_name").is_not_null() & pl.col("track_name").is_not_null())
    lists = (
        titled.select("playlist_id", "playlist_name", track_identity())
        .group_by("playlist_id", maintain_order=True)
        .agg(pl.col("playlist_name").first(), "track_id", pl.len().alias("items"))
        .sort("items", "playlist_id", descending=[True, False])
        .head(OWN_PLAYLISTS)
    )
    numbers = loaded.numbers(titled.select(track_identity()).to_series().unique().to_list())
    names, factors = [], []
    for name, ids in lists.select("playlist_name", "track_id").iter_rows():
        seeds = np.array([numbers[track] for track in dict.fromkeys(ids) if track in numbers], np.int64)
        if len(seeds) >= FEWEST_TRACKS:
            names.append(name)
            factors.append(stage.ials.folded(seeds))
    if not names:
        return [""] * len(tracks)
    scores = stage.ials.tracks[tracks] @ np.stack(factors, axis=1)
    best = scores.argmax(axis=1)
    return [names[place] if row[place] > 0 else "" for place, row in zip(best.tolist(), scores, strict=True)]
