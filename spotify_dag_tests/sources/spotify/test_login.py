"""Logging in, staying logged in, and being told when that is over; with real spotipy against a simulated Spotify."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from typer.testing import CliRunner, Result

from spotify_dag.cli.main import app
from spotify_dag.console import out
from spotify_dag.sources.spotify.login import LoginError, log_in
from spotify_dag.sources.spotify.spotify_errors import LoginExpiredError, NotPermittedError, SpotifyError
from spotify_dag.sources.spotify.tokens import Login, Logins, Tokens
from spotify_dag_tests.sources.spotify.a_login_used import use_login
from spotify_dag_tests.sources.spotify.conftest import SECRET, Installation, found_items, ingest, settings_for, user_id

Install = Callable[..., Installation]
COMMAND = Path(sys.executable).parent / "spotify-dag"


def browse(url: str, **answer: str) -> requests.Response:
    """Do in a browser what somebody does who logs in; ``user=`` says who."""
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, params=answer, timeout=10)


def logged_in(here: Installation, number: int) -> str:
    """Log a user in; return their id."""
    with ThreadPoolExecutor(1) as pool:
        browsing = []
        found = log_in(
            here.settings, port=0, show=lambda url: browsing.append(pool.submit(browse, url, user=user_id(number)))
        )
        assert browsing[0].result().text.startswith("You can close this page")
    return found


def revoke(here: Installation, number: int) -> None:
    """Do what a user does who takes the app off their account."""
    requests.post(f"{here.simulator.url}/simulator/users/{user_id(number)}/revoke", timeout=10).raise_for_status()


def of(here: Installation, number: int) -> Login:
    login = Logins(here.settings).find(user_id(number))
    assert login is not None
    return login


class TestLoggingIn:
    def test_it_leaves_tokens_that_only_the_owner_can_read(self, install: Install) -> None:
        here = install()
        assert logged_in(here, 3) == user_id(3)
        assert logged_in(here, 4) == user_id(4)
        files = sorted((here.data / "spotify" / "tokens").glob("*.json"))
        assert [file.name for file in files] == [f"{user_id(n)}@simulator.json" for n in (3, 4)]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        assert stat.S_IMODE(files[0].parent.stat().st_mode) == 0o700
        assert of(here, 3).access_token not in repr(of(here, 3))

    def test_the_question_is_by_pkce_with_a_state_and_the_scopes_needed(self, install: Install) -> None:
        here = install()
        shown: list[str] = []
        with pytest.raises(LoginError, match=r"in time"):
            log_in(here.settings, port=0, show=shown.append, wait=0.1)
        asked = parse_qs(urlsplit(shown[0]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert len(asked["state"][0]) >= 20
        assert asked["scope"] == ["playlist-read-private playlist-read-collaborative"]
        assert asked["redirect_uri"][0].startswith("http://127.0.0.1:")
        assert SECRET not in shown[0].replace("client_id=simulator", "")

    def test_an_answer_to_another_question_is_not_taken(self, install: Install) -> None:
        here = install()
        replies: list[requests.Response] = []

        def show(url: str) -> None:
            redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]

            def attack() -> None:
                replies.append(browse(redirect, code="stolen", state="guessed"))
                replies.append(browse(redirect, code="stolen"))
                replies.append(browse(redirect.replace("callback", "favicon.ico")))
                replies.append(browse(url, user=user_id(5)))

            pool.submit(attack)

        with ThreadPoolExecutor(1) as pool:
            assert log_in(here.settings, port=0, show=show) == user_id(5)
        assert [reply.status_code for reply in replies] == [400, 400, 404, 200]

    def test_access_may_be_denied(self, install: Install) -> None:
        here = install()

        def deny(url: str) -> None:
            pool.submit(browse, url, error="access_denied")

        with ThreadPoolExecutor(1) as pool, pytest.raises(LoginError, match=r"No access was given \('access_denied'\)"):
            log_in(here.settings, port=0, show=deny)
        assert Logins(here.settings).all() == {}

    def test_a_taken_port_is_said(self, install: Install) -> None:
        here = install()
        port = urlsplit(here.simulator.url).port
        assert port is not None
        with pytest.raises(LoginError, match=rf"Port {port} cannot be used: .* --port"):
            log_in(here.settings, port=port, show=print)

    def test_who_is_not_on_the_allowlist_is_told_so(self, install: Install) -> None:
        here = install(mode="development", allowlist=2)
        with pytest.raises(NotPermittedError, match=r"User not registered in the Developer Dashboard"):
            logged_in(here, 7)
        assert Logins(here.settings).all() == {}


class TestReadingAsOneself:
    @pytest.mark.medium
    def test_a_development_app_reads_what_its_users_own(self, install: Install) -> None:
        here = install(mode="development", allowlist=12)
        for number in (1, 9):
            logged_in(here, number)
        found = ingest(here.source())
        assert found_items(found) == here.expected(range(1, 2)) + here.expected(range(9, 10))
        assert found.rejects.height == 0
        # Artists come one by one, and their genres too.
        genres = here.source().artist_genres()
        assert genres is not None
        assert genres.height > 20
        traffic = here.traffic().endpoints
        assert traffic["/v1/me/playlists"] == 2
        assert traffic["/v1/artists"] == 1

    @pytest.mark.medium
    def test_others_on_the_list_are_left_out_with_the_reason(self, install: Install) -> None:
        here = install(mode="development")
        logged_in(here, 1)
        found = ingest(here.source(user_id(1), user_id(2), user_id(3)))
        assert found_items(found) == here.expected(range(1, 2))
        assert found.rejects.sort("user_id").select("user_id", "dropped").rows() == [
            (user_id(2), True),
            (user_id(3), True),
        ]
        assert all("spotify-dag login" in reason for reason in found.rejects["reason"])

    def test_without_a_secret_a_login_speaks_for_everybody(self, install: Install) -> None:
        here = install({"spotify_client_secret": None})
        with pytest.raises(NotPermittedError, match=r"SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET"):
            ingest(here.source(user_id(2)))
        logged_in(here, 1)
        assert found_items(ingest(here.source(user_id(1), user_id(2)))) == here.expected(range(1, 3))

    def test_a_login_changes_the_version(self, install: Install) -> None:
        here = install()
        source = here.source(user_id(1))
        version = source.version()
        logged_in(here, 1)
        assert source.version() != version


class TestStayingLoggedIn:
    @pytest.mark.process
    def test_a_token_is_refreshed_in_time_once_for_all_threads_and_processes(self, install: Install) -> None:
        here = install()
        logged_in(here, 1)
        first = of(here, 1)
        (file,) = (here.data / "spotify" / "tokens").glob("*.json")
        # Within the minute in which a token is no longer used.
        file.write_text(json.dumps({**json.loads(file.read_text()), "expires_at": time.time() + 59}))
        spawn = multiprocessing.get_context("spawn")
        found = spawn.SimpleQueue()
        workers = [spawn.Process(target=use_login, args=(here.settings, user_id(1), found)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        # A refresh token works once: had two used the same, one of them would have failed.
        assert {found.get() for _ in range(2)} == {of(here, 1).access_token} != {first.access_token}
        assert of(here, 1).refresh_token != first.refresh_token

    def test_a_refused_token_is_replaced(self, install: Install) -> None:
        here = install()
        logged_in(here, 1)
        tokens = Tokens(here.settings)
        login = of(here, 1)
        (file,) = (here.data / "spotify" / "tokens").glob("*.json")
        file.write_text(json.dumps({**json.loads(file.read_text()), "access_token": "garbage"}))
        assert found_items(ingest(here.source())) == here.expected(range(1, 2))
        assert tokens.access_token(user_id(1)) not in ("garbage", login.access_token)

    @pytest.mark.medium
    def test_an_ended_login_says_who_has_to_log_in_again_and_how(self, install: Install) -> None:
        here = install(access_token_seconds=59, seed=3)
        logged_in(here, 1)
        logged_in(here, 2)
        revoke(here, 1)
        expected = r"login of '(\S+)' has ended: .*invalid_grant.* '\1' has to log in again: spotify-dag login"
        with pytest.raises(LoginExpiredError, match=expected):
            Tokens(here.settings).access_token(user_id(1))
        ended = of(here, 1)
        assert (ended.access_token, ended.refresh_token) == ("", "")
        found = ingest(here.source(user_id(2)))
        assert found_items(found) == here.expected(range(2, 3))

    def test_a_run_says_so_and_asks_nobody(self, install: Install) -> None:
        here = install(access_token_seconds=59, mode="development", seed=4)
        logged_in(here, 1)
        revoke(here, 1)
        source = here.source(user_id(1))
        with pytest.raises(LoginExpiredError, match=r"has to log in again: spotify-dag login"):
            ingest(source)

    def test_tokens_of_a_simulator_are_not_used_elsewhere(self, install: Install) -> None:
        here = install()
        logged_in(here, 1)
        real = here.settings.model_copy(update={"spotify_api_url": "https://api.spotify.com/v1"})
        assert Logins(real).all() == {}

    def test_a_damaged_file_is_no_login(self, install: Install) -> None:
        here = install()
        logged_in(here, 1)
        (file,) = (here.data / "spotify" / "tokens").glob("*.json")
        for content in (b"", b"[]", b"\xff", b'{"user_id": "x"}'):
            file.write_bytes(content)
            assert Logins(here.settings).all() == {}


class TestCommands:
    def environment(self, here: Installation, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "HOME": str(here.data.parent),
            "COLUMNS": "200", "OMP_NUM_THREADS": "1", "SPOTIFY_DAG_DATA": str(here.data),
            "SPOTIFY_DAG_SPOTIFY_API_URL": f"{here.simulator.url}/v1",
            "SPOTIFY_DAG_SPOTIFY_AUTH_URL": here.simulator.url,
            "SPOTIFY_DAG_SPOTIFY_CLIENT_ID": "simulator", "SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET": SECRET, **more,
        }  # fmt: skip

    def run(self, here: Installation, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [COMMAND, *arguments], capture_output=True, text=True, env=self.environment(here, **more), check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    @pytest.mark.process
    @pytest.mark.slow
    def test_login_prints_a_link_and_doctor_what_it_opens(self, install: Install) -> None:
        here = install(mode="development")
        poor = self.run(here, "doctor")
        assert poor.returncode == 1
        assert "no       Public playlists of any user  status 403: Forbidden" in poor.stdout
        command = [str(COMMAND), "login", "--no-browser", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment(here)) as login:
            assert login.stdout is not None
            assert "Log in with a browser" in login.stdout.readline()
            browse(login.stdout.readline().strip(), user=user_id(1))
            assert "'synthetic-000001' has logged in" in login.stdout.read()
        assert login.returncode == 0
        rich = self.run(here, "doctor", "--json")
        assert rich.returncode == 0
        report = json.loads(rich.stdout)
        assert {found["what"]: found["able"] for found in report["findings"]} == {
            "Public playlists of any user": False,
            "Artists, 50 at a time": False,
            "Artists, one at a time": True,
            "Own playlists of 'synthetic-000001'": True,
        }
        assert report["logins"][0]["days_left"] in (182, 183)
        login_file = of(here, 1)
        for secret in (login_file.access_token, login_file.refresh_token, f'"{SECRET}-secret'):
            assert secret not in rich.stdout + rich.stderr

    @pytest.mark.medium
    def test_a_wrong_setting_is_one_line_without_the_secret(
        self, install: Install, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = install()
        monkeypatch.setattr(out, "width", 200)

        def doctor(**changed: str) -> Result:
            return CliRunner().invoke(app, ["doctor"], env=self.environment(here, **changed))

        wrong = doctor(SPOTIFY_DAG_SPOTIFY_API_URL="http://api.example.org/v1")
        assert wrong.exit_code == 1
        assert wrong.stderr.count("\n") == 1
        assert "SPOTIFY_DAG_SPOTIFY_API_URL" in wrong.stderr
        refused = doctor(SPOTIFY_DAG_SPOTIFY_CLIENT_SECRET="a-wrong-secret")
        assert refused.exit_code == 1
        assert "a-wrong-secret" not in refused.stdout + refused.stderr
        assert "invalid_client" in refused.stdout

    @pytest.mark.process
    @pytest.mark.slow
    def test_a_limit_of_a_day_is_one_line_and_no_request_of_another_process(self, install: Install) -> None:
        here = install()
        here.faults(rate_limited_long=1)
        source = here.source(user_id(1))
        assert ingest(source).interrupted is not None
        assert here.traffic().urls.total() == 1
        done = self.run(here, "run", "--source", "spotify", "--path", str(source.users))
        assert done.returncode == 1
        (line,) = (line for line in done.stderr.splitlines() if line.startswith("Error: "))
        assert "Spotify allows no request for 86,400 s (status 429). Resume after 20" in line
        assert "Traceback" not in done.stderr
        assert here.traffic().urls.total() == 0


@pytest.mark.medium
def test_nothing_written_or_logged_holds_a_secret_but_the_token_files(
    install: Install, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "hush-hush-hush"
    here = install(client_secret=secret, access_token_seconds=59)
    here.options["spotify_client_secret"] = secret
    logged_in(here, 1)
    tokens = {of(here, 1).access_token, of(here, 1).refresh_token}
    app = Tokens(here.settings)
    tokens.add(app.access_token(None))
    here.faults(server_error=0.1, empty=0.1)
    ingest(here.source(user_id(1), user_id(2), "nobody"))
    tokens |= {of(here, 1).access_token, of(here, 1).refresh_token}
    wrong = settings_for(here.simulator.url, here.data, spotify_client_secret="not-this-one")
    with pytest.raises(SpotifyError) as error:
        Tokens(wrong).access_token(None)
    written = [
        file.read_bytes().decode(errors="replace")
        for file in here.data.rglob("*")
        if file.is_file() and file.parent.name != "tokens"
    ]
    everything = "\n".join(
        [*written, caplog.text, str(error.value), repr(error.value), repr(here.settings), *capfd.readouterr()]
    )
    assert "synthetic-000002" in everything
    for hidden in (*tokens, secret, "not-this-one"):
        assert hidden not in everything
