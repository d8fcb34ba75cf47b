"""``spotify-dag rebucket``: split the user buckets of a data root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.lifecycle.rebucket import Plan, planned
from spotify_dag.lifecycle.rebucket import rebucket as split
from spotify_dag.progress import watched_progress

if TYPE_CHECKING:
    from spotify_dag.project import Project

MIB = 2**20


def rebucket(
    context: typer.Context,
    buckets: Annotated[int, typer.Argument(help="How many there are to be: a multiple of the present number.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing. Say what would be done.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Split the user buckets into BUCKETS, while answers go on. Killed, it is finished by the same command."""
    with clear_errors():
        project = open_project(context)
        before = project.lake.n_buckets
        if buckets == before and project.layout().made_with != before:
            if as_json:
                print_json({"n_buckets": before, "before": before, "copied": 0})
            else:
                out.print(f"There are {before} user buckets already.")
            return
        plan = planned(project, buckets)
        if dry_run and as_json:
            print_json(plan.as_dict())
            return
        err.print(_told(plan), soft_wrap=True)
        if dry_run:
            return
        from spotify_dag.orchestration.instance import open_instance
        from spotify_dag.orchestration.split_records import RECORDED, record_split, what_goes_on

        progress = watched_progress()
        with open_instance(project) as instance:

            def record(divided: Project) -> None:
                with progress.task("Telling Dagster", RECORDED) as advance:
                    record_split(instance, divided, before, advance)

            done = split(
                project, buckets, busy=lambda: what_goes_on(instance), record=record, progress=progress,
                waiting=lambda why: err.print(f"{why} The switch waits until it has ended.", style="dim"),
            )  # fmt: skip
        if as_json:
            print_json(done.as_dict())
            return
        out.print(f"There are {buckets} user buckets now. It took {done.seconds:,.0f} s.")
        out.print(
            "The tables of before stay for a quarter of an hour, for those who read them. Then spotify-dag tidy "
            "deletes them; a schedule runs it hourly. Start a daemon and a code server again; spotify-dag up does it "
            "by itself.",
            style="dim", soft_wrap=True,
        )  # fmt: skip


def _told(plan: Plan) -> str:
    free = "" if plan.bytes_free is None else f"; {plan.bytes_free / MIB:,.0f} MiB are free"
    copied = f" Buckets copied already: {plan.copied}." if plan.copied else ""
    return (
        f"{plan.n_buckets} buckets of {plan.users:,} users become {plan.into}. {plan.bytes_to_write / MIB:,.0f} MiB of "
        f"tables are written beside the present ones, which answer until the switch{free}. "
        f"User indexes to change in place: {plan.indexes}.{copied}"
    )
