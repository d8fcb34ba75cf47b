"""A list of new tracks each Monday, through the real graph: for those who ask for one, and for nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg
import polars as pl
import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.orchestration.freshness import waiting
from spotify_dag.orchestration.schedules import monday_lists
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, WEEKLY_PLAYLISTS, user_buckets
from spotify_dag.sources.base import SourceError
from spotify_dag.staleness.due_weekly_lists import stale_weekly_lists
from spotify_dag.staleness.stamp import stamp
from spotify_dag.tracks.tracks_for import NEAR, SuggestWish
from spotify_dag.tracks.weekly_lists import LENGTH, WEEKS_KEPT, monday_of, read_weekly_list

pytestmark = pytest.mark.slow
USERS_WHO_ASK = [f"synthetic-{number:06d}" for number in (0, 1, 2, 3)]


@pytest.fixture(autouse=True)
def _two_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_DAG_N_BUCKETS", "2")


def bring_up(project: Project, instance: dg.DagsterInstance) -> dict[str, int]:
    """Do what ``spotify-dag run`` does; return the stages that were run, each with its number of buckets."""
    definitions = build_definitions(settings=project.settings)
    return {stage.stage: stage.buckets for stage in bring_up_to_date(project, definitions, instance)}


def lists(project: Project) -> pl.DataFrame:
    return project.lake.scan(WEEKLY_PLAYLISTS).sort("user_id", "week").collect()


def move_back(project: Project, weeks: int) -> None:
    """Make all lists those of earlier weeks."""
    rows = lists(project)
    earlier = pl.col("week").str.to_date() - pl.duration(weeks=weeks)
    project.lake.replace(WEEKLY_PLAYLISTS, [0, 1], [rows.with_columns(earlier.dt.strftime("%Y-%m-%d").alias("week"))])


def test_lists_are_made_once_a_week_of_those_who_ask_and_go_with_them(
    project: Project, instance: dg.DagsterInstance
) -> None:
    assert len(set(user_buckets(USERS_WHO_ASK, 2))) == 2
    before = stamp(project)
    assert bring_up(project, instance) == {}
    for user in USERS_WHO_ASK:
        assert CliRunner().invoke(app, [*command(project), user, "--every-week"]).exit_code == 0
    project.inbox.weekly.wish("nobody-here")
    assert stamp(project) != before
    assert waiting(project)["weekly"] == [0, 1]
    assert bring_up(project, instance) == {"weekly": 2}

    first, week = lists(project), monday_of()
    assert first["user_id"].to_list() == USERS_WHO_ASK
    assert first["week"].to_list() == [week] * 4
    own = project.lake.scan(RAW_PLAYLISTS).collect()
    for row in first.to_dicts():
        suggested = project.tracks_for.suggested(row["user_id"], SuggestWish(), project.nearest(row["user_id"], NEAR))
        assert row["tracks"] == [track["track_id"] for track in suggested["tracks"]]
        assert len(row["tracks"]) == LENGTH == len(row["scores"]) == len(row["reasons"])
        assert not set(row["tracks"]) & set(own.filter(pl.col("user_id") == row["user_id"])["track_id"])
    version = project.lake.version(WEEKLY_PLAYLISTS)
    assert bring_up(project, instance) == {}
    assert project.lake.version(WEEKLY_PLAYLISTS) == version
    # A run that was killed between two buckets: the other bucket is made, and this one left alone.
    project.lake.replace(WEEKLY_PLAYLISTS, [1], [])
    assert stale_weekly_lists(project) == [1]
    assert bring_up(project, instance) == {"weekly": 1}
    assert lists(project).drop("made_at").equals(first.drop("made_at"))

    # The next weeks: other tracks each, and no more than some lists are kept.
    for _ in range(WEEKS_KEPT):
        move_back(project, 1)
        assert bring_up(project, instance) == {"weekly": 2}
    kept = lists(project)
    assert kept.group_by("user_id").len()["len"].to_list() == [WEEKS_KEPT] * 4
    assert kept["week"].min() == monday_of(datetime.now(UTC) - timedelta(weeks=WEEKS_KEPT - 1))
    of_one = kept.filter(pl.col("user_id") == USERS_WHO_ASK[0])["tracks"].explode()
    assert of_one.n_unique() == len(of_one)

    # Who wants none any more has none, and a forgotten user is named nowhere.
    assert CliRunner().invoke(app, [*command(project), USERS_WHO_ASK[0], "--no-week"]).exit_code == 0
    assert bring_up(project, instance) == {"weekly": 1}
    assert set(lists(project)["user_id"]) == set(USERS_WHO_ASK[1:])
    forgotten = USERS_WHO_ASK[1]
    others = lists(project).filter(pl.col("user_id") != forgotten)
    assert find_mentions(project, forgotten).counts.keys() >= {"inbox/weekly/users.json"}
    deleted = forget(project, forgotten).deleted["lake/weekly_playlist"]
    assert find_mentions(project, forgotten).counts == {}
    # With them went the lists that had a track of theirs alone, and no other.
    left, had = lists(project), project.lake.scan(RAW_PLAYLISTS).select("track_id").collect()["track_id"].to_list()
    assert left.equals(others.filter(pl.col("tracks").list.eval(pl.element().is_in(had)).list.all()))
    assert deleted == WEEKS_KEPT + len(others) - len(left)
    assert set(bring_up(project, instance)) == {"tracks", "weekly"}
    assert set(lists(project).filter(pl.col("week") == monday_of())["user_id"]) == set(USERS_WHO_ASK[2:])
    with pytest.raises(SourceError, match="was forgotten"):
        project.inbox.weekly.wish(forgotten)


def command(project: Project) -> list[str]:
    return ["--data", str(project.settings.data), "tracks-for"]


def asked_for(context: dg.ScheduleEvaluationContext) -> Sequence[dg.RunRequest]:
    return monday_lists.evaluate_tick(context).run_requests or []


def test_the_list_is_shown_and_says_why_where_it_is_empty(project: Project, instance: dg.DagsterInstance) -> None:
    user, empty = USERS_WHO_ASK[:2]
    nothing = CliRunner().invoke(app, [*command(project), user, "--week"])
    assert "There is no list. Ask for one" in nothing.output
    stranger = CliRunner().invoke(app, [*command(project), "stranger", "--every-week"])
    assert (stranger.exit_code, stranger.output.count("Nothing is stored of 'stranger'")) == (1, 1)
    for wishing in (user, empty):
        project.inbox.weekly.wish(wishing)
    # Somebody without listening.
    bucket = user_buckets([empty], 2)
    project.lake.replace_users(RAW_PLAYLISTS, bucket, [empty], RAW_PLAYLISTS.empty())
    context = dg.build_schedule_context(instance=instance, resources={"project": project})
    requests = asked_for(context)
    assert [request.partition_key or request.tags["dagster/asset_partition_range_start"] for request in requests] == [
        f"00|{monday_of()}"
    ]
    assert bring_up(project, instance) == {"weekly": 2}
    shown = read_weekly_list(project.lake, project.track_answers, user)
    assert (shown["week"], len(shown["tracks"]), shown["unmade_reason"]) == (monday_of(), LENGTH, None)
    assert all(track["why"] for track in shown["tracks"])
    none = read_weekly_list(project.lake, project.track_answers, empty)
    assert none["tracks"] == []
    assert f"Nobody called '{empty}' is known" in none["unmade_reason"]
    printed = CliRunner().invoke(app, [*command(project), user, "--week", "--format", "text"])
    assert len(printed.output.strip().splitlines()) == LENGTH + 2
    assert asked_for(context) == []
