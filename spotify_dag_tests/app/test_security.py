"""What somebody could try who means harm, one by one, against a real server on loopback."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from samples.app_world import EVIL, PRIVATE, user_id
from spotify_dag.app import cards
from spotify_dag.app.identity import SESSION, Signer, local_path
from spotify_dag.app.workspace import Workspace, file_name
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.settings import Settings
from spotify_dag_tests.app.browsing import ENGLISH
from spotify_dag_tests.app.conftest import Served, exportify
from spotify_dag_tests.waiting import GUARD

Start = Callable[..., Any]
ARTISTS = ["Usher", "Prince"] * 8


@contextmanager
def log_in(served: Served, number: int) -> Iterator[httpx.Client]:
    """Log in as a browser does, by way of the simulated Spotify; give the browser."""
    with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as browser:
        begun = browser.get("/login")
        agreed = browser.get(begun.headers["location"], params=_with(begun, number))
        assert browser.get(agreed.headers["location"]).status_code == 303
        yield browser


def _with(begun: httpx.Response, number: int) -> dict[str, str]:
    asked = {name: values[0] for name, values in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    return asked | {"user": user_id(number)}


class TestIdentity:
    def test_what_is_stored_is_for_the_user_alone(self, served: Served) -> None:
        for method, path in (("GET", ""), ("GET", "/data"), ("DELETE", "")):
            for user in (user_id(5), "nobody"):
                answer = served.client.request(method, f"/api/v1/users/{user}{path}")
                assert answer.status_code == 401
                assert user not in answer.text
        other = {"X-User-Token": served.service.identity.file_token(user_id(6))}
        assert served.client.get(f"/api/v1/users/{user_id(5)}", headers=other).status_code == 401
        mine = {"X-User-Token": served.service.identity.file_token(user_id(5))}
        assert served.client.get(f"/api/v1/users/{user_id(5)}", headers=mine).json()["rows"]["raw_playlists"] > 0

    def test_a_login_opens_what_is_stored_and_a_private_user_finds_their_people(self, served: Served) -> None:
        with log_in(served, 3) as browser:
            assert browser.get(f"/api/v1/users/{PRIVATE}").json()["opted_in"] is False
            found = browser.get(f"/api/v1/users/{PRIVATE}/matches").json()
            assert len(found["matches"]) == 10
            data = browser.get(f"/api/v1/users/{PRIVATE}/data").json()
            assert len(data["raw_playlists"]) == found["tracks"]
            assert browser.post("/logout").status_code == 303
            browser.cookies.delete(SESSION)
            assert browser.get(f"/api/v1/users/{PRIVATE}").status_code == 401

    def test_consent_with_a_login_has_the_graph_read_the_user(self, fresh: Start) -> None:
        with fresh() as served, log_in(served, 36) as browser:
            sent = browser.post("/api/v1/users", data={"profile": user_id(36), "consent": "true"})
            name, found, _ = served.follow(sent)
            assert (name, found["kept"]) == ("result", True)
            (source,) = [one for one in served.project.inbox.sources() if one.name == "spotify"]
            assert user_id(36) in source._listed()[0]
            # An operator's own list is read with those who came by themselves.
            file = served.project.settings.data / "mine.txt"
            file.write_text(user_id(1))
            again = served.project.inbox.register_source("spotify", {"path": str(file)})
            assert again._listed()[0] == [user_id(1), user_id(36)]

    def test_a_token_that_was_changed_or_is_for_something_else_is_nothing(self, tmp_path: Path) -> None:
        signer = Signer(tmp_path / "key")
        token = signer.sign("file", {"user": "a"})
        assert signer.open("file", token) == {"user": "a"}
        assert signer.open("session", token) is None
        values, _, signature = token.rpartition(".")
        assert signer.open("file", f"{values}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}") is None
        assert signer.open("file", "x" + token) is None
        assert signer.open("file", token, seconds=10) == {"user": "a"}
        assert signer.open("file", token, seconds=-1) is None
        assert Signer(tmp_path / "other").open("file", token) is None
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600

    def test_a_session_from_before_the_login_is_worth_nothing_after_it(self, served: Served) -> None:
        """Session fixation: the attacker knows the cookie that the victim had before logging in."""
        with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as attacker:
            attacker.cookies.set(SESSION, "chosen-by-the-attacker")
            with log_in(served, 4) as victim:
                mine = next(cookie.value for cookie in victim.cookies.jar if cookie.name == SESSION)
                assert mine != "chosen-by-the-attacker"
                assert victim.get(f"/api/v1/users/{user_id(4)}").status_code == 200
            assert attacker.get(f"/api/v1/users/{user_id(4)}").status_code == 401

    def test_an_answer_to_a_login_begun_elsewhere_is_refused(self, served: Served) -> None:
        """Login CSRF: the attacker's own code is sent to the victim's browser."""
        with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as attacker:
            begun = attacker.get("/login")
            agreed = attacker.get(begun.headers["location"], params=_with(begun, 4))
            with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as victim:
                victim.get("/login")
                answer = victim.get(agreed.headers["location"])
                assert answer.status_code == 400
                assert SESSION not in {cookie.name for cookie in victim.cookies.jar}

    def test_cookies_are_for_this_app_alone(self, served: Served) -> None:
        begun = served.client.get("/login")
        assert {"HttpOnly", "SameSite=lax"} <= set(begun.headers["set-cookie"].split("; "))

    @pytest.mark.parametrize(
        "path",
        ["//evil.example", "/\\evil.example", "https://evil.example", "\t//evil.example", "/\t/evil.example", ""],
    )
    def test_nobody_is_sent_elsewhere_after_logging_in(self, served: Served, path: str) -> None:
        assert local_path(path) == "/"
        with httpx.Client(base_url=served.url, trust_env=False, timeout=30) as browser:
            begun = browser.get("/login", params={"after": path})
            agreed = browser.get(begun.headers["location"], params=_with(begun, 4))
            assert browser.get(agreed.headers["location"]).headers["location"] == "/"
        assert local_path("/?mine=1") == "/?mine=1"


class TestAtTheDoor:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "https://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "null"},
        ],
    )
    def test_another_site_cannot_act_for_somebody_who_has_logged_in(
        self, served: Served, headers: dict[str, str]
    ) -> None:
        with log_in(served, 4) as browser:
            assert browser.delete(f"/api/v1/users/{user_id(4)}", headers=headers).status_code == 403
            assert browser.post("/api/v1/users", data={"profile": user_id(4)}, headers=headers).status_code == 403
            assert browser.post("/gradio_api/queue/join", json={}, headers=headers).status_code == 403
            assert browser.post("/logout", headers=headers).status_code == 403
            same = {"Origin": served.url, "Sec-Fetch-Site": "same-origin"}
            assert browser.post("/api/v1/users", data={"profile": user_id(4)}, headers=same).status_code == 202

    def test_a_password_for_the_whole_app(self, fresh: Start) -> None:
        with fresh(app_password="secret word", wait=False) as served:
            assert served.client.get("/healthz").status_code == 200
            for path in ("/metrics", "/api/v1/openapi.json", f"/api/v1/users/{user_id(1)}/matches"):
                answer = served.client.get(path)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"].startswith("Basic")
                assert served.client.get(path, auth=("me", "wrong")).status_code == 401
                assert served.client.get(path, auth=("me", "secret word")).status_code in (200, 503)
            assert served.client.get("/metrics", headers={"Authorization": "Basic %%%"}).status_code == 401

    def test_only_through_the_proxy(self, fresh: Start) -> None:
        with fresh(app_proxy_header="X-Forwarded-User", wait=False) as served:
            assert served.client.get("/metrics").status_code == 401
            assert served.client.get("/metrics", headers={"X-Forwarded-User": "anna"}).status_code == 200

    def test_too_many_requests_of_one_client_are_told_when_to_come_again(self, fresh: Start) -> None:
        with fresh(app_requests_per_minute=40, app_newcomers_per_minute=4, wait=False) as served:
            told = [served.client.get("/metrics") for _ in range(12)]
            assert [answer.status_code for answer in told].count(429) >= 1
            late = next(answer for answer in told if answer.status_code == 429)
            assert int(late.headers["retry-after"]) >= 1
            assert late.headers["content-type"] == "application/problem+json"
            assert served.client.get("/healthz").status_code == 200
            # A page asks for dozens of scripts at once: they do not count.
            assert {served.client.get("/assets/none.js").status_code for _ in range(30)} == {404}

    def test_what_is_too_large_is_refused_as_announced_and_as_it_comes(self, served: Served) -> None:
        large = b"x" * 4_000_000
        answer = served.client.post("/api/v1/users", files={"file": ("a.csv", large)})
        assert answer.status_code == 413
        assert "at most 3 MB" in answer.json()["detail"]

        def dripping() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
            for _ in range(40):
                yield b"x" * 100_000

        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        try:
            answer = served.client.post("/api/v1/users", content=dripping(), headers=kind)
            assert answer.status_code == 413
        except (httpx.WriteError, httpx.RemoteProtocolError):
            pass  # refused before all of it was sent
        small = served.client.post("/api/v1/continue", content=b" " * 1_100_000)
        assert small.status_code == 413

    def test_an_upload_that_never_ends_is_ended(self, fresh: Start) -> None:
        with fresh(app_upload_seconds=0.5, app_request_seconds=0.5, wait=False) as served:
            parts = urlsplit(served.url)
            with socket.create_connection((parts.hostname, parts.port)) as slow:
                slow.sendall(
                    b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: multipart/form-data; boundary=b\r\n"
                    b"Content-Length: 1000\r\n\r\n--b\r\n"
                )
                slow.settimeout(GUARD)
                assert b"503" in slow.recv(1_000)

    def test_browsers_are_told_what_a_page_may_do(self, served: Served) -> None:
        for path in ("/", "/healthz", "/map", "/api/v1/nothing"):
            headers = served.client.get(path).headers
            assert "frame-ancestors 'self'" in headers["content-security-policy"]
            assert "default-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
        assert served.client.get(f"/api/v1/users/{user_id(1)}/matches").headers["cache-control"] == "no-store"

    def test_logs_hold_no_user_and_no_secret(self, served: Served, caplog: pytest.LogCaptureFixture) -> None:
        token = served.service.identity.file_token(user_id(5))
        with caplog.at_level(logging.INFO):
            served.client.get(f"/api/v1/users/{user_id(5)}", headers={"X-User-Token": token})
            served.client.get("/api/v1/compare", params={"a": user_id(5), "b": user_id(6)})
            with log_in(served, 5):
                pass
        ours = [record.getMessage() for record in caplog.records if record.name.startswith(("spotify_dag", "uvicorn"))]
        assert any("GET /api/v1/users/{user_id} 200" in line for line in ours)
        assert not [line for line in ours if user_id(5) in line or token in line or "code=" in line]


class TestFetching:
    def test_nothing_that_is_sent_makes_the_app_fetch_an_address(self, served: Served) -> None:
        """Server-side request forgery: a server of our own listens for requests."""
        with socket.create_server(("127.0.0.1", 0)) as canary:
            canary.settimeout(0.5)
            url = f"http://127.0.0.1:{canary.getsockname()[1]}/user/x"
            for text in (url, f"https://open.spotify.com@127.0.0.1:{canary.getsockname()[1]}/user/x"):
                assert served.client.post("/api/v1/users", data={"profile": text}).status_code == 422
            file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
            for sent in (file, [{"a": file}], {"path": url}):
                body = {"data": [sent], "fn_index": 1, "session_hash": "abc"}
                assert served.client.post("/gradio_api/queue/join", json=body).status_code == 422
            escaped = json.dumps({"data": [file]}).replace("path", "\\u0070ath").replace("meta", "\\u006deta")
            assert (
                served.client.post("/gradio_api/queue/join", content=escaped.replace("url", "\\u0075rl")).status_code
                == 422
            )
            for closed in ("upload", "proxy=http://127.0.0.1", "run/predict", "call/predict"):
                assert served.client.post(f"/gradio_api/{closed}", json={"data": [file]}).status_code in (403, 404)
            with pytest.raises(TimeoutError):
                canary.accept()

    def test_no_file_of_the_machine_is_served(self, served: Served) -> None:
        for path in ("/gradio_api/file=/etc/passwd", f"/gradio_api/file={served.project.settings.data}/app/key"):
            assert served.client.get(path).status_code in (403, 404)


class TestFiles:
    def test_a_zip_bomb_is_refused(self, served: Served) -> None:
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("Playlist1.json", b" " * 50_000_000)
        name, problem, _ = served.follow(
            served.client.post("/api/v1/users", files={"file": ("a.zip", bomb.getvalue())})
        )
        assert (name, problem["status"]) == ("problem", 422)
        assert "made to fill disks" in problem["detail"]

    @pytest.mark.parametrize(
        ("given", "taken"),
        [
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.csv", "boot.csv"),
            ("", "upload"),
            ("..", "upload"),
            (".hidden.csv", "hidden.csv"),
            ("a\x00b\n.csv", "ab.csv"),
            ("x" * 10_000 + ".csv", "x" * 100 + ".csv"),
            ("my list.csv", "my list.csv"),
        ],
    )
    def test_the_name_of_a_file_leads_nowhere(self, given: str, taken: str) -> None:
        assert file_name(given) == taken

    @pytest.mark.process
    @pytest.mark.slow
    def test_a_killed_app_leaves_nobody_by_halves(self, world: Path, tmp_path: Path) -> None:
        """Killed while one file is on its way to the inbox and another is sent; the next app sweeps up."""
        import polars as pl

        data = tmp_path / "data"
        shutil.copytree(world, data)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        code = "from spotify_dag.cli.main import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, "--data", str(data), "app", "--port", str(port)],
            env={**os.environ, "SPOTIFY_DAG_N_BUCKETS": "2"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        artists = ARTISTS * 100
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            end = time.monotonic() + GUARD
            while True:
                try:
                    if client.get("/readyz").status_code == 200:
                        break
                except httpx.TransportError:
                    assert time.monotonic() < end
                time.sleep(0.1)
            with socket.create_connection(("127.0.0.1", port)) as half:
                half.sendall(
                    b"POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Type: multipart/form-data; boundary=b\r\n"
                    b"Content-Length: 1000000\r\n\r\n--b\r\n"
                    b'Content-Disposition: form-data; name="file"; filename="a.csv"'
                    b"\r\n\r\n" + b"x" * 500_000
                )
                sent = client.post(
                    "/api/v1/users", files={"file": ("a.csv", exportify(artists))}, data={"consent": "true"}
                )
                with client.stream("GET", sent.json()["events"]) as told:
                    assert any('"stage": "searching"' in line for line in told.iter_lines())
                    process.send_signal(signal.SIGKILL)
                    process.wait()
        project = Project.open(Settings(data=data, n_buckets=2))
        requests = project.inbox.requests
        for request in requests.waiting():
            assert pl.read_parquet(str(requests.content / request.content)).height == len(artists)
        Workspace(data / "app").open()
        assert list((data / "app").rglob("*.csv")) == []
        assert len(list((data / "app").glob("work-*"))) == 1

    def test_cells_that_would_be_formulas_are_text(self, served: Served) -> None:
        with log_in(served, 0) as browser:
            csv = browser.get(f"/api/v1/users/{user_id(0)}/data", params={"format": "csv"})
        assert csv.headers["content-type"].startswith("text/csv")
        assert csv.headers["content-disposition"].startswith("attachment")
        assert "'=1+1" in csv.text
        assert not [
            cell for line in csv.text.splitlines() for cell in line.split(",") if cell.startswith(("=", "+", "@"))
        ]


class TestNames:
    @pytest.mark.parametrize("name", [*EVIL, "x" * 10_000, "a\x00b", "'\"><script>"])
    def test_they_are_shown_as_text(self, name: str) -> None:
        match = {
            "user_id": name, "percent": 99.0, "confidence": 0.5, "profile": f"https://open.spotify.com/user/{name}",
            "shared_genres": [{"name": name, "yours": 0.1, "theirs": 0.2}],
            "shared_artists": [{"name": name, "yours": 0.1, "theirs": 0.2}],
            "shared_eras": [], "new_to_you": [{"name": name, "theirs": 0.1}],
            "top_tracks": [{"title": name, "artist": name}],
        }  # fmt: skip
        shown = cards.matches(ENGLISH, {"user_id": name, "tracks": 50, "matches": [match]})
        shown += cards.comparison(ENGLISH, {**match, "other_id": name, "new_to_other": []})
        shown += cards.problem(ENGLISH, {"detail": name})
        assert "<img" not in shown
        assert "<script" not in shown
        assert '"onmouseover' not in shown
        assert len(shown) < 100_000 if len(name) < 5_000 else len(shown) < 120_000

    def test_they_are_in_the_lake_as_somebody_chose_them(self, served: Served) -> None:
        titles = set(served.project.lake.scan(RAW_PLAYLISTS).collect()["track_name"])
        assert set(EVIL) <= titles
