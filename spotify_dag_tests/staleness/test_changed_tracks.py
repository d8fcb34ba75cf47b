"""A catalogue that is changed row by row is the one that is made anew."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from spotify_dag.definitions import build_definitions
from spotify_dag.features.audio import RANGES
from spotify_dag.project import Project
from spotify_dag.schemas import (
    ARTIST_GENRES,
    FEWEST_LISTENERS,
    RAW_PLAYLISTS,
    TRACK_CATALOGUE,
    USERS,
    Table,
    user_buckets,
)
from spotify_dag.settings import Settings
from spotify_dag.staleness.changed_tracks import catalogue_inputs, genres_of_artists, made_from, touched_tracks
from spotify_dag.tracks.catalogue_rows import catalogue, distinct_tracks

pytestmark = pytest.mark.medium

BUCKETS, TRACKS, PER_USER = 16, 90, 6
NO_AUDIO = pl.DataFrame(schema={"track_id": pl.String, **dict.fromkeys(RANGES, pl.Float32)})


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root of 40 users, of whose tracks a third has no id, with its catalogue."""
    folder = tmp_path_factory.mktemp("base")
    project = Project.open(Settings(data=folder, n_buckets=BUCKETS))
    listens(project, {f"user-{number}": number for number in range(40)})
    genres(project, 0)
    assert brought_up_to_date(project) == tracks_for_everybody(project)
    return folder


