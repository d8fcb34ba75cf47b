"""Which user of ListenBrainz is meant: by profile URL or name. ListenBrainz takes no notice of case."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from spotify_dag.errors import SpotifyDagError

PREFIX = "listenbrainz-"
"""What ids of its users begin with: the names of two services may be equal."""
EXAMPLE = "https://listenbrainz.org/user/rob, listenbrainz:rob or rob"
LONGEST = 64
_PROFILE = re.compile(r"(?i)(?:https?:/{1,2})?(?:www\.|beta\.)?listenbrainz\.org(?=/)")


class ListenBrainzNameError(SpotifyDagError):
    """That names no user. The message shows what would."""


def names_profile(text: str) -> bool:
    """Return whether a text means a user of ListenBrainz and no other service: by URL, prefix or id."""
    name = text.strip()
    return bool(_PROFILE.match(name) or re.match(r"(?i)listenbrainz:|listenbrainz-", name))


def parse_name(text: str) -> str:
    """Return the name of the user that a profile URL, ``listenbrainz:NAME``, an id of this project or a name means.

    Raises
    ------
    ListenBrainzNameError
        If ``text`` is anything else; what it may be is shown by example.
    """
    name = text.strip()
    if match := _PROFILE.match(name):
        path = urlsplit("https://listenbrainz.org" + name[match.end() :]).path
        profile = re.match(r"/user/([^/]+)(?:/|$)", path)
        name = unquote(profile[1]) if profile else ""
    elif name.lower().startswith("listenbrainz:"):
        name = name.partition(":")[2].strip()
    elif name.lower().startswith(PREFIX):
        name = unquote(name[len(PREFIX) :])
    if not 0 < len(name) <= LONGEST or not name.isprintable() or re.search(r"[/\\]|^\.+$", name):
        raise ListenBrainzNameError(f"{text.strip()[:80]!r} names no user of ListenBrainz. Give one like {EXAMPLE}.")
    return name


def user_id_of(name: str) -> str:
    """Return the id of a user of ListenBrainz in this project: the same for every spelling of the name."""
    return PREFIX + re.sub(r"[%\s]", lambda match: quote(match[0]), name.lower())
