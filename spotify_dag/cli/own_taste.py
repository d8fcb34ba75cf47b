"""``spotify-dag leave-out | taste``: what counts for a user's taste, and how it changed."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.lifecycle.change_preferences import change_preferences
from spotify_dag.lifecycle.forget import is_known
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.matching.taste_over_time import taste_over_time
from spotify_dag.stores.preferences import Kind, Preference, PreferenceError

Names = list[str] | None
LAST_PERIODS = 12
"""Periods that fit on a terminal; --json has all."""


def leave_out(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    artist: Annotated[Names, typer.Option(help="An artist that does not count; repeatable.")] = None,
    genre: Annotated[Names, typer.Option(help="A genre whose artists do not count; repeatable.")] = None,
    playlist: Annotated[Names, typer.Option(help="A playlist that does not count, by title or id; repeatable.")] = None,
    not_for_me: Annotated[
        Names, typer.Option(help="A track (id, URI, link) that is never suggested; repeatable.")
    ] = None,
    more_like: Annotated[
        Names, typer.Option(help="A track (id, URI, link) that counts as one of their own; repeatable.")
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let these count again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what does not count for the taste of USER, and what to suggest. Without options: list what was said."""
    with clear_errors():
        named: dict[Kind, Names] = {
            "artist": artist, "genre": genre, "playlist": playlist, "not-for-me": not_for_me, "more-like": more_like,
        }  # fmt: skip
        said = [Preference(kind, name) for kind, names in named.items() for name in names or ()]
        if undo and not said:
            raise PreferenceError("--undo needs what to undo, for example: --artist NAME --undo")
        project = open_project(context)
        project.check_layout()
        answer = change_preferences(project, user, remove=said) if undo else change_preferences(project, user, said)
        if as_json:
            print_json(answer)
        else:
            _print(answer, changed=bool(said))


def taste(
    context: typer.Context, user: Annotated[str, typer.Argument(help="User id.")], as_json: JsonOption = False
) -> None:
    """Show how the taste of USER changed: genres and eras by month or year, and what came and went."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        if not is_known(project, user):
            raise UnknownUserError(f"Unknown user '{user}'. Add them with: spotify-dag add")
        answer = taste_over_time(project.lake, project.preferences, user)
        if as_json:
            print_json(answer)
        elif answer["note"]:
            out.print(answer["note"])
        else:
            _print_taste(answer)


def _print_taste(answer: dict[str, Any]) -> None:
    for title, kind in (("Genre", "genres"), ("Era", "eras")):
        table = Table(title, *answer["periods"][-LAST_PERIODS:])
        for entry in answer[kind]:
            shares = (f"{share:.0%}" if share else "" for share in entry["shares"][-LAST_PERIODS:])
            table.add_row(Text(entry["name"]), *shares)
        out.print(table)
    then, now = answer["then"], answer["now"]
    for title, key in (("Came", "came"), ("Went", "went")):
        if answer[key]:
            table = Table(title, "What", f"{then['from']} to {then['to']}", f"{now['from']} to {now['to']}")
            for change in answer[key]:
                table.add_row(Text(change["name"]), change["kind"], f"{change['then']:.0%}", f"{change['now']:.0%}")
            out.print(table)


def _print(answer: dict[str, Any], *, changed: bool) -> None:
    if not answer["preferences"]:
        out.print(f"All that {answer['user_id']} listens to counts.", markup=False)
    else:
        table = Table("What", "Name")
        for preference in answer["preferences"]:
            table.add_row(preference["kind"], Text(preference["name"]))
        out.print(table)
        out.print(f"{answer['items_left_out']:,} of {answer['items']:,} items do not count.")
    if changed:
        out.print("Pages and lists of tracks answer by it at once; recommend and compare after: spotify-dag run")
