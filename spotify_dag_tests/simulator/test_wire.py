"""Faults as a client meets them on the wire, and that they come as often as was asked and where they came before."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from spotify_dag.simulator.faults_and_limits import RATE_KINDS, Faults
from spotify_dag.simulator.wire import endpoint, fault_of
from spotify_dag_tests.simulator.conftest import WRITING, Client
from spotify_dag_tests.waiting import until

pytestmark = pytest.mark.medium  # servers on loopback, or a trained tower

URL = "/v1/playlists/x/items?offset=0"


class TestKinds:
    """Each kind at rate 1."""

    @pytest.fixture
    def ask(self, faulty: Callable[..., Client]) -> Callable[..., requests.Response]:
        def ask(kind: str, **details: Any) -> requests.Response:
            client = faulty(Faults(**{kind: 1, **details}))
            return client.get(f"playlists/{client.playlist_id(1)}/items")

        return ask

    @pytest.mark.parametrize(
        ("kind", "wait"),
        [
            ("rate_limited", "1"),
            ("rate_limited_long", "86400"),
            ("rate_limited_garbled", "soon"),
            ("quota_exceeded", "86400"),
        ],
    )
    def test_limits(self, ask: Any, kind: str, wait: str) -> None:
        answer = ask(kind)
        assert (answer.status_code, answer.headers["retry-after"]) == (429, wait)
        assert answer.json()["error"].get("reason") == ("QUOTA_EXCEEDED" if kind == "quota_exceeded" else None)

    def test_waits_can_be_shortened(self, ask: Any) -> None:
        assert ask("rate_limited", retry_after=3).headers["retry-after"] == "3"
        for kind in ("rate_limited_long", "quota_exceeded"):
            assert ask(kind, long_retry_after=2).headers["retry-after"] == "2"

    @pytest.mark.parametrize(("kind", "status"), [("server_error", 500), ("bad_gateway", 502), ("unavailable", 503)])
    def test_servers_in_trouble(self, ask: Any, kind: str, status: int) -> None:
        answer = ask(kind)
        assert (answer.status_code, answer.json()["error"]["status"]) == (status, status)

    def test_bodies_that_are_none(self, ask: Any) -> None:
        empty, html = ask("empty"), ask("html")
        assert (empty.status_code, empty.content) == (200, b"")
        assert (html.status_code, html.headers["content-type"]) == (200, "text/html")
        assert html.text.startswith("<!doctype html>")

    def test_half_a_body_that_claims_to_be_whole(self, ask: Any) -> None:
        answer = ask("malformed")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert len(answer.content) == int(answer.headers["content-length"]) > 1_000
        with pytest.raises(json.JSONDecodeError):
            json.loads(answer.content)

    def test_half_a_body_that_ends(self, ask: Any) -> None:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            ask("truncated")

    def test_no_answer_at_all(self, ask: Any) -> None:
        with pytest.raises(requests.exceptions.ConnectionError, match="without response"):
            ask("hang_up")

    def test_a_drip_takes_its_time_and_loses_nothing(self, ask: Any) -> None:
        started = time.perf_counter()
        answer = ask("slow", drip_seconds=1)
        assert time.perf_counter() - started >= 1
        assert len(answer.json()["items"]) == 20

    def test_errors_of_the_endpoint_drip_too(self, faulty: Callable[..., Client]) -> None:
        client = faulty(Faults(slow=1, drip_seconds=0.1))
        assert client.get("users/nobody").json()["error"]["status"] == 404

    def test_the_server_goes_on(self, faulty: Callable[..., Client]) -> None:
        """Hang-ups leave no connection behind, and the next request is answered."""
        client = faulty(Faults(hang_up=1))
        for _ in range(20):
            with pytest.raises(requests.exceptions.ConnectionError):
                client.get("me")
        api = client.simulator.api
        api.wire.faults = Faults()
        assert client.get("users/synthetic-000000").status_code == 200
        until(lambda: (api.wire.in_flight, len(api.wire.connections)) == (0, 1))
        assert api.wire.traffic.faults == {"hang_up": 20}


class TestWriting:
    """What was to be written may have been written although the answer says otherwise."""

    @pytest.mark.parametrize("kind", ["server_error", "bad_gateway", "unavailable", "hang_up", "empty", "html"])
    def test_half_of_the_failures_come_after_the_writing(self, faulty: Callable[..., Client], kind: str) -> None:
        client = faulty(Faults(**{kind: 1}))
        token = client.login("synthetic-000001", WRITING)
        for _ in range(12):
            with suppress(requests.ConnectionError):
                client.write("me/playlists", {"name": "Mine", "public": False}, token)
        assert 2 <= len(client.simulator.api.world._made.get(1, [])) <= 10

    def test_a_limit_writes_nothing(self, faulty: Callable[..., Client]) -> None:
        client = faulty(Faults(rate_limited=1))
        token = client.login("synthetic-000001", WRITING)
        for _ in range(12):
            assert client.write("me/playlists", {"name": "Mine", "public": False}, token).status_code == 429
        assert client.simulator.api.world._made == {}
        assert client.simulator.api.wire.traffic.endpoints == {"POST /v1/me/playlists": 12}


class TestRates:
    def test_faults_come_as_often_as_was_asked(self) -> None:
        faults = Faults(hang_up=0.1, unavailable=0.05)
        seen = Counter(fault_of(faults, 0, f"/v1/x/{number}", 0) for number in range(20_000))
        assert set(seen) == {None, "hang_up", "unavailable"}
        assert seen["hang_up"] / 20_000 == pytest.approx(0.1, abs=0.01)
        assert seen["unavailable"] / 20_000 == pytest.approx(0.05, abs=0.01)

    def test_evenly_is_every_kind(self) -> None:
        faults = Faults.evenly(0.26, long_retry_after=2)
        assert [getattr(faults, kind) for kind in RATE_KINDS] == pytest.approx([0.02] * 13)
        assert faults.long_retry_after == 2
        seen = Counter(fault_of(faults, 0, URL, attempt) for attempt in range(20_000))
        assert set(seen) == {None, *RATE_KINDS}
        assert 1 - seen[None] / 20_000 == pytest.approx(0.26, abs=0.02)
        assert {fault_of(Faults.evenly(1), 0, URL, attempt) for attempt in range(1_000)} == set(RATE_KINDS)

    def test_the_same_seed_gives_the_same_faults_to_the_same_requests(self) -> None:
        faults = Faults.evenly(0.5)
        drawn = [fault_of(faults, 7, URL, attempt) for attempt in range(200)]
        assert drawn == [fault_of(faults, 7, URL, attempt) for attempt in range(200)]
        assert drawn != [fault_of(faults, 8, URL, attempt) for attempt in range(200)]
        assert drawn != [fault_of(faults, 7, URL + "0", attempt) for attempt in range(200)]

    def test_asking_again_may_help(self, faulty: Callable[..., Client]) -> None:
        client = faulty(faults := Faults(unavailable=0.5))
        answered = [client.get("users/synthetic-000001").status_code for _ in range(12)]
        drawn = [fault_of(faults, 0, "/v1/users/synthetic-000001", attempt) for attempt in range(12)]
        assert answered == [200 if fault is None else 503 for fault in drawn]
        assert set(answered) == {200, 503}

    def test_a_concurrent_client_meets_the_same_faults(self, faulty: Callable[..., Client]) -> None:
        faults = Faults(unavailable=0.2, empty=0.2)
        seen = []
        for workers in (1, 4):
            client = faulty(faults)
            paths = [f"playlists/{client.playlist_id(user)}/items?limit=1" for user in range(10)] * 3
            client.get("me")
            with ThreadPoolExecutor(workers) as pool:
                list(pool.map(client.get, paths))
            seen.append((client.simulator.api.wire.traffic.faults, client.simulator.api.wire.traffic.statuses))
        assert seen[0] == seen[1]
        assert set(seen[0][0]) == {"unavailable", "empty"}

    def test_rates_are_shares(self) -> None:
        for wrong in ({"hang_up": -0.1}, {"hang_up": 1.1}, {"hang_up": 0.6, "slow": 0.6}, {"typo": 0.1}):
            with pytest.raises(ValidationError):
                Faults(**wrong)


class TestOddities:
    def test_they_stand_beside_the_world_and_stay_where_they_are(self, faulty: Callable[..., Client]) -> None:
        plain = faulty()
        odd = faulty(Faults(null_item=0.1, local_item=0.1, episode=0.1))
        path = f"playlists/{plain.playlist_id(4)}/items?limit=50"
        world, entries = plain.json(path)["items"], odd.json(path)["items"]
        assert odd.json(path)["items"] == entries
        tracks = [e["item"]["id"] for e in entries if e["item"] and e["item"]["type"] == "track" and e["item"]["id"]]
        assert tracks == [entry["item"]["id"] for entry in world][: len(tracks)]
        kinds = Counter(
            "null" if entry["item"] is None
            else "local" if entry["is_local"]
            else entry["item"]["type"]
            for entry in entries
        )  # fmt: skip
        assert set(kinds) == {"null", "local", "episode", "track"}
        (local,) = [entry["item"] for entry in entries if entry["is_local"]][:1]
        assert (local["id"], local["is_local"], local["album"]["release_date"]) == (None, True, None)
        assert local["uri"].startswith("spotify:local:")
        assert entries == [{**entry, "track": entry["item"]} for entry in entries], "both names in extended mode"

    def test_the_whole_is_counted_with_them(self, faulty: Callable[..., Client]) -> None:
        odd = faulty(Faults(null_item=1))
        playlist = odd.json("users/synthetic-000004/playlists")["items"][0]
        items = odd.json(f"playlists/{playlist['id']}/items")
        tracks = len(odd.simulator.api.world.playlist(odd.simulator.api.world.own(4)[0]).tracks)
        assert playlist["items"]["total"] == items["total"] == 2 * tracks

    def test_null_dates_genres_and_playlists(self, faulty: Callable[..., Client]) -> None:
        odd = faulty(Faults(null_date=1, null_genres=1, null_playlist=1))
        entries = odd.json(f"playlists/{odd.playlist_id(4)}/items")["items"]
        assert {(entry["added_at"], entry["added_by"]) for entry in entries} == {(None, None)}
        artist = entries[0]["item"]["artists"][0]["id"]
        assert odd.json(f"artists/{artist}")["genres"] is None
        listed = odd.json("users/synthetic-000004/playlists")
        assert [playlist is None for playlist in listed["items"]] == [False, True] * (listed["total"] // 2)


class TestLatency:
    def test_requests_wait_side_by_side(self, faulty: Callable[..., Client]) -> None:
        client = faulty(latency=0.2)
        client.get("users/nobody")
        started = time.perf_counter()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client.get, ["users/nobody"] * 8))
        assert time.perf_counter() - started >= 0.4
        traffic = client.simulator.api.wire.traffic
        assert 1 < traffic.peak_in_flight <= 4
        assert traffic.busy_seconds >= 9 * 0.2


def test_a_client_that_goes_away_leaves_nothing_behind(faulty: Callable[..., Client]) -> None:
    client = faulty(latency=0.3)
    host, port = client.simulator.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as impatient:
            impatient.sendall(b"GET /v1/me HTTP/1.1\r\nHost: x\r\n\r\n")
    wire = client.simulator.api.wire
    until(lambda: wire.traffic.endpoints == {"/v1/me": 5} and (wire.in_flight, wire.connections) == (0, {}))


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v1/me/tracks", "/v1/me/tracks"),
        ("/v1/users/a b/playlists", "/v1/users/{id}/playlists"),
        ("/v1/playlists/3cEYpjA9oz9GiPac4AsH4n/tracks", "/v1/playlists/{id}/tracks"),
        ("/v1/artists", "/v1/artists"),
        ("/v1/audio-features/x", "/v1/audio-features/{id}"),
    ],
)
def test_endpoints_are_named_by_template(path: str, template: str) -> None:
    assert endpoint(path) == template
