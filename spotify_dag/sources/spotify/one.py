"""One user, read from Spotify at once for an answer, into a mirror that is thrown away afterwards."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spotify_dag.settings import Settings
from spotify_dag.sources.base import Batch
from spotify_dag.sources.spotify import SpotifySource
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.spotify_errors import GoneError
from spotify_dag.sources.spotify.store import Database, Ledger, Mirror, database_path
from spotify_dag.sources.spotify.sync import Sweep
from spotify_dag.sources.spotify.tokens import Logins, Tokens
from spotify_dag.tombstones import Tombstones

MOST_PLAYLISTS = 300
"""Playlists read for one answer: each costs a request, and the requests of a day are shared by everybody."""


@dataclass(frozen=True)
class OneUser(SpotifySource):
    """A source of one user. What it asks Spotify for counts in the ledger of the installation like everything else."""

    ledger: Ledger | None = None
    forgotten: bool = False
    """Whether the user was forgotten, and it is not they who ask."""

    def batches(self) -> Iterator[Batch]:
        """Yield the user.

        Raises
        ------
        GoneError
            Of somebody who was forgotten, in the words for somebody who is not at Spotify; Spotify is not asked.
        """
        if self.forgotten:
            (user_id,), _ = self._listed()
            raise GoneError(f"Spotify does not know the playlists of '{user_id}' (status 404).")
        yield from super().batches()

    def _sweep(self, database: Database, mirror: Mirror) -> Sweep:
        settings = self.settings
        return Sweep(
            SpotifyClient(settings, self.ledger or Ledger(database, settings.spotify_daily_budget), Tokens(settings)),
            mirror,
            logins=list(Logins(settings).all()),
            app=settings.spotify_client_secret is not None,
            playlists_count=settings.playlists_count,
            followed=settings.spotify_followed,
            threads=2 * settings.spotify_concurrency,
        )


@contextmanager
def one_user(
    settings: Settings, user_id: str, token: Mapping[str, Any] | None = None, *, folder: Path | None = None
) -> Iterator[OneUser]:
    """Give the source of one user; nothing of it is left when the block ends.

    Parameters
    ----------
    settings
        Of the installation: which app, and its limits.
    user_id
        Who.
    token
        What a login of that user has given; None to read what is public.
    folder
        Where it is kept meanwhile; None for the system's.
    """
    forgotten = token is None and user_id in Tombstones(settings.data)
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="spotify-dag-") as scratch,
        closing(Database(database_path(settings))) as shared,
    ):
        most = min(settings.playlists_count or MOST_PLAYLISTS, MOST_PLAYLISTS)
        own = settings.model_copy(update={"data": Path(scratch), "local": None, "playlists_count": most})
        if token is not None:
            Logins(own).keep(user_id, dict(token), time.time())
        listed = Path(scratch) / "user.txt"
        listed.write_text(user_id)
        ledger = Ledger(shared, settings.spotify_daily_budget)
        yield OneUser(own, str(listed), ledger=ledger, forgotten=forgotten)
