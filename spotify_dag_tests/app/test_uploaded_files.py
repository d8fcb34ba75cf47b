"""Every kind of file that people have, handed in over HTTP: the app reads it as the command does, and says the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pytest

from samples.export_files import as_json, folder, item, playlists
from spotify_dag.app.cards import what_was_read
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.export.report import lines
from spotify_dag_tests.app.browsing import ENGLISH
from spotify_dag_tests.app.conftest import Served
from spotify_dag_tests.sources.export.people import KINDS, REFUSED, Kind, Refused, zipped

pytestmark = pytest.mark.slow

SPREADSHEETS = {kind.name for kind in KINDS if kind.name.startswith("spreadsheet")}
SENT = [kind for kind in KINDS if kind.name not in SPREADSHEETS or kind.name.endswith("cp1252 ';'")]
NUMBERS = ("rows_kept", "lists", "plays", "left_out", "rejected", "values_left_out", "names_mended")


def send(served: Served, files: Mapping[str, bytes]) -> tuple[str, dict[str, Any]]:
    """Send files as a browser does, several at once; those in folders as one zip, as folders cannot be sent."""
    if any("/" in name for name in files):
        files = {"in.zip": zipped(files)}
    parts = [("file", (PurePosixPath(name).name, content)) for name, content in files.items()]
    name, found, _ = served.follow(served.client.post("/api/v1/users", files=parts))
    return name, found


@pytest.mark.parametrize("kind", SENT, ids=lambda kind: kind.name)
def test_every_kind_is_read_as_by_the_command(served: Served, kind: Kind, tmp_path: Any) -> None:
    files = {name: content for name, content in kind.files.items() if not name.startswith(".hidden")}
    if any(name.endswith(".zip") for name in files):
        files = {PurePosixPath(name).name: content for name, content in files.items()}
    reading = Reading(folder(tmp_path, kind.files), "export-anna")
    for _ in reading.frames():
        pass
    expected = reading.report()
    name, found = send(served, files)
    assert name == "result", found
    assert {number: found["reading"][number] for number in NUMBERS} == {number: expected[number] for number in NUMBERS}
    read = {(file["what"], file["encoding"]) for file in found["reading"]["files_read"]}
    assert read == {(file["what"], file["encoding"]) for file in expected["files_read"]}


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_what_is_refused_says_the_same_reason(served: Served, kind: Refused) -> None:
    name, found = send(served, kind.files)
    assert name == "problem"
    for part in kind.says:
        assert part in found["detail"]


def test_the_page_shows_every_line_of_the_report(served: Served) -> None:
    files = {
        "Playlist1.json": as_json(playlists({"Quiet": [item(1, "BjÃ¶rk"), item(2, "Prince")]})),
        "notes.txt": b"milk, eggs",
    }
    name, found = send(served, files)
    assert name == "result"
    shown = lines(found["reading"])
    assert [line for line in shown if line.startswith("not read notes.txt: ")]
    assert "1 names mended: their letters had been decoded wrongly" in shown
    page = what_was_read(ENGLISH, found["reading"])
    assert page.count("<li>") == len(shown)


def test_more_files_than_are_taken_at_once(served: Served) -> None:
    parts = [("file", (f"{number}.csv", b"a")) for number in range(101)]
    answer = served.client.post("/api/v1/users", files=parts)
    assert answer.status_code == 422
    assert "At most 100 files can be sent at once, not 101" in answer.json()["detail"]
