"""A list of tracks as a playlist of the user's own account.

A mark in its description, a digest of title and tracks, says which list a playlist is. So the same list asked for again
completes the same playlist, whatever ended the time before. No answer of Spotify is needed for that: a request that
seems to have failed may have been carried out, and what is there is read again before anything else is written.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from spotify_dag.playlists_out.track_list import UNTITLED, named
from spotify_dag.settings import Settings
from spotify_dag.sources.request_ledger import backoff
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.items import Listing, Page, read_listing, read_track_ids
from spotify_dag.sources.spotify.spotify_errors import (
    MalformedError,
    SpotifyError,
    UnreachableError,
    WrongItemsError,
)
from spotify_dag.sources.spotify.store import Database, Ledger, database_path
from spotify_dag.sources.spotify.tokens import GivenToken
from spotify_dag.sources.track_links import SPOTIFY_ID, TRACK_URI

MOST_TRACKS = 1_000
MOST_TITLE = 100
MOST_WRITTEN = 100
"""Tracks that Spotify takes in one request."""
MOST_LISTED = 2_000
"""Playlists of an account that are looked through for the mark, newest first."""
MOST_HELD = 11_000
"""Items of a playlist that are read: more than Spotify lets it have."""
MOST_REFUSED = 50
"""Tracks that Spotify does not know; with more there is something else wrong."""
ATTEMPTS = 6
"""Failures one after the other with which it ends."""
_UNSURE = (UnreachableError, MalformedError)
"""After these, what was to be written may have been written."""


@dataclass(frozen=True)
class Added:
    """A list that is in an account now."""

    playlist_id: str
    title: str
    tracks: int
    """How many of the list are in the playlist."""
    added: int
    """How many of them this call has put there."""
    left_out: list[str]
    """Ids that are none of Spotify's, and tracks that Spotify does not know."""

    @property
    def url(self) -> str:
        """Where the playlist is."""
        return f"https://open.spotify.com/playlist/{self.playlist_id}"


def add_playlist(
    settings: Settings, user_id: str, token: Mapping[str, Any], title: str, tracks: Sequence[str],
    seconds: float = 600.0,
) -> Added:  # fmt: skip
    """Make a private playlist of a list, or complete the one that this list has.

    What the user has changed in it since stays: it is read, and only what is missing is added, in order.

    Parameters
    ----------
    settings
        Which app, and its limits.
    user_id, token
        Who has logged in and agreed that playlists are added, and what that has given; it is kept nowhere.
    title
        Of the list.
    tracks
        Ids, URIs or links, at most `MOST_TRACKS`. Each is added once.
    seconds
        How long it may take. What is missing then, the next call adds.

    Raises
    ------
    SpotifyError
        If it is not complete. The message says why; the next call goes on.
    """
    given = [match[1] if (match := re.fullmatch(TRACK_URI, track.strip())) else track for track in tracks]
    known = [track for track in dict.fromkeys(given) if re.fullmatch(SPOTIFY_ID, track)]
    foreign = [track for track in dict.fromkeys(given) if not re.fullmatch(SPOTIFY_ID, track)]
    title = (named(title) or UNTITLED)[:MOST_TITLE]
    if not known:
        raise WrongItemsError(f"'{title}' has no track of Spotify: none of its {len(foreign):,} ids is one of theirs.")
    with closing(Database(database_path(settings))) as database:
        ledger = Ledger(database, settings.spotify_daily_budget)
        client = SpotifyClient(settings, ledger, GivenToken(settings, token["access_token"]))
        writing = _Writing(client, user_id, title, known, time.monotonic() + seconds)
        playlist = writing.playlist()
        added = writing.complete(playlist)
    there = len(known) - len(writing.refused)
    return Added(playlist, title, there, added, foreign + writing.refused)


