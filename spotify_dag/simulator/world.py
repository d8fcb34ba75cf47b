"""The generated world as Spotify would hold it: numbered tracks, artists, albums and playlists with Spotify-like ids.

Users are drawn in blocks of 1,000 when one of them is asked for, and only the last blocks are kept. So a world of any
size is served from bounded memory. Inside, everything is a number. An id is a number behind an invertible map, so there
is no table of ids.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from threading import Lock

import numpy as np

from spotify_dag.sources.synthetic import AUDIO_FEATURES, BLOCK_USERS, SCENE_SOUND, SyntheticSource

BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = {digit: value for value, digit in enumerate(BASE62)}
ID_LENGTH = 22
BLOCKS_KEPT = 32
"""Blocks of users in memory: about 2 MB each."""
_DRAWING = Lock()
"""One thread draws, and the others wait for what it draws."""
EDITORIAL_OWNER = "spotify"
EDITORIAL_TRACKS = 60


def digest(*parts: object) -> int:
    """Return 64 bits that depend on ``parts`` alone: the world's only source of chance."""
    text = "|".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def chance(*parts: object) -> float:
    """Return a number in [0, 1) that depends on ``parts`` alone."""
    return digest(*parts) / 2**64


@dataclass(frozen=True)
class Ids:
    """Ids of one kind of thing: 128 bits in 22 base62 digits, as Spotify's are."""

    kind: str
    seed: int
    count: int

    @cached_property
    def _map(self) -> tuple[int, int]:
        # x -> a x + b modulo 2^128 is invertible for odd a.
        a = digest(self.kind, self.seed, "a") << 64 | digest(self.kind, self.seed, "c") | 1
        return a, digest(self.kind, self.seed, "b") << 64

    def id_of(self, number: int) -> str:
        """Return the id of thing ``number``."""
        a, b = self._map
        value = (a * number + b) % 2**128
        digits = []
        for _ in range(ID_LENGTH):
            value, digit = divmod(value, 62)
            digits.append(BASE62[digit])
        return "".join(reversed(digits))

    def number_of(self, identifier: str) -> int | None:
        """Return the number of an id, or None if nothing in this world has it."""
        if not is_base62_id(identifier):
            return None
        value = 0
        for digit in identifier:
            value = value * 62 + _DIGITS[digit]
        a, b = self._map
        number = (value - b) * pow(a, -1, 2**128) % 2**128
        return number if value < 2**128 and number < self.count else None


def is_base62_id(identifier: str) -> bool:
    """Return whether ``identifier`` has the form of a Spotify id."""
    return re.fullmatch(r"[0-9A-Za-z]{22}", identifier) is not None


@dataclass(frozen=True)
class Playlist:
    """One playlist: who owns it, and the numbers of its tracks in order."""

    number: int
    owner: str
    name: str
    tracks: np.ndarray
    """``[items]`` int32"""
    revision: int = 1
    collaborator: str | None = None
    description: str = ""
    public: bool = True
    made: bool = False
    """Whether an app made it: it then holds what was written to it, and no oddities."""

    @property
    def collaborative(self) -> bool:
        """Whether other users than the owner may change it."""
        return self.collaborator is not None


@dataclass(frozen=True)
class _Block:
    names: list[str]
    """Per playlist of the block."""
    ends: np.ndarray
    """``[playlists]``: where each playlist's tracks end in ``tracks``."""
    tracks: np.ndarray


