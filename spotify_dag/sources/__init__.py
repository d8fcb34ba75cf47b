"""Sources of listening, one module each, all yielding the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from spotify_dag.settings import Settings
from spotify_dag.sources.base import RequestSource, RequestSourceName, Source, SourceError, UserRequest

SOURCES = ("synthetic", "lastfm", "mpd", "spotify-songs", "spotify")
REQUEST_SOURCES: tuple[RequestSourceName, ...] = get_args(RequestSourceName)


def open_source(name: str, options: Mapping[str, Any], settings: Settings) -> Source:
    """Open a source by name.

    Parameters
    ----------
    name
        One of `SOURCES`.
    options
        ``path`` of the files, the parameters of the synthetic world (``users, seed, playlists, tracks``), or for
        Spotify the ``path`` of the list of users and when it was ``asked`` for.
    settings
        Of the installation: who may ask Spotify, and how often.

    Raises
    ------
    SourceError
        If there is no such source, an option is missing or not one of its own, or it cannot be read.
    """
    if name in REQUEST_SOURCES:
        raise SourceError(f"Source '{name}' takes one user at a time. Hand them in with: spotify-dag add")
    if name not in SOURCES:
        raise SourceError(f"Unknown source '{name}'. Choose one of: {', '.join(SOURCES)}.")
    allowed = {"synthetic": ("users", "seed", "playlists", "tracks"), "spotify": ("path", "asked")}.get(name, ("path",))
    if strange := sorted(options.keys() - set(allowed)):
        raise SourceError(f"Source '{name}' has no option {', '.join(strange)}. It has: {', '.join(allowed)}.")
    if name == "synthetic":
        from spotify_dag.sources.synthetic import SyntheticSource

        return SyntheticSource(**options)
    if name == "spotify":
        from spotify_dag.sources.spotify import SpotifySource

        return SpotifySource(settings, options.get("path"), options.get("asked", 0))
    if not options.get("path"):
        raise SourceError(f"Source '{name}' reads files: say where they are with --path PATH.")
    path = Path(options["path"])
    if name == "lastfm":
        from spotify_dag.sources.lastfm import LastfmSource

        return LastfmSource(path)
    if name == "spotify-songs":
        from spotify_dag.sources.spotify_songs import SpotifySongsSource

        return SpotifySongsSource(path)
    from spotify_dag.sources.mpd import MpdSource

    return MpdSource(path)


def open_requests(name: str, requests: Sequence[UserRequest], content: Path) -> RequestSource:
    """Open one of `REQUEST_SOURCES` with its users; ``content`` is the folder of the listening that they name."""
    from spotify_dag.sources.export.kept import ExportSource

    return {"export": ExportSource}[name](tuple(requests), content)
