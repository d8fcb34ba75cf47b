"""Write the reference pages that follow from the code: ``make reference``. With ``--check`` they are only compared.

Settings come from `spotify_dag.settings`, tables from `spotify_dag.schemas`, commands from Typer's own generator.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
NOTE = "<!-- Written by `make reference` from {source}. Change it there. -->"
GROUPS = {
    "Embeddings": ("encoder", "top_artist_count", "playlists_count", "profiles_count"),
    "Training": ("seed", "train_users", "train_on_spotify", "training_preset", "mlflow_uri"),
    "Spotify": ("spotify_",),
    "Retention": ("retention_days", "gone_days"),
    "App": ("app_",),
    "Dagster and alerts": ("dagster_home", "buckets_per_run", "executor", "postgres_url", "alert_webhook", "ui_url"),
}
"""Headings, and the names of settings, or the beginning of names, that stand under each; all others come first."""
OTHERS = """\
## Variables of other programs

| variable | meaning |
|---|---|
| `FORWARDED_ALLOW_IPS` | addresses of reverse proxies that the app believes (uvicorn) |
| `SPOTIFY_DAG_TEST_DATA` | folder of real data sets for the tests; default: `../shared/data` |
| `SPOTIFY_DAG_TEST_USERS` | users of the test of a data root in object storage; default: 60 |
| `AWS_…` | keys and address of object storage: [how](../how-to/object-storage.md#set-it-up) |
| `RAY_…` | address and token of a Ray cluster: [how](../how-to/outgrow-one-machine.md#a-cluster-of-ray) |
"""


def settings_page() -> str:
    """Return the page about `Settings`: every field with its variable, default, bounds and meaning."""
    from spotify_dag.settings import Settings

    headings: dict[str, list[str]] = {"Data root": [], **{heading: [] for heading in GROUPS}}
    for name, field in Settings.model_fields.items():
        heading = next((h for h, names in GROUPS.items() if _is_among(name, names)), "Data root")
        variable = field.validation_alias or f"SPOTIFY_DAG_{name.upper()}"
        bounds = [
            f"{sign} {getattr(bound, key):g}" for bound in field.metadata for key, sign in SIGNS if hasattr(bound, key)
        ]
        choices = [f"`{choice}`" for choice in get_args(field.annotation) if isinstance(choice, str)]
        allowed = ", ".join(choices or bounds)
        headings[heading].append(_row(f"`{variable}`", _default(field), allowed, field.description or ""))
    parts = [
        NOTE.format(source="spotify_dag/settings.py"),
        "# Settings",
        "Settings are environment variables. One data root uses one setting for everybody. Changing one makes stale\n"
        "what depends on it. A value outside its bounds is refused at the start, with the name of the variable.",
    ]
    for heading, rows in headings.items():
        parts += [f"## {heading}", _table(["variable", "default", "allowed", "meaning"], rows)]
    return "\n\n".join([*parts, OTHERS])


def tables_page() -> str:
    """Return the page about the lake: every table of `schemas.TABLES` with its columns."""
    from spotify_dag.schemas import TABLES

    parts = [
        NOTE.format(source="spotify_dag/schemas.py"),
        "# Tables",
        "Delta tables under `$SPOTIFY_DAG_DATA/lake`. Ask them anything with `spotify-dag sql`. *null* says that a\n"
        "value may be missing.",
    ]
    for table in TABLES:
        key = ", ".join(f"`{name}`" for name in table.key) or "none"
        rows = [
            _row(f"`{column.name}`", f"`{column.dtype}`", "null" if column.nullable else "", column.doc)
            for column in table.columns
        ]
        parts += [
            f"## {table.name}",
            f"{table.doc}\n\nKey: {key}. Partitioned by `{table.partition_by}`.",
            _table(["column", "type", "", "meaning"], rows),
        ]
    return "\n\n".join(parts) + "\n"


def commands_page() -> str:
    """Return the page about the command line: every command with its arguments and options."""
    import typer
    from typer.cli import get_docs_for_click

    from spotify_dag.cli.main import app

    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    names = group.list_commands(context)
    rows = [
        _row(f"[`{name}`](#spotify-dag-{name})", (group.get_command(context, name).help or "").split("\n\n")[0])
        for name in names
    ]
    sections = [
        get_docs_for_click(
            obj=group.get_command(context, name), ctx=context, indent=1, call_prefix="spotify-dag"
        ).strip()
        for name in names
    ]
    head = [
        NOTE.format(source="spotify_dag/cli/"),
        "# Commands",
        "`spotify-dag [--data FOLDER] COMMAND`. An error is one line on standard error, and exit status 1.",
        _table(["command", "does"], rows),
    ]
    return "\n\n".join([*head, *sections]) + "\n"


SIGNS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))
PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "tables.md": tables_page, "cli.md": commands_page}


def stale_pages() -> list[str]:
    """Return the pages that are not as the code has them."""
    return [
        name for name, made in PAGES.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != made()
    ]


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` only compare them; return the exit status."""
    if "--check" in arguments:
        stale = stale_pages()
        print("\n".join(f"docs/reference/{name} is not as the code has it. Run: make reference" for name in stale))
        return bool(stale)
    for name, made in PAGES.items():
        (FOLDER / name).write_text(made())
    return 0


def _is_among(name: str, names: Sequence[str]) -> bool:
    return any(name == one or (one.endswith("_") and name.startswith(one)) for one in names)


def _default(field: Any) -> str:
    if field.default is None:
        return ""
    value = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{value}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _table(headings: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([_row(*headings), "|" + "---|" * len(headings), *rows])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
