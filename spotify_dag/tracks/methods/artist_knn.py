"""Artists: what playlists of the seeds' artists hold, which artists they hold, and the artists themselves."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.incidence import Incidence, largest, recency, weighted_sum

NEIGHBOURS = 200


class ArtistKnn:
    """Playlists as profiles of artists (log counts, cosine weighted by rarity)."""

    def __init__(self, incidence: Incidence, neighbours: int = NEIGHBOURS) -> None:
        self.incidence, self.neighbours = incidence, neighbours
        self.rarity = np.log1p(len(incidence.playlists) / (1 + incidence.artist_count)).astype(np.float32)
        # How a track stands among those of its artist: 1 for the one in most playlists.
        most = np.zeros(len(incidence.artist_count), np.float32)
        np.maximum.at(most, incidence.tracks.artist, np.sqrt(1 + incidence.track_count).astype(np.float32))
        self.standing = np.sqrt(1 + incidence.track_count).astype(np.float32) / most[incidence.tracks.artist]

    def __call__(self, artists: np.ndarray) -> dict[str, np.ndarray]:
        """Return ``artist_lists``, ``artist_near``, ``same_artist`` and ``same_artist_recent``, ``[tracks]``.

        Parameters
        ----------
        artists
            Number of each seed's artist, in the order of the seeds; -1 where it is unknown.
        """
        known = artists >= 0
        of_seed, recent = artists[known], recency(len(artists))[known]
        if not len(of_seed):
            return {}
        distinct, counts = np.unique(of_seed, return_counts=True)
        alike = weighted_sum(self.incidence.by_artist[distinct], np.log1p(counts) * self.rarity[distinct] ** 2)
        alike /= self.incidence.artist_length
        nearest = largest(alike, self.neighbours)
        near = self.artists_of(alike)
        artist = self.incidence.tracks.artist
        own = np.bincount(of_seed, minlength=len(near)) / len(artists)
        late = np.bincount(of_seed, recent / recent.sum(), minlength=len(near))
        return {
            "artist_lists": weighted_sum(self.incidence.by_playlist[nearest], alike[nearest]),
            "artist_near": near[artist] * self.standing,
            "same_artist": (own[artist] * self.standing).astype(np.float32),
            "same_artist_recent": (late[artist] * self.standing).astype(np.float32),
        }

    def artists_of(self, affinity: np.ndarray) -> np.ndarray:
        """Return what the playlists with the largest affinities ``[playlists]`` say of each artist, ``[artists]``."""
        nearest = largest(affinity, self.neighbours)
        weight = affinity[nearest] / self.incidence.artist_length[nearest]
        summed = weighted_sum(self.incidence.artists_by_playlist[nearest], weight)
        return summed / (1 + self.incidence.artist_count) ** 0.4
