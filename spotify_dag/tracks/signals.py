"""Signals: numbers per track of the catalogue that say how much it is like a request, each in one respect.

A track stands in playlists with the seeds, its artist does, it sounds alike, it is of the same years, lists of a
similar title hold it. Signals come in two kinds. *Shares* are not negative and sparse; they are divided by their
largest value, so that only the order of tracks within one request counts, and their root is taken. *Likelihoods* are
log-likelihood ratios of a feature under "belongs to this list" and "any track", which say nothing where the feature is
missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, Unseen

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SHARES = (
    "playlists_track", "playlists_walk", "neighbours", "factors", "playlists_artist", "title_track", "title_artist",
    "same_artist", "same_album", "genre", "title_genre", "genre_named", "popularity",
)  # fmt: skip
TITLE_SHARES = ("title_track", "title_artist", "title_genre")
LIKELIHOODS = ("audio", "year", "text", "title_audio", "title_year", "title_text", "title_match", "mood")
SIGNALS = (*SHARES, *LIKELIHOODS)
"""All signals, in the order of the columns of `Continuation.signals`."""
EVERY = slice(None)
CONFIDENCE, REGULARISATION = 10.0, 0.05
MAX_SEEDS = 500
"""Seeds beyond these many are left out, evenly over the playlist: an answer takes bounded time."""
MAX_PLAYLISTS = 2_000
"""Playlists most like the request that a signal looks at."""
PRIOR_TRACKS = 4.0
"""How many tracks' worth of evidence the whole catalogue is, beside the seeds, for the spread of a feature."""
SHRINKAGE, NEIGHBOURS = 80.0, 200
"""Of item-kNN, as its figures were published for the Million Playlist Dataset."""
TITLE_FLOOR = 0.2
"""Cosine of titles that have nothing to do with each other: what is below says nothing."""
GENRE_FLOOR = 0.5
"""Cosine from which on a playlist's title speaks of a genre by its name."""
MATCH_FLOOR = 0.35
"""Cosine from which on a playlist's title and a track's title and artist speak of the same thing."""
CAP = 4.0
"""Largest likelihood ratio, in nats per feature: one odd number must not decide."""


@dataclass(frozen=True)
class Content:
    """What likelihoods are computed from, of some tracks."""

    rows: np.ndarray | slice
    audio: np.ndarray
    """``[rows, 13]``, standardised."""
    year: np.ndarray
    """``[rows, 1]``, standardised."""
    text: np.ndarray
    """``[rows, dim]``."""


