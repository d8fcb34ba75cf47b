"""Bring the mirror up to date with Spotify: who listens to which playlists, and what is on those that changed.

The work is many small calls. They run on a few threads; one thread decides what is asked next and writes down what came
back, a whole playlist or a whole user at a time. So a sweep that is stopped at any moment is gone on with by the next.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.items import FIELDS, PAGE, Listing, read_items, read_listing
from spotify_dag.sources.spotify.spotify_errors import (
    PREMIUM_WANTED,
    GoneError,
    MalformedError,
    NotPermittedError,
    RateLimitedError,
    SpotifyError,
    UnreachableError,
)
from spotify_dag.sources.spotify.store import Content, ListedPlaylist, Mirror, MirroredUser

MOST_PLAYLISTS = 10_000
"""Playlists of one user that are looked through."""
MOST_ITEMS = 11_000
"""Items of one playlist that are read: Spotify allows 10,000 (11,000 in old ones)."""
TRIES = 3
"""Times that a call which failed in passing is put back in the queue, on top of the client's own retries."""
OUT_OF_ORDER = 8
"""Calls in a row without any answer after which Spotify is taken to be out of order."""
ENOUGH_ARTISTS = 40
"""Artists asked for one by one after which it is clear whether this app is told genres at all."""
TRY_AGAIN_SECONDS = 300.0
OTHERS_REFUSED = (
    "Spotify does not permit this app to read other users' playlists ({said}), as is so for all apps in development "
    "mode. It can read what users own who log in: spotify-dag login. Others can hand in an export of their "
    "data: spotify-dag add FILE --as NAME"
)
OTHERS_NOT_FOUND = (
    "Spotify answers 404 for every other user, also for those who are there: this app can no longer read other users' "
    "playlists. What was known stays. Users who log in are read: spotify-dag login"
)
KNOWN_USER = "spotify"
"""A user who is always there."""
PROBES = 3
"""Users who were there before that are asked for, to see whether anybody is found."""
_ARTIST = FIELDS.index("artist_id")
log = logging.getLogger(__name__)


@dataclass
class _User:
    user_id: str
    login: str | None
    chosen: list[Listing] = field(default_factory=list)
    fetching: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)
    returned_id: str | None = None
    """How Spotify writes the id: it finds ``Anna`` as well as ``anna``."""
    nothing: str | None = None
    """Why there is no playlist to count."""


class _Listed(NamedTuple):
    """The playlists of a user that count, and why there are none."""

    chosen: list[Listing]
    nothing: str | None


@dataclass
class _Task:
    """A call, or several in a row, for one of the threads; ``done`` runs on the deciding thread."""

    call: Callable[[], Any]
    done: Callable[[Any], None]
    failed: Callable[[SpotifyError], None]
    tries: int = 0


