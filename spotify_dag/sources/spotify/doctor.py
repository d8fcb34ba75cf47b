"""What this installation can get from Spotify, found by asking: modes of apps change, and have done so often."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.client import SpotifyClient
from spotify_dag.sources.spotify.spotify_errors import GoneError, NotPermittedError, RateLimitedError, SpotifyError
from spotify_dag.sources.spotify.store import DAY, Database, Ledger, Mirror, database_path
from spotify_dag.sources.spotify.sync import KNOWN_USER
from spotify_dag.sources.spotify.tokens import LOGIN_DAYS, Tokens, service

KNOWN_ARTIST = "4Z8W4fKeB5YxbusRsdQVPb"
"""Asked for where nothing is known yet. That a simulator has neither says as much: it may be asked."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    able: bool | None
    """None: not found out."""
    detail: str


def examine(settings: Settings) -> dict[str, Any]:
    """Return what can be read: ``findings``, ``logins``, ``limit``, requests of the last day, the mirror's counts.

    Makes about four requests, and two for each login. Raises nothing: what fails is a finding.
    """
    with closing(Database(database_path(settings))) as database:
        ledger, mirror = Ledger(database, settings.spotify_daily_budget), Mirror(database)
        tokens = Tokens(settings)
        client = SpotifyClient(settings, ledger, tokens)
        logins = tokens.logins.all().values()
        able = [login.user_id for login in logins if login.ended is None]
        asking_as = None if settings.spotify_client_secret else min(able, default=None)
        limit = _failing(ledger.check)
        findings = []
        if limit is None and settings.spotify_client_id and (settings.spotify_client_secret or able):
            user, artist = mirror.any_user() or KNOWN_USER, mirror.any_artist() or KNOWN_ARTIST
            findings = [
                _find("Public playlists of any user", lambda: client.playlists(user, 0, asking_as)),
                _find("Artists, 50 at a time", lambda: client.artists([artist], asking_as)),
                _find("Artists, one at a time", lambda: client.artist(artist, asking_as)),
            ]
            findings += [
                _find(f"Own playlists of '{user_id}'", partial(client.playlists, user_id, 0, user_id))
                for user_id in able
            ]
        report = {
            "service": service(settings),
            "api_url": settings.spotify_api_url,
            "client_id": settings.spotify_client_id,
            "client_secret": settings.spotify_client_secret is not None,
            "findings": [asdict(finding) for finding in findings],
            "logins": [
                {
                    "user_id": login.user_id,
                    "ended": login.ended,
                    "until": datetime.fromtimestamp(login.logged_in_at + LOGIN_DAYS * DAY, UTC).date().isoformat(),
                    "days_left": round((login.logged_in_at - time.time()) / DAY + LOGIN_DAYS),
                }
                for login in logins
            ],
            "limit": str(limit or _failing(ledger.check) or "") or None,
            "requests_in_24_hours": ledger.spent(),
            "budget": settings.spotify_daily_budget,
            "mirror": mirror.counts(),
        }
        client.stop()
    return report


def _find(what: str, ask: Callable[[], Any]) -> Finding:
    try:
        ask()
    except GoneError:
        return Finding(what, True, "allowed; what was asked for does not exist")
    except NotPermittedError as error:
        return Finding(what, False, error.said or str(error))
    except RateLimitedError as error:
        return Finding(what, None, str(error))
    except SpotifyError as error:
        return Finding(what, None, str(error))
    return Finding(what, True, "")


def _failing(check: Callable[[], None]) -> SpotifyError | None:
    try:
        check()
    except SpotifyError as error:
        return error
    return None
