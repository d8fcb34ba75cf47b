"""What is handed in is a file, a folder or a zip; what is made to do harm is refused before anything is read."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from samples.export_files import as_json, folder, item, play, playlists, zipped
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.export import archive
from spotify_dag.sources.export.archive import handed_in
from spotify_dag_tests.sources.export.conftest import read

GOOD = {"data/Playlist1.json": as_json(playlists({"One": [item(1)]}))}


def listed(path: Path) -> list[str]:
    with handed_in(path) as found:
        return [str(member.path) for member in found.members]


def complaint(path: Path) -> str:
    with pytest.raises(SourceError) as error:
        listed(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("form", [folder, zipped])
def test_files_come_in_natural_order_without_those_of_the_system(
    tmp_path: Path, form: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    names = ["b/Playlist10.json", "b/Playlist9.json", "a.csv", "__MACOSX/b/._a.csv", "b/.DS_Store", "٣²/x.csv"]
    path = form(tmp_path / "handed.zip", dict.fromkeys(names, b"x"))
    assert listed(path) == ["a.csv", "b/Playlist9.json", "b/Playlist10.json", "٣²/x.csv"]


@pytest.mark.parametrize(
    "name", ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "..\\evil.csv", "C:\\evil.csv", "\\\\host\\evil.csv"]
)
def test_paths_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path / "x.zip", {**GOOD, name: b"x"})
    assert "a path that leads out of the archive" in complaint(path)
    assert os.listdir(tmp_path) == ["x.zip"]


def test_links_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", GOOD)
    link = zipfile.ZipInfo("link.csv")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(link, "/etc/passwd")
    assert "'link.csv', a link" in complaint(path)
    (folder(tmp_path / "f", GOOD) / "link.csv").symlink_to("/etc/passwd")
    with handed_in(tmp_path / "f") as found:
        assert [member.name for member in found.members] == ["Playlist1.json"]
        assert found.unread == [("link.csv", "a link; put the file itself there")]


def test_archives_in_archives_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {**GOOD, "more/inner.ZIP": b"PK\x03\x04"})
    assert "'more/inner.ZIP', an archive in what was handed in; hand it in on its own" in complaint(path)


def test_what_is_packed_too_tightly_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {**GOOD, "zeros.csv": bytes(20 << 20)})
    assert "'zeros.csv', packed more than 200-fold" in complaint(path)
    assert listed(zipped(tmp_path / "small.zip", {"zeros.csv": bytes(1 << 20)})) == ["zeros.csv"]


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "x.zip", {f"{n}.csv": os.urandom(100) for n in range(9)})
    monkeypatch.setattr(archive, "MAX_BYTES", 899)
    assert "unpacks to" in complaint(path)
    monkeypatch.setattr(archive, "MAX_BYTES", 900)
    assert len(listed(path)) == 9
    monkeypatch.setattr(archive, "MAX_FILES", 8)
    assert "more than 8 files" in complaint(path)


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"a.csv": os.urandom(5_000)})
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    entry = content[start : content.index(b"PK\x05\x06")]
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    struct.pack_into("<HHI", end, 8, 50, 50, 50 * len(entry))
    path.write_bytes(content[:start] + entry * 50 + bytes(end))
    assert "overlap" in complaint(path)


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted; unpack it and hand in the folder" in complaint(path)


def test_a_zip_of_a_version_to_come(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", GOOD)
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 6] = 99
    path.write_bytes(content)
    assert "is no readable zip archive: zip file version 9.9" in complaint(path)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04 nothing", b"Rar!\x1a\x07"])
def test_what_is_no_zip_is_said_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    assert "is no readable zip archive" in complaint(path)


def test_a_path_without_anything(tmp_path: Path) -> None:
    assert "There is no file or folder" in complaint(tmp_path / "nowhere")


def test_what_comes_before_a_damaged_place_of_a_zip_is_kept(tmp_path: Path) -> None:
    files = {f"Playlist{n}.json": as_json(playlists({"One": [item(n * 100 + m) for m in range(90)]})) for n in (1, 2)}
    path = zipped(tmp_path / "x.zip", files)
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(content)
    found = read(path)
    assert [title for title in found.titles() if title >= "Song 200"] == [f"Song {200 + m}" for m in range(90)]
    assert [reason[:18] for reason in found.rejects["reason"]].count("cannot be read on:") == 1


class TestNothingToRead:
    def test_other_files_are_not_opened(self, tmp_path: Path) -> None:
        path = folder(tmp_path / "f", dict.fromkeys(("Userdata.json", "Payments.json"), as_json([play(1)])))
        with pytest.raises(SourceError, match=r"holds no file of listening; it holds Payments\.json, Userdata\.json\."):
            read(path)

    def test_one_file_under_another_name_is_known_by_its_content(self, tmp_path: Path) -> None:
        (tmp_path / "from anna").write_bytes(GOOD["data/Playlist1.json"])
        assert read(tmp_path / "from anna").titles() == ["Song 1"]

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="holds no file of listening; it holds nothing"):
            read(tmp_path)
