"""The JSON objects of the Web API, made from the world's numbers, with the fields each mode has.

The two modes differ since February 2026. For new development apps ``tracks`` of a playlist is called ``items``,
``track`` of an item is called ``item``, and the fields in `REMOVED` are gone. In extended mode the new names stand
beside the old ones.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag.simulator.world import EDITORIAL_OWNER, Ids, Playlist, World, chance, digest
from spotify_dag.sources.synthetic import AUDIO_FEATURES

Json = dict[str, Any]
REMOVED = {
    "artist": {"followers", "popularity"},
    "track": {"popularity", "available_markets", "linked_from"},
    "album": {"label", "popularity", "available_markets", "album_group"},
    "user": {"country", "email", "explicit_content", "followers", "product"},
}
"""Fields that development mode lacks, by the type of the object."""
MARKETS = ["DE", "GB", "SE", "US"]
TRACKS_KEPT = 4_096
_EPOCH = datetime(2018, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Entry:
    """One entry of a playlist: a track of the world (its number), or an oddity (None)."""

    place: int
    track: int | None
    oddity: str | None = None


@dataclass(frozen=True)
class Objects:
    """Makes the objects of one mode, with links to one API root (``http://host:port/v1``)."""

    world: World
    development: bool
    api: str

    def artist(self, number: int, faults: Faults) -> Json:
        """Return an ArtistObject."""
        artists = self.world.artists
        genres: list[str] | None = artists.genres[number] or []
        if chance(self.world.source.seed, "genres", number) < faults.null_genres:
            genres = None
        popularity = artists.popularity[number]
        return self._in_mode({
            **self._simple_artist(number),
            "followers": {"href": None, "total": popularity**3},
            "genres": genres,
            "images": [],
            "popularity": popularity,
        })  # fmt: skip

    @cached_property
    def track(self) -> Callable[[int], Json]:
        """``track(number)`` returns a TrackObject; the objects last used are kept."""
        return lru_cache(TRACKS_KEPT)(self._track)

    def audio_features(self, number: int) -> Json:
        """Return an AudioFeaturesObject."""
        tracks = self.world.tracks
        identifier = tracks.ids.id_of(number)
        *sound, tempo = (round(float(value), 4) for value in tracks.sound[number])
        features = dict(zip(AUDIO_FEATURES, sound, strict=True))
        return {
            **features,
            "tempo": tempo,
            "liveness": round(0.05 + 0.3 * chance("liveness", number), 4),
            "loudness": round(-18 + 14 * features["energy"], 3),
            "key": number % 12,
            "mode": number % 2,
            "time_signature": 4,
            "duration_ms": _duration_ms(number),
            "id": identifier,
            "uri": f"spotify:track:{identifier}",
            "track_href": f"{self.api}/tracks/{identifier}",
            "analysis_url": f"{self.api}/audio-analysis/{identifier}",
            "type": "audio_features",
        }

    def album(self, number: int) -> Json:
        """Return a SimplifiedAlbumObject."""
        tracks, albums = self.world.tracks, self.world.albums
        title = int(albums.title_track[number])
        year = int(tracks.year[title])
        luck = digest("album", number)
        date = f"{year}-{luck % 12 + 1:02d}-{luck // 12 % 28 + 1:02d}"
        precision, length = (("day", 10), ("day", 10), ("month", 7), ("year", 4))[luck // 336 % 4]
        size = int(albums.size[number])
        return self._in_mode({
            **self._thing("album", albums.ids.id_of(number), tracks.names[title]),
            "album_type": "single" if size == 1 else "album",
            "artists": [self._simple_artist(int(tracks.artist[title]))],
            "available_markets": MARKETS,
            "images": [],
            "release_date": date[:length],
            "release_date_precision": precision,
            "total_tracks": size,
        })  # fmt: skip

    def user(self, user_id: str) -> Json:
        """Return a PublicUserObject."""
        return self._in_mode({
            **self._user_reference(user_id),
            "display_name": user_id,
            "followers": {"href": None, "total": digest("followers", user_id) % 200},
            "images": [],
        })  # fmt: skip

    def private_user(self, user_id: str, scopes: frozenset[str]) -> Json:
        """Return the PrivateUserObject of the logged-in user, with the fields that the scopes allow."""
        private: Json = {"account_id": f"{digest('account', user_id):032x}"}
        if "user-read-private" in scopes:
            private |= {
                "country": "SE",
                "product": "premium",
                "explicit_content": {"filter_enabled": False, "filter_locked": False},
            }
        if "user-read-email" in scopes:
            private["email"] = f"{user_id}@example.org"
        return self._in_mode(self.user(user_id) | private)

    def simple_playlist(self, playlist: Playlist, faults: Faults) -> Json:
        """Return a SimplifiedPlaylistObject, as lists of playlists have it."""
        identifier = self.world.playlist_ids.id_of(playlist.number)
        count = {"href": f"{self.api}/playlists/{identifier}/items", "total": len(self.entries(playlist, faults))}
        unowned = chance(self.world.source.seed, "no_owner", playlist.number) < faults.no_owner
        answer = {**self._playlist(playlist), "items": count} | ({} if self.development else {"tracks": count})
        return answer | ({"owner": None} if unowned else {})

    def playlist(self, playlist: Playlist, *, items: Json | None, tracks: Json | None) -> Json:
        """Return a PlaylistObject with its first page under the new and the old name; None leaves that field out."""
        pages = {name: page for name, page in (("items", items), ("tracks", tracks)) if page is not None}
        followers = {"href": None, "total": digest("playlist followers", playlist.number) % 50}
        return {**self._playlist(playlist), "followers": followers, **pages}

    def entries(self, playlist: Playlist, faults: Faults) -> list[Entry]:
        """Return the entries of a playlist: the world's tracks in order, and oddities among them."""
        entries: list[Entry] = []
        oddities = () if playlist.made else ("null_item", "local_item", "episode", "left_out")
        kinds = [kind for kind in oddities if getattr(faults, kind)]
        for place, track in enumerate(playlist.tracks.tolist()):
            entries.append(Entry(place, track))
            entries.extend(
                Entry(place, None, kind)
                for kind in kinds
                if chance(self.world.source.seed, kind, playlist.number, place) < getattr(faults, kind)
            )
        return entries

    def item(self, playlist: Playlist, entry: Entry, faults: Faults, names: tuple[str, ...]) -> Json:
        """Return a PlaylistTrackObject that holds its track under each of ``names`` (``item``, ``track``)."""
        content = self._content(playlist, entry)
        undated = chance(self.world.source.seed, "undated", playlist.number, entry.place) < faults.null_date
        return {
            "added_at": None if undated else _added_at(playlist.number, entry.place),
            "added_by": None if undated else self._user_reference(playlist.owner),
            "is_local": entry.oddity == "local_item",
            **dict.fromkeys(names, content),
        }

    def saved_track(self, user: int, place: int, track: int) -> Json:
        """Return a SavedTrackObject."""
        return {"added_at": _added_at(user, 5_000 - place), "track": self.track(track)}

    def _track(self, number: int) -> Json:
        tracks = self.world.tracks
        album = int(self.world.albums.of_track[number])
        return self._in_mode({
            **self._thing("track", tracks.ids.id_of(number), tracks.names[number]),
            "album": self.album(album),
            "artists": [self._simple_artist(int(tracks.artist[number]))],
            "available_markets": MARKETS,
            "disc_number": 1,
            "duration_ms": _duration_ms(number),
            "explicit": bool(tracks.explicit[number]),
            "external_ids": {"isrc": f"QZSIM{number:07d}"},
            "is_local": False,
            "popularity": int(tracks.popularity[number]),
            "preview_url": None,
            "track_number": int(self.world.albums.number_in_album[number]),
        })  # fmt: skip

    def _content(self, playlist: Playlist, entry: Entry) -> Json | None:
        if entry.track is not None:
            return self.track(entry.track)
        if entry.oddity == "null_item":
            return None
        return self._local_track(entry) if entry.oddity == "local_item" else self._episode(playlist, entry)

    def _local_track(self, entry: Entry) -> Json:
        name, artist = f"Local file {entry.place}", "Somebody With a Folder"
        uri = f"spotify:local:{artist.replace(' ', '+')}::{name.replace(' ', '+')}:215"
        nameless: Json = {"href": None, "id": None, "uri": None, "external_urls": {}}
        return {
            "album": {
                **nameless, "album_type": None, "artists": [], "available_markets": [], "images": [], "name": "",
                "release_date": None, "release_date_precision": None, "total_tracks": 0, "type": "album",
            },
            "artists": [{**nameless, "name": artist, "type": "artist"}],
            "available_markets": [], "disc_number": 0, "duration_ms": 215_000, "explicit": False, "external_ids": {},
            "external_urls": {}, "href": None, "id": None, "is_local": True, "name": name, "popularity": 0,
            "preview_url": None, "track_number": 0, "type": "track", "uri": uri,
        }  # fmt: skip

    def _episode(self, playlist: Playlist, entry: Entry) -> Json:
        number = playlist.number * 1_000 + entry.place
        show = {
            **self._thing("show", Ids("show", 0, 1).id_of(0), "A Podcast"),
            "available_markets": MARKETS, "copyrights": [], "description": "", "explicit": False,
            "html_description": "", "images": [], "is_externally_hosted": False, "languages": ["en"],
            "media_type": "audio", "publisher": "Somebody With a Microphone", "total_episodes": 100,
        }  # fmt: skip
        return {
            **self._thing("episode", Ids("episode", 0, number + 1).id_of(number), f"Episode {entry.place}"),
            "audio_preview_url": None, "description": "", "duration_ms": 1_800_000, "explicit": False,
            "html_description": "", "images": [], "is_externally_hosted": False, "is_playable": True,
            "languages": ["en"], "release_date": "2024-05-01", "release_date_precision": "day", "show": show,
        }  # fmt: skip

    def _playlist(self, playlist: Playlist) -> Json:
        return {
            **self._thing("playlist", self.world.playlist_ids.id_of(playlist.number), playlist.name),
            "collaborative": playlist.collaborative,
            "description": playlist.description,
            "images": [],
            "owner": {
                **self._user_reference(playlist.owner),
                "display_name": "Spotify" if playlist.owner == EDITORIAL_OWNER else playlist.owner,
            },
            "public": playlist.public,
            "snapshot_id": snapshot_id(playlist),
        }

    def _simple_artist(self, number: int) -> Json:
        artists = self.world.artists
        return self._thing("artist", artists.ids.id_of(number), artists.names[number])

    def _thing(self, kind: str, identifier: str, name: str) -> Json:
        return {
            "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{identifier}"},
            "href": f"{self.api}/{kind}s/{identifier}",
            "id": identifier,
            "name": name,
            "type": kind,
            "uri": f"spotify:{kind}:{identifier}",
        }

    def _user_reference(self, user_id: str) -> Json:
        thing = self._thing("user", user_id, "")
        del thing["name"]
        return thing

    def _in_mode(self, thing: Json) -> Json:
        gone = REMOVED[thing["type"]] if self.development else set()
        return {name: value for name, value in thing.items() if name not in gone}


def _duration_ms(track: int) -> int:
    return 150_000 + track * 7_919 % 180_000


def _added_at(*place: int) -> str:
    """Return when something was added: later places later, a different hour for every list."""
    number, position = place
    when = _EPOCH + timedelta(hours=number % 50_000, minutes=17 * position)
    return when.isoformat().replace("+00:00", "Z")


def snapshot_id(playlist: Playlist) -> str:
    """Return the ``snapshot_id`` of a playlist: its revision and content, in base64."""
    content = hashlib.sha1(playlist.tracks.tobytes() + f"|{playlist.number}".encode(), usedforsecurity=False)
    return base64.b64encode(f"{playlist.revision},{content.hexdigest()}".encode()).decode()
