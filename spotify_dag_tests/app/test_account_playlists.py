"""Playlists that the app adds to an account: who may ask, what is asked of them, and what is kept of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from samples.app_world import user_id
from spotify_dag.app.identity import TOKEN_HEADER, Session
from spotify_dag.simulator.loopback_server import Simulator
from spotify_dag_tests.app.conftest import Served

pytestmark = pytest.mark.medium
PATH = "/api/v1/playlists"


@contextmanager
def browser_of(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False) as browser:
        yield browser


def log_in(browser: httpx.Client, number: int, *, adds: bool = False) -> set[str]:
    """Log in as a browser does; return the rights that were asked for."""
    begun = browser.get("/login", params={"playlists": "true"} if adds else None)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    agreed = browser.get(begun.headers["location"], params={**asked, "user": user_id(number)})
    assert browser.get(agreed.headers["location"]).status_code == 303
    return set(asked["scope"].split())


def test_the_right_to_add_is_asked_for_only_then(served: Served, simulator: Simulator) -> None:
    world = simulator.api.world
    tracks = [world.tracks.ids.id_of(number) for number in range(120)]
    wanted = {"title": "A mix", "tracks": [*tracks, "not-spotifys"]}
    with browser_of(served) as browser:
        assert browser.post(PATH, json=wanted).status_code == 401
        read = log_in(browser, 39)
        answer = browser.post(PATH, json=wanted)
        assert answer.status_code == 403
        assert "/login?playlists=true" in answer.json()["detail"]
        assert not [number for number in world.listed(39) if world.playlist(number).made]
        assert log_in(browser, 39, adds=True) - read == {"playlist-modify-private"}
        other_site = {"Origin": "https://evil.example"}
        assert browser.post(PATH, json=wanted, headers=other_site).status_code == 403
        first = browser.post(PATH, json=wanted).json()
        again = browser.post(PATH, json=wanted).json()
    assert (first["tracks"], first["added"], first["left_out"]) == (120, 120, ["not-spotifys"])
    assert again == first | {"added": 0}
    (made,) = (number for number in world.listed(39) if world.playlist(number).made)
    assert [world.tracks.ids.id_of(int(track)) for track in world.playlist(made).tracks] == tracks
    assert first["url"].endswith(world.playlist_ids.id_of(made))


def test_a_token_that_may_add_reads_nothing_and_is_never_kept(served: Served) -> None:
    user = user_id(37)

    def sessions() -> list[Session]:
        return [one for one in served.service.identity._sessions.values() if one.user_id == user]

    with browser_of(served) as browser:
        log_in(browser, 37, adds=True)
        kept = browser.post("/api/v1/users", data={"profile": user, "consent": "true"})
        assert kept.status_code == 403
        assert "log in with Spotify first" in kept.json()["detail"]
        assert [one.token for one in sessions()] == [None]
        # With a login of both kinds the one that reads is kept, and only that.
        log_in(browser, 37)
        log_in(browser, 37, adds=True)
        assert served.follow(browser.post("/api/v1/users", data={"profile": user, "consent": "true"}))[1]["kept"]
        (one,) = [one for one in sessions() if one.token and one.adding]
    stored = (served.project.settings.data / "spotify" / "tokens" / f"{user}@simulator.json").read_text()
    assert one.token is not None
    assert one.adding is not None
    assert one.token["refresh_token"] in stored
    kept_files = [path for path in served.project.settings.data.rglob("*") if path.is_file()]
    for secret in (one.adding["access_token"], one.adding["refresh_token"]):
        assert not [path for path in kept_files if secret.encode() in path.read_bytes()]


def test_a_token_of_a_file_is_no_login_at_spotify(served: Served) -> None:
    proof = {TOKEN_HEADER: served.service.identity.file_token(user_id(5))}
    answer = served.client.post(PATH, json={"title": "", "tracks": ["0" * 22]}, headers=proof)
    assert answer.status_code == 401


@pytest.mark.parametrize("wanted", [{"title": "x", "tracks": []}, {"title": "x", "tracks": ["1"] * 1_001}, {"x": 1}])
def test_what_is_no_list_is_refused(served: Served, wanted: dict[str, object]) -> None:
    assert served.client.post(PATH, json=wanted).status_code == 422


def test_a_list_without_any_track_of_spotify_is_refused(served: Served) -> None:
    with browser_of(served) as browser:
        log_in(browser, 39, adds=True)
        answer = browser.post(PATH, json={"title": "x", "tracks": ["synthetic-track-1"]})
    assert answer.status_code == 422
    assert "has no track of Spotify" in answer.json()["detail"]
