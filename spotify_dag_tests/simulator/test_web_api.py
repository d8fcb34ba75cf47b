"""The endpoints as a client sees them: pages, refusals, ETags, and what a change does."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag_tests.simulator.conftest import WRITING, Client

pytestmark = pytest.mark.medium  # servers on loopback, or a trained tower

PLAYLIST = "0" * 22
"""The id of nothing."""


class TestPages:
    @pytest.mark.parametrize("limit", [7, 50])
    def test_next_leads_through_everything_once(self, extended: Client, limit: int) -> None:
        world = extended.simulator.api.world
        expected = [world.tracks.ids.id_of(int(track)) for track in world.playlist(world.own(3)[1]).tracks]
        url, found, asked = f"playlists/{extended.playlist_id(3, 1)}/items?limit={limit}", [], 0
        while url:
            page = extended.json(url)
            found += [entry["item"]["id"] for entry in page["items"]]
            url, asked = page["next"], asked + 1
            assert page["total"] == len(expected)
        assert found == expected
        assert asked == -(-len(expected) // limit)

    def test_links_are_absolute_and_lead_to_the_host_that_was_asked(self, extended: Client) -> None:
        path = f"playlists/{extended.playlist_id(3)}/items"
        page = extended.json(f"{path}?limit=10&offset=15&additional_types=track")
        for name, offset in (("href", 15), ("next", 25), ("previous", 5)):
            assert page[name].startswith(f"{extended.simulator.url}/v1/{path}?"), name
            query = dict(part.split("=") for part in urlsplit(page[name]).query.split("&"))
            assert query == {"limit": "10", "offset": str(offset), "additional_types": "track"}
        port = urlsplit(extended.simulator.url).port
        by_name = requests.get(
            f"http://localhost:{port}/v1/{path}", headers={"Authorization": f"Bearer {extended.app_token}"}, timeout=30
        )
        assert by_name.json()["next"].startswith(f"http://localhost:{port}/v1/")

    def test_the_first_and_last_page_end(self, extended: Client) -> None:
        path = f"playlists/{extended.playlist_id(3)}/items"
        first = extended.json(f"{path}?limit=5")
        assert (first["previous"], first["offset"], len(first["items"])) == (None, 0, 5)
        exactly = extended.json(f"{path}?limit=5&offset={first['total'] - 5}")
        assert (exactly["next"], len(exactly["items"])) == (None, 5)
        beyond = extended.json(f"{path}?offset=1000")
        assert (beyond["next"], beyond["items"], beyond["total"]) == (None, [], first["total"])

    def test_a_playlist_holds_its_first_page_and_says_where_the_rest_is(self, faulty: Any) -> None:
        client = faulty(tracks=150)
        world = client.simulator.api.world
        user = next(user for user in range(60) if len(world.playlist(world.own(user)[0]).tracks) > 120)
        expected = [world.tracks.ids.id_of(int(track)) for track in world.playlist(world.own(user)[0]).tracks]
        playlist = client.json(f"playlists/{client.playlist_id(user)}")
        for pages, name, size in (("items", "item", 50), ("tracks", "track", 100)):
            found, page = [], playlist[pages]
            assert len(page["items"]) == size
            while page:
                found += [entry[name]["id"] for entry in page["items"]]
                page = page["next"] and client.json(page["next"])
            assert found == expected

    def test_fields_are_a_part_of_the_whole(self, extended: Client) -> None:
        path = f"playlists/{extended.playlist_id(3)}"
        whole = extended.json(path)
        assert extended.json(f"{path}?fields=name,snapshot_id") == {
            name: whole[name] for name in ("name", "snapshot_id")
        }
        part = extended.json(f"{path}/items?limit=2&fields=items(item(id)),next")
        assert [entry["item"]["id"] for entry in part["items"]] == [
            e["item"]["id"] for e in whole["items"]["items"][:2]
        ]
        assert "fields=items" in part["next"]
        assert extended.get(f"{path}?fields=items(").status_code == 400


class TestRefusals:
    @pytest.mark.parametrize(
        ("path", "status", "message"),
        [
            ("playlists/{mine}/items?limit=51", 400, "Invalid limit"),
            ("playlists/{mine}/items?limit=0", 400, "Invalid limit"),
            ("playlists/{mine}/items?limit=many", 400, "Invalid limit"),
            ("playlists/{mine}/items?offset=-1", 400, "Invalid offset"),
            ("playlists/{mine}/tracks?limit=101", 400, "Invalid limit"),
            ("users/synthetic-000001/playlists?limit=51", 400, "Invalid limit"),
            ("me/top/genres", 400, "Invalid type"),
            ("playlists/nothing", 400, "Invalid base62 id"),
            (f"playlists/{PLAYLIST}", 404, "Resource not found"),
            (f"artists/{PLAYLIST}", 404, "Resource not found"),
            ("users/nobody", 404, "Resource not found"),
            ("users/synthetic-000001%2F..%2Fme/playlists", 404, "Service not found"),
            ("artists", 400, "Invalid ids"),
            ("artists?ids=" + ",".join([PLAYLIST] * 51), 400, "Too many ids requested"),
            ("artists?ids=" + PLAYLIST + ",x", 400, "Invalid base62 id"),
            ("audio-features?ids=" + ",".join([PLAYLIST] * 101), 400, "Too many ids requested"),
            ("search?q=a&type=artist&limit=51", 400, "Invalid limit"),
            ("search?q=a&type=artist&offset=1001", 400, "Invalid offset"),
            ("search?q=a&type=genre", 400, "Bad search type field"),
            ("search?type=artist", 400, "Invalid q"),
            ("browse/categories", 404, "Service not found"),
            ("me", 401, "Valid user authentication required"),
            ("me/playlists", 401, "Valid user authentication required"),
        ],
    )
    def test_in_either_mode(self, extended: Client, path: str, status: int, message: str) -> None:
        answer = extended.get(path.format(mine=extended.playlist_id(0)))
        assert (answer.status_code, answer.json()) == (status, {"error": {"status": status, "message": message}})

    @pytest.mark.parametrize("path", [
        "users/synthetic-000000", "users/synthetic-000000/playlists", "playlists/{mine}/tracks", "artists?ids={artist}",
        "tracks?ids={track}", "audio-features?ids={track}", "audio-features/{track}",
    ])  # fmt: skip
    def test_development_has_lost_endpoints(self, development: Client, path: str) -> None:
        world = development.simulator.api.world
        token = development.login("synthetic-000000")
        ids = {
            "mine": development.playlist_id(0),
            "artist": world.artists.ids.id_of(0),
            "track": world.tracks.ids.id_of(0),
        }
        answer = development.get(path.format(**ids), token)
        assert (answer.status_code, answer.json()["error"]["status"]) == (403, 403)

    def test_development_reads_items_of_owner_and_collaborator_only(self, faulty: Any) -> None:
        client = faulty(mode="development", allowlist=20)
        shared = client.playlist_id(8, 4)
        for user, allowed in ((8, True), (9, True), (7, False)):
            token = client.login(f"synthetic-{user:06d}")
            playlist = client.json(f"playlists/{shared}", token)
            assert playlist["name"]
            assert playlist["collaborative"] is True
            assert ("items" in playlist, "tracks" in playlist) == (allowed, False)
            assert client.get(f"playlists/{shared}/items", token).status_code == (200 if allowed else 403)
        for playlist in (shared, client.playlist_id(8)):
            assert client.get(f"playlists/{playlist}/items").status_code == 403, "the app itself owns nothing"

    def test_editorial_playlists_are_hidden_from_development(self, extended: Client, development: Client) -> None:
        editorial = extended.simulator.api.world.playlist_ids.id_of(0)
        assert extended.json(f"playlists/{editorial}")["owner"]["id"] == "spotify"
        assert extended.json(f"playlists/{editorial}/items")["total"] == 60
        assert development.get(f"playlists/{editorial}").status_code == 404
        assert extended.json("search?q=jazz&type=playlist")["playlists"]["total"] == 1
        assert development.json("search?q=jazz&type=playlist")["playlists"]["total"] == 0

    def test_development_searches_by_tens(self, extended: Client, development: Client) -> None:
        found = development.json("search?q=e&type=artist")["artists"]
        assert (found["limit"], len(found["items"])) == (5, 5)
        assert development.get("search?q=e&type=artist&limit=10").status_code == 200
        assert development.get("search?q=e&type=artist&limit=11").json()["error"]["message"] == "Invalid limit"
        assert len(extended.json("search?q=e&type=artist")["artists"]["items"]) == 20

    def test_development_knows_the_first_users_only(self, development: Client) -> None:
        assert development.get("me", development.login("synthetic-000004")).status_code == 200
        refused = development.get("me", development.login("synthetic-000005"))
        assert (refused.status_code, refused.text) == (403, "User not registered in the Developer Dashboard")

    def test_development_needs_an_owner_with_premium(self, faulty: Any) -> None:
        refused = faulty(mode="development", owner_has_premium=False).get("me")
        assert refused.status_code == 403
        assert refused.text.startswith("Active premium subscription required")

    def test_the_message_for_an_id_of_nothing_in_a_list_is_null(self, extended: Client) -> None:
        world = extended.simulator.api.world
        (first, second) = extended.json(f"artists?ids={world.artists.ids.id_of(5)},{PLAYLIST}")["artists"]
        assert first["name"] == world.artists.names[5]
        assert second is None


class TestUser:
    def test_lists_hold_ones_own_and_followed_playlists(self, extended: Client) -> None:
        world = extended.simulator.api.world
        expected = [world.playlist_ids.id_of(number) for number in world.listed(9)]
        token = extended.login("synthetic-000009")
        for path in ("me/playlists?limit=50", "users/synthetic-000009/playlists?limit=50"):
            listed = extended.json(path, token)["items"]
            assert [playlist["id"] for playlist in listed] == expected
        by_owner = [playlist["owner"]["id"] for playlist in listed]
        assert by_owner[:6] == ["synthetic-000009"] * 5 + ["synthetic-000008"]

    def test_saved_tracks_are_on_the_playlists_and_the_newest_comes_first(self, extended: Client) -> None:
        token = extended.login("synthetic-000002")
        saved = extended.json("me/tracks?limit=50", token)["items"]
        world = extended.simulator.api.world
        heard = {
            world.tracks.ids.id_of(int(track)) for number in world.own(2) for track in world.playlist(number).tracks
        }
        assert {entry["track"]["id"] for entry in saved} <= heard
        dates = [entry["added_at"] for entry in saved]
        assert dates == sorted(dates, reverse=True)
        assert len(set(dates)) == len(saved) > 20

    def test_scopes_limit_what_a_token_shows(self, extended: Client) -> None:
        token = extended.login("synthetic-000002", scope="")
        for path in ("me/playlists", "me/tracks", "me/top/artists"):
            answer = extended.get(path, token)
            assert (answer.status_code, answer.json()["error"]["message"]) == (403, "Insufficient client scope")
        me = extended.json("me", token)
        assert me["id"] == "synthetic-000002"
        assert not {"email", "country", "product"} & set(me)
        assert extended.json("me", extended.login("synthetic-000002"))["email"].endswith("@example.org")

    def test_trailing_slashes_do_not_matter(self, extended: Client) -> None:
        token = extended.login("synthetic-000002")
        assert extended.json("me/", token) == extended.json("me", token)
        ids = extended.simulator.api.world.artists.ids.id_of(0)
        assert extended.get(f"artists/?ids={ids}").url.endswith(f"/artists/?ids={ids}"), "no redirect"


@pytest.mark.parametrize("mode", ["development", "extended"])
class TestWriting:
    def test_a_playlist_holds_what_was_written_where_it_was_asked_for(self, faulty: Any, mode: str) -> None:
        # Oddities stand beside what the world has, not beside what an app has written.
        client = faulty(Faults(null_item=0.5, left_out=0.5), mode=mode)
        token = client.login("synthetic-000001", WRITING)
        uris = [f"spotify:track:{client.simulator.api.world.tracks.ids.id_of(number)}" for number in range(101)]
        answer = client.write("me/playlists", {"name": "Mine", "description": "d", "public": False}, token)
        assert answer.status_code == 201
        made = answer.json()
        assert (made["name"], made["description"], made["public"], made["items"]["total"]) == ("Mine", "d", False, 0)
        assert made["owner"]["id"] == "synthetic-000001"
        path = f"playlists/{made['id']}/items"
        snapshots = [made["snapshot_id"]]
        for body in ({"uris": uris[2:4]}, {"uris": uris[:2], "position": 0}, {"uris": uris[1:2], "position": 4}):
            snapshots.append(client.write(path, body, token).json()["snapshot_id"])
        assert len(set(snapshots)) == 4
        held = [item["item"]["uri"] for item in client.json(path, token)["items"]]
        assert held == [*uris[:4], uris[1]]
        removed = client.write(path, {"items": [{"uri": uris[1]}]}, token, "DELETE")
        assert removed.status_code == 200
        assert [item["item"]["uri"] for item in client.json(path, token)["items"]] == [uris[0], *uris[2:4]]
        assert client.json("me/playlists?limit=1", token)["items"][0]["id"] == made["id"]

    def test_refusals(self, faulty: Any, mode: str) -> None:
        client = faulty(mode=mode)
        reads, writes = client.login("synthetic-000001"), client.login("synthetic-000001", WRITING)
        ids = client.simulator.api.world.tracks.ids
        uris = [f"spotify:track:{ids.id_of(number)}" for number in range(101)]
        new = {"name": "Mine", "public": False}
        made = client.write("me/playlists", new, writes).json()["id"]
        others = client.login("synthetic-000002", WRITING)
        path = f"playlists/{made}/items"
        refused = [
            (client.write("me/playlists", new, reads), 403, "Insufficient client scope"),
            (client.write("me/playlists", {"name": "x"}, writes), 403, "Insufficient client scope"),
            (client.write("me/playlists", new, client.app_token), 401, "Valid user authentication required"),
            (client.write("me/playlists", {"public": False}, writes), 400, "Invalid name"),
            (client.write(path, {"uris": uris[:1]}, reads), 403, "Insufficient client scope"),
            (client.write(path, {"uris": uris[:1]}, others), 403, "You cannot add tracks to a playlist you don't own."),
            (client.write(path, {"uris": uris}, writes), 400, "Give 1 to 100 items"),
            (client.write(path, {"uris": []}, writes), 400, "Give 1 to 100 items"),
            (client.write(path, {"uris": [*uris[:5], f"spotify:track:{PLAYLIST}"]}, writes), 400,
             "Payload contains a non-existing ID"),
            (client.write(path, {"uris": uris[:1], "position": 1}, writes), 400, "Index out of bounds."),
            (client.write(f"playlists/{PLAYLIST}/items", {"uris": uris[:1]}, writes), 404, "Resource not found"),
        ]  # fmt: skip
        for answer, status, message in refused:
            assert (answer.status_code, answer.json()["error"]["message"]) == (status, message)
        assert client.json(path, writes)["total"] == 0
        assert len(client.simulator.api.world._made[1]) == 1

    def test_a_private_playlist_is_listed_for_its_owner_alone(self, faulty: Any, mode: str) -> None:
        if mode == "development":
            pytest.skip("nobody reads another user's list")
        client = faulty(mode=mode)
        token = client.login("synthetic-000001", WRITING)
        made = client.write("me/playlists", {"name": "Mine", "public": False}, token).json()["id"]
        listed = client.json("users/synthetic-000001/playlists")["items"]
        assert made not in [playlist["id"] for playlist in listed]


class TestETags:
    def test_what_is_known_is_not_sent_again(self, extended: Client) -> None:
        path = f"playlists/{extended.playlist_id(5)}"
        first = extended.get(path)
        etag = first.headers["etag"]
        again = extended.get(path, headers={"If-None-Match": etag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert extended.get(path, headers={"If-None-Match": 'W/"other"'}).content == first.content
        assert extended.get(f"{path}?fields=name", headers={"If-None-Match": etag}).status_code == 200

    def test_a_changed_playlist_has_another_etag_and_snapshot(self, faulty: Callable[..., Client]) -> None:
        client = faulty()
        playlist, other = client.playlist_id(5), client.playlist_id(6)
        before, other_before = client.get(f"playlists/{playlist}"), client.get(f"playlists/{other}")
        changed = requests.post(f"{client.simulator.url}/simulator/playlists/{playlist}?remove=1&add=2", timeout=30)
        after = client.get(f"playlists/{playlist}", headers={"If-None-Match": before.headers["etag"]})
        assert after.status_code == 200
        assert after.json()["snapshot_id"] == changed.json()["snapshot_id"] != before.json()["snapshot_id"]
        listed = client.json("users/synthetic-000005/playlists")["items"]
        assert listed[0]["snapshot_id"] == after.json()["snapshot_id"]
        assert listed[0]["items"]["total"] == changed.json()["total"] == before.json()["items"]["total"] + 1
        old, new = ([entry["item"]["id"] for entry in answer.json()["items"]["items"]] for answer in (before, after))
        assert new[: len(old) - 1] == old[1:]
        assert client.get(f"playlists/{other}").content == other_before.content
        revision, _, digest = base64.b64decode(after.json()["snapshot_id"]).decode().partition(",")
        assert (revision, len(digest)) == ("2", 40)


class TestControl:
    def test_requests_are_counted_by_endpoint_and_url(self, faulty: Callable[..., Client]) -> None:
        client = faulty()
        playlists = [client.playlist_id(user) for user in (1, 2)]
        for playlist in (*playlists, playlists[0]):
            client.json(f"playlists/{playlist}/items?limit=10")
        client.get("users/nobody")
        root = f"{client.simulator.url}/simulator"
        counts = requests.get(f"{root}/requests?urls=true", timeout=30).json()
        assert counts["requests"] == 4
        assert counts["endpoints"] == {"/v1/playlists/{id}/items": 3, "/v1/users/{id}": 1}
        assert counts["statuses"] == {"200": 3, "404": 1}
        assert counts["urls"][f"/v1/playlists/{playlists[0]}/items?limit=10"] == 2
        assert counts["peak_in_flight"] == 1
        assert "urls" not in requests.get(f"{root}/requests", timeout=30).json()
        assert requests.delete(f"{root}/requests", timeout=30).json()["requests"] == 0
        client.json(f"playlists/{playlists[0]}")
        assert requests.get(f"{root}/requests", timeout=30).json()["endpoints"] == {"/v1/playlists/{id}": 1}

    def test_faults_can_be_set_while_it_runs(self, faulty: Callable[..., Client]) -> None:
        client = faulty()
        url = f"{client.simulator.url}/simulator/faults"
        assert requests.get(url, timeout=30).json() == Faults().model_dump()
        put = requests.put(url, json={"unavailable": 1}, timeout=30)
        assert put.json() == Faults(unavailable=1).model_dump()
        assert client.get("artists").status_code == 503
        for wrong in ({"unavailable": 2}, {"typo": 1}, {"hang_up": 0.7, "slow": 0.7}):
            assert requests.put(url, json=wrong, timeout=30).status_code == 400
        assert client.get("artists").status_code == 503
        requests.put(url, json={}, timeout=30)
        assert client.get("artists").json()["error"]["message"] == "Invalid ids"

    def test_only_what_exists_is_changed(self, extended: Client) -> None:
        for path in (f"playlists/{PLAYLIST}", "users/nobody/revoke"):
            assert requests.post(f"{extended.simulator.url}/simulator/{path}", timeout=30).status_code == 404
