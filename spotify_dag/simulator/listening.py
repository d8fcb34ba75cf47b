"""The generated world as ListenBrainz and Last.fm would hold it: single listens, MBIDs, loved tracks, similar users."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

import numpy as np

from spotify_dag.simulator.world import World, digest

START = 1_704_067_200
"""The first second of 2024 (UTC): nobody listened before."""
SPAN = 24 * 30 * 86_400
"""Seconds over which listens are spread."""
NO_ARTIST, UNKNOWN = -1, -2
"""Numbers of tracks that are none: one without an artist, one of "[unknown]"."""
UNKNOWN_MBID = "125ec42a-7229-4250-afc5-e057484327fe"
USERS_KEPT = 2_000
SIMILAR = 10


@dataclass(frozen=True)
class Listens:
    """Listens of one user in the order of time, no two of one track in one second."""

    track: np.ndarray
    """``[listens]`` int32"""
    at: np.ndarray
    """``[listens]`` int64, seconds since 1970"""


class Listening:
    """What the users of a world have listened to, drawn from the tracks on their own playlists.

    Parameters
    ----------
    world
        The world.
    mean
        Mean number of listens of a user: each has from half as many to one and a half times as many.
    no_artist, unknown_artist
        Listens without an artist, and of "[unknown]", as a share of the others; they stand beside them.
    """

    def __init__(self, world: World, mean: int, *, no_artist: float = 0, unknown_artist: float = 0) -> None:
        self.world = world
        self.mean = mean
        self.odd = {NO_ARTIST: no_artist, UNKNOWN: unknown_artist}
        self.gone: set[int] = set()
        self._changed: dict[int, Listens] = {}
        self._drawn = lru_cache(USERS_KEPT)(self.draw)
        self.fragment = cache(self._fragment)

    def listens(self, user: int) -> Listens:
        """Return the listens of a user as they are now."""
        return self._changed.get(user) or self._drawn(user)

    def draw(self, user: int) -> Listens:
        """Return the listens of a user as they were drawn."""
        rng = np.random.default_rng([self.world.source.seed, 11, user])
        own = np.concatenate([self.world.playlist(number).tracks for number in self.world.own(user)])
        count = int(rng.integers(max(1, self.mean // 2), self.mean + self.mean // 2 + 1))
        # The first tracks of the first lists are played most.
        track = own[(len(own) * rng.random(count) ** 2).astype(int)].astype(np.int32)
        odd = [np.full(round(count * share), number, np.int32) for number, share in self.odd.items()]
        track = np.concatenate([track, *odd])
        at = START + rng.integers(0, SPAN, len(track))
        return _in_order(track, at)

    def change(self, user: int, *, add: int = 0, remove: int = 0, at: int | None = None) -> int:
        """Delete the oldest listens of a user, and add new ones; return how many there are then.

        ``at`` is when the new ones were: one after the other from then on; None for after all others.
        """
        old = self.listens(user)
        first = int(old.at[-1]) + 1 if at is None else at
        track = np.concatenate([old.track[remove:], old.track[np.arange(add) % len(old.track)]])
        when = np.concatenate([old.at[remove:], first + np.arange(add)])
        self._changed[user] = _in_order(track, when)
        return len(self._changed[user].at)

    def counts(self, user: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the tracks of a user, most played first, and their plays; without those that are none."""
        track = self.listens(user).track
        tracks, plays = np.unique(track[track >= 0], return_counts=True)
        order = np.lexsort((tracks, -plays))
        return tracks[order], plays[order]

    def artists(self, user: int) -> list[tuple[int, int]]:
        """Return ``(artist, plays)`` of a user, most played first."""
        tracks, plays = self.counts(user)
        per_artist = np.bincount(self.world.tracks.artist[tracks], plays, minlength=len(self.world.artists.names))
        order = np.argsort(-per_artist, kind="stable")
        return [(int(artist), int(per_artist[artist])) for artist in order if per_artist[artist]]

    def feedback(self, user: int, score: int) -> list[int]:
        """Return the tracks that a user loves (1) or hates (-1): every fifth user has said so of some."""
        if digest(self.world.source.seed, "feedback", user) % 5:
            return []
        tracks, _ = self.counts(user)
        return [int(track) for track in (tracks[:3] if score > 0 else tracks[4:5])]

    def artist_mbid(self, artist: int) -> str:
        """Return the MBID of an artist."""
        return _uuid("artist", self.world.source.seed, artist)

    def artist_number(self, mbid: str) -> int | None:
        """Return the number of an artist, or None if nobody in this world has that MBID."""
        return self._artist_numbers.get(mbid)

    def recording_mbid(self, track: int) -> str:
        """Return the MBID of the recording of a track."""
        return _uuid("recording", self.world.source.seed, track)

    @cached_property
    def _artist_numbers(self) -> dict[str, int]:
        return {self.artist_mbid(number): number for number in range(len(self.world.artists.names))}

    def metadata(self, track: int) -> dict[str, Any]:
        """Return the ``track_metadata`` of a track; of every tenth without what MusicBrainz knows of it."""
        seed = self.world.source.seed
        more = {"recording_msid": self.msid(track), "submission_client": "simulator", "duration_ms": 200_000}
        if track < 0:
            name = "" if track == NO_ARTIST else "[unknown]"
            metadata: dict[str, Any] = {"artist_name": name, "track_name": "Untitled", "additional_info": more}
            if track == UNKNOWN:
                metadata["mbid_mapping"] = {
                    "artist_mbids": [UNKNOWN_MBID],
                    "artists": [{"artist_credit_name": name, "artist_mbid": UNKNOWN_MBID, "join_phrase": ""}],
                }
            return metadata
        tracks, albums = self.world.tracks, self.world.albums
        artist = int(tracks.artist[track])
        name = self.world.artists.names[artist]
        title = tracks.names[int(albums.title_track[albums.of_track[track]])]
        metadata = {
            "artist_name": name,
            "track_name": tracks.names[track],
            "release_name": title,
            "additional_info": more,
        }
        if digest(seed, "mapped", track) % 10:
            metadata["mbid_mapping"] = {
                "artist_mbids": [self.artist_mbid(artist)],
                "artists": [{"artist_credit_name": name, "artist_mbid": self.artist_mbid(artist), "join_phrase": ""}],
                "recording_mbid": self.recording_mbid(track),
            }
        return metadata

    def msid(self, track: int) -> str:
        """Return the id of what was handed in as the names of a track."""
        return _uuid("msid", self.world.source.seed, track)

    def _fragment(self, track: int) -> str:
        """Return the JSON of a track's part of a listen: ``"recording_msid": …, "track_metadata": …}``."""
        return f'"recording_msid": "{self.msid(track)}", "track_metadata": {json.dumps(self.metadata(track))}}}'

    @cached_property
    def _unit_counts(self) -> Any:
        """Plays of tracks, ``[users, tracks]`` sparse, rows of unit length."""
        import scipy.sparse as sp

        counted = [self.counts(user) for user in range(self.world.source.users)]
        rows = np.repeat(np.arange(len(counted)), [len(tracks) for tracks, _ in counted])
        tracks, plays = (np.concatenate(part) for part in zip(*counted, strict=True))
        shape = (len(counted), self.world.tracks.ids.count)
        counts = sp.csr_matrix((plays.astype(float), (rows, tracks)), shape)
        lengths = np.sqrt(np.asarray(counts.power(2).sum(axis=1)).ravel())
        return (sp.diags(1 / np.maximum(lengths, 1e-12)) @ counts).tocsr()

    def similar(self, user: int) -> list[tuple[int, float]]:
        """Return the users most similar to a user by the cosine of raw recording counts, and how similar they are."""
        cosine = (self._unit_counts @ self._unit_counts[[user]].T).toarray().ravel()
        cosine[user] = -1
        cosine[list(self.gone)] = -1
        best = np.argsort(-cosine, kind="stable")[:SIMILAR]
        return [(int(other), float(cosine[other])) for other in best if cosine[other] > 0]


def _in_order(track: np.ndarray, at: np.ndarray) -> Listens:
    """Return listens in the order of time, each once."""
    order = np.lexsort((track, at))
    track, at = track[order], at[order]
    again = np.zeros(len(at), bool)
    again[1:] = (at[1:] == at[:-1]) & (track[1:] == track[:-1])
    return Listens(track[~again], at[~again].astype(np.int64))


def _uuid(*parts: object) -> str:
    value = digest(*parts, "high") << 64 | digest(*parts, "low")
    return str(uuid.UUID(int=value, version=4))
