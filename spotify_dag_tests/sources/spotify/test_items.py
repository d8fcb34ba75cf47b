"""Bodies of the Web API: both shapes are read, what is odd is a fault of one item, and nothing makes it fail."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest

from spotify_dag.sources.spotify.items import (
    Listing,
    read_artist,
    read_artists,
    read_items,
    read_listing,
    read_page,
    read_user_id,
)
from spotify_dag.sources.spotify.spotify_errors import MalformedError

TRACK = {
    "album": {"name": "Moon Safari", "release_date": "1998-01-16", "release_date_precision": "day"},
    "artists": [{"id": "1P6U1dCeHxPui5pIrGmndZ", "name": "Air"}, {"id": "x", "name": "Beth Hirsch"}],
    "explicit": False, "id": "6oahZdOQqLvf2oSVZ5gyKS", "is_local": False, "name": "All I Need", "popularity": 61,
    "type": "track",
}  # fmt: skip
ROW = [
    "6oahZdOQqLvf2oSVZ5gyKS", "All I Need", "Moon Safari", "1P6U1dCeHxPui5pIrGmndZ", "Air", "1998", "61", "False",
    ["Air", "Beth Hirsch"],
]  # fmt: skip


def with_(**changed: Any) -> dict[str, Any]:
    return {**TRACK, **changed}


class TestItems:
    @pytest.mark.parametrize(
        "entry", [{"item": TRACK}, {"track": TRACK}, {"item": TRACK, "track": TRACK}, {"item": None, "track": TRACK}]
    )
    def test_both_shapes_are_read(self, entry: dict[str, Any]) -> None:
        assert read_items([{"added_at": None, "added_by": None, **entry}]) == ([[0, *ROW]], [])

    def test_positions_are_those_of_the_playlist(self) -> None:
        rows, faults = read_items([{"item": None}, {"item": TRACK}, {"item": with_(type="episode")}, {"item": TRACK}])
        assert [row[0] for row in rows] == [1, 3]
        assert faults == [
            [0, "item", None, "null: no longer on Spotify", True],
            [2, "type", "'episode'", "not a track", True],
        ]

    def test_a_local_file_is_a_row_without_ids(self) -> None:
        local = {
            "album": {"name": "", "release_date": None}, "artists": [{"id": None, "name": "Me"}], "id": None,
            "is_local": True, "name": "Demo", "type": "track", "explicit": False, "popularity": 0,
        }  # fmt: skip
        (row,), faults = read_items([{"is_local": True, "track": local}])
        assert row == [0, None, "Demo", "", None, "Me", None, "0", "False", ["Me"]]
        assert faults == []

    def test_what_is_missing_is_unknown(self) -> None:
        bare = {"artists": [{"name": "Air"}], "name": "All I Need"}
        row = [0, None, "All I Need", None, None, "Air", None, None, None, ["Air"]]
        assert read_items([{"item": bare}]) == ([row], [])

    def test_all_artists_are_kept_in_order(self) -> None:
        names = [None, {}, "Air", True, "Beth Hirsch", "Various Artists"]
        artists: list[Any] = [{"id": f"a{place}", "name": name} for place, name in enumerate(names)]
        artists[-1]["id"] = "0LyfQWJT6nXafLPZqxe9Of"
        (row,), _ = read_items([{"item": with_(artists=[*artists[2:], "no artist"])}])
        assert row[4:6] == ["a2", "Air"]
        assert row[-1] == ["Air", "Beth Hirsch"]
        (row,), _ = read_items([{"item": with_(artists=artists)}])
        assert row[4:6] == [None, None]  # The first has no name: its id must not go to the second.
        assert row[-1] == ["Air", "Beth Hirsch"]

    @pytest.mark.parametrize(("date", "year"), [("1998", "1998"), ("1998-01", "1998"), ("0000", None), (None, None)])
    def test_years(self, date: str | None, year: str | None) -> None:
        (row,), faults = read_items([{"item": with_(album={"release_date": date})}])
        assert (row[6], faults) == (year, [])

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"album": "Moon Safari"}, "album"), ({"artists": {"name": "Air"}}, "artists"), ({"id": {}}, "track_id"),
            ({"id": "../me"}, "track_id"), ({"artists": [{"id": "a,b", "name": "Air"}]}, "artist_id"),
            ({"popularity": []}, "popularity"), ({"explicit": {}}, "explicit"), ({"name": ["All"]}, "track_name"),
            ({"name": True}, "track_name"),
        ],
    )  # fmt: skip
    def test_a_value_of_another_kind_is_left_out_and_said(self, changed: dict[str, Any], field: str) -> None:
        rows, faults = read_items([{"item": with_(**changed)}])
        assert len(rows) == 1
        assert [(fault[1], fault[3], fault[4]) for fault in faults] == [(field, "not what belongs there", False)]

    def test_halves_of_surrogate_pairs_become_question_marks(self) -> None:
        (row,), _ = read_items([{"item": json.loads(json.dumps(TRACK).replace("All I Need", "\\ud83c"))}])
        assert row[2] == "?"


class TestPages:
    @pytest.mark.parametrize("body", [None, [], {}, "text", {"items": None}, {"items": {}}, 7])
    def test_what_is_no_page_is_malformed(self, body: Any) -> None:
        with pytest.raises(MalformedError):
            read_page(body)

    @pytest.mark.parametrize(
        ("total", "following", "offset", "last"),
        [
            (100, "https://api.spotify.com/v1/x", 49, False), (100, None, 99, True), (100, None, 49, False),
            (None, None, 0, True), (3, "https://api.spotify.com/v1/x", 49, False), ("many", None, 49, True),
        ],
    )  # fmt: skip
    def test_when_in_doubt_there_is_another(self, total: Any, following: Any, offset: int, last: bool) -> None:
        assert read_page({"items": [1], "total": total, "next": following}, offset).last is last

    @pytest.mark.parametrize(
        ("came", "said", "following"),
        [
            (4, {"limit": 5}, 15), (5, {"limit": 5}, 15), (0, {"limit": 5, "next": "https://x/?offset=15&limit=5"}, 15),
            (4, {"next": "https://x/?offset=13"}, 13), (4, {"limit": 20, "next": "https://x/?limit=20&offset=30"}, 30),
            (4, {}, 14), (4, {"limit": "5"}, 14), (4, {"limit": True}, 14), (4, {"limit": -1}, 14),
            (4, {"limit": 10**9}, 14), (4, {"next": "https://x/?offset=10"}, 14), (4, {"next": "x/?offset=9999"}, 14),
            (4, {"next": "https://[x/?offset=-1"}, 14), (0, {"next": "https://x/"}, 60),
        ],
    )  # fmt: skip
    def test_the_next_page_begins_after_what_was_asked_for(self, came: int, said: Any, following: int) -> None:
        """A page may leave entries out: by what came, the last of them would come twice."""
        assert read_page({"items": [1] * came, "total": 100, **said}, 10).following == following

    def test_an_empty_page_is_the_last_where_nothing_is_left_to_come(self) -> None:
        assert read_page({"items": [], "total": 0}).last
        assert read_page({"items": [], "total": 3}, 3).last
        assert not read_page({"items": [], "total": 9, "next": "https://api.spotify.com/v1/x?offset=8"}, 3).last

    def test_a_page_without_anything_of_what_it_promises_is_malformed(self) -> None:
        with pytest.raises(MalformedError, match="none of 3 items"):
            read_page({"items": [], "total": 3})


class TestListings:
    def test_whose_it_is_and_which_version(self) -> None:
        body = {"id": "37i9dQZF1DXcBWIGoYBM5M", "name": "Mine", "owner": {"id": "me"}, "snapshot_id": "s"}
        assert read_listing(body) == Listing("37i9dQZF1DXcBWIGoYBM5M", "Mine", "s", "me", False)
        assert read_listing({**body, "collaborative": True, "owner": None}) == Listing(
            "37i9dQZF1DXcBWIGoYBM5M", "Mine", "s", None, True
        )

    @pytest.mark.parametrize("entry", [None, {}, [], {"id": None}, {"id": "../../me"}, {"id": ""}, {"id": 7}])
    def test_what_has_no_id_is_left_out(self, entry: Any) -> None:
        assert read_listing(entry) is None


class TestArtistsAndUsers:
    @pytest.mark.parametrize(
        ("genres", "expected"),
        [(["electronica"], ["electronica"]), ([], []), (None, []), ("pop", []), ([None, "pop", 7], ["pop"])],
    )
    def test_genres_may_be_missing(self, genres: Any, expected: list[str]) -> None:
        assert read_artist({"id": "a", "name": "Air", "genres": genres}) == ("a", "Air", expected)

    def test_null_artists_are_left_out(self) -> None:
        assert read_artists({"artists": [None, {"id": "a", "name": "Air"}, {"id": None}, "x"]}) == [("a", "Air", [])]

    @pytest.mark.parametrize("body", [None, [], {}, {"artists": None}])
    def test_what_is_no_list_of_artists_is_malformed(self, body: Any) -> None:
        with pytest.raises(MalformedError):
            read_artists(body)

    def test_a_user_is_named_by_id_or_by_account(self) -> None:
        assert read_user_id({"id": "me", "account_id": "x"}) == "me"
        assert read_user_id({"id": None, "account_id": "x"}) == "x"
        with pytest.raises(MalformedError):
            read_user_id({"display_name": "Me"})


def mutated(body: Any, random_: random.Random) -> Any:
    """Return a copy of a body with one value anywhere in it replaced, removed or doubled."""
    body = copy.deepcopy(body)
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], (dict, list)):
                visit(value[key])

    visit(body)
    parent, key = random_.choice(places)
    strange = [
        None,
        "",
        "\ud800",
        0,
        -1,
        1e308,
        10**300,
        True,
        [],
        {},
        [[]],
        {"a": {}},
        "x" * 10_000,
        "\x00",
        parent[key],
    ]
    if random_.random() < 0.2:
        del parent[key]
    else:
        parent[key] = random_.choice(strange)
    return body


@pytest.mark.medium
def test_a_thousand_mutated_pages_lose_no_other_item() -> None:
    random_ = random.Random(0)
    page: dict[str, Any] = {
        "items": [{"item": with_(name=f"Track {number}")} for number in range(5)],
        "total": 5,
        "next": None,
    }
    for _ in range(1_000):
        body = mutated(page, random_)
        try:
            entries = read_page(body).entries
        except MalformedError:
            assert not body.get("items") or not isinstance(body["items"], list)
            continue
        rows, faults = read_items(entries)
        assert len(rows) + sum(fault[-1] for fault in faults) == len(entries)
        originals = {json.dumps(entry) for entry in page["items"]}
        whole = [entry for entry in entries if json.dumps(entry) in originals]
        assert sum(row[1:] == [ROW[0], f"Track {n}", *ROW[2:]] for row in rows for n in range(5)) >= len(whole)
        json.dumps([rows, faults], ensure_ascii=False).encode()  # can be kept
