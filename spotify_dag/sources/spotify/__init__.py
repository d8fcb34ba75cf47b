"""Spotify's Web API: what users have on their playlists, as far as Spotify lets this app see it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.files import write_atomically
from spotify_dag.layout import layout_of
from spotify_dag.locks import locked
from spotify_dag.schemas import user_buckets
from spotify_dag.settings import Settings
from spotify_dag.sources.base import (
    RECORD_COLUMNS,
    REJECT_COLUMNS,
    Batch,
    ResumeLaterError,
    SourceError,
    clean,
    excerpt,
    files_version,
    last_turn,
    no_rejects,
)
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.items import FAULT_FIELDS, FIELDS
from spotify_dag.sources.spotify.names import UserNameError, parse_user, read_data_set, read_names
from spotify_dag.sources.spotify.store import DAY, Content, Database, Ledger, Mirror, MirroredUser, database_path
from spotify_dag.sources.spotify.sync import Sweep
from spotify_dag.sources.spotify.tokens import Login, Logins, Tokens, ended_login, required_client_id, service
from spotify_dag.tombstones import Tombstones

if TYPE_CHECKING:
    import polars as pl

BATCH_USERS = 100
"""Users looked at before what was found is passed on."""
BATCH_ROWS = 100_000
BUSY_SECONDS = 60.0
"""When to try again while another process reads Spotify."""
SIMULATED = "synthetic"
"""What rows are marked with where the Web API is at this machine itself."""


@dataclass(frozen=True)
class SpotifySource:
    """The users of a list, or those who have logged in.

    Reading brings a mirror under ``<data>/spotify`` up to date first and is fed from it, so nothing is fetched twice:
    what a run did not get to is fetched by the next one.

    Parameters
    ----------
    settings
        Which app, and its limits.
    users
        A text, CSV or Parquet file of ids, URIs or profile URLs, or the name of a Hugging Face data set; None for the
        users who have logged in.
    asked
        When this source was named (seconds since 1970): users are looked at again who were not since then.

    Raises
    ------
    SourceError
        If there is no app, no such file, or nobody to read.
    """

    settings: Settings
    users: str | None = None
    asked: float = 0
    name = "spotify"

    def __post_init__(self) -> None:
        required_client_id(self.settings)
        if self.users is None:
            if not self._logins():
                for login in Logins(self.settings).all().values():
                    raise ended_login(login.user_id, login.ended or "")
                raise SourceError(
                    "Source 'spotify' needs users: give a list of ids or profile URLs with --path FILE, "
                    "or log in: spotify-dag login"
                )
        elif not self._file().is_file() and not _is_data_set(self.users):
            raise SourceError(
                f"There is no file '{self.users}'. Give text, CSV or Parquet with Spotify users, or the name of a "
                "Hugging Face data set (owner/name)."
            )

    def version(self) -> str:
        """Return a fingerprint of the users, the logins and the time; `refreshed_since` says when they are due."""
        settings = self.settings
        listed = files_version([self._file()]) if self.users and self._file().is_file() else self.users
        logins = [(login.user_id, login.logged_in_at) for login in self._logins()]
        added = [files_version(self._added())] if self._added() else []
        parts = (listed, logins, service(settings), settings.playlists_count, settings.spotify_followed, self.asked)
        return hashlib.sha256(repr((*parts, *added)).encode()).hexdigest()[:16]

    def n_batches(self) -> int:
        """Return about how many batches there will be: more where users have very many playlists."""
        user_ids, rejects = self._listed()
        return -(-len(user_ids) // BATCH_USERS) + bool(rejects.height)

    def batches(self) -> Iterator[Batch]:
        """Yield users as the mirror has them, about a hundred at a time, having looked at those who are due.

        Raises
        ------
        ResumeLaterError
            After the last batch, if not everybody who is due could be looked at now.
        SpotifyError
            If nobody could be read, and nobody ever was.
        """
        user_ids, rejects = self._listed()
        if rejects.height:
            yield Batch(_no_records(), rejects, _rows_read([]), self._marked)
        with (
            locked(self._folder / f"{service(self.settings)}.lock", wait=False) as alone,
            closing(Database(database_path(self.settings))) as database,
        ):
            mirror = Mirror(database)
            sweep = self._sweep(database, mirror)
            mirrored, yielded = 0, set[str]()
            user_ids = self._not_forgotten(mirror.returned_ids(user_ids))
            for start in range(0, len(user_ids), BATCH_USERS):
                part = user_ids[start : start + BATCH_USERS]
                due = self._due(mirror, part)
                if due and not alone:
                    sweep.stopped = ResumeLaterError(time.time() + BUSY_SECONDS, "Another process is reading Spotify.")
                sweep.users([user_id for user_id in part if user_id in due])
                # By the ids that Spotify returned: two spellings on a list are one user.
                part = [user for user in self._not_forgotten(mirror.returned_ids(part)) if user not in yielded]
                yielded |= set(part)
                mirrored_users = mirror.users(part)
                mirrored += sum(bool(user.playlists) for user in mirrored_users)
                yield from self._batches(mirrored_users, mirror)
            if alone:
                sweep.artists(time.time() - self.settings.spotify_artist_age_days * DAY)
            if sweep.failures and not sweep.read and not mirrored:
                raise sweep.failures[0]
            if sweep.stopped is not None:
                raise sweep.stopped
            if alone:
                mirror.keep_only(mirror.returned_ids(user_ids))
                for user_id in Tombstones(self.settings.data).among(user_ids):  # forgotten while they were fetched
                    mirror.remove(user_id)

    def artist_genres(self) -> pl.DataFrame | None:
        """Return ``artist_id, artist_name, genres`` of the artists that Spotify tells genres of, as fetched last."""
        import polars as pl

        if not database_path(self.settings).is_file():
            return None
        with closing(Database(database_path(self.settings))) as database:
            genres = Mirror(database).artist_genres()
        schema: dict[str, Any] = {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)}
        return pl.DataFrame(genres, schema=schema, orient="row") if genres else None

    @property
    def _folder(self) -> Path:
        return self.settings.local_data / "spotify"

    @property
    def _marked(self) -> str | None:
        return SIMULATED if service(self.settings) == "simulator" else None

    def refreshed_since(self, bucket: int) -> float:
        """Return the time since when users of a bucket need not be looked at again."""
        settings = self.settings
        turn = last_turn(time.time(), bucket, layout_of(settings).made_with, settings.spotify_refresh_hours * 3600)
        return max(turn, self.asked)

    def _due(self, mirror: Mirror, user_ids: Sequence[str]) -> set[str]:
        """Return those of the users who have to be looked at again."""
        by_turn: dict[float, list[str]] = {}
        for user_id, bucket in zip(user_ids, user_buckets(user_ids, layout_of(self.settings).made_with), strict=True):
            by_turn.setdefault(self.refreshed_since(bucket), []).append(user_id)
        return {user_id for since, users in by_turn.items() for user_id in mirror.due(users, since)}

    def _file(self) -> Path:
        return Path(self.users or "")

    def _logins(self) -> list[Login]:
        """Return the logins that can be used."""
        return [login for login in Logins(self.settings).all().values() if login.ended is None]

    def _sweep(self, database: Database, mirror: Mirror) -> Sweep:
        settings = self.settings
        ledger = Ledger(database, settings.spotify_daily_budget)
        return Sweep(
            SpotifyClient(settings, ledger, Tokens(settings)),
            mirror,
            logins=[login.user_id for login in self._logins()],
            app=settings.spotify_client_secret is not None,
            playlists_count=settings.playlists_count,
            followed=settings.spotify_followed,
            threads=2 * settings.spotify_concurrency,
        )

    def _listed(self) -> tuple[list[str], pl.DataFrame]:
        """Return the users to read, each once, and what else is on the list as rejects."""
        import polars as pl

        if self.users is None:
            users = self._not_forgotten([login.user_id for login in self._logins()])
            return users[: self.settings.profiles_count], no_rejects()
        names: dict[str, None] = {}
        refused = []
        for row, text in chain(self._names(self.users), *map(read_names, self._added())):
            if len(names) == self.settings.profiles_count:
                break
            try:
                names[parse_user(text)] = None
            except UserNameError:
                refused.append((row, text))
        if not names:
            example = f" Row {refused[0][0]}: {refused[0][1][:80]!r}." if refused else ""
            raise SourceError(f"'{self.users}' names no Spotify user.{example}")
        values = [text.encode(errors="replace").decode() for _, text in refused]
        rejects = pl.DataFrame(
            {"row": [row for row, _ in refused], "value": values}, schema={"row": pl.Int64, "value": pl.String}
        ).with_columns(
            pl.lit(self._file().name).alias("file"),
            pl.lit(None, pl.String).alias("user_id"),
            pl.lit("user").alias("field"),
            excerpt(pl.col("value")).alias("value"),
            pl.lit("names no Spotify user").alias("reason"),
            pl.lit(True).alias("dropped"),
        )
        return self._not_forgotten(list(names)), rejects.select(REJECT_COLUMNS)

    def _not_forgotten(self, users: Sequence[str]) -> list[str]:
        """Leave out users who were forgotten, however their ids are spelled here: Spotify's own are in lower case."""
        gone = Tombstones(self.settings.data).among([*users, *map(str.lower, users)])
        return [user for user in users if gone.isdisjoint((user, user.lower()))]

    def _added(self) -> list[Path]:
        """Return the list of users who were added one by one, if there is one."""
        file = added_users(self.settings)
        return [file] if file.is_file() else []

    def _names(self, users: str) -> Iterator[tuple[int, str]]:
        if self._file().is_file():
            yield from read_names(self._file())
            return
        # Fetched once, so that a run that goes on another day goes on with the same users.
        copy = self._folder / f"users-{hashlib.sha256(users.encode()).hexdigest()[:12]}.txt"
        if not copy.is_file():
            names = read_data_set(users)
            write_atomically(copy, "\n".join(" ".join(name.split()) for name in names).encode(errors="replace"))
        yield from read_names(copy)

    def _batches(self, users: Sequence[MirroredUser], mirror: Mirror) -> Iterator[Batch]:
        """Yield users as the mirror has them, in batches of bounded size: some people have thousands of playlists."""
        part: list[MirroredUser] = []
        contents: dict[str, Content] = {}
        dropped = mirror.dropped([entry.playlist_id for user in users for entry in user.playlists])
        for batch in users:
            # Nothing is yielded of a user with items that were dropped for their age: half a user is another user.
            whole = dropped.isdisjoint(entry.playlist_id for entry in batch.playlists)
            user = batch if whole else replace(batch, playlists=[])
            part.append(user)
            contents |= mirror.contents([entry.playlist_id for entry in user.playlists])
            if sum(len(content.rows) for content in contents.values()) >= BATCH_ROWS:
                yield self._batch(part, contents)
                part, contents = [], {}
        if part:
            yield self._batch(part, contents)

    def _batch(self, users: Sequence[MirroredUser], contents: Mapping[str, Content]) -> Batch:
        import polars as pl

        rows: list[list[Any]] = []
        faults: list[tuple[Any, ...]] = []
        read = []
        list_file = self._file().name or self.name
        for user in users:
            count = 0
            if user.problem is not None:
                dropped = not user.playlists
                count += dropped
                faults.append((list_file, None, user.user_id, "user", user.user_id, user.problem, dropped))
            for place, entry in enumerate(user.playlists):
                file = f"spotify:playlist:{entry.playlist_id}"
                content = contents.get(entry.playlist_id)
                if entry.problem is not None or content is None:
                    count += content is None
                    reason = entry.problem or "its items were never fetched"
                    faults.append((file, None, user.user_id, "playlist", entry.name, reason, content is None))
                if content is None:
                    continue
                owner = [user.user_id, entry.playlist_id, entry.name, place]
                # Rows that were fetched before all artists were kept are shorter.
                rows += [[*owner, *row, *[None] * (len(FIELDS) - len(row))] for row in content.rows]
                faults += [(file, fault[0], user.user_id, *fault[1:]) for fault in content.faults]
                count += len(content.rows) + sum(fault[-1] for fault in content.faults)
            read.append((user.user_id, count))
        owner_columns = ("user_id", "playlist_id", "playlist_name", "playlist_position")
        schema: dict[str, Any] = {
            name: pl.Int64 if name.endswith("position") else pl.String for name in (*owner_columns, *FIELDS)
        }
        frame = (
            pl.DataFrame(rows, schema=schema | {"artists": pl.List(pl.String)}, orient="row")
            .with_columns(pl.coalesce("artists", pl.concat_list("artist_name")))
            .with_row_index("row")
        )
        cleaned = clean(frame, file="")
        places = frame.select(pl.col("row").cast(pl.Int64), "playlist_id", pl.col("position").alias("place"))
        unclean = cleaned.rejects.join(places, on="row", maintain_order="left").with_columns(
            pl.format("spotify:playlist:{}", "playlist_id").alias("file"), pl.col("place").alias("row")
        )
        fault_schema = {name: no_rejects().schema[name] for name in ("file", "row", "user_id", *FAULT_FIELDS[1:])}
        rejects = pl.DataFrame(faults, schema=fault_schema, orient="row").with_columns(excerpt(pl.col("value")))
        return Batch(
            cleaned.records,
            pl.concat([rejects.select(REJECT_COLUMNS), unclean.select(REJECT_COLUMNS)]),
            _rows_read(read),
            self._marked,
            {user.user_id: user.gone_since for user in users if user.gone_since is not None},
        )