class Sweep:
    """One pass over users. It stops at a limit, which is then in `stopped`, and keeps what it has until then.

    Parameters
    ----------
    client, mirror
        Where things come from, and go.
    logins
        Users who have logged in: read as themselves, with what they share with nobody.
    app
        Whether the app may ask by itself; else other users are asked for in the name of a login.
    playlists_count
        At most this many playlists per user; None for all.
    followed
        Count playlists a user follows, too.
    threads
        Calls at one time. More of them than requests may be open, so that one asks while another reads its answer.
    """

    def __init__(
        self, client: SpotifyClient, mirror: Mirror, *, logins: Sequence[str], app: bool, playlists_count: int | None,
        followed: bool, threads: int,
    ) -> None:  # fmt: skip
        self.client = client
        self.mirror = mirror
        self._own_logins = {login.casefold(): login for login in logins}
        self.fallback = None if app else min(logins, default=None)
        self.playlists_count = playlists_count
        self.followed = followed
        self.threads = threads
        self.stopped: ResumeLaterError | None = None
        self.failures: list[SpotifyError] = []
        self.read = 0
        """Users with playlists that were listed."""
        self._gone: list[str] = []
        self._asked_for_others = False
        self._others_read = 0
        self._others_refused: str | None = None
        self._single_artists = False
        self._unanswered = 0
        self._queue: deque[_Task] = deque()

    def users(self, user_ids: Sequence[str]) -> None:
        """Look at users, and fetch those of their playlists that changed; not at all once stopped."""
        if self.stopped is not None:
            return
        for user_id in user_ids:
            login = self._own_logins.get(user_id.casefold(), self.fallback)
            self._add_user(_User(user_id, login))
            if not self._is_own(user_id, login) and not self._asked_for_others:
                # Alone: if this one is refused, all of them would be.
                self._asked_for_others = True
                self._work()
        self._work()
        self._settle_gone()

    def artists(self, before: float) -> None:
        """Ask for the artists that were not asked for since ``before``."""
        due = self.mirror.artists_due(before)
        if self.stopped is None and due:
            parts = [due[start : start + PAGE] for start in range(0, len(due), PAGE)]
            self._add_artists(parts[0])
            self._work()
            if self._single_artists:
                self._artists_one_by_one(due)
            else:
                for part in parts[1:]:
                    self._add_artists(part)
                self._work()

    @staticmethod
    def _is_own(user_id: str, login: str | None) -> bool:
        """Return whether a user is read with their own login."""
        return login is not None and login.casefold() == user_id.casefold()

    def _settle_gone(self) -> None:
        """Mark the users that Spotify does not know any more; what was known of them stays for a while.

        Unless nobody else could be read in this way: then not the users have gone, but the way to ask for them.
        """
        if self._gone and self.stopped is None and (self._others_read or self._finds_anybody()):
            for mirrored in self.mirror.users(self._gone):
                problem = "Spotify does not know this user, or no more."
                self.mirror.put_user(
                    replace(mirrored, problem=problem, gone_since=mirrored.gone_since or time.time()), 0
                )
            self._gone.clear()

    def _finds_anybody(self) -> bool:
        """Ask for users who are known to be there; where none is found, note that nobody can be asked for."""
        for user_id in dict.fromkeys([*self.mirror.some_users(PROBES, without=self._gone), KNOWN_USER]):
            try:
                self.client.playlists(user_id, 0, self.fallback)
            except GoneError:
                continue
            except SpotifyError as error:
                _warn(error)
                return False
            return True
        self._others_refused = OTHERS_NOT_FOUND
        self.failures.append(NotPermittedError(OTHERS_NOT_FOUND))
        for user in self.mirror.users(self._gone):
            self.mirror.put_user(replace(user, problem=OTHERS_NOT_FOUND), 0)
        self._gone.clear()
        return False

    def _add_user(self, user: _User) -> None:
        self._queue.append(
            _Task(lambda: self._listed(user), lambda listed: self._plan(user, listed), lambda e: self._give_up(user, e))
        )

    def _listed(self, user: _User) -> _Listed:
        if self._others_refused is not None and not self._is_own(user.user_id, user.login):
            raise NotPermittedError(self._others_refused)
        listings: dict[str, Listing] = {}
        offset = listed = 0
        while offset < MOST_PLAYLISTS:
            page = self.client.playlists(user.user_id, offset, user.login)
            for listing in filter(None, map(read_listing, page.entries)):
                listed += 1
                if self._counts(user, listing):
                    listings.setdefault(listing.playlist_id, listing)
            offset = page.following
            if page.last or (self.playlists_count is not None and len(listings) >= self.playlists_count):
                break
        chosen = list(listings.values())[: self.playlists_count]
        return _Listed(chosen, None if chosen or not listed else f"{listed} playlists, none of their own")

    def _counts(self, user: _User, listing: Listing) -> bool:
        """Return whether a playlist counts for a user.

        Raises
        ------
        MalformedError
            If that cannot be known: without its owner a user's own playlist would be taken for a followed one.
        """
        if self.followed or listing.collaborative:
            return True
        if listing.owner is None:
            raise MalformedError(
                f"Spotify's answer about the playlists of '{user.user_id}' is malformed: playlist "
                f"'{listing.playlist_id}' has no owner."
            )
        if listing.owner.casefold() != user.user_id.casefold():
            return False
        user.returned_id = listing.owner
        return True

    def _plan(self, user: _User, listed: _Listed) -> None:
        """Queue the playlists that are not in the mirror as they are now."""
        listings, user.nothing = listed.chosen, listed.nothing
        if user.returned_id not in (None, user.user_id):
            self.mirror.rename(user.user_id, user.returned_id)
            user.user_id = user.returned_id
        self.read += 1
        self._others_read += not self._is_own(user.user_id, user.login)
        user.chosen = listings
        playlists = [listing.playlist_id for listing in listings]
        present = self.mirror.snapshots(playlists)
        changed = {
            listing.playlist_id
            for listing in listings
            if present.get(listing.playlist_id) is None or present[listing.playlist_id] != listing.snapshot_id
        }
        before = {entry.playlist_id for owner in self.mirror.users([user.user_id]) for entry in owner.playlists}
        if changed or before != set(playlists):
            # Items that were dropped for their age are needed again, as a user is made of all of their playlists.
            changed |= self.mirror.dropped(playlists)
        for listing in listings:
            if listing.playlist_id in changed:
                user.fetching.add(listing.playlist_id)
                # Before any other user is begun: what is finished cannot be lost.
                self._queue.appendleft(self._fetching(user, listing))
        self._finish(user)

    def _fetching(self, user: _User, listing: Listing) -> _Task:
        def done(content: Content) -> None:
            artists = (row[_ARTIST] for row in content.rows if row[_ARTIST])
            self.mirror.put_playlist(listing.playlist_id, listing.snapshot_id, content, artists)
            failed(None)

        def failed(error: SpotifyError | None) -> None:
            if error is not None:
                user.problems[listing.playlist_id] = str(error)
            user.fetching.discard(listing.playlist_id)
            self._finish(user)

        return _Task(lambda: self._content(listing.playlist_id, user.login), done, failed)

    def _content(self, playlist_id: str, login: str | None) -> Content:
        # A playlist that changes while it is read is fetched again by the next sweep: its snapshot_id is another.
        entries: list[Any] = []
        offset = 0
        while offset < MOST_ITEMS:
            page = self.client.items(playlist_id, offset, login)
            entries += page.entries
            offset = page.following
            if page.last:
                break
        return Content(*read_items(entries))

    def _finish(self, user: _User) -> None:
        if not user.fetching:
            playlists = [
                ListedPlaylist(listing.playlist_id, listing.name, user.problems.get(listing.playlist_id))
                for listing in user.chosen
            ]
            self.mirror.put_user(MirroredUser(user.user_id, playlists, user.nothing), time.time())

    def _give_up(self, user: _User, error: SpotifyError) -> None:
        """Note why a user could not be listed; what was known of them stays."""
        own = self._is_own(user.user_id, user.login)
        if isinstance(error, GoneError) and not own:
            self._gone.append(user.user_id)
        if isinstance(error, NotPermittedError) and error.said and not own and not self._others_read:
            # One is enough: asking for everybody else would spend the quota on the same answer.
            premium = str(error) == PREMIUM_WANTED
            self._others_refused = PREMIUM_WANTED if premium else OTHERS_REFUSED.format(said=error.said)
            error = NotPermittedError(self._others_refused)
        self.failures.append(error)
        mirrored = next(iter(self.mirror.users([user.user_id])), MirroredUser(user.user_id, [], None))
        # As of never: the next sweep looks again.
        self.mirror.put_user(replace(mirrored, problem=str(error)), 0)

    def _add_artists(self, ids: list[str]) -> None:
        def failed(error: SpotifyError) -> None:
            if isinstance(error, NotPermittedError):
                self._single_artists = True
            else:
                _warn(error)

        def done(answered: list[tuple[str, str | None, list[str] | None]]) -> None:
            # Artists that are missing in the answer have been asked for, too.
            self.mirror.put_artists([(artist, None, None) for artist in ids])
            self.mirror.put_artists(answered)

        self._queue.append(_Task(lambda: self.client.artists(ids, self.fallback), done, failed))

    def _artists_one_by_one(self, due: list[str]) -> None:
        """Ask for artists singly, those of most items first, and stop where genres are not told anyway."""
        with_genres = 0

        def asking(asked: str) -> _Task:
            def done(answered: tuple[str, str | None, list[str] | None]) -> None:
                nonlocal with_genres
                with_genres += bool(answered[2])
                self.mirror.put_artists([(asked, *answered[1:])])

            return _Task(lambda: self.client.artist(asked, self.fallback), done, _warn)

        for start in range(0, len(due), ENOUGH_ARTISTS):
            self._queue.extend(map(asking, due[start : start + ENOUGH_ARTISTS]))
            self._work()
            if not with_genres:
                log.warning("Spotify tells this app no genres: no more artists are asked for.")
            if self.stopped is not None or not with_genres:
                return

    def _work(self) -> None:
        """Run the queue until it is empty, or a limit is hit."""
        running: dict[Future[Any], _Task] = {}
        with ThreadPoolExecutor(self.threads, thread_name_prefix="spotify") as pool:
            try:
                while running or (self._queue and self.stopped is None):
                    # One more than there are threads: none of them waits while this one writes.
                    while self._queue and self.stopped is None and len(running) <= self.threads:
                        task = self._queue.popleft()
                        running[pool.submit(task.call)] = task
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._settle(running.pop(future), future)
            except BaseException:
                self.client.stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _settle(self, task: _Task, future: Future[Any]) -> None:
        try:
            result = future.result()
        except RateLimitedError as error:
            self._stop(error)
        except (MalformedError, UnreachableError) as error:
            self._unanswered = self._unanswered + 1 if isinstance(error, UnreachableError) else 0
            task.tries += 1
            if self._unanswered >= OUT_OF_ORDER:
                self._stop(RateLimitedError(time.time() + TRY_AGAIN_SECONDS, f"Spotify is out of order: {error}"))
            elif task.tries < TRIES:
                self._queue.append(task)
            elif self.stopped is None:
                task.failed(error)
        except SpotifyError as error:
            self._unanswered = 0
            task.failed(error)
        else:
            self._unanswered = 0
            task.done(result)

    def _stop(self, error: RateLimitedError) -> None:
        # Of several the last to pass: calls that were under way may have been told another time.
        if self.stopped is None or error.at > self.stopped.at:
            self.stopped = error
        self.client.stop()


def _warn(error: SpotifyError) -> None:
    log.warning("%s", error)
