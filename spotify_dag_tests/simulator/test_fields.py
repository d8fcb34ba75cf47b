"""The ``fields`` parameter."""

from __future__ import annotations

from typing import Any

import pytest

from spotify_dag.simulator.fields import project

PAGE = {
    "total": 2,
    "next": None,
    "items": [
        {"added_at": "2020", "item": {"id": "a", "name": "A", "album": {"id": "x", "name": "X"}}},
        {"added_at": None, "item": None},
    ],
}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("total", {"total": 2}),
        ("total, next", {"total": 2, "next": None}),
        ("items(added_at)", {"items": [{"added_at": "2020"}, {"added_at": None}]}),
        ("items.added_at", {"items": [{"added_at": "2020"}, {"added_at": None}]}),
        (
            "total,items(item(id,album(name)))",
            {"total": 2, "items": [{"item": {"id": "a", "album": {"name": "X"}}}, {"item": None}]},
        ),
        ("items.item.album.id", {"items": [{"item": {"album": {"id": "x"}}}, {"item": None}]}),
        ("items(item(!album,!name))", {"items": [{"item": {"id": "a"}}, {"item": None}]}),
        ("!items", {"total": 2, "next": None}),
        ("items(*)", {"items": PAGE["items"]}),
        ("absent", {}),
        ("items(absent)", {"items": [{}, {}]}),
    ],
)
def test_keeps_what_is_named(fields: str, expected: Any) -> None:
    assert project(PAGE, fields) == expected


@pytest.mark.parametrize("fields", ["items(", "items)", "a,,b", ",", "a..b", "items(a", "a b", "a;b", "()", "!"])
def test_what_cannot_be_read_is_refused(fields: str) -> None:
    with pytest.raises(ValueError, match="fields"):
        project(PAGE, fields)
