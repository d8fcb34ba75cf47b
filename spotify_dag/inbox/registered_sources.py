"""The inbox: registered sources, the artist-genre table, and users handed in one by one.

Entries are small JSON files. Assets read the inbox. So a run started from the Dagster UI reads the same sources as one
from the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spotify_dag.files import read_own_json, write_atomically
from spotify_dag.inbox.user_requests import UserRequests
from spotify_dag.inbox.wishes import Wishes
from spotify_dag.root import Root, listed
from spotify_dag.settings import Settings
from spotify_dag.sources import LISTED_SOURCES, REQUEST_SOURCES, open_requests, open_source
from spotify_dag.sources.base import Source, SourceError, files_version
from spotify_dag.sources.spotify.tokens import Logins
from spotify_dag.tombstones import Tombstones

GENRES_FILE = "artist-genres.json"


@dataclass(frozen=True)
class _SourceEntry:
    """A registered source."""

    source: str
    options: dict[str, Any]


@dataclass(frozen=True)
class _GenresEntry:
    """Where the artist-genre table is."""

    path: str


def _entry(file: Root) -> _SourceEntry | None:
    name = file.stem.removeprefix("source-")
    remedy = f"Delete it and name the source again: spotify-dag run --source {name}"
    return read_own_json(file, _SourceEntry, remedy)


@dataclass(frozen=True)
class Inbox:
    """The inbox under one folder."""

    root: Root
    settings: Settings = field(default_factory=Settings)

    @property
    def requests(self) -> UserRequests:
        """The users who were handed in one by one."""
        return UserRequests(self.root / "requests", Tombstones(self.settings.data))

    @property
    def weekly(self) -> Wishes:
        """The users who want a list of new tracks every Monday."""
        remedy = "Delete it, and let all who want a list ask again: spotify-dag tracks-for USER --every-week"
        return Wishes(self.root / "weekly", Tombstones(self.settings.data), remedy)

    @property
    def cards(self) -> Wishes:
        """The users who want a card that anybody may see."""
        remedy = "Delete it, and let all who want a card ask again, in the app under My data"
        return Wishes(self.root / "cards", Tombstones(self.settings.data), remedy)

    @property
    def wishes(self) -> tuple[Wishes, ...]:
        """All that users may ask for."""
        return self.weekly, self.cards

    def register_source(self, name: str, options: dict[str, Any]) -> Source:
        """Register a source, in place of an earlier entry of the same name; return it opened.

        Parameters
        ----------
        name, options
            As for `sources.open_source`.

        Raises
        ------
        SourceError
            If it cannot be read. The earlier entry then stays.
        """
        source = open_source(name, options, self.settings)
        self._write(f"source-{name}.json", {"source": name, "options": options})
        return source

    def has_source(self, name: str, options: dict[str, Any]) -> bool:
        """Return whether a source is registered with just these options, at whatever time it was asked for."""
        entry = _entry(self.root / f"source-{name}.json")
        return entry is not None and entry.options | {"asked": 0} == options | {"asked": 0}

    @contextmanager
    def kept_if_readable(self) -> Iterator[None]:
        """Restore all entries if the block raises `SourceError`, because a source cannot be read."""
        before = {file: file.read_bytes() for file in listed(self.root, "*.json")}
        try:
            yield
        except SourceError:
            for file in listed(self.root, "*.json"):
                if file not in before:
                    file.unlink()
            for file, entry in before.items():
                write_atomically(file, entry)
            raise

    def remove_source(self, name: str) -> None:
        """Remove a source, or all users of a source that takes them one by one. The users leave with the next run.

        Raises
        ------
        SourceError
            If it was not registered.
        """
        if name in REQUEST_SOURCES and self.requests.remove_source(name):
            return
        entry = self.root / f"source-{name}.json"
        if not entry.is_file():
            registered = {file.stem.removeprefix("source-") for file in self.root.glob("source-*.json")}
            names = sorted(registered | {request.source for request in self.requests.all()})
            raise SourceError(f"Source '{name}' is not registered. Registered: {', '.join(names) or 'none'}.")
        entry.unlink()

    def register_artist_genres(self, path: Path) -> None:
        """Register the artist-genre table, in place of an earlier one.

        Raises
        ------
        SourceError
            If it cannot be read. The earlier one then stays.
        """
        from spotify_dag.sources.artist_genres import read_artist_genres

        read_artist_genres(path)
        self._write(GENRES_FILE, {"path": str(path.resolve())})

    def is_empty(self) -> bool:
        """Return whether there is no source, whether it can be read or not."""
        return next(self.root.glob("source-*.json"), None) is None and self.requests.taken_in.is_empty()

    def sources(self) -> list[Source]:
        """Return all registered sources, sorted by name, and the sources whose users a sweep took in."""
        entries = [_entry(file) for file in listed(self.root, "source-*.json")]
        registered = [open_source(entry.source, entry.options, self.settings) for entry in entries if entry]
        requests = self.requests
        names = () if requests.taken_in.is_empty() else REQUEST_SOURCES
        return registered + [
            open_requests(name, replace(requests.taken_in, source=name), requests.content) for name in names
        ]

    def user_lists(self) -> list[tuple[str, Path]]:
        """Return the files with lists of users that registered sources read, each with the name of its source."""
        entries = [_entry(self.root / f"source-{name}.json") for name in LISTED_SOURCES]
        lists = [
            (entry.source, Path(entry.options["path"])) for entry in entries if entry and entry.options.get("path")
        ]
        return [(name, path) for name, path in lists if path.is_file()]

    def drop_empty_logins(self) -> None:
        """Remove the Spotify source if it has no list of users and nobody is logged in: it could not be opened."""
        file = self.root / "source-spotify.json"
        entry = _entry(file)
        if entry and not entry.options.get("path") and not Logins(self.settings).all():
            file.unlink()

    def artist_genres(self) -> Path | None:
        """Return the path of the artist-genre table, or None."""
        remedy = "Delete it and give the table again: spotify-dag run --artist-genres PATH"
        entry = read_own_json(self.root / GENRES_FILE, _GenresEntry, remedy)
        return Path(entry.path) if entry else None

    def artist_genres_version(self) -> str:
        """Return a fingerprint of the artist-genre table by name, size and time; empty if there is no table.

        Raises
        ------
        SourceError
            If the file is gone. To go on would remove the genres of all users.
        """
        path = self.artist_genres()
        if path is None:
            return ""
        if not path.is_file():
            raise SourceError(
                f"Artist-genre table {path} is gone. Put it back, or give another with --artist-genres PATH."
            )
        return files_version([path])

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        write_atomically(self.root / name, json.dumps(entry, indent=2).encode())
