"""``spotify-dag add listenbrainz:NAME``: who is read from then on, and forgotten again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from spotify_dag.cli.add_listed import listed_users
from spotify_dag.cli.main import app
from spotify_dag.lifecycle.forget import forget, is_known
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.sources.listenbrainz import ListenBrainzSource
from spotify_dag.sources.user_mirror import UserMirror


def add(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), "add", *arguments])


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ("listenbrainz:rob", [("listenbrainz", "listenbrainz:rob")]),
        ("LISTENBRAINZ:rob", [("listenbrainz", "LISTENBRAINZ:rob")]),
        ("https:/listenbrainz.org/user/rob", [("listenbrainz", "https:/listenbrainz.org/user/rob")]),
        ("lastfm-api:rj", [("lastfm-api", "lastfm-api:rj")]),
        ("listenbrainz-export.zip", []),
        ("rob", []),
    ],
)
def test_users_of_services_are_told_from_files(text: str, listed: list[tuple[str, str]]) -> None:
    assert listed_users([Path(text)]) == listed


def test_a_user_is_listed_once_and_their_source_registered(tmp_path: Path) -> None:
    for spelled in ("listenbrainz:Rob", "https://listenbrainz.org/user/Rob"):
        result = add(tmp_path, spelled, "--json")
        assert result.exit_code == 0, result.output
        (told,) = json.loads(result.stdout)
        assert (told["user_id"], told["source"]) == ("listenbrainz-rob", "listenbrainz")
    assert (tmp_path / "listenbrainz" / "added.txt").read_text() == "Rob"
    (source,) = Project.open(Settings(data=tmp_path)).inbox.sources()
    assert isinstance(source, ListenBrainzSource)
    assert list(source.listed()[0]) == ["listenbrainz-rob"]


def test_files_and_users_do_not_mix(tmp_path: Path) -> None:
    result = add(tmp_path, "listenbrainz:rob", "file.csv", "--as", "anna")
    assert result.exit_code == 1
    assert "add them with two commands" in result.stderr
    for option in ("--private", "--dry-run", "--merge"):
        assert "are for files" in add(tmp_path, "listenbrainz:rob", option).stderr
    assert not (tmp_path / "listenbrainz").exists()
    result = add(tmp_path, "file.csv")
    assert result.exit_code == 1
    assert "--as NAME" in result.stderr


def test_a_forgotten_user_leaves_list_and_mirror_and_others_stay(tmp_path: Path) -> None:
    add(tmp_path, "listenbrainz:rob")
    add(tmp_path, "listenbrainz:robin")
    project = Project.open(Settings(data=tmp_path))
    own = tmp_path.parent / f"{tmp_path.name}-own.txt"
    own.write_text("Rob\nrobin\n")
    project.inbox.register_source("listenbrainz", {"path": str(own)})
    mirror = UserMirror.open(ListenBrainzSource.path_of(project.settings))
    for name in ("rob", "robin"):
        assert mirror.claim(f"listenbrainz-{name}", name, 1.0) is not None
    assert is_known(project, "listenbrainz-rob")
    done = forget(project, "listenbrainz-rob")
    assert done.deleted["listed"] == 1
    assert done.still_named == [str(own)]
    assert (tmp_path / "listenbrainz" / "added.txt").read_text() == "robin"
    assert [user.user_id for user in mirror.users(["listenbrainz-rob", "listenbrainz-robin"])] == ["listenbrainz-robin"]
    mirror.close()
    (source,) = project.inbox.sources()
    assert isinstance(source, ListenBrainzSource)
    assert list(source.listed()[0]) == ["listenbrainz-robin"]
    # They hand themselves in again.
    assert json.loads(add(tmp_path, "listenbrainz:rob", "--json").stdout)[0]["was_forgotten"]
