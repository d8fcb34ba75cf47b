"""Which tracks a list for several people may have, and what each is worth to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spotify_dag.tracks.blend import Candidates
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.incidence import largest
from spotify_dag.tracks.listeners import Listener

ARTISTS_EACH, ARTISTS_TOGETHER = 100, 200
"""Artists of each person, and of all together, whose tracks are looked at."""
TRACKS_EACH = 2
"""Tracks of an artist that people have, and as many that nobody has."""
UNUSUAL = 0.7
"""What a track is worth that says least to a person, beside the one of its artist that says most."""
USUAL_SECONDS = 210.0
"""How long a track is whose length nobody knows."""


@dataclass(frozen=True)
class Pool:
    """Candidates, and which track each is."""

    tracks: np.ndarray
    """``[candidates]`` int."""
    candidates: Candidates
    has: np.ndarray
    """``[people, candidates]`` bool: who has the song."""
    listens: np.ndarray
    """``[people, candidates]`` bool: who listens to the artist."""


def pool_of(
    stage: FirstStage, people: Sequence[Listener], *, without_songs: np.ndarray, without_artists: np.ndarray,
    seconds: np.ndarray | None = None,
) -> Pool:  # fmt: skip
    """Return what a list for these people may have.

    Parameters
    ----------
    stage
        The catalogue, and the factors of its artists and tracks.
    people
        At least one.
    without_songs, without_artists
        Numbers of songs and artists that somebody does not want.
    seconds
        ``[tracks]``, NaN where unknown.
    """
    tracks = stage.tracks
    factors = np.stack([person.factors(stage.ials, tracks.artist) for person in people])
    liking = np.stack([person.liking(stage.ials, row) for person, row in zip(people, factors, strict=True)])
    liking[:, without_artists] = 0
    for row, person in enumerate(people):
        liking[row, person.left_out] = 0
    without_songs = np.concatenate([without_songs, *(person.not_for_me for person in people)])
    best = [largest(row, ARTISTS_EACH) for row in liking] + [largest(liking.mean(axis=0), ARTISTS_TOGETHER)]
    looked_at = np.zeros(liking.shape[1], bool)
    looked_at[np.concatenate(best)] = True
    of_artists = np.flatnonzero(looked_at[tracks.artist] & ~np.isin(tracks.song, without_songs))
    owners = np.zeros(len(tracks), np.int32)
    song_owners = np.zeros(int(tracks.song.max(initial=-1)) + 1, np.int32)
    has_song = np.zeros((len(people), len(song_owners)), bool)
    for row, person in enumerate(people):
        owners[person.tracks] += 1
        has_song[row, tracks.song[person.tracks]] = True
    known_songs = np.asarray(has_song.any(axis=0))
    known = known_songs[tracks.song[of_artists]]
    # A known song is shown by a recording that somebody has.
    here = ~known | (owners[of_artists] > 0)
    of_artists, known = of_artists[here], known[here]
    told = np.maximum(factors @ stage.ials.tracks[of_artists].T, 0)
    told /= np.maximum(told.max(axis=1, keepdims=True), 1e-9)
    rank = told.mean(axis=0) + owners[of_artists] + 1e-6 * stage.popularity[of_artists]
    chosen = _first_of_each(tracks.artist[of_artists], tracks.song[of_artists], known, rank)
    of_artists, known, told = of_artists[chosen], known[chosen], told[:, chosen]
    has = has_song[:, tracks.song[of_artists]]
    artist = tracks.artist[of_artists]
    worth = liking[:, artist] * np.where(has, 1.0, UNUSUAL + (1 - UNUSUAL) * told)
    lengths = np.full(len(of_artists), USUAL_SECONDS) if seconds is None else seconds[of_artists]
    candidates = Candidates(worth, artist, known, np.where(np.isnan(lengths), USUAL_SECONDS, lengths))
    listens = np.stack([np.isin(artist, person.artists) for person in people])
    return Pool(of_artists, candidates, has, listens)


def _first_of_each(artist: np.ndarray, song: np.ndarray, known: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Return the places of the best `TRACKS_EACH` songs of each artist that are known, and of those that are not."""
    order = np.argsort(-rank, kind="stable")
    order = order[np.sort(np.unique(song[order], return_index=True)[1])]
    group = artist[order] * 2 + known[order]
    by_group = np.argsort(group, kind="stable")
    sorted_group = group[by_group]
    starts = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    place = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
    return np.sort(order[by_group[place < TRACKS_EACH]])
