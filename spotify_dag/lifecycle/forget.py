"""Forget a user: delete what is known of them from every place under the data root, and keep it from coming back.

The tombstone comes first, and every writer of the lake and the index asks for it while it holds the lock that deleting
waits for. So a writer at the same time either comes before, and its rows are deleted, or it leaves the user out.
Deleting again changes nothing: what was killed on the way is finished by doing it again.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import paths_below, write_atomically
from spotify_dag.layout import LayoutChangedError
from spotify_dag.lifecycle.orphaned_text import OrphanedText
from spotify_dag.lifecycle.postgres_records import replace_in_postgres
from spotify_dag.schemas import INGESTS, TABLES, USERS, Table, user_buckets
from spotify_dag.sources import LISTED_SOURCES, listed_mirrors, meant_by
from spotify_dag.sources.listenbrainz.dump import drop_dumped_user
from spotify_dag.sources.read_once import drop_left
from spotify_dag.sources.spotify.store import Database, Mirror, mirrors
from spotify_dag.sources.spotify.tokens import Logins
from spotify_dag.stores.index_copy import on_this_machine
from spotify_dag.stores.lake import user_digest
from spotify_dag.stores.user_id_search import UserIdSearch, is_sqlite, sqlite_columns
from spotify_dag.stores.user_index import UserIndex

if TYPE_CHECKING:
    from spotify_dag.project import Project
    from spotify_dag.stores.lake import Lake

FORGOTTEN = "[forgotten]"
"""What stands in Dagster's records where an id was."""
LONGEST_RUN_SECONDS = 60.0
"""A run of a bucket takes seconds. One that goes on longer may be waiting for its source, for as long as a day."""
NEXT_TRAINING = (
    "The next training is without this user. Models trained before have lost the user's own vector and names that only "
    "this user had; what all users taught them stays. To be rid of that too: spotify-dag run --train"
)


class NobodyToForgetError(SpotifyDagError):
    """Nothing is known of a user, so there is nothing to forget. The message says so."""


