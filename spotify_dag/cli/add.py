"""``spotify-dag add``: hand in the files of one user. The next run takes them in."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Annotated

import typer

from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.lifecycle.forget import let_in_again
from spotify_dag.project import Project
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export.reading import Reading

NAME = re.compile(r"\w[\w.-]{0,63}")


def add(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Exported listening: a file, a folder or a zip.")],
    name: Annotated[
        str, typer.Option("--as", metavar="NAME", help="Name of the person, who becomes the user export-NAME.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Do not show this user to others.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hand in the exported listening of one person. It replaces what the same person handed in before."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        user = _user_id(name)
        reading = Reading(path, user)
        if let_in_again(project, user):
            err.print(f"{user} was forgotten before. They are handed in again, so sources may read them again.")
        project.inbox.requests.hand_in("export", user, reading.frames(), opted_in=not private)
        report = {
            "user_id": user,
            "opted_in": not private,
            "files": reading.files,
            "lists": len(reading.kept),
            "rows_kept": reading.kept.total(),
            "plays": reading.plays,
            "left_out": dict(reading.skipped_rows().most_common()),
            "rejected": dict(reading.rejected.most_common()),
        }
        if as_json:
            print_json(report)
            return
        plays = f", {reading.plays:,} plays" if reading.plays else ""
        lists = f"{len(reading.kept):,} list{'s' * (len(reading.kept) != 1)}"
        out.print(f"{user}: {reading.kept.total():,} items in {lists}{plays}.")
        for reasons, what in ((reading.skipped_rows(), "left out"), (reading.rejected, "rejected")):
            for reason, count in reasons.most_common():
                out.print(f"  {count:,} {what}: {reason}")
        out.print(f"Next: spotify-dag run, then spotify-dag recommend {user}", style="dim")


def sweep(project: Project) -> None:
    """Take in new requests, and print why others could not be taken in."""
    swept = project.inbox.requests.sweep()
    for reason in swept.rejected[:10]:
        err.print(f"Rejected: {reason}", soft_wrap=True)
    if swept.rejected:
        err.print(f"Rejected requests, {len(swept.rejected):,}, are in {project.inbox.requests.root / 'rejected'}")


def _user_id(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    if not NAME.fullmatch(name):
        raise SourceError(f"--as {name!r} is no name: 1 to 64 letters, digits, '_', '.' and '-', e.g. --as anna")
    return f"export-{name}"
