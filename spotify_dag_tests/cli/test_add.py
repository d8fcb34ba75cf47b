"""``spotify-dag add`` on every kind of file that people have, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from samples.export_files import as_json, folder, item, playlists
from spotify_dag.cli.main import app
from spotify_dag_tests.sources.export.people import KINDS, REFUSED, Kind, Refused

pytestmark = pytest.mark.medium

Add = Callable[..., dict[str, Any]]


@pytest.fixture
def add(tmp_path: Path) -> Add:
    """Return a function that adds paths and returns the report."""

    def run(*arguments: str | Path) -> dict[str, Any]:
        command = ["--data", str(tmp_path / "data"), "add", *map(str, arguments), "--as", "anna", "--json"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_is_read(kind: Kind, add: Add, tmp_path: Path) -> None:
    report = add(folder(tmp_path / "in", kind.files), "--dry-run")
    titles = sum(map(len, kind.lists.values()))
    assert report["rows_kept"] >= titles
    assert report["plays"] == kind.plays
    assert report["lists"] >= len(kind.lists)
    assert sum(report["rejected"].values()) == kind.rejected
    assert not report["kept"]


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.name)
def test_what_cannot_be_one_persons_listening_is_refused_with_the_reason(kind: Refused, tmp_path: Path) -> None:
    root = folder(tmp_path / "in", kind.files)
    done = CliRunner().invoke(app, ["--data", str(tmp_path / "data"), "add", str(root), "--as", "anna"])
    assert done.exit_code == 1
    text = " ".join(done.stderr.split())
    for part in kind.says:
        assert part in text


def test_handing_in_again_says_what_it_replaces_or_was_added_to(tmp_path: Path) -> None:
    def add(name: str, *options: str) -> str:
        file = folder(tmp_path / name, {"Playlist1.json": as_json(playlists({name: [item(1), item(2)]}))})
        command = ["--data", str(tmp_path / "data"), "add", str(file), "--as", "anna", *options]
        done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
        assert done.exit_code == 0, done.output
        return done.stdout

    first = add("Quiet")
    assert "export-anna: 2 items in 1 list." in first
    assert "replaces" not in first
    assert "was added to 2 items in 1 list handed in on " in add("Loud", "--merge")
    assert "replaces 4 items in 2 lists handed in on " in add("New")


def test_names_that_were_mended_are_counted(add: Add, tmp_path: Path) -> None:
    names = ("BeyoncÃ©", "Sigur RÃ³s", "BjÃ¶rk")
    items = [item(place, name) for place, name in enumerate(names)]
    report = add(folder(tmp_path / "in", {"Playlist1.json": as_json(playlists({"Quiet": items}))}), "--dry-run")
    assert report["names_mended"] == 3
    assert report["rows_kept"] == 3


def test_another_file_tells_a_comma_in_a_name_from_one_between_names(add: Add, tmp_path: Path) -> None:
    heading = "Track name,Artist name,Album,Playlist name,Type,ISRC\n"
    table = (heading + 'Ebb,"Mill, The Grinder, Paper Fox",Tides,Road,Playlist,X\n').encode()
    alone = folder(tmp_path / "alone", {"My Library.csv": table})
    both = folder(
        tmp_path / "both",
        {"My Library.csv": table, "Playlist1.json": as_json(playlists({"Q": [item(1, "Mill, The Grinder")]}))},
    )
    assert add(alone)["rows_kept"] == 1
    assert artists(tmp_path) == [["Mill", "The Grinder", "Paper Fox"]]
    assert add(both)["rows_kept"] == 2
    assert ["Mill, The Grinder", "Paper Fox"] in artists(tmp_path)


def test_the_table_of_genres_tells_a_comma_in_a_name(add: Add, tmp_path: Path) -> None:
    from spotify_dag.project import Project
    from spotify_dag.settings import Settings

    genres = tmp_path / "genres.csv"
    genres.write_text('artist_name,genres\n"Mill, The Grinder",folk\n')
    Project.open(Settings(data=tmp_path / "data")).inbox.register_artist_genres(genres)
    table = b'title,artist,album,isrc\nEbb,"Paper Fox, Mill, The Grinder",Tides,X\n'
    assert add(folder(tmp_path / "in", {"Road.csv": table}))["rows_kept"] == 1
    assert artists(tmp_path) == [["Paper Fox", "Mill, The Grinder"]]


def artists(root: Path) -> list[list[str]]:
    """Return the artists of all rows that were kept last."""
    from spotify_dag.sources.export.kept import kept_records

    newest = max((root / "data" / "inbox" / "requests" / "content").iterdir(), key=lambda file: file.stat().st_mtime_ns)
    records = kept_records(newest)
    assert records is not None
    return records["artists"].to_list()