@dataclass
class Forgotten:
    """What was deleted."""

    user_id: str
    deleted: dict[str, int] = field(default_factory=dict)
    """Rows, files or entries per place; places that held nothing are left out."""
    still_named: list[str] = field(default_factory=list)
    """Lists of users that an operator keeps, and that go on naming the user. They are not read back in."""
    consequence: str = NEXT_TRAINING

    @property
    def total(self) -> int:
        """Everything deleted."""
        return sum(self.deleted.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def forget(project: Project, user_id: str) -> Forgotten:
    """Delete a user everywhere under the data root, and leave a tombstone so that no source brings them back.

    Safe at any time, beside runs and answers, and safe to kill; doing it again finishes it. It waits for a run that has
    the user's bucket, though not for one that waits itself, and for a table that somebody is writing to. Answers that
    are being made from what is deleted may be made again.

    Parameters
    ----------
    project
        Where.
    user_id
        Id of the user.

    Raises
    ------
    NobodyToForgetError
        If nothing is known of such a user, and they were not forgotten before.
    """
    while True:
        try:
            return _forget(project, _as_returned(project, user_id))
        except LayoutChangedError:  # the buckets were split on the way: it goes on where the user is now
            project = project.now()


def _forget(project: Project, user_id: str) -> Forgotten:
    if user_id not in project.tombstones and not is_known(project, user_id):
        raise NobodyToForgetError(
            f"Unknown user '{user_id}': there is nothing to forget. Who is known: "  # noqa: S608
            'spotify-dag sql "select user_id from users"'
        )
    project.tombstones.add(user_id)
    bucket = user_buckets([user_id], project.lake.n_buckets)[0]
    # Beside a run of the bucket, its checks would count a user who is in one table still and in another no more.
    with project.lake.buckets_locked([bucket], seconds=LONGEST_RUN_SECONDS):
        done = remove(project, user_id)
        for place, count in OrphanedText(project, user_id).remove().items():
            done.deleted[place] = done.deleted.get(place, 0) + count
        return done


def let_in_again(project: Project, user_id: str) -> bool:
    """Lift the tombstone of a user who hands themselves in again; return whether there was one.

    Sources that were read without them are read again.
    """
    if user_id not in project.tombstones:
        return False
    bucket = user_buckets([user_id], project.lake.n_buckets)[0]
    with project.lake.buckets_locked([bucket]):
        project.lake.rewrite(INGESTS, bucket, lambda rows: rows.clear())
        project.tombstones.lift(user_id)
    return True


def is_known(project: Project, user_id: str) -> bool:
    """Whether anything is kept of a user: in the inbox, the mirror of Spotify, the logins, the lake or an index."""
    import polars as pl

    bucket = user_buckets([user_id], project.lake.n_buckets)
    if project.lake.scan(USERS, bucket).filter(pl.col("user_id") == user_id).head(1).collect().height:
        return True
    if any(user_id in wishes.users() for wishes in project.inbox.wishes) or project.inbox.requests.has(user_id):
        return True
    if Logins(project.settings).files(user_id):
        return True
    if any(_mirror(path, lambda mirror: mirror.users([user_id])) for path in mirrors(project.settings)):
        return True
    with listed_mirrors(project.settings) as others:
        if any(mirror.users([user_id]) for mirror in others):
            return True
    return any(index.vectors([user_id]) for index in project.user_indexes())


def remove(project: Project, user_id: str) -> Forgotten:
    """Delete a user everywhere under the data root; without a tombstone, a source may bring them back."""
    done = Forgotten(user_id)
    bucket = user_buckets([user_id], project.lake.n_buckets)[0]
    # From where users come in to where answers come from: what is killed in between brings nothing back.
    steps = {"inbox": project.inbox.requests.remove_user(user_id)}
    steps["inbox"] += sum(wishes.remove(user_id) for wishes in project.inbox.wishes)
    steps["preferences"] = project.preferences.remove_user(user_id) + project.used_preferences.remove_user(user_id)
    steps["logins"] = Logins(project.settings).remove(user_id)
    project.inbox.drop_empty_logins()
    steps["spotify"] = sum(_mirror(path, lambda mirror: mirror.remove(user_id)) for path in mirrors(project.settings))
    steps["spotify"] += _off_lists(project, user_id, done.still_named)
    with listed_mirrors(project.settings) as others:
        steps["listed"] = sum(mirror.remove(user_id) for mirror in others)
    steps["listenbrainz-dump"] = drop_dumped_user(project.settings.local_data, user_id)
    for table in TABLES:
        if "user_id" in table.column_names:
            steps[f"lake/{table.name}"] = _from_table(project, table, bucket, user_id)
    steps["lake/.read-once"] = drop_left(project.left_of_sources, seconds=LONGEST_RUN_SECONDS)
    steps["lake, another number of buckets"] = _from_left_over(project.lake, user_id)
    for index in project.user_indexes():
        steps[f"vectors/{index.name}"] = index.expunge(user_id)
    if project.index_copies.exists() and (published := UserIndex.published(project.vectors)):
        on_this_machine(published[0], project.index_copies)
    steps["models/tracks"] = project.track_model.forget(user_id)
    steps["dagster"] = _from_dagster(project, user_id)
    done.deleted = {place: count for place, count in steps.items() if count}
    return done


def _mirror(path: Path, ask: Callable[[Mirror], Any]) -> Any:
    with closing(Database(path)) as database:
        return ask(Mirror(database))


def _off_lists(project: Project, user_id: str, still_named: list[str]) -> int:
    """Take a user off the lists under the data root; note those lists that are an operator's own."""
    data = project.settings.local_data
    taken = 0
    own = [(name, file) for name in LISTED_SOURCES for file in (data / name).glob("*.txt")]
    for source, file in sorted({*own, *project.inbox.user_lists()}):
        try:
            lines = file.read_text(errors="surrogateescape").splitlines(keepends=True)
        except OSError:
            continue
        left = [line for line in lines if not _means(source, line, user_id)]
        if len(left) < len(lines) and data in file.parents:
            write_atomically(file, "".join(left).encode(errors="surrogateescape"))
            taken += len(lines) - len(left)
        elif len(left) < len(lines) or UserIdSearch(user_id).in_bytes(file.read_bytes()):
            still_named.append(str(file))
    return taken


def _as_returned(project: Project, user_id: str) -> str:
    """Return a user's id as Spotify returned it, where one of its lists spelled it otherwise."""
    for path in mirrors(project.settings):
        with closing(Database(path)) as database:
            (returned,) = Mirror(database).returned_ids([user_id])
        if returned != user_id:
            return returned
    return user_id


def _means(source: str, line: str, user_id: str) -> bool:
    meant = meant_by(source, line)
    return meant is not None and meant.casefold() == user_id.casefold()


def _from_table(project: Project, table: Table, bucket: int, user_id: str) -> int:
    import polars as pl

    lake = project.lake
    count = lake.expunge(table, bucket, pl.col("user_id") == user_id)
    log = lake.folder(table) / "_delta_log"
    # A user who was replaced stands there by digest (an older version wrote another); in tables made before their logs
    # left users out, by name.
    digests = (user_digest(user_id).encode(), hashlib.sha256(user_id.encode()).hexdigest().encode())

    def named_in(content: bytes) -> bool:
        return any(digest in content for digest in digests)

    if any(UserIdSearch(user_id).in_file(file) or named_in(file.read_bytes()) for file in log.glob("*.*")):
        lake.cut_log(table)
    return count


def _from_left_over(lake: Lake, user_id: str) -> int:
    """Delete a user's bucket of a split that is being made, and all tables that one left behind; return the rows.

    The split copies the bucket again. Who still reads the tables left behind is told to begin again.
    """
    import polars as pl

    rows = 0
    for other in lake.left_over():
        if other.n_buckets < lake.n_buckets:
            other.drop()
            continue
        (bucket,) = user_buckets([user_id], other.n_buckets)
        for table in TABLES:
            if table.partition_by == "user_bucket":
                rows += other.expunge(table, bucket, pl.col("user_bucket").is_not_null())
    return rows


def _from_dagster(project: Project, user_id: str) -> int:
    """Replace an id in what Dagster recorded: metadata, messages of errors, what a process printed."""
    home = project.settings.dagster_home or project.settings.local_data / "dagster"
    search = UserIdSearch(user_id, project.lake.user_ids_like(user_id))
    changed = 0
    if project.settings.postgres_url is not None:
        changed += replace_in_postgres(project.settings.postgres_url.get_secret_value(), search, FORGOTTEN)
    for file in sorted(path for path in paths_below(home) if path.is_file()):
        try:
            if is_sqlite(file):
                changed += _from_sqlite(file, search)
            elif not file.name.endswith(("-wal", "-shm")) and search.in_bytes(file.read_bytes()):
                text = file.read_bytes().decode(errors="surrogateescape")
                write_atomically(file, search.without(text, FORGOTTEN).encode(errors="surrogateescape"))
                changed += 1
        except FileNotFoundError:
            continue  # deleted meanwhile
    return changed


def _from_sqlite(file: Path, search: UserIdSearch) -> int:
    changed = 0
    with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as connection:
        connection.create_function("without_user", 1, lambda text: search.without(text, FORGOTTEN), deterministic=True)
        connection.create_function("names_user", 1, lambda text: search.count(text) > 0, deterministic=True)
        connection.execute("pragma secure_delete = on")
        for table, column in sqlite_columns(connection):
            changed += connection.execute(
                f'update "{table}" set "{column}" = without_user("{column}") '  # noqa: S608
                f'where typeof("{column}") = \'text\' and names_user("{column}")'
            ).rowcount
        if changed:
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")
    return changed
