"""``spotify-dag up``: what is kept running, and what is refused. The parts are real processes, small ones."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spotify_dag.cli.main import app
from spotify_dag.cli.up import Part, keep_running
from spotify_dag.layout import Layout, read_layout
from spotify_dag.locks import locked
from spotify_dag_tests.waiting import until

pytestmark = pytest.mark.process

STEADY = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("here", flush=True)
while True:
    time.sleep(60)
"""


def part(folder: Path, name: str, code: str) -> Part:
    log = folder / f"{name}.log"
    return Part(name, [sys.executable, "-c", code], log, dict(os.environ), lambda: "well")


def test_parts_are_kept_running_and_end_with_an_interrupt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    steady, brief = part(tmp_path, "steady", STEADY), part(tmp_path, "brief", "print('once', flush=True)")

    def interrupt() -> None:
        try:
            until(lambda: brief.log.is_file() and brief.log.read_text().count("once") >= 2)
            until(lambda: "here" in steady.log.read_text())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    keep_running([steady, brief])
    watcher.join()
    assert brief.log.read_text().count("once") >= 2
    assert steady.is_gone()
    assert steady.process is not None
    assert steady.process.returncode == -signal.SIGINT
    told = capsys.readouterr().out
    assert "steady" in told
    assert "ended with status 0, is started again; see " in told


def test_the_code_server_is_started_again_when_buckets_were_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, other = part(tmp_path, "code", STEADY), part(tmp_path, "app", STEADY)
    Layout(64, 64).write(tmp_path)

    def split() -> None:
        try:
            until(lambda: all(each.log.is_file() and "here" in each.log.read_text() for each in (code, other)))
            Layout(128, 64).write(tmp_path)
            until(lambda: code.log.read_text().count("here") >= 2)
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=split)
    watcher.start()
    keep_running([code, other], lambda: read_layout(tmp_path))
    watcher.join()
    assert code.log.read_text().count("here") == 2
    assert other.log.read_text().count("here") == 1
    assert "There are 128 user buckets now. The code server is started again." in capsys.readouterr().out


def up(data: Path, *arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["--data", str(data), "up", "--no-app", "--no-simulator", *map(str, arguments)])
    return done.exit_code, " ".join(done.output.split())


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, printed = up(tmp_path / "data", "--port", port)
    assert status == 1
    assert printed.startswith(f"Error: Port {port} of the ui cannot be used: Address already in use.")
    assert printed.endswith("Choose another: --port")


def test_a_data_root_is_one_command_s(tmp_path: Path) -> None:
    with locked(tmp_path / "data" / "up" / ".lock", wait=False):
        status, printed = up(tmp_path / "data")
    assert status == 1
    assert "spotify-dag up is running already on" in printed


@pytest.mark.parametrize(
    "name",
    [
        "dagster", "spotify_dag", "spotify_dag.orchestration.dagster_internals.daemon",
        "spotify_dag.orchestration.dagster_internals.webserver",
    ],
)  # fmt: skip
def test_what_it_starts_is_there(name: str) -> None:
    from importlib.util import find_spec

    assert find_spec(name) is not None