@pytest.fixture
def project(base: Path, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(base, tmp_path / "data")
    return Project.open(Settings(data=tmp_path / "data", n_buckets=BUCKETS))


def tracks_for_everybody(project: Project) -> int:
    """Count, one by one, the tracks that have an id, and those without one that enough users have."""
    rows = project.lake.scan(RAW_PLAYLISTS).select("user_id", "track_id", "track_name").collect().rows()
    assert len({title for _, _, title in rows}) == TRACKS
    often = Counter(title for _, title in {(user, title) for user, track, title in rows if not track})
    return len({title for _, track, title in rows if track}) + sum(n >= FEWEST_LISTENERS for n in often.values())


def listens(project: Project, users: dict[str, int], spelling: str = "") -> None:
    """Give users the playlists of a seed each, beside what others have; a seed below 0 is no playlist."""
    buckets = dict(zip(users, user_buckets(list(users), BUCKETS), strict=True))
    rows = []
    for user, seed in users.items():
        drawn = np.random.default_rng(max(seed, 0)).permutation(TRACKS)[: PER_USER if seed >= 0 else 0]
        # So that together they have all tracks, some of them once.
        for track in {*drawn.tolist(), *range(seed * 3 % TRACKS, seed * 3 % TRACKS + 3)} if seed >= 0 else ():
            name = f"Song {track}{spelling}"
            rows.append((buckets[user], user, f"id-{track}" if track % 3 else None, name, f"Artist {track % 20}"))
    schema = ["user_bucket", "user_id", "track_id", "track_name", "artist_name"]
    items = pl.DataFrame(rows, schema=schema, orient="row", schema_overrides={"track_id": pl.String}).with_columns(
        pl.lit("mpd").alias("source"), pl.lit(datetime.now(UTC)).alias("fetched_at"),
        pl.lit("p").alias("playlist_id"), pl.lit(0).alias("playlist_position"),
        pl.int_range(pl.len()).over("user_id").alias("position"),
    )  # fmt: skip
    people = pl.DataFrame({"user_id": list(users), "user_bucket": list(buckets.values())}).with_columns(
        pl.lit("mpd").alias("source"), pl.lit(datetime.now(UTC)).alias("fetched_at"), pl.lit(1).alias("rows_kept"),
        pl.Series("content_hash", [hash((seed, spelling)) for seed in users.values()]), pl.lit(True).alias("opted_in"),
    )  # fmt: skip
    for table, rows_of in ((RAW_PLAYLISTS, items), (USERS, people)):
        others = project.lake.scan(table).filter(~pl.col("user_id").is_in(list(users))).collect()
        project.lake.overwrite(table, [others, conformed(table, rows_of)])


def genres(project: Project, shift: int) -> None:
    """Give half of the artists a genre."""
    rows = [
        (bucket, f"artist{number}", [f"genre {number + shift * (number == 4)}"])
        for bucket in (0, 1)
        for number in range(0, 20, 2)
    ]
    table = pl.DataFrame(rows, schema=["user_bucket", "artist_key", "genres"], orient="row").with_columns(
        pl.col("artist_key").alias("artist_name"), pl.lit(1).alias("rows")
    )
    project.lake.overwrite(ARTIST_GENRES, [conformed(ARTIST_GENRES, table)])


def conformed(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([table.empty(), rows], how="diagonal_relaxed").pipe(table.conform)


def materialise(project: Project) -> None:
    job = build_definitions(settings=project.settings).resolve_job_def("tracks")
    assert job.execute_in_process(asset_selection=[dg.AssetKey("track_catalogue")]).success


def brought_up_to_date(project: Project) -> int:
    """Materialise the catalogue, and compare it with one that is made of everything; return its size."""
    kept = project.lake.scan(TRACK_CATALOGUE).collect()
    materialise(project)
    lake = project.lake
    made = lake.scan(TRACK_CATALOGUE).sort("track_id").collect()
    items = distinct_tracks(lake.scan(RAW_PLAYLISTS), lake.scan(USERS)).collect()
    free = kept.select(pl.col("catalogue_number").max().fill_null(-1) + 1).item()
    expected = catalogue(items, kept, genres_of_artists(lake).collect(), NO_AUDIO, free)
    assert made.equals(TRACK_CATALOGUE.conform(expected).sort("track_id"))
    return made.height


def touched(project: Project) -> list[str] | None:
    now = catalogue_inputs(project)
    found = touched_tracks(project.lake, made_from(project.track_catalogue_card(), now), now)
    return None if found is None else found.explode().to_list()


CHANGES = {
    "somebody new": lambda project: listens(project, {"new": 77}),
    "somebody gone": lambda project: listens(project, {"user-3": -1}),
    "somebody with other playlists": lambda project: listens(project, {"user-5": 78}),
    "another spelling": lambda project: listens(project, {"user-7": 7}, " (Radio Edit)"),
    "two at once": lambda project: listens(project, {"user-1": 2, "user-2": -1}),
    "other genres": lambda project: genres(project, 1),
    "a genre that is gone": lambda project: project.lake.overwrite(ARTIST_GENRES, [ARTIST_GENRES.empty()]),
}


def as_split(project: Project) -> dict[str, Any]:
    """Return the present inputs as they are of twice as many buckets: a bucket is the sum of its parts."""
    now = catalogue_inputs(project)
    halves = [(int(users) // 3, int(users) - int(users) // 3) if users else ("", "") for users in now["users"]]
    return now | {"users": [str(half[part]) for part in (0, 1) for half in halves]}


def test_a_catalogue_is_not_older_because_buckets_were_split(project: Project) -> None:
    card, now = project.track_catalogue_card(), as_split(project)
    assert made_from(card, now) == now
    listens(project, {"user-3": -1})
    changed, after = user_buckets(["user-3"], BUCKETS)[0], as_split(project)
    before = made_from(card, after)
    different = [bucket for bucket, users in enumerate(after["users"]) if before["users"][bucket] != users]
    assert different == [changed, changed + BUCKETS]
    assert made_from({"made_from": "0123"}, now) is None


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_followed_without_reading_everything(project: Project, change: str) -> None:
    CHANGES[change](project)
    found = touched(project)
    assert found is not None
    assert 0 < len(found) <= TRACKS / 2  # half of the artists have a genre that can go
    brought_up_to_date(project)
    assert touched(project) == []


@pytest.mark.slow
def test_many_changes_after_one_another(project: Project) -> None:
    for change in CHANGES.values():
        change(project)
        brought_up_to_date(project)


def test_after_a_change_of_most_buckets_everything_is_made_anew(project: Project) -> None:
    listens(project, {f"user-{number}": number + 1 for number in range(40)})
    assert touched(project) is None
    assert brought_up_to_date(project) == tracks_for_everybody(project)


def test_what_an_older_version_wrote_is_made_anew(project: Project) -> None:
    project.set_track_catalogue_card({"made_from": "0123456789abcdef"})
    assert touched(project) is None
    brought_up_to_date(project)


def test_a_number_is_never_given_twice(project: Project) -> None:
    last = project.lake.scan(TRACK_CATALOGUE).sort("catalogue_number").collect().row(-1, named=True)
    holders = project.lake.scan(RAW_PLAYLISTS).filter(pl.col("track_name") == last["track_name"]).collect()
    listens(project, dict.fromkeys(holders["user_id"].unique().to_list(), -1))
    brought_up_to_date(project)
    listens(project, dict.fromkeys(("new", "new-2", "new-3"), 1), " once more")  # so many that everybody may be told
    materialise(project)
    added = project.lake.scan(TRACK_CATALOGUE).filter(pl.col("track_name").str.ends_with("once more")).collect()
    assert added["catalogue_number"].min() > last["catalogue_number"]
