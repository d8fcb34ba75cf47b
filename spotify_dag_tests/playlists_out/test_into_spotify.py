"""Lists that become playlists of an account, at a simulated Spotify that really listens and goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import requests

from spotify_dag.playlists_out.into_spotify import Added, add_playlist
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.simulator.world import Playlist
from spotify_dag.sources.base import ResumeLaterError
from spotify_dag.sources.spotify.spotify_errors import NotPermittedError, SpotifyError, WrongItemsError
from spotify_dag.sources.spotify.tokens import ADDING_SCOPE, SCOPES
from spotify_dag_tests.waiting import until

pytestmark = pytest.mark.medium  # servers on loopback
USER = "synthetic-000002"
VERIFIER = "v" * 64


@dataclass
class Account:
    """Somebody who has logged in at a simulator."""

    simulator: Simulator
    settings: Settings
    token: dict[str, Any]

    def add(self, tracks: list[str], title: str = "Monday") -> Added:
        return add_playlist(self.settings, USER, self.token, title, tracks)

    def add_in_the_end(self, tracks: list[str], title: str = "Monday") -> int:
        """Ask until it is there, as somebody does who is told to come again; return how often it was asked."""
        for asked in range(1, 40):
            try:
                assert self.add(tracks, title).left_out == []
            except ResumeLaterError as error:
                time.sleep(max(0, error.at - time.time()))
            except SpotifyError:
                continue
            else:
                return asked
        raise AssertionError("It is never there.")

    def ids(self, count: int, first: int = 0) -> list[str]:
        """Return ids of tracks, in an order that is nobody else's."""
        ids = self.simulator.api.world.tracks.ids
        return [ids.id_of(int(number)) for number in np.random.default_rng(first).permutation(ids.count)[:count]]

    def made(self) -> list[Playlist]:
        """Return the playlists that an app made for the user, newest first."""
        world = self.simulator.api.world
        return [one for number in world.listed(2) if (one := world.playlist(number)).made]

    def held(self) -> list[str]:
        """Return the ids of the tracks of the only playlist that an app made."""
        (playlist,) = self.made()
        return [self.simulator.api.world.tracks.ids.id_of(int(number)) for number in playlist.tracks]

    def edit(self, tracks: list[str]) -> None:
        """Change the playlist as its owner may."""
        ids = self.simulator.api.world.tracks.ids
        numbers = np.array([ids.number_of(track) for track in tracks])
        self.simulator.api.world.edit(self.made()[0].number, lambda _: numbers)