@dataclass
class _Writing:
    """One list on its way into an account."""

    client: SpotifyClient
    user_id: str
    title: str
    tracks: list[str]
    end: float
    """A time of the monotonic clock."""
    refused: list[str] = field(default_factory=list)
    """Tracks that Spotify does not take."""
    failures: int = 0
    """One after the other, so far."""

    def playlist(self) -> str:
        """Return the id of the playlist of this list; it is made if there is none."""
        digest = hashlib.blake2b("\n".join([self.title, *self.tracks]).encode(), digest_size=8).hexdigest()
        mark = f"spotify_dag list {digest}"
        while True:
            for listing in map(read_listing, _all(self._listed, MOST_LISTED)):
                if listing is not None and mark in listing.description and self._is_own(listing):
                    return listing.playlist_id
            try:
                return self.client.make_playlist(self.title, f"Made with {mark}", self.user_id)
            except _UNSURE as error:
                self._failed(error)

    def _is_own(self, listing: Listing) -> bool:
        """Return whether a playlist is the user's: others may have copied the mark."""
        # Where a list does not say whose it is: Spotify lets nobody but its owner write to it.
        return listing.owner == self.user_id or (listing.owner is None and not listing.collaborative)

    def complete(self, playlist: str) -> int:
        """Add what is missing, in order; return how many tracks were added."""
        before = set(held := self._held(playlist))
        most = MOST_WRITTEN
        while write := self._next(held, most):
            if time.monotonic() > self.end:
                raise UnreachableError(f"There was no time for all of '{self.title}'. Ask again: what is there stays.")
            remove, position, tracks = write
            try:
                if remove:
                    self.client.remove_items(playlist, tracks, self.user_id)
                else:
                    self.client.add_items(playlist, tracks, position, self.user_id)
            except WrongItemsError:
                # One that Spotify does not know refuses all that are sent with it.
                most = max(1, len(tracks) // 2)
                self.refused += tracks if len(tracks) == 1 else []
                if len(self.refused) > MOST_REFUSED:
                    raise
                held = self._held(playlist)  # or somebody has made it shorter meanwhile
            except _UNSURE as error:
                self._failed(error)
                held = self._held(playlist)
            else:
                self.failures, most = 0, min(MOST_WRITTEN, 2 * most)
                if remove:
                    held = [track for track in held if track not in tracks]
                else:
                    held[position:position] = tracks
        return len(set(self.tracks) - before - set(self.refused))

    def _next(self, held: list[str | None], most: int) -> tuple[bool, int, list[str]] | None:
        """Return the next change: whether to remove, from which position on, which tracks; None if all is well."""
        counts = Counter(held)
        if repeated := [track for track in self.tracks if counts[track] > 1]:
            # Written after all, later than it was waited for. Where a track is twice, it is added again in its place.
            return True, 0, repeated[:MOST_WRITTEN]
        possible = [track for track in self.tracks if track not in self.refused]
        place = next((place for place, track in enumerate(possible) if not counts[track]), None)
        if place is None:
            return None
        missing = list(takewhile(lambda track: not counts[track], possible[place : place + most]))
        position = held.index(possible[place - 1]) + 1 if place else 0
        return False, position, missing

    def _failed(self, error: SpotifyError) -> None:
        """Count a failure, and wait a little.

        Raises
        ------
        SpotifyError
            If it was the last one.
        """
        self.failures += 1
        pause = backoff(self.failures)
        if self.failures >= ATTEMPTS or time.monotonic() + pause > self.end:
            raise error
        time.sleep(pause)

    def _held(self, playlist: str) -> list[str | None]:
        return read_track_ids(list(_all(lambda offset: self.client.items(playlist, offset, self.user_id), MOST_HELD)))

    def _listed(self, offset: int) -> Page:
        return self.client.playlists(self.user_id, offset, self.user_id)


def _all(page_at: Callable[[int], Page], most: int) -> Iterator[Any]:
    """Yield the entries of all pages, up to the one that reaches ``most``."""
    page = page_at(0)
    yield from page.entries
    while not page.last and page.following < most:
        page = page_at(page.following)
        yield from page.entries
