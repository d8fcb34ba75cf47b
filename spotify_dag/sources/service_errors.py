"""Everything that can go wrong with a web service that listening is read from, by name. No message holds a secret."""

from __future__ import annotations

from spotify_dag.errors import SpotifyDagError
from spotify_dag.sources.base import ResumeLaterError, SourceError


class ServiceError(SpotifyDagError):
    """A service did not give what was asked for."""


class RateLimitedError(ServiceError, ResumeLaterError):
    """The service, or the budget of this installation, allows no request for now."""


class QuotaExhaustedError(RateLimitedError):
    """The quota is spent: asking again before then is pointless."""


class NotPermittedError(ServiceError, SourceError):
    """Not for this installation, or this user. ``said`` is the service's own word for it, where there was one."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


class GoneError(ServiceError):
    """The service knows no such thing, or no more."""


class MalformedError(ServiceError):
    """An answer that cannot be understood."""


class UnreachableError(ServiceError):
    """No answer: no connection, too slow, or the service is out of order."""
