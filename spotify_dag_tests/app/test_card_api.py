"""The card of a user: asked for by the user themselves, seen by anybody, and gone with the user."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from samples.app_world import user_id
from spotify_dag.app.card_api import drawn
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.my_data_cards import own_card
from spotify_dag.app.texts import texts_in
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.schemas import USERS
from spotify_dag_tests.app.conftest import Served

Start = Callable[..., Any]
SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return ["".join(part.itertext()) for part in ET.fromstring(svg).iter(f"{SVG}text")]


def test_bars_are_as_long_as_genres_weigh() -> None:
    svg = drawn("anna", [("techno", 0.4), ("house", 0.1), ("jazz", 0.0)], ["Björk", "Moby", "Air", "Can", "Neu!"])
    bars = [int(bar.get("width", "")) for bar in ET.fromstring(svg).iter(f"{SVG}rect") if bar.get("class") == "bar"]
    assert bars == [230, 58, 2]
    assert texts(svg) == ["anna", "techno", "house", "jazz", "Björk, Moby, Air", "Can, Neu!"]


def test_names_are_text_and_nothing_else() -> None:
    svg = drawn("<script>alert(1)</script>", [("a&b\x00\ud800", 1.0)], ['"><image href="http://x/"/>'])
    assert texts(svg)[:2] == ["<script>alert(1)</script>", "a&b"]
    assert {part.tag.removeprefix(SVG) for part in ET.fromstring(svg).iter()} == {
        "svg",
        "title",
        "style",
        "rect",
        "text",
    }


def test_without_listening_it_is_a_name() -> None:
    assert texts(drawn("anna", [], [])) == ["anna", "", ""]


def test_what_shows_it_elsewhere_is_whole_and_escaped() -> None:
    user = "long" * 50 + '"><b>'
    snippet = own_card(texts_in("en"), "https://sound.example", user, shown=True).partition('<pre class="sd-snippet">')[
        2
    ]
    written = ET.fromstring(html.unescape(snippet.removesuffix("</pre>")).replace(">", "/>", 1))
    assert "<" not in snippet.removesuffix("</pre>")
    assert written.attrib == {"src": f"https://sound.example/api/v1/users/{quote(user, safe='')}/card.svg", "alt": user}


def test_a_card_that_nobody_can_see_yet_is_not_said_to_be_seen() -> None:
    later = own_card(texts_in("en"), "http://127.0.0.1:7860", "anna", shown=False)
    assert "It is not there yet" in later
    assert "Anybody may see it" not in later
    assert "<img" not in later


@pytest.mark.medium
class TestRoutes:
    def test_a_user_asks_for_it_anybody_sees_it_and_it_is_taken_back(self, served: Served) -> None:
        user, client = user_id(6), served.client
        path = f"/api/v1/users/{user}/card"
        proof = {TOKEN_HEADER: served.service.identity.file_token(user)}
        another = {TOKEN_HEADER: served.service.identity.file_token(user_id(7))}
        for method in ("PUT", "DELETE"):
            assert client.request(method, path).status_code == 401
            assert client.request(method, path, headers=another).status_code == 401
        assert client.get(f"{path}.svg").status_code == 404

        assert client.put(path, headers=proof).json() == {"user_id": user, "card": True}
        # As the browser of somebody asks who reads another site.
        seen = client.get(f"{path}.svg", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"})
        assert (seen.status_code, seen.headers["content-type"]) == (200, "image/svg+xml")
        assert seen.headers["cross-origin-resource-policy"] == "cross-origin"
        assert seen.headers["content-security-policy"].startswith("default-src 'none'")
        (listener,) = client.get("/api/v1/listeners", params={"q": user}).json()["listeners"]
        assert texts(seen.text)[: 1 + len(listener["genres"])] == [user, *listener["genres"]]
        assert client.get(f"/api/v1/users/{user}", headers=proof).json()["card"] is True

        assert client.delete(path, headers=proof).json() == {"user_id": user, "card": False}
        assert client.get(f"{path}.svg").status_code == 404

    def test_who_is_private_or_forgotten_is_not_shown(self, fresh: Start) -> None:
        with fresh() as served:
            users = served.project.lake.scan(USERS).collect()
            private = users.filter(~users["opted_in"].fill_null(False))["user_id"].to_list()
            shown = user_id(6)
            assert shown not in private
            assert private
            for user in (private[0], shown):
                proof = {TOKEN_HEADER: served.service.identity.file_token(user)}
                assert served.client.put(f"/api/v1/users/{user}/card", headers=proof).status_code == 200
            assert served.client.get(f"/api/v1/users/{private[0]}/card.svg").status_code == 404
            assert find_mentions(served.project, shown).counts["inbox/cards/users.json"] == 1
            proof = {TOKEN_HEADER: served.service.identity.file_token(shown)}
            assert served.client.delete(f"/api/v1/users/{shown}", headers=proof).status_code == 200
            assert served.client.get(f"/api/v1/users/{shown}/card.svg").status_code == 404
            assert served.project.inbox.cards.users() == {private[0]}

    def test_who_is_not_stored_has_none(self, served: Served) -> None:
        proof = {TOKEN_HEADER: served.service.identity.file_token("export-nobody")}
        answer = served.client.put("/api/v1/users/export-nobody/card", headers=proof)
        assert (answer.status_code, served.project.inbox.cards.users()) == (404, set())
