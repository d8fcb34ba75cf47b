"""Lists of tracks that leave the app as files, and what comes back when they are handed in."""

from __future__ import annotations

from pathlib import Path
from typing import get_args
from urllib.parse import unquote

import polars as pl
import pytest

from samples.app_world import PRIVATE, user_id
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.playlists_out.forms import FORMS, FormName
from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.sources.export.reading import Reading
from spotify_dag_tests.app.conftest import Served

pytestmark = pytest.mark.medium


@pytest.mark.parametrize("form", get_args(FormName))
def test_a_search_leaves_and_comes_back(with_tracks: Served, form: FormName, tmp_path: Path) -> None:
    songs = with_tracks.client.get("/api/v1/search", params={"q": "love", "k": 20}).json()["tracks"]
    answer = with_tracks.client.get("/api/v1/search", params={"q": "love", "k": 20, "format": form})
    assert answer.status_code == 200
    assert answer.headers["content-type"].partition(";")[0] == FORMS[form].media_type
    name = unquote(answer.headers["content-disposition"].partition("filename*=UTF-8''")[2])
    assert name == f"love{FORMS[form].endings[0]}"
    (tmp_path / name).write_bytes(answer.content)
    rows = pl.concat(list(Reading(tmp_path / name, "anna").frames())).sort("position")
    assert rows["track_name"].to_list() == [song["track_name"] for song in songs]
    assert rows["artist_name"].to_list() == [song["artist_name"] for song in songs]
    assert set(rows["playlist_name"]) == {"love"}


@pytest.mark.parametrize("form", get_args(FormName))
def test_a_list_that_a_page_shows_is_the_same_file(with_tracks: Served, form: FormName) -> None:
    asked = {"q": "love", "k": "20"}
    ids = [song["track_id"] for song in with_tracks.client.get("/api/v1/search", params=asked).json()["tracks"]]
    of_search = with_tracks.client.get("/api/v1/search", params={**asked, "format": form})
    fields = {"title": "love", "tracks": ["nobody-has-it", *ids], "format": form}
    of_page = with_tracks.client.post("/api/v1/lists", data=fields)
    assert of_page.status_code == 200
    assert of_page.content == of_search.content
    assert of_page.headers["content-disposition"] == of_search.headers["content-disposition"]


def test_a_list_of_nothing_or_of_too_much_is_refused(with_tracks: Served) -> None:
    unknown = with_tracks.client.post("/api/v1/lists", data={"tracks": ["nobody-has-it"]})
    assert (unknown.status_code, "'nobody-has-it'" in unknown.json()["detail"]) == (404, True)
    for tracks in ([], ["a"] * 501, ["a" * 501]):
        assert with_tracks.client.post("/api/v1/lists", data={"tracks": tracks}).status_code == 422
    elsewhere = {"Origin": "https://elsewhere.example"}
    assert with_tracks.client.post("/api/v1/lists", data={"tracks": ["a"]}, headers=elsewhere).status_code == 403


def test_a_continuation_leaves_under_the_title_it_continues(with_tracks: Served) -> None:
    (song, *_) = with_tracks.client.get("/api/v1/search", params={"k": 1}).json()["tracks"]
    request = {"tracks": [song["track_id"]], "title": "a/b: c", "count": 5}
    as_json = with_tracks.client.post("/api/v1/continue", json=request).json()["recommendations"]
    answer = with_tracks.client.post("/api/v1/continue", params={"format": "m3u"}, json=request)
    assert answer.headers["content-disposition"].endswith("a_b_%20c.m3u8")
    assert answer.text.startswith("#EXTM3U\n#PLAYLIST:a/b: c\n")
    assert answer.text.count("#EXTINF:") == len(as_json) == 5


def test_a_blend_is_for_users_who_are_shown(with_tracks: Served) -> None:
    shown = [user_id(number) for number in (0, 1, 2)]
    made = with_tracks.client.post("/api/v1/blend", json={"users": shown, "tracks": 12}).json()
    assert len(made["tracks"]) == 12
    assert [one["user_id"] for one in made["people"]] == shown
    assert all(track["for"] for track in made["tracks"])
    as_file = with_tracks.client.post("/api/v1/blend", params={"format": "csv"}, json={"users": shown, "tracks": 12})
    assert len(as_file.text.splitlines()) == 13
    private = with_tracks.client.post("/api/v1/blend", json={"users": [user_id(0), PRIVATE]})
    nobody = with_tracks.client.post("/api/v1/blend", json={"users": [user_id(0), "nobody"]})
    assert (private.status_code, nobody.status_code) == (404, 404)
    assert private.json()["detail"] == nobody.json()["detail"].replace("nobody", PRIVATE)
    assert with_tracks.client.post("/api/v1/blend", json={"users": shown[:1]}).status_code == 422


def test_tracks_for_somebody_are_for_them_alone(with_tracks: Served) -> None:
    path, identity = f"/api/v1/users/{user_id(0)}/tracks", with_tracks.service.identity
    assert with_tracks.client.get(path).status_code == 401
    another = {TOKEN_HEADER: identity.file_token(user_id(1))}
    assert with_tracks.client.get(path, headers=another).status_code == 401
    proof = {TOKEN_HEADER: identity.file_token(user_id(0))}
    answer = with_tracks.client.get(path, params={"count": 8}, headers=proof).json()
    assert len(answer["tracks"]) == 8
    assert answer["near_users"] == 20
    own = with_tracks.project.lake.scan(RAW_PLAYLISTS).filter(pl.col("user_id") == user_id(0)).collect()["track_id"]
    assert not {track["track_id"] for track in answer["tracks"]} & set(own)


def test_another_form_is_refused(with_tracks: Served) -> None:
    answer = with_tracks.client.get("/api/v1/search", params={"format": "mp3"})
    assert answer.status_code == 422
    assert "'json'" in answer.json()["detail"]