class Signals:
    """Everything that is computed once per catalogue, and the signals of requests.

    Parameters
    ----------
    tracks, playlists
        The catalogue, and what to learn from.
    factors
        ``[tracks, rank]`` float32, factors of co-occurrence, see `blend.learn_factors`; by default there are none.
    """

    def __init__(self, tracks: Tracks, playlists: Playlists, factors: np.ndarray | None = None) -> None:
        from scipy.sparse import csr_matrix

        self.tracks, self.playlists = tracks, playlists
        self.factors = np.zeros((len(tracks), 0), np.float32) if factors is None else factors
        ones = np.ones(len(playlists.indices), np.float32)
        shape = (len(playlists), len(tracks))
        self.by_playlist = csr_matrix((ones, playlists.indices, playlists.indptr), shape=shape)
        self.by_track = self.by_playlist.T.tocsr()
        artists = int(tracks.artist.max(initial=-1)) + 1
        # A copy: to sum duplicates changes the numbers in place.
        of_artist = csr_matrix((ones.copy(), tracks.artist[playlists.indices], playlists.indptr), (shape[0], artists))
        of_artist.sum_duplicates()
        of_artist.data = np.log1p(of_artist.data)
        self.artists_by_playlist, self.by_artist = of_artist, of_artist.T.tocsr()
        self.track_count, self.artist_count = (np.diff(matrix.indptr) for matrix in (self.by_track, self.by_artist))
        self.length = np.maximum(np.diff(playlists.indptr), 1).astype(np.float32)
        self.artist_length = np.sqrt(np.maximum(of_artist.multiply(of_artist).sum(axis=1), 1e-6)).A1.astype(np.float32)
        self._audio_scale, self._year_scale = _scale(tracks.audio), _scale(tracks.year[:, None])
        self.audio = _standardised(tracks.audio, self._audio_scale)
        self.year = _standardised(tracks.year[:, None], self._year_scale)

    def content(self, rows: np.ndarray | None = None) -> Content:
        """Return what likelihoods are computed from, of all tracks or of some."""
        if rows is None:
            return Content(EVERY, self.audio, self.year, self.tracks.text)
        return Content(rows, self.audio[rows], self.year[rows], self.tracks.text[rows])

    def signals(self, request: Request, among: Content | None = None) -> np.ndarray:
        """Return every signal for every track, ``[tracks, len(SIGNALS)]`` float32, scaled as the blend takes them.

        With ``among``, for these tracks only; what of the rest is needed to scale shares is looked at nevertheless.
        """
        among = among or self.content()
        found: dict[str, np.ndarray] = {}
        seeds = _evenly(request.seeds, MAX_SEEDS)
        if len(seeds):
            self._from_company(seeds, found)
        if len(request):
            self._from_content(seeds, request.unseen, among, found)
        if request.title is not None:
            self._from_title(request.title, among, found)
        if request.mood is not None:
            found["mood"] = np.nan_to_num(among.audio) @ request.mood.astype(np.float32)
        found["popularity"] = self.popularity
        table = np.zeros((len(SIGNALS), len(among.year)), np.float32)
        for column, name in enumerate(SIGNALS):
            if name in found:
                table[column] = _share(found[name], among.rows) if name in SHARES else found[name]
        if request.title is not None:
            # What lists of a title hold says as much as their titles are like the one asked for.
            for name in TITLE_SHARES:
                table[SIGNALS.index(name)] *= self._likest_title(request.title)
        return table.T

    @cached_property
    def popularity(self) -> np.ndarray:
        """``[tracks]``, 0 to 1: as the source says, else by the number of playlists."""
        listed = np.log1p(self.track_count) / np.log1p(max(1, self.track_count.max(initial=0)))
        return np.where(np.isnan(self.tracks.popularity), listed, self.tracks.popularity).astype(np.float32)

    def _from_company(self, seeds: np.ndarray, found: dict[str, np.ndarray]) -> None:
        """Add what follows from the playlists that the seeds stand in, and from what only a catalogue knows."""
        tracks = self.tracks
        rarity = np.log1p(len(self.playlists) / (1 + self.track_count[seeds]))
        listed = self.by_track[seeds]
        together = _weighted_sum(listed, rarity) / np.sqrt(self.length)
        found["playlists_track"] = self._tracks_of(_sharp(together)) / np.sqrt(1 + self.track_count)
        step = _weighted_sum(listed, 1 / np.sqrt(1 + self.track_count[seeds])) / self.length
        found["playlists_walk"] = self._tracks_of(step) / (1 + self.track_count) ** 0.4
        found["neighbours"] = self.from_neighbours(seeds)
        found["factors"] = np.maximum(self.from_factors(seeds), 0)
        found["same_album"] = _counts(tracks.album, tracks.album[seeds])
        found["genre"] = self._of_genres(np.asarray(tracks.genres[seeds].sum(axis=0)).ravel())

    def _from_content(
        self, seeds: np.ndarray, unseen: Unseen | None, among: Content, found: dict[str, np.ndarray]
    ) -> None:
        """Add what follows from artists, sound, years and names: also those of tracks that were never seen."""
        tracks = self.tracks
        artist, audio, year, text = tracks.artist[seeds], self.audio[seeds], self.year[seeds], tracks.text[seeds]
        if unseen is not None:
            artist = np.concatenate([artist, unseen.artist])
            audio = np.concatenate([audio, _standardised(unseen.audio, self._audio_scale)])
            year = np.concatenate([year, _standardised(unseen.year[:, None], self._year_scale)])
            text = np.concatenate([text, unseen.text])
        artists, counts = np.unique(artist[artist >= 0], return_counts=True)
        rarity = np.log1p(len(self.playlists) / (1 + self.artist_count[artists])) * np.log1p(counts)
        alike = _weighted_sum(self.by_artist[artists], rarity) / self.artist_length
        found["playlists_artist"] = self._artists_of(alike)[tracks.artist]
        found["same_artist"] = _counts(tracks.artist, artist)
        found["audio"] = _likelihood(among.audio, audio, np.ones(len(audio)))
        found["year"] = _likelihood(among.year, year, np.ones(len(year)))
        found["text"] = among.text @ _unit(text.mean(axis=0))

    def from_neighbours(self, seeds: np.ndarray) -> np.ndarray:
        """Return item-kNN, ``[tracks]``: the sum of shrunk cosines of co-occurrence over each seed's neighbours."""
        from scipy.sparse import csr_matrix

        norm = np.sqrt(self.track_count).astype(np.float32)
        rows = [self._playlists_of(seed) for seed in seeds]
        ends = np.cumsum([0, *map(len, rows)])
        listed = csr_matrix((np.ones(ends[-1], np.float32), np.concatenate(rows), ends), (len(seeds), len(self.length)))
        together = listed @ self.by_playlist
        held = np.maximum(np.diff(ends), 1)
        part = np.repeat(self.track_count[seeds] / held, np.diff(together.indptr))
        own = np.repeat(norm[seeds], np.diff(together.indptr))
        cosine = part * together.data / (own * norm[together.indices] + SHRINKAGE)
        for start, end in zip(together.indptr[:-1], together.indptr[1:], strict=True):
            if end - start > NEIGHBOURS:
                row = cosine[start:end]
                row[row < np.partition(row, -NEIGHBOURS)[-NEIGHBOURS]] = 0
        return np.bincount(together.indices, weights=cosine, minlength=len(norm)).astype(np.float32)

    def _playlists_of(self, track: int) -> np.ndarray:
        return _evenly(
            self.by_track.indices[self.by_track.indptr[track] : self.by_track.indptr[track + 1]], MAX_PLAYLISTS
        )

    def from_factors(self, seeds: np.ndarray) -> np.ndarray:
        """Return what the factors say of every track, ``[tracks]``: the seeds are folded in as one more playlist."""
        rows = self.factors[seeds]
        evidence = (CONFIDENCE - 1) * rows.T @ rows
        playlist = np.linalg.solve(self._gram + evidence, CONFIDENCE * rows.sum(axis=0))
        return self.factors @ playlist.astype(np.float32)

    @cached_property
    def _gram(self) -> np.ndarray:
        return self.factors.T @ self.factors + REGULARISATION * np.eye(self.factors.shape[1], dtype=np.float32)

    def _from_title(self, title: np.ndarray, among: Content, found: dict[str, np.ndarray]) -> None:
        tracks, playlists = self.tracks, self.playlists
        found["title_text"] = among.text @ title
        found["title_match"] = np.maximum(found["title_text"] - MATCH_FLOOR, 0) ** 2
        cosine = np.append(playlists.title_vectors @ title, 0)  # the last one is that of no title
        alike = np.maximum(cosine - TITLE_FLOOR, 0)[playlists.title] ** 3
        found["title_track"] = self._tracks_of(alike) / (1 + self.track_count) ** 0.3
        found["title_artist"] = self._artists_of(alike)[tracks.artist]
        found["genre_named"] = self._of_genres(np.maximum(tracks.genre_text @ title - GENRE_FLOOR, 0) ** 2)
        nearest = np.argsort(-alike, kind="stable")[:20]
        nearest = nearest[alike[nearest] > 0]
        if len(nearest):
            members = self.by_playlist[nearest]
            weight = np.repeat(alike[nearest] / self.length[nearest], np.diff(members.indptr))
            # As if the lists of that title were one list of twenty tracks.
            weight *= 20 / weight.sum()
            found["title_audio"] = _likelihood(among.audio, self.audio[members.indices], weight)
            found["title_year"] = _likelihood(among.year, self.year[members.indices], weight)
            found["title_genre"] = self._of_genres(weight @ tracks.genres[members.indices])

    def _likest_title(self, title: np.ndarray) -> float:
        return max(float((self.playlists.title_vectors @ title).max(initial=0)) - TITLE_FLOOR, 0) / (1 - TITLE_FLOOR)

    def _of_genres(self, profile: np.ndarray) -> np.ndarray:
        genres = self.tracks.genres
        return (genres @ profile / np.sqrt(1 + np.diff(genres.indptr))).astype(np.float32)

    def _tracks_of(self, affinity: np.ndarray) -> np.ndarray:
        """Return, per track, the affinities of its playlists, summed over the playlists with the largest."""
        nearest = _largest(affinity, MAX_PLAYLISTS)
        return _weighted_sum(self.by_playlist[nearest], affinity[nearest])

    def _artists_of(self, affinity: np.ndarray) -> np.ndarray:
        nearest = _largest(affinity, MAX_PLAYLISTS)
        summed = _weighted_sum(self.artists_by_playlist[nearest], affinity[nearest] / self.artist_length[nearest])
        return summed / (1 + self.artist_count) ** 0.4


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


