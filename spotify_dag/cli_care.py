"""``spotify-dag forget``: what is kept of people, and how it goes away."""

from __future__ import annotations

from typing import Annotated

import typer

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.resources.forgetting import forget as forget_user
from spotify_dag.resources.mentions import find_mentions


def forget(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Delete nothing; look for the id in every file, and count.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete everything kept of USER, and let no source bring them back. Only their own spotify-dag add lifts that."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        if verify:
            found = find_mentions(project, user)
            if as_json:
                print_json({"user_id": user, "mentions": found.total, **found.as_dict()})
            else:
                for name, count in found.found.items():
                    out.print(f"  {count:,} in {name}")
                for problem in found.unreadable:
                    out.print(f"  Not readable: {problem}", soft_wrap=True)
                out.print(f"{found.total} mentions of {user} in {found.files:,} files")
            if found.total:
                raise typer.Exit(1)
            return
        done = forget_user(project, user)
        if as_json:
            print_json(done.as_dict())
            return
        for place, count in done.deleted.items():
            out.print(f"  {count:,} from {place}")
        out.print(
            f"{user} is forgotten." if done.total else f"{user} was forgotten before: nothing was left to delete."
        )
        for file in done.still_named:
            out.print(f"Your own list still names {user}, who is not read any more: {file}", soft_wrap=True)
        out.print(done.consequence, style="dim", soft_wrap=True)
        out.print(f"See that it is so: spotify-dag forget {user} --verify", style="dim")
