"""The command line: ``spotify-dag run | add | recommend | search | continue | …``; ``--help`` lists all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from spotify_dag.cli.add import add, sweep
from spotify_dag.cli.demo import demo
from spotify_dag.cli.evaluate import evaluate
from spotify_dag.cli.lifecycle_commands import forget, retention, tidy
from spotify_dag.cli.models import models, quality
from spotify_dag.cli.own_taste import leave_out, taste
from spotify_dag.cli.people_commands import blend, tracks_for
from spotify_dag.cli.rebucket import rebucket
from spotify_dag.cli.serve_app import app as serve_app
from spotify_dag.cli.serve_mcp import mcp
from spotify_dag.cli.simulate import simulate
from spotify_dag.cli.spotify_account import doctor, login
from spotify_dag.cli.track_commands import continue_playlist, evaluate_tracks, search
from spotify_dag.cli.tune import tune
from spotify_dag.cli.up import up
from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.project import Project
from spotify_dag.schemas import INGESTS
from spotify_dag.sources import LISTED_SOURCES, SOURCES
from spotify_dag.sources.base import SourceError
from spotify_dag.training_data.training_settings import TrainingConfigError

if TYPE_CHECKING:
    from spotify_dag.matching.explain import New, Shared

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find listeners with the same taste, and why. Settings: docs/reference/settings.md.",
)
app.command()(demo)
app.command()(add)
app.command()(forget)
app.command()(retention)
app.command()(tidy)
app.command()(rebucket)
app.command()(search)
app.command()(blend)
app.command("tracks-for")(tracks_for)
app.command("leave-out")(leave_out)
app.command()(taste)
app.command("continue")(continue_playlist)
app.command()(tune)
app.command()(up)
for command in (login, doctor, simulate):
    app.command()(clear_errors()(command))
app.command(name="app")(serve_app)
app.command()(mcp)
app.add_typer(models, name="models")
# `evaluate` alone measures matches of users; its subcommands measure other things.
measured = typer.Typer()
measured.callback(invoke_without_command=True)(evaluate)
measured.command("tracks")(evaluate_tracks)
app.add_typer(measured, name="evaluate")


@app.callback()
def _root(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Data root, or s3://BUCKET/PREFIX. Default: $SPOTIFY_DAG_DATA, else ./data.",
            show_default=False,
        ),
    ] = None,
) -> None:
    context.obj = data


@app.command()
def run(
    context: typer.Context,
    source: Annotated[
        str | None,
        typer.Option(help=f"Source to register: {', '.join(SOURCES)}. It is remembered.", show_default=False),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option(
            help="Files of the source. Of a web service: a list of users; for spotify also a Hugging Face data set.",
            show_default=False,
        ),
    ] = None,
    artist_genres: Annotated[
        Path | None,
        typer.Option(
            help="Table of artists and genres (.parquet, .csv, .json), joined by id or name. It is remembered.",
            show_default=False,
        ),
    ] = None,
    users: Annotated[int | None, typer.Option(help="synthetic: number of users (500).", show_default=False)] = None,
    playlists: Annotated[
        int | None, typer.Option(help="synthetic: playlists per user (5).", show_default=False)
    ] = None,
    tracks: Annotated[int | None, typer.Option(help="synthetic: tracks per playlist (50).", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="synthetic: seed of the world (0).", show_default=False)] = None,
    remove: Annotated[str | None, typer.Option(help="Source to remove, with its users.", show_default=False)] = None,
    train: Annotated[bool, typer.Option("--train", help="Train a new tower now, even if none is due.")] = False,
    preset: Annotated[
        Literal["default", "seed-2025"] | None,
        typer.Option(
            help="With --train: how to train this time. seed-2025: as the system this project grew out of.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring everything up to date: read, embed, train and index what is stale. Then print a summary."""
    with clear_errors():
        if preset is not None and not train:
            raise TrainingConfigError(f"--preset {preset} says how to train: give it with --train.")
        project = open_project(context, **({"training_preset": preset} if preset else {}))
        project.check_layout()
        if remove is not None:
            project.inbox.remove_source(remove)
        world = {"users": users, "playlists": playlists, "tracks": tracks, "seed": seed}
        with project.inbox.kept_if_readable():
            _register(project, source, path, artist_genres, world)
            report = _run(project, train=train)
        if as_json:
            print_json(report)
        else:
            _print_summary(report)


