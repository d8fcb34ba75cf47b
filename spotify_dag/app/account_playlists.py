"""Lists of tracks as playlists of the account of somebody who has logged in and agreed to that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from spotify_dag.app.heavy_work import HeavyWork
from spotify_dag.app.identity import Session
from spotify_dag.app.problems import AppError
from spotify_dag.playlists_out.into_spotify import MOST_TRACKS, add_playlist
from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.spotify_errors import NotPermittedError

AGREE = "Log in and agree at /login?playlists=true."
LONGEST_WAIT, LONGEST_CALL = 5.0, 10.0
"""Seconds for a limit of Spotify and for one call: somebody waits for the answer, and can ask again."""


class NewPlaylist(BaseModel):
    """A list of tracks that is to be a playlist."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=500)
    tracks: list[Annotated[str, Field(max_length=200)]] = Field(
        min_length=1, max_length=MOST_TRACKS, description="Track ids, URIs or URLs, in order"
    )


class AccountPlaylists:
    """Adds playlists to accounts.

    Parameters
    ----------
    settings
        Of the installation.
    """

    def __init__(self, settings: Settings) -> None:
        hurried = {
            "spotify_deadline": min(settings.spotify_deadline, LONGEST_CALL),
            "spotify_max_wait": min(settings.spotify_max_wait, LONGEST_WAIT),
        }
        self.work = HeavyWork(at_once=2, waiting=20)
        self._settings = settings.model_copy(update=hurried)
        self._under_way: set[str] = set()
        self._lock = Lock()

    @property
    def available(self) -> bool:
        """Whether people can log in here, and so have an account to add to."""
        return bool(self._settings.spotify_client_id)

    def add(self, asked: NewPlaylist, session: Session | None) -> dict[str, Any]:
        """Make a list a playlist, or complete the one that it is already.

        Raises
        ------
        AppError
            If nobody has logged in, they did not agree to this, or it is under way.
        SpotifyError
            If it is not complete; the next call goes on.
        """
        if not self._settings.spotify_client_id:
            raise AppError(404, "This app is not connected to Spotify. Take the list with you as a file.")
        if session is None:
            raise AppError(401, f"Only you can add a playlist to your account. {AGREE}")
        if session.adding is None:
            raise AppError(403, f"You have not agreed that playlists are added to your account. {AGREE}")
        with self._alone(session.user_id):
            try:
                seconds = 0.7 * self._settings.app_request_seconds
                made = add_playlist(self._settings, session.user_id, session.adding, asked.title, asked.tracks, seconds)
            except NotPermittedError as error:
                raise AppError(403, f"{error} {AGREE}") from None
        return {
            "playlist_id": made.playlist_id, "url": made.url, "title": made.title, "tracks": made.tracks,
            "added": made.added, "left_out": made.left_out,
        }  # fmt: skip

    @contextmanager
    def _alone(self, user_id: str) -> Iterator[None]:
        with self._lock:
            if user_id in self._under_way:
                raise AppError(409, "A playlist is being added to your account. Ask again when it is there.")
            self._under_way.add(user_id)
        try:
            yield
        finally:
            self._under_way.discard(user_id)
