"""Upkeep of LanceDB tables, step by step: small fragments are joined, versions dropped, single fragments written anew.

LanceDB's own ``optimize`` does all at once and makes fragments of a million rows. A row can leave the disk only with
its fragment, so fragments are kept small here. The library is Lance's own, which LanceDB is made of.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from types import ModuleType
from typing import TYPE_CHECKING

from spotify_dag.root import Root

if TYPE_CHECKING:
    from lance import LanceDataset, Session

FRAGMENT_ROWS = 1 << 15
"""Fragments with fewer rows are joined. So many rows, or little more, are written anew where one of them must go."""


def opened(table: Root, version: int | None = None, session: Session | None = None) -> LanceDataset:
    """Return a version of a table, ``NAME.lance``, else the newest; ``session`` has in memory what was read before."""
    return _lance().dataset(str(table), version=version, session=session)


def new_session() -> Session:
    """Return where Lance keeps in memory what it read of tables that are `opened` with it."""
    return _lance().Session()


def _lance() -> ModuleType:
    # Of parts of an index that get no new row, Lance warns one by one.
    os.environ.setdefault("LANCE_LOG", "error")
    import lance

    return lance


def data_files(table: Root) -> list[str]:
    """Return the names of the files with the rows of the newest version."""
    return sorted({file.path for fragment in opened(table).get_fragments() for file in fragment.metadata.files})


def small_fragments(table: Root) -> int:
    """Return how many fragments of the newest version are so small that they are joined."""
    return sum(fragment.metadata.physical_rows < FRAGMENT_ROWS for fragment in opened(table).get_fragments())


def join_fragments(table: Root) -> None:
    """Join small fragments, and write fragments anew where a tenth or more is deleted."""
    opened(table).optimize.compact_files(target_rows_per_fragment=FRAGMENT_ROWS)


def fold_in(table: Root) -> None:
    """Take rows that came since into the indexes of a table."""
    opened(table).optimize.optimize_indices()


def drop_versions(table: Root, keep: timedelta) -> None:
    """Delete versions older than ``keep``, with the files that only they need and those of killed writers.

    There is no other writer meanwhile.
    """
    opened(table).cleanup_old_versions(older_than=keep, delete_unverified=True)


def fragments_naming(table: Root, column: str, value: str) -> list[int]:
    """Return the fragments with a row that has a value in a column, also where the row was deleted."""
    literal = value.replace("'", "''")
    # Fragment by fragment: rows that were deleted come without an address.
    return [
        fragment.fragment_id
        for fragment in opened(table).get_fragments()
        if fragment.scanner(
            columns=[column], filter=f"{column} = '{literal}'", with_row_id=True, include_deleted_rows=True
        ).to_table().num_rows
    ]  # fmt: skip


def rewrite_fragments(table: Root, fragments: Iterable[int]) -> None:
    """Write some fragments anew without the rows that were deleted; indexes lose these rows, too."""
    dataset, chosen = opened(table), set(fragments)
    others = [fragment.fragment_id for fragment in dataset.get_fragments() if fragment.fragment_id not in chosen]
    dataset.optimize.compact_files(
        target_rows_per_fragment=FRAGMENT_ROWS, materialize_deletions_threshold=0.0, excluded_fragment_ids=others
    )
