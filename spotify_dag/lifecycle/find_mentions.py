"""Find where a user is still named under a data root: files, file names, and every version of the LanceDB tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from spotify_dag.files import paths_below
from spotify_dag.lifecycle.orphaned_text import OrphanedText
from spotify_dag.lifecycle.postgres_records import count_in_postgres
from spotify_dag.root import Root
from spotify_dag.stores.user_id_search import UserIdSearch

if TYPE_CHECKING:
    from spotify_dag.project import Project


@dataclass
class Mentions:
    """Where a user was found."""

    counts: dict[str, int] = field(default_factory=dict)
    """Mentions per file, or table of LanceDB, by its path under the data root."""
    unreadable: list[str] = field(default_factory=list)
    """Files that could not be decoded, so that nothing is known of them but their bytes."""
    files: int = 0
    """Files looked into."""

    @property
    def total(self) -> int:
        """All mentions."""
        return sum(self.counts.values())

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values; the counts are called ``found``."""
        return {"found": self.counts, "files": self.files, "unreadable": self.unreadable}


def find_mentions(project: Project, user_id: str, progress: Callable[[int], None] = lambda _: None) -> Mentions:
    """Look for a user in every file under the data root and on this machine, and in the files' names.

    ``progress`` hears each file. Text that nobody has any more is looked for, too: it may be of a user whose id stands
    nowhere.
    """
    search = UserIdSearch(user_id, project.lake.user_ids_like(user_id))
    in_lance = UserIdSearch(user_id, project.lake.user_ids_like(user_id), glued=True)
    mentions = Mentions()
    for path, name in _paths(project):
        count = search.count(path.name)
        try:
            if path.is_dir() and path.suffix == ".lance":
                count += sum(search.count(text) for text in _lance_texts(path, search))
            elif path.is_file():
                mentions.files += 1
                count += (in_lance if path.suffix == ".lance" else search).in_file(path)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except Exception as error:  # whatever is wrong with a file, the others are still looked into
            mentions.unreadable.append(f"{name}: {type(error).__name__}: {str(error)[:200]}")
        if count:
            mentions.counts[name] = count
        progress(1)
    mentions.counts |= OrphanedText(project, user_id).count()
    if project.settings.postgres_url is not None:
        in_postgres = count_in_postgres(project.settings.postgres_url.get_secret_value(), search)
        mentions.counts |= {f"PostgreSQL: {place}": count for place, count in in_postgres.items()}
    return mentions


def _paths(project: Project) -> Iterator[tuple[Root, str]]:
    """Yield all that is below the data root, and below the folder of what is on this machine, each with its name."""
    roots: dict[str, Root] = {str(root): root for root in (project.settings.data, project.settings.local_data)}
    for root in roots.values():
        for path in sorted(paths_below(root), key=str):
            yield path, str(PurePath(str(path)).relative_to(str(root)))


def _lance_texts(path: Root, user_search: UserIdSearch) -> Iterator[str]:
    """Return the strings that may name the user of every version of a LanceDB table that can still be opened."""
    import lancedb
    import pyarrow as pa

    table: Any = lancedb.connect(str(path.parent)).open_table(path.stem)
    names = [name for name in table.schema.names if pa.types.is_string(table.schema.field(name).type)]
    for version in table.list_versions():
        table.checkout(version["version"])
        for name in set(names) & set(table.schema.names):
            for spelled in user_search.spelled:
                literal = spelled.replace("'", "''")
                rows = table.search().where(f"contains({name}, '{literal}')").select([name]).limit(None)
                yield from rows.to_arrow()[name].to_pylist()
