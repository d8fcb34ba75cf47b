"""``--format`` and ``--out``: what commands share whose answer is a list of tracks."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from spotify_dag.console import err
from spotify_dag.files import write_atomically
from spotify_dag.playlists_out.forms import FormError, FormName, form_of, written
from spotify_dag.playlists_out.track_list import TrackList

FormatOption = Annotated[
    FormName | None, typer.Option("--format", help="Give the list as a file of this form.", show_default=False)
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write the list to this file; its ending says the form.", show_default=False),
]


def leaves(as_json: bool, form: FormName | None, out: Path | None) -> bool:
    """Return whether a list is asked for as a file.

    Raises
    ------
    FormError
        If it is asked for as JSON, too, or the name of the file does not say the form.
    """
    if form is None and out is None:
        return False
    if as_json:
        raise FormError("--json is an answer for programs, --format and --out are a playlist. Give one of them.")
    if form is None and out is not None:
        form_of(out)
    return True


def give(title: str, answers: Sequence[Mapping[str, Any]], form: FormName | None, out: Path | None) -> None:
    """Write a list of answers to a file, else to standard output."""
    tracks = TrackList.of_answers(title, answers)
    if out is None:
        sys.stdout.buffer.write(written(tracks, form or "csv"))
        sys.stdout.buffer.flush()
        return
    write_atomically(out, written(tracks, form or form_of(out)))
    err.print(f"{len(tracks.tracks):,} tracks are in {out}.")
