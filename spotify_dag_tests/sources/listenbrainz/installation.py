"""Installations that read a simulated ListenBrainz, and what they should find."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.settings import Settings
from spotify_dag.simulator.listening import Listening
from spotify_dag.simulator.loopback_server import Simulator
from spotify_dag.simulator.wire import Traffic
from spotify_dag.sources.base import ResumeLaterError, Source
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.listenbrainz import ListenBrainzSource

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def name(number: int) -> str:
    return f"synthetic-{number:06d}"


def user_id(number: int) -> str:
    return f"listenbrainz-{name(number)}"


@dataclass(frozen=True)
class Read:
    """What one pass over a source gave."""

    raw: pl.DataFrame
    users: pl.DataFrame
    rejects: pl.DataFrame
    ingests: pl.DataFrame
    interrupted: ResumeLaterError | None

    def plays(self, number: int, playlist: str = "listens") -> dict[tuple[str, str | None], int]:
        """Return the plays of a user by artist and title, of single rows with the same names together."""
        rows = self.raw.filter(pl.col("user_id") == user_id(number), pl.col("playlist_id") == playlist)
        counted = rows.group_by("artist_name", "track_name").agg(pl.col("plays").sum())
        return {(artist, title): plays for artist, title, plays in counted.iter_rows()}


def read(source: Source, profiles_count: int | None = None) -> Read:
    """Read a source in one pass."""
    ingestion = Ingestion([source], buckets=range(8), n_buckets=8, profiles_count=profiles_count, now=NOW)
    raw = pl.concat([RAW_PLAYLISTS.empty(), *ingestion.records()])
    parts = (raw, ingestion.users(), ingestion.rejects(), ingestion.ingests())
    return Read(*parts, ingestion.interrupted.get(source.name))


def expected_plays(listening: Listening, number: int) -> dict[tuple[str, str | None], int]:
    """Return the plays of a user by artist and title as the world has them, without hated tracks."""
    world, hated = listening.world, {listening.world.tracks.names[t] for t in listening.feedback(number, -1)}
    plays: dict[tuple[str, str | None], int] = {}
    for track, count in zip(*listening.counts(number), strict=True):
        key = world.artists.names[world.tracks.artist[track]], world.tracks.names[track]
        if key[1] not in hated:
            plays[key] = plays.get(key, 0) + int(count)
    return plays


@dataclass
class Installation:
    """A data root whose list names users of a simulator."""

    simulator: Simulator
    data: Path
    lines: list[str]

    @property
    def listening(self) -> Listening:
        return self.simulator.api.listening

    def settings(self, **changed: object) -> Settings:
        return Settings.model_validate(
            {"data": self.data, "n_buckets": 8, "listenbrainz_api_url": self.simulator.url, **changed}
        )

    def source(self, **changed: object) -> ListenBrainzSource:
        """Return the source, named just now: everybody is due."""
        listed = self.data / "users.txt"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text("\n".join(self.lines))
        return ListenBrainzSource(self.settings(**changed), str(listed), time.time())

    def read(self, **changed: object) -> Read:
        return read(self.source(**changed))

    def requests(self) -> dict[str, int]:
        """Return the requests per endpoint since the last call."""
        traffic, self.simulator.api.wire.traffic = self.simulator.api.wire.traffic, Traffic()
        return dict(traffic.endpoints)
