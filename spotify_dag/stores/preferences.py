"""What users said about their own taste: what does not count, tracks that are not for them, tracks to find more like.

One JSON file per bucket under ``inbox/preferences/``, written under one lock: per bucket as the data root was made, so
that it stays where it is when buckets are split. Nothing else can replace it, so it lies in the inbox and not in the
lake. A user who undid everything keeps an empty entry: so a reader sees that something changed. `Preferences.hashed`
puts a digest of what is left out into ``content_hash``. So a user who changed it is stale as one whose listening
changed, and nobody else is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.genres import artist_key
from spotify_dag.features.left_out import counted_items, same_name
from spotify_dag.files import file_version, read_own_json, write_atomically
from spotify_dag.locks import locked
from spotify_dag.root import Root, listed
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, buckets_of, user_buckets
from spotify_dag.stores.lake import Lake
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")

LeftOut = Literal["artist", "genre", "playlist"]
"""What may not count for taste."""
Kind = Literal[LeftOut, "not-for-me", "more-like"]
"""Beside that, what is said of single tracks: it changes lists of tracks, and no embedding."""
LEFT_OUT, KINDS = get_args(LeftOut), get_args(Kind)
MOST_PREFERENCES = 500
"""Of one user."""
MOST_NAME = 500
"""Characters of a name."""
HELD = 256
"""Files whose content is held in memory."""


class PreferenceError(SpotifyDagError):
    """A preference that cannot be, or cannot be undone. The message names it and the remedy."""


@dataclass(frozen=True)
class Preference:
    """One thing that a user said."""

    kind: Kind
    name: str
    """An artist, a genre, the title or id of a playlist, or the id of a track."""

    def __str__(self) -> str:
        """Return it as a message names it."""
        return f"{self.kind} '{self.name[:80]}'"


@dataclass(frozen=True)
class Preferences:
    """The preferences of all users of one data root."""

    root: Root
    n_buckets: int
    tombstones: Tombstones | None = None
    """Forgotten users: nothing is kept of them."""
    made_with: int | None = None
    """The number of buckets when the data root was made, if it was another: that of the files."""

    def of(self, user_id: str) -> list[Preference]:
        """Return what a user said, in the order of saying it."""
        return list(self._entries(self._file_of(user_id)).get(user_id, ()))

    def change(
        self, user_id: str, add: Sequence[Preference] = (), remove: Sequence[Preference] = ()
    ) -> list[Preference]:
        """Change what a user said, in one step; return all of it. To say something twice changes nothing.

        Raises
        ------
        PreferenceError
            If a name cannot be one, if there are too many, if what is undone was never said, or if the user was
            forgotten. Nothing is changed then.
        """
        add, remove = ([_tidied(preference) for preference in some] for some in (add, remove))
        with self._alone():
            if self.tombstones is not None and user_id in self.tombstones:
                raise PreferenceError(f"'{user_id[:80]}' was forgotten, so nothing is kept. Add them again first.")
            file = self._file_of(user_id)
            entries = dict(self._entries(file))
            before = entries.get(user_id, ())
            said = dict(zip(keys_of(before), before, strict=True))
            for key, preference in zip(keys_of(remove), remove, strict=True):
                if key not in said:
                    there = ", ".join(str(other) for other in said.values() if other.kind == preference.kind)
                    raise PreferenceError(
                        f"There is no {preference} to undo. There is: {there or 'none of this kind'}."
                    )
                del said[key]
            for key, preference in zip(keys_of(add), add, strict=True):
                said.setdefault(key, preference)
            if len(said) > MOST_PREFERENCES:
                raise PreferenceError(
                    f"'{user_id[:80]}' would have {len(said):,} preferences; at most {MOST_PREFERENCES} are kept. "
                    "Undo some first."
                )
            if tuple(said.values()) != before:
                self._write(file, entries | {user_id: tuple(said.values())})
            return list(said.values())

    def remove_user(self, user_id: str) -> int:
        """Delete all that a user said; return how much it was."""
        file = self._file_of(user_id)
        if not file.is_file():
            return 0
        with self._alone():
            entries = dict(self._entries(file))
            removed = entries.pop(user_id, None)
            if removed is not None:
                self._write(file, entries)
        return len(removed or ())

    def take_over(self, others: Preferences, buckets: Iterable[int]) -> None:
        """Have the preferences that others have now, for some buckets, and keep them until this is called again."""
        for bucket in buckets:
            # Files are replaced and never changed, so a read gives one state.
            entries = others._of_bucket(bucket)
            if entries != self._of_bucket(bucket):
                with self._alone():
                    file = self._file(bucket)
                    before = self._of_bucket(bucket)
                    rest = {user: said for user, said in self._entries(file).items() if user not in before}
                    self._write(file, rest | self._without_forgotten(entries))

    def versions(self) -> list[tuple[object, ...]]:
        """Return what differs once anybody's preferences do; it costs nothing."""
        return [(file.name, *file_version(file)) for file in listed(self.root, "*.json")]

    def fingerprints(self) -> dict[int, str]:
        """Return for each bucket what differs once somebody in it says something else; files are not read."""
        versions = {str(name): str(version) for name, *version in self.versions()}
        return {bucket: versions.get(self._file(bucket).name, "") for bucket in range(self.n_buckets)}

    def digests(self, buckets: Iterable[int] | None = None) -> dict[str, int]:
        """Return, for every user who ever said something, a digest of what they leave out; 0 for nothing."""
        if not self.root.is_dir():
            return {}
        if buckets is None:
            return {user: digest for bucket in range(self._files) for user, digest in self._digests(bucket).items()}
        return {
            user: digest for bucket in buckets for user, digest in self._here(bucket, self._digests(bucket)).items()
        }

    def left_out(self, buckets: Iterable[int]) -> pl.DataFrame:
        """Return what the users of some buckets leave out: ``user_id, kind, key`` for `features.left_out`."""
        import polars as pl

        rows = [
            (user, preference.kind, preference.name)
            for bucket in (buckets if self.root.is_dir() else ())
            for user, said in self._of_bucket(bucket).items()
            for preference in said
            if preference.kind in LEFT_OUT
        ]
        frame = pl.DataFrame(rows, schema=dict.fromkeys(("user_id", "kind", "name"), pl.String), orient="row")
        return frame.select("user_id", "kind", _key().alias("key"))

    def hashed(self, users: pl.LazyFrame, buckets: Iterable[int] | None = None) -> pl.LazyFrame:
        """Return rows of `schemas.USERS` of these buckets, with what is left out as a part of ``content_hash``."""
        import polars as pl

        digests = {user: digest for user, digest in self.digests(buckets).items() if digest}
        if not digests:
            return users
        columns = {"user_id": list(digests), "digest": list(digests.values())}
        theirs = pl.LazyFrame(columns, schema={"user_id": pl.String, "digest": pl.Int64})
        mixed = pl.col("content_hash") ^ pl.col("digest").fill_null(0)
        joined = users.join(theirs, on="user_id", how="left", maintain_order="left")
        return joined.with_columns(mixed.alias("content_hash")).drop("digest")

    def counted(self, lake: Lake, buckets: Sequence[int], users: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of `schemas.RAW_PLAYLISTS` that count, of some buckets, and of some of their users or all."""
        import polars as pl

        raw, left_out = lake.scan(RAW_PLAYLISTS, buckets), self.left_out(buckets)
        if users is not None:
            theirs = pl.col("user_id").is_in(users)
            raw, left_out = raw.filter(theirs), left_out.filter(theirs)
        return counted_items(raw, lake.scan(ARTIST_GENRES, buckets), left_out)

    def counted_of(self, lake: Lake, users: Sequence[str]) -> pl.LazyFrame:
        """Return the rows of `schemas.RAW_PLAYLISTS` of some users that count."""
        return self.counted(lake, buckets_of(users, lake.n_buckets), users)

    def _without_forgotten(self, entries: dict[str, tuple[Preference, ...]]) -> dict[str, tuple[Preference, ...]]:
        forgotten = self.tombstones.among(entries) if self.tombstones is not None else ()
        return {user: said for user, said in entries.items() if user not in forgotten}

    @property
    def _files(self) -> int:
        return self.made_with or self.n_buckets

    def _file(self, bucket: int) -> Root:
        return self.root / f"{bucket % self._files:04d}.json"

    def _file_of(self, user_id: str) -> Root:
        return self._file(user_buckets([user_id], self._files)[0])

    def _alone(self) -> AbstractContextManager[bool]:
        return locked(self.root / ".lock")

    def _entries(self, file: Root) -> dict[str, tuple[Preference, ...]]:
        version = file_version(file)
        return _read(file, *version) if version else {}

    def _of_bucket(self, bucket: int) -> dict[str, tuple[Preference, ...]]:
        return self._here(bucket, self._entries(self._file(bucket)))

    def _here(self, bucket: int, of_file: dict[str, T]) -> dict[str, T]:
        """Return what a file says of the users of one bucket."""
        if self._files == self.n_buckets:
            return of_file
        buckets = user_buckets(list(of_file), self.n_buckets)
        return {user: said for (user, said), own in zip(of_file.items(), buckets, strict=True) if own == bucket}

    def _digests(self, bucket: int) -> dict[str, int]:
        file = self._file(bucket)
        version = file_version(file)
        return _digested(file, *version) if version else {}

    def _write(self, file: Root, entries: dict[str, tuple[Preference, ...]]) -> None:
        plain = {user: [asdict(preference) for preference in said] for user, said in sorted(entries.items())}
        write_atomically(file, json.dumps(plain, ensure_ascii=False).encode())


@lru_cache(HELD)
def _read(file: Root, *_version: object) -> dict[str, tuple[Preference, ...]]:
    remedy = "It holds what users left out: put it back from a backup. Without it they count everything again"
    return read_own_json(file, dict[str, tuple[Preference, ...]], remedy) or {}


@lru_cache(HELD)
def _digested(file: Root, *version: object) -> dict[str, int]:
    return {user: _digest(said) for user, said in _read(file, *version).items()}


def _digest(said: Iterable[Preference]) -> int:
    """Return an int64 that is the same whatever the order; 0 where nothing is left out."""
    named = sorted((preference.kind, preference.name) for preference in said if preference.kind in LEFT_OUT)
    digest = blake2b(json.dumps(named).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True) if named else 0


def _key() -> pl.Expr:
    """Return what says whether two names are the same."""
    import polars as pl

    kind, name = pl.col("kind"), pl.col("name")
    of_lists = pl.when(kind.is_in(["genre", "playlist"])).then(same_name(name)).otherwise(name)
    return pl.when(kind == "artist").then(artist_key(name)).otherwise(of_lists)


def keys_of(preferences: Iterable[Preference]) -> list[tuple[str, str]]:
    """Return the kind and the key of each preference: two with the same mean the same."""
    import polars as pl

    rows = [(preference.kind, preference.name) for preference in preferences]
    frame = pl.DataFrame(rows, schema={"kind": pl.String, "name": pl.String}, orient="row")
    return frame.select("kind", _key()).rows()


def _tidied(preference: Preference) -> Preference:
    name = preference.name.strip()
    if preference.kind not in KINDS:
        raise PreferenceError(f"'{preference.kind[:80]}' cannot be left out. Choose from: {', '.join(KINDS)}.")
    if not 0 < len(name) <= MOST_NAME:
        raise PreferenceError(f"The name of a {preference.kind} has 1 to {MOST_NAME} characters, not {len(name):,}.")
    if any(ord(sign) < ord(" ") or 0xD800 <= ord(sign) <= 0xDFFF for sign in name):
        raise PreferenceError(f"{name[:80]!a} is no name of any {preference.kind}: it has control characters.")
    return Preference(preference.kind, name)
