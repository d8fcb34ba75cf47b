"""Titles and names that nobody listens to any more, in what was made from listening.

Tables of users lose their rows when a user is deleted. The text in them lives on in what is made of everybody's:
vectors of strings, the catalogue and the index of tracks, models. What no user of the lake has any more is taken out of
there, also if another user had it, so that doing it again finishes what was killed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.schemas import (
    ARTIST_FACTORS,
    ARTIST_GENRES,
    RAW_PLAYLISTS,
    TEXT_VECTORS,
    TRACK_CATALOGUE,
    USER_TASTES,
    WEEKLY_PLAYLISTS,
    user_buckets,
)
from spotify_dag.tower.redaction import redacted
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.corpus import title_words
from spotify_dag.tracks.moods import PHRASES

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from spotify_dag.project import Project


@dataclass(frozen=True)
class OrphanedText:
    """The text that nobody has, under one data root.

    Parameters
    ----------
    project
        Where.
    user_id
        Who was deleted: of their bucket's artists, and of whose landmarks in models.
    """

    project: Project
    user_id: str

    def count(self) -> dict[str, int]:
        """Return how much there is, by place; nothing is changed."""
        project = self.project
        places = {
            "lake/artist_genres": len(self._artists_of_bucket()),
            "vectors/tracks": len(self._tracks_of_index()),
            "lake/track_catalogue": self._tracks_of_catalogue().height,
            "lake/weekly_playlist": self._weekly_lists().height,
            "lake/artist_factors": self._factors().height,
            "lake/text_vectors": self._texts().height,
            "models/tracks": project.track_model.forget_names(self._track_ids, self._artist_keys, write=False),
            "models": 0,
        }
        project.registry.redact(self._noting(places))
        what = {"models": "the user's landmark, or text that nobody has"}
        return {
            f"{place}: {what.get(place, 'text that nobody has')}": count for place, count in places.items() if count
        }

    def remove(self) -> dict[str, int]:
        """Delete it from every version and from the disk; return how much it was, by place."""
        import polars as pl

        project = self.project
        artists = self._artists_of_bucket()
        done = {}
        if len(artists):
            gone = pl.col("artist_key").is_in(artists.implode())
            done["lake/artist_genres"] = project.lake.expunge(ARTIST_GENRES, self._bucket, gone)
        tracks = self._tracks_of_catalogue()
        # The index before the catalogue, by which its rows are found.
        ids = pl.concat([tracks["track_id"], self._tracks_of_index()]).unique()
        done["vectors/tracks"] = project.track_index.expunge(ids.to_list())
        factors = self._factors()
        done["models/tracks"] = project.track_model.forget_names(self._track_ids, self._artist_keys)
        done["lake/track_catalogue"] = project.lake.purge(TRACK_CATALOGUE, tracks)
        done["lake/weekly_playlist"] = project.lake.purge(WEEKLY_PLAYLISTS, self._weekly_lists())
        done["lake/artist_factors"] = project.lake.purge(ARTIST_FACTORS, factors)
        done["lake/text_vectors"] = project.lake.purge(TEXT_VECTORS, self._texts())
        done["models/towers"] = project.registry.redact(self._change)
        return {place: count for place, count in done.items() if count}

    @property
    def _bucket(self) -> int:
        return user_buckets([self.user_id], self.project.lake.n_buckets)[0]

    @cached_property
    def _artist_keys(self) -> pl.Series:
        """The artists that somebody listens to."""
        return self._keys(None)

    def _keys(self, buckets: list[int] | None) -> pl.Series:
        import polars as pl

        lake = self.project.lake
        listed = lake.scan(RAW_PLAYLISTS, buckets).select("artist_name")
        # Of users whose listening was dropped for its age, tastes are left.
        weighed = lake.scan(USER_TASTES, buckets).filter(pl.col("kind") == "artist").select(artist_name="name")
        names = pl.concat([listed, weighed]).unique().collect(engine="streaming")
        return names.select(artist_key(pl.col("artist_name")).alias("artist_key")).to_series().unique()

    def _artists_of_bucket(self) -> pl.Series:
        import polars as pl

        present = self.project.lake.scan(ARTIST_GENRES, [self._bucket]).select("artist_key").collect()
        return present.filter(~pl.col("artist_key").is_in(self._keys([self._bucket]).implode())).to_series()

    def _items(self) -> pl.LazyFrame:
        import polars as pl

        names = ("track_name", "artist_name", "album_name")
        items = self.project.lake.scan(RAW_PLAYLISTS).filter(pl.col("track_name").is_not_null())
        return items.select(track_identity(), *names).unique()

    def _tracks_of_catalogue(self) -> pl.DataFrame:
        """Return the tracks (``track_id``) that nobody has, or has by such a title, artist or album."""
        import polars as pl

        rows, items = self.project.lake.scan(TRACK_CATALOGUE), self._items()
        gone = [
            rows.filter(pl.col(name).is_not_null())
            .join(items, on=["track_id", name], how="anti", nulls_equal=True)
            .select("track_id")
            for name in ("track_name", "artist_name", "album_name")
        ]
        return pl.concat(gone).unique().collect(engine="streaming")

    @cached_property
    def _track_ids(self) -> pl.Series:
        """The tracks that somebody has."""
        return self._items().select("track_id").unique().collect(engine="streaming").to_series()

    def _tracks_of_index(self) -> pl.Series:
        present = self.project.track_index.column("track_id")
        return present.join(self._track_ids.to_frame(), on="track_id", how="anti").to_series()

    def _weekly_lists(self) -> pl.DataFrame:
        """Return the lists (``user_id, week``) with a track that nobody has any more: its id may hold its title."""
        import polars as pl

        listed = self.project.lake.scan(WEEKLY_PLAYLISTS).select("user_id", "week", pl.col("tracks").alias("track_id"))
        tracks = listed.explode("track_id").drop_nulls().collect()
        return tracks.join(self._track_ids.to_frame(), on="track_id", how="anti").select("user_id", "week").unique()

    def _factors(self) -> pl.DataFrame:
        import polars as pl

        rows = self.project.lake.scan(ARTIST_FACTORS).select("artist_key").unique().collect()
        return rows.filter(~pl.col("artist_key").is_in(self._artist_keys.implode()))

    def _texts(self) -> pl.DataFrame:
        """Return the strings (``text``) that have a vector and that nothing needs."""
        import polars as pl

        lake = self.project.lake
        items, tracks = lake.scan(RAW_PLAYLISTS), lake.scan(TRACK_CATALOGUE)
        genres = (
            lake.scan(table).select(pl.col("genres").list.explode()) for table in (ARTIST_GENRES, TRACK_CATALOGUE)
        )
        needed = [
            items.select("artist_name"),
            items.select("playlist_name"),
            items.select(title_words(pl.col("track_name")).explode()),
            lake.scan(USER_TASTES).select("name"),
            tracks.select("artist_name"),
            tracks.select(title_words(pl.col("track_name")).explode()),
            *genres,
            pl.LazyFrame({"text": list(PHRASES)}),
        ]
        named = pl.concat([frame.select(pl.all().alias("text")) for frame in needed]).unique()
        present = lake.scan(TEXT_VECTORS).select("text").unique()
        return present.join(named, on="text", how="anti").collect(engine="streaming")

    def _change(self, arrays: dict[str, np.ndarray], owners: list[str]) -> dict[str, np.ndarray] | None:
        (digest,) = self.project.tombstones.digests([self.user_id])
        landmarks = [row for row, owner in enumerate(owners) if owner == digest]
        return redacted(arrays, landmarks, set(self._artist_keys))

    def _noting(self, places: dict[str, int]) -> Callable[[dict[str, np.ndarray], list[str]], None]:
        def note(arrays: dict[str, np.ndarray], owners: list[str]) -> None:
            places["models"] += self._change(arrays, owners) is not None

        return note
