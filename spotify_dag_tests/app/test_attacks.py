"""Attacks that worked once: on time, on connections, on sessions, and on what the app says that it did.

All of them go to a real server on loopback, and are bounded in number and time.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
import pytest

from samples.app_world import user_id
from spotify_dag.app import background_jobs, connections, guard
from spotify_dag.app.background_jobs import Jobs
from spotify_dag.app.heavy_work import HeavyWork
from spotify_dag.app.identity import SESSION
from spotify_dag.app.problems import AppError
from spotify_dag.lifecycle.forget import forget
from spotify_dag.schemas import USERS
from spotify_dag.settings import Settings
from spotify_dag.simulator.loopback_server import Simulator
from spotify_dag.sources.export import reading
from spotify_dag.sources.spotify.one import MOST_PLAYLISTS, one_user
from spotify_dag_tests.app.conftest import Served, exportify
from spotify_dag_tests.app.test_security import log_in
from spotify_dag_tests.waiting import GUARD, crowding

Start = Callable[..., Any]
ARTISTS = ["Usher", "Prince"] * 8
FORGOTTEN = 36
"""A user of the simulated Spotify who is not in the world."""


def address(served: Served) -> tuple[str, int]:
    parts = urlsplit(served.url)
    return str(parts.hostname), int(parts.port or 0)


def strangers(count: int) -> bytes:
    """Return a list of artists that nobody has heard of."""
    return exportify([f"Zq{place:06d} Nobody" for place in range(count)])


def hand_in(served: Served, content: bytes, client: httpx.Client | None = None, **data: str) -> httpx.Response:
    return (client or served.client).post("/api/v1/users", files={"file": ("list.csv", content)}, data=data)


class TestUploads:
    def test_items_and_artists_of_one_person_are_bounded_and_it_is_said(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(reading, "MAX_ARTISTS", 50)
        _, found, _ = served.follow(hand_in(served, strangers(80) + exportify(["Zq000001 Nobody"] * 5)[98:]))
        assert found["left_out"] == {"of more than 50 artists of one person": 30}
        assert found["tracks"] == 55
        monkeypatch.setattr(reading, "MAX_ITEMS", 20)
        _, found, _ = served.follow(hand_in(served, strangers(80)))
        assert found["tracks"] == 20
        assert found["left_out"]["of more than 20 items of one person"] == 30

    def test_work_stops_when_nobody_follows_and_nothing_is_kept(
        self, served: Served, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background_jobs, "GONE_SECONDS", 0.3)
        encoded: list[int] = []
        encode = served.project.encoder.encode

        def slowly(texts: Any, progress: Any = lambda _: None) -> Any:
            def tell(count: int) -> None:
                encoded.append(count)
                time.sleep(0.2)
                progress(count)

            return encode(texts, tell)

        monkeypatch.setattr(type(served.project.encoder), "encode", lambda _, *given: slowly(*given))
        before = len(served.project.inbox.requests.waiting())
        job = served.service.jobs.find(hand_in(served, strangers(5_000), consent="true").json()["job"])
        end = time.monotonic() + 60
        while job.ended_at is None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert job.events[-1] == (
            "problem", {"status": 408, "detail": "Nobody waited for this, so it was given up. Nothing of it was kept."}
        )  # fmt: skip
        assert sum(encoded) < 5_000
        assert len(served.project.inbox.requests.waiting()) == before

    def test_one_limit_of_time_is_for_all_of_the_work(self, fresh: Start) -> None:
        with fresh(app_newcomer_seconds=0.2, app_max_upload_mb=20) as served:
            name, problem, _ = served.follow(hand_in(served, strangers(9_000)))
            assert (name, problem["status"]) == ("problem", 422)
            assert "takes longer than 0 s" in problem["detail"]
            assert list((served.project.settings.data / "app").rglob("*.csv")) == []

    def test_who_is_known_never_waits_for_uploads_nor_for_spotify(self) -> None:
        jobs = Jobs()

        def forever(job: Any) -> dict[str, Any]:
            job.begin()
            while True:
                job.check()
                time.sleep(0.01)

        for number in range(6):
            jobs.start(forever, lane="files", client=f"10.0.0.{number}", seconds=60)
            jobs.start(forever, lane="spotify", client=f"10.0.0.{number}", seconds=60)
        job = jobs.start(lambda _: {}, lane="known", client="10.0.0.9", seconds=5)
        end = time.monotonic() + 20
        while job.ended_at is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert job.events == [("result", {})]
        begun = time.monotonic()
        jobs.stop()
        assert time.monotonic() - begun < background_jobs.STOP_SECONDS + crowding()
        with pytest.raises(AppError, match="being ended"):
            jobs.start(forever, lane="known", client="10.0.0.9", seconds=5)

    def test_one_client_has_few_at_once(self) -> None:
        jobs = Jobs()

        def wait(job: Any) -> dict[str, Any]:
            while True:
                job.check()
                time.sleep(0.01)

        for _ in range(background_jobs.MOST_OF_A_CLIENT):
            jobs.start(wait, lane="files", client="10.0.0.1", seconds=60)
        with pytest.raises(AppError, match="requests under way") as refused:
            jobs.start(wait, lane="files", client="10.0.0.1", seconds=60)
        assert refused.value.status == 429
        jobs.start(wait, lane="files", client="10.0.0.2", seconds=60)
        jobs.stop()

    def test_work_on_files_gives_way_to_answers(self) -> None:
        jobs = Jobs()

        def niceness(_: Any) -> dict[str, Any]:
            with ThreadPoolExecutor(1) as started_there:
                inherited = started_there.submit(os.getpriority, os.PRIO_PROCESS, 0).result()
            return {"own": os.getpriority(os.PRIO_PROCESS, 0), "inherited": inherited}

        ours = os.getpriority(os.PRIO_PROCESS, 0)
        lanes: list[background_jobs.Lane] = ["files", "known"]
        for lane, expected in zip(lanes, (max(ours, background_jobs.NICENESS), ours), strict=True):
            job = jobs.start(niceness, lane=lane, client="10.0.0.1", seconds=60)
            (_, found), *_ = background_jobs.follow(job)
            assert found == {"own": expected, "inherited": expected}
        jobs.stop()

    @pytest.mark.slow
    @pytest.mark.process
    def test_the_app_ends_soon_whatever_it_does_and_leaves_nothing(self, world: Path, tmp_path: Path) -> None:
        """Ctrl-C while two large files are read, one is sent, and streams and half requests are open."""
        data = tmp_path / "data"
        shutil.copytree(world, data)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "spotify_dag", "--data", str(data), "app", "--port", str(port)],
            env={**os.environ, "SPOTIFY_DAG_N_BUCKETS": "2"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with ExitStack() as opened:
            opened.callback(process.wait)
            opened.callback(process.kill)
            client = opened.enter_context(
                httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False)
            )
            end = time.monotonic() + 300
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    assert time.monotonic() < end
                time.sleep(0.2)
            jobs = [client.post("/api/v1/users", files={"file": ("a.csv", strangers(9_900))}).json() for _ in range(2)]
            for job in jobs:
                opened.enter_context(client.stream("GET", job["events"]))
            for _ in range(5):
                half = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
                half.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            opened.enter_context(client.stream("GET", "/gradio_api/heartbeat/abc"))
            time.sleep(1)
            slower = crowding()
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            process.wait(GUARD)
            took = time.monotonic() - begun
            slower = max(slower, crowding())
        assert took < 5 * slower
        assert list((data / "app").glob("work-*")) == []


class TestConnections:
    def test_a_head_that_never_ends_is_ended(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
        for sent in (b"", b"GET / HTTP/1.1\r\nX-A: b\r\n", b"\r\n"):
            with socket.create_connection(address(served), timeout=10) as slow:
                slow.sendall(sent)
                begun = time.monotonic()
                with suppress(ConnectionResetError):
                    assert slow.recv(100) == b""
                assert time.monotonic() - begun < 5 * crowding()

    def test_a_thousand_slow_heads_shut_nobody_out(self, fresh: Start) -> None:
        """From one address and from many: who comes later is answered, as the idlest make room."""
        with fresh(app_connections_per_client=20, app_connections=100) as served, ExitStack() as opened:
            for number in range(1_100):
                slow = opened.enter_context(socket.socket())
                slow.bind((f"127.0.0.{2 + number % 10}", 0))
                slow.settimeout(5)
                try:
                    slow.connect(address(served))
                    slow.sendall(b"GET / HTTP/1.1\r\nX-A: b\r\n")
                except OSError:
                    continue
            begun = time.monotonic()
            assert httpx.get(f"{served.url}/healthz", trust_env=False, timeout=20).status_code == 200
            assert served.client.get(f"/api/v1/users/{user_id(7)}/matches").status_code == 200
            assert time.monotonic() - begun < 15 * crowding()

    def test_the_limit_of_open_files_is_raised(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
            allowed = connections.raise_file_limit()
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (allowed, hard)
            assert allowed == (connections.FILES if hard == resource.RLIM_INFINITY else min(connections.FILES, hard))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    def test_one_address_has_so_many_connections(self, fresh: Start) -> None:
        with fresh(app_connections_per_client=5) as served, ExitStack() as opened:
            answers = []
            for _ in range(12):
                one = opened.enter_context(socket.socket())
                one.bind(("127.0.0.2", 0))
                one.connect(address(served))
                one.settimeout(10)
                try:
                    one.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    answers.append(one.recv(15))
                except OSError:
                    answers.append(b"")
            assert answers == [b"HTTP/1.1 200 OK"] * 5 + [b""] * 7
            # Somebody else is not concerned.
            assert served.client.get("/healthz").status_code == 200

    def test_streams_are_few_per_client_and_end(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(guard, "STREAMS_OF_A_CLIENT", 5)
        with ExitStack() as opened:
            answers = [
                opened.enter_context(served.client.stream("GET", f"/gradio_api/heartbeat/{number}"))
                for number in range(8)
            ]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 3
            assert served.client.get("/healthz").status_code == 200
        monkeypatch.setattr(guard, "STREAM_SECONDS", 0.5)
        begun = time.monotonic()
        with served.client.stream("GET", "/gradio_api/heartbeat/x") as stream:
            assert stream.status_code in (200, 429)
            with suppress(httpx.RemoteProtocolError):  # it is cut off
                stream.read()
        assert time.monotonic() - begun < 10 * crowding()

    @pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1@evil.example", "", "["])
    def test_a_name_that_is_not_the_app_s_is_refused(self, served: Served, host: str) -> None:
        """DNS rebinding: the attacker's name leads to this machine."""
        for path in ("/", "/healthz", f"/api/v1/users/{user_id(7)}/matches", "/gradio_api/heartbeat/x"):
            assert served.client.get(path, headers={"Host": host}).status_code == 421
        for own in ("localhost", "127.0.0.1:7860", "[::1]:80"):
            assert served.client.get("/healthz", headers={"Host": own}).status_code == 200

    def test_the_address_of_the_app_is_one_of_its_names(self, fresh: Start) -> None:
        with fresh(app_url="https://taste.example", wait=False) as served:
            assert served.client.get("/healthz", headers={"Host": "taste.example"}).status_code == 200
            assert served.client.get("/healthz", headers={"Host": "other.example"}).status_code == 421