@app.command()
def recommend(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of matches.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show the users who listen most like USER, and why."""
    with clear_errors():
        version, (matches,) = open_project(context).matcher.recommend([user], k)
        if as_json:
            print_json({"user_id": user, "model_version": version, "matches": [match.as_dict() for match in matches]})
            return
        table = Table(title=f"Users who listen like {user}", caption=version, title_justify="left")
        for heading in ("", "User", "Match", "Sure", "Genres you share", "Artists you share", "New to you"):
            justify: Literal["left", "right"] = "right" if heading in ("", "Match", "Sure") else "left"
            table.add_column(heading, justify=justify, overflow="fold", no_wrap=heading == "User")
        for place, match in enumerate(matches, 1):
            why = match.why
            table.add_row(
                str(place), match.user_id, f"{match.percent:.2f}%", f"{match.confidence:.0%}",
                _names(why.shared_genres), _names(why.shared_artists), _names(why.new_to_you),
            )  # fmt: skip
        out.print(table)
        hint = (
            f"In full: spotify-dag compare {user} {matches[0].user_id}" if matches else "Nobody else is in the index."
        )
        out.print(hint, style="dim")


@app.command()
def compare(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    other: Annotated[str, typer.Argument(help="Another user id.")],
    limit: Annotated[int, typer.Option(min=1, help="Rows per list.")] = 15,
    as_json: JsonOption = False,
) -> None:
    """Compare two users: their score, what they share, and what is new to each of them."""
    with clear_errors():
        matcher = open_project(context).matcher
        version, match = matcher.compare(user, other, limit)
        _, mirrored = matcher.compare(other, user, limit, asking=user)
        why = match.why.as_dict()
        new_to_other = mirrored.as_dict()["new_to_you"]
        if as_json:
            pair = {"user_id": user, "other_id": other, "model_version": version, "score": round(match.score, 6)}
            print_json({**pair, **why, "new_to_other": new_to_other})
            return
        title = (
            (user, "bold"),
            " and ",
            (other, "bold"),
            ": score ",
            (f"{match.score:.3f}", "bold"),
            (f"  {version}", "dim"),
        )
        out.print(Text.assemble(*title))
        for heading, key in (("Genres", "shared_genres"), ("Artists", "shared_artists"), ("Eras", "shared_eras")):
            table = Table(title=f"{heading} both listen to", title_justify="left")
            table.add_column(heading)
            table.add_column(user, justify="right")
            table.add_column(other, justify="right")
            for row in why[key]:
                table.add_row(row["name"], f"{row['yours']:.1%}", f"{row['theirs']:.1%}")
            out.print(table if why[key] else f"No {heading.lower()} in common.")
        for listener, rows in ((user, why["new_to_you"]), (other, new_to_other)):
            out.print(f"New to {listener}: {', '.join(row['name'] for row in rows) or 'nothing'}")


@app.command()
def sql(
    context: typer.Context,
    query: Annotated[str, typer.Argument(help="A DuckDB query; every table of the lake is a view.")],
    limit: Annotated[int, typer.Option(min=1, help="At most this many rows.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Query the lake with DuckDB: spotify-dag sql "select source, count(*) from users group by 1"."""
    import duckdb

    with clear_errors():
        connection = open_project(context).lake.connect()
        try:
            relation = connection.sql(query)
            if relation is None:
                return
            columns, rows = relation.columns, relation.limit(limit + 1).fetchall()
        except duckdb.Error as error:
            views = ", ".join(
                name for (name,) in connection.sql("select view_name from duckdb_views() where not internal").fetchall()
            )
            raise typer.BadParameter(f"{error}\nTables: {views or 'none yet; run: spotify-dag run'}") from error
        if as_json:
            print_json([dict(zip(columns, row, strict=True)) for row in rows[:limit]])
            return
        table = Table(*columns)
        for row in rows[:limit]:
            table.add_row(*("" if cell is None else str(cell)[:80] for cell in row))
        out.print(table)
        if len(rows) > limit:
            out.print(f"Only the first {limit} rows; more with --limit.", style="dim")


def main() -> None:
    """Run the command line."""
    app()


def _run(project: Project, *, train: bool) -> dict[str, Any]:
    """Bring the graph up to date, and print each stage on standard error; return a report of it."""
    # Imported here: Dagster is slow to import, and other commands do not need it.
    from spotify_dag.cli.run_summary import summary
    from spotify_dag.definitions import build_definitions
    from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
    from spotify_dag.orchestration.instance import open_instance
    from spotify_dag.progress import TerminalProgress

    sweep(project)
    if not project.inbox.sources() and not project.lake.exists(INGESTS):
        raise SourceError(
            "There is no source yet. Name one (spotify-dag run --source synthetic), or hand in somebody's own files "
            "(spotify-dag add FILE --as NAME)."
        )
    resources = {"project": project, "progress": TerminalProgress()}
    definitions = build_definitions(settings=project.settings, overrides=resources)
    stages = []
    with open_instance(project) as instance:
        for stage in bring_up_to_date(
            project,
            definitions,
            instance,
            train=train,
            started=lambda name, reason: err.print(f"{name}: {reason}", style="dim"),
        ):
            buckets = f"{stage.buckets} bucket{'s' * (stage.buckets != 1)}" if stage.buckets else ""
            err.print(Text.assemble(("✓", "green"), f" {stage.stage:<9} {buckets:<11} {stage.seconds:6.1f} s"))
            stages.append({"stage": stage.stage, "buckets": stage.buckets, "seconds": round(stage.seconds, 2)})
    return {"materialised": stages, **summary(project)}


def _register(
    project: Project, source: str | None, path: Path | None, artist_genres: Path | None, world: dict[str, int | None]
) -> None:
    given = {name: value for name, value in world.items() if value is not None}
    if given and source != "synthetic":
        raise SourceError(f"--{next(iter(given))} belongs to --source synthetic.")
    if path is not None and source in (None, "synthetic"):
        raise SourceError(f"--path belongs to a source that reads files: --source {' or '.join(SOURCES[1:])}.")
    if artist_genres is not None:
        project.inbox.register_artist_genres(artist_genres)
    if source is not None:
        options: dict[str, Any] = dict(given)
        if path is not None:
            # A path without a file may be the name of a data set.
            options["path"] = str(path.resolve() if path.exists() or source != "spotify" else path)
        if source in LISTED_SOURCES:
            options["asked"] = time.time()
        project.inbox.register_source(source, options)


def _names(entries: Sequence[Shared | New], count: int = 3) -> str:
    return ", ".join(entry.name for entry in entries[:count]) or "–"


def _print_summary(report: dict[str, Any]) -> None:
    if not report["materialised"]:
        out.print("Everything is up to date: nothing was materialised.")
    table = Table(title="Sources", title_justify="left")
    for heading in ("Source", "Users", "Rows read", "Rows kept", "Rows rejected"):
        table.add_column(heading, justify="left" if heading == "Source" else "right")
    for row in report["sources"]:
        numbers = (f"{row[name]:,}" for name in ("users", "rows_read", "rows_kept", "rows_rejected"))
        table.add_row(row["source"], *numbers)
    out.print(table)
    for reject in report["rejects"][:10]:
        what = "rows left out" if reject["dropped"] else "values left out"
        out.print(f"  {reject['count']:,} {what}: {reject['reason']}")
    if report["genre_coverage"] is not None:
        out.print(f"Genre coverage: {report['genre_coverage']:.1%} of rows")
    not_embedded = sum(row["users"] for row in report["not_embedded"])
    out.print(f"Not embedded: {not_embedded:,} users")
    for row in report["not_embedded"]:
        out.print(f"  {row['users']:,}: {row['reason']} (for example {', '.join(row['for_example'])})")
    if report["tracks"]:
        out.print(f"Tracks: {report['tracks']:,}, to search and to continue playlists with.")
    if report["model_version"]:
        out.print(
            f"Model {report['model_version']}: {report['users_in_index']:,} users in the index. "
            f"{quality(report['model'])}"
        )
    for note in report["notes"]:
        out.print(note, soft_wrap=True)
