"""Everything that can go wrong with Spotify, by name. No message ever holds a token or a secret."""

from __future__ import annotations

import math
import textwrap
import time
from typing import TYPE_CHECKING

from spotify_dag.sources import service_errors

if TYPE_CHECKING:
    import requests

_WINDOW = 30.0
"""Seconds over which Spotify counts requests."""
_DAY = 86_400.0
_LONGEST_LIMIT = 7 * _DAY


class SpotifyError(service_errors.ServiceError):
    """Spotify did not give what was asked for."""


class RateLimitedError(SpotifyError, service_errors.RateLimitedError):
    """Spotify, or the budget of this installation, allows no request for now."""


class QuotaExhaustedError(RateLimitedError, service_errors.QuotaExhaustedError):
    """The quota of the developer account is spent: asking again before then is pointless."""


class NotPermittedError(SpotifyError, service_errors.NotPermittedError):
    """Not for this app, or this login. ``said`` is Spotify's own word for it, where there was one."""


class GoneError(SpotifyError, service_errors.GoneError):
    """Spotify knows no such thing, or no more."""


class WrongItemsError(SpotifyError):
    """Spotify does not take what it was to write."""


class MalformedError(SpotifyError, service_errors.MalformedError):
    """An answer that cannot be understood."""


class UnreachableError(SpotifyError, service_errors.UnreachableError):
    """No answer: no connection, too slow, or Spotify is out of order."""


class LoginExpiredError(SpotifyError):
    """A login has ended. The message says whose, and how to log in again."""


PREMIUM_WANTED = (
    "Spotify wants the owner of the app to have Spotify Premium (status 403), as is so for all apps in development "
    "mode. Id and secret are right: subscribe with the account that owns the app, or use another app"
)


def wants_premium(answer: str) -> bool:
    """Return whether an answer of status 403 says that the owner of the app needs Premium."""
    return "premium" in answer[:10_000].lower()


def shortened(line: str, width: int) -> str:
    """Return a line of at most so many characters, cut between words where it has any."""
    if len(line) <= width:
        return line
    whole = textwrap.shorten(line, width, placeholder="")
    return f"{whole or line[:width]} …"


def limit_of(response: requests.Response, attempt: int = 0) -> RateLimitedError:
    """Return what an answer with status 429 means: until when, and whether the quota is spent.

    Where it does not say until when, the wait doubles with every attempt, up to the window over which Spotify counts.
    """
    try:
        seconds = float(response.headers.get("Retry-After", ""))
    except ValueError:
        seconds = math.nan
    quota = "QUOTA_EXCEEDED" in response.text[:10_000]
    if not math.isfinite(seconds):
        seconds = _DAY if quota else min(2.0**attempt, _WINDOW)
    seconds = min(max(seconds, 0.5), _LONGEST_LIMIT)
    if quota:
        return QuotaExhaustedError(time.time() + seconds, "Spotify's quota for this app is spent (QUOTA_EXCEEDED).")
    return RateLimitedError(time.time() + seconds, f"Spotify allows no request for {seconds:,.0f} s (status 429).")