class TestSessions:
    def test_logging_out_ends_the_session_although_the_cookie_is_kept(self, served: Served) -> None:
        with log_in(served, 4) as browser:
            kept = browser.cookies.get(SESSION)
            assert browser.get(f"/api/v1/users/{user_id(4)}").status_code == 200
            assert browser.post("/logout").status_code == 303
        with httpx.Client(base_url=served.url, trust_env=False, timeout=30, cookies={SESSION: str(kept)}) as later:
            assert later.get(f"/api/v1/users/{user_id(4)}").status_code == 401
            # What it did before it does no more: the answer does not claim that anything is kept.
            sent = later.post("/api/v1/users", data={"profile": user_id(4), "consent": "true"})
            assert sent.status_code == 403

    @pytest.mark.parametrize("by", ["the app", "the command line"])
    def test_being_forgotten_ends_every_session_and_every_token(self, fresh: Start, by: str) -> None:
        with fresh() as served, log_in(served, 5) as browser, log_in(served, 5) as other:
            token = {"X-User-Token": served.service.identity.file_token(user_id(5))}
            assert other.get(f"/api/v1/users/{user_id(5)}").status_code == 200
            if by == "the app":
                assert browser.delete(f"/api/v1/users/{user_id(5)}").status_code == 200
            else:
                forget(served.project, user_id(5))
            for one in (browser, other):
                assert one.get(f"/api/v1/users/{user_id(5)}").status_code == 401
            assert served.client.get(f"/api/v1/users/{user_id(5)}/data", headers=token).status_code == 401
            # Logging in again proves again who it is.
            with log_in(served, 5) as again:
                assert again.get(f"/api/v1/users/{user_id(5)}").status_code == 404


