"""What is stored of one user, for the user: an overview, and all of it to take away."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.schemas import (
    RAW_PLAYLISTS,
    REJECTS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    Table,
    user_buckets,
)

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project

TABLES = (USERS, RAW_PLAYLISTS, REJECTS, USER_TASTES, USER_EMBEDDINGS)
"""The tables with rows of one user."""


def overview(project: Project, user_id: str) -> dict[str, Any]:
    """Return what is stored of a user and where it came from.

    Raises
    ------
    UnknownUserError
        If nothing is.
    """
    import polars as pl

    waiting = [request for request in project.inbox.requests.waiting() if request.user_id == user_id]
    rows = {table.name: _rows(project, table, user_id).select(pl.len()).collect().item() for table in TABLES}
    if not any(rows.values()) and not waiting:
        raise UnknownUserError(f"Nothing is stored of '{user_id[:80]}'.")
    about = _rows(project, USERS, user_id).select("source", "fetched_at", "opted_in").collect().to_dicts()
    playlists = (
        _rows(project, RAW_PLAYLISTS, user_id)
        .group_by("playlist_position", "playlist_name")
        .agg(pl.len().alias("items"))
        .sort("playlist_position")
        .collect()
    )
    index = project.matcher.index()[0] if project.published() else None
    return {
        "user_id": user_id,
        "source": about[0]["source"] if about else (waiting[0].source if waiting else None),
        "fetched_at": about[0]["fetched_at"].isoformat() if about else None,
        "opted_in": about[0]["opted_in"] if about else waiting[0].opted_in if waiting else False,
        "waits_in_inbox": bool(waiting),
        "in_index": bool(index and index.vectors([user_id])),
        "rows": rows,
        "playlists": [
            {"name": name, "items": items} for name, items in playlists.select("playlist_name", "items").iter_rows()
        ],
    }


def everything(project: Project, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of a user, by table."""
    return {table.name: _rows(project, table, user_id).collect().to_dicts() for table in TABLES}


def as_csv(project: Project, user_id: str) -> str:
    """Return the playlist items of a user as CSV that no spreadsheet takes for formulas."""
    found = _rows(project, RAW_PLAYLISTS, user_id).sort("playlist_position", "position").collect()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(found.columns)
    writer.writerows([_harmless(cell) for cell in row] for row in found.iter_rows())
    return text.getvalue()


def _harmless(cell: Any) -> Any:
    """Return a cell with what makes it a formula put in front of by an apostrophe (OWASP, CSV Injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _rows(project: Project, table: Table, user_id: str) -> pl.LazyFrame:
    import polars as pl

    return project.lake.scan(table, user_buckets([user_id], project.lake.n_buckets)).filter(
        pl.col("user_id") == user_id
    )
