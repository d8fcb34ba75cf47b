"""``spotify-dag mcp``: answer programs that speak the Model Context Protocol."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from spotify_dag.console import clear_errors, err, open_project


def mcp(
    context: typer.Context,
    user: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="A user who may be told of themselves, although they are not shown to others; repeatable. Everybody "
            "who uses the assistant can ask about them, and its maker sees the answers. Name only people who agree.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve find, compare, continue, blend and search to a desktop assistant, which starts this command.

    It speaks the Model Context Protocol on standard input and output. Listeners who are not shown in the app are not
    shown here either. --user takes the place of the app's login: who can start this command can read the whole data
    root anyway. But the assistant and its maker then see what it answers.
    """
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        from spotify_dag.app.mcp_tools import serve

        err.print("Waits for a program that speaks MCP on standard input. Stop with Ctrl+C.")
        serve(project, user or ())