class TestWhatIsSaid:
    def test_an_old_token_keeps_nothing_after_deletion_and_says_so(self, fresh: Start) -> None:
        with fresh() as served:
            _, found, _ = served.follow(hand_in(served, exportify(ARTISTS), consent="true"))
            assert (found["kept"], found["stored"]) == (True, {"items": len(ARTISTS)})
            token = {"X-User-Token": found["token"]}
            path = f"/api/v1/users/{found['user_id']}"
            data = served.client.get(f"{path}/data", headers=token).json()
            assert [row["artist_name"] for row in data["inbox"]] == ARTISTS
            assert data["raw_playlists"] == []
            csv = served.client.get(f"{path}/data", headers=token, params={"format": "csv"}).text
            assert len(csv.splitlines()) == 1 + len(ARTISTS)
            assert served.client.delete(path, headers=token).json()["deleted"]["inbox"] > 0
            again = served.client.post(
                "/api/v1/users", files={"file": ("a.csv", exportify(ARTISTS))}, data={"consent": "true"}, headers=token
            )
            assert again.status_code == 401
            assert "ends when its user is deleted" in again.json()["detail"]
            assert served.project.inbox.requests.waiting() == []

    def test_without_consent_it_says_that_nothing_is_kept(self, served: Served) -> None:
        _, found, _ = served.follow(hand_in(served, exportify(ARTISTS)))
        assert (found["kept"], found["stored"]) == (False, {})

    def test_own_new_consent_lifts_the_tombstone(self, fresh: Start) -> None:
        with fresh() as served:
            served.project.tombstones.add(user_id(FORGOTTEN))
            with log_in(served, FORGOTTEN) as browser:
                sent = browser.post("/api/v1/users", data={"profile": user_id(FORGOTTEN), "consent": "true"})
                name, found, _ = served.follow(sent)
            assert (name, found["kept"], found["stored"]) == ("result", True, {"login": 1})
            assert user_id(FORGOTTEN) not in served.project.tombstones
            (source,) = [one for one in served.project.inbox.sources() if one.name == "spotify"]
            assert user_id(FORGOTTEN) in source._listed()[0]

    def test_who_is_forgotten_while_they_are_read_is_not_kept(
        self, fresh: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with fresh() as served, log_in(served, FORGOTTEN) as browser:
            embed = served.service.newcomers.embed

            def meanwhile(*given: Any) -> Any:
                served.project.tombstones.add(user_id(FORGOTTEN))
                return embed(*given)

            monkeypatch.setattr(served.service.newcomers, "embed", meanwhile)
            sent = browser.post("/api/v1/users", data={"profile": user_id(FORGOTTEN), "consent": "true"})
            name, problem, _ = served.follow(sent)
            assert (name, problem["status"]) == ("problem", 401)
            assert user_id(FORGOTTEN) in served.project.tombstones

    def test_how_many_private_users_there_are_is_told_to_nobody(self, served: Served) -> None:
        shown = len(served.client.get("/api/v1/map").json()["user_ids"])
        users = served.project.lake.scan(USERS).select(pl.len()).collect().item()
        assert shown < users
        assert served.client.get("/readyz").json()["users"] == shown
        assert f"spotify_dag_users {float(shown)}" in served.client.get("/metrics").text


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}/{key}")
    elif isinstance(value, int):
        yield name, value


