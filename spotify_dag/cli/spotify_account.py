"""The commands ``spotify-dag login`` and ``spotify-dag doctor``."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import typer

from spotify_dag.cli.playlist_options import show_login
from spotify_dag.console import open_project, print_json
from spotify_dag.lifecycle.forget import let_in_again
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.sources.spotify.login import PORT

_SIGNS = {True: "yes", False: "no", None: "unknown"}


def login(
    context: typer.Context,
    port: Annotated[
        int,
        typer.Option(
            min=0, max=65_535, help="Port of http://127.0.0.1:PORT/callback, a redirect URI of the app; 0: any."
        ),
    ] = PORT,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the link, or only print it.")] = True,
) -> None:
    """Let one user log in to Spotify. Their own playlists can then be read."""
    from spotify_dag.sources.spotify.login import log_in

    settings = _settings(context)
    user_id = log_in(settings, port=port, show=partial(show_login, browser=browser))
    # A login means consent to be read. A login without consent would be stored and never used.
    if let_in_again(Project.open(settings), user_id):
        typer.echo(f"'{user_id}' was forgotten, and has come back: from now on they may be read again.")
    typer.echo(f"'{user_id}' has logged in. Read all who have: spotify-dag run --source spotify")


def doctor(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Instead, read every file of the data root and name those that are damaged.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Find out what this installation can read from Spotify. Exit status 1: no playlists at all."""
    from spotify_dag.sources.spotify.doctor import examine

    if deep:
        raise typer.Exit(_read_everything(context, as_json))

    report = examine(_settings(context))
    typer.echo(json.dumps(report, indent=2) if as_json else _as_text(report))
    if not any(finding["able"] for finding in report["findings"] if "laylists" in finding["what"]):
        raise typer.Exit(1)


def _read_everything(context: typer.Context, as_json: bool) -> int:
    """Print what is damaged under the data root; return the exit status: 1 where something is."""
    from spotify_dag.lifecycle.deep_check import damaged

    project = open_project(context)
    faults = list(damaged(project))
    if as_json:
        print_json({"damaged": faults})
    else:
        typer.echo("\n".join(faults) if faults else f"Every file under {project.settings.data} can be read.")
    return int(bool(faults))


def _settings(context: typer.Context) -> Settings:
    return Settings(**({"data": context.obj} if context.obj else {}))


def _as_text(report: dict[str, Any]) -> str:
    marked = "synthetic" if report["service"] == "simulator" else "spotify"
    app = report["client_id"] or "none: set SPOTIFY_DAG_SPOTIFY_CLIENT_ID"
    secret = "with" if report["client_secret"] else "without"
    lines = [f"Web API  {report['api_url']}; rows are marked {marked}", f"App      {app}, {secret} a secret"]
    lines += [
        f"{_SIGNS[finding['able']]:<8} {finding['what']}  {finding['detail']}".rstrip()
        for finding in report["findings"]
    ]
    for login in report["logins"]:
        if login["ended"]:
            lines.append(f"ended    Login of '{login['user_id']}': {login['ended']}. Again: spotify-dag login")
        else:
            lines.append(f"Login    '{login['user_id']}', until {login['until']} ({login['days_left']} days)")
    spent = sum(report["requests_in_24_hours"].values())
    lines.append(f"Limit    {report['limit'] or 'none'}")
    lines.append(f"Budget   {spent:,} of {report['budget']:,} requests spent in the last 24 hours")
    lines.append("Mirror   " + ", ".join(f"{count:,} {name}" for name, count in report["mirror"].items()))
    if not report["findings"] and not report["limit"]:
        lines.append("Nothing was asked: set the app's secret, or log in: spotify-dag login")
    return "\n".join(lines)
