"""Tombstones of forgotten users: a keyed hash per user. They keep sources from bringing a user back.

Only code that already holds an id can ask whether that user was forgotten. The key lies beside the hashes. So nobody
can read names off a list. They do not protect against a person who has the data root and a list of candidates.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import create, names_in
from spotify_dag.root import ObjectPath, Root

_KEY = "key"


class TombstoneError(SpotifyDagError):
    """The key of the tombstones is gone. It cannot be told which users were forgotten."""


@dataclass(frozen=True)
class Tombstones:
    """The tombstones under one data root, in ``forgotten/``: one empty file per user."""

    data: Root

    @property
    def _folder(self) -> Root:
        return self.data / "forgotten"

    def add(self, user_id: str) -> None:
        """Remember that a user was forgotten, now."""
        key = self._key() if user_id in self else self._key() or self._new_key()
        stone = self._folder / _digest(key or b"", user_id)
        now = time.time()  # the file system's own clock may be some milliseconds late
        if isinstance(stone, ObjectPath):
            stone.write(str(now).encode())  # storage keeps times to the second
        else:
            stone.touch()
            os.utime(stone, (now, now))

    def lift(self, user_id: str) -> bool:
        """Remove the tombstone of a user; return whether there was one."""
        if user_id not in self:
            return False
        (self._folder / _digest(self._key() or b"", user_id)).unlink(missing_ok=True)
        return True

    def digests(self, user_ids: Iterable[str]) -> list[str]:
        """Return what stands for users where no name may: the same as in the names of tombstones."""
        self.among(())  # raises where the key is gone
        key = self._key() or self._new_key()
        return [_digest(key, user_id) for user_id in user_ids]

    def since(self, user_id: str) -> float | None:
        """Return when a user was forgotten, in seconds since 1970; None if they were not."""
        if user_id not in self:
            return None
        stone = self._folder / _digest(self._key() or b"", user_id)
        try:
            if isinstance(stone, ObjectPath):
                return float(stone.read_bytes() or stone.stat().st_mtime)  # empty where it was copied from a folder
            return stone.stat().st_mtime
        except FileNotFoundError:  # lifted meanwhile
            return None

    def __contains__(self, user_id: str) -> bool:
        return bool(self.among([user_id]))

    def among(self, user_ids: Iterable[str]) -> set[str]:
        """Return those of the users who were forgotten.

        Raises
        ------
        TombstoneError
            If the key is gone.
        """
        present = {name for name in names_in(self._folder) if name != _KEY and not name.startswith(".")}
        if not present:
            return set()
        key = self._key()
        if key is None:
            raise TombstoneError(
                f"{self._folder / _KEY} is gone, so it is not known who was forgotten. Put it back from a backup."
            )
        return {user_id for user_id in user_ids if _digest(key, user_id) in present}

    def _key(self) -> bytes | None:
        try:
            return (self._folder / _KEY).read_bytes()
        except FileNotFoundError:
            return None

    def _new_key(self) -> bytes:
        """Make the key and return it. If several processes do so at once, all get the key of the first."""
        create(self._folder / _KEY, secrets.token_bytes(32), private=True)
        return (self._folder / _KEY).read_bytes()


def _digest(key: bytes, user_id: str) -> str:
    return blake2b(user_id.encode(errors="surrogatepass"), key=key, digest_size=16).hexdigest()