def simulator_total(simulator: Simulator) -> int:
    counted = httpx.get(f"{simulator.url}/simulator/requests", trust_env=False).json()
    return sum(count for _, count in _flat(counted))


class TestForgottenAtSpotify:
    def test_nobody_else_has_them_read_again(self, fresh: Start, simulator: Simulator) -> None:
        """Answered in the words for somebody who is not at Spotify, and Spotify is not asked."""
        with fresh() as served, log_in(served, 4) as other:
            served.project.tombstones.add(user_id(FORGOTTEN))
            before = simulator_total(simulator)
            for client in (served.client, other):
                for data in ({}, {"top_artist_count": "1"}, {"k": "3", "min_shared": "1"}):
                    sent = client.post("/api/v1/users", data={"profile": user_id(FORGOTTEN), **data})
                    name, problem, stages = served.follow(sent)
                    assert (name, problem["status"]) == ("problem", 404)
            assert simulator_total(simulator) == before
            unknown = served.follow(served.client.post("/api/v1/users", data={"profile": "synthetic-999999"}))
            assert simulator_total(simulator) > before
            told = problem["detail"].replace(user_id(FORGOTTEN), "synthetic-999999")
            assert unknown == ("problem", {**problem, "detail": told}, stages)

    @pytest.mark.parametrize(("wanted", "read"), [(None, MOST_PLAYLISTS), (5, 5), (10_000, MOST_PLAYLISTS)])
    def test_an_answer_costs_so_many_requests_at_most(self, tmp_path: Path, wanted: int | None, read: int) -> None:
        settings = Settings(data=tmp_path, spotify_client_id="simulator", playlists_count=wanted)
        with one_user(settings, "anna") as source:
            assert source.settings.playlists_count == read


