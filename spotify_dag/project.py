"""The parts of one data root, put together from the settings."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from spotify_dag.files import read_own_json, write_atomically
from spotify_dag.inbox.registered_sources import Inbox
from spotify_dag.layout import Layout, layout_of, read_layout, refuse_other_layout
from spotify_dag.matching.matcher import Matcher, UnknownUserError
from spotify_dag.root import Root
from spotify_dag.settings import Settings
from spotify_dag.sources.artist_genres import read_artist_genres
from spotify_dag.sources.read_once import READ_ONCE
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
    from pathlib import Path

    import polars as pl


@dataclass(frozen=True)
class Project:
    """Everything under one data root, as it was divided when it was opened."""

    settings: Settings
    lake: Lake
    inbox: Inbox
    encoder: Encoder
    registry: Registry
    vectors: Root

    @classmethod
    def open(cls, settings: Settings) -> Project:
        """Return the parts of a data root. Nothing is created, and nothing read but its number of buckets.

        Raises
        ------
        LayoutError
            If the settings name another number of buckets than the root has.
        """
        layout = layout_of(settings)
        return cls(
            settings=settings,
            lake=Lake(settings.data / "lake", layout.n_buckets, Tombstones(settings.data), layout.made_with),
            inbox=Inbox(settings.data / "inbox", settings),
            encoder=Encoder(settings.encoder),
            registry=Registry(settings.data / "models", settings.mlflow_uri, settings.local_data / "models"),
            vectors=settings.data / "vectors",
        )

    def now(self) -> Project:
        """Return this data root as it is divided now: itself, unless the buckets were split since it was opened."""
        present = read_layout(self.settings.data)
        return self if present in (None, self.layout()) else Project.open(self.settings)

    def divided(self, n_buckets: int) -> Project:
        """Return the same data root with the tables of another number of buckets, which are not those that answer."""
        return replace(self, lake=self.lake.divided(n_buckets))

    @property
    def tombstones(self) -> Tombstones:
        """Tombstones of forgotten users."""
        return Tombstones(self.settings.data)

    @property
    def preferences(self) -> Preferences:
        """What users said about their own taste."""
        return self._preferences(self.settings.data / "inbox" / "preferences")

    @property
    def used_preferences(self) -> Preferences:
        """The preferences that features are made with, all of them alike: users may change theirs meanwhile."""
        return self._preferences(self.lake.root / ".preferences")

    def _preferences(self, root: Root) -> Preferences:
        return Preferences(root, self.lake.n_buckets, self.tombstones, self.lake.of_origin)

    @property
    def left_of_sources(self) -> Root:
        """Where runs leave each other what they read of sources."""
        return self.lake.root / READ_ONCE

    @property
    def index_copies(self) -> Path:
        """Where this machine keeps a copy of an index in object storage that it answers from."""
        return self.settings.local_data / "index"

    @property
    def matcher(self) -> Matcher:
        """Matches users by the published index."""
        return Matcher(self.lake, self.vectors)

    def user_index(self, model_version: str) -> UserIndex:
        """Return the user index of a model version."""
        return UserIndex(self.vectors, model_version, self.tombstones, self.lake.n_buckets)

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
    def _catalogue_card(self) -> Root:
        return self.settings.data / "models" / "tracks" / "catalogue.json"

    @property
    def track_index(self) -> TrackIndex:
        """The index of tracks."""
        return TrackIndex(self.vectors)

    @property
    def track_model(self) -> TrackModel:
        """The model that continues playlists."""
        return TrackModel(self.settings.data / "models" / "tracks", self.settings.local_data / "models" / "tracks")

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

    def layout(self) -> Layout:
        """Return how the data root is divided for this process."""
        return Layout(self.lake.n_buckets, self.lake.of_origin)

    def check_layout(self) -> None:
        """Remember the number of buckets on first use, and refuse another one later.

        Raises
        ------
        LayoutChangedError
            If the buckets were split since the root was opened: users would be searched in the wrong buckets.
        """
        if read_layout(self.settings.data) is None:
            self.layout().write(self.settings.data)
        refuse_other_layout(self.settings.data, self.lake.n_buckets)
