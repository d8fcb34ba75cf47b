"""Commands about tracks: ``spotify-dag search | continue | evaluate tracks``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from spotify_dag.cli.playlist_options import AccountOption, FormatOption, OutOption, leaving
from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.playlists_out.forms import FormError
from spotify_dag.progress import watched_progress
from spotify_dag.tracks.text_search import POPULAR, Filters, SearchError


def search(
    context: typer.Context,
    text: Annotated[str, typer.Argument(help="Title, artist, album or a description, in any order.")] = "",
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of songs.")] = 10,
    genre: Annotated[str | None, typer.Option(help="Only this genre.", show_default=False)] = None,
    years: Annotated[
        str | None, typer.Option(help="Only of these years: 1990-1999, or a single year.", show_default=False)
    ] = None,
    explicit: Annotated[
        bool | None, typer.Option("--explicit/--clean", help="Only explicit tracks, or none.", show_default=False)
    ] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(help="Only within a range: energy=0.5-0.9 or tempo=120-130; repeatable.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    form: FormatOption = None,
    out_path: OutOption = None,
    account: AccountOption = False,
) -> None:
    """Find tracks by title, artist, album or meaning; typos do not matter. Without a text: popular tracks."""
    with clear_errors():
        filters = Filters(
            genre=genre,
            years=_years(years),
            explicit=explicit,
            audio=dict(_audio_range(entry) for entry in audio or []),
        )
        leave = leaving(as_json, form, out_path, account)
        project = open_project(context)
        songs = project.track_answers.search(text, k, filters)
        if as_json:
            print_json({"query": text, "songs": songs})
        elif leave:
            leave.give(project.settings, text.strip() or POPULAR, songs)
        else:
            print_tracks(f"Tracks for “{text}”" if text.strip() else POPULAR, songs)


def continue_playlist(
    context: typer.Context,
    request: Annotated[Path, typer.Argument(help="JSON file: a request, or a list of requests.")],
    as_json: JsonOption = False,
    form: FormatOption = None,
    out_path: OutOption = None,
    account: AccountOption = False,
) -> None:
    """Continue a playlist: REQUEST has `tracks`, `title`, `mood` and more; docs/reference/tracks.md lists all fields.

    A list of requests gets a list of answers, always as JSON. So do requests of the older form with `search`,
    `playlist`, `recommender_neighbors` and `search_neighbors`.
    """
    from spotify_dag.als import one_blas_thread
    from spotify_dag.tracks.track_answers import ContinueRequest, list_title, read_requests

    with clear_errors():
        leave = leaving(as_json, form, out_path, account)
        requests, listed = read_requests(request)
        if leave and (listed or not isinstance(requests[0], ContinueRequest)):
            raise FormError(
                f"'{request}' asks for several lists. For --format, --out or --to-spotify, give one request."
            )
        project = open_project(context)
        answers = project.track_answers
        with one_blas_thread():  # products of one request are small
            continued = [answers.answer(request) for request in requests]
        if as_json or listed or not isinstance(requests[0], ContinueRequest):
            print_json(continued if listed else continued[0])
            return
        (answer,) = continued
        if answer["unknown"]:
            err.print(f"Unknown, left out: {', '.join(map(str, answer['unknown'][:10]))}")
        if leave:
            leave.give(project.settings, list_title(requests[0]), answer["recommendations"])
            return
        print_tracks(f"Continues {answer['seeds']} tracks", answer["recommendations"])


def evaluate_tracks(
    context: typer.Context,
    path: Annotated[Path, typer.Option(help="A table of tracks with playlists (.csv, .parquet), or slices of MPD.")],
    test_path: Annotated[
        Path | None, typer.Option(help="Ask for these playlists, and learn from all of --path.", show_default=False)
    ] = None,
    artist_genres: Annotated[
        Path | None, typer.Option(help="Table of artists and their genres (.parquet, .csv, .json).", show_default=False)
    ] = None,
    playlists: Annotated[int, typer.Option(min=1, help="Playlists asked for at most, drawn at random.")] = 500,
    queries: Annotated[int, typer.Option(min=1, help="Search queries of each kind.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the queries and of the hold-out.")] = 0,
    only: Annotated[
        str | None, typer.Option(help="search, continuation, or listeners: tracks for users.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure search and playlist continuation on withheld playlists, against baselines."""
    from spotify_dag.tracks.evaluate_source import Evaluation, describe

    with clear_errors():
        if only not in (None, "search", "continuation", "listeners"):
            raise SearchError(f"--only is '{only}'. Choose search, continuation or listeners.")
        project = open_project(context)
        evaluation = Evaluation(
            project.settings, project.lake, project.encoder, watched_progress(), seed, artist_genres
        )
        report = describe(path, project.settings) | {"seed": seed}
        if only in (None, "search"):
            report["search"] = evaluation.search(path, queries)
        if only == "listeners":
            report["listeners"] = evaluation.listeners(path, test_path, playlists)
        if only in (None, "continuation"):
            report["continuation"] = evaluation.continuation(path, test_path, playlists)
        if as_json:
            print_json(report)
            return
        out.print(
            f"{report['source']}: {report['tracks']:,} tracks of {report['songs']:,} songs in {report['playlists']:,} "
            f"playlists; seed {seed}"
        )
        if "search" in report:
            _print_figures("Known-item search", report["search"])
        if "continuation" in report:
            _print_continuation(report["continuation"])
        if "listeners" in report:
            _print_listeners(report["listeners"])


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    low, high = _range("--years", text)
    return int(low), int(high)


