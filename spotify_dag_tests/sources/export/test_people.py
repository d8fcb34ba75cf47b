"""Every kind of file that people have comes out as what it is, from a folder, a zip and several paths alike."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from samples.export_files import as_json, folder, item, play, playlists
from spotify_dag.app.newcomers import handed_in
from spotify_dag.cli.main import app
from spotify_dag.sources.artists import is_placeholder
from spotify_dag.sources.base import SourceError
from spotify_dag_tests.sources.export.conftest import Read, read
from spotify_dag_tests.sources.export.people import KINDS, Kind, account, net, text, zipped

pytestmark = pytest.mark.medium

NAMES = ("artist_name", "track_name", "album_name", "playlist_name")


def check(kind: Kind, records: pl.DataFrame) -> None:
    """Assert that what was read is what the kind holds."""
    lists = records.filter(pl.col("playlist_id") != "plays", ~pl.col("playlist_id").is_in(["albums", "artists"]))
    found = dict(lists.group_by("playlist_name", maintain_order=True).agg("track_name").iter_rows())
    assert found == {name: list(titles) for name, titles in kind.lists.items()}
    if kind.artists is not None:
        first = lists.filter(pl.col("playlist_id") == lists["playlist_id"][0])
        assert first["artists"].to_list() == [list(artists) for artists in kind.artists]
        assert first["artist_name"].to_list() == [artists[0] for artists in kind.artists]
    if kind.years is not None:
        assert lists["release_year"].to_list() == kind.years
    assert records["plays"].sum() == kind.plays
    named = [name for column in NAMES for name in records[column].drop_nulls()]
    assert not [name for name in named if "\ufffd" in name]
    assert not [name for name in records["artists"].explode() if is_placeholder(name)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_folder_several_paths_and_a_zip(kind: Kind, tmp_path: Path) -> None:
    root = folder(tmp_path / "in", kind.files)
    records = read(root).records
    check(kind, records)
    check(kind, read(*(path for path in sorted(root.iterdir()) if path.name != ".hidden")).records)
    if any(name.endswith(".zip") for name in kind.files):  # An archive in an archive is refused.
        return
    (tmp_path / "in.zip").write_bytes(zipped(kind.files))
    with handed_in(tmp_path / "in.zip", "export-anna", tmp_path) as (source, _):
        (batch,) = source.batches()
    whole = records.select(batch.records.columns)
    order = ["playlist_id", "position"]
    same = [name for name in whole.columns if name != "playlist_position"]
    assert_frame_equal(batch.records.select(same).sort(order), whole.select(same).sort(order))


def test_the_command_says_what_it_read_and_keeps_nothing_in_a_dry_run(tmp_path: Path) -> None:
    runner, data = CliRunner(), tmp_path / "data"
    downloads = next(kind for kind in KINDS if kind.name == "a Downloads folder")
    root = folder(tmp_path / "in", downloads.files)

    def add(*arguments: str) -> dict:
        done = runner.invoke(app, ["--data", str(data), "add", *arguments, "--as", "anna", "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    dry = add(str(root), "--dry-run")
    assert (dry["kept"], dry["rows_kept"], dry["plays"], dry["replaces"]) == (False, 8, 2, None)
    assert not list((data / "inbox").rglob("*.json"))
    reasons = {file["file"]: file["reason"] for file in dry["files_not_read"]}
    assert reasons["budget.xlsx"].startswith("an Excel workbook")
    assert reasons["old.rar"].startswith("a rar archive")
    assert "no headings of titles and artists" in reasons["bank.csv"]
    assert {"setup.exe", "notes.txt", "photo.zip/a.jpg"} & set(reasons)
    kept = add(str(root))
    assert kept["kept"]
    assert {name: kept[name] for name in ("rows_kept", "lists", "plays")} == {"rows_kept": 8, "lists": 5, "plays": 2}
    more = tmp_path / "more"
    more.mkdir()
    (more / "Playlist1.json").write_bytes(as_json(playlists({"Quiet": [item(2), item(3)], "New": [item(9)]})))
    merged = add(str(more), "--merge")
    assert merged["merged_with"]["rows_kept"] == 8
    assert (merged["rows_kept"], merged["lists"]) == (10, 6)
    replaced = add(str(more))
    assert replaced["replaces"]["rows_kept"] == 10
    assert replaced["rows_kept"] == 3


def test_two_people_are_never_one(tmp_path: Path) -> None:
    files = {f"{who}/{name}": content for who in ("a", "b") for name, content in account(50 * (who == "b")).items()}
    named = {f"{who}/Userdata.json": as_json({"username": f"user {who}"}) for who in ("a", "b")}
    with pytest.raises(SourceError, match=r"2 people: 'user a' \(a/Userdata.json\) and 'user b' \(b/Userdata.json\)"):
        read(folder(tmp_path / "named", {**files, **named}))
    histories = {f"{who}.json": as_json([play(1, username=f"user {who}")]) for who in ("a", "b")}
    with pytest.raises(SourceError, match="Hand in each on their own"):
        read(folder(tmp_path / "histories", histories))
    # Nothing tells: it is said.
    found = read(folder(tmp_path / "unnamed", {**files, "b/Playlist1.json": as_json(playlists({"B": [item(9)]}))}))
    assert found.reading.notes == [
        "2 downloads in a, b: they are taken for one person's. People are handed in one by one."
    ]


@pytest.mark.parametrize(
    "name", ["Various Artists", "[unknown]", "Unknown Artist", "VARIOUS  ARTISTS", "Artistes variés"]
)
def test_a_placeholder_is_no_artist(tmp_path: Path, name: str) -> None:
    table = (
        net("Track ID", ",", explicit=False)
        .replace('"Lune Claire,Åsa Fjord"', f'"{name},Åsa Fjord"')
        .replace("Señor Gris", name)
    )
    history = [play(1, 1, master_metadata_album_artist_name=name), play(2, 2)]
    found = read(folder(tmp_path, {"quiet.csv": table.encode(), "endsong_0.json": as_json(history)}))
    assert found.records["artist_name"].to_list() == ["Åsa Fjord", "Mill, The Grinder", "20,000 Birds", "Air"]
    assert found.reading.rejected == {"no artist of its own: a placeholder such as Various Artists": 2}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"spotify:track:x,a,b\n", "no headings of titles and artists"),
        (b"uri,besteht,nicht\nspotify:track:0123456789012345678901,Ebb,Tides\n", "uri, besteht, nicht"),
        (b"uri,x,y,z\nspotify:track:0123456789012345678901,Tides,Ebb,Lune Claire\n", "uri, x, y, z"),
    ],
)
def test_what_its_headings_do_not_tell_is_refused_with_them(tmp_path: Path, table: bytes, reason: str) -> None:
    (tmp_path / "x.csv").write_bytes(table)
    with pytest.raises(SourceError, match=reason):
        read(tmp_path / "x.csv")


def test_a_list_of_local_files_and_podcasts_says_so(tmp_path: Path) -> None:
    heading, *rows = csv.reader(net("Track URI", ";", explicit=True, prefix="spotify:local:").splitlines())
    (tmp_path / "demos.csv").write_text(text([heading, *(row[:6] for row in rows)]))
    with pytest.raises(SourceError, match=r"4 of its rows: local files are known to nobody else"):
        read(tmp_path / "demos.csv")


def test_dates_of_two_digits_and_values_that_are_none(read_file: Callable[[str, bytes], Read]) -> None:
    table = net("Track ID", ",", explicit=False)
    for old, new in (("2019-03-01", "26/06/06"), (",2004,", ",soon,"), ("1987-11", "juin-75"), ("2013-06-25", "0000")):
        table = table.replace(old, new)
    found = read_file("quiet.csv", table.encode())
    assert found.records["release_year"].to_list() == [2006, None, 1975, None]
    assert not found.reading.rejected
    assert [name for name in found.reading.values if name.startswith("release_year: not a year")]
    assert sum(found.reading.values.values()) == 1
