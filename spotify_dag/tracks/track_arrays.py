"""What a continuation is computed from: tracks, playlists, and what is asked about them, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Tracks:
    """What is known of the tracks of a catalogue; row ``i`` of everything is track ``i``."""

    artist: np.ndarray
    """``[tracks]`` int, number of the artist."""
    album: np.ndarray
    """``[tracks]`` int, number of the album, -1 where unknown."""
    song: np.ndarray
    """``[tracks]`` int, number of the song: its recordings share it."""
    audio: np.ndarray
    """``[tracks, 13]`` float32, `features.audio.scaled`."""
    year: np.ndarray
    """``[tracks]`` float32, NaN where unknown."""
    popularity: np.ndarray
    """``[tracks]`` float32, 0 to 1, NaN where unknown."""
    genres: csr_matrix
    """``[tracks, genres]``, multi-hot."""
    genre_text: np.ndarray
    """``[genres, dim]`` float32, unit vectors of the genres' names; zero where there is none."""
    text: np.ndarray
    """``[tracks, dim]`` float32, unit vectors of title and artist; zero where there is none."""

    def __len__(self) -> int:
        """Return the number of tracks."""
        return len(self.artist)


@dataclass(frozen=True)
class Playlists:
    """Playlists to learn from: numbers of tracks in their order, and vectors of their titles."""

    indptr: np.ndarray
    """``[playlists + 1]`` int64; playlist ``p`` is ``indices[indptr[p] : indptr[p + 1]]``."""
    indices: np.ndarray
    """``[items]`` int32, numbers of tracks."""
    title: np.ndarray
    """``[playlists]`` int32, number of the title, -1 where there is none."""
    title_vectors: np.ndarray
    """``[titles, dim]`` float32, unit vectors of the distinct titles."""
    titles: np.ndarray
    """``[titles]`` of strings: the distinct titles, folded (`catalogue_rows.folded`)."""
    moods: np.ndarray
    """``[titles, 13]`` float32, what the distinct titles say about sound, see `Request.mood`."""

    def __len__(self) -> int:
        """Return the number of playlists."""
        return len(self.indptr) - 1

    def __getitem__(self, playlist: int) -> np.ndarray:
        """Return the tracks of a playlist."""
        return self.indices[self.indptr[playlist] : self.indptr[playlist + 1]]

    def take(self, chosen: np.ndarray) -> Playlists:
        """Return some playlists."""
        rows = [self[playlist] for playlist in chosen]
        ends = np.cumsum([0, *map(len, rows)])
        indices = np.concatenate([np.empty(0, np.int32), *rows])
        return replace(self, indptr=ends.astype(np.int64), indices=indices, title=self.title[chosen])


@dataclass(frozen=True)
class Unseen:
    """Tracks that the catalogue does not have, known by what was said of them."""

    artist: np.ndarray
    """``[rows]`` int, number of the artist in the catalogue, -1 where it has none."""
    audio: np.ndarray
    """``[rows, 13]``, `features.audio.scaled`."""
    year: np.ndarray
    """``[rows]``, NaN where unknown."""
    text: np.ndarray
    """``[rows, dim]``, unit vectors of title and artist; zero where there is none."""


@dataclass(frozen=True)
class Request:
    """What to continue: tracks, of the catalogue or not, and what was written about it."""

    seeds: np.ndarray
    """Numbers of tracks, in order; may be empty."""
    title: np.ndarray | None = None
    """``[dim]``, unit vector of the playlist's title or of a mood."""
    mood: np.ndarray | None = None
    """``[13]``, what the title says about sound: pull of each audio feature, from -1 to 1."""
    title_text: str = ""
    """The title, folded (`catalogue_rows.folded`)."""
    wish: bool = False
    """Whether the title is no title but a wish for a mood: it then says how tracks sound, not what they are called."""
    unseen: Unseen | None = None
    """Further seeds."""

    def __len__(self) -> int:
        """Return the number of seeds."""
        return len(self.seeds) + (0 if self.unseen is None else len(self.unseen.artist))


def request_of(
    playlists: Playlists, playlist: int, size: int, drawn: np.random.Generator | None = None
) -> tuple[Request, np.ndarray]:
    """Return what is given of a playlist, and what of it is wanted.

    Parameters
    ----------
    playlists, playlist
        Which one; its title is given, too.
    size
        Number of seeds: the first ones, or, with ``drawn``, some from anywhere. Either way they keep their order.
    """
    own = playlists[playlist]
    order = np.arange(len(own))
    if drawn is not None:
        shuffled = drawn.permutation(len(own))
        order = np.concatenate([np.sort(shuffled[:size]), np.sort(shuffled[size:])])
    seeds, withheld = own[order[:size]], own[order[size:]]
    title = int(playlists.title[playlist])
    if title < 0:
        return Request(seeds), withheld
    return Request(
        seeds, playlists.title_vectors[title], playlists.moods[title], str(playlists.titles[title])
    ), withheld
