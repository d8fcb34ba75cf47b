"""Sources of listening, one module each, all yielding the same records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from spotify_dag.errors import SpotifyDagError
from spotify_dag.root import Root
from spotify_dag.settings import Settings
from spotify_dag.sources.base import Source, SourceError
from spotify_dag.sources.handed_in import Requests, RequestSource, RequestSourceName

if TYPE_CHECKING:
    from spotify_dag.sources.listed_users import ListedUsersSource
    from spotify_dag.sources.user_mirror import UserMirror

SOURCES = ("synthetic", "lastfm", "mpd", "spotify-songs", "spotify", "listenbrainz", "listenbrainz-dump", "lastfm-api")
LISTED_SOURCES = ("spotify", "listenbrainz", "lastfm-api")
"""Sources whose users an operator lists, and that are read from a web service."""
REQUEST_SOURCES: tuple[RequestSourceName, ...] = get_args(RequestSourceName)


def open_source(name: str, options: Mapping[str, Any], settings: Settings) -> Source:
    """Open a source by name.

    Parameters
    ----------
    name
        One of `SOURCES`.
    options
        ``path`` of the files, the parameters of the synthetic world (``users, seed, playlists, tracks``), or for
        a web service the ``path`` of the list of users and when it was ``asked`` for.
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
    options_of: dict[str, tuple[str, ...]] = {"synthetic": ("users", "seed", "playlists", "tracks")}
    allowed = options_of.get(name, ("path", "asked") if name in LISTED_SOURCES else ("path",))
    if strange := sorted(options.keys() - set(allowed)):
        raise SourceError(f"Source '{name}' has no option {', '.join(strange)}. It has: {', '.join(allowed)}.")
    if name == "synthetic":
        from spotify_dag.sources.synthetic import SyntheticSource

        return SyntheticSource(**options)
    if name in LISTED_SOURCES:
        return _open_listed(name, options, settings)
    if not options.get("path"):
        raise SourceError(f"Source '{name}' reads files: say where they are with --path PATH.")
    return _open_files(name, Path(options["path"]), settings)


def _open_listed(name: str, options: Mapping[str, Any], settings: Settings) -> Source:
    path, asked = options.get("path"), options.get("asked", 0)
    if name == "spotify":
        from spotify_dag.sources.spotify import SpotifySource

        return SpotifySource(settings, path, asked)
    return listed_source(name)(settings, path, asked)


def _open_files(name: str, path: Path, settings: Settings) -> Source:
    if name == "lastfm":
        from spotify_dag.sources.lastfm import LastfmSource

        return LastfmSource(path)
    if name == "listenbrainz-dump":
        from spotify_dag.sources.listenbrainz.dump import ListenBrainzDump

        return ListenBrainzDump(path, settings)
    if name == "spotify-songs":
        from spotify_dag.sources.spotify_songs import SpotifySongsSource

        return SpotifySongsSource(path)
    from spotify_dag.sources.mpd import MpdSource

    return MpdSource(path)


def listed_source(name: str) -> type[ListedUsersSource]:
    """Return the class of a source of listed users, of every service but Spotify."""
    from spotify_dag.sources.lastfm_api import LastfmApiSource
    from spotify_dag.sources.listenbrainz import ListenBrainzSource

    sources: dict[str, type[ListedUsersSource]] = {"listenbrainz": ListenBrainzSource, "lastfm-api": LastfmApiSource}
    return sources[name]


@contextmanager
def listed_mirrors(settings: Settings) -> Iterator[list[UserMirror]]:
    """Give what is kept of listed users, of every service but Spotify; closed when the block ends."""
    from spotify_dag.sources.user_mirror import UserMirror

    files = [
        file for name in LISTED_SOURCES if name != "spotify" for file in (settings.local_data / name).glob("*.sqlite")
    ]
    with ExitStack() as stack:
        mirrors = [UserMirror.open(file) for file in sorted(files)]
        for mirror in mirrors:
            stack.callback(mirror.close)
        yield mirrors


def meant_by(source: str, line: str) -> str | None:
    """Return the id of the user that a line of a list of a source names, None where it names nobody."""
    from spotify_dag.sources.spotify.names import parse_user

    with suppress(SpotifyDagError):
        return parse_user(line) if source == "spotify" else listed_source(source).parse_user(line)[0]
    return None


def open_requests(name: str, requests: Requests, content: Root) -> RequestSource:
    """Open one of `REQUEST_SOURCES` with its users; ``content`` is the folder of the listening that they name."""
    from spotify_dag.sources.export.kept import ExportSource

    return {"export": ExportSource}[name](requests, content)
