"""Sources of listening, one module each, all yielding the same records."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spotify_dag.sources.base import Source, SourceError

SOURCES = ("synthetic", "lastfm", "mpd", "spotify-songs")


def open_source(name: str, options: Mapping[str, Any]) -> Source:
    """Open a source by name.

    Parameters
    ----------
    name
        One of `SOURCES`.
    options
        ``path`` of the files, or the parameters of the synthetic world (``users, seed, playlists, tracks``).

    Raises
    ------
    SourceError
        If there is no such source, an option is missing or not one of its own, or it cannot be read.
    """
    if name not in SOURCES:
        raise SourceError(f"Unknown source '{name}'. Choose one of: {', '.join(SOURCES)}.")
    known = ("users", "seed", "playlists", "tracks") if name == "synthetic" else ("path",)
    if strange := sorted(options.keys() - set(known)):
        raise SourceError(f"Source '{name}' has no option {', '.join(strange)}. It has: {', '.join(known)}.")
    if name == "synthetic":
        from spotify_dag.sources.synthetic import SyntheticSource

        return SyntheticSource(**options)
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
