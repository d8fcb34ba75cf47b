"""Dagster's storage in SQLite, without a wait for the disk at every event.

Dagster opens and closes a connection for each event. SQLite waits for the disk when it commits. It waits again when the
last connection to a file closes, to move its write-ahead log into the file. `docs/benchmarks.md` says how long that
takes. Here a commit is written to the log without waiting. One idle connection per file stays open, so the log is moved
only once in a thousand pages.

A killed process loses nothing. A machine that loses its power may lose the last events, never a file
(https://sqlite.org/pragma.html#pragma_synchronous). Staleness is read from the tables, not from events.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Self

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection, NullPool, create_engine, event
from sqlalchemy.engine import Engine

STORAGES = (sqlite_run_storage, sqlite_event_log, sqlite_schedule_storage)
"""Where Dagster makes engines: a new one, and so every statement compiled anew, for every connection."""
ENGINES_KEPT = 128
KEPT_OPEN = 16
"""Number of files with an idle connection, those used last. Every run has a file of its own."""


@lru_cache(ENGINES_KEPT)
def _engine(url: str) -> Engine:
    """Return the engine of a file: made once, as it keeps the statements that it has compiled."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
    event.listen(engine, "connect", _hurry)
    return engine


def own_engine(url: str, **_options: Any) -> Engine:
    """Return an engine in place of Dagster's `create_engine`, which it calls for every connection."""
    return _engine(url)


def own_revisions(config: Config, connection: Connection) -> tuple[str | None, str | None]:
    """Return the version of a file's tables and the newest one, in place of Dagster's `check_alembic_revision`.

    Dagster asks at every tick of a sensor, for which it opens its instance anew. Its own function imports all its
    migrations again each time, which took half of the processor time of an idle code server.
    """
    location = config.get_main_option("script_location") or ""
    return MigrationContext.configure(connection).get_current_revision(), _newest_revision(location)


@lru_cache
def _newest_revision(location: str) -> str | None:
    config = Config()
    config.set_main_option("script_location", location)
    return ScriptDirectory.from_config(config).get_current_head()


class QuickSqliteStorage(DagsterSqliteStorage):
    """Dagster's own storage in SQLite files, with connections that do not wait for the disk."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        for module in STORAGES:
            module.create_engine = own_engine  # type: ignore[attr-defined]
            module.check_alembic_revision = own_revisions  # type: ignore[attr-defined]
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> Self:
        """Return the storage that ``dagster.yaml`` configures."""
        return cls.from_local(inst_data=inst_data, **config_value)


_kept: OrderedDict[str, sqlite3.Connection] = OrderedDict()
_lock = threading.Lock()


def _hurry(connection: Any, _record: object) -> None:
    """Set up a new connection to one of Dagster's files with a write-ahead log, and keep an idle one open."""
    if not isinstance(connection, sqlite3.Connection):
        return
    # An error of a broken or locked database comes again when the connection is used.
    with suppress(sqlite3.DatabaseError):
        if not _has_log(connection):
            return
        file = connection.execute("pragma database_list").fetchone()[2]
        connection.execute("pragma synchronous = normal")
        _keep_open(file)


def _keep_open(file: str) -> None:
    """Keep an idle connection to a file open: the log then stays from one connection to the next."""
    with _lock:
        if file not in _kept:
            idle = sqlite3.connect(file, timeout=30, check_same_thread=False)
            _kept[file] = idle
            _has_log(idle)  # a connection opens the file only with its first query
        _kept.move_to_end(file)
        while len(_kept) > KEPT_OPEN:
            _kept.popitem(last=False)[1].close()


def _has_log(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("pragma journal_mode").fetchone() == ("wal",))


def _close_all() -> None:
    """Close the idle connections, and hold the lock until a fork is over: a child must inherit neither."""
    _lock.acquire()
    while _kept:
        _kept.popitem()[1].close()


os.register_at_fork(before=_close_all, after_in_parent=_lock.release, after_in_child=_lock.release)
