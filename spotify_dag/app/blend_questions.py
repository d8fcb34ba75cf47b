"""One list for several people, where each of them may be shown, or proves who they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field

from spotify_dag.app.problems import AppError
from spotify_dag.tracks.blend_answers import FEWEST_PEOPLE, MOST_PEOPLE, BlendWish, Name

if TYPE_CHECKING:
    from spotify_dag.app.snapshot import Snapshot
    from spotify_dag.project import Project


class BlendRequest(BlendWish):
    """Who it is for, and how it shall be."""

    users: list[Name] = Field(min_length=FEWEST_PEOPLE, max_length=MOST_PEOPLE, description="User ids, in any order")


class BlendPerson(BaseModel):
    """One of the people."""

    user_id: str
    satisfaction: float = Field(description="0 to 1; 1 is the best list of this length for them alone")


class BlendReason(BaseModel):
    """Somebody a track is there for."""

    user_id: str
    why: str


class BlendTrack(BaseModel):
    """A track of a blend."""

    track_id: str
    catalogue_number: int
    track_name: str | None
    artist_name: str | None
    album_name: str | None
    release_year: int | None
    popularity: float | None = Field(description="0 to 100")
    genres: list[str] | None
    seconds: int = Field(description="Its length; 210 where nobody knows")
    known_by: list[str]
    why: list[str] = Field(description="The same as `for`, as text")
    told: list[BlendReason] = Field(alias="for")


class BlendAnswer(BaseModel):
    """One list for several people."""

    tracks: list[BlendTrack]
    people: list[BlendPerson]
    least: float = Field(description="Satisfaction of the least satisfied person")
    mean: float
    minutes: float
    known: float = Field(description="Share of tracks that one of them has")


class BlendQuestions:
    """Blends of users that this client may be told of.

    Parameters
    ----------
    project
        The data root.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._blends = project.blends

    def blended(self, request: BlendRequest, snapshot: Snapshot, proven: Iterable[str]) -> dict[str, Any]:
        """Return one list for users.

        Raises
        ------
        UnknownUserError
            If one of them is not known, or not shown to this client.
        """
        if self._project.track_index.table is None:
            raise AppError(404, "There are no tracks here. The operator can add some: spotify-dag run.")
        for user in request.users:
            snapshot.person(user, shown=user not in proven)
        return self._blends.blended(request.users, BlendWish(**request.model_dump(exclude={"users"})))
