"""Commands that make a list for people: ``spotify-dag blend | tracks-for``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from spotify_dag.cli.add import artist_names
from spotify_dag.cli.playlist_options import AccountOption, FormatOption, OutOption, leaving
from spotify_dag.cli.track_commands import print_tracks
from spotify_dag.console import JsonOption, clear_errors, err, open_project, out, print_json
from spotify_dag.lifecycle.change_preferences import set_wish
from spotify_dag.sources.export.reading import Reading
from spotify_dag.tracks.blend_answers import MOST_MINUTES, MOST_TRACKS, BlendWish
from spotify_dag.tracks.continuation import DIVERSITY
from spotify_dag.tracks.listeners import Listening
from spotify_dag.tracks.tracks_for import MOST_SUGGESTED, NEAR, SuggestWish
from spotify_dag.tracks.weekly_lists import read_weekly_list

EVERY_WEEK = "spotify-dag tracks-for USER --every-week"

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project


def blend(
    context: typer.Context,
    users: Annotated[list[str] | None, typer.Argument(metavar="USER…", help="User ids.", show_default=False)] = None,
    file: Annotated[
        list[Path] | None,
        typer.Option(help="Somebody who is here only as a file they exported; nothing of it is kept. Repeatable."),
    ] = None,
    tracks: Annotated[
        int, typer.Option(min=1, max=MOST_TRACKS, help="How many tracks, where no minutes are given.")
    ] = 50,
    minutes: Annotated[
        float | None, typer.Option(min=5, max=MOST_MINUTES, help="How long it may be, instead.", show_default=False)
    ] = None,
    known: Annotated[
        float, typer.Option(min=0, max=1, help="Share of tracks that one of them has; the others are new to all.")
    ] = 0.5,
    without_artist: Annotated[
        list[str] | None, typer.Option(help="An artist that one of them does not want; repeatable.")
    ] = None,
    without_track: Annotated[
        list[str] | None, typer.Option(help="A track (id, URI, link) that one of them does not want; repeatable.")
    ] = None,
    as_json: JsonOption = False,
    form: FormatOption = None,
    out_path: OutOption = None,
    account: AccountOption = False,
) -> None:
    """Make one list for 2 to 20 people, so that the least satisfied of them is satisfied most."""
    with clear_errors():
        leave = leaving(as_json, form, out_path, account)
        project = open_project(context)
        project.check_layout()
        blends = project.blends
        guests = [(path.stem, Listening.of_items(_items(project, path))) for path in file or ()]
        wish = BlendWish(
            tracks=tracks,
            minutes=minutes,
            known=known,
            without_artists=without_artist or [],
            without_tracks=without_track or [],
        )
        answer = blends.blended(users or [], wish, guests)
        if as_json:
            print_json(answer)
        elif leave:
            people = ", ".join(person["user_id"] for person in answer["people"])
            leave.give(project.settings, f"Blend of {people}", answer["tracks"])
        else:
            _print(answer)


def tracks_for(
    context: typer.Context,
    user: Annotated[str, typer.Argument(help="User id.")],
    count: Annotated[int, typer.Option("-k", min=1, max=MOST_SUGGESTED, help="Number of tracks.")] = 50,
    popularity: Annotated[
        float, typer.Option(min=-1, max=1, help="-1: rather unknown tracks; 1: rather popular ones.")
    ] = 0.0,
    diversity: Annotated[
        float, typer.Option(min=0, max=1, help="How much better every further track of an artist must be.")
    ] = DIVERSITY,
    week: Annotated[bool, typer.Option("--week", help="Show the list that was made for this Monday.")] = False,
    every_week: Annotated[
        bool | None,
        typer.Option("--every-week/--no-week", help="Make a list every Monday, or none any more.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    form: FormatOption = None,
    out_path: OutOption = None,
    account: AccountOption = False,
) -> None:
    """Suggest tracks that USER does not have, by their playlists and the nearest users, and say why."""
    with clear_errors():
        leave = leaving(as_json, form, out_path, account)
        project = open_project(context)
        project.check_layout()
        if every_week is not None:
            set_wish(project, project.inbox.weekly, user, every_week)
            what = "gets a list every Monday, the first one" if every_week else "gets no list any more; those made go"
            err.print(f"'{user}' {what} with the next run: spotify-dag run", markup=False)
            return
        if week:
            answer = read_weekly_list(project.lake, project.track_answers, user)
            if answer["unmade_reason"] or answer["week"] is None:
                err.print(answer["unmade_reason"] or f"There is no list. Ask for one: {EVERY_WEEK}", markup=False)
        else:
            wish = SuggestWish(count=count, popularity=popularity, diversity=diversity)
            answer = project.tracks_for.suggested(user, wish, project.nearest(user, NEAR))
        if as_json:
            print_json({"user_id": user, **answer})
        elif leave:
            leave.give(project.settings, f"Tracks for {user}", answer["tracks"])
        else:
            print_tracks(f"Tracks for {user}", answer["tracks"])


def _items(project: Project, path: Path) -> pl.DataFrame:
    """Return the items of a file that somebody exported."""
    import polars as pl

    reading = Reading(path, path.stem, artist_names=lambda: artist_names(project))
    return pl.concat(list(reading.frames())).filter(pl.col("reason").is_null())


def _print(answer: dict[str, Any]) -> None:
    table = Table(title=f"{len(answer['tracks'])} tracks, {answer['minutes']:.0f} minutes", title_justify="left")
    table.add_column("", justify="right")
    for heading in ("Track", "Artist", "For"):
        table.add_column(heading, overflow="fold")
    for place, track in enumerate(answer["tracks"], 1):
        table.add_row(str(place), track["track_name"], track["artist_name"], "; ".join(track["why"]))
    out.print(table)
    people = Table(title="Expected satisfaction", title_justify="left")
    people.add_column("User")
    people.add_column("Satisfaction", justify="right")
    for person in answer["people"]:
        people.add_row(person["user_id"], f"{person['satisfaction']:.0%}")
    out.print(people)
    out.print("By what the model expects; 100% is the best list of this length for them alone.", style="dim")
