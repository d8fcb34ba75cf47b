"""Last.fm's API on pylast, against a simulator that answers as Last.fm does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import requests

from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults, SimulatorSettings
from spotify_dag.simulator.lastfm_api import is_private
from spotify_dag.simulator.loopback_server import Simulator, serve
from spotify_dag.simulator.wire import Traffic
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.lastfm_api import LastfmApiSource, LastfmNameError, parse_lastfm_user
from spotify_dag.sources.service_errors import ServiceError
from spotify_dag_tests.sources.listenbrainz.installation import Read, name, read

pytestmark = pytest.mark.medium

USERS = 14


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serve(SimulatorSettings(users=USERS, playlists=2, tracks=15, listens=100)) as simulator:
        yield simulator


@dataclass
class Reader:
    simulator: Simulator
    data: Path

    def source(self, names: list[str], **changed: object) -> LastfmApiSource:
        listed = self.data / "users.txt"
        listed.parent.mkdir(exist_ok=True)
        listed.write_text("\n".join(names))
        url = self.simulator.url
        found = {"data": self.data, "n_buckets": 8, "lastfm_api_url": url, "lastfm_api_key": "k3y", **changed}
        return LastfmApiSource(Settings.model_validate(found), str(listed), time.time())

    def read(self, names: list[str]) -> Read:
        return read(self.source(names))


@pytest.fixture
def reader(simulator: Simulator, tmp_path: Path) -> Iterator[Reader]:
    simulator.api.wire.traffic = Traffic()
    yield Reader(simulator, tmp_path / "data")
    simulator.api.wire.faults = Faults()
    simulator.api.listening.gone.clear()


def public(simulator: Simulator) -> list[int]:
    return [user for user in range(USERS) if not is_private(simulator.api.listening, user)]


def test_artists_and_loved_tracks_are_those_of_the_world(reader: Reader) -> None:
    listening = reader.simulator.api.listening
    lover = next(user for user in public(reader.simulator) if listening.feedback(user, 1))
    found = reader.read([f"https://www.last.fm/user/{name(lover)}"])
    names = listening.world.artists.names
    rows = found.raw.filter(pl.col("playlist_id") == "listens").select("artist_name", "plays").rows()
    assert sorted(rows) == sorted((names[artist], plays) for artist, plays in listening.artists(lover))
    loved = found.raw.filter(pl.col("playlist_id") == "loved")["track_name"].to_list()
    assert set(loved) == {listening.world.tracks.names[track] for track in listening.feedback(lover, 1)}
    assert found.raw["user_id"].unique().to_list() == [f"lastfm-api-{name(lover)}"]


def test_unchanged_users_cost_one_request(reader: Reader) -> None:
    user = public(reader.simulator)[0]
    before = reader.read([name(user)])
    reader.simulator.api.wire.traffic = Traffic()
    assert reader.read([name(user)]).raw.drop("fetched_at").equals(before.raw.drop("fetched_at"))
    assert reader.simulator.api.wire.traffic.urls.total() == 1


def test_private_unknown_and_bad_names_are_one_line_each(reader: Reader) -> None:
    private = next((user for user in range(USERS) if is_private(reader.simulator.api.listening, user)), None)
    assert private is not None, "the world has a private user"
    found = reader.read([name(public(reader.simulator)[0]), name(private), "nobody-here", "no name at all"])
    told = dict(found.rejects.select("user_id", "reason").rows())
    assert told == {
        f"lastfm-api-{name(private)}": "This user of Last.fm shows their listening to nobody.",
        "lastfm-api-nobody-here": "Last.fm does not know this user: User not found",
        None: "names no user of Last.fm",
    }


def test_faults_in_every_shape_change_nothing(reader: Reader) -> None:
    users = [name(user) for user in public(reader.simulator)[:3]]
    expected = reader.read(users).raw.drop("fetched_at").sort("user_id", "playlist_id", "position")
    kinds = ("rate_limited", "server_error", "unavailable", "empty", "html", "malformed", "truncated", "hang_up")
    reader.simulator.api.wire.faults = Faults.model_validate({**dict.fromkeys(kinds, 0.04), "retry_after": 0})
    again = Reader(reader.simulator, reader.data.parent / "other")
    found = again.read(users).raw.drop("fetched_at").sort("user_id", "playlist_id", "position")
    assert found.equals(expected)


def test_a_key_is_needed_and_never_told(reader: Reader) -> None:
    with pytest.raises(SourceError, match="SPOTIFY_DAG_LASTFM_API_KEY"):
        reader.source([name(0)], lastfm_api_key=None)
    source = reader.source(["nobody-at-all"])
    with pytest.raises(ServiceError) as refused:
        list(source.batches())
    assert "k3y" not in str(refused.value)
    assert b"k3y" not in source.mirror_path.read_bytes()


@pytest.mark.parametrize("text", ["", "a b", "1abc", "https://www.last.fm/music/x", "x" * 40, "../x"])
def test_what_names_nobody_is_refused(text: str) -> None:
    with pytest.raises(LastfmNameError, match=r"last\.fm/user/rj"):
        parse_lastfm_user(text)


def test_json_has_the_oddities_that_are_documented(simulator: Simulator) -> None:
    def ask(**asked: str) -> dict[str, object]:
        answer = requests.get(f"{simulator.url}/2.0/", {"api_key": "k", "format": "json", **asked}, timeout=10)
        assert answer.status_code == 200
        return answer.json()

    user = public(simulator)[0]
    artists = ask(method="user.getTopArtists", user=name(user), limit="1")["topartists"]
    assert isinstance(artists, dict)
    assert isinstance(artists["artist"], dict), "one result is no list"
    assert artists["artist"]["playcount"].isdigit()
    assert set(artists["@attr"]) == {"user", "page", "perPage", "totalPages", "total"}
    assert ask(method="user.getTopArtists", user="nobody")["error"] == 6
    assert ask(method="user.nothing", user=name(user))["error"] == 3
