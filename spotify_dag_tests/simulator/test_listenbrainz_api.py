"""The simulated ListenBrainz answers in the shapes, with the limits and the errors that are documented."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import requests

from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve

USER = "synthetic-000003"
Ask = Callable[..., requests.Response]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serve(SimulatorSettings(users=20, playlists=2, tracks=15, listens=300)) as simulator:
        yield simulator


@pytest.fixture
def ask(simulator: Simulator) -> Ask:
    return lambda path, **asked: requests.get(f"{simulator.url}/1/{path}", asked, timeout=60)


def test_listens_have_the_documented_shape(ask: Ask) -> None:
    payload = ask(f"user/{USER}/listens", count=2).json()["payload"]
    assert set(payload) == {"count", "user_id", "latest_listen_ts", "oldest_listen_ts", "listens"}
    assert (payload["count"], payload["user_id"]) == (2, USER)
    first, second = payload["listens"]
    assert first["listened_at"] == payload["latest_listen_ts"] >= second["listened_at"]
    assert {"artist_name", "track_name", "additional_info"} <= set(first["track_metadata"])


def test_bounds_exclude_themselves(simulator: Simulator, ask: Ask) -> None:
    at = simulator.api.listening.listens(3).at
    before = ask(f"user/{USER}/listens", count=1_000, max_ts=int(at[100])).json()["payload"]["listens"]
    after = ask(f"user/{USER}/listens", count=1_000, min_ts=int(at[100])).json()["payload"]["listens"]
    assert [one["listened_at"] for one in before] == at[at < at[100]][::-1].tolist()
    assert [one["listened_at"] for one in after] == at[at > at[100]][::-1].tolist()
    assert ask(f"user/{USER}/listens", max_ts=1, min_ts=1).status_code == 400


@pytest.mark.parametrize("path", ["user/nobody/listens", "user/nobody/listen-count", "stats/user/nobody/artists"])
def test_unknown_users_are_404_with_a_message(ask: Ask, path: str) -> None:
    answer = ask(path)
    assert (answer.status_code, answer.json()) == (404, {"code": 404, "error": "Cannot find user: nobody"})


def test_statistics_add_up_to_the_listens(simulator: Simulator, ask: Ask) -> None:
    payload = ask(f"stats/user/{USER}/artists", count=1_000).json()["payload"]
    assert sum(one["listen_count"] for one in payload["artists"]) == len(simulator.api.listening.listens(3).at)
    assert payload["total_artist_count"] == len(payload["artists"])
    counts = [one["listen_count"] for one in payload["artists"]]
    assert counts == sorted(counts, reverse=True)
    page = ask(f"stats/user/{USER}/artists", count=2, offset=1).json()["payload"]["artists"]
    assert page == payload["artists"][1:3]


def test_similar_users_are_those_of_the_largest_cosine(simulator: Simulator, ask: Ask) -> None:
    listening = simulator.api.listening
    counts = np.zeros((20, listening.world.tracks.ids.count))
    for user in range(20):
        tracks, plays = listening.counts(user)
        counts[user, tracks] = plays
    unit = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    cosines = unit @ unit[3]
    cosines[3] = -1
    similar: list[dict[str, Any]] = ask(f"user/{USER}/similar-users").json()["payload"]
    best = [user for user in np.argsort(-cosines, kind="stable")[:10] if cosines[user] > 0]
    assert [one["user_name"] for one in similar] == [listening.world.user_id(user) for user in best]
    np.testing.assert_allclose([one["similarity"] for one in similar], cosines[best])


def test_every_answer_says_how_many_requests_are_left() -> None:
    with serve(SimulatorSettings(users=1, listenbrainz_requests=3, listenbrainz_window=60)) as simulator:
        answers = [requests.get(f"{simulator.url}/1/user/{USER[:-1]}0/listen-count", timeout=60) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["X-RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert all(0 < int(answer.headers["X-RateLimit-Reset-In"]) <= 60 for answer in answers)