def added_users(settings: Settings) -> Path:
    """Return the list of users who agreed to be read, one by one, beside those of the source's own list."""
    return settings.local_data / "spotify" / "added.txt"


def add_user(settings: Settings, user_id: str) -> None:
    """Have a user read with the next run, and from then on."""
    file = added_users(settings)
    with locked(file.with_suffix(".lock")):
        before = file.read_text().splitlines() if file.is_file() else []
        if user_id not in before:
            write_atomically(file, "\n".join([*before, user_id]).encode(), private=True)


def drop_user(settings: Settings, user_id: str) -> None:
    """Have a user read no more who was added by `add_user`."""
    file = added_users(settings)
    with locked(file.with_suffix(".lock")):
        before = file.read_text().splitlines() if file.is_file() else []
        if user_id in before:
            write_atomically(file, "\n".join(user for user in before if user != user_id).encode(), private=True)


def _is_data_set(name: str) -> bool:
    return name.count("/") == 1 and all(part and part.strip(".") for part in name.split("/"))


def _no_records() -> pl.DataFrame:
    from spotify_dag.schemas import RAW_PLAYLISTS

    return RAW_PLAYLISTS.empty().select(RECORD_COLUMNS)


def _rows_read(read: Sequence[tuple[str, int]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(read, schema={"user_id": pl.String, "rows_read": pl.UInt32}, orient="row")
