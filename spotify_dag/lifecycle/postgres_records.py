"""What Dagster recorded in PostgreSQL, where its instance is there: find a user's id in it, and replace it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from spotify_dag.stores.user_id_search import UserIdSearch

COLUMNS = (
    "select table_name, column_name from information_schema.columns join information_schema.tables "
    "using (table_schema, table_name) where table_schema = current_schema() and table_type = 'BASE TABLE' "
    "and data_type in ('text', 'character varying') order by 1, 2"
)


def count_in_postgres(url: str, search: UserIdSearch) -> dict[str, int]:
    """Return how often each column of the database names a user, by ``table.column``."""
    with _connected(url) as connection:
        counts = {
            f"{table}.{column}": sum(search.count(text) for _, text in _mentions(connection, table, column, search))
            for table, column in _columns(connection)
        }
    return {place: count for place, count in counts.items() if count}


def replace_in_postgres(url: str, search: UserIdSearch, instead: str) -> int:
    """Replace an id in every text of the database, and write its tables anew; return how many texts had it."""
    from sqlalchemy import text

    changed: dict[str, int] = {}
    with _connected(url) as connection:
        for table, column in _columns(connection):
            update = text(f'update "{table}" set "{column}" = :text where ctid = cast(:row as tid)')  # noqa: S608
            for row, content in _mentions(connection, table, column, search):
                connection.execute(update, {"text": search.without(content, instead), "row": row})
                changed[table] = changed.get(table, 0) + 1
        for table in changed:
            # Rows as they were stay in the file of the table until something else is written over them.
            connection.execute(text(f'vacuum full "{table}"'))
    return sum(changed.values())


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    from sqlalchemy import create_engine

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _columns(connection: Connection) -> list[tuple[str, str]]:
    from sqlalchemy import text

    return [(row[0], row[1]) for row in connection.execute(text(COLUMNS))]


def _mentions(connection: Connection, table: str, column: str, search: UserIdSearch) -> list[tuple[str, str]]:
    """Return the place and the text of every value that names the user."""
    from sqlalchemy import text

    texts: dict[str, str] = {}
    query = text(f'select cast(ctid as text), "{column}" from "{table}" where position(:id in "{column}") > 0')  # noqa: S608
    for spelled in search.spelled:
        texts |= {row[0]: row[1] for row in connection.execute(query, {"id": spelled})}
    return [(row, content) for row, content in texts.items() if search.count(content)]
