"""The bodies of the Web API as rows. Pure: nothing here asks for anything, and no body can make it fail.

Both shapes are read: ``item`` of ``items`` (apps since February 2026) and ``track`` of ``tracks`` (before). What is
wrong as a whole raises `MalformedError`, so that it is asked for again; what is wrong with one item is a fault of that
item, and the others stay.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spotify_dag.sources.artists import PLACEHOLDER_IDS
from spotify_dag.sources.spotify.spotify_errors import MalformedError

PAGE = 50
"""Entries of a page: the most that every endpoint allows."""
FIELDS = (
    "position", "track_id", "track_name", "album_name", "artist_id", "artist_name", "release_year", "popularity",
    "explicit", "artists",
)  # fmt: skip
"""What a row of an item holds, in order: the position, text or None, and the names of all artists as a list."""
FAULT_FIELDS = ("row", "field", "value", "reason", "dropped")
_ID = re.compile("[0-9A-Za-z]{1,64}")
_OFFSET = re.compile(r"[?&]offset=([0-9]{1,9})(?:[&#]|$)")


@dataclass(frozen=True)
class Page:
    """A page of a list."""

    entries: list[Any]
    total: int
    """Length of the whole list, as far as the page says."""
    following: int
    """Where the next page begins: after what was asked for, not after what came, as entries may be left out."""
    next: bool
    """Whether the page says that another follows."""

    @property
    def last(self) -> bool:
        """Whether no page follows; when in doubt one does."""
        return not self.next and (not self.entries or self.following >= self.total)


@dataclass(frozen=True)
class Listing:
    """A playlist as a list of playlists names it."""

    playlist_id: str
    name: str | None
    snapshot_id: str | None
    owner: str | None
    collaborative: bool
    description: str = ""


def read_page(body: Any, offset: int = 0, limit: int = PAGE) -> Page:
    """Return a page of any list.

    Parameters
    ----------
    body
        What came.
    offset, limit
        What was asked for: entries from ``offset`` on, ``limit`` at most.

    Raises
    ------
    MalformedError
        If it is none, or lacks all of what it says that there is.
    """
    entries = body.get("items") if isinstance(body, dict) else None
    if not isinstance(entries, list):
        raise MalformedError(f"no list of items, but {reprlib.repr(body)}")
    total: Any = body.get("total")
    total = total if isinstance(total, int) else 0
    following = isinstance(body.get("next"), str)
    if not entries and not following and offset < total:
        raise MalformedError(f"none of {total:,} items")
    return Page(entries, total, _following(body, offset, limit, len(entries)), following)


def _following(body: dict[str, Any], offset: int, limit: int, came: int) -> int:
    """Return where the next page begins: where this one says, else after its own limit, else after what came."""
    said: Any = body.get("next")
    start = _OFFSET.search(said[:10_000]) if isinstance(said, str) else None
    if start and offset < int(start[1]) <= offset + limit:
        return int(start[1])
    own: Any = body.get("limit")
    if isinstance(own, int) and not isinstance(own, bool) and 0 < own <= limit:
        return offset + max(own, came)
    return offset + (came or limit)


def read_listing(entry: Any) -> Listing | None:
    """Return an entry of a list of playlists; None where Spotify has put a null there, or nothing with an id."""
    if not isinstance(entry, dict) or not _is_id(entry.get("id")):
        return None
    owner: Any = entry.get("owner")
    return Listing(
        entry["id"],
        _text(entry.get("name")),
        _text(entry.get("snapshot_id")),
        _text(owner.get("id")) if isinstance(owner, dict) else None,
        entry.get("collaborative") is True,
        _text(entry.get("description")) or "",
    )


def read_items(entries: Sequence[Any]) -> tuple[list[list[Any]], list[list[Any]]]:
    """Return the entries of a playlist as rows of `FIELDS`, and faults of `FAULT_FIELDS`.

    Local files are rows without ids. Null items, episodes and what is no item at all are faults. Values stay text, for
    `sources.base.clean` to judge.
    """
    rows: list[list[Any]] = []
    faults: list[list[Any]] = []
    for position, entry in enumerate(entries):
        row = _row(position, entry, faults)
        if row is not None:
            rows.append(row)
    return rows, faults


def read_track_ids(entries: Sequence[Any]) -> list[str | None]:
    """Return the ids of the tracks of a playlist, as they were put on it; None where there is something else."""
    return [_track_id(entry) for entry in entries]


def read_made(body: Any) -> str:
    """Return the id of a playlist that was made.

    Raises
    ------
    MalformedError
        If the answer names none.
    """
    made = read_listing(body)
    if made is None:
        raise MalformedError(f"no playlist, but {reprlib.repr(body)}")
    return made.playlist_id


def read_changed(body: Any) -> None:
    """Make sure that an answer says that a playlist was changed.

    Raises
    ------
    MalformedError
        If it does not.
    """
    if not isinstance(body, dict) or not isinstance(body.get("snapshot_id"), str):
        raise MalformedError(f"no snapshot, but {reprlib.repr(body)}")


def read_artists(body: Any) -> list[tuple[str, str | None, list[str] | None]]:
    """Return ``(id, name, genres)`` of the artists of ``{"artists": [...]}``; those that are null are left out.

    Raises
    ------
    MalformedError
        If there is no such list.
    """
    artists = body.get("artists") if isinstance(body, dict) else None
    if not isinstance(artists, list):
        raise MalformedError(f"no list of artists, but {reprlib.repr(body)}")
    return [read_artist(artist) for artist in artists if isinstance(artist, dict) and _is_id(artist.get("id"))]


def read_artist(body: Any) -> tuple[str, str | None, list[str] | None]:
    """Return ``(id, name, genres)`` of an artist.

    Raises
    ------
    MalformedError
        If it is none.
    """
    if not isinstance(body, dict) or not _is_id(body.get("id")):
        raise MalformedError(f"no artist, but {reprlib.repr(body)}")
    genres: Any = body.get("genres")
    named = [genre for genre in genres if isinstance(genre, str)] if isinstance(genres, list) else []
    return body["id"], _text(body.get("name")), [text for genre in named if (text := _text(genre))]


def read_user_id(body: Any) -> str:
    """Return the id in a user's profile; that of the account where there is no other.

    Raises
    ------
    MalformedError
        If there is none.
    """
    for name in ("id", "account_id"):
        if isinstance(body, dict) and (user_id := _text(body.get(name))):
            return user_id
    raise MalformedError(f"no user, but {reprlib.repr(body)}")


def _row(position: int, entry: Any, faults: list[list[Any]]) -> list[Any] | None:
    def fault(field: str, value: Any, reason: str, *, dropped: bool) -> None:
        faults.append([position, field, None if value is None else _text(reprlib.repr(value)), reason, dropped])

    if not isinstance(entry, dict):
        fault("item", entry, "not an object", dropped=True)
        return None
    track: Any = entry.get("item") if entry.get("item") is not None else entry.get("track")
    if track is None:
        fault("item", None, "null: no longer on Spotify", dropped=True)
        return None
    if not isinstance(track, dict):
        fault("item", track, "not an object", dropped=True)
        return None
    if track.get("type") not in (None, "track"):
        fault("type", track["type"], "not a track", dropped=True)
        return None

    def part(name: str, value: Any, kind: type) -> Any:
        if value is None or isinstance(value, kind):
            return value or kind()
        fault(name, value, "not what belongs there", dropped=False)
        return kind()

    album = part("album", track.get("album"), dict)
    artists = [artist for artist in part("artists", track.get("artists"), list) if isinstance(artist, dict)]
    main = artists[0] if artists else {}
    date: Any = album.get("release_date")
    values = {
        "track_id": track.get("id"),
        "track_name": track.get("name"),
        "album_name": album.get("name"),
        "artist_id": main.get("id"),
        "artist_name": main.get("name"),
        # "0000" is how Spotify says that it does not know.
        "release_year": (None if date.startswith("0000") else date[:4]) if isinstance(date, str) else date,
        "popularity": track.get("popularity"),
        "explicit": track.get("explicit"),
    }
    for name, value in values.items():
        strange = isinstance(value, (dict, list)) or (isinstance(value, bool) and name != "explicit")
        if strange or (name in ("track_id", "artist_id") and value is not None and not _is_id(value)):
            fault(name, value, "not what belongs there", dropped=False)
            values[name] = None
        values[name] = _text(values[name])
    others = [artist.get("name") for artist in artists[1:] if str(artist.get("id")) not in PLACEHOLDER_IDS]
    names = [_text(name) for name in (values["artist_name"], *others) if isinstance(name, str) and name]
    if names and names[0] != values["artist_name"]:
        values["artist_id"] = None  # It is the id of an artist without a name.
    return [position, *values.values(), names]


def _track_id(entry: Any) -> str | None:
    track: Any = (entry.get("item") or entry.get("track")) if isinstance(entry, dict) else None
    if not isinstance(track, dict):
        return None
    # For another market Spotify may show another recording than the one that was put there.
    linked: Any = track.get("linked_from")
    shown: Any = linked.get("id") if isinstance(linked, dict) else track.get("id")
    return shown if _is_id(shown) else None


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _text(value: Any) -> str | None:
    """Return a scalar as text; JSON can escape one half of a surrogate pair, which nothing else can hold."""
    if value is None or isinstance(value, (dict, list)):
        return None
    # repr is bounded where str is not: a number may have any length.
    text = value if isinstance(value, str) else reprlib.repr(value)
    return text.encode(errors="replace").decode()
