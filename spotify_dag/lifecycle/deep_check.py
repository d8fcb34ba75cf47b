"""Read every file that the program keeps, whole: what is damaged, and what to do about it.

`repair` looks at lengths alone, at the beginning of every run. Bits that flipped, and damaged versions that nobody has
asked for since, are found by reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from spotify_dag.errors import SpotifyDagError, on_one_line
from spotify_dag.files import paths_below
from spotify_dag.inbox.taken_in import read_table
from spotify_dag.layout import read_layout
from spotify_dag.project import Project
from spotify_dag.root import Root, listed
from spotify_dag.schemas import TABLES, Table
from spotify_dag.stores.user_id_search import is_sqlite

AGAIN = "Delete {}, then spotify-dag run makes it anew"


def damaged(project: Project) -> Iterator[str]:
    """Yield one line for each file that is damaged: which, how, and the remedy."""
    yield from _own_files(project)
    for table in TABLES:
        yield from _of_lake(project, table)
    for folder in listed(project.vectors, "*.lance"):
        yield from _of_lance(folder)
    for card in listed(project.registry.root, "*/model.json"):
        yield from _said(lambda version=card.parent.name: project.registry.load(version))  # type: ignore[misc]
    with suppress(SpotifyDagError):  # its card is an own file, told of above
        if wrong := project.track_model.damaged():
            yield f"{wrong}. {AGAIN.format(project.track_model.root / 'serving.json')}"
    for file in sorted(paths_below(project.settings.local_data)):
        if file.is_file() and is_sqlite(file):
            yield from _of_sqlite(file)


def _said(read: Callable[[], object]) -> Iterator[str]:
    """Yield what an attempt to read something complains of."""
    try:
        read()
    except SpotifyDagError as error:
        yield str(error)


def _read_part(file: Root) -> None:
    with suppress(FileNotFoundError):  # its last user was removed meanwhile
        read_table(file)


def _own_files(project: Project) -> Iterator[str]:
    from spotify_dag.training_data.training_settings import load_training_settings

    reads: tuple[Callable[[], object], ...] = (
        lambda: read_layout(project.settings.data), project.published, project.inbox.sources,
        project.inbox.artist_genres,
        *(partial(_read_part, file) for file in project.inbox.requests.taken_in.files()),
        project.preferences.digests, project.track_catalogue_card, project.track_model.card,
        lambda: load_training_settings(project),
    )  # fmt: skip
    yield from dict.fromkeys(line for read in reads for line in _said(read))  # some read the same file


def _of_lake(project: Project, table: Table) -> Iterator[str]:
    import pyarrow.parquet as pq
    from deltalake import DeltaTable

    root = project.lake.folder(table)
    if not root.is_dir():
        return
    try:
        files = DeltaTable(str(root)).file_uris()
    except Exception as error:  # Delta, Arrow and the operating system have errors of their own
        yield f"{root} cannot be opened: {on_one_line(error)}. {AGAIN.format(root)}"
        return
    for name in map(unquote, files):
        try:
            content = name if isinstance(root, Path) else (root / name.removeprefix(f"{root}/")).open()
            with pq.ParquetFile(content) as file:
                for _ in file.iter_batches():
                    pass
        except Exception as error:
            yield f"{name} cannot be read: {on_one_line(error)}. {AGAIN.format('it')}"


def _of_lance(folder: Root) -> Iterator[str]:
    import lancedb

    try:
        table = lancedb.connect(str(folder.parent)).open_table(folder.stem)
        for _ in table.search().limit(None).to_batches():
            pass
    except Exception as error:
        yield f"{folder} cannot be read: {on_one_line(error)}. {AGAIN.format('it')}"


def _of_sqlite(file: Path) -> Iterator[str]:
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)) as connection:
            wrong = [row[0] for row in connection.execute("pragma quick_check(1)") if row[0] != "ok"]
    except sqlite3.DatabaseError as error:
        wrong = [str(error)]
    if wrong:
        yield f"{file} is damaged: {wrong[0][:200]}. Put it back from a backup"
