"""What is stored of one user, for the user: an overview, and all of it to take away."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from spotify_dag.features.genres import artist_key
from spotify_dag.lifecycle.change_preferences import preferences_answer
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.schemas import (
    LISTENING_MONTHS,
    RAW_PLAYLISTS,
    REJECTS,
    USER_EMBEDDINGS,
    USER_TASTES,
    USERS,
    WEEKLY_PLAYLISTS,
    Table,
    user_buckets,
)
from spotify_dag.sources.spreadsheet_cells import harmless
from spotify_dag.stores.preferences import LEFT_OUT, Preference, keys_of
from spotify_dag.tracks.catalogue_rows import track_identity

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project

MOST_OFFERED = 30
"""Names of a kind that are offered to be left out."""
TABLES = (USERS, RAW_PLAYLISTS, LISTENING_MONTHS, REJECTS, USER_TASTES, USER_EMBEDDINGS, WEEKLY_PLAYLISTS)
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
    columns = ("playlist_position", "playlist_name", "track_id", "track_name", "artist_name")
    items = _rows(project, RAW_PLAYLISTS, user_id).select(columns).collect()
    playlists = items.group_by("playlist_position", "playlist_name").len("items").sort("playlist_position")
    distinct = {"tracks": track_identity().drop_nulls(), "artists": artist_key(pl.col("artist_name")).drop_nulls()}
    index = project.matcher.index()[0] if project.published() else None
    said = preferences_answer(project, user_id)
    return {
        "user_id": user_id,
        "source": about[0]["source"] if about else (waiting[0].source if waiting else None),
        "fetched_at": about[0]["fetched_at"].isoformat() if about else None,
        "opted_in": about[0]["opted_in"] if about else waiting[0].opted_in if waiting else False,
        "every_week": user_id in project.inbox.weekly.users(),
        "card": user_id in project.inbox.cards.users(),
        "waits_in_inbox": bool(waiting),
        "in_index": bool(index and index.vectors([user_id])),
        "rows": rows,
        **items.select(**{name: values.n_unique() for name, values in distinct.items()}).to_dicts()[0],
        "playlists": playlists.select("items", name="playlist_name").to_dicts(),
        "preferences": said["preferences"],
        "items_left_out": said["items_left_out"],
    }


def what_counts(project: Project, user_id: str) -> dict[str, list[tuple[str, bool]]]:
    """Return what a user may leave out, by kind: names, and whether each is left out; those that are come first."""
    import polars as pl

    said = [preference for preference in project.preferences.of(user_id) if preference.kind in LEFT_OUT]
    weighed = _rows(project, USER_TASTES, user_id).sort("weight", "name", descending=[True, False])
    tastes = weighed.select("kind", "name").collect()
    lists = _rows(project, RAW_PLAYLISTS, user_id).sort("playlist_position").select(
        pl.coalesce("playlist_name", "playlist_id")
    )  # fmt: skip
    offered = [
        Preference(kind, name) for kind in ("artist", "genre") for name in _first(tastes.filter(kind=kind)["name"])
    ]
    offered += [Preference("playlist", name) for name in _first(lists.collect().to_series())]
    keys, left_out = dict(zip(keys_of([*said, *offered]), [*said, *offered], strict=True)), set(keys_of(said))
    return {
        kind: [(it.name, key in left_out) for key, it in keys.items() if it.kind == kind] for kind in LEFT_OUT
    }  # fmt: skip


def _first(names: pl.Series) -> list[str]:
    return [str(name) for name in names.unique(maintain_order=True).head(MOST_OFFERED)]


def everything(project: Project, user_id: str) -> dict[str, list[dict[str, Any]]]:
    """Return every row of a user, by table; under ``inbox`` what is not in the tables yet; and ``preferences``."""
    tables = {table.name: _rows(project, table, user_id).collect().to_dicts() for table in TABLES}
    said = [asdict(preference) for preference in project.preferences.of(user_id)]
    return tables | {"inbox": _waiting(project, user_id).to_dicts(), "preferences": said}


def as_csv(project: Project, user_id: str) -> str:
    """Return the playlist items of a user as CSV that no spreadsheet takes for formulas."""
    import polars as pl

    rows, waiting = _rows(project, RAW_PLAYLISTS, user_id).collect(), _waiting(project, user_id)
    here = [name for name in rows.columns if name in waiting.columns]
    items = pl.concat([rows, waiting.select(here)], how="diagonal_relaxed").sort("playlist_position", "position")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(items.columns)
    writer.writerows([harmless(cell) if isinstance(cell, str) else cell for cell in row] for row in items.iter_rows())
    return text.getvalue()


def _waiting(project: Project, user_id: str) -> pl.DataFrame:
    """Return the listening that a user handed in and that no run has taken in yet: ``source, requested_at`` and items.

    What a file had before stays in the tables until then.
    """
    import polars as pl

    requests = project.inbox.requests
    about = _rows(project, USERS, user_id).select("fetched_at").collect()
    taken_in = max(about["fetched_at"].to_list(), default=None)
    frames = [pl.DataFrame(schema={"user_id": pl.String})]
    for request in requests.of(user_id):
        if taken_in is not None and request.requested_at <= taken_in:
            continue
        file = requests.content / request.content
        with suppress(FileNotFoundError):  # replaced meanwhile
            items = pl.read_parquet(io.BytesIO(file.read_bytes())).filter(pl.col("reason").is_null())
            named = pl.lit(request.source).alias("source"), pl.lit(request.requested_at).alias("requested_at")
            frames.append(items.with_columns(*named))
    return pl.concat(frames, how="diagonal").unique(maintain_order=True)


def _rows(project: Project, table: Table, user_id: str) -> pl.LazyFrame:
    import polars as pl

    return project.lake.scan(table, user_buckets([user_id], project.lake.n_buckets)).filter(
        pl.col("user_id") == user_id
    )
