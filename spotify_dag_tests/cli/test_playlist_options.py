"""Lists that leave a command: into an account, and which ways do not go together."""

from __future__ import annotations

import webbrowser
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from spotify_dag.cli.playlist_options import Leaving, leaving
from spotify_dag.playlists_out.forms import FormError
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import SimulatorSettings
from spotify_dag.simulator.loopback_server import serve


def answer(track_id: str, name: str) -> dict[str, object]:
    names = {"track_name": name, "artist_name": "Somebody", "album_name": None}
    return {"track_id": track_id, "release_year": None, "popularity": None, **names}


@pytest.mark.medium
def test_a_list_goes_into_the_account_of_who_logs_in_and_no_login_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(SimulatorSettings(users=5, playlists=2, mode="development")) as simulator, ThreadPoolExecutor(1) as pool:
        world = simulator.api.world
        settings = Settings(
            data=tmp_path, spotify_client_id="simulator", spotify_api_url=f"{simulator.url}/v1",
            spotify_auth_url=simulator.url,
        )  # fmt: skip
        someone = {"user": world.user_id(1)}
        monkeypatch.setattr(webbrowser, "open", lambda url: pool.submit(requests.get, url, someone, timeout=20))
        tracks = [world.tracks.ids.id_of(number) for number in range(3)]
        answers = [answer(track, f"Song {number}") for number, track in enumerate(tracks)]
        answers.insert(1, answer("synthetic-track-1", "Elsewhere"))
        answers.append(answer("0" * 22, "Gone"))
        Leaving(None, None, account=True).give(settings, "Rainy day", answers, port=0)
        (made,) = (one for number in world.listed(1) if (one := world.playlist(number)).made)
    assert made.name == "Rainy day"
    assert [world.tracks.ids.id_of(int(track)) for track in made.tracks] == tracks
    said = " ".join(capsys.readouterr().err.split())
    assert "3 tracks are in https://open.spotify.com/playlist/" in said
    assert "left out: 2 tracks: Somebody – Elsewhere; Somebody – Gone" in said
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("as_json", "form", "out", "account", "message"),
    [
        (True, None, None, True, "--json is an answer for programs"),
        (False, "csv", None, True, "--to-spotify adds the list to an account"),
        (False, None, Path("x.csv"), True, "--to-spotify adds the list to an account"),
        (False, None, Path("x.mp3"), False, "does not end like a playlist"),
    ],
)
def test_ways_that_do_not_go_together(
    as_json: bool, form: str | None, out: Path | None, account: bool, message: str
) -> None:
    with pytest.raises(FormError, match=message):
        leaving(as_json, form, out, account)  # type: ignore[arg-type]
    assert leaving(as_json, None, None, account=False) is None
