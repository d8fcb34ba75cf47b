"""Which requests of a browser a server on this machine may answer.

Other pages make a browser send requests to addresses that only this machine can reach: directly, or by a name of their
own that suddenly means 127.0.0.1 (DNS rebinding). Such a request has a foreign ``Origin`` or ``Host``.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}


def is_own_host(host: str, server: str | None, *urls: str | None) -> bool:
    """Return whether a ``Host`` header names this server.

    Parameters
    ----------
    host
        The header.
    server
        Address at which the connection came in.
    urls
        Where else people reach the server.
    """
    name = _name(f"//{host}")
    others = {_name(url) for url in urls if url}
    return name is not None and (name in LOOPBACK_NAMES or name == server or name in others)


def is_own_page(headers: Mapping[str, str], *urls: str | None) -> bool:
    """Return whether a request comes from a page of this server, or from no page at all.

    Parameters
    ----------
    headers
        Of the request, names in lower case. Only browsers send ``Origin`` and ``Sec-Fetch-Site``.
    urls
        Where else people reach the server.
    """
    own = {headers.get("host", ""), *(urlsplit(url).netloc for url in urls if url)}
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc not in own:
        return False
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
