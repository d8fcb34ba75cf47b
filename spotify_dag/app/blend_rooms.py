"""Blends that people join by a link: who is in each, in the memory of one process, for some hours.

Of somebody who is here only as a file this holds the tracks and artists that the catalogue knows, never the file. Once
a blend is over, or somebody leaves, nothing of it is left.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from spotify_dag.app.problems import AppError
from spotify_dag.tracks.blend_answers import MOST_PEOPLE
from spotify_dag.tracks.listeners import Listening

OPEN_SECONDS = 6 * 3_600.0
"""How long a blend is open."""
MOST_ROOMS, MOST_ROOMS_OF_A_CLIENT = 200, 10
MOST_GUESTS = 1_000
"""Guests in all blends together. With at most `MOST_HELD` tracks and artists, each takes up to some 0.5 MB."""
MOST_HELD = 5_000
"""Tracks, and artists, that are held of a guest: those of most weight."""
MOST_NAME = 40
"""Characters of the name of a guest."""


@dataclass(frozen=True)
class RoomPerson:
    """Somebody in a blend."""

    name: str
    """The id of a user; what a guest is called."""
    listening: Listening | None = None
    """Of a guest; None for a user, whose listening is in the lake."""
    proven: bool = False
    """Whether a user joined by proof of who they are, and so need not be shown to others."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """Who has it may let this person leave."""


@dataclass
class Room:
    """A blend that people join."""

    client: str
    """The address of who opened it."""
    ends: float
    """By `time.monotonic`."""
    expires_at: datetime
    code: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """Who has it may look and join."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """Who has it may end the blend."""
    people: dict[str, RoomPerson] = field(default_factory=dict)
    """By key, in the order in which they joined."""


class BlendRooms:
    """The open blends of one process. Threads may share it.

    Parameters
    ----------
    seconds
        How long a blend is open.
    """

    def __init__(self, seconds: float = OPEN_SECONDS) -> None:
        self.seconds = seconds
        self._rooms: dict[str, Room] = {}
        self._changed = threading.Condition()
        self._sweeper: threading.Thread | None = None

    def open(self, client: str) -> Room:
        """Open a blend.

        Raises
        ------
        AppError
            If this client has too many open, or all together have.
        """
        with self._changed:
            self._drop_over()
            if sum(room.client == client for room in self._rooms.values()) >= MOST_ROOMS_OF_A_CLIENT:
                raise AppError(
                    429, f"You have {MOST_ROOMS_OF_A_CLIENT} blends open. End one, or wait until one is over.",
                    {"Retry-After": "600"},
                )  # fmt: skip
            if len(self._rooms) >= MOST_ROOMS:
                raise AppError(503, "Too many blends are open. Try again in some minutes.", {"Retry-After": "600"})
            expires_at = datetime.now(UTC) + timedelta(seconds=self.seconds)
            room = Room(client, time.monotonic() + self.seconds, expires_at)
            self._rooms[room.code] = room
            if self._sweeper is None:
                self._sweeper = threading.Thread(target=self._sweep, name="blends", daemon=True)
                self._sweeper.start()
            self._changed.notify()
            return room

    def expires_at(self, code: str) -> datetime:
        """Return until when a blend is open.

        Raises
        ------
        AppError
            If there is no such blend, or no more; so do all others.
        """
        with self._changed:
            return self._room(code).expires_at

    def people(self, code: str) -> list[RoomPerson]:
        """Return who is in a blend, in the order in which they joined."""
        with self._changed:
            return list(self._room(code).people.values())

    def check_place(self, code: str) -> None:
        """Return if somebody can join.

        Raises
        ------
        AppError
            If the blend is full, or all together are.
        """
        with self._changed:
            self._check_place(self._room(code))

    def join(self, code: str, name: str, listening: Listening, is_user: Callable[[str], bool]) -> RoomPerson:
        """Let a guest in.

        Parameters
        ----------
        code
            Of the blend.
        name
            What they want to be called. A name that somebody has gets a number.
        listening
            What is held of them.
        is_user
            Says whether a name is the id of a user that others are told of: no guest is called like one.

        Raises
        ------
        AppError
            As of `check_place`.
        """
        with self._changed:
            room = self._room(code)
            self._check_place(room)
            person = RoomPerson(_free_name(room, plain_name(name), is_user), listening)
            room.people[person.key] = person
            return person

    def join_user(self, code: str, user_id: str, *, proven: bool) -> RoomPerson:
        """Let a user in that the client may be told of. A guest who is called like them gets a number.

        Raises
        ------
        AppError
            As of `check_place`, and if the user is in the blend already.
        """
        with self._changed:
            room = self._room(code)
            self._check_place(room)
            for key, other in room.people.items():
                if other.name == user_id and other.listening is None:
                    raise AppError(409, f"'{user_id[:80]}' is in this blend already.")
                if other.name.casefold() == user_id.casefold() and other.listening is not None:
                    room.people[key] = replace(other, name=_free_name(room, other.name, lambda _: False))
            person = RoomPerson(user_id, proven=proven)
            room.people[person.key] = person
            return person

    def leave(self, code: str, key: str) -> str:
        """Let somebody leave; return their name.

        Raises
        ------
        AppError
            If nobody is in the blend by this key.
        """
        with self._changed:
            person = self._room(code).people.pop(key, None)
        if person is None:
            raise AppError(404, "Nobody is in this blend by that key. Those who left need not leave again.")
        return person.name

    def close(self, code: str, key: str) -> int:
        """End a blend; return how many people were in it.

        Raises
        ------
        AppError
            If the key is not the one that was given to who opened it.
        """
        with self._changed:
            room = self._room(code)
            if not hmac.compare_digest(room.key.encode(), key.encode()):
                raise AppError(403, "Only who opened a blend can end it, by the key that came with it.")
            del self._rooms[code]
            self._changed.notify()
            return len(room.people)

    def forget(self, user_id: str) -> None:
        """Take a user out of all blends."""
        with self._changed:
            for room in self._rooms.values():
                for person in tuple(room.people.values()):
                    if person.name == user_id and person.listening is None:
                        del room.people[person.key]

    def clear(self) -> None:
        """End all blends."""
        with self._changed:
            self._rooms.clear()
            self._changed.notify()

    def _room(self, code: str) -> Room:
        room = self._rooms.get(code)
        if room is None or room.ends <= time.monotonic():
            raise AppError(404, "That blend is over, or never was. Nothing of it is left. Open another one.")
        return room

    def _check_place(self, room: Room) -> None:
        if len(room.people) >= MOST_PEOPLE:
            raise AppError(409, f"{MOST_PEOPLE} people are in this blend, and more cannot be.")
        guests = sum(person.listening is not None for room in self._rooms.values() for person in room.people.values())
        if guests >= MOST_GUESTS:
            raise AppError(503, "Too many people are in blends. Try again in some minutes.", {"Retry-After": "600"})

    def _drop_over(self) -> None:
        now = time.monotonic()
        for code in [code for code, room in self._rooms.items() if room.ends <= now]:
            del self._rooms[code]

    def _sweep(self) -> None:
        """Drop what is over when it is, for as long as anything is open."""
        with self._changed:
            self._drop_over()
            while self._rooms:
                self._changed.wait(min(room.ends for room in self._rooms.values()) - time.monotonic())
                self._drop_over()
            self._sweeper = None


def plain_name(name: str) -> str:
    """Return a name as it is shown: one line, without signs that cannot be seen, cut to `MOST_NAME`."""
    composed = unicodedata.normalize("NFC", name)
    return " ".join("".join(sign if sign.isprintable() else " " for sign in composed).split())[:MOST_NAME].strip()


def _free_name(room: Room, name: str, is_user: Callable[[str], bool]) -> str:
    """Return a name, with a number where it is taken; without a name the first of "Guest 1", "Guest 2" that is free."""
    taken = {person.name.casefold() for person in room.people.values()}
    numbered = (f"{name or 'Guest'} {number}" for number in range(2 if name else 1, 2 * MOST_PEOPLE + 2))
    names = [name, *numbered] if name else numbered
    return next(it for it in names if it.casefold() not in taken and not is_user(it))
