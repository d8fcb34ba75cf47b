"""Find a user id in text and in files.

Files are searched as bytes. Where compression hides the bytes they are decoded, too: Parquet, and every cell of SQLite.
An id counts if it is a word, or the beginning of one: ids of playlists may begin with the id of their user. It does not
count if the word begins with the longer id of another user.
"""

from __future__ import annotations

import io
import json
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spotify_dag.root import ObjectPath, Root

if TYPE_CHECKING:
    import pyarrow as pa

_SQLITE = b"SQLite format 3\x00"
_CHUNK = 1 << 24
_OVERLAP = 1 << 12
"""Bytes by which pieces of a file overlap: more than any id with the word around it."""


class UserIdSearch:
    """The search for one user id, in all its spellings: plain, escaped as JSON, quoted as in URLs.

    Parameters
    ----------
    user_id
        The id to find.
    others
        Ids of other users. Those that begin with ``user_id`` are told apart from it.
    glued
        Whether anything may follow an id without a gap, as in files of Lance, where ids stand one after the other.
    """

    def __init__(self, user_id: str, others: Iterable[str] = (), *, glued: bool = False) -> None:
        self.user_id = user_id
        self.glued = glued
        spelled = sorted({user_id, json.dumps(user_id)[1:-1], quote(user_id, safe="")})
        self.spelled = spelled
        # In JSON an escaped line break or tab ends with a letter, which does not belong to the word after it.
        self._word = re.compile(rf"(?:(?<![\w.-])|(?<=\\[nrt]))({'|'.join(map(re.escape, spelled))})(?!\w)([\w.-]*)")
        longer = (other for other in others if other.startswith(user_id) and other != user_id)
        self._tails = tuple(other[len(user_id) :] for other in longer)

    def count(self, text: str) -> int:
        """Return how often ``text`` names the user."""
        if not any(name in text for name in self.spelled):
            return 0
        return sum(not self._is_other(match[2]) for match in self._word.finditer(text))

    def without(self, text: str, instead: str) -> str:
        """Return ``text`` with every mention, to the end of its word, replaced by ``instead``."""
        return self._word.sub(lambda match: match[0] if self._is_other(match[2]) else instead, text)

    def in_bytes(self, content: bytes) -> int:
        """Return how often bytes name the user."""
        if not any(name.encode() in content for name in self.spelled):
            return 0
        return self.count(content.decode(errors="replace"))

    def in_file(self, path: Root) -> int:
        """Return how often a file names the user."""
        if isinstance(path, ObjectPath):
            content = path.read_bytes()
            decoded = _in_parquet(io.BytesIO(content), self) if path.suffix == ".parquet" else 0
            return self.in_bytes(content) + decoded
        if is_sqlite(path):
            return _in_sqlite(path, self)
        return _in_raw(path, self) + (_in_parquet(path, self) if path.suffix == ".parquet" else 0)

    def _is_other(self, tail: str) -> bool:
        return any(
            tail.startswith(other) and (self.glued or not tail[len(other) : len(other) + 1].isalnum())
            for other in self._tails
        )


def is_sqlite(path: Path) -> bool:
    """Return whether a file is a SQLite database."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


def sqlite_columns(connection: sqlite3.Connection) -> list[tuple[Any, Any]]:
    """Return every ``(table, column)`` of a SQLite file, as its ``text_factory`` has them."""
    query = (
        "select tables.name, columns.name from sqlite_master as tables, pragma_table_info(tables.name) as columns "
        "where tables.type = 'table' and tables.name not like 'sqlite\\_%' escape '\\'"
    )
    return connection.execute(query).fetchall()


def _in_raw(path: Path, search: UserIdSearch) -> int:
    """Count in the bytes, piece by piece. Pieces overlap; a mention inside the overlap is counted once."""
    count, tail = 0, b""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            count += search.in_bytes(tail + chunk) - search.in_bytes(tail)
            tail = chunk[-_OVERLAP:]
    return count


def _in_sqlite(path: Path, search: UserIdSearch) -> int:
    """Count in the cells, which pages may split. If there is none, count in the pages, which may hold deleted rows."""
    count = 0
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=60)) as connection:
        connection.text_factory = bytes
        for table, column in ((of.decode(), name.decode()) for of, name in sqlite_columns(connection)):
            query = f'select "{column}" from "{table}" where typeof("{column}") in (\'text\', \'blob\')'  # noqa: S608
            for (value,) in connection.execute(query):
                count += search.in_bytes(_inflated(value))
    return count or _in_raw(path, search)


def _inflated(value: bytes) -> bytes:
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def _in_parquet(source: Path | io.BytesIO, search: UserIdSearch) -> int:
    import pyarrow.parquet as pq

    count = 0
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches():
            count += sum(search.count(text) for column in batch.columns for text in _texts(column, search))
    return count


def _texts(column: pa.Array, search: UserIdSearch) -> Iterator[str]:
    """Yield the strings of a column, at any depth, that may name the user."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        yield from _texts(column.dictionary, search)
    elif pa.types.is_struct(kind):
        for part in column.flatten():
            yield from _texts(part, search)
    elif pa.types.is_map(kind):
        yield from _texts(column.keys, search)
        yield from _texts(column.items, search)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if not pa.types.is_floating(kind.value_type):
            yield from _texts(column.flatten(), search)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        for name in search.spelled:
            yield from (text for text in column.filter(pc.match_substring(column, name)).to_pylist() if text)
