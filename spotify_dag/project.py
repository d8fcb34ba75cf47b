"""The parts of one data root, put together from the settings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import read_own_json, write_atomically
from spotify_dag.inbox.registered_sources import Inbox
from spotify_dag.matching.matcher import Matcher, UnknownUserError
from spotify_dag.settings import Settings
from spotify_dag.sources.artist_genres import read_artist_genres
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.model_registry import NoModelError, Registry
from spotify_dag.stores.preferences import Preferences
from spotify_dag.stores.text_encoder import Encoder
from spotify_dag.stores.user_index import UserIndex
from spotify_dag.tombstones import Tombstones
from spotify_dag.tracks.blend_answers import Blends
from spotify_dag.tracks.continuation_model import TrackModel
from spotify_dag.tracks.listeners import Listeners
from spotify_dag.tracks.track_answers import TrackAnswers
from spotify_dag.tracks.track_index import TrackIndex
from spotify_dag.tracks.tracks_for import TracksFor

if TYPE_CHECKING:
    import polars as pl


class LayoutError(SpotifyDagError):
    """The data root was made with another number of buckets. The message names both and the remedy."""


@dataclass(frozen=True)
class _Layout:
    """What a data root was made with, and keeps."""

    n_buckets: int


@dataclass(frozen=True)
class Project:
    """Everything under one data root."""

    settings: Settings
    lake: Lake
    inbox: Inbox
    encoder: Encoder
    registry: Registry
    vectors: Path

    @classmethod
    def open(cls, settings: Settings) -> Project:
        """Return the parts of a data root. Nothing is created or read."""
        return cls(
            settings=settings,
            lake=Lake(settings.data / "lake", settings.n_buckets, Tombstones(settings.data)),
            inbox=Inbox(settings.data / "inbox", settings),
            encoder=Encoder(settings.encoder),
            registry=Registry(settings.data / "models", settings.mlflow_uri),
            vectors=settings.data / "vectors",
        )

    @property
    def tombstones(self) -> Tombstones:
        """Tombstones of forgotten users."""
        return Tombstones(self.settings.data)

    @property
    def preferences(self) -> Preferences:
        """What users said about their own taste."""
        return Preferences(self.settings.data / "inbox" / "preferences", self.settings.n_buckets, self.tombstones)

    @property
    def used_preferences(self) -> Preferences:
        """The preferences that features are made with, all of them alike: users may change theirs meanwhile."""
        return Preferences(self.lake.root / ".preferences", self.settings.n_buckets, self.tombstones)

    @property
    def matcher(self) -> Matcher:
        """Matches users by the published index."""
        return Matcher(self.lake, self.vectors)

    def user_index(self, model_version: str) -> UserIndex:
        """Return the user index of a model version."""
        return UserIndex(self.vectors, model_version, self.tombstones)

    def user_indexes(self) -> list[UserIndex]:
        """Return the user indexes of all model versions, sorted by the time of the last write."""
        indexes = sorted(UserIndex.all(self.vectors), key=UserIndex.written_at)
        return [self.user_index(index.model_version) for index in indexes]

    def published(self) -> str | None:
        """Return the published model version, or None."""
        published = UserIndex.published(self.vectors)
        return published[0].model_version if published else None

    def publish(self, model_version: str) -> None:
        """Publish a version: from now on its user index answers.

        The index must hold all users. The weights are fetched to this machine if they are not here.

        Raises
        ------
        NoModelError
            If the weights cannot be used. The version published before then stays.
        """
        self.user_index(model_version).publish(self.registry.load(model_version).scale)

    def track_catalogue_card(self) -> dict[str, Any]:
        """Return the card of the track catalogue: its inputs and the time it was made; empty without a catalogue."""
        remedy = "Delete it: spotify-dag run makes the catalogue of tracks again"
        return read_own_json(self._catalogue_card, dict[str, Any], remedy) or {}

    def set_track_catalogue_card(self, card: dict[str, Any]) -> None:
        """Write the card of the track catalogue."""
        write_atomically(self._catalogue_card, json.dumps(card).encode())

    @property
    def _catalogue_card(self) -> Path:
        return self.settings.data / "models" / "tracks" / "catalogue.json"

    @property
    def track_index(self) -> TrackIndex:
        """The index of tracks."""
        return TrackIndex(self.vectors)

    @property
    def track_model(self) -> TrackModel:
        """The model that continues playlists."""
        return TrackModel(self.settings.data / "models" / "tracks")

    @property
    def track_answers(self) -> TrackAnswers:
        """Answers about tracks from this data root."""
        return TrackAnswers(self.track_index, self.track_model, self.encoder)

    @property
    def blends(self) -> Blends:
        """Lists for several people from this data root."""
        return Blends(self.track_answers, Listeners(self.lake, self.preferences))

    @property
    def tracks_for(self) -> TracksFor:
        """Tracks for single users from this data root."""
        return TracksFor(self.track_answers, Listeners(self.lake, self.preferences))

    def nearest(self, user_id: str, count: int) -> list[str]:
        """Return the users who listen most like one, as far as they may be shown; none where the index lacks them."""
        try:
            _, (matches,) = self.matcher.recommend([user_id], count, limit=1)
        except (NoModelError, UnknownUserError):
            return []
        return [match.user_id for match in matches]

    def genre_tables(self) -> list[tuple[str | None, pl.DataFrame]]:
        """Return the genre tables, best first: those of the sources, then the registered artist-genre table.

        Returns
        -------
        Pairs of a label (``source``, or None for the registered table) and a frame ``artist_id, artist_name, genres``.
        """
        tables: list[tuple[str | None, pl.DataFrame]] = []
        for source in self.inbox.sources():
            genres = source.artist_genres()
            if genres is not None:
                tables.append(("source", genres))
        path = self.inbox.artist_genres()
        return tables if path is None else [*tables, (None, read_artist_genres(path))]

    @property
    def _layout(self) -> Path:
        return self.settings.data / "layout.json"

    def layout(self) -> int | None:
        """Return the number of buckets that the data root was made with; None before it was used."""
        remedy = "Delete it, if SPOTIFY_DAG_N_BUCKETS is what it was when this data root was made (64 if never set)"
        layout = read_own_json(self._layout, _Layout, remedy)
        return layout.n_buckets if layout else None

    def check_layout(self) -> None:
        """Remember the number of buckets on first use, and refuse another one later.

        Raises
        ------
        LayoutError
            If the data root was made with another number of buckets: users would be searched in the wrong buckets.
        """
        made_with = self.layout()
        if made_with is None:
            made_with = self.settings.n_buckets
            write_atomically(self._layout, json.dumps({"n_buckets": made_with}).encode())
        if made_with != self.settings.n_buckets:
            raise LayoutError(
                f"{self.settings.data} was made with SPOTIFY_DAG_N_BUCKETS={made_with}, not {self.settings.n_buckets}. "
                "Set it back, or choose another SPOTIFY_DAG_DATA."
            )
