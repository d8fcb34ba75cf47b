"""The first stage: every method names its best tracks, and all of these are the candidates of a request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.incidence import MAX_SEEDS, Incidence, evenly, largest
from spotify_dag.tracks.methods.artist_knn import ArtistKnn
from spotify_dag.tracks.methods.content import Content, Normal, Seeds
from spotify_dag.tracks.methods.ials import Ials
from spotify_dag.tracks.methods.item_knn import ItemKnn, beside
from spotify_dag.tracks.methods.playlist_knn import PlaylistKnn
from spotify_dag.tracks.methods.title_knn import TitleKnn
from spotify_dag.tracks.title_texts import TitleTexts
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks

METHODS = {
    "item_knn": 400, "item_knn_recent": 200, "beside": 200, "playlist_knn": 400, "playlist_knn_recent": 200,
    "ials": 400, "ials_title": 400, "artist_lists": 200, "artist_near": 200, "same_artist": 100,
    "same_artist_recent": 50, "title_letters": 400, "title_meaning": 400, "title_artist": 200, "names": 100,
    "title_names": 100, "sound": 100, "genre": 100, "popularity": 200,
}  # fmt: skip
"""Every method, and how many candidates it names."""
NAMES = list(METHODS)
WITHOUT_SEEDS = 2
"""How many times as many candidates the methods that need no seeds name where there are none."""


@dataclass(frozen=True)
class Candidates:
    """Tracks that may continue a request, and what each method says of each."""

    tracks: np.ndarray
    """``[candidates]`` int, in ascending order."""
    scores: np.ndarray
    """``[candidates, methods]`` float32, not negative; 0 says nothing."""
    extra: dict[str, np.ndarray]
    """Further vectors ``[candidates]``, by the name of the feature that they are."""
    seeds: Seeds


class FirstStage:
    """All methods over one catalogue.

    Parameters
    ----------
    tracks, playlists
        The catalogue, and what to learn from.
    ials
        See `methods.ials.learn_ials`.
    """

    def __init__(self, tracks: Tracks, playlists: Playlists, ials: Ials | None = None) -> None:
        self.incidence = Incidence(tracks, playlists)
        self.titles = TitleTexts(list(playlists.titles), playlists.title)
        self.ials = ials
        self.content = Content(tracks)
        self.item_knn, self.playlist_knn = ItemKnn(self.incidence), PlaylistKnn(self.incidence)
        self.title_knn, self.artist_knn = TitleKnn(self.incidence, self.titles), ArtistKnn(self.incidence)
        self.popularity = np.log1p(self.incidence.track_count).astype(np.float32)

    def scores(self, request: Request) -> tuple[dict[str, np.ndarray], Seeds]:
        """Return what every method that has something to say says of every track, ``[tracks]`` each."""
        known = evenly(request.seeds, MAX_SEEDS)
        seeds = Seeds.of(request, known, self.content)
        found = {"popularity": self.popularity}
        if len(known):
            found |= self.item_knn(known) | self.playlist_knn(known)
            found["beside"] = beside(self.incidence, known)
        if len(seeds):
            found |= self.artist_knn(seeds.artist) | self._by_content(seeds)
        if self.ials is not None:
            found |= self.ials(known, self.titles.words_in(request.title_text))
        return found | self._by_title(request), seeds

    def candidates(self, request: Request, factor: float = 1.0) -> Candidates:
        """Return the candidates of a request, ``factor`` times as many as usual."""
        scores, seeds = self.scores(request)
        if not len(seeds):
            factor *= WITHOUT_SEEDS
        best = [largest(scores[name], int(factor * count)) for name, count in METHODS.items() if name in scores]
        tracks = np.unique(np.concatenate(best))
        tracks = tracks[~np.isin(tracks, request.seeds)]
        table = np.zeros((len(tracks), len(NAMES)), np.float32)
        for column, name in enumerate(NAMES):
            if name in scores:
                table[:, column] = scores[name][tracks]
        extra = {name: values[tracks] for name, values in scores.items() if name not in METHODS}
        return Candidates(tracks, table, extra, seeds)

    def _by_content(self, seeds: Seeds) -> dict[str, np.ndarray]:
        found = {"names": np.maximum(self.content.text_near(seeds.name()[None])[0], 0)}
        if len(self.content.heard):
            found["sound"] = np.maximum(self.content.sounds(Normal.of(seeds.audio, np.ones(len(seeds)))), 0)
        known = seeds.artist[seeds.artist >= 0]
        genres = self._genres_of(known)
        if genres.any():
            found["genre"] = self.content.of_genres(genres) * (1 + self.popularity)
        return found

    def _genres_of(self, artists: np.ndarray) -> np.ndarray:
        """Return how often each genre is one of these artists', ``[genres]``."""
        return np.asarray(self.content.tracks.genres[self._a_track_of[artists]].sum(axis=0)).ravel()

    @property
    def _a_track_of(self) -> np.ndarray:
        artist = self.content.tracks.artist
        found = np.zeros(int(artist.max(initial=-1)) + 1, np.int64)
        found[artist] = np.arange(len(artist))
        return found

    def _by_title(self, request: Request) -> dict[str, np.ndarray]:
        affinity = self.title_knn.affinity(request)
        found = {f"title_{name}": self.title_knn.tracks_of(values) for name, values in affinity.items()}
        if "meaning" in affinity:
            summed = affinity["meaning"] + affinity.get("letters", 0)
            found["title_artist"] = self._title_artist(summed)
        if request.title is not None:
            found["title_names"] = np.maximum(self.content.text_near(request.title[None])[0], 0)
        return found

    def _title_artist(self, affinity: np.ndarray) -> np.ndarray:
        from spotify_dag.tracks.incidence import weighted_sum

        nearest = largest(affinity, self.title_knn.neighbours)
        of_artist = weighted_sum(
            self.incidence.artists_by_playlist[nearest], affinity[nearest] / self.incidence.artist_length[nearest]
        )
        of_artist /= (1 + self.incidence.artist_count) ** 0.4
        return of_artist[self.content.tracks.artist] * self.artist_knn.standing
