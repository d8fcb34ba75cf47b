"""``spotify-dag add``: hand in one user. The next run takes them in."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_dag.cli.add_listed import add_listed, listed_users
from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.errors import SpotifyDagError
from spotify_dag.lifecycle.forget import let_in_again
from spotify_dag.project import Project
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.export.report import lines, summary
from spotify_dag.sources.handed_in import UserRequest

if TYPE_CHECKING:
    import polars as pl

NAME = re.compile(r"\w[\w.-]{0,63}")


def add(
    context: typer.Context,
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH…",
            help="What one person exported: files, folders and zips, also several. Or users of a service: "
            "listenbrainz:NAME, lastfm-api:NAME.",
        ),
    ],
    name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Name of the person, who becomes the user export-NAME.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Do not show this user to others.")] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="Add to what was handed in before, instead of replacing it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be read, and keep nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Hand in the exported listening of one person. It replaces what the same person handed in before."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        if listed := listed_users(paths):
            if private or merge or dry_run or name is not None:
                raise SourceError(
                    "--as, --private, --merge and --dry-run are for files: a user of a service is public."
                )
            add_listed(project, listed, as_json=as_json)
            return
        if name is None:
            raise SourceError("Say whose files these are: --as NAME, e.g. --as anna")
        user = _user_id(name)
        requests = project.inbox.requests
        before = requests.handed_in(user)
        earlier = requests.listening(before) if before is not None else None
        if merge and before is not None and earlier is None:
            raise SourceError(f"What {user} handed in before is not kept any more. Hand in all of it, without --merge.")
        reading = Reading(
            paths, user, earlier if merge else None, artist_names=lambda: artist_names(project),
            earlier_months=requests.months(before) if merge and before is not None else None,
        )  # fmt: skip
        if dry_run:
            for _ in reading.frames():
                pass
        else:
            if let_in_again(project, user):
                err.print(f"{user} was forgotten before. They are handed in again, so sources may read them again.")
            frames = chain(reading.frames(), reading.months())
            requests.hand_in("export", user, frames, opted_in=not private)
        report = {"user_id": user, "opted_in": not private, "kept": not dry_run, **reading.report()}
        report["merged_with" if merge else "replaces"] = _summary(before, earlier)
        if as_json:
            print_json(report)
        else:
            _print(user, report, dry_run=dry_run)


def artist_names(project: Project) -> list[str]:
    """Return the names in the project's tables of genres; none where they cannot be read.

    They only help to keep a comma inside a name. `run` says what is wrong with a source; a person who hands in a file
    may not even have what the source needs, such as an app at Spotify.
    """
    try:
        tables = project.genre_tables()
    except SpotifyDagError:
        return []
    return [name for _, table in tables for name in table["artist_name"].drop_nulls()]


def _summary(before: UserRequest | None, earlier: pl.DataFrame | None) -> dict[str, Any] | None:
    """Return what a user handed in before, in numbers."""
    if before is None:
        return None
    handed_in: dict[str, Any] = {"handed_in": before.requested_at.isoformat(timespec="seconds")}
    if earlier is not None:
        plays = int(earlier["plays"].sum())
        handed_in |= {"rows_kept": earlier.height, "lists": earlier["playlist_id"].n_unique(), "plays": plays}
    return handed_in


def _print(user: str, report: dict[str, Any], *, dry_run: bool) -> None:
    """Print a report; what files are called and what stands in them is shown as it is."""

    def line(text: str) -> None:
        out.print(f"  {text}", markup=False, highlight=False, soft_wrap=True)

    out.print(f"{user}: {summary(report)}.")
    for text in lines(report):
        line(text)
    if before := report.get("replaces"):
        line(f"replaces {_numbers(before)}handed in on {before['handed_in']}")
    if before := report.get("merged_with"):
        line(f"was added to {_numbers(before)}handed in on {before['handed_in']}")
    if dry_run:
        line("nothing was kept: this was a dry run")
    else:
        out.print(f"Next: spotify-dag run, then spotify-dag recommend {user}", style="dim")


def _numbers(before: dict[str, Any]) -> str:
    if "rows_kept" not in before:
        return "what was "
    return f"{summary(before)} "


def sweep(project: Project) -> None:
    """Take in who was handed in; say what could not be."""
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