def token_of(simulator: Simulator, *scopes: str) -> dict[str, Any]:
    """Log the user in, as a browser and an app do."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
    redirect = "http://127.0.0.1:9/callback"
    asked = {
        "client_id": "simulator", "response_type": "code", "redirect_uri": redirect, "scope": " ".join(scopes),
        "code_challenge": challenge, "code_challenge_method": "S256", "user": USER,
    }  # fmt: skip
    answer = requests.get(f"{simulator.url}/authorize", params=asked, allow_redirects=False, timeout=10)
    form = {
        "grant_type": "authorization_code", "code": parse_qs(urlsplit(answer.headers["location"]).query)["code"][0],
        "redirect_uri": redirect, "code_verifier": VERIFIER, "client_id": "simulator",
    }  # fmt: skip
    return dict(requests.post(f"{simulator.url}/api/token", data=form, timeout=10).json())


def account_at(simulator: Simulator, data: Path) -> Account:
    settings = Settings(
        data=data, spotify_api_url=f"{simulator.url}/v1", spotify_auth_url=simulator.url,
        spotify_client_id="simulator", spotify_timeout=3, spotify_deadline=20,
    )  # fmt: skip
    return Account(simulator, settings, token_of(simulator, *SCOPES, ADDING_SCOPE))


@pytest.fixture(params=["development", "extended"])
def account(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Account]:
    """An account without such playlists."""
    with serve(SimulatorSettings(users=5, playlists=3, mode=request.param)) as simulator:
        yield account_at(simulator, tmp_path)


class TestAdding:
    def test_a_list_is_there_once_in_order_however_often_it_is_asked_for(self, account: Account) -> None:
        tracks = account.ids(250)
        first = account.add([*tracks, tracks[3]], "A list,\nof mine")
        assert (first.tracks, first.added, first.left_out) == (250, 250, [])
        assert account.held() == tracks
        (made,) = account.made()
        assert (made.name, made.public, made.owner) == ("A list, of mine", False, USER)
        assert account.simulator.api.world.playlist_ids.id_of(made.number) == first.playlist_id
        counts = account.simulator.api.wire.traffic.endpoints
        assert counts["POST /v1/playlists/{id}/items"] == 3
        again = account.add(tracks, "A list, of mine")
        assert (again.playlist_id, again.tracks, again.added) == (first.playlist_id, 250, 0)
        assert counts["POST /v1/me/playlists"] == 1
        assert counts["POST /v1/playlists/{id}/items"] == 3
        assert account.add(account.ids(5, 1), "A list, of mine").playlist_id != first.playlist_id

    def test_what_the_owner_changed_stays_and_only_what_is_missing_is_added_in_its_place(
        self, account: Account
    ) -> None:
        tracks, (other,) = account.ids(8), account.ids(9)[8:]
        account.add(tracks)
        account.edit([other, *tracks[2:4], *tracks[5:7]])
        assert account.add(tracks).added == 4
        assert account.held() == [*tracks[:2], other, *tracks[2:]]

    def test_a_track_that_is_there_twice_is_there_once_again(self, account: Account) -> None:
        """A request that was given up may be carried out later."""
        tracks = account.ids(6)
        account.add(tracks)
        account.edit([*tracks[:4], *tracks[2:4], *tracks[4:]])
        account.add(tracks)
        assert account.held() == tracks

    def test_ids_that_are_not_spotifys_are_said_and_not_sent(self, account: Account) -> None:
        tracks, recording = account.ids(3), "b3015bab-1540-4d4e-9f30-14872a1525f7"
        given = [f"spotify:track:{tracks[0]}", recording, f"https://open.spotify.com/track/{tracks[1]}?si=x", "7",
                 tracks[2]]  # fmt: skip
        made = account.add(given)
        assert (made.tracks, made.left_out) == (3, [recording, "7"])
        assert account.held() == tracks
        with pytest.raises(WrongItemsError, match="'None' has no track of Spotify: none of its 2 ids"):
            account.add([recording, "7"], "None")

    def test_one_that_spotify_does_not_know_does_not_keep_the_others_out(self, account: Account) -> None:
        tracks, unknown = account.ids(150), "0" * 22
        made = account.add([*tracks[:70], unknown, *tracks[70:]])
        assert (made.tracks, made.added, made.left_out) == (150, 150, [unknown])
        assert account.held() == tracks

    def test_without_the_right_to_nothing_is_made(self, account: Account) -> None:
        account.token = token_of(account.simulator, *SCOPES)
        with pytest.raises(NotPermittedError, match=r"to change the playlists of .* Insufficient client scope"):
            account.add(account.ids(3))
        assert account.made() == []


class TestFaults:
    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(8))
    def test_with_faults_in_15_of_100_answers_each_track_is_there_once_in_order(
        self, seed: int, tmp_path: Path
    ) -> None:
        faults = Faults.evenly(0.15, retry_after=1, long_retry_after=1, drip_seconds=6)
        settings = SimulatorSettings(users=5, playlists=3, seed=seed, mode="development", faults=faults)
        with serve(settings) as simulator:
            account = account_at(simulator, tmp_path)
            for number in range(4):
                tracks = account.ids(230, number)
                account.add_in_the_end(tracks, f"List {number}")
                assert len(account.made()) == number + 1
                ids = simulator.api.world.tracks.ids
                assert [ids.id_of(int(one)) for one in account.made()[0].tracks] == tracks
            assert simulator.api.wire.traffic.faults.total() > 0

    @pytest.mark.parametrize("kind", ["server_error", "hang_up", "empty", "html", "malformed", "truncated", "slow"])
    def test_what_was_written_although_the_answer_failed_is_not_written_again(self, kind: str, tmp_path: Path) -> None:
        with serve(SimulatorSettings(users=5, playlists=3)) as simulator:
            account = account_at(simulator, tmp_path)
            wire, tracks = simulator.api.wire, account.ids(120)
            for seed in range(2):
                # About half of the answers go wrong; reading is tried until it succeeds.
                wire.seed, wire.faults = seed, Faults(**{kind: 0.4}, drip_seconds=6)
                account.add_in_the_end(tracks)
                assert account.held() == tracks
                account.edit([])

    @pytest.mark.slow
    @pytest.mark.process
    @pytest.mark.parametrize("writes", [1, 2, 3])
    def test_a_kill_in_the_middle_leaves_a_playlist_that_the_next_try_completes(
        self, writes: int, tmp_path: Path
    ) -> None:
        with serve(SimulatorSettings(users=5, playlists=3, latency=0.3)) as simulator:
            account = account_at(simulator, tmp_path)
            tracks = account.ids(250)
            script = (
                "import json, sys\n"
                "from spotify_dag.playlists_out.into_spotify import add_playlist\n"
                "from spotify_dag.settings import Settings\n"
                "settings, user, token, tracks = json.load(sys.stdin)\n"
                "add_playlist(Settings.model_validate(settings), user, token, 'Monday', tracks)\n"
            )
            given = [account.settings.model_dump(mode="json"), USER, account.token, tracks]
            killed = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, text=True)
            assert killed.stdin is not None
            killed.stdin.write(json.dumps(given))
            killed.stdin.close()
            counts = simulator.api.wire.traffic.endpoints
            until(lambda: sum(counts[name] for name in counts if name.startswith("POST ")) >= writes)
            killed.kill()
            killed.wait(10)
            time.sleep(0.5)  # What was under way arrives.
            assert sum(len(playlist.tracks) for playlist in account.made()) < 250
            account.add(tracks)
            assert account.held() == tracks
