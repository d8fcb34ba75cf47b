"""What is kept of users whose listening is read from a web service, in the file of the service's ledger.

A user has a state, which the reader of the service alone understands, and parts: frames of rows that were fetched. A
part and the state that goes with it are written in one transaction, so a reader that is killed goes on where it was.
"""

from __future__ import annotations

import io
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.sources.request_ledger import Database

if TYPE_CHECKING:
    import polars as pl

CLAIM_SECONDS = 180.0
"""A user is one process's to read for so long after each of its answers: longer than a call may take."""
MOST_PARTS = 20
"""Parts of one kind that a user may have before they are joined."""
SCHEMA = """
create table if not exists users (
    user_id text primary key, name text not null, looked_at real not null, looks integer not null, state text not null,
    problem text, gone_since real, claimed_until real not null, dropped integer not null
) without rowid;
create table if not exists parts (
    user_id text, kind text, number integer, fetched_at real not null, content blob not null,
    primary key (user_id, kind, number)
) without rowid;
create table if not exists artists (
    artist_id text primary key, name text, genres text, plays integer not null, fetched_at real not null
) without rowid;
"""


@dataclass(frozen=True)
class MirroredUser:
    """What is known of a user."""

    user_id: str
    name: str
    looks: int = 0
    """Times that the user was looked at to the end."""
    state: Mapping[str, Any] | None = None
    problem: str | None = None
    """Why the user could not be read the last time, or is read in part; None if all went well."""
    gone_since: float | None = None
    """Since when the service does not know them, in seconds since 1970."""
    dropped: bool = False
    """Whether retention dropped what was fetched of them."""


class UserMirror:
    """Users and artists as they were fetched last; threads and processes may share the file."""

    def __init__(self, database: Database) -> None:
        self.database = database

    @classmethod
    def open(cls, path: Path) -> UserMirror:
        """Return the mirror in a file, which is made if need be."""
        return cls(Database(path, SCHEMA))

    def close(self) -> None:
        """Close the file."""
        self.database.close()

    def due(self, user_ids: Sequence[str], since: float) -> list[str]:
        """Return those of the users that were not looked at since a time, in the order given."""
        query = "select user_id from users where looked_at >= ? and user_id in ({})"
        looked_at = {user_id for (user_id,) in self._in(query, user_ids, [since])}
        return [user_id for user_id in user_ids if user_id not in looked_at]

    def claim(self, user_id: str, name: str, since: float) -> MirroredUser | None:
        """Return a user to look at, who is nobody else's then; None if another process reads them, or just did."""
        now = time.time()
        with self.database.changing() as connection:
            connection.execute("insert or ignore into users values (?, ?, 0, 0, '', null, null, 0, 0)", [user_id, name])
            claimed = connection.execute(
                "update users set claimed_until = ? where user_id = ? and claimed_until < ? and looked_at < ?",
                [now + CLAIM_SECONDS, user_id, now, since],
            ).rowcount
        return self.users([user_id])[0] if claimed else None

    def release(self, user_id: str) -> None:
        """Let another process look at a user."""
        with self.database.changing() as connection:
            connection.execute("update users set claimed_until = 0 where user_id = ?", [user_id])

    def users(self, user_ids: Sequence[str]) -> list[MirroredUser]:
        """Return the users that were ever asked for, in the order given."""
        query = "select user_id, name, looks, state, problem, gone_since, dropped from users where user_id in ({})"
        users = {
            user_id: MirroredUser(
                user_id, name, looks, json.loads(state) if state else None, problem, gone_since, bool(dropped)
            )
            for user_id, name, looks, state, problem, gone_since, dropped in self._in(query, user_ids)
        }
        return [users[user_id] for user_id in user_ids if user_id in users]

    @contextmanager
    def changing(self, user_id: str) -> Iterator[Change]:
        """Make what is done to a user in the block one transaction; a claim of the user is prolonged."""
        with self.database.changing() as connection:
            yield Change(connection, user_id)
            connection.execute(
                "update users set claimed_until = ? where user_id = ? and claimed_until > 0",
                [time.time() + CLAIM_SECONDS, user_id],
            )

    def parts(self, user_id: str, kind: str) -> list[pl.DataFrame]:
        """Return the parts of a user of one kind, in the order in which they were fetched."""
        import polars as pl

        query = "select content from parts where user_id = ? and kind = ? and content != x'' order by number"
        return [pl.read_ipc(io.BytesIO(content)) for (content,) in self.database.rows(query, [user_id, kind])]

    def note_problem(self, user_id: str, problem: str, *, gone: bool = False) -> None:
        """Note why a user could not be read; what was known of them stays, and they are looked at again."""
        with self.database.changing() as connection:
            connection.execute(
                "update users set problem = ?, looked_at = 0, claimed_until = 0, "
                "gone_since = case when ? then coalesce(gone_since, ?) else gone_since end where user_id = ?",
                [problem, gone, time.time(), user_id],
            )

    def want_artists(self, plays: Mapping[str, int]) -> None:
        """Note artists as heard so many more times."""
        with self.database.changing() as connection:
            connection.executemany(
                "insert into artists values (?, null, null, ?, 0) "
                "on conflict do update set plays = plays + excluded.plays",
                plays.items(),
            )

    def artists_due(self, before: float, most: int) -> list[str]:
        """Return up to ``most`` artists that were not asked for since ``before``, the most heard ones first."""
        query = "select artist_id from artists where fetched_at < ? order by plays desc, artist_id limit ?"
        return [artist for (artist,) in self.database.rows(query, [before, most])]

    def put_artists(self, asked: Sequence[str], answered: Mapping[str, tuple[str | None, list[str]]]) -> None:
        """Remember name and genres of artists that were asked for; no answer is an answer too."""
        now = time.time()
        rows = [(artist, *answered.get(artist, (None, []))) for artist in asked]
        with self.database.changing() as connection:
            connection.executemany(
                "update artists set name = coalesce(?, name), genres = ?, fetched_at = ? where artist_id = ?",
                [(name, json.dumps(genres) if genres else None, now, artist) for artist, name, genres in rows],
            )

    def artist_genres(self) -> list[tuple[str, str, list[str]]]:
        """Return ``(id, name, genres)`` of the artists that have genres, the most heard ones first."""
        query = (
            "select artist_id, name, genres from artists where genres is not null and name is not null "
            "order by plays desc, artist_id"
        )
        return [(artist, name, json.loads(genres)) for artist, name, genres in self.database.rows(query)]

    def keep_only(self, user_ids: Iterable[str]) -> None:
        """Delete all other users."""
        with self.database.changing() as connection:
            connection.execute("create temp table if not exists kept (user_id text primary key)")
            connection.execute("delete from kept")
            connection.executemany("insert or ignore into kept values (?)", ([user] for user in user_ids))
            connection.execute("delete from users where user_id not in kept")
            connection.execute("delete from parts where user_id not in kept")

    def remove(self, user_id: str) -> bool:
        """Delete a user, from the disk too; return if they were there."""
        with self.database.changing() as connection:
            count = connection.execute("delete from users where user_id = ?", [user_id]).rowcount
            connection.execute("delete from parts where user_id = ?", [user_id])
        # The log of SQLite still has the pages as they were.
        self.database.rows("pragma wal_checkpoint(truncate)")
        return count > 0

    def old_users(self, before: float) -> list[str]:
        """Return the users with a part that was fetched before a time."""
        query = "select distinct user_id from parts where fetched_at < ? and content != x'' order by 1"
        return [user_id for (user_id,) in self.database.rows(query, [before])]

    def drop_contents(self, user_ids: Sequence[str]) -> int:
        """Delete what was fetched of users; return of how many. They are read anew when they have listened again."""
        with self.database.changing() as connection:
            names = [[user_id] for user_id in user_ids]
            count = connection.executemany("update users set dropped = 1 where user_id = ?", names).rowcount
            connection.executemany("delete from parts where user_id = ?", names)
        self.database.rows("pragma wal_checkpoint(truncate)")
        return count

    def _in(self, query: str, values: Sequence[str], before: Sequence[Any] = ()) -> Iterator[Any]:
        """Run ``query`` for ``values`` at its ``{}``, some hundreds at a time."""
        for start in range(0, len(values), 500):
            some = values[start : start + 500]
            yield from self.database.rows(query.format(", ".join("?" * len(some))), [*before, *some])


