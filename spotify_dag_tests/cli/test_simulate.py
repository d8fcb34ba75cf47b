"""``spotify-dag simulate`` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import pytest
import requests
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag_tests.waiting import GUARD

pytestmark = pytest.mark.process

MAIN = (sys.executable, "-c", "from spotify_dag.cli.main import main; main()", "simulate")


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*MAIN, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_interrupted(end: signal.Signals) -> None:
    process = start("--port", "0", "--mode", "development", "--users", "3", "--fault-rate", "1", "--fault", "slow=0")
    try:
        assert process.stdout is not None
        first, *how_to_use = (process.stdout.readline() for _ in range(6))
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+", first)
        assert how_to_use[:2] == [
            f"  export SPOTIFY_DAG_SPOTIFY_API_URL={url}/v1\n",
            f"  export SPOTIFY_DAG_SPOTIFY_AUTH_URL={url}\n",
        ]
        faults = requests.get(f"{url}/simulator/faults", timeout=GUARD).json()
        assert (faults["slow"], faults["hang_up"]) == (0, pytest.approx(1 / 13))
        token = requests.post(
            f"{url}/api/token",
            data={"grant_type": "client_credentials"},
            auth=("simulator", "simulator"),
            timeout=GUARD,
        )
        assert token.status_code == 200
        process.send_signal(end)
        _, errors = process.communicate(timeout=GUARD)
    finally:
        process.kill()
    assert "Traceback" not in errors
    assert process.returncode in (130, -signal.SIGTERM, 128 + signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "typo=1"], "--fault typo: Extra inputs are not permitted. There are: rate_limited"),
        (["--fault", "hang_up"], "--fault is 'hang_up'; it must be NAME=VALUE"),
        (["--fault", "hang_up=2"], "--fault hang_up: Input should be less than or equal to 1"),
        (["--fault-rate", "0.9", "--fault", "slow=0.9"], "--fault rates: "),
        (["--users", "200000000"], "synthetic: users is 200000000"),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments: Sequence[str], message: str) -> None:
    result = CliRunner().invoke(app, ["simulate", "--port", "0", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_command_that_is_not_there_is_one_line() -> None:
    process = start("--port", "0", "--", "no-such-command")
    _, errors = process.communicate(timeout=GUARD)
    assert process.returncode == 1
    assert errors == "Error: Cannot run 'no-such-command': No such file or directory.\n"


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["simulate", "--port", str(port)])
    assert result.exit_code == 1
    assert result.stderr == f"Error: Port {port} cannot be used: Address already in use. Choose another with --port.\n"


def beside(code: str) -> list[str]:
    return ["--users", "3", "--", sys.executable, "-c", code]


def test_a_command_runs_beside_it_and_gives_the_exit_status() -> None:
    """The command finds the simulator by the project's own settings; afterwards nothing listens any more."""
    code = (
        "import requests; from spotify_dag.settings import Settings; s = Settings();"
        "pair = (s.spotify_client_id, s.spotify_client_secret.get_secret_value());"
        "form = {'grant_type': 'client_credentials'};"
        "token = requests.post(f'{s.spotify_auth_url}/api/token', data=form, auth=pair).json()['access_token'];"
        "header = {'Authorization': f'Bearer {token}'};"
        "user = requests.get(f'{s.spotify_api_url}/users/synthetic-000002', headers=header).json();"
        "print(s.spotify_auth_url, user['id']); raise SystemExit(7)"
    )
    done = subprocess.run([*MAIN, *beside(code)], capture_output=True, text=True, check=False, timeout=GUARD)
    assert done.returncode == 7, done.stderr
    url, user = done.stdout.split()
    assert user == "synthetic-000002"
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(url, timeout=5)


SLOW_TO_END = """
import os, signal, time
def end(*_):
    time.sleep(0.5)
    raise SystemExit(3)
signal.signal(signal.SIGINT, end)
print(os.getpid(), flush=True)
while True:
    time.sleep(60)
"""


def test_ending_it_ends_the_command() -> None:
    process = start(*beside(SLOW_TO_END))
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, errors) == (128 + signal.SIGTERM, "")
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_ctrl_c_waits_for_the_command_to_end() -> None:
    """A terminal sends the signal to both."""
    process = start(*beside(SLOW_TO_END))
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGINT)
    os.kill(child, signal.SIGINT)
    _, errors = process.communicate(timeout=GUARD)
    assert (process.returncode, errors) == (3, "")
