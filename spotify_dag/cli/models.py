"""``spotify-dag models``: list the towers, and change the champion."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from spotify_dag.console import JsonOption, clear_errors, open_project, out, print_json
from spotify_dag.errors import SpotifyDagError
from spotify_dag.project import Project
from spotify_dag.stores.model_registry import HELD_OUT
from spotify_dag.tower.gate import soundness

if TYPE_CHECKING:
    from spotify_dag.tower.local_mix import LocalChoice

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


@models.command("export")
def export_(
    context: typer.Context,
    version: VersionArgument,
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="A folder, or hf:OWNER/NAME at Hugging Face.")],
    as_json: JsonOption = False,
) -> None:
    """Write the weights of VERSION for others, without any user; refused where a training source forbids it."""
    from spotify_dag.stores.shared_weights import write_shared

    with clear_errors():
        project = open_project(context)
        tensors, card = shared(project, version)
        write_shared(to, tensors, card)
        report = {name: card[name] for name in ("model_version", "license", "groups", "trained_on")} | {"to": to}
        if as_json:
            print_json(report)
        else:
            out.print(f"{version} is in {to}, under {card['license']}. No user is in it.", soft_wrap=True)
            out.print(f"Use it elsewhere with: spotify-dag models import {to}", style="dim", soft_wrap=True)


@models.command("import")
def import_(
    context: typer.Context,
    place: Annotated[str, typer.Argument(metavar="PLACE", help="A folder, or hf:OWNER/NAME at Hugging Face.")],
    as_json: JsonOption = False,
) -> None:
    """Make weights that somebody gave away champion here; the next run indexes users with them.

    The users who are here choose how much each part of a user vector counts.
    """
    with clear_errors():
        project = open_project(context)
        project.check_layout()
        version, choice = import_shared(project, place)
        if not as_json:
            out.print(_chosen(choice), soft_wrap=True)
        _report(project, version, as_json, mix=_mix_of(choice))


def shared(project: Project, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the weights of a version without users, and the card that goes with them.

    Raises
    ------
    SharedWeightsError
        If one of its training sources forbids it to be given away, or if users here chose its mix.
    """
    from spotify_dag.staleness.stale_buckets import portable_features
    from spotify_dag.stores.shared_weights import SharedWeightsError
    from spotify_dag.tower.sharing import without_users
    from spotify_dag.training_data.policy import SHAREABLE, forbids_sharing

    card = project.registry.card(version)
    sources = card["trained_on"]["sources"]
    if forbidding := forbids_sharing(sources):
        raise SharedWeightsError(
            f"'{version}' must not be given away: it was trained on {', '.join(forbidding)}. Only "
            f"{', '.join(sorted(SHAREABLE))} may be in it: docs/reference/data-policy.md"
        )
    imported = card.get("imported", {})
    if imported.get("mix", {}).get("chosen_here"):
        raise SharedWeightsError(
            f"'{version}' must not be given away: users here chose its mix. Give away the weights that were imported: "
            f"{imported['from']}."
        )
    model = project.registry.load(version)
    shared_model = without_users(model.config, model.tensors(), card["training"])
    licences = {name: SHAREABLE[name] for name in sources}
    return shared_model.tensors, {
        "model_version": version, "config": shared_model.config, "groups": shared_model.groups, "license": "CC0-1.0",
        "licences": licences, "package": card["code"]["package"], "features": portable_features(project),
        "encoder": project.encoder.digest, "training": card["training"], "metrics": card["metrics"],
        "held_out": project.registry.measurement(version),
        "trained_on": {name: card["trained_on"][name] for name in ("users", "items", "sources")},
    }  # fmt: skip


def import_shared(project: Project, place: str) -> tuple[str, LocalChoice]:
    """Save weights that somebody gave away as a version, and make it champion; return it, and what users here chose.

    Raises
    ------
    SharedWeightsError
        If they cannot be used here.
    """
    from spotify_dag.staleness.stale_buckets import feature_version, portable_features
    from spotify_dag.stores.shared_weights import SharedWeightsError, read_shared
    from spotify_dag.training_data.given_weights import fit_to_users

    given, card = read_shared(place)
    if card["features"] != portable_features(project):
        raise SharedWeightsError(
            f"The weights of '{place}' were trained with features {card['features']}; here they are "
            f"{portable_features(project)}. Use the same encoder (SPOTIFY_DAG_ENCODER) and version of spotify-dag."
        )
    choice = fit_to_users(project, given)
    about = {
        "imported": {
            "from": card["model_version"], "license": card["license"], "features": card["features"],
            "mix": _mix_of(choice),
        },
        "feature_version": feature_version(project), "users_in_lake": card["trained_on"]["users"],
        "trained_on": {**card["trained_on"], "held_out": 0}, "training": card["training"],
    }  # fmt: skip
    metrics = {name: value for name, value in card["metrics"].items() if isinstance(value, int | float)}
    if choice.changed:
        metrics |= {f"mix_{name}": float(value) for name, value in asdict(choice.model.tower.mix).items()}
        metrics["components"] = 0.0
    version = project.registry.save(choice.model, about, metrics=metrics, history=[])
    project.registry.promote(version)
    return version, choice


def _mix_of(choice: LocalChoice) -> dict[str, Any]:
    """Return what users here chose, as plain values."""
    # No figure of theirs: they chose by it, so it flatters.
    return {"chosen_here": choice.changed, "users": choice.users}


def _chosen(choice: LocalChoice) -> str:
    """Return what users here chose in a sentence."""
    from spotify_dag.tower.local_mix import LEAST_USERS

    if choice.changed:
        return f"Mix chosen by {choice.users} users here: they find their other halves better by it, beyond chance."
    if choice.users < LEAST_USERS:
        return (
            f"Mix kept as given: {choice.users} users here can choose, which takes {LEAST_USERS}. Import again once "
            "there are more."
        )
    return f"Mix kept as given: by no other do {choice.users} users here clearly find themselves better."


def _report(project: Project, champion: str, as_json: bool, **more: Any) -> None:
    """Publish the champion if its user index is complete, and print which version answers; ``more`` with ``--json``."""
    from spotify_dag.staleness.stale_buckets import index_version, stale_index

    fits = index_version(project) == champion
    left = len(stale_index(project, project.user_index(champion))) if fits else None
    if left == 0:
        project.publish(champion)
    published = project.published()
    if as_json:
        print_json({"champion": champion, "published": published, "buckets_left": left, **more})
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
