"""What all commands share: output, errors, and the data root."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import click
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.text import Text

from spotify_dag.disk_faults import disk_error
from spotify_dag.errors import SpotifyDagError
from spotify_dag.project import Project
from spotify_dag.settings import Settings

# No markup: names of artists may hold brackets.
out = Console(markup=False)
err = Console(markup=False, highlight=False, stderr=True)
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def open_project(context: typer.Context, **settings: Any) -> Project:
    """Return the project of ``--data``, else of the settings. ``settings`` replace single settings."""
    return Project.open(Settings(**({"data": context.obj} if context.obj else {}), **settings))


@contextmanager
def clear_errors() -> Iterator[None]:
    """Print errors that the user can fix as one line each, and exit with status 1."""
    try:
        yield
    except SpotifyDagError as error:
        print_error(str(error))
        raise typer.Exit(1) from error
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        for problem in error.errors():
            name = str(problem["loc"][0])
            variable = name if name.isupper() else f"SPOTIFY_DAG_{name.upper()}"
            print_error(f"{variable} is {str(problem['input'])!r}: {problem['msg']}.")
        raise typer.Exit(1) from error
    except Exception as error:
        disk = disk_error(error, _data_root())
        if disk is None:
            raise
        print_error(str(disk))
        raise typer.Exit(1) from error


def _data_root() -> object:
    """Return the data root that the command was given, else that of the settings."""
    context = click.get_current_context(silent=True)
    return (context and context.find_root().obj) or Settings().data


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(Text.assemble(("Error: ", "red"), message), soft_wrap=True)


def print_json(value: Any) -> None:
    """Print a value for machines."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str, indent=2) + "\n")
