"""What one person listens to, in the numbers of a continuation model, and what they may like beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.genres import artist_key
from spotify_dag.features.left_out import same_name
from spotify_dag.schemas import RAW_PLAYLISTS, TRACK_CATALOGUE
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.preferences import Preference, Preferences
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
class Listening:
    """What one person listens to, in names: it outlives a model, whose numbers mean something else in the next."""

    tracks: pl.DataFrame
    """``track_id, weight``: how often each track was played or listed."""
    artists: pl.DataFrame
    """``artist_key, weight``, items without a title included."""

    @staticmethod
    def of_items(items: pl.DataFrame | pl.LazyFrame) -> Listening:
        """Return the listening of rows of `schemas.RAW_PLAYLISTS`. Items without a title count for their artist."""
        import polars as pl

        weight = pl.col("plays").fill_null(1).cast(pl.Float64).alias("weight")
        names = track_identity(), artist_key(pl.col("artist_name")).alias("artist_key")
        counted = items.lazy().select("track_name", *names, weight)
        parts = ((counted.filter(pl.col("track_name").is_not_null()), "track_id"), (counted, "artist_key"))
        return Listening(
            *pl.collect_all([rows.group_by(name).agg(pl.col("weight").sum()).sort(name) for rows, name in parts])
        )

    def known(self, loaded: LoadedModel, most: int) -> Listening:
        """Return what a model knows of it: of tracks and of artists those of most weight, at most ``most`` of each."""
        import polars as pl

        def heaviest(rows: pl.DataFrame, name: str, known: Iterable[str]) -> pl.DataFrame:
            here = rows.filter(pl.col(name).is_in(list(known)))
            best = here.sort("weight", name, descending=[True, False]).head(most)
            # Written anew: a part of a frame holds on to the memory of the whole, and to all names in it.
            return pl.DataFrame(best.to_dict(as_series=False), schema=best.schema)

        return Listening(
            heaviest(self.tracks, "track_id", loaded.numbers(self.tracks["track_id"].to_list())),
            heaviest(self.artists, "artist_key", loaded.artists(self.artists["artist_key"].to_list())),
        )


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
    not_for_me: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[songs]`` int: what they do not want, in no recording."""
    left_out: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    """``[artists]`` int: who does not count for them."""

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
    def of_listening(name: str, listening: Listening, loaded: LoadedModel, more_like: Sequence[str] = ()) -> Listener:
        """Return somebody by what they listen to. Tracks of ``more_like`` count as what they play most."""
        numbers = loaded.numbers(listening.tracks["track_id"].to_list())
        tracks = {numbers[track]: weight for track, weight in listening.tracks.iter_rows() if track in numbers}
        places = loaded.artists(listening.artists["artist_key"].to_list())
        artists = {places[key]: weight for key, weight in listening.artists.iter_rows() if key in places}
        most = max(tracks.values(), default=1.0)
        for track in loaded.numbers(more_like).values():
            artist = int(loaded.model.stage.tracks.artist[track])
            artists[artist] = artists.get(artist, 0.0) + most
            tracks[track] = tracks.get(track, 0.0) + most
        return Listener._of(
            name, np.array(list(tracks), np.int64), np.array(list(tracks.values()), float),
            np.array(sorted(artists), np.int64), np.array([artists[artist] for artist in sorted(artists)], float),
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
        predicted[self.artists] = predicted[self.left_out] = 0
        total = predicted.sum()
        if total <= 0 or not own.any():
            return own if own.any() else predicted / max(total, 1e-12)
        return (1 - PREDICTED) * own + PREDICTED * predicted / total


class Listeners:
    """People of the lake, read once per version of it, of what they said and of the model. Threads may share it.

    With the next version all are given up, so that nobody who was forgotten is held on to.

    Parameters
    ----------
    lake
        Where they are.
    preferences
        What they leave out, what is not for them, and what they want more of.
    """

    def __init__(self, lake: Lake, preferences: Preferences) -> None:
        self.lake, self.preferences = lake, preferences
        self._held: OrderedDict[str, Listener] = OrderedDict()
        self._held_of: tuple[object, ...] | None = None
        self._lock = Lock()

    def of(self, user_ids: Sequence[str], loaded: LoadedModel, *, missing_ok: bool = False) -> list[Listener]:
        """Return users in the order given.

        Raises
        ------
        ListenerError
            If one is not in the lake; with ``missing_ok`` they are left out.
        """
        now = loaded.version, self.lake.version(RAW_PLAYLISTS), self.preferences.versions()
        with self._lock:
            if self._held_of != now:
                self._held.clear()
                self._held_of = now
            read = {user: self._held.get(user) for user in user_ids}
        if missing := [user for user, listener in read.items() if listener is None]:
            counted = self.preferences.counted_of(self.lake, missing)
            items = counted.select("user_id", "track_id", "track_name", "artist_name", "plays").collect()
            new = {
                str(user): self.with_preferences(str(user), rows, loaded)
                for (user,), rows in items.partition_by("user_id", as_dict=True).items()
            }
            if not missing_ok and (unknown := [user for user in missing if user not in new]):
                raise ListenerError(
                    f"Nobody called '{unknown[0][:80]}' is known, or all they listen to is left out. "
                    "Add them with: spotify-dag add"
                )
            read |= new
            with self._lock:
                if self._held_of == now:
                    self._held.update(new)
                while len(self._held) > MOST_HELD:
                    self._held.popitem(last=False)
        return [listener for user in user_ids if (listener := read[user]) is not None]

    def with_preferences(self, user_id: str, items: pl.DataFrame, loaded: LoadedModel) -> Listener:
        """Return a user by rows of `schemas.RAW_PLAYLISTS` that count, and what they said of tracks and artists."""
        said = self.preferences.of(user_id)
        more_like = [it.name for it in said if it.kind == "more-like"]
        listener = Listener.of_listening(user_id, Listening.of_items(items), loaded, more_like)
        if not said:
            return listener
        tracks = loaded.model.stage.tracks
        not_for_me = list(loaded.numbers([it.name for it in said if it.kind == "not-for-me"]).values())
        artists = loaded.artists(self._artist_keys(said))
        return replace(
            listener,
            not_for_me=tracks.song[np.array(not_for_me, np.int64)],
            left_out=np.array(sorted(artists.values()), np.int64),
        )

    def _artist_keys(self, said: Sequence[Preference]) -> list[str]:
        """Return the artists that are left out, by name or because of a genre of theirs."""
        import polars as pl

        left_out = {kind: [it.name for it in said if it.kind == kind] for kind in ("artist", "genre")}
        names = pl.DataFrame({"name": left_out["artist"]}, schema={"name": pl.String})
        keys = names.select(artist_key(pl.col("name"))).to_series().to_list()
        if left_out["genre"]:
            genres = pl.Series(left_out["genre"]).to_frame("genre").select(same_name(pl.col("genre"))).to_series()
            catalogued = self.lake.scan(TRACK_CATALOGUE).select("artist_key", "genres").unique("artist_key")
            of_genres = catalogued.explode("genres").filter(same_name(pl.col("genres")).is_in(genres.implode()))
            keys += of_genres.select("artist_key").unique().collect()["artist_key"].to_list()
        return keys
