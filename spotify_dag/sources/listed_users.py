"""Sources whose users an operator lists, and whose listening is read from a web service, user by user.

Reading brings the mirror of the service up to date first and is fed from it, so nothing is fetched twice: what a run
did not get to is fetched by the next one. Several processes may read at once.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import write_atomically
from spotify_dag.layout import layout_of
from spotify_dag.locks import locked
from spotify_dag.schemas import RAW_PLAYLISTS, user_buckets
from spotify_dag.settings import Settings, is_loopback
from spotify_dag.sources.base import (
    RECORD_COLUMNS,
    Batch,
    Fault,
    SourceError,
    files_version,
    last_turn,
    no_rejects,
    rejects_of,
)
from spotify_dag.sources.request_ledger import DAY
from spotify_dag.sources.spotify.names import read_names
from spotify_dag.sources.user_mirror import MirroredUser, UserMirror
from spotify_dag.sources.user_sweep import UserSweep
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

BATCH_USERS = 100
"""Users looked at before what was found is passed on."""
SIMULATED = "synthetic"
"""What rows are marked with where the service is at this machine itself."""
TURN_HOURS = 168.0
"""Users are looked at again once in this many hours, a seventh of the buckets each day."""
ARTIST_DAYS = 30.0
"""Artists are asked for again after this many days."""


class Reading(NamedTuple):
    """What reads a service."""

    look: Callable[[MirroredUser], None]
    """Looks at one user, and writes down what there is."""
    look_at_artists: Callable[[float], None]
    """Asks for the genres of artists not asked for since a time, if the service has them."""
    stop: Callable[[], None]
    threads: int


@dataclass(frozen=True)
class ListedUsersSource(ABC):
    """Users of a list, and those who were added one by one.

    Parameters
    ----------
    settings
        Of the installation.
    users
        A text, CSV or Parquet file of names or profile URLs; None for those who were added.
    asked
        When this source was named (seconds since 1970): users are looked at again who were not since then.

    Raises
    ------
    SourceError
        If there is no such file, or nobody to read.
    """

    settings: Settings
    users: str | None = None
    asked: float = 0
    name = ""
    service = ""
    """What the service is called in messages."""

    def __post_init__(self) -> None:
        if self.users is not None and not Path(self.users).is_file():
            raise SourceError(
                f"There is no file '{self.users}'. Give text, CSV or Parquet with names of users of {self.service}."
            )
        if self.users is None and not self.added_to(self.settings).is_file():
            raise SourceError(
                f"Source '{self.name}' needs users: give a list of names or profile URLs with --path FILE, or add one: "
                f"spotify-dag add {self.name}:NAME"
            )

    @property
    def url(self) -> str:
        """The root of the service's API."""
        return self.url_of(self.settings)

    @staticmethod
    @abstractmethod
    def url_of(settings: Settings) -> str:
        """Return the root of the service's API, or of a simulator."""

    @staticmethod
    @abstractmethod
    def parse_user(text: str) -> tuple[str, str]:
        """Return id and name of the user that a text names, or raise a `SpotifyDagError`."""

    @abstractmethod
    def reading(self, mirror: UserMirror) -> AbstractContextManager[Reading]:
        """Give what reads the service into a mirror; closed when the block ends."""

    @abstractmethod
    def batch(self, users: Sequence[MirroredUser], mirror: UserMirror, marked: str | None) -> Batch:
        """Return the rows of users as the mirror has them."""

    @property
    def mirror_path(self) -> Path:
        """The file of the mirror."""
        return self.path_of(self.settings)

    @classmethod
    def path_of(cls, settings: Settings) -> Path:
        """Return the file of the mirror: one for each host, so that nothing simulated mixes with what is not."""
        url = cls.url_of(settings)
        host = "simulator" if is_loopback(url) else str(urlsplit(url).hostname)
        return settings.local_data / cls.name / f"{host}.sqlite"

    @classmethod
    def added_to(cls, settings: Settings) -> Path:
        """Return the list of users who were added one by one."""
        return settings.local_data / cls.name / "added.txt"

    def version(self) -> str:
        """Return a fingerprint of who is read, and since when; `refreshed_since` says when they are due."""
        files = [
            file for file in (self.users and Path(self.users), self.added_to(self.settings)) if file and file.is_file()
        ]
        parts = (files_version(files), self.url, self.asked, *self.read_with())
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def read_with(self) -> tuple[Any, ...]:
        """Return the settings that decide what is read."""
        return ()

    def refreshed_since(self, bucket: int) -> float:
        """Return the time since when users of a bucket need not be looked at again."""
        turn = last_turn(time.time(), bucket, layout_of(self.settings).made_with, TURN_HOURS * 3600)
        return max(turn, self.asked)

    def n_batches(self) -> int:
        """Return how many batches there will be."""
        names, rejects = self.listed()
        return -(-len(names) // BATCH_USERS) + bool(rejects.height)

    def artist_genres(self) -> pl.DataFrame | None:
        """Return ``artist_id, artist_name, genres`` of artists as the service told them last."""
        import polars as pl

        if not self.mirror_path.is_file():
            return None
        with closing(UserMirror.open(self.mirror_path)) as mirror:
            mirrored = mirror.artist_genres()
        schema: dict[str, Any] = {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)}
        return pl.DataFrame(mirrored, schema=schema, orient="row") if mirrored else None

    def batches(self) -> Iterator[Batch]:
        """Yield users as the mirror has them, a hundred at a time, having looked at those who are due.

        Raises
        ------
        ResumeLaterError
            After the last batch, if not everybody who is due could be looked at now.
        ServiceError
            If nobody could be read, and nobody ever was.
        """
        names, rejects = self.listed()
        marked = SIMULATED if is_loopback(self.url) else None
        if rejects.height:
            yield Batch(RAW_PLAYLISTS.empty().select(RECORD_COLUMNS), rejects, _nobody_read(), marked)
        with closing(UserMirror.open(self.mirror_path)) as mirror, self.reading(mirror) as reading:
            sweep = UserSweep(mirror, self.service, reading.look, reading.stop, reading.threads)
            listed, known = list(names), 0
            for start in range(0, len(listed), BATCH_USERS):
                part = listed[start : start + BATCH_USERS]
                for since, users in self._by_turn(part).items():
                    sweep.users({user_id: names[user_id] for user_id in users}, since)
                mirrored = [user for user in mirror.users(self._not_forgotten(part)) if user.state or user.problem]
                known += sum(user.state is not None for user in mirrored)
                if mirrored:
                    yield self.batch(mirrored, mirror, marked)
            if sweep.failures and not sweep.read and not known:
                raise sweep.failures[0]
            if sweep.stopped is not None:
                raise sweep.stopped
            reading.look_at_artists(time.time() - ARTIST_DAYS * DAY)
            mirror.keep_only(names)
            for user_id in Tombstones(self.settings.data).among(names):  # forgotten while they were fetched
                mirror.remove(user_id)

    def listed(self) -> tuple[dict[str, str], pl.DataFrame]:
        """Return the names of the users to read by id, each once, and what else is on the list as rejects."""
        names: dict[str, str] = {}
        refused: list[Fault] = []
        files = [Path(self.users)] if self.users else []
        files += [self.added_to(self.settings)] if self.added_to(self.settings).is_file() else []
        for row, text in chain.from_iterable(map(read_names, files)):
            if len(names) == self.settings.profiles_count:
                break
            try:
                user_id, name = self.parse_user(text)
                names.setdefault(user_id, name)
            except SpotifyDagError:
                value = text[:200].encode(errors="replace").decode()
                refused.append(Fault(row, None, "user", value, f"names no user of {self.service}"))
        if not names and refused:
            raise SourceError(
                f"'{self.users}' names no user of {self.service}. Row {refused[0].row}: {refused[0].value!r}."
            )
        rejects = rejects_of(refused, file=files[0].name) if refused else no_rejects()
        return {user_id: names[user_id] for user_id in self._not_forgotten(list(names))}, rejects

    def _not_forgotten(self, user_ids: Sequence[str]) -> list[str]:
        forgotten = Tombstones(self.settings.data).among(user_ids)
        return [user_id for user_id in user_ids if user_id not in forgotten]

    def _by_turn(self, user_ids: Sequence[str]) -> Mapping[float, list[str]]:
        """Return users by the time since when they need not be looked at again."""
        turns: dict[float, list[str]] = {}
        for user_id, bucket in zip(user_ids, user_buckets(user_ids, layout_of(self.settings).made_with), strict=True):
            turns.setdefault(self.refreshed_since(bucket), []).append(user_id)
        return turns


def add_listed_user(file: Path, name: str) -> bool:
    """Add a name to a list of users, if it is not there; return whether it was not."""
    with locked(file.with_suffix(".lock")):
        before = file.read_text().splitlines() if file.is_file() else []
        if name in before:
            return False
        write_atomically(file, "\n".join([*before, name]).encode(), private=True)
        return True


def _nobody_read() -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(schema={"user_id": pl.String, "rows_read": pl.UInt32})
