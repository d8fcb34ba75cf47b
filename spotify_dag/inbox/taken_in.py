"""The users that sweeps took in: one table in parts, ``users/<part>.parquet``.

The hash that gives a user's bucket gives the part, too, out of `PARTS`. With 64 buckets, a bucket is four parts. With
1,024, a part is four buckets. With an odd number every part holds users of every bucket: then all are read, and the
answer is the same. Versions that were made of parts are held in memory for as long as their files are the same.

Older versions had one file, ``users.parquet``. While it is there, it alone counts. The next writer divides it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, wraps
from math import gcd
from typing import TYPE_CHECKING, Any, TypeVar, cast

from spotify_dag.files import DamagedFileError, file_version, names_in, write_atomically
from spotify_dag.root import Root, listed
from spotify_dag.schemas import user_buckets
from spotify_dag.sources.handed_in import (
    COLUMNS,
    RequestSourceName,
    UserRequest,
    bucket_versions,
    request_rows,
    requests_in,
)

if TYPE_CHECKING:
    import polars as pl

PARTS = 256
"""Files of the table, at most. Another number would look for users in the wrong files."""

Look = TypeVar("Look", bound=Callable[..., Any])
Files = tuple[tuple[Root, tuple[object, ...]], ...]
"""Files, each with its version."""
_HELD: dict[tuple[object, ...], tuple[object, dict[int, str]]] = {}
"""Versions of buckets, and what they were made of, by the number of buckets and the set of files that holds them."""


def _again_where_a_file_goes(look: Look) -> Look:
    """Let a look begin again where a file that it is about to read was deleted: by a removal, or by `take_over`."""

    @wraps(look)
    def looked(*args: Any, **named: Any) -> Any:
        while True:
            try:
                return look(*args, **named)
            except FileNotFoundError:
                continue

    return cast("Look", looked)


@dataclass(frozen=True)
class TakenIn:
    """The table under one folder; `sources.handed_in.Requests` of one source, or of all. Writers hold a lock."""

    root: Root
    source: RequestSourceName | None = None

    @_again_where_a_file_goes
    def rows(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> pl.DataFrame:
        """Return the rows of some buckets, by bucket, then by user id."""
        import polars as pl

        last = self._last(first)
        some = [self._rows(files, n_buckets, rest, last) for rest, files in self._divided(buckets, n_buckets)]
        rows = pl.concat([self._rows((), n_buckets, None, last), *some])
        return rows.filter(pl.col("user_bucket").is_in(buckets)).sort("user_bucket", "user_id")

    @_again_where_a_file_goes
    def rows_of(self, user_ids: Sequence[str], first: int | None = None) -> pl.DataFrame:
        """Return the rows of some users."""
        import polars as pl

        files = tuple(self._files(set(user_buckets(user_ids, PARTS))).items())
        rows = self._rows(files, 1, 0, self._last(first))
        return rows.filter(pl.col("user_id").is_in(user_ids)).select(COLUMNS)

    @_again_where_a_file_goes
    def versions(self, buckets: Sequence[int], n_buckets: int, first: int | None = None) -> dict[int, str]:
        """Return the versions of some buckets, those that have any users."""
        last = self._last(first)
        theirs: dict[int, str] = {}
        for rest, files in self._divided(buckets, n_buckets):
            key, made_of = (self, n_buckets, rest), (files, last)
            held = _HELD.get(key)
            if held is None or held[0] != made_of:
                held = _HELD[key] = (made_of, bucket_versions(self._rows(files, n_buckets, rest, last)))
            theirs |= held[1]
        return {bucket: theirs[bucket] for bucket in sorted(theirs.keys() & set(buckets))}

    def is_empty(self) -> bool:
        """Return whether nobody was taken in."""
        return not self.is_undivided() and not any(name.endswith(".parquet") for name in names_in(self._folder))

    def is_undivided(self) -> bool:
        """Return whether the table is one file of an older version."""
        return self._old.is_file()

    @_again_where_a_file_goes
    def where(self, condition: pl.Expr) -> pl.DataFrame:
        """Return `COLUMNS` of the users that a condition is true of. Every file is read."""
        import polars as pl

        return pl.concat([request_rows(), *(read_table(file).filter(condition) for file in self.files())])

    @_again_where_a_file_goes
    def unnamed(self, names: Iterable[str]) -> set[str]:
        """Return those of some names of content that no user names. Every file is read."""
        unnamed = set(names)
        for file in self.files() if unnamed else ():
            unnamed.difference_update(read_table(file)["content"])
        return unnamed

    def files(self) -> list[Root]:
        """Return the files of the table."""
        return list(self._files(range(PARTS)))

    def put(self, requests: Sequence[UserRequest]) -> list[UserRequest]:
        """Take users in, each in place of what they handed in before; the last request of each counts.

        Returns
        -------
        Requests, of before or now, with content that their users do not name any more.
        """
        import polars as pl

        replaced = list[UserRequest]()
        self.take_over()
        for part, some in self._by_part(requests).items():
            rows, last = self._part(part), {request.user_id: request for request in some}
            former = {it.user_id: it for it in requests_in(rows.filter(pl.col("user_id").is_in(list(last))))}
            changed = {user: it for user, it in last.items() if user not in former or it.wish != former[user].wish}
            if changed:
                others = rows.filter(~pl.col("user_id").is_in(list(changed)))
                self._write(part, pl.concat([others, request_rows(changed.values())]))
            present = former | changed
            replaced += [it for it in (*former.values(), *some) if it.content != present[it.user_id].content]
        return replaced

    def remove(self, user_id: str) -> UserRequest | None:
        """Take a user out; return what they handed in."""
        import polars as pl

        self.take_over()
        (part,) = user_buckets([user_id], PARTS)
        removed = self._remove(part, pl.col("user_id") == user_id)
        return next(iter(requests_in(removed)), None)

    def remove_source(self, source: str) -> pl.DataFrame:
        """Take all users of a source out; return their rows."""
        import polars as pl

        self.take_over()
        return pl.concat([request_rows(), *(self._remove(part, pl.col("source") == source) for part in range(PARTS))])

    def take_over(self) -> None:
        """Divide the one file of an older version, if there is one. It goes last: after a kill it is divided again."""
        import polars as pl

        if not self.is_undivided():
            return
        rows = read_table(self._old)
        parts = pl.Series(user_buckets(rows["user_id"].to_list(), PARTS), dtype=pl.Int32)
        divided = rows.with_columns(parts.alias("part")).partition_by("part", as_dict=True, include_key=False)
        for part in range(PARTS):
            self._write(part, divided.get((part,), request_rows()))
        self._old.unlink()

    @property
    def _old(self) -> Root:
        return self.root / "users.parquet"

    @property
    def _folder(self) -> Root:
        return self.root / "users"

    def _file(self, part: int) -> Root:
        return self._folder / f"{part:03d}.parquet"

    def _files(self, parts: Collection[int]) -> dict[Root, tuple[object, ...]]:
        """Return the files that hold some parts, with their versions."""
        if old := file_version(self._old):
            return {self._old: old}
        if len(parts) > 1:  # one listing: in object storage it tells the versions, too
            names = {f"{part:03d}.parquet" for part in parts}
            files = [file for file in listed(self._folder, "*.parquet") if file.name in names]
        else:
            files = [self._file(part) for part in parts]
        versions = {file: file_version(file) for file in files}
        return {file: version for file, version in versions.items() if version}

    def _divided(self, buckets: Sequence[int], n_buckets: int) -> Iterator[tuple[int | None, Files]]:
        """Yield sets of files that together hold some buckets; no bucket is in two of them.

        Each comes with the rest that the numbers of its parts, and of its buckets, leave; None for the undivided file.
        """
        shared = gcd(n_buckets, PARTS)
        rests = {bucket % shared for bucket in buckets}
        files = self._files({part for part in range(PARTS) if part % shared in rests})
        if self._old in files:
            yield None, tuple(files.items())
            return
        theirs: dict[int, list[tuple[Root, tuple[object, ...]]]] = {}
        for file, version in files.items():
            theirs.setdefault(int(file.stem) % shared, []).append((file, version))
        for rest in sorted(theirs):
            yield rest, tuple(theirs[rest])

    def _rows(self, files: Files, n_buckets: int, rest: int | None, last: str | None) -> pl.DataFrame:
        """Return `COLUMNS` and ``user_bucket`` of files as `_divided` yields them, up to the last user who counts."""
        import polars as pl

        rows = _counted(files, self.source).sort("user_id")
        rows = rows if last is None else rows.filter(pl.col("user_id") <= last)
        if rest is not None and PARTS % n_buckets == 0:  # these files hold one bucket
            return rows.with_columns(pl.lit(rest, pl.Int32).alias("user_bucket"))
        buckets = user_buckets(rows["user_id"].to_list(), n_buckets)
        return rows.with_columns(pl.Series("user_bucket", buckets, dtype=pl.Int32))

    def _last(self, first: int | None) -> str | None:
        """Return the id of the last user who counts; None if all do."""
        return None if first is None else _last_of(tuple(self._files(range(PARTS)).items()), self.source, first)

    def _by_part(self, requests: Sequence[UserRequest]) -> dict[int, list[UserRequest]]:
        by_part: dict[int, list[UserRequest]] = {}
        for request, part in zip(requests, user_buckets([it.user_id for it in requests], PARTS), strict=True):
            by_part.setdefault(part, []).append(request)
        return by_part

    def _part(self, part: int) -> pl.DataFrame:
        file = self._file(part)
        return read_table(file) if file.is_file() else request_rows()

    def _remove(self, part: int, gone: pl.Expr) -> pl.DataFrame:
        rows = self._part(part)
        removed = rows.filter(gone)
        if removed.height:
            self._write(part, rows.remove(gone))
        return removed

    def _write(self, part: int, rows: pl.DataFrame) -> None:
        if rows.is_empty():
            self._file(part).unlink(missing_ok=True)
            return
        table = io.BytesIO()
        rows.select(COLUMNS).sort("user_id").write_parquet(table)
        write_atomically(self._file(part), table.getvalue())


def read_table(file: Root) -> pl.DataFrame:
    """Return `COLUMNS` of a file of the table.

    Raises
    ------
    DamagedFileError
        If it cannot be read.
    """
    import polars as pl

    # In one go: polars opens a file by name more than once, and a sweep may replace it in between.
    content = file.read_bytes()
    try:
        return pl.read_parquet(content, columns=COLUMNS)
    except pl.exceptions.PolarsError as error:
        raise DamagedFileError(
            f"{file} is damaged: {error}. It names the users who were added: put it back from a backup. Without "
            "one move it away, and add them again with spotify-dag add"
        ) from error


def _counted(files: Iterable[tuple[Root, object]], source: str | None) -> pl.DataFrame:
    import polars as pl

    rows = pl.concat([request_rows(), *(read_table(file) for file, _ in files)])
    return rows if source is None else rows.filter(pl.col("source") == source)


@lru_cache(4)
def _last_of(files: Files, source: str | None, first: int) -> str | None:
    user_ids = _counted(files, source)["user_id"]
    return None if len(user_ids) <= first else user_ids.sort()[first - 1]
