"""Change what a user leaves out, says of tracks and asks for, and tell what that comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from spotify_dag.inbox.wishes import Wishes
from spotify_dag.lifecycle.forget import is_known
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.schemas import RAW_PLAYLISTS, USERS, buckets_of
from spotify_dag.stores.preferences import LEFT_OUT, Preference, PreferenceError
from spotify_dag.tracks.track_answers import track_reference

if TYPE_CHECKING:
    from spotify_dag.project import Project


def change_preferences(
    project: Project, user_id: str, add: Sequence[Preference] = (), remove: Sequence[Preference] = ()
) -> dict[str, Any]:
    """Change what a user said, in one step; return what `preferences_answer` does.

    Tracks may be ids, URIs or links.

    Raises
    ------
    UnknownUserError
        If there is no such user.
    PreferenceError
        If a preference cannot be, or if what the user listens to is not kept any more.
    """
    import polars as pl

    if not is_known(project, user_id):
        raise UnknownUserError(f"Nothing is stored of '{user_id[:80]}'. Add them with: spotify-dag add")
    add, remove = ([_by_id(preference) for preference in some] for some in (add, remove))
    about = project.lake.scan(USERS, buckets_of([user_id], project.lake.n_buckets)).filter(pl.col("user_id") == user_id)
    dropped = about.filter(pl.col("dropped_at").is_not_null()).collect().height > 0
    if dropped and any(preference.kind in LEFT_OUT for preference in (*add, *remove)):
        raise PreferenceError(
            f"What '{user_id[:80]}' listens to was dropped for its age, so nothing can be taken out of it. "
            "Hand it in again first: spotify-dag add"
        )
    project.preferences.change(user_id, add, remove)
    return preferences_answer(project, user_id)


def set_wish(project: Project, wishes: Wishes, user_id: str, wished: bool) -> None:
    """Let a user have what they ask for, or no more.

    Lists of Mondays go with the next run, a card at once.

    Raises
    ------
    UnknownUserError
        If nothing is stored of them that it could be made from.
    """
    if not wished:
        wishes.remove(user_id)
        return
    if not is_known(project, user_id):
        raise UnknownUserError(f"Nothing is stored of '{user_id[:80]}'. Add them with: spotify-dag add")
    wishes.wish(user_id)


def preferences_answer(project: Project, user_id: str) -> dict[str, Any]:
    """Return what a user said: ``preferences``; and how many ``items`` there are, and how many do not count."""
    import polars as pl

    lake = project.lake
    raw = lake.scan(RAW_PLAYLISTS, buckets_of([user_id], lake.n_buckets)).filter(pl.col("user_id") == user_id)
    counted = project.preferences.counted_of(lake, [user_id])
    items, left = (rows.select(pl.len()).collect().item() for rows in (raw, counted))
    return {
        "user_id": user_id,
        "preferences": [asdict(preference) for preference in project.preferences.of(user_id)],
        "items": items,
        "items_left_out": items - left,
    }


def _by_id(preference: Preference) -> Preference:
    if preference.kind in LEFT_OUT:
        return preference
    return Preference(preference.kind, track_reference(preference.name))
