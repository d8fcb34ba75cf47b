"""``spotify-dag evaluate``: how good are matches, against every baseline, on users that nothing was fitted on."""

from __future__ import annotations

import hashlib
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.project import Project
from spotify_dag.sources import SOURCES
from spotify_dag.sources.base import SourceError

if TYPE_CHECKING:
    import polars as pl

SHOWN = {
    "hit@1": "hit@1", "hit@10": "hit@10", "mrr": "MRR", "friend_auc": "friend AUC", "neighbour_ndcg@20": "NDCG@20",
    "neighbour_recall@20": "recall@20", "hubness": "hubness", "coverage": "coverage", "fit_seconds": "fit, s",
}  # fmt: skip


def evaluate(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Option(help=f"Evaluate on this source ({', '.join(SOURCES)}); default: what the data root holds."),
    ] = None,
    path: Annotated[Path | None, typer.Option(help="Where the source's files are.", show_default=False)] = None,
    artist_genres: Annotated[
        Path | None, typer.Option(help="Table of artists and their genres (.parquet, .csv, .json).", show_default=False)
    ] = None,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Folds of the users.")] = 5,
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Repetitions, each with halves and folds of its own.")] = 3,
    models: Annotated[
        str | None, typer.Option(help="Only these models, by name, separated by commas.", show_default=False)
    ] = None,
    rival: Annotated[
        Literal["listenbrainz"] | None,
        typer.Option(help="Compare with the similar users that this service publishes.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure how good matches are, against baselines; docs/evaluation.md has the protocol."""
    with clear_errors():
        if context.invoked_subcommand:
            _refuse_options(context)
            return
        project = open_project(context)
        if source is not None:
            project = _project_of(project, source, path, artist_genres)
        elif path is not None or artist_genres is not None:
            raise SourceError("--path and --artist-genres belong to --source NAME.")
        if rival is not None:
            _compare_with_rival(project, as_json=as_json)
            return
        report = _evaluate(project, folds=folds, seeds=seeds, models=models)
        if as_json:
            print_json(_without_nan(report))
            return
        table = Table(title=f"{report['protocol']['users']:,} users, {folds} folds, {seeds} seeds: mean ± deviation")
        table.add_column("Model", no_wrap=True)
        for heading in SHOWN.values():
            table.add_column(heading, justify="right")
        for row in report["rows"]:
            style = "bold green" if row["model"] == "tower" else None
            table.add_row(row["model"], *(_number(row, key) for key in SHOWN), style=style)
        out.print(table)


def _compare_with_rival(project: Project, *, as_json: bool) -> None:
    """Print how well the similar users of each method predict held-out artists."""
    from spotify_dag.cli.evaluate_rival import evaluate_rival

    report = evaluate_rival(project)
    if as_json:
        print_json(_without_nan(report))
        return
    protocol = report["protocol"]
    title = f"{protocol['users_asked']:,} of {protocol['users']:,} users of ListenBrainz ask for their ten most similar"
    table = Table("Similar users by", title=title, title_justify="left")
    columns = {"ndcg@20": "NDCG@20", "recall@20": "recall@20", "helped": "helped", "neighbours": "neighbours"}
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for row in report["rows"]:
        table.add_row(row["model"], *(f"{row[key]:.3f}" for key in columns))
    out.print(table)
    out.print("ListenBrainz has seen the artists that were held out; the others have not.", style="dim")


def _refuse_options(context: typer.Context) -> None:
    """Refuse what was written before the name of a command: it would be of no effect."""
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        if source is not None and source.name == "COMMANDLINE":
            raise SourceError(
                f"{option.opts[0]} stands before '{context.invoked_subcommand}', which does not know it. "
                f"See: spotify-dag evaluate {context.invoked_subcommand} --help"
            )


def _evaluate(project: Project, *, folds: int, seeds: int, models: str | None) -> dict[str, Any]:
    import polars as pl

    from spotify_dag.progress import TerminalProgress
    from spotify_dag.tower import evaluation
    from spotify_dag.tower.hyperparameters import TrainingSettings, halvings
    from spotify_dag.tower.metrics import NEIGHBOURS
    from spotify_dag.tower.seed_systems import seed_systems
    from spotify_dag.tower.user_baselines import baselines, tower
    from spotify_dag.training_data.listening import read_users
    from spotify_dag.training_data.policy import trainable_users

    fits = {**baselines(), **seed_systems(), "tower": tower(TrainingSettings())}
    chosen = [name.strip() for name in models.split(",")] if models else list(fits)
    if unknown := [name for name in chosen if name not in fits]:
        raise evaluation.EvaluationError(f"Unknown model '{unknown[0]}'. Choose among: {', '.join(fits)}.")
    buckets = list(range(project.lake.n_buckets))
    users = read_users(project, buckets, trainable_users(project))
    friends = _friends(project, users.users)
    progress = TerminalProgress()
    kinds = halvings(users.users.height)
    datasets = []
    with progress.task("Halving users", seeds * len(kinds)) as advance:
        for seed in range(seeds):
            datasets.append(evaluation.dataset(users, halvings=kinds, friends=friends, seed=seed, progress=advance))
    with progress.task("Fitting and measuring", len(chosen) * seeds * folds) as advance:
        rows = evaluation.evaluate(
            datasets, {name: fits[name] for name in chosen}, folds=folds, progress=lambda *_: advance(1)
        )
    sources = dict(users.users["source"].value_counts(sort=True).iter_rows())
    usable = len(datasets[0].usable)
    return {
        "protocol": {
            "users": usable, "users_without_two_halves": users.users.height - usable, "sources": sources,
            "items": users.raw.height, "artists": users.raw.select(pl.col("artist_name").n_unique()).item(),
            "friend_pairs": len(friends), "folds": folds, "seeds": seeds, "neighbours": NEIGHBOURS,
            "cold_items": evaluation.COLD_ITEMS,
        },
        "rows": rows,
    }  # fmt: skip


def _project_of(project: Project, source: str, path: Path | None, artist_genres: Path | None) -> Project:
    """Return a data root of its own under ``evaluation/`` with the features of a source, made on first use."""
    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.progress import TerminalProgress

    named = "|".join(str(part.resolve() if isinstance(part, Path) else part) for part in (source, path, artist_genres))
    root = project.settings.local_data / "evaluation" / f"{source}-{hashlib.sha256(named.encode()).hexdigest()[:8]}"
    own = Project.open(project.settings.model_copy(update={"data": root, "local": None, "dagster_home": None}))
    own.check_layout()
    with own.inbox.kept_if_readable():
        if artist_genres is not None:
            own.inbox.register_artist_genres(artist_genres)
        own.inbox.register_source(source, {} if path is None else {"path": str(path.resolve())})
        definitions = build_definitions(
            settings=own.settings, overrides={"project": own, "progress": TerminalProgress()}
        )
        with open_instance(own) as instance:
            for stage in bring_up_to_date(own, definitions, instance, only_features=True):
                err.print(Text.assemble(("✓", "green"), f" {stage.stage:<9} {stage.seconds:6.1f} s"))
    return own


def _friends(project: Project, users: pl.DataFrame) -> np.ndarray:
    """Return the pairs of friends that sources know of, as row numbers of ``users``."""
    import polars as pl

    from spotify_dag.sources.lastfm import LastfmSource

    rows = users.select("user_id").with_row_index("row")
    friends = [source.friends() for source in project.inbox.sources() if isinstance(source, LastfmSource)]
    pairs = [
        frame.join(rows, on="user_id").join(rows, left_on="friend_id", right_on="user_id", suffix="_friend")
        for frame in friends
    ]
    if not pairs:
        return np.empty((0, 2), np.int64)
    return pl.concat(pairs).select("row", "row_friend").cast(pl.Int64).to_numpy()


def _without_nan(value: Any) -> Any:
    """Return nested values with null for what could not be measured: JSON has no NaN."""
    if isinstance(value, dict):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _number(row: dict[str, Any], key: str) -> str:
    value, deviation = row[key], row["std"][key]
    if not isfinite(value):
        return "–"
    return f"{value:.1f}" if key == "fit_seconds" else f"{value:.3f} ± {deviation:.3f}"
