"""Search, continuation, and lists for people, where this data root has tracks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.app.problems import AppError
from spotify_dag.tracks.blend_answers import FEWEST_PEOPLE, MOST_PEOPLE, Blends, BlendWish, Name
from spotify_dag.tracks.listeners import Listeners, Listening
from spotify_dag.tracks.track_answers import shown
from spotify_dag.tracks.tracks_for import NEAR, SuggestWish, TracksFor
from spotify_dag.tracks.weekly_lists import read_weekly_list

if TYPE_CHECKING:
    from spotify_dag.app.snapshot import Snapshot
    from spotify_dag.project import Project

MOST_SEEDS = 1_000
LAST_YEAR = 3_000


class TrackSearch(BaseModel):
    """What to search for among the tracks."""

    q: str = Field("", max_length=1_000, description="Title, artist, album, or what it is about")
    k: int = Field(10, ge=1, le=100, description="Number of songs")
    genre: str | None = Field(None, max_length=200)
    from_year: int = Field(0, ge=0, le=LAST_YEAR)
    to_year: int = Field(LAST_YEAR, ge=0, le=LAST_YEAR)
    explicit: bool | None = None


class Continuation(BaseModel):
    """What to continue, and how."""

    model_config = ConfigDict(extra="forbid")

    tracks: list[Annotated[str, Field(max_length=200)]] = Field(
        default_factory=list, max_length=MOST_SEEDS, description="Track ids, URIs or URLs, in order"
    )
    title: str | None = Field(None, max_length=500, description="Title of the playlist")
    mood: str | None = Field(None, max_length=500, description="How it should sound: calm acoustic evening")
    count: int = Field(20, ge=1, le=100)
    popularity: float = Field(0.0, ge=-1, le=1, description="-1: rather unknown tracks; 1: rather popular ones")
    diversity: float = Field(0.0, ge=0, le=1)


class BlendRequest(BlendWish):
    """Who a list is for, and how it shall be."""

    users: list[Name] = Field(min_length=FEWEST_PEOPLE, max_length=MOST_PEOPLE, description="User ids, in any order")


class Tracks:
    """Answers about tracks.

    Parameters
    ----------
    project
        The data root.
    """

    def __init__(self, project: Project) -> None:
        # One for all requests: it holds the model that serves, and follows it.
        self._answers = project.track_answers
        self.use(project)

    def use(self, project: Project) -> None:
        """Read the listening of users from a data root, which was divided otherwise before."""
        self._project = project
        self._listeners = Listeners(project.lake, project.preferences)
        self._blends = Blends(self._answers, self._listeners)
        self._for = TracksFor(self._answers, self._listeners)

    def available(self) -> bool:
        """Return whether there are tracks to be found."""
        return self._project.track_index.table is not None

    def search(self, asked: TrackSearch) -> dict[str, Any]:
        """Return the ``tracks`` that a text names or means, best first."""
        from spotify_dag.tracks.text_search import Filters

        self.must_be_there()
        # Without either year, tracks of no known year are found, too.
        years = None if (asked.from_year, asked.to_year) == (0, LAST_YEAR) else (asked.from_year, asked.to_year)
        filters = Filters(genre=asked.genre, years=years, explicit=asked.explicit)
        return {"tracks": self._answers.search(asked.q, asked.k, filters)}

    def listed(self, track_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the tracks of the catalogue among these, in order."""
        self.must_be_there()
        rows = self._answers.index.rows(track_ids)
        return [shown(rows[track]) for track in track_ids if track in rows]

    def continued(self, request: Continuation, proven: Iterable[str] = ()) -> dict[str, Any]:
        """Return how a playlist goes on: ``recommendations``, ``seeds`` and ``unknown``.

        What is not for a user that the client has proven to be is not among them.
        """
        from spotify_dag.tracks.track_answers import ContinueRequest

        self.must_be_there()
        said = [it for user in proven for it in self._project.preferences.of(user)]
        not_for_me = [it.name for it in said if it.kind == "not-for-me"]
        return self._answers.continued(ContinueRequest(**request.model_dump()), not_for_me)

    def suggested(self, user_id: str, wish: SuggestWish, snapshot: Snapshot) -> dict[str, Any]:
        """Return tracks that a user does not have; for that user alone."""
        self.must_be_there()
        near = snapshot.matches(snapshot.person(user_id, shown=False), NEAR, limit=1)
        return self._for.suggested(user_id, wish, [match.user_id for match in near])

    def weekly(self, user_id: str, week: str | None) -> dict[str, Any]:
        """Return the list of a week that was made for a user; for that user alone."""
        self.must_be_there()
        return read_weekly_list(self._project.lake, self._answers, user_id, week)

    def blended(self, request: BlendRequest, snapshot: Snapshot, proven: Iterable[str]) -> dict[str, Any]:
        """Return one list for users that this client may be told of.

        Raises
        ------
        UnknownUserError
            If one of them is not known, or not shown to this client.
        """
        self.must_be_there()
        for user in request.users:
            snapshot.person(user, shown=user not in proven)
        return self._blends.blended(request.users, BlendWish(**request.model_dump(exclude={"users"})))

    def blend_of(
        self, users: Sequence[str], wish: BlendWish, guests: Sequence[tuple[str, Listening]]
    ) -> dict[str, Any]:
        """Return one list for users and guests; who asks may be told of them."""
        self.must_be_there()
        return self._blends.blended(users, wish, guests)

    def known(self, listening: Listening, most: int) -> Listening:
        """Return what the model knows of what somebody listens to, at most ``most`` tracks and artists."""
        self.must_be_there()
        return listening.known(self._answers.loaded(), most)

    def known_of(self, user_id: str) -> int:
        """Return how many tracks of a user of the lake the model knows.

        Raises
        ------
        ListenerError
            If there is no such user.
        AppError
            If nothing they listen to is known, so that no list can be made by it.
        """
        self.must_be_there()
        (listener,) = self._listeners.of([user_id], self._answers.loaded())
        if not len(listener.artists):
            raise AppError(422, f"Nothing that '{user_id[:80]}' listens to is among the tracks here.")
        return len(listener.tracks)

    def must_be_there(self) -> None:
        """Return if there are tracks.

        Raises
        ------
        AppError
            If not.
        """
        if not self.available():
            raise AppError(404, "There are no tracks here. The operator can add some: spotify-dag run.")
