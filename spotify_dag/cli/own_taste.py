"""``spotify-dag leave-out``: what counts for a user's taste."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.lifecycle.change_preferences import change_preferences
from spotify_dag.stores.preferences import Kind, Preference, PreferenceError

Names = list[str] | None


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
