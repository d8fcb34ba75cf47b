"""Look at one user of ListenBrainz: one request where nothing changed, and only what is new where something did.

A first read goes back from the newest listen, a page at a time, and each page is kept as it comes. Later looks ask for
what is newer than the newest known listen. The answer also has that listen itself, or it was deleted: then all are read
anew. A listen deleted further back, or imported there, shows in the number of listens. That is asked for with new
listens, and in place of them every fourth look, as are the loved and hated tracks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from spotify_dag.sources.listenbrainz.client import PAGE, ListenBrainzClient, Page
from spotify_dag.sources.listenbrainz.listens import HATED, LISTENS, LOVED, count_listens, merged, no_counts
from spotify_dag.sources.user_mirror import MirroredUser, UserMirror

if TYPE_CHECKING:
    import polars as pl

UNDER_WAY = "listens under way"
"""Kind of the parts of a read that is not at its end: what was read before stands until then."""
MOST_LISTENS = 100_000
"""Single listens read of a user: a hundred requests."""
MOST_ARTISTS = 10_000
MOST_FEEDBACK = 5_000
MBID_LENGTH = 36
COUNT_TURN, FEEDBACK_TURN, TURNS = 3, 7, 8
"""At which looks of eight the number of listens, and the feedback, is asked for."""


@dataclass
class State:
    """How far a user was read."""

    by_artist: bool = False
    """Whether statistics are read in place of listens."""
    newest: int | None = None
    """All listens up to this second are read."""
    keys: list[str] = field(default_factory=list)
    """The listens of that second."""
    count: int | None = None
    """How many listens there were, in ListenBrainz' own words, when they were read."""
    updated: int | None = None
    """When the statistics that were read had been computed."""
    cursor: int | None = None
    """Of a read under way: all listens after this second, and of it those of ``cursor_keys``, are read."""
    cursor_keys: list[str] = field(default_factory=list)
    top: int | None = None
    """Of a read under way: the second it began at."""
    top_keys: list[str] = field(default_factory=list)
    listens_read: int = 0
    """Of a read under way."""
    only_new: bool = False
    """Whether a read under way ends at ``newest``, and what it finds is added to what was read before."""
    note: str | None = None
    """What is to be said of the user, as that they are read in part."""

    @property
    def under_way(self) -> bool:
        """Whether a read is not at its end."""
        return self.cursor is not None


