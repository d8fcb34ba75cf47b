"""What a disk refuses is one line, with what, where and the remedy, in every command and from every library."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from spotify_dag.disk_faults import REMEDIES, RIGHTS, ROOM, WRITABLE, disk_error

ROOT = Path("/srv/data")
COMMANDS = (
    ["run", "--source", "synthetic", "--users", "5"], ["run"], ["add", "{file}", "--as", "anna"], ["tidy"],
    ["retention"], ["doctor", "--deep"], ["models", "list"], ["up", "--no-app", "--no-simulator", "--port", "{port}"],
)  # fmt: skip


READING = ("doctor", "models")
"""They have nothing to write to an empty data root."""
EMPTY = "Error: There is no source yet."


@pytest.mark.parametrize("number", REMEDIES)
def test_every_refusal_has_a_remedy_and_names_its_file(number: int) -> None:
    said = str(disk_error(OSError(number, os.strerror(number), "/srv/data/lake/x.parquet"), ROOT))
    assert said == f"{os.strerror(number)}: /srv/data/lake/x.parquet. {REMEDIES[number]}"


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (
            RuntimeError("LocalFileSystem: /srv/d/f.parquet: No space left on device (os error 28)"),
            "/srv/d/f.parquet",
        ),
        (sqlite3.OperationalError("database or disk is full"), str(ROOT)),
        (ValueError("wrapped"), str(ROOT)),
    ],
)
def test_libraries_that_say_it_in_their_own_words_are_understood(error: Exception, where: str) -> None:
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device") if "wrapped" in str(error) else None
    said = str(disk_error(error, ROOT))
    assert said in (f"No space left on device: {where}. {ROOM}",)


@pytest.mark.parametrize(
    "error", [ValueError("no"), FileNotFoundError(errno.ENOENT, "No such file", "x"), KeyError("x")]
)
def test_what_is_no_fault_of_the_disk_stays_what_it_is(error: Exception) -> None:
    assert disk_error(error, ROOT) is None


def test_errors_that_are_each_other_s_cause_are_looked_at_once() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    assert disk_error(first, ROOT) is None


WITHOUT_RIGHTS_OF_ROOT = """
import ctypes, os, sys
# Root may write everywhere by CAP_DAC_OVERRIDE, 1; what is executed from now on has it no more (PR_CAPBSET_DROP, 24).
if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(24, 1, 0, 0, 0):
    sys.exit("cannot drop the capability")
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""
EACH_IN_A_FORK = """
import json, os, sys
from spotify_dag.cli.main import main
# Importing it takes most of what such a command takes: a fork of this process has it already.
commands, folder = json.loads(sys.argv[1]), sys.argv[2]
children = []
for number, command in enumerate(commands):
    child = os.fork()
    if not child:
        for stream, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{folder}/{number}.{name}", os.O_WRONLY | os.O_CREAT), stream)
        sys.argv = ["spotify-dag", *command]
        sys.exit(main())
    children.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(json.dumps(children))
"""


def refusals(commands: Sequence[tuple[Path, list[str]]], beside: Path) -> list[str]:
    """Run commands on data roots that cannot be written to; return the line each ends with, "" where it succeeds."""
    (beside / "mine.csv").write_text("Track Name,Artist Name(s)\nOne,Ada\n")
    given = [
        ["--data", str(root), *(part.format(file=beside / "mine.csv", port=61_234) for part in command)]
        for root, command in commands
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS_OF_ROOT, EACH_IN_A_FORK, json.dumps(given), str(beside)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = []
    for number, status in enumerate(json.loads(done.stdout)):
        said = (beside / f"{number}.err").read_text()
        assert "Traceback" not in said
        assert status in (0, 1)
        assert not status or said.count("\n") == 1, said
        lines.append(said if status else "")
    return lines


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, str]]:
    """By command, a data root of its own without the right to write, and the line the command ends with."""
    beside = tmp_path_factory.mktemp("refused")
    roots = [beside / f"data-{number}" for number in range(len(COMMANDS))]
    for root in roots:
        root.mkdir(mode=0o555)
    lines = refusals(list(zip(roots, COMMANDS, strict=True)), beside)
    return {" ".join(command): (root, line) for command, root, line in zip(COMMANDS, roots, lines, strict=True)}


@pytest.mark.process
@pytest.mark.xdist_group("disk")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_the_right_to_write_every_command_says_so_in_one_line(
    said: dict[str, tuple[Path, str]], command: list[str]
) -> None:
    root, line = said[" ".join(command)]
    if command[0] in READING:
        assert line in ("", EMPTY)
    else:
        assert line.startswith(f"Error: Permission denied: {root}") or line.startswith(EMPTY)
        assert line.endswith(f"{RIGHTS}\n") or line.startswith(EMPTY)


@pytest.mark.process
def test_a_read_only_file_system_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    arguments = ["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *arguments], check=False, capture_output=True).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        (line,) = refusals([(folder / "data", ["run", "--source", "synthetic"])], tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    assert line == f"Error: Read-only file system: {folder / 'data'}. {WRITABLE}\n"


@pytest.mark.process
def test_a_file_in_place_of_the_data_root_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "spotify_dag", "--data", str(tmp_path / "data"), "run", "--source", "synthetic"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "A file stands where a folder is needed" in done.stderr
    assert done.stderr.count("\n") == 1
