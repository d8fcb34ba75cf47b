"""Content: how tracks sound, their years and genres, their names and those of their artists."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.incidence import recency
from spotify_dag.tracks.track_arrays import Request, Tracks

PRIOR_TRACKS = 4.0
"""How many tracks' worth of evidence the whole catalogue is, beside the seeds, for the spread of a feature."""
CAP = 4.0
"""Largest log-likelihood ratio per feature, in nats: one odd number must not decide."""
EVERY = slice(None)
TEXT_DIM, TEXT_SAMPLE = 64, 20_000
"""Dimensions that names are looked for in, and tracks that these are chosen from; candidates are compared in all."""


@dataclass(frozen=True)
class Normal:
    """A normal distribution per feature; ``[features]`` each."""

    mean: np.ndarray
    variance: np.ndarray

    @staticmethod
    def of(sample: np.ndarray) -> Normal:
        """Return mean and variance of standardised features, shrunk to the catalogue's (0 and 1).

        ``sample`` is ``[rows, features]``, NaN where one is missing.
        """
        known = ~np.isnan(sample)
        evidence = known.sum(axis=0)
        mean = np.where(known, sample, 0).sum(axis=0) / (evidence + 1)
        squares = np.where(known, (sample - mean) ** 2, 0).sum(axis=0)
        variance = (squares + PRIOR_TRACKS) / (evidence + PRIOR_TRACKS)
        return Normal(mean.astype(np.float32), variance.astype(np.float32))

    def likelihood(self, features: np.ndarray) -> np.ndarray:
        """Return the log-likelihood ratio of each row under this and the catalogue's distribution, ``[rows]``.

        A missing feature says nothing.
        """
        ratio = 0.5 * (features**2 - (features - self.mean) ** 2 / self.variance) - 0.5 * np.log(self.variance)
        return np.nan_to_num(np.clip(ratio, -CAP, CAP)).sum(axis=1)


class Content:
    """What is known of tracks without any playlist."""

    def __init__(self, tracks: Tracks) -> None:
        self.tracks = tracks
        self._audio_scale, self._year_scale = _scale(tracks.audio), _scale(tracks.year[:, None])
        self.audio, self.year = self.standard_audio(tracks.audio), self.standard_year(tracks.year)
        self.heard = np.flatnonzero(~np.isnan(self.audio).all(axis=1))
        self._sound = np.nan_to_num(self.audio[self.heard])
        sample = tracks.text[np.linspace(0, len(tracks) - 1, min(len(tracks), TEXT_SAMPLE)).astype(int)]
        _, axes = np.linalg.eigh(sample.T @ sample)
        self.axes = np.ascontiguousarray(axes[:, ::-1][:, :TEXT_DIM])
        self.short_text = tracks.text @ self.axes
        self._track_of_artist = np.zeros(int(tracks.artist.max(initial=-1)) + 1, np.int64)
        self._track_of_artist[tracks.artist] = np.arange(len(tracks))

    def standard_audio(self, audio: np.ndarray) -> np.ndarray:
        """Return audio features on the scale of this catalogue, mean 0 and deviation 1."""
        return _standardised(audio, self._audio_scale)

    def standard_year(self, year: np.ndarray) -> np.ndarray:
        """Return years ``[rows]`` on the scale of this catalogue, ``[rows, 1]``."""
        return _standardised(year[:, None], self._year_scale)

    def near_names(self, text: np.ndarray) -> np.ndarray:
        """Return about the cosine of each track's names with a text ``[dim]``, ``[tracks]``; below 0 is 0."""
        return np.maximum(self.short_text @ (text @ self.axes), 0)

    def sounds(self, normal: Normal) -> np.ndarray:
        """Return `Normal.likelihood` of every track, ``[tracks]``, without its cap; 0 where nothing is known."""
        scores = np.zeros(len(self.tracks), np.float32)
        square, linear = 0.5 - 0.5 / normal.variance, normal.mean / normal.variance
        scores[self.heard] = (self._sound**2) @ square + self._sound @ linear
        return scores

    def genres_of(self, artists: np.ndarray) -> np.ndarray:
        """Return how often each genre is one of these artists', ``[genres]``; -1 is no artist."""
        rows = self._track_of_artist[artists[artists >= 0]]
        return np.asarray(self.tracks.genres[rows].sum(axis=0)).ravel()

    def share_genres(self, profile: np.ndarray, rows: np.ndarray | slice = EVERY) -> np.ndarray:
        """Return how much of a profile ``[genres]`` the genres of some tracks have, ``[rows]``."""
        genres = self.tracks.genres[rows] if rows is not EVERY else self.tracks.genres
        return (genres @ profile / np.sqrt(1 + np.diff(genres.indptr)) / max(profile.sum(), 1)).astype(np.float32)


@dataclass(frozen=True)
class Seeds:
    """The seeds of a request, known or not, by their content; row ``i`` of everything is seed ``i``."""

    artist: np.ndarray
    audio: np.ndarray
    year: np.ndarray
    text: np.ndarray

    @staticmethod
    def of(request: Request, known: np.ndarray, content: Content) -> Seeds:
        """Return the known seeds, and after them those that are described only."""
        tracks, unseen = content.tracks, request.unseen
        parts = [(tracks.artist[known], content.audio[known], content.year[known], tracks.text[known])]
        if unseen is not None:
            parts.append(
                (unseen.artist, content.standard_audio(unseen.audio), content.standard_year(unseen.year), unseen.text)
            )
        return Seeds(*(np.concatenate(rows) for rows in zip(*parts, strict=True)))

    def __len__(self) -> int:
        """Return the number of seeds."""
        return len(self.artist)

    def name(self) -> np.ndarray:
        """Return the mean of the seeds' texts, ``[dim]``, unit length."""
        return unit(self.text.mean(axis=0))

    def late_name(self) -> np.ndarray:
        """Return the same with the last seeds counting more."""
        return unit(recency(len(self)) @ self.text)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector at length 1; zero stays zero."""
    length = np.linalg.norm(vector)
    return (vector / length if length > 0 else vector).astype(np.float32)


def _scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature over the rows that have it."""
    known = ~np.isnan(features)
    rows = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, features, 0).sum(axis=0) / rows
    variance = (np.where(known, features - mean, 0) ** 2).sum(axis=0) / rows
    return mean, np.sqrt(np.where(variance > 0, variance, 1))


def _standardised(features: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    mean, deviation = scale
    return ((features - mean) / deviation).astype(np.float32)
