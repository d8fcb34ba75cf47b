"""Who asked for something that nobody else gets: one small file of user ids."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache

from spotify_dag.files import file_version, read_own_json, write_atomically
from spotify_dag.locks import locked
from spotify_dag.root import Root
from spotify_dag.sources.base import SourceError
from spotify_dag.tombstones import Tombstones

HELD = 8
"""Files whose content is held in memory."""


@dataclass(frozen=True)
class Wishes:
    """The users who asked, in one folder."""

    root: Root
    tombstones: Tombstones
    remedy: str
    """What to do where the file is damaged."""

    @property
    def file(self) -> Root:
        """Where they are."""
        return self.root / "users.json"

    def users(self) -> frozenset[str]:
        """Return the users who asked; read when the file has changed."""
        version = file_version(self.file)
        return _read(self.file, self.remedy, *version) if version else frozenset()

    def wish(self, user_id: str) -> None:
        """Let a user have it from now on.

        Raises
        ------
        SourceError
            If they were forgotten.
        """
        with self._alone():
            # Deletion waits for this lock, so nothing of a user who is deleted meanwhile stays behind.
            if user_id in self.tombstones:
                raise SourceError(f"'{user_id}' was forgotten. Only spotify-dag add lifts that.")
            self._write(self.users() | {user_id})

    def remove(self, user_id: str) -> int:
        """Let a user have it no more; return whether they had, as a number."""
        if not self.file.is_file():
            return 0
        with self._alone():
            users = self.users()
            if user_id in users:
                self._write(users - {user_id})
        return int(user_id in users)

    def _alone(self) -> AbstractContextManager[bool]:
        return locked(self.root / ".lock")

    def _write(self, users: frozenset[str]) -> None:
        write_atomically(self.file, json.dumps(sorted(users)).encode())


@lru_cache(HELD)
def _read(file: Root, remedy: str, *_version: object) -> frozenset[str]:
    return frozenset(read_own_json(file, list[str], remedy) or ())
