"""What is remembered about Spotify between runs, in one SQLite file that all processes share.

`Ledger` counts requests and remembers limits; `Mirror` keeps what was fetched. Every change is one transaction in WAL
mode: a process killed at any moment leaves either all of it or nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spotify_dag.settings import Settings
from spotify_dag.sources import request_ledger
from spotify_dag.sources.spotify.spotify_errors import QuotaExhaustedError, RateLimitedError
from spotify_dag.sources.spotify.tokens import service

DAY = request_ledger.DAY
_SCHEMA = """
create table if not exists users (
    user_id text primary key, synced_at real not null, playlists text not null, problem text
) without rowid;
create table if not exists playlists (
    playlist_id text primary key, snapshot_id text, fetched_at real not null, content blob not null
) without rowid;
create table if not exists returned_ids (
    listed text primary key, user_id text not null
) without rowid;
create table if not exists artists (
    artist_id text primary key, name text, genres text, items integer not null, fetched_at real not null
) without rowid;
"""


class ListedPlaylist(NamedTuple):
    """A playlist of a user's, as the mirror has it."""

    playlist_id: str
    name: str | None
    problem: str | None
    """Why its items are missing or old; None if they are as Spotify has them."""


class Content(NamedTuple):
    """The items of a playlist: rows and faults as `items.read_items` makes them."""

    rows: list[list[Any]]
    faults: list[list[Any]]


@dataclass(frozen=True)
class MirroredUser:
    """What is known of a user."""

    user_id: str
    playlists: list[ListedPlaylist]
    problem: str | None
    """Why the user could not be read the last time; None if all went well."""
    gone_since: float | None = None
    """Since when Spotify does not know them, in seconds since 1970."""


def database_path(settings: Settings) -> Path:
    """Return where the file is: one for each service, so that nothing simulated mixes with what is not."""
    return settings.local_data / "spotify" / f"{service(settings)}.sqlite"


def mirrors(settings: Settings) -> list[Path]:
    """Return the files of all services."""
    return sorted((settings.local_data / "spotify").glob("*.sqlite"))


