"""``--format``, ``--out`` and ``--to-spotify``: what commands share whose answer is a list of tracks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from spotify_dag.console import err
from spotify_dag.files import write_atomically
from spotify_dag.playlists_out.forms import FormError, FormName, form_of, written
from spotify_dag.playlists_out.track_list import TrackList
from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.login import PORT

FormatOption = Annotated[
    FormName | None, typer.Option("--format", help="Give the list as a file of this form.", show_default=False)
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write the list to this file; its ending says the form.", show_default=False),
]
AccountOption = Annotated[
    bool,
    typer.Option("--to-spotify", help="Add the list to an account at Spotify. You log in for it, and agree."),
]


@dataclass(frozen=True)
class Leaving:
    """How a list is asked for that is to leave."""

    form: FormName | None
    out: Path | None
    account: bool

    def give(self, settings: Settings, title: str, answers: Sequence[Mapping[str, Any]], port: int = PORT) -> None:
        """Write a list of answers to an account or a file, else to standard output; ``port`` is that of a login."""
        tracks = TrackList.of_answers(title, answers)
        if self.account:
            _add(settings, tracks, port)
        elif self.out is None:
            sys.stdout.buffer.write(written(tracks, self.form or "csv"))
            sys.stdout.buffer.flush()
        else:
            write_atomically(self.out, written(tracks, self.form or form_of(self.out)))
            err.print(f"{len(tracks.tracks):,} tracks are in {self.out}.")


def leaving(as_json: bool, form: FormName | None, out: Path | None, account: bool) -> Leaving | None:
    """Return how a list is to leave; None where it is only to be shown.

    Raises
    ------
    FormError
        If it is asked for in several ways, or the name of the file does not say the form.
    """
    if form is None and out is None and not account:
        return None
    if as_json:
        raise FormError("--json is an answer for programs, --format, --out and --to-spotify are a playlist. Give one.")
    if account and (form or out):
        raise FormError("--to-spotify adds the list to an account, --format and --out make a file. Give one of them.")
    if form is None and out is not None:
        form_of(out)
    return Leaving(form, out, account)


def show_login(url: str, browser: bool = True) -> None:
    """Show somebody where to log in, and open a browser there."""
    import webbrowser

    typer.echo(f"Log in with a browser on this machine:\n{url}")
    if browser:
        webbrowser.open(url)


def _add(settings: Settings, tracks: TrackList, port: int) -> None:
    """Make a list a playlist of the account of who logs in now; the login is not kept."""
    from spotify_dag.playlists_out.into_spotify import add_playlist
    from spotify_dag.sources.spotify.login import agreed, identify

    names = {track.uri or track.link: f"{', '.join(track.artists)} – {track.title}" for track in tracks.tracks}
    names |= {track.track_id: names[track.uri] for track in tracks.tracks if track.track_id and track.uri}
    token = agreed(settings, port=port, show=show_login, adds=True)
    user_id = identify(settings, token["access_token"])
    made = add_playlist(settings, user_id, token, tracks.title, [track.uri or track.link for track in tracks.tracks])
    err.print(f"{made.tracks:,} tracks are in {made.url}, {made.added:,} of them added now.", markup=False)
    if made.left_out:
        named = "; ".join(names.get(track, track) for track in made.left_out[:10])
        err.print(f"Not at Spotify, left out: {len(made.left_out):,} tracks: {named}", markup=False)