class TestSmaller:
    @pytest.mark.parametrize("depth", [30, 900, 20_000])
    def test_nested_json_is_refused(self, served: Served, depth: int) -> None:
        for nested in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
            body = f'{{"data": [{nested}], "fn_index": 1, "session_hash": "abc"}}'
            for path in ("/gradio_api/queue/join", "/gradio_api/component_server", "/api/v1/continue"):
                answer = served.client.post(path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code in (400, 404, 422), (path, answer.status_code)

    @pytest.mark.slow
    def test_pictures_are_drawn_once_and_few_wait(self, fresh: Start) -> None:
        with fresh() as served:
            ask = {"a": user_id(7), "b": user_id(8)}
            first = served.client.get("/api/v1/compare.png", params=ask)
            drawn = dict(served.service.pictures._drawn)
            assert served.client.get("/api/v1/compare.png", params=ask).content == first.content
            assert served.service.pictures._drawn == drawn

            def picture(number: int) -> int:
                asked = {"a": user_id(number % 29), "b": user_id((number + 1 + number // 29) % 29)}
                return httpx.get(
                    f"{served.url}/api/v1/compare.png", params=asked, trust_env=False, timeout=120
                ).status_code

            with ThreadPoolExecutor(60) as many:
                answers = list(many.map(picture, range(145)))
                assert served.client.get("/healthz").status_code == 200
            assert {200} <= set(answers) <= {200, 404, 503}

    def test_heavy_work_is_bounded(self) -> None:
        work, running, most = HeavyWork(at_once=2, waiting=3), 0, 0

        def busy() -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.1)
            running -= 1
            return 200

        async def ask() -> int:
            try:
                return await work.run(busy)
            except AppError as error:
                return error.status

        async def many() -> list[int]:
            return list(await asyncio.gather(*(ask() for _ in range(10))))

        assert asyncio.run(many()) == [200] * 5 + [503] * 5
        assert most == 2

    def test_a_login_that_fails_is_a_page_for_browsers(self, served: Served) -> None:
        browser = {"Accept": "text/html,application/xhtml+xml"}
        for path in ("/callback?code=x&state=y", "/callback?code=%3Cscript%3E&state=y"):
            answer = served.client.get(path, headers=browser)
            assert answer.status_code == 400
            assert answer.headers["content-type"].startswith("text/html")
            assert "begun here" in answer.text
            assert "<script" not in answer.text
            assert served.client.get(path).headers["content-type"] == "application/problem+json"

    def test_a_picture_of_somebody_forgotten_is_not_kept(self, fresh: Start) -> None:
        with fresh() as served:
            ask = {"a": user_id(7), "b": user_id(8)}
            assert served.client.get("/api/v1/compare.png", params=ask).status_code == 200
            served.service.forget(user_id(8))
            assert served.client.get("/api/v1/compare.png", params=ask).status_code == 404


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_whoever_follows_is_woken_and_counted() -> None:
    job = background_jobs.Job("10.0.0.1", 5)
    job.begin()
    told: list[Any] = []

    async def listen() -> None:
        async for event in background_jobs.follow_async(job):
            told.append(event)

    with ThreadPoolExecutor(2) as threads, _loop() as loop:
        heard = threads.submit(lambda: list(background_jobs.follow(job)))
        listening = threads.submit(lambda: loop.run_until_complete(listen()))
        time.sleep(0.2)
        assert job._left_at is None
        job.progress("reading")
        job.tell("result", {"a": 1})
        assert heard.result(10) == [("progress", {"stage": "reading"}), ("result", {"a": 1})]
        listening.result(10)
    assert told == heard.result()
    assert job._left_at is not None
    assert json.dumps(told)


@cache
def searching(url: str) -> int:
    """Return which function of the pages searches for tracks."""
    page = httpx.get(url).text
    config, _ = json.JSONDecoder().raw_decode(page[page.index(mark := "window.gradio_config = ") + len(mark) :])
    (box,) = (it["id"] for it in config["components"] if it["props"].get("label") == "Search tracks")
    return next(function["id"] for function in config["dependencies"] if function["inputs"] == [box])


def joined(served: Served, **event: Any) -> httpx.Response:
    """Send what a page sends to search for a track; ``event`` is put in its place."""
    body = {"data": ["Usher"], "fn_index": searching(served.url), "session_hash": "abc", **event}
    return served.client.post("/gradio_api/queue/join", json=body)


class TestWhatNoPageSends:
    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("/?user=%FF%FE", 400),
            ("/api/v1/compare?a=%ED%A0%80&b=x", 400),
            ("/api/v1/users/%FF/matches", 400),
            ("/?page=somewhere", 404),
            ("/?deep_link=..%2F..", 404),
            ("/config", 404),
            ("/monitoring", 404),
            ("/gradio_api/info", 404),
            ("/gradio_api/vibe-code", 404),
            ("/gradio_api/queue/data?session_hash=nobody", 404),
            ("/gradio_api/queue/data", 422),
        ],
    )
    def test_addresses_are_refused_before_gradio_fails(self, served: Served, path: str, status: int) -> None:
        assert served.client.get(path).status_code == status
        assert served.client.head(path).status_code in (status, 405)

    @pytest.mark.parametrize(
        "event",
        [
            {"fn_index": -1},
            {"fn_index": 10**30},
            {"fn_index": None},
            {"fn_index": True},
            {"session_hash": ""},
            {"session_hash": None},
            {"session_hash": "x" * 101},
            {"data": []},
            {"data": ["a", "b"]},
            {"data": [[]]},
            {"data": [{"a": 1}]},
            {"data": [7]},
            {"data": ["x" * 100_001]},
            {"fn_index": 1, "data": ["a", False, 0, 10**9, 50]},
            {"fn_index": 1, "data": ["a", False, 0, "50", 50]},
            {"event_data": {"job": "a", "path": "/etc/passwd"}},
            {"event_data": {"code": "a", "tracks": 10**9, "known": 0.5, "without": ""}},
            {"trigger_id": "x"},
            {"batched": True},
            {"oauth_token": "x"},
        ],
        ids=lambda event: str(event)[:60],
    )
    def test_events_are_refused_before_gradio_fails(self, served: Served, event: dict[str, Any]) -> None:
        answer = joined(served, **event)
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert joined(served).status_code == 200

    def test_events_whose_pages_have_gone_stop_no_other_page(
        self, fresh: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Gradio keeps so many sessions. Once it told a forgotten one its place, no page was answered any more."""
        from gradio.utils import LRUCache

        monkeypatch.setattr("gradio.queueing.LRUCache", lambda _: LRUCache(3))
        with fresh(pages=True) as served:
            with ThreadPoolExecutor(16) as pool:
                answers = pool.map(lambda number: joined(served, session_hash=f"page-{number}").status_code, range(60))
                assert set(answers) == {200}
            time.sleep(0.5)  # the loop takes them up
            assert joined(served, session_hash="later").status_code == 200
            with served.client.stream("GET", "/gradio_api/queue/data?session_hash=later") as told:
                assert any('"process_completed"' in line for line in told.iter_lines())
