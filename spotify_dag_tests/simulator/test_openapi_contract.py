"""Every successful answer of every endpoint against the OpenAPI description of the Web API, in both modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from fastapi.routing import APIRoute

from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag.simulator.web_api import v1
from spotify_dag_tests.simulator.conftest import WRITING, Client

# Old fields that Spotify leaves out where there is nothing to say, and what this world has not.
NOT_SIMULATED = {"is_playable", "linked_from", "restrictions", "ean", "upc"}
COLLABORATOR = "synthetic-000009"
# The changes of February 2026 for new development apps.
LOST_IN_DEVELOPMENT = {
    "artist": {"followers", "popularity"},
    "track": {"available_markets", "popularity"},
    "album": {"available_markets"},
    "user": {"country", "email", "explicit_content", "followers", "product"},
    "playlist": {"tracks"},
    "item": {"track"},
}


@pytest.fixture(scope="session")
def description(test_data: Path) -> dict[str, Any]:
    """The OpenAPI description, mended where it contradicts what Spotify answers and documents elsewhere."""
    file = test_data / "web-api" / "fixed-spotify-open-api.yml"
    if not file.is_file():
        pytest.skip(f"no description of the Web API at {file}")
    found = yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schemas = found["components"]["schemas"]
    for schema in schemas.values():
        _drop_discriminators(schema)
    schemas["AlbumBase"]["required"].remove("available_markets")
    entry = schemas["PlaylistTrackObject"]["properties"]
    entry["added_at"]["nullable"] = True
    # OpenAPI 3.0 has no other way to say "or null" beside a reference. That added_by may be null, its text says.
    null = {"type": "object", "nullable": True, "enum": [None]}
    for name in ("item", "track"):
        entry[name]["oneOf"].append(null)
    entry["added_by"] = {"oneOf": [*entry["added_by"]["allOf"], null]}
    return found


def _drop_discriminators(schema: Any) -> None:
    if isinstance(schema, dict):
        schema.pop("discriminator", None)
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        _drop_discriminators(part)


class Contract:
    """Asks a simulator and holds each answer against the description."""

    def __init__(self, description: dict[str, Any], client: Client) -> None:
        from openapi_core import OpenAPI

        self.client = client
        self.schemas = description["components"]["schemas"]
        self.openapi = OpenAPI.from_dict({**description, "servers": [{"url": f"{client.simulator.url}/v1"}]})
        self.asked: set[str] = set()

    def check(self, path: str, token: str | None = None) -> Any:
        return self._checked(self.client.get(path, token), path)

    def check_writing(self, path: str, token: str, body: Any, method: str = "POST") -> Any:
        return self._checked(self.client.write(path, body, token, method), path)

    def _checked(self, response: requests.Response, path: str) -> Any:
        from openapi_core.contrib.requests import RequestsOpenAPIRequest, RequestsOpenAPIResponse

        assert response.status_code in (200, 201), f"{path}: {response.text}"
        request = RequestsOpenAPIRequest(response.request)
        wrong = list(self.openapi.iter_response_errors(request, RequestsOpenAPIResponse(response)))
        assert not wrong, f"{path}: {str(wrong[0].__cause__ or wrong[0])[-1_000:]}"
        self.asked.add(path.partition("?")[0])
        return response.json()

    def documented(self, name: str) -> set[str]:
        """Return the fields a schema names."""
        return set(self._fields(self.schemas[name]))

    def _fields(self, schema: dict[str, Any]) -> Iterator[str]:
        if "$ref" in schema:
            schema = self.schemas[schema["$ref"].rpartition("/")[2]]
        yield from schema.get("properties", ())
        for part in schema.get("allOf", ()):
            yield from self._fields(part)

    def same_fields(self, thing: dict[str, Any], name: str, lacks: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        """Check that an object has just the fields that its schema names, but for those it ``lacks``."""
        assert set(thing) == self.documented(name) - NOT_SIMULATED - lacks, name


def every_path(client: Client, *, development: bool) -> Iterator[str]:
    """Yield requests for every endpoint of a mode, with first, middle and last pages."""
    world = client.simulator.api.world
    artists, tracks = ([ids.id_of(number) for number in range(50)] for ids in (world.artists.ids, world.tracks.ids))
    mine, collaborative = client.playlist_id(9), client.playlist_id(8, 4)
    yield from ("me", "me/playlists", "me/playlists?limit=2&offset=3", "me/tracks", "me/tracks?limit=5&offset=10")
    for what in ("artists", "tracks"):
        for time_range in ("short_term", "medium_term", "long_term"):
            yield f"me/top/{what}?time_range={time_range}&limit=50"
    for playlist in (mine, collaborative):
        yield f"playlists/{playlist}"
        yield from (f"playlists/{playlist}/items?limit=10&offset={offset}" for offset in (0, 10, 1_000))
    yield f"playlists/{mine}/items?additional_types=track,episode"
    yield f"artists/{artists[0]}"
    yield f"tracks/{tracks[0]}"
    yield from (f"search?q=the&type={kind}&limit=10" for kind in ("artist", "track", "album", "playlist"))
    yield "search?q=e&type=artist,track&offset=20"
    if development:
        yield f"playlists/{client.playlist_id(0)}"
        return
    yield from (
        "users/synthetic-000004",
        "users/synthetic-000004/playlists",
        "users/synthetic-000004/playlists?limit=1",
    )
    yield from (f"playlists/{client.playlist_id(0)}{part}" for part in ("", "/items", "/tracks", "/tracks?limit=100"))
    yield f"artists?ids={','.join(artists)}"
    yield f"tracks?ids={','.join(tracks)}"
    yield f"audio-features?ids={','.join(tracks)}"
    yield f"audio-features/{tracks[0]}"


@pytest.mark.parametrize("mode", ["extended", "development"])
@pytest.mark.medium
def test_every_answer_of_every_endpoint(mode: str, description: dict[str, Any], faulty: Any) -> None:
    client = faulty(Faults(null_item=0.1, episode=0.1, null_date=0.1), mode=mode, allowlist=60)
    contract = Contract(description, client)
    token = client.login(COLLABORATOR)
    items = []
    for path in every_path(client, development=mode == "development"):
        answer = contract.check(path, token)
        if "/items" in path:
            items += answer["items"]
    kinds = {entry["item"] and entry["item"]["type"] for entry in items}
    assert kinds == {"track", "episode", None}
    assert {entry["added_at"] is None for entry in items} == {True, False}
    writes = client.login(COLLABORATOR, WRITING)
    made = contract.check_writing("me/playlists", writes, {"name": "Mine", "public": False})
    uri = f"spotify:track:{client.simulator.api.world.tracks.ids.id_of(0)}"
    contract.check_writing(f"playlists/{made['id']}/items", writes, {"uris": [uri], "position": 0})
    contract.check_writing(f"playlists/{made['id']}/items", writes, {"items": [{"uri": uri}]}, "DELETE")

    counts = client.simulator.api.wire.traffic.endpoints
    everything = {
        "".join(f"{method} " for method in route.methods - {"GET"})
        + route.path.replace("playlist_id", "id").replace("user_id", "id").replace("artist_id", "id")
        .replace("track_id", "id").replace("{type}", what)
        for route in v1.routes if isinstance(route, APIRoute) for what in ("artists", "tracks")
    }  # fmt: skip
    lost = {"/v1/users/{id}", "/v1/users/{id}/playlists", "/v1/playlists/{id}/tracks", "/v1/artists", "/v1/tracks",
            "/v1/audio-features", "/v1/audio-features/{id}"}  # fmt: skip
    assert set(counts) == everything - (lost if mode == "development" else set())


@pytest.mark.medium
def test_objects_have_the_documented_fields(description: dict[str, Any], extended: Client) -> None:
    contract = Contract(description, extended)
    token = extended.login(COLLABORATOR)
    check_objects(contract, token, {kind: set() for kind in LOST_IN_DEVELOPMENT})


@pytest.mark.medium
def test_development_lacks_what_was_removed(description: dict[str, Any], faulty: Any) -> None:
    client = faulty(mode="development", allowlist=60)
    contract = Contract(description, client)
    check_objects(contract, client.login(COLLABORATOR), LOST_IN_DEVELOPMENT)


def check_objects(contract: Contract, token: str, lost: dict[str, set[str]]) -> None:
    playlist = contract.check(f"playlists/{contract.client.playlist_id(9)}", token)
    contract.same_fields(playlist, "PlaylistObject", lost["playlist"])
    (listed, *_) = contract.check("me/playlists", token)["items"]
    contract.same_fields(listed, "SimplifiedPlaylistObject", lost["playlist"])
    contract.same_fields(listed["owner"], "PlaylistOwnerObject")
    (entry,) = contract.check(f"playlists/{contract.client.playlist_id(9)}/items?limit=1", token)["items"]
    contract.same_fields(entry, "PlaylistTrackObject", lost["item"])
    track = entry["item"]
    contract.same_fields(track, "TrackObject", lost["track"])
    contract.same_fields(track["album"], "SimplifiedAlbumObject", lost["album"])
    contract.same_fields(track["artists"][0], "SimplifiedArtistObject")
    contract.same_fields(contract.check(f"artists/{track['artists'][0]['id']}", token), "ArtistObject", lost["artist"])
    contract.same_fields(contract.check("me", token), "PrivateUserObject", lost["user"])