def _audio_range(text: str) -> tuple[str, tuple[float, float]]:
    name, _, limits = text.partition("=")
    return name.strip(), _range("--audio", limits or text)


def _range(option: str, text: str) -> tuple[float, float]:
    """Return the ends of ``low-high``; a single number is both ends. Numbers may be negative."""
    # The first hyphen after a digit divides the two numbers. Other hyphens are signs.
    place = next((at for at in range(1, len(text)) if text[at] == "-" and text[at - 1].isdigit()), len(text))
    try:
        return float(text[:place]), float(text[place + 1 :] or text[:place])
    except ValueError as error:
        raise SearchError(f"{option} is '{text}'. Give two numbers with a hyphen, as 0.5-0.9.") from error


def print_tracks(title: str, tracks: list[dict[str, Any]]) -> None:
    """Print a list of tracks as a table, with reasons where there are any."""
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    for heading in ("Track", "Artist", "Album", "Year"):
        table.add_column(heading, overflow="fold")
    table.add_column("Score", justify="right")
    reasons = any("why" in track for track in tracks)
    if reasons:
        table.add_column("Why", overflow="fold")
    for place, track in enumerate(tracks, 1):
        names = (track["track_name"], track["artist_name"], track["album_name"], track["release_year"])
        cells = ["" if name is None else str(name) for name in names]
        why = ["; ".join(track["why"])] if reasons else []
        table.add_row(str(place), *cells, f"{track['score']:.3f}", *why)
    out.print(table if tracks else "Nothing found.")


def _print_continuation(report: dict[str, Any]) -> None:
    out.print(
        f"Learned from {report['learned_from']:,} playlists of {report['catalogue']:,} tracks; "
        f"{report['asked_for']:,} playlists asked for; {report['wanted_tracks_in_catalogue']:.0%} of their tracks are "
        "in the catalogue."
    )
    for name, chosen in report["settings"].items():
        out.print(f"{name}: {chosen}")
    for scenario, methods in report["scenarios"].items():
        table = Table(title=f"Continuation: {scenario}", title_justify="left")
        for heading in ("", "R-precision", "with artists", "NDCG", "clicks"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, figures in methods.items():
            cells = [
                f"{figures[measure]:.4g} ± {figures[f'{measure}_error']:.2g}"
                for measure in ("r_precision", "r_precision_with_artists", "ndcg", "clicks")
            ]
            table.add_row(name, *cells)
        out.print(table)
        for measure, of_scenario in report["lead"].items():
            ahead = of_scenario[scenario]
            out.print(f"{measure}: {ahead['ratio']:.3f} ± {ahead['error']:.3f} times {ahead['best']}")


def _print_listeners(report: dict[str, Any]) -> None:
    for scenario, methods in report["scenarios"].items():
        table = Table(title=f"Tracks for users: {scenario}", title_justify="left")
        for heading in ("", "NDCG@50"):
            table.add_column(heading, justify="right" if heading else "left")
        for name, figures in methods.items():
            table.add_row(name, f"{figures['ndcg_at_50']:.4g} ± {figures['ndcg_at_50_error']:.2g}")
        out.print(table)
        ahead = report["lead"][scenario]
        out.print(f"{ahead['ratio']:.3f} ± {ahead['error']:.3f} times {ahead['best']}")


def _print_figures(title: str, rows: dict[str, dict[str, float]]) -> None:
    table = Table(title=title, title_justify="left")
    names = list(next(iter(rows.values())))
    for heading in ("", *names):
        table.add_column(heading.replace("_", " "), justify="right" if heading else "left")
    for label, figures in rows.items():
        table.add_row(label, *(f"{figures[name]:,.4g}" for name in names))
    out.print(table)