@dataclass(frozen=True)
class Change:
    """What may be done to a user within one transaction."""

    connection: sqlite3.Connection
    user_id: str

    def add(self, kind: str, frame: pl.DataFrame) -> None:
        """Add a part."""
        buffer = io.BytesIO()
        frame.write_ipc(buffer, compression="zstd")
        self.connection.execute(
            "insert into parts select ?, ?, coalesce(max(number), 0) + 1, ?, ? from parts "
            "where user_id = ? and kind = ?",
            [self.user_id, kind, time.time(), buffer.getvalue(), self.user_id, kind],
        )

    def replace(self, kind: str, frame: pl.DataFrame) -> None:
        """Replace all parts of a kind by one."""
        self.clear(kind)
        self.add(kind, frame)

    def clear(self, kind: str) -> None:
        """Delete the parts of a kind."""
        self.connection.execute("delete from parts where user_id = ? and kind = ?", [self.user_id, kind])

    def rename(self, kind: str, new: str) -> None:
        """Let the parts of a kind be the parts of another one, in place of those."""
        self.clear(new)
        self.connection.execute("update parts set kind = ? where user_id = ? and kind = ?", [new, self.user_id, kind])

    def remember(self, state: Mapping[str, Any]) -> None:
        """Remember how far the user was read."""
        self.connection.execute("update users set state = ? where user_id = ?", [json.dumps(state), self.user_id])

    def finish(self, state: Mapping[str, Any], note: str | None, *, whole: bool) -> None:
        """Note that the user was looked at to the end, and nobody's any more.

        Parameters
        ----------
        state
            How far they were read.
        note
            What is to be said of them; None if nothing is.
        whole
            Whether all of their parts are there, also if retention dropped some before.
        """
        self.connection.execute(
            "update users set state = ?, problem = ?, looked_at = ?, looks = looks + 1, gone_since = null, "
            "claimed_until = 0, dropped = case when ? then 0 else dropped end where user_id = ?",
            [json.dumps(state), note, time.time(), whole, self.user_id],
        )
