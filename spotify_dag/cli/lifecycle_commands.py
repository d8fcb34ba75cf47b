"""``spotify-dag forget | retention | tidy``: deletion, retention and compaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget as forget_user
from spotify_dag.lifecycle.housekeeping import tidy as tidy_up
from spotify_dag.lifecycle.retention import Retained, drop_old, remove_gone


def forget(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Delete nothing. Count the mentions of the id in every file.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete all data of USER. No source brings them back; only their own spotify-dag add does."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        if verify:
            mentions = find_mentions(project, user)
            if as_json:
                print_json({"user_id": user, "mentions": mentions.total, **mentions.as_dict()})
            else:
                for name, count in mentions.counts.items():
                    out.print(f"  {count:,} in {name}")
                for problem in mentions.unreadable:
                    out.print(f"  Not readable: {problem}", soft_wrap=True)
                out.print(f"{mentions.total} mentions of {user} in {mentions.files:,} files")
            if mentions.total:
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
        out.print(f"Verify it with: spotify-dag forget {user} --verify", style="dim")


def retention(context: typer.Context, as_json: JsonOption = False) -> None:
    """Drop listening that was read more than SPOTIFY_DAG_RETENTION_DAYS ago; tastes, embeddings and vectors stay."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        done, now = Retained(), datetime.now(UTC)
        drop_old(project, now, done)
        remove_gone(project, now, done)
        if as_json:
            print_json(done.as_dict())
            return
        out.print(f"Dropped the listening of {done.users_dropped:,} users: {sum(done.rows_dropped.values()):,} rows.")
        out.print(f"Removed {len(done.users_removed):,} users that their source does not know any more.")
        out.print(
            "Their files stay for a quarter of an hour. Then spotify-dag tidy deletes them; a schedule runs it hourly.",
            style="dim",
        )


def tidy(context: typer.Context, as_json: JsonOption = False) -> None:
    """Join small files, and delete the files of versions that were replaced more than a quarter of an hour ago."""
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        done = tidy_up(project)
        if as_json:
            print_json(done.as_dict())
            return
        mib = 2**20
        out.print(
            f"{done.files_before:,} files, {done.bytes_before / mib:,.1f} MiB before; "
            f"{done.files:,} files, {done.bytes / mib:,.1f} MiB now."
        )
        for version in done.indexes_dropped:
            out.print(f"The index of {version} is deleted.")
        if done.busy:
            out.print(f"Left for the next time, because there is a writer: {', '.join(done.busy)}")
