"""Blends of the listening of several people: who they are, what they do not want, and what each track is there for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.features.audio import DURATION_MS, SCALED
from spotify_dag.features.genres import artist_key
from spotify_dag.tracks.blend import Blend, Limit, blend
from spotify_dag.tracks.blend_candidates import Pool, pool_of
from spotify_dag.tracks.continuation_model import LoadedModel
from spotify_dag.tracks.listeners import Listener, ListenerError, Listeners, Listening
from spotify_dag.tracks.track_answers import TrackAnswers, shown, track_reference

FEWEST_PEOPLE, MOST_PEOPLE = 2, 20
MOST_TRACKS, MOST_MINUTES, MOST_VETOES = 200, 600, 1_000
SHORTEST_TRACK = 60.0
"""Seconds by which a list of some minutes is bounded in tracks."""
FOR_SHARE = 0.5
"""A track is there for those that it adds at least this share of what it adds for the one it adds most for."""
Name = Annotated[str, Field(min_length=1, max_length=500)]


class BlendWish(BaseModel):
    """How a list for several people shall be."""

    model_config = ConfigDict(extra="forbid")

    tracks: int = Field(50, ge=1, le=MOST_TRACKS, description="How many tracks, where no minutes are given")
    minutes: float | None = Field(None, ge=5, le=MOST_MINUTES, description="How long it may be, instead of a number")
    known: float | None = Field(
        0.5, ge=0, le=1, description="Share of tracks that one of the people has; null: whatever serves them best"
    )
    without_artists: list[Name] = Field(default_factory=list, max_length=MOST_VETOES, description="Names of artists")
    without_tracks: list[Name] = Field(default_factory=list, max_length=MOST_VETOES, description="Ids, URIs or links")


@dataclass(frozen=True)
class Blends:
    """Answers from one data root; keep one to answer many times. Threads may share it."""

    answers: TrackAnswers
    listeners: Listeners

    def blended(
        self, user_ids: Sequence[str], wish: BlendWish, guests: Sequence[tuple[str, Listening]] = ()
    ) -> dict[str, Any]:
        """Return one list for users of the lake and for guests.

        Parameters
        ----------
        user_ids
            Users of the lake.
        wish
            How the list shall be.
        guests
            Names and listening of people who are not in the lake; nothing of them is kept.

        Returns
        -------
        ``tracks``, each with ``for`` (who it is there for, and why) and ``known_by``; ``people`` with the satisfaction
        of each, 0 to 1; ``least`` and ``mean`` of it; ``minutes``; ``known``, the share of tracks that somebody has.

        Raises
        ------
        ListenerError
            If they are too few or too many, or nothing is known of one of them.
        NoTracksError
            If there is no model yet.
        """
        loaded = self.answers.loaded()
        # Sorted, so that the order in which people are named changes nothing.
        people = self.listeners.of(user_ids, loaded)
        people += [Listener.of_listening(name, listening, loaded) for name, listening in guests]
        people.sort(key=lambda person: person.name)
        names = [person.name for person in people]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ListenerError(f"'{twice[:80]}' is named twice. Name each person once.")
        if not FEWEST_PEOPLE <= len(people) <= MOST_PEOPLE:
            raise ListenerError(f"A blend is for {FEWEST_PEOPLE} to {MOST_PEOPLE} people, not {len(people)}.")
        if nothing := [person.name for person in people if not len(person.artists)]:
            raise ListenerError(
                f"Nothing that '{nothing[0][:80]}' listens to is among the tracks here. Leave them out, or bring the "
                "tracks up to date with: spotify-dag run"
            )
        stage = loaded.model.stage
        songs, artists = self._vetoes(wish, loaded)
        seconds = _seconds(stage.tracks.audio)
        pool = pool_of(stage, people, without_songs=songs, without_artists=artists, seconds=seconds)
        count = wish.tracks if wish.minutes is None else min(MOST_TRACKS, int(wish.minutes * 60 / SHORTEST_TRACK))
        limit = Limit(count, np.inf if wish.minutes is None else wish.minutes * 60, wish.known)
        return self._answer(loaded, people, pool, blend(pool.candidates, limit))

    def _vetoes(self, wish: BlendWish, loaded: LoadedModel) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of songs and of artists to leave out; a track stands for all recordings of its song."""
        import polars as pl

        names = pl.DataFrame({"name": wish.without_artists}, schema={"name": pl.String})
        keys = names.select(artist_key(pl.col("name"))).to_series().to_list()
        tracks = list(loaded.numbers([track_reference(track) for track in wish.without_tracks]).values())
        songs = loaded.model.stage.tracks.song[np.array(tracks, np.int64)]
        return songs, np.array(list(loaded.artists(keys).values()), np.int64)

    def _answer(self, loaded: LoadedModel, people: Sequence[Listener], pool: Pool, made: Blend) -> dict[str, Any]:
        ids = loaded.track_ids["track_id"].gather(pool.tracks[made.chosen]).to_list()
        cards = self.answers.index.rows(ids)
        scaled = pool.candidates.worth / np.maximum(pool.candidates.worth.max(axis=1, keepdims=True), 1e-12)
        tracks = []
        for track_id, place in zip(ids, made.chosen.tolist(), strict=True):
            if track_id not in cards:  # it has gone from the index meanwhile
                continue
            told = _told(people, pool, place, scaled[:, place])
            tracks.append(
                shown(cards[track_id])
                | {
                    "seconds": round(float(pool.candidates.seconds[place])),
                    "for": told,
                    "known_by": [person.name for person, has in zip(people, pool.has[:, place], strict=True) if has],
                    "why": [f"{reason['user_id']} {reason['why']}" for reason in told],
                }
            )
        return {
            "tracks": tracks,
            "people": [
                {"user_id": person.name, "satisfaction": round(float(satisfied), 4)}
                for person, satisfied in zip(people, made.satisfaction, strict=True)
            ],
            "least": round(float(made.satisfaction.min()), 4),
            "mean": round(float(made.satisfaction.mean()), 4),
            "minutes": round(sum(track["seconds"] for track in tracks) / 60, 1),
            "known": round(sum(bool(track["known_by"]) for track in tracks) / max(len(tracks), 1), 4),
        }


def _told(people: Sequence[Listener], pool: Pool, place: int, worth: np.ndarray) -> list[dict[str, str]]:
    """Return the people a track is there for, and why."""
    why = np.where(
        pool.has[:, place], "has it", np.where(pool.listens[:, place], "listens to the artist", "may like the artist")
    )
    chosen = np.flatnonzero((worth >= FOR_SHARE * worth.max()) & (worth > 0))
    return [{"user_id": people[row].name, "why": str(why[row])} for row in chosen[np.argsort(-worth[chosen])].tolist()]


def _seconds(audio: np.ndarray) -> np.ndarray:
    """Return how long tracks are, from `features.audio.scaled`; NaN where unknown."""
    low, high = DURATION_MS
    scale: np.ndarray = low / 1_000 * (high / low) ** np.asarray(audio[:, SCALED.index("duration")], np.float64)
    return scale
