"""The first stage: every method names its best tracks, and all of these are the candidates of a request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spotify_dag.tracks.incidence import MAX_SEEDS, Incidence, evenly, largest
from spotify_dag.tracks.methods.artist_knn import ArtistKnn
from spotify_dag.tracks.methods.autoencoder import Autoencoder
from spotify_dag.tracks.methods.content import Content, Normal, Seeds
from spotify_dag.tracks.methods.ials import Ials, learn_ials
from spotify_dag.tracks.methods.item_knn import ItemKnn, beside
from spotify_dag.tracks.methods.playlist_knn import PlaylistKnn
from spotify_dag.tracks.methods.title_knn import TitleKnn
from spotify_dag.tracks.title_texts import TitleTexts
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks

METHODS = {
    "item_knn": 400, "item_knn_recent": 200, "beside": 200, "playlist_knn": 400, "ials": 400,
    "ials_all": 400, "ials_artist": 200, "autoencoder": 200, "autoencoder_artist": 200, "artist_lists": 200,
    "artist_near": 200, "same_artist": 100, "same_artist_recent": 50, "title_letters": 400,
    "title_meaning": 400, "title_artist": 200, "names": 100, "title_names": 100, "sound": 100, "mood": 100,
    "genre": 100, "popularity": 200,
}  # fmt: skip
"""Every method, and how many candidates it names."""
NAMES = tuple(METHODS)
WITHOUT_SEEDS = 2
"""How many times as many candidates every method names where there are no seeds, and so fewer methods."""


@dataclass(frozen=True)
class Candidates:
    """Tracks that may continue a request, and what each method says of each."""

    tracks: np.ndarray
    """``[candidates]`` int, in ascending order; no seed is among them."""
    scores: np.ndarray
    """``[candidates, methods]`` float32, not negative; 0 says nothing."""
    seeds_met: np.ndarray
    """``[candidates]`` float32, share of the seeds that stand in a playlist with it."""
    seeds: Seeds


class FirstStage:
    """All methods over one catalogue.

    Parameters
    ----------
    incidence, titles
        The catalogue and the playlists to learn from, and what these are called.
    ials
        Factors that were learned from them.
    autoencoder
        The regression over all tracks that was.
    """

    def __init__(self, incidence: Incidence, titles: TitleTexts, ials: Ials, autoencoder: Autoencoder) -> None:
        self.tracks, self.playlists = incidence.tracks, incidence.playlists
        self.incidence, self.titles, self.ials, self.autoencoder = incidence, titles, ials, autoencoder
        self.content = Content(self.tracks)
        self.item_knn, self.playlist_knn = ItemKnn(incidence), PlaylistKnn(incidence)
        self.title_knn, self.artist_knn = TitleKnn(incidence, titles), ArtistKnn(incidence)
        self.popularity = np.log1p(incidence.track_count).astype(np.float32)

    @staticmethod
    def of(tracks: Tracks, playlists: Playlists, ials: Ials, inverse: np.ndarray) -> FirstStage:
        """Return a first stage of factors and of `Autoencoder.inverse`, learned from the same playlists."""
        incidence, titles = Incidence(tracks, playlists), TitleTexts(playlists.titles.tolist(), playlists.title)
        return FirstStage(incidence, titles, ials, Autoencoder(incidence, inverse))

    @staticmethod
    def learn(tracks: Tracks, playlists: Playlists, *, seed: int = 0, threads: int = 0) -> FirstStage:
        """Return a first stage that is learned from the playlists; ``threads`` as of `learn_ials`."""
        incidence, titles = Incidence(tracks, playlists), TitleTexts(playlists.titles.tolist(), playlists.title)
        ials = learn_ials(
            incidence.by_playlist, titles.by_playlist, incidence.artists_by_playlist, seed=seed, threads=threads
        )
        return FirstStage(incidence, titles, ials, Autoencoder(incidence))

    @cached_property
    def known_popularity(self) -> np.ndarray:
        """``[tracks]``, 0 to 1: as the source says, else by the number of playlists."""
        listed = self.popularity / max(float(self.popularity.max(initial=0)), 1e-9)
        return np.where(np.isnan(self.tracks.popularity), listed, self.tracks.popularity).astype(np.float32)

    def candidates(self, request: Request, factor: float = 1.0, at_least: int = 0) -> Candidates:
        """Return the candidates of a request.

        Parameters
        ----------
        request
            What to continue.
        factor
            How many times as many as usual each method names.
        at_least
            How many are needed: what is popular fills up.
        """
        scores, seeds = self._scores(request)
        met = scores.pop("seeds_met", np.zeros(len(self.tracks), np.float32))
        if not len(seeds):
            factor *= WITHOUT_SEEDS
        best = [largest(values, int(factor * METHODS[name])) for name, values in scores.items()]
        tracks = np.setdiff1d(np.concatenate(best), request.seeds)
        if len(tracks) < at_least:
            # Most popular first; those in no playlist come last.
            filling = np.argsort(-self.popularity, kind="stable")[: at_least + len(request.seeds)]
            tracks = np.setdiff1d(np.union1d(tracks, filling), request.seeds)
        table = np.zeros((len(tracks), len(NAMES)), np.float32)
        for name, values in scores.items():
            table[:, NAMES.index(name)] = values[tracks]
        return Candidates(tracks, table, met[tracks], seeds)

    def _scores(self, request: Request) -> tuple[dict[str, np.ndarray], Seeds]:
        """Return what every method that has something to say says of every track, ``[tracks]`` each; and the seeds."""
        seeds_used = evenly(request.seeds, MAX_SEEDS)
        seeds = Seeds.of(request, seeds_used, self.content)
        scores = {"popularity": self.popularity}
        if len(seeds_used):
            scores |= self.item_knn(seeds_used) | {"playlist_knn": self.playlist_knn(seeds_used)}
            scores["beside"] = beside(self.incidence, seeds_used)
        scores |= self._by_factors(request, seeds_used, seeds)
        if len(seeds):
            scores |= self._by_autoencoder(seeds_used, seeds)
            scores |= self.artist_knn(seeds.artist) | self._by_content(seeds)
        if request.title is not None:
            scores |= self._by_title(request, request.title)
        return scores, seeds

    def _by_factors(self, request: Request, known: np.ndarray, seeds: Seeds) -> dict[str, np.ndarray]:
        scores = self.ials(known, self.titles.words_in(request.title_text), seeds.artist)
        if "artists" in scores:
            scores["ials_artist"] = scores.pop("artists")[self.tracks.artist] * self.artist_knn.standing
        return scores

    def _by_autoencoder(self, known: np.ndarray, seeds: Seeds) -> dict[str, np.ndarray]:
        scores = self.autoencoder(known, seeds.artist)
        if "artists" in scores:
            of_artist = scores.pop("artists")[self.tracks.artist]
            scores["autoencoder_artist"] = of_artist * self.artist_knn.standing
        return scores

    def _by_content(self, seeds: Seeds) -> dict[str, np.ndarray]:
        scores = {"names": self.content.near_names(seeds.name())}
        if len(self.content.heard):
            scores["sound"] = np.maximum(self.content.sounds(Normal.of(seeds.audio)), 0)
        genres = self.content.genres_of(seeds.artist)
        if genres.any():
            scores["genre"] = self.content.share_genres(genres) * (1 + self.popularity)
        return scores

    def _by_title(self, request: Request, title: np.ndarray) -> dict[str, np.ndarray]:
        scores = self.title_knn(request.title_text, title)
        alike = scores.pop("playlists")
        scores["title_artist"] = self.artist_knn.artists_of(alike)[self.tracks.artist] * self.artist_knn.standing
        scores["title_names"] = self.content.near_names(title)
        if request.mood is not None and len(self.content.heard):
            scores["mood"] = np.maximum(np.nan_to_num(self.content.audio) @ request.mood, 0)
        return scores