def _weighted_sum(matrix: csr_matrix, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum of the rows of a sparse matrix, dense."""
    spread = np.repeat(weights, np.diff(matrix.indptr)) * matrix.data
    return np.bincount(matrix.indices, weights=spread, minlength=matrix.shape[1]).astype(np.float32)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Return where the ``count`` largest positive values are."""
    places = np.argpartition(-values, count)[:count] if len(values) > count else np.arange(len(values))
    return places[values[places] > 0]


def _sharp(values: np.ndarray) -> np.ndarray:
    top = values.max(initial=0)
    return (values / top) ** 2 if top > 0 else values


def _share(values: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    top = values.max(initial=0)
    return np.sqrt(values[rows] / top) if top > 0 else values[rows]


def _counts(numbers: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return how many of ``wanted`` each of ``numbers`` equals, as log(1 + count); unknown (-1) equals nothing."""
    known = wanted[wanted >= 0]
    counts = np.bincount(known, minlength=int(numbers.max(initial=0)) + 2).astype(np.float32)
    counts[-1] = 0  # where -1 points
    return np.log1p(counts)[numbers]


def _likelihood(features: np.ndarray, sample: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the log-likelihood ratio of each row under the sample's normal distribution and the catalogue's.

    Parameters
    ----------
    features
        ``[tracks, features]``, standardised over the catalogue, NaN where missing.
    sample
        ``[rows, features]`` of the same; its mean and variance are shrunk to the catalogue's (0 and 1).
    weight
        ``[rows]``, what each row of the sample counts.
    """
    known = ~np.isnan(sample)
    rows = weight[:, None] * known
    evidence = rows.sum(axis=0)
    total = evidence + PRIOR_TRACKS
    filled = np.where(known, sample, 0)
    mean = (rows * filled).sum(axis=0) / (evidence + 1)
    variance = ((rows * (filled - mean) ** 2).sum(axis=0) + PRIOR_TRACKS) / total
    ratio = 0.5 * (features**2 - (features - mean.astype(np.float32)) ** 2 / variance.astype(np.float32))
    ratio -= 0.5 * np.log(variance).astype(np.float32)
    return np.nan_to_num(np.clip(ratio, -CAP, CAP)).sum(axis=1)


def _unit(vector: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else vector


def _evenly(values: np.ndarray, count: int) -> np.ndarray:
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).astype(int)]
