"""Unmodified spotipy against the simulator: every call that this project may make of it."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import spotipy
from spotipy.oauth2 import SpotifyClientCredentials, SpotifyOAuth, SpotifyPKCE

from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag_tests.simulator.conftest import REDIRECT, SCOPES, WRITING, Client

pytestmark = [pytest.mark.medium, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
MANAGERS = [SpotifyOAuth, SpotifyPKCE]


def talk(
    client: Client, manager: SpotifyClientCredentials | SpotifyOAuth | SpotifyPKCE, **options: object
) -> spotipy.Spotify:
    manager.OAUTH_TOKEN_URL = f"{client.simulator.url}/api/token"
    found = spotipy.Spotify(auth_manager=manager, **options)
    found.prefix = f"{client.simulator.url}/v1/"
    return found


def as_app(client: Client, **options: object) -> spotipy.Spotify:
    memory = spotipy.MemoryCacheHandler()
    return talk(client, SpotifyClientCredentials("simulator", "simulator", cache_handler=memory), **options)


def as_user(client: Client, user: str, kind: type = SpotifyPKCE, scope: str = SCOPES) -> spotipy.Spotify:
    secret = {"client_secret": "simulator"} if kind is SpotifyOAuth else {}
    manager = kind(
        client_id="simulator", redirect_uri=REDIRECT, scope=scope, cache_handler=spotipy.MemoryCacheHandler(),
        state="state", open_browser=False, **secret,
    )  # fmt: skip
    manager.OAUTH_AUTHORIZE_URL = f"{client.simulator.url}/authorize"
    found = talk(client, manager)
    login = requests.get(f"{manager.get_authorize_url()}&user={user}", allow_redirects=False, timeout=30)
    state, code = (parse_qs(urlsplit(login.headers["location"]).query)[name][0] for name in ("state", "code"))
    assert state == "state"
    manager.get_access_token(code, check_cache=False)
    return found


def test_an_app_reads_everything_public(extended: Client) -> None:
    spotify, world = as_app(extended), extended.simulator.api.world
    assert spotify.user("synthetic-000003")["display_name"] == "synthetic-000003"
    playlists = spotify.user_playlists("synthetic-000003", limit=2)
    names = [playlist["name"] for playlist in playlists["items"]]
    while playlists["next"]:
        playlists = spotify.next(playlists)
        names += [playlist["name"] for playlist in playlists["items"]]
    assert names == [world.playlist(number).name for number in world.listed(3)]

    identifier = extended.playlist_id(3, 2)
    page = spotify.playlist_items(identifier, limit=10)
    items = list(page["items"])
    while page["next"]:
        page = spotify.next(page)
        items += page["items"]
    expected = [world.tracks.ids.id_of(int(track)) for track in world.playlist(world.own(3)[2]).tracks]
    assert [entry["item"]["id"] for entry in items] == expected
    assert [entry["track"]["id"] for entry in spotify._get(f"playlists/{identifier}/tracks")["items"]] == expected
    assert spotify.playlist(identifier, fields="snapshot_id") == {"snapshot_id": playlist_snapshot(spotify, identifier)}

    artists = spotify.artists([world.artists.ids.id_of(number) for number in range(50)])["artists"]
    assert [artist["name"] for artist in artists] == world.artists.names[:50]
    assert [artist["genres"] for artist in artists] == [genres or [] for genres in world.artists.genres[:50]]
    assert spotify.artist(artists[7]["uri"]) == artists[7]
    tracks = spotify.tracks(expected[:20])["tracks"]
    assert tracks == [spotify.track(identifier) for identifier in expected[:20]]
    features = spotify.audio_features(expected[:20])
    assert [found["id"] for found in features] == expected[:20]
    assert spotify.search("taylor swift", type="artist")["artists"]["items"][0]["name"] == "Taylor Swift"


def playlist_snapshot(spotify: spotipy.Spotify, identifier: str) -> str:
    return spotify.playlist(identifier)["snapshot_id"]


@pytest.mark.parametrize("kind", MANAGERS)
@pytest.mark.parametrize("mode", ["extended", "development"])
def test_a_user_reads_what_is_theirs(extended: Client, development: Client, mode: str, kind: type) -> None:
    client = {"extended": extended, "development": development}[mode]
    spotify, world = as_user(client, "synthetic-000003", kind), client.simulator.api.world
    assert spotify.me()["id"] == "synthetic-000003"
    listed = spotify.current_user_playlists()["items"]
    assert [playlist["name"] for playlist in listed] == [world.playlist(number).name for number in world.listed(3)]
    own = [playlist for playlist in listed if playlist["owner"]["id"] == "synthetic-000003"]
    assert len(own) == 5
    for playlist in own:
        assert spotify.playlist_items(playlist["id"])["total"] == playlist["items"]["total"]
    assert spotify.current_user_saved_tracks()["items"][0]["track"]["name"]
    for what in (spotify.current_user_top_artists, spotify.current_user_top_tracks):
        assert what(time_range="long_term")["items"][0]["name"]


def test_a_user_writes_a_playlist(faulty: Any) -> None:
    client = faulty()
    spotify, ids = as_user(client, "synthetic-000003", scope=WRITING), client.simulator.api.world.tracks.ids
    made = spotify.current_user_playlist_create("Mine", public=False)["id"]
    tracks = [ids.id_of(number) for number in range(4)]
    spotify.playlist_add_items(made, tracks[2:])
    spotify.playlist_add_items(made, tracks[:2], position=0)
    assert [entry["item"]["id"] for entry in spotify.playlist_items(made)["items"]] == tracks


def test_tokens_are_refreshed(faulty: object) -> None:
    client = faulty(access_token_seconds=30)
    spotify = as_user(client, "synthetic-000003")
    # spotipy takes a token for expired a minute before it is: each call gets a new one, and PKCE a new refresh token.
    assert [spotify.me()["id"] for _ in range(3)] == ["synthetic-000003"] * 3


def test_refusals_are_spotipys_exceptions(extended: Client, development: Client) -> None:
    cases = [
        (extended, lambda spotify: spotify.playlist_items("0" * 22), 404),
        (extended, lambda spotify: spotify.user_playlists("nobody"), 404),
        (extended, lambda spotify: spotify.me(), 401),
        (development, lambda spotify: spotify.user_playlists("synthetic-000003"), 403),
        (development, lambda spotify: spotify.artists(["0" * 22]), 403),
        (development, lambda spotify: spotify.playlist_items(development.playlist_id(3)), 403),
    ]
    for client, ask, status in cases:
        with pytest.raises(spotipy.SpotifyException) as caught:
            ask(as_app(client))
        assert caught.value.http_status == status


def test_faults_are_what_makes_spotipy_stumble(faulty: object) -> None:
    """What the real service was seen to do to it: the reasons why the project wraps it."""
    client = faulty(Faults(empty=1))
    spotify = as_app(client, retries=0)
    wire = client.simulator.api.wire
    assert spotify.user("synthetic-000003") is None
    wire.faults = Faults(malformed=1)
    assert spotify.user("synthetic-000003") is None
    wire.faults = Faults(hang_up=1)
    with pytest.raises(requests.exceptions.ConnectionError):
        spotify.user("synthetic-000003")
    wire.faults = Faults(slow=1, drip_seconds=0.6)
    assert spotify.user("synthetic-000003")["id"] == "synthetic-000003"
    wire.faults = Faults(unavailable=0.5)
    patient = as_app(client, retries=10, status_retries=10, backoff_factor=0.01)
    assert patient.user("synthetic-000004")["id"] == "synthetic-000004"
