"""What one person listens to, in the numbers of a continuation model, and what they may like beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.genres import artist_key
from spotify_dag.schemas import RAW_PLAYLISTS, buckets_of
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.continuation_model import LoadedModel
from spotify_dag.tracks.incidence import MAX_SEEDS, evenly
from spotify_dag.tracks.methods.ials import NOTHING, Ials

if TYPE_CHECKING:
    import polars as pl


class ListenerError(SpotifyDagError):
    """People who cannot be given a list. The message says who, why and what to do."""


MOST_HELD = 1_000
"""People whose listening is held in memory."""
PREDICTED = 0.3
"""Share of somebody's listening to come that goes to artists who are new to them, by prediction."""


@dataclass(frozen=True)
class Listener:
    """One person."""

    name: str
    tracks: np.ndarray
    """``[tracks]`` int: what they have and the model knows, played most first."""
    artists: np.ndarray
    """``[artists]`` int, ascending: the artists they listen to."""
    shares: np.ndarray
    """``[artists]`` float: share of their listening."""

    @staticmethod
    def of_tracks(name: str, tracks: np.ndarray, plays: np.ndarray, stage: FirstStage) -> Listener:
        """Return somebody by tracks of a catalogue, each once, and how often each was played or listed."""
        artists, at = np.unique(stage.tracks.artist[tracks], return_inverse=True)
        return Listener._of(name, tracks, plays, artists, np.bincount(at, plays, len(artists)), stage)

    @staticmethod
    def _of(
        name: str, tracks: np.ndarray, plays: np.ndarray, artists: np.ndarray, weights: np.ndarray, stage: FirstStage
    ) -> Listener:
        order = np.lexsort((tracks, -stage.popularity[tracks], -plays))
        return Listener(name, tracks[order], artists, weights / max(float(weights.sum()), 1e-12))

    @staticmethod
    def of_items(name: str, items: pl.DataFrame, loaded: LoadedModel) -> Listener:
        """Return somebody by rows of `schemas.RAW_PLAYLISTS`. Items without a title count for their artist."""
        import polars as pl

        weight = pl.col("plays").fill_null(1).cast(pl.Float64).alias("weight")
        counted = items.select(
            "track_name", track_identity(), artist_key(pl.col("artist_name")).alias("artist_key"), weight
        )
        titled = counted.filter(pl.col("track_name").is_not_null()).group_by("track_id").agg(pl.col("weight").sum())
        of_artist = counted.group_by("artist_key").agg(pl.col("weight").sum()).sort("artist_key")
        numbers = loaded.numbers(titled["track_id"].to_list())
        rows = [(numbers[track], weight) for track, weight in titled.iter_rows() if track in numbers]
        places = loaded.artists(of_artist["artist_key"].to_list())
        artists = sorted((places[key], weight) for key, weight in of_artist.iter_rows() if key in places)
        return Listener._of(
            name, np.array([track for track, _ in rows], np.int64), np.array([plays for _, plays in rows], float),
            np.array([artist for artist, _ in artists], np.int64), np.array([plays for _, plays in artists], float),
            loaded.model.stage,
        )  # fmt: skip

    def factors(self, ials: Ials, artist_of: np.ndarray) -> np.ndarray:
        """Return the person as a row of the factor model, ``[factors]``."""
        seeds = evenly(self.tracks, MAX_SEEDS)
        credited = artist_of[seeds] if len(seeds) else self.artists
        return ials.folded(seeds, NOTHING, credited)

    def liking(self, ials: Ials, factors: np.ndarray) -> np.ndarray:
        """Return the share of their listening to come that each artist may have, ``[artists]``; it sums to 1."""
        own = np.zeros(len(ials.artists))
        own[self.artists] = self.shares
        predicted = np.square(np.maximum(ials.artists @ factors, 0)).astype(np.float64)
        predicted[self.artists] = 0
        total = predicted.sum()
        if total <= 0 or not own.any():
            return own if own.any() else predicted / max(total, 1e-12)
        return (1 - PREDICTED) * own + PREDICTED * predicted / total


class Listeners:
    """People of the lake, read once per version of it and of the model. Threads may share it.

    With the next version all are given up, so that nobody who was forgotten is held on to.

    Parameters
    ----------
    lake
        Where they are.
    """

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self._held: OrderedDict[str, Listener] = OrderedDict()
        self._held_of: tuple[str, int] | None = None
        self._lock = Lock()

    def of(self, user_ids: Sequence[str], loaded: LoadedModel, *, missing_ok: bool = False) -> list[Listener]:
        """Return users in the order given.

        Raises
        ------
        ListenerError
            If one is not in the lake; with ``missing_ok`` they are left out.
        """
        import polars as pl

        now = loaded.version, self.lake.version(RAW_PLAYLISTS)
        with self._lock:
            if self._held_of != now:
                self._held.clear()
                self._held_of = now
            read = {user: self._held.get(user) for user in user_ids}
        if missing := [user for user, listener in read.items() if listener is None]:
            items = (
                self.lake.scan(RAW_PLAYLISTS, buckets_of(missing, self.lake.n_buckets))
                .filter(pl.col("user_id").is_in(missing))
                .select("user_id", "track_id", "track_name", "artist_name", "plays")
                .collect()
            )
            new = {
                str(user): Listener.of_items(str(user), rows, loaded)
                for (user,), rows in items.partition_by("user_id", as_dict=True).items()
            }
            if not missing_ok and (unknown := [user for user in missing if user not in new]):
                raise ListenerError(f"Nobody called '{unknown[0][:80]}' is known. Add them with: spotify-dag add")
            read |= new
            with self._lock:
                if self._held_of == now:
                    self._held.update(new)
                while len(self._held) > MOST_HELD:
                    self._held.popitem(last=False)
        return [listener for user in user_ids if (listener := read[user]) is not None]
