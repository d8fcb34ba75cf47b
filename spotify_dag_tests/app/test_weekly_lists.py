"""The list of every Monday in the app: asked for, shown and ended by the user themselves, and by nobody else."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from samples.app_world import user_id
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.schemas import WEEKLY_PLAYLISTS, user_buckets
from spotify_dag.tracks.weekly_lists import monday_of, weekly_list
from spotify_dag_tests.app.conftest import Served

pytestmark = pytest.mark.medium


def test_a_list_is_asked_for_shown_and_ended(with_tracks: Served) -> None:
    user, client, project = user_id(6), with_tracks.client, with_tracks.project
    path = f"/api/v1/users/{user}/weekly"
    proof = {TOKEN_HEADER: with_tracks.service.identity.file_token(user)}
    another = {TOKEN_HEADER: with_tracks.service.identity.file_token(user_id(7))}
    for method in ("GET", "PUT", "DELETE"):
        assert client.request(method, path).status_code == 401
        assert client.request(method, path, headers=another).status_code == 401
    assert client.put(path, headers=proof).json() == {"user_id": user, "every_week": True}
    assert project.inbox.weekly.users() == {user}
    assert client.get(f"/api/v1/users/{user}", headers=proof).json()["every_week"] is True
    nothing: dict[str, Any] = {"week": None, "weeks": [], "tracks": [], "unmade_reason": None}
    assert client.get(path, headers=proof).json() == nothing

    made = weekly_list(project.tracks_for, user, [], [])
    row = {"user_id": user, "week": monday_of(), "made_at": datetime.now(UTC), **made}
    bucket = user_buckets([user], 2)
    rows = pl.DataFrame([row | {"user_bucket": bucket[0]}], schema=WEEKLY_PLAYLISTS.polars_schema())
    project.lake.replace(WEEKLY_PLAYLISTS, bucket, [rows])
    shown = client.get(path, headers=proof).json()
    assert (shown["week"], shown["weeks"]) == (monday_of(), [monday_of()])
    assert [track["track_id"] for track in shown["tracks"]] == made["tracks"]
    assert [track["why"] for track in shown["tracks"]] == made["reasons"]
    as_file = client.get(path, headers=proof, params={"format": "csv"})
    assert len(as_file.text.splitlines()) == len(made["tracks"]) + 1
    other = client.get(path, headers=proof, params={"week": "2020-01-06"})
    assert (other.status_code, monday_of() in other.json()["detail"]) == (404, True)
    taken = client.get(f"/api/v1/users/{user}/data", headers=proof).json()["weekly_playlist"]
    assert [row["tracks"] for row in taken] == [made["tracks"]]

    assert client.delete(path, headers=proof).json() == {"user_id": user, "every_week": False}
    assert project.inbox.weekly.users() == set()


def test_who_is_not_stored_can_have_no_list(with_tracks: Served) -> None:
    proof = {TOKEN_HEADER: with_tracks.service.identity.file_token("export-nobody")}
    answer = with_tracks.client.put("/api/v1/users/export-nobody/weekly", headers=proof)
    assert (answer.status_code, with_tracks.project.inbox.weekly.users()) == (404, set())