@dataclass(frozen=True)
class Reader:
    """Looks at users, and writes down what there is.

    Parameters
    ----------
    client, mirror
        Where things come from, and go.
    artists_only
        Read the statistics of everybody: faster, and without tracks.
    """

    client: ListenBrainzClient
    mirror: UserMirror
    artists_only: bool = False
    most_listens: int = MOST_LISTENS
    """Single listens read of a user; those with more are read by their statistics, where there are any."""

    def look(self, user: MirroredUser) -> None:
        """Bring a user up to date.

        Raises
        ------
        ServiceError
            What was read until then is kept, and gone on with.
        """
        state = State(**user.state) if user.state else None
        few = state is not None and (state.count or 0) <= self.most_listens
        if (
            state is None
            or (self.artists_only and not state.by_artist)
            or (state.by_artist and few and not self.artists_only)
        ):
            state = self._begin(user)
        if state.under_way:
            self._walk(user, state)
        elif state.by_artist:
            self._statistics(user, state)
        elif not self._is_unchanged(user, state):
            self._restart(user, state)

    def _begin(self, user: MirroredUser) -> State:
        """Begin to read a user: nothing is known of them."""
        count = self.client.listen_count(user.name)
        by_artist = self.artists_only or (
            count > self.most_listens and self.client.top_artists(user.name, 0) is not None
        )
        self._feedback(user)
        state = State(by_artist=by_artist, count=count)
        if not by_artist:
            state.cursor = _BEGINNING
        self._remember(user, state)
        return state

    def _restart(self, user: MirroredUser, state: State, *, only_new: bool = False) -> None:
        """Read all listens anew, or only the new ones; those that were read before stand until then."""
        if not only_new:
            state.count = self.client.listen_count(user.name)
        state.cursor, state.cursor_keys, state.listens_read, state.only_new = _BEGINNING, [], 0, only_new
        self._remember(user, state)
        self._walk(user, state)

    def _is_unchanged(self, user: MirroredUser, state: State) -> bool:
        """Add the listens that are new; return False if those that were read are not what there is any more."""
        turn = user.looks % TURNS
        if turn == FEEDBACK_TURN and not user.dropped:
            self._feedback(user)
        if turn == FEEDBACK_TURN or (turn == COUNT_TURN and self.client.listen_count(user.name) == state.count):
            self._finish(user, state)
            return True
        page = self.client.listens(user.name, min_ts=None if state.newest is None else state.newest - 1)
        if len(page.listens) >= PAGE and state.newest is not None and not user.dropped:
            self._restart(user, state, only_new=True)
            return True
        listens = _dated(page)
        deleted = not set(state.keys) <= {_key(listen) for listen in listens if listen["listened_at"] == state.newest}
        new = [listen for listen in listens if listen["listened_at"] != state.newest or _key(listen) not in state.keys]
        if deleted or (not new and turn == COUNT_TURN):
            return False
        if new:
            count = self.client.listen_count(user.name)
            if user.dropped or state.count is None or count != state.count + len(new):
                return False
            state.count = count
            state.newest = max(listen["listened_at"] for listen in listens)
            state.keys = [_key(listen) for listen in listens if listen["listened_at"] == state.newest]
        self._finish(user, state, new)
        return True

    def _walk(self, user: MirroredUser, state: State) -> None:
        """Go back from the newest listen to the oldest that is wanted, from where it was left."""
        while state.cursor is not None:
            # The second of the cursor again: a page may have ended in the middle of it.
            page = self.client.listens(user.name, max_ts=None if state.cursor == _BEGINNING else state.cursor + 1)
            listens = _dated(page)
            if state.cursor == _BEGINNING:
                state.top = max((listen["listened_at"] for listen in listens), default=None)
                state.top_keys = [_key(listen) for listen in listens if listen["listened_at"] == state.top]
            read_before: set[tuple[int | None, str]] = {(state.cursor, key) for key in state.cursor_keys}
            if state.only_new:
                read_before |= {(state.newest, key) for key in state.keys}
                listens = [listen for listen in listens if listen["listened_at"] >= (state.newest or 0)]
            new = [listen for listen in listens if (listen["listened_at"], _key(listen)) not in read_before]
            state.listens_read += len(new)
            if len(listens) < PAGE or state.listens_read >= self.most_listens:
                self._arrive(user, state, new)
                return
            oldest = min(listen["listened_at"] for listen in listens)
            same = state.cursor_keys if oldest == state.cursor else []
            if oldest == state.cursor and not new:
                oldest -= 1  # a page of one second, all of it read: what is left of that second cannot be asked for
            state.cursor_keys = [*same, *(_key(listen) for listen in new if listen["listened_at"] == oldest)]
            state.cursor = oldest
            with self.mirror.changing(user.user_id) as change:
                change.add(UNDER_WAY, count_listens(new))
                change.remember(asdict(state))

    def _arrive(self, user: MirroredUser, state: State, last: Sequence[Mapping[str, Any]]) -> None:
        """Put what a walk has read in the place of what was read before, or add it."""
        frames = [*self.mirror.parts(user.user_id, UNDER_WAY), count_listens(last)]
        if state.only_new:
            count = self.client.listen_count(user.name)
            if state.count is None or count != state.count + state.listens_read:
                self._restart(user, state)
                return
            state.count = count
            frames += self.mirror.parts(user.user_id, LISTENS)
        elif state.listens_read >= self.most_listens:
            state.note = f"{state.count:,} listens: the newest {state.listens_read:,} are read"
        counts = merged(frames)
        state.newest, state.keys = state.top, state.top_keys
        state.cursor, state.cursor_keys, state.top, state.top_keys = None, [], None, []
        state.listens_read, state.only_new = 0, False
        with self.mirror.changing(user.user_id) as change:
            change.clear(UNDER_WAY)
            change.replace(LISTENS, counts)
            change.finish(asdict(state), state.note, whole=True)
        self._want(counts)

    def _statistics(self, user: MirroredUser, state: State) -> None:
        """Read the artists of all time, where they were computed anew."""
        import polars as pl

        answer = self.client.top_artists(user.name, 0)
        if answer is None and state.updated is None:
            state.note = "ListenBrainz has not computed their statistics yet"
        if answer is None or (answer.updated == state.updated and not user.dropped):
            self._finish(user, state)
            return
        artists = list(answer.artists)
        while len(artists) < min(answer.total, MOST_ARTISTS):
            more = self.client.top_artists(user.name, len(artists))
            if more is None or not more.artists:
                break
            artists += more.artists
        rows = [
            (listen.get("artist_name"), listen.get("artist_mbid"), listen.get("listen_count")) for listen in artists
        ]
        schema = {"artists": pl.String, "artist_id": pl.String, "plays": pl.Int64}
        frame = pl.DataFrame(rows, schema=schema, orient="row", strict=False)
        counts = merged([pl.concat([no_counts(), frame], how="diagonal")])
        state.updated = answer.updated
        state.note = f"{state.count:,} listens: read as statistics of artists, without tracks"
        with self.mirror.changing(user.user_id) as change:
            change.replace(LISTENS, counts)
            change.finish(asdict(state), state.note, whole=True)
        self._want(counts)

    def _feedback(self, user: MirroredUser) -> None:
        """Read the loved and hated tracks."""
        frames = {}
        for kind, score in ((LOVED, 1), (HATED, -1)):
            entries: list[dict[str, Any]] = []
            total = 1
            while len(entries) < min(total, MOST_FEEDBACK):
                answer = self.client.feedback(user.name, score, len(entries))
                total = answer.total
                if not answer.entries:
                    break
                entries += answer.entries
            frames[kind] = count_listens(
                [listen for listen in entries if isinstance(listen.get("track_metadata"), dict)]
            )
        with self.mirror.changing(user.user_id) as change:
            for kind, frame in frames.items():
                change.replace(kind, frame)

    def _finish(self, user: MirroredUser, state: State, new: Sequence[Mapping[str, Any]] = ()) -> None:
        counts = count_listens(new) if new else None
        parts = self.mirror.parts(user.user_id, LISTENS) if counts is not None else []
        with self.mirror.changing(user.user_id) as change:
            if counts is not None:
                change.replace(LISTENS, merged([*parts, counts]))
            change.finish(asdict(state), state.note, whole=False)
        if counts is not None:
            self._want(counts)

    def _remember(self, user: MirroredUser, state: State) -> None:
        with self.mirror.changing(user.user_id) as change:
            change.clear(UNDER_WAY)
            change.remember(asdict(state))

    def _want(self, counts: pl.DataFrame) -> None:
        import polars as pl

        artists = counts.filter(pl.col("artist_id").str.len_bytes() == MBID_LENGTH)
        plays = artists.group_by("artist_id").agg(pl.col("plays").sum())
        self.mirror.want_artists(dict(plays.iter_rows()))


_BEGINNING = 2**62
"""A cursor after all listens."""


def _dated(page: Page) -> list[dict[str, Any]]:
    """Return the listens that say when they were."""
    return [listen for listen in page.listens if isinstance(listen.get("listened_at"), int)]


def _key(listen: Mapping[str, Any]) -> str:
    """Return what tells two listens of one second apart."""
    answer = listen.get("recording_msid")
    if isinstance(answer, str):
        return answer
    track: Any = listen.get("track_metadata")
    track = track if isinstance(track, dict) else {}
    return f"{track.get('artist_name')}|{track.get('track_name')}"