class World:
    """Users ``synthetic-000000`` onwards, their playlists, and a catalogue of tracks, albums and artists.

    The first playlists are editorial, one per scene, owned by ``spotify``; then come the users' own. Every tenth user
    collaborates on the last playlist of the user before.
    """

    def __init__(self, *, users: int, seed: int, playlists: int, tracks: int) -> None:
        self.source = SyntheticSource(users=users, seed=seed, playlists=playlists, tracks=tracks)
        self.scenes = list(SCENE_SOUND)
        self.playlist_ids = Ids("playlist", seed, len(self.scenes) + users * playlists)
        """Ids of all playlists: editorial ones, then those of users, then those that apps made."""
        self._edited: dict[int, Playlist] = {}
        self._made: dict[int, list[int]] = {}
        """Numbers of the playlists that apps made, per user, newest first."""
        self._changing = Lock()

    @cached_property
    def artists(self) -> Artists:
        """The catalogue's artists."""
        table = self.source.artists
        ids = Ids("artist", self.source.seed, table.height)
        return Artists(ids, table["name"].to_list(), table["genres"].to_list(), table["popularity"].to_list())

    @property
    def tracks(self) -> Tracks:
        """The catalogue's tracks."""
        return _tracks(self.source.seed)

    @cached_property
    def albums(self) -> Albums:
        """One album per artist and year, named after its most popular track."""
        tracks = self.tracks
        key = tracks.artist.astype(np.int64) * 10_000 + tracks.year
        _, album_of = np.unique(key, return_inverse=True)
        order = np.lexsort((tracks.popularity, album_of))
        sizes = np.bincount(album_of)
        return Albums(
            Ids("album", self.source.seed, len(sizes)),
            of_track=album_of,
            size=sizes,
            title_track=order[sizes.cumsum() - 1],
            number_in_album=_places(album_of),
        )

    def user_id(self, number: int) -> str:
        """Return the id of user ``number``."""
        return f"synthetic-{number:06d}"

    def user_number(self, user_id: str) -> int | None:
        """Return the number of a user, None if there is no such user. Like Spotify it takes no notice of case."""
        match = re.fullmatch(r"synthetic-([0-9]{6,9})", user_id.lower())
        number = int(match[1]) if match else None
        exists = number is not None and number < self.source.users and self.user_id(number) == user_id.lower()
        return number if exists else None

    def playlist(self, number: int) -> Playlist:
        """Return playlist ``number`` as it is now."""
        return self._edited.get(number) or self._original(number)

    def own(self, user: int) -> range:
        """Return the numbers of the playlists a user made."""
        first = len(self.scenes) + user * self.source.playlists
        return range(first, first + self.source.playlists)

    def listed(self, user: int) -> list[int]:
        """Return the numbers of the playlists in a user's library: made, collaborated on, and followed."""
        last_of_the_one_before = len(self.scenes) + user * self.source.playlists - 1
        collaborates = [last_of_the_one_before] if self._collaborator(last_of_the_one_before) == user else []
        followed = []
        luck = digest(self.source.seed, "follows", user)
        if luck % 2:
            followed.append(luck // 2 % len(self.scenes))
        if luck % 3 == 0 and (other := luck // 6 % self.source.users) != user:
            followed.append(self.own(other)[0])
        return [*self._made.get(user, ()), *self.own(user), *collaborates, *followed]

    def library(self, user: int) -> np.ndarray:
        """Return the tracks a user saved, last saved first: every third of those on the user's playlists."""
        heard = np.concatenate([self.playlist(number).tracks for number in self.own(user)])
        return np.unique(heard)[::-3]

    def top(self, user: int, what: str, time_range: str) -> np.ndarray:
        """Return the numbers of a user's most heard ``tracks`` or ``artists``, most heard first.

        A short time range looks at one playlist, a medium one at half of them, a long one at all.
        """
        own = self.own(user)
        recent = {"short_term": 1, "medium_term": -(-len(own) // 2), "long_term": len(own)}[time_range]
        heard = np.concatenate([self.playlist(number).tracks for number in own[:recent]])
        distinct, counts = np.unique(self.tracks.artist[heard] if what == "artists" else heard, return_counts=True)
        popularity = np.array(self.artists.popularity) if what == "artists" else self.tracks.popularity
        return distinct[np.lexsort((distinct, -popularity[distinct], -counts))]

    def search(self, kind: str, query: str) -> list[int]:
        """Return the numbers of things with all words of ``query`` in their or their artist's name, most popular first.

        Parameters
        ----------
        kind
            ``artist``, ``track``, ``album`` or ``playlist``: of playlists, the editorial ones.
        query
            Words. Quotes and field filters (``artist:``, ``track:``) are ignored.
        """
        words = re.sub(r'\b(artist|track|album|genre|year):|"', " ", query.casefold()).split()
        return [number for number, text in self._search_texts[kind] if all(word in text for word in words)]

    @cached_property
    def _search_texts(self) -> dict[str, list[tuple[int, str]]]:
        """Per kind, the numbers of all things, most popular first, and their texts."""
        artists, tracks, albums = self.artists, self.tracks, self.albums
        popular_tracks = np.argsort(-tracks.popularity, kind="stable").tolist()
        titles = [f"{name} {artists.names[artist]}" for name, artist in zip(tracks.names, tracks.artist, strict=True)]
        popular_artists = np.argsort(-np.array(artists.popularity), kind="stable").tolist()
        album_of = {int(title): number for number, title in enumerate(albums.title_track)}
        return {
            "artist": [(number, artists.names[number].casefold()) for number in popular_artists],
            "track": [(number, titles[number].casefold()) for number in popular_tracks],
            "album": [(album_of[number], titles[number].casefold()) for number in popular_tracks if number in album_of],
            "playlist": [(number, self._original(number).name.casefold()) for number in range(len(self.scenes))],
        }

    def change(self, number: int, *, remove: int, add: int) -> Playlist:
        """Take the first ``remove`` tracks off a playlist and put ``add`` others at its end."""

        def changed(old: Playlist) -> np.ndarray:
            order = np.random.default_rng([self.source.seed, number, old.revision]).permutation(self.tracks.ids.count)
            return np.concatenate([old.tracks[remove:], order[~np.isin(order, old.tracks)][:add]])

        return self.edit(number, changed)

    def edit(self, number: int, changed: Callable[[Playlist], np.ndarray]) -> Playlist:
        """Give a playlist the tracks that ``changed`` makes of it."""
        with self._changing:
            old = self.playlist(number)
            tracks = changed(old).astype(np.int32)
            self._edited[number] = replace(old, tracks=tracks, revision=old.revision + 1)
            return self._edited[number]

    def make(self, user: int, name: str, description: str, *, public: bool) -> Playlist:
        """Make an empty playlist of a user, as an app may."""
        with self._changing:
            number, nothing = self.playlist_ids.count, np.zeros(0, np.int32)
            self.playlist_ids = replace(self.playlist_ids, count=number + 1)
            made = Playlist(
                number, self.user_id(user), name, nothing, description=description, public=public, made=True
            )
            self._edited[number] = made
            self._made[user] = [number, *self._made.get(user, ())]
            return made

    def _original(self, number: int) -> Playlist:
        if number < len(self.scenes):
            scene = np.flatnonzero(self.tracks.scene == number)
            best = scene[np.argsort(-self.tracks.popularity[scene], kind="stable")][:EDITORIAL_TRACKS]
            return Playlist(number, EDITORIAL_OWNER, f"This is {self.scenes[number]}", best.astype(np.int32))
        user, position = divmod(number - len(self.scenes), self.source.playlists)
        block, place = divmod(user, BLOCK_USERS)
        with _DRAWING:
            drawn = drawn_block(self.source.seed, self.source.playlists, self.source.tracks, block)
        place = place * self.source.playlists + position
        start = drawn.ends[place - 1] if place else 0
        collaborator = self._collaborator(number)
        return Playlist(
            number,
            self.user_id(user),
            drawn.names[place],
            drawn.tracks[start : drawn.ends[place]],
            collaborator=None if collaborator is None else self.user_id(collaborator),
        )

    def _collaborator(self, number: int) -> int | None:
        if number < len(self.scenes):
            return None
        user, position = divmod(number - len(self.scenes), self.source.playlists)
        last = position == self.source.playlists - 1
        return user + 1 if last and user % 10 == 8 and user + 1 < self.source.users else None


@dataclass(frozen=True)
class Artists:
    """The catalogue's artists, by number."""

    ids: Ids
    names: list[str]
    genres: list[list[str] | None]
    popularity: list[int]


@dataclass(frozen=True)
class Tracks:
    """The catalogue's tracks, by number: arrays of ``[tracks]``."""

    ids: Ids
    names: list[str]
    artist: np.ndarray
    year: np.ndarray
    popularity: np.ndarray
    explicit: np.ndarray
    sound: np.ndarray
    """``[tracks, 7]``: `AUDIO_FEATURES` and the tempo in BPM."""
    scene: np.ndarray


@dataclass(frozen=True)
class Albums:
    """The catalogue's albums: the album of each track, and the size of albums."""

    ids: Ids
    of_track: np.ndarray
    size: np.ndarray
    title_track: np.ndarray
    number_in_album: np.ndarray
    """``[tracks]``, from 1."""


def _places(group: np.ndarray) -> np.ndarray:
    """Return the place of each row within its group, from 1, in row order."""
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    starts = np.repeat(sizes.cumsum() - sizes, sizes)
    places = np.empty(len(group), dtype=np.int64)
    places[order] = np.arange(len(group)) - starts + 1
    return places


@lru_cache(maxsize=4)
def _tracks(seed: int) -> Tracks:
    table, scenes = SyntheticSource(seed=seed).track_table, list(SCENE_SOUND)
    return Tracks(
        Ids("track", seed, table.height),
        names=table["track_name"].to_list(),
        artist=table["artist"].to_numpy(),
        year=table["release_year"].to_numpy(),
        popularity=table["popularity"].to_numpy().astype(int),
        explicit=table["explicit"].to_numpy(),
        sound=table.select(*AUDIO_FEATURES, "tempo").to_numpy(),
        scene=np.array([scenes.index(scene) for scene in table["scene"]], dtype=np.int16),
    )


@lru_cache(BLOCKS_KEPT)
def drawn_block(seed: int, playlists: int, tracks: int, block: int) -> _Block:
    """Draw the playlists of 1,000 users: they are the same however many users a world has, and worlds share them."""
    import polars as pl

    records = SyntheticSource(seed=seed, playlists=playlists, tracks=tracks).block(block)
    made = records.group_by("user_id", "playlist_position", maintain_order=True).agg(
        pl.col("playlist_name").first(), pl.len()
    )
    track = records["track_id"].str.strip_prefix("synthetic-track-").cast(pl.Int32)
    ends = made["len"].cast(pl.Int64).cum_sum()
    return _Block(made["playlist_name"].to_list(), ends.to_numpy(), track.to_numpy())
