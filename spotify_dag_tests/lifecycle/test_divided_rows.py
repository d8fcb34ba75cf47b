"""What tables say of a whole bucket, once it is split: sums stay, and each part says what is in it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from spotify_dag.lifecycle.divided_rows import _allotted, _Requests, divided
from spotify_dag.project import Project
from spotify_dag.schemas import ARTIST_GENRES, INGESTS, RAW_PLAYLISTS, REJECTS, USERS, user_buckets
from spotify_dag.settings import Settings

PARTS = range(1, 8, 2)
NOW = datetime(2026, 1, 5, tzinfo=UTC)


def test_counts_are_those_of_each_part() -> None:
    counted = Counter({("mpd", 1): 4, ("mpd", 5): 2, ("lastfm", 3): 1})
    assert _allotted({"mpd": 6, "lastfm": 1}, counted, PARTS) == counted


def test_what_nobody_was_counted_for_stays_with_the_first_part() -> None:
    allotted = _allotted({"mpd": 9}, Counter({("mpd", 5): 2}), PARTS)
    assert allotted == {("mpd", 1): 7, ("mpd", 5): 2}


def test_no_source_gets_more_than_it_had() -> None:
    allotted = _allotted({"mpd": 3}, Counter({("mpd", 1): 2, ("mpd", 3): 2}), PARTS)
    assert sum(allotted.values()) == 3


def test_users_of_a_simulated_service_count_for_the_source_they_were_read_from() -> None:
    counted = Counter({("synthetic", 1): 2, ("synthetic", 3): 3, ("mpd", 3): 1})
    allotted = _allotted({"spotify": 5, "mpd": 1}, counted, PARTS)
    assert +allotted == {("spotify", 1): 2, ("spotify", 3): 3, ("mpd", 3): 1}


WISH = f"{'0' * 16}-{'1' * 16}-public"


@pytest.mark.parametrize(
    ("read", "handed_in", "version"),
    [
        ("old", [("anna", WISH)], "new 5"),  # another part of the bucket is stale
        ("old", [], "old"),
        ("old", [("anna", "another wish")], "old"),
        ("present", [], "new 5"),
    ],
)
def test_a_part_in_which_everybody_was_read_is_not_stale(
    read: str, handed_in: list[tuple[str, str]], version: str
) -> None:
    wishes = pl.DataFrame({"user_bucket": [5], "user_id": ["anna"], "handed_in": [WISH]})
    requests = _Requests({1: "present"}, {5: "new 5"}, wishes)
    assert requests.version(read, 1, 5, handed_in) == version
    assert requests.version("present", 1, 7, []) is None


def test_rejects_artists_and_counts_go_where_their_users_go(tmp_path: Path) -> None:
    project = Project.open(Settings(data=tmp_path, n_buckets=1))
    there, users = project.divided(4), [f"user-{number}" for number in range(9)]
    own = dict(zip(users, user_buckets(users, 4), strict=True))
    at = {"user_bucket": 0, "source": "mpd", "fetched_at": NOW}
    items = [
        at | {"user_id": user, "playlist_id": "p", "playlist_position": 0, "position": place, "artist_name": artist}
        for number, user in enumerate(users)
        for place, artist in enumerate(["Air", f"Artist {number % 3}"])
    ]
    project.lake.replace(RAW_PLAYLISTS, [0], [RAW_PLAYLISTS.conform(pl.DataFrame(items))])
    people = [at | {"user_id": user, "rows_kept": 2, "content_hash": 1, "opted_in": True} for user in users]
    project.lake.replace(USERS, [0], [USERS.conform(pl.DataFrame(people))])
    wrong = {"row": 1, "field": "artist_name", "value": "", "reason": "no artist name", "dropped": True}
    rejects = [at | wrong | {"file": "a.json", "user_id": user} for user in (users[0], users[3], None)]
    project.lake.replace(REJECTS, [0], [REJECTS.conform(pl.DataFrame(rejects))])
    names = ["air", "artist0", "artist1", "artist2", "nobody"]
    artists = [
        {"user_bucket": 0, "artist_key": key, "artist_name": key, "genres": [key], "rows": 9, "matched_by": "id"}
        for key in names
    ]
    project.lake.replace(ARTIST_GENRES, [0], [ARTIST_GENRES.conform(pl.DataFrame(artists))])
    read = at | {"source_version": "v", "rows_read": 22, "rows_kept": 18, "rows_rejected": 3, "users": 9}
    project.lake.replace(INGESTS, [0], [INGESTS.conform(pl.DataFrame([read]))])
    project.tombstones.add(users[8])

    (genres,) = divided(project, there, ARTIST_GENRES, [0])
    heard = Counter((own[str(item["user_id"])], str(item["artist_name"]).lower().replace(" ", "")) for item in items)
    assert {(part, key): rows for part, key, rows in genres.select("user_bucket", "artist_key", "rows").rows()} == heard
    assert genres["genres"].to_list() == [[key] for key in genres["artist_key"]]

    (found,) = divided(project, there, REJECTS, [0])
    (of_file,) = user_buckets(["a.json"], 4)
    assert found["user_bucket"].to_list() == [own[users[0]], own[users[3]], of_file]

    (kept,) = divided(project, there, USERS, [0])
    assert kept.select("user_id", "user_bucket").rows() == [(user, own[user]) for user in users[:8]]

    (counts,) = divided(project, there, INGESTS, [0])
    assert counts["source_version"].to_list() == ["v"] * 4
    assert counts["users"].to_list() == [list(own.values()).count(part) for part in range(4)]
    assert counts["rows_kept"].to_list() == [2 * list(own.values()).count(part) for part in range(4)]
    rejected = Counter([own[users[0]], own[users[3]], of_file])
    assert counts["rows_rejected"].to_list() == [rejected[part] for part in range(4)]
    assert counts["rows_read"].sum() == 22
