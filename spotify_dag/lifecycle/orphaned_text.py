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
from spotify_dag.lifecycle.held_names import OF_TRACKS, HeldNames
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
            "models/tracks": project.track_model.forget_names(self._held.unheld, write=False),
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
        done["models/tracks"] = project.track_model.forget_names(self._held.unheld)
        done["lake/track_catalogue"] = project.lake.purge(TRACK_CATALOGUE, tracks)
        done["lake/weekly_playlist"] = project.lake.purge(WEEKLY_PLAYLISTS, self._weekly_lists())
        done["lake/artist_factors"] = project.lake.purge(ARTIST_FACTORS, factors)
        done["lake/text_vectors"] = project.lake.purge(TEXT_VECTORS, self._texts())
        done["models/towers"] = project.registry.redact(self._change)
        return {place: count for place, count in done.items() if count}

    @property
    def _bucket(self) -> int:
        return user_buckets([self.user_id], self.project.lake.n_buckets)[0]

    @property
    def _held(self) -> HeldNames:
        return HeldNames(self.project.lake)

    @cached_property
    def _artist_keys(self) -> pl.Series:
        """The artists that somebody listens to, of all that stand in a table."""
        import polars as pl

        tables = [self.project.lake.scan(table).select("artist_key") for table in (ARTIST_GENRES, ARTIST_FACTORS)]
        present = pl.concat(tables).unique().collect()
        return _except(present, self._held.unheld("artist", present, ["artist_key"]))

    def _artists_of_bucket(self) -> pl.Series:
        import polars as pl

        lake, bucket = self.project.lake, [self._bucket]
        listed = lake.scan(RAW_PLAYLISTS, bucket).select("artist_name")
        # Of users whose listening was dropped for its age, tastes are left.
        weighed = lake.scan(USER_TASTES, bucket).filter(pl.col("kind") == "artist").select(artist_name="name")
        names = pl.concat([listed, weighed]).unique().collect(engine="streaming")
        keys = names.select(artist_key(pl.col("artist_name")).alias("artist_key"))
        present = lake.scan(ARTIST_GENRES, bucket).select("artist_key").collect()
        return present.join(keys, on="artist_key", how="anti").to_series()

    def _tracks_of_catalogue(self) -> pl.DataFrame:
        """Return the tracks (``track_id``) that nobody has, or has by such a title, artist or album."""
        import polars as pl

        rows = self.project.lake.scan(TRACK_CATALOGUE).select("track_id", *OF_TRACKS).collect()
        named = ((name, rows.filter(pl.col(name).is_not_null())) for name in OF_TRACKS)
        gone = [self._held.unheld(name, some, ["track_id", name]).select("track_id") for name, some in named]
        return pl.concat(gone).unique()

    def _tracks_of_index(self) -> pl.Series:
        return self._held.unheld("track", self.project.track_index.column("track_id"), ["track_id"]).to_series()

    def _weekly_lists(self) -> pl.DataFrame:
        """Return the lists (``user_id, week``) with a track that nobody has any more: its id may hold its title."""
        import polars as pl

        listed = self.project.lake.scan(WEEKLY_PLAYLISTS).select("user_id", "week", pl.col("tracks").alias("track_id"))
        tracks = listed.explode("track_id").drop_nulls().collect()
        return self._held.unheld("track", tracks, ["track_id"]).select("user_id", "week").unique()

    def _factors(self) -> pl.DataFrame:
        rows = self.project.lake.scan(ARTIST_FACTORS).select("artist_key").unique().collect()
        return self._held.unheld("artist", rows, ["artist_key"])

    def _texts(self) -> pl.DataFrame:
        """Return the strings (``text``) that have a vector and that nothing needs."""
        import polars as pl

        lake = self.project.lake
        tracks = lake.scan(TRACK_CATALOGUE)
        genres = (
            lake.scan(table).select(pl.col("genres").list.explode()) for table in (ARTIST_GENRES, TRACK_CATALOGUE)
        )
        needed = [
            tracks.select("artist_name"),
            tracks.select(title_words(pl.col("track_name")).explode()),
            *genres,
            pl.LazyFrame({"text": list(PHRASES)}),
        ]
        named = pl.concat([frame.select(pl.all().alias("text")) for frame in needed]).unique()
        present = lake.scan(TEXT_VECTORS).select("text").unique()
        others = present.join(named, on="text", how="anti").collect(engine="streaming")
        return self._held.unheld("text", others, ["text"])

    def _change(self, arrays: dict[str, np.ndarray], owners: list[str]) -> dict[str, np.ndarray] | None:
        (digest,) = self.project.tombstones.digests([self.user_id])
        landmarks = [row for row, owner in enumerate(owners) if owner == digest]
        return redacted(arrays, landmarks, set(self._artist_keys))

    def _noting(self, places: dict[str, int]) -> Callable[[dict[str, np.ndarray], list[str]], None]:
        def note(arrays: dict[str, np.ndarray], owners: list[str]) -> None:
            places["models"] += self._change(arrays, owners) is not None

        return note


def _except(present: pl.DataFrame, gone: pl.DataFrame) -> pl.Series:
    """Return the values of a frame of one column that are not in another one."""
    return present.join(gone, on=present.columns, how="anti").to_series()