class Database(request_ledger.Database):
    """The file of one service: the ledger of requests, and the mirror."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _SCHEMA)
        if "gone_since" not in {row[0] for row in self.rows("select name from pragma_table_info('users')")}:
            with suppress(sqlite3.OperationalError):  # another process was quicker
                self._connection.execute("alter table users add column gone_since real")


@dataclass(frozen=True)
class Ledger(request_ledger.Ledger):
    """The requests to Spotify. There is a budget of them for every 24 hours."""

    budget: int
    budget_setting = "SPOTIFY_DAG_SPOTIFY_DAILY_BUDGET"
    rate_limited = RateLimitedError
    quota_exhausted = QuotaExhaustedError


@dataclass(frozen=True)
class Mirror:
    """Users, playlists and artists as they were fetched last."""

    database: Database

    def due(self, user_ids: Sequence[str], since: float) -> set[str]:
        """Return those of the users that were not looked at since a time."""
        query = "select user_id from users where synced_at >= ? and user_id in ({})"
        return set(user_ids) - {user_id for (user_id,) in self._in(query, user_ids, [since])}

    def users(self, user_ids: Sequence[str]) -> list[MirroredUser]:
        """Return the users that were ever looked at, in the order given."""
        query = "select user_id, playlists, problem, gone_since from users where user_id in ({})"
        mirrored = {
            user: MirroredUser(user, [ListedPlaylist(*entry) for entry in json.loads(playlists)], problem, gone_since)
            for user, playlists, problem, gone_since in self._in(query, user_ids)
        }
        return [mirrored[user] for user in user_ids if user in mirrored]

    def put_user(self, user: MirroredUser, synced_at: float) -> None:
        """Remember a user. All of their playlists are in the mirror, or cannot be."""
        with self.database.changing() as connection:
            connection.execute(
                "insert or replace into users (user_id, synced_at, playlists, problem, gone_since) "
                "values (?, ?, ?, ?, ?)",
                [user.user_id, synced_at, json.dumps(user.playlists), user.problem, user.gone_since],
            )

    def returned_ids(self, user_ids: Sequence[str]) -> list[str]:
        """Return users by the ids that Spotify returned for them, each once, in the order given."""
        returned = dict(self._in("select listed, user_id from returned_ids where listed in ({})", user_ids))
        return list(dict.fromkeys(returned.get(user_id, user_id) for user_id in user_ids))

    def rename(self, listed: str, returned: str) -> None:
        """Remember that Spotify returns another id for a user than the one asked for, and know them by that alone."""
        with self.database.changing() as connection:
            connection.execute("insert or replace into returned_ids values (?, ?)", [listed, returned])
            connection.execute("delete from users where user_id = ?", [listed])

    def snapshots(self, playlist_ids: Sequence[str]) -> dict[str, str | None]:
        """Return the ``snapshot_id`` of those of the playlists that were fetched."""
        return dict(self._in("select playlist_id, snapshot_id from playlists where playlist_id in ({})", playlist_ids))

    def dropped(self, playlist_ids: Sequence[str]) -> set[str]:
        """Return those of the playlists that were fetched, with items that were dropped since."""
        query = "select playlist_id from playlists where content = x'' and playlist_id in ({})"
        return {playlist for (playlist,) in self._in(query, playlist_ids)}

    def old_users(self, before: float) -> list[str]:
        """Return the users who have a playlist that was fetched before a time, and all who share one with them."""
        old = """
            with recursive
                listed as materialized (
                    select users.user_id, json_extract(entry.value, '$[0]') as playlist
                    from users, json_each(users.playlists) as entry
                ),
                old(user_id) as (
                    select listed.user_id from listed join playlists on playlists.playlist_id = listed.playlist
                    where fetched_at < ? and content != x''
                    union
                    select theirs.user_id from old
                    join listed as mine on mine.user_id = old.user_id
                    join listed as theirs on theirs.playlist = mine.playlist
                )
            select user_id from old order by 1
        """
        return [user for (user,) in self.database.rows(old, [before])]

    def drop_contents(self, user_ids: Sequence[str]) -> int:
        """Delete the items of all playlists of users, but not the playlists: unchanged, they are not fetched again."""
        playlists = {entry.playlist_id for user in self.users(user_ids) for entry in user.playlists}
        with self.database.changing() as connection:
            changed = connection.executemany(
                "update playlists set content = x'' where playlist_id = ? and content != x''",
                [[playlist] for playlist in playlists],
            ).rowcount
        self.database.rows("pragma wal_checkpoint(truncate)")
        return changed

    def put_playlist(self, playlist_id: str, snapshot_id: str | None, content: Content, artists: Iterable[str]) -> None:
        """Remember a whole playlist, and the artist ids of its items as wanted."""
        blob = zlib.compress(json.dumps(content).encode(), 6)
        with self.database.changing() as connection:
            connection.execute(
                "insert or replace into playlists values (?, ?, ?, ?)", [playlist_id, snapshot_id, time.time(), blob]
            )
            connection.executemany(
                "insert into artists values (?, null, null, 1, 0) on conflict do update set items = items + 1",
                [[artist] for artist in artists],
            )

    def contents(self, playlist_ids: Sequence[str]) -> dict[str, Content]:
        """Return the items of those of the playlists that were fetched."""
        query = "select playlist_id, content from playlists where playlist_id in ({})"
        return {
            playlist: Content(*json.loads(zlib.decompress(blob))) if blob else Content([], [])
            for playlist, blob in self._in(query, playlist_ids)
        }

    def artists_due(self, before: float) -> list[str]:
        """Return the artists that were not asked for since ``before``, those of most items first."""
        query = "select artist_id from artists where fetched_at < ? order by items desc, artist_id"
        return [artist for (artist,) in self.database.rows(query, [before])]

    def put_artists(self, artists: Iterable[tuple[str, str | None, list[str] | None]]) -> None:
        """Remember ``(id, name, genres)`` of artists; no genres is an answer too."""
        now = time.time()
        with self.database.changing() as connection:
            connection.executemany(
                "update artists set name = ?, genres = ?, fetched_at = ? where artist_id = ?",
                [[name, json.dumps(genres) if genres else None, now, artist] for artist, name, genres in artists],
            )

    def artist_genres(self) -> list[tuple[str, str, list[str]]]:
        """Return ``(id, name, genres)`` of the artists that have genres."""
        query = "select artist_id, name, genres from artists where genres is not null and name is not null order by 1"
        return [(artist, name, json.loads(genres)) for artist, name, genres in self.database.rows(query)]

    def keep_only(self, user_ids: Iterable[str]) -> None:
        """Delete all other users, and the playlists that are nobody's any more."""
        with self.database.changing() as connection:
            connection.execute("create temp table if not exists kept (user_id text primary key)")
            connection.execute("delete from kept")
            connection.executemany("insert or ignore into kept values (?)", ([user] for user in user_ids))
            connection.execute("delete from users where user_id not in kept")
            connection.execute("delete from returned_ids where user_id not in kept")
            self._drop_orphans(connection)

    @staticmethod
    def _drop_orphans(connection: sqlite3.Connection) -> None:
        connection.execute(
            "delete from playlists where playlist_id not in "
            "(select json_extract(entry.value, '$[0]') from users, json_each(users.playlists) as entry)"
        )

    def remove(self, user_id: str) -> bool:
        """Delete a user, and the playlists that are nobody's any more, from the disk too; return if they were there."""
        with self.database.changing() as connection:
            count = connection.execute("delete from users where user_id = ?", [user_id]).rowcount
            connection.execute("delete from returned_ids where ? in (listed, user_id)", [user_id])
            self._drop_orphans(connection)
        # The log of SQLite still has the pages as they were.
        self.database.rows("pragma wal_checkpoint(truncate)")
        return count > 0

    def any_user(self) -> str | None:
        """Return a user that could be read, or None."""
        first = self.database.rows("select user_id from users where problem is null limit 1")
        return first[0][0] if first else None

    def some_users(self, count: int, without: Sequence[str]) -> list[str]:
        """Return up to so many users who had playlists, but for some."""
        query = (
            "select user_id from users where playlists != '[]' and gone_since is null order by synced_at desc limit ?"
        )
        users = [user_id for (user_id,) in self.database.rows(query, [count + len(without)])]
        return [user_id for user_id in users if user_id not in without][:count]

    def any_artist(self) -> str | None:
        """Return an artist, or None."""
        first = self.database.rows("select artist_id from artists limit 1")
        return first[0][0] if first else None

    def counts(self) -> dict[str, int]:
        """Return how many users, playlists and artists there are."""
        tables = ("users", "playlists", "artists")
        return {name: self.database.rows(f"select count(*) from {name}")[0][0] for name in tables}  # noqa: S608

    def _in(self, query: str, values: Sequence[str], before: Sequence[Any] = ()) -> Iterator[Any]:
        """Run ``query`` for ``values`` at its ``{}``, some hundreds at a time."""
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            yield from self.database.rows(query.format(", ".join("?" * len(part))), [*before, *part])
