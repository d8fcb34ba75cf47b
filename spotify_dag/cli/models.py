"""``spotify-dag models``: list the towers, and change the champion."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.errors import SpotifyDagError
from spotify_dag.project import Project
from spotify_dag.stores.model_registry import HELD_OUT
from spotify_dag.tower.gate import soundness

models = typer.Typer(no_args_is_help=True, help="List towers, and choose the champion.")
MRR = "MRR, users held out"
VersionArgument = Annotated[str, typer.Argument(help="Model version, like tower-0123456789ab.")]


class PromotionError(SpotifyDagError):
    """A version that must not become champion. The message names the number that failed."""


def quality(measured: dict[str, float]) -> str:
    """Return how good a version is (`Registry.measurement`) in a sentence."""
    if not measured:
        return "It was not measured on users kept from its training."
    return (
        f"Of two halves of one user's listening, one finds the other at MRR {measured['mrr']:.3f}, in the top 10 for "
        f"{measured['hit_at_10']:.1%} (among {measured['users']:,.0f} users kept from all training)."
    )


@models.command("list")
def list_(context: typer.Context, as_json: JsonOption = False) -> None:
    """List every version, the one trained last first."""
    with clear_errors():
        project = open_project(context)
        published = project.published()
        rows = [{**row, "published": row["model_version"] == published} for row in project.registry.versions()]
        if as_json:
            print_json(rows)
            return
        if not rows:
            out.print("No tower yet. Train one with: spotify-dag run --source synthetic")
            return
        table = Table()
        for heading in ("Version", "Status", "Trained (UTC)", MRR, "Gate"):
            table.add_column(heading, justify="right" if heading == MRR else "left", no_wrap=heading != "Gate")
        for row in rows:
            status = f"{row['status']}, answers" if row["published"] else row["status"]
            mrr = row["metrics"].get(f"{HELD_OUT}mrr")
            shown = "" if mrr is None else f"{mrr:.3f}"
            table.add_row(row["model_version"], status, row["created"][:16], shown, _verdict(row["decision"]))
        out.print(table)


@models.command()
def show(context: typer.Context, version: VersionArgument, as_json: JsonOption = False) -> None:
    """Show the model card of VERSION, and the gate's decision about it."""
    with clear_errors():
        registry = open_project(context).registry
        card, decision, measured = registry.card(version), registry.decision(version), registry.measurement(version)
        if as_json:
            print_json({**card, "decision": decision, "held_out": measured or None})
            return
        out.print(registry.readable_card(version))
        if measured:
            out.print(quality(measured), soft_wrap=True)
        out.print("Gate: " + ("not asked." if decision is None else decision["summary"]), soft_wrap=True)


@models.command()
def promote(
    context: typer.Context,
    version: VersionArgument,
    force: Annotated[bool, typer.Option("--force", help="Even if the gate did not let it pass.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make VERSION champion."""
    with clear_errors():
        project = open_project(context)
        sound = soundness(project.registry.card(version)["metrics"])
        if not sound.passed:
            raise PromotionError(f"'{version}' cannot become champion: {sound.summary}")
        decision = project.registry.decision(version)
        if decision is not None and not decision["passed"] and not force:
            raise PromotionError(
                f"The gate did not let '{version}' pass: {decision['summary']} "
                f"To make it champion all the same: spotify-dag models promote {version} --force"
            )
        project.registry.promote(version)
        _report(project, version, as_json)


@models.command()
def rollback(context: typer.Context, as_json: JsonOption = False) -> None:
    """Make the version before the present champion champion again."""
    with clear_errors():
        project = open_project(context)
        _report(project, project.registry.rollback(), as_json)


def _report(project: Project, champion: str, as_json: bool) -> None:
    """Publish the champion if its user index is complete, and print which version answers."""
    from spotify_dag.staleness.stale_buckets import index_version, stale_index

    fits = index_version(project) == champion
    left = len(stale_index(project, project.user_index(champion))) if fits else None
    if left == 0:
        project.publish(champion)
    published = project.published()
    if as_json:
        print_json({"champion": champion, "published": published, "buckets_left": left})
        return
    out.print(f"{champion} is champion.")
    if left == 0:
        out.print("Its user index is complete: it answers from now on.")
        return
    answers = f"{published} answers until then" if published else "nothing answers until then"
    if fits:
        out.print(f"Its user index lacks {left} buckets; {answers}. Index them with: spotify-dag run", soft_wrap=True)
    else:
        out.print(
            f"It was trained for other features than users have now; {answers}. "
            "Set the features back and index with: spotify-dag run",
            soft_wrap=True,
        )


def _verdict(decision: dict[str, Any] | None) -> str:
    if decision is None:
        return "not asked"
    return "passed" if decision["passed"] else "failed: " + ", ".join(
        check["name"] for check in decision["checks"] if not check["passed"]
    )  # fmt: skip
