"""The connections of the app: so many of one client, so many in all, and none that never says what it wants.

uvicorn waits for ever for the end of a request's head, and takes as many connections as there are file descriptors.
"""

from __future__ import annotations

import os
import resource
from collections import Counter
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

HEADER_SECONDS = 10.0
"""The longest that the head of a request may take."""
FILES = 65_536
"""File descriptors that are asked for; tables, models and uploads need some beside the connections."""


class Connections:
    """The open connections of one server.

    Parameters
    ----------
    per_client, most
        At most so many of one address, and in all.
    proxies
        Addresses that many clients come from: only ``most`` is for them.
    """

    def __init__(self, per_client: int, most: int, proxies: frozenset[str] = frozenset()) -> None:
        self.per_client = per_client
        self.most = most
        self.proxies = proxies
        self._of: Counter[str] = Counter()
        self._waiting: dict[LimitedProtocol, None] = {}
        """Those whose request is not known yet, the one that waits longest first."""

    def admit(self, connection: LimitedProtocol) -> bool:
        """Count a new connection; return whether it may stay. Of too many in all, the idlest makes room."""
        address = connection.address
        if not self.proxies & {address, "*"} and self._of[address] >= self.per_client:
            return False
        if self._of.total() >= self.most:
            idlest = next(iter(self._waiting), None)
            if idlest is None:
                return False
            idlest.end()
        self._of[address] += 1
        return True

    def wait_for(self, connection: LimitedProtocol, waiting: bool) -> None:
        """Note whether a connection has a request under way."""
        self._waiting.pop(connection, None)
        if waiting:
            self._waiting[connection] = None

    def forget(self, connection: LimitedProtocol) -> None:
        """Count a connection no more."""
        self._waiting.pop(connection, None)
        self._of[connection.address] -= 1
        if not self._of[connection.address]:
            del self._of[connection.address]

    def protocol(self) -> type[LimitedProtocol]:
        """Return the protocol that keeps these limits, for uvicorn."""
        return type("LimitedProtocol", (LimitedProtocol,), {"open": self})


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    open: Connections
    address = ""
    _counted = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or close it again."""
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._counted = self.open.admit(self)
        if self._counted:
            self._await_head()
        else:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of a connection."""
        self._head_is_there()
        if self._counted:
            self._counted = False
            self.open.forget(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; what is no part of a request that is under way has to become one in time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._deadline is None and (self.cycle is None or self.cycle.response_complete):
            self._await_head()

    def on_headers_complete(self) -> None:
        """Begin with a request."""
        self._head_is_there()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, as long as uvicorn keeps the connection alive."""
        super().on_response_complete()
        if self._counted and self.cycle.response_complete and not self.transport.is_closing():
            self.open.wait_for(self, True)

    def end(self) -> None:
        """Close the connection at once."""
        if self._counted:
            self._counted = False
            self.open.forget(self)
        self.transport.abort()

    def _await_head(self) -> None:
        self._deadline = self.loop.call_later(HEADER_SECONDS, self.end)
        self.open.wait_for(self, True)

    def _head_is_there(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if self._counted:
            self.open.wait_for(self, False)


def raise_file_limit() -> int:
    """Allow this process as many file descriptors as it may have; return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return limit
    return FILES if soft == resource.RLIM_INFINITY else soft


def trusted_proxies() -> frozenset[str]:
    """Return the addresses whose ``X-Forwarded-For`` uvicorn believes."""
    return frozenset(os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1").replace(" ", "").split(","))
