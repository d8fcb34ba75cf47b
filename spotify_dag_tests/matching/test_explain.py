"""An explanation says what two users share, with numbers that a person can check."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import pytest

from spotify_dag.matching.explain import Explanation, New, Shared, explain
from spotify_dag.schemas import USER_TASTES

# Weights are sums of powers of two: exact in float32.
TASTES = [
    ("ann", "genre", "jazz", 0.5),
    ("ann", "genre", "soul", 0.25),
    ("ann", "genre", "funk", 0.25),
    ("ann", "artist", "Nina Simone", 0.5),
    ("ann", "artist", "Sade", 0.25),
    ("ann", "artist", "Prince", 0.25),
    ("ann", "year", "1984", 0.25),
    ("ann", "year", "1988", 0.25),
    ("ann", "year", "1965", 0.25),
    ("ann", "year", "2001", 0.125),
    ("bob", "genre", "jazz", 0.125),
    ("bob", "genre", "soul", 0.625),
    ("bob", "genre", "rock", 0.25),
    ("bob", "artist", "Sade", 0.5),
    ("bob", "artist", "Nina Simone", 0.125),
    ("bob", "artist", "Muse", 0.125),
    ("bob", "artist", "Queen", 0.1875),
    ("bob", "artist", "Abba", 0.0625),
    ("bob", "year", "1989", 0.375),
    ("bob", "year", "1960", 0.0625),
    ("bob", "year", "1969", 0.0625),
    ("bob", "year", "1990", 0.5),
    ("cat", "genre", "soul", 1.0),
    ("cat", "artist", "Prince", 0.75),
    ("cat", "artist", "Queen", 0.25),
    # A name that is a genre, an artist and nearly a decade.
    ("dan", "genre", "Prince", 0.5),
    ("dan", "artist", "jazz", 0.5),
    ("dan", "genre", "1980s", 0.5),
]


def tastes(rows: Iterable[tuple[str, str, str, float]] = TASTES) -> pl.DataFrame:
    listed = [(0, user, kind, name, weight, 0.0) for user, kind, name, weight in rows]
    return pl.DataFrame(listed, USER_TASTES.polars_schema(), orient="row")


def test_two_users_by_hand() -> None:
    assert explain(tastes(), "ann", ["bob"]) == [
        Explanation(
            shared_genres=(Shared("soul", 0.25, 0.625), Shared("jazz", 0.5, 0.125)),
            shared_artists=(Shared("Sade", 0.25, 0.5), Shared("Nina Simone", 0.5, 0.125)),
            shared_eras=(Shared("1980s", 0.5, 0.375), Shared("1960s", 0.25, 0.125)),
            new_to_you=(New("Queen", 0.1875), New("Muse", 0.125), New("Abba", 0.0625)),
        )
    ]


def test_from_the_other_side_it_is_the_same_with_weights_swapped() -> None:
    (ours,), (theirs,) = explain(tastes(), "ann", ["bob"]), explain(tastes(), "bob", ["ann"])
    for name in ("shared_genres", "shared_artists", "shared_eras"):
        assert getattr(theirs, name) == tuple(Shared(s.name, s.theirs, s.yours) for s in getattr(ours, name))
    assert theirs.new_to_you == (New("Prince", 0.25),)


def test_equal_entries_come_by_name() -> None:
    rows = [(user, kind, name, 0.25) for user in ("a", "b") for kind in ("genre", "artist") for name in "xzyw"]
    rows += [("b", "artist", name, 0.125) for name in "qpr"]
    (found,) = explain(tastes(rows), "a", ["b"])
    assert [shared.name for shared in found.shared_genres] == ["w", "x", "y", "z"]
    assert [shared.name for shared in found.shared_artists] == ["w", "x", "y", "z"]
    assert [new.name for new in found.new_to_you] == ["p", "q", "r"]
    assert explain(tastes(reversed(rows)), "a", ["b"]) == [found]


@pytest.mark.parametrize(("limit", "length"), [(1, 1), (2, 2), (10, 10), (11, 11), (20, 12), (None, 12)])
def test_a_limit_keeps_what_weighs_most(limit: int | None, length: int) -> None:
    shared = [
        (user, kind, f"{kind}{n:02}", n / 128) for user in "ab" for kind in ("genre", "artist") for n in range(12)
    ]
    eras = [(user, "year", str(1900 + 10 * n), n / 128) for user in "ab" for n in range(12)]
    new = [("b", "artist", f"new{n:02}", n / 128) for n in range(12)]
    (found,) = explain(tastes([*shared, *eras, *new]), "a", ["b"], limit=limit)
    wanted = list(range(11, 11 - length, -1))
    assert [entry.name for entry in found.shared_genres] == [f"genre{n:02}" for n in wanted]
    assert [entry.name for entry in found.shared_artists] == [f"artist{n:02}" for n in wanted]
    assert [entry.name for entry in found.shared_eras] == [f"{190 + n}0s" for n in wanted]
    assert [(entry.name, entry.theirs) for entry in found.new_to_you] == [(f"new{n:02}", n / 128) for n in wanted]


def test_ten_entries_unless_told_otherwise() -> None:
    rows = [(user, "genre", f"{n:02}", n / 128) for user in "ab" for n in range(12)]
    assert len(explain(tastes(rows), "a", ["b"])[0].shared_genres) == 10


def test_several_others_are_told_in_order_and_as_if_alone() -> None:
    others = ["cat", "bob", "dan", "ann"]
    together = explain(tastes(), "ann", others)
    assert together == [explain(tastes(), "ann", [other])[0] for other in others]
    assert together[0] == Explanation(
        (Shared("soul", 0.25, 1.0),), (Shared("Prince", 0.25, 0.75),), (), (New("Queen", 0.25),)
    )


def test_with_oneself_everything_is_shared_and_nothing_is_new() -> None:
    (found,) = explain(tastes(), "bob", ["bob"])
    assert found.new_to_you == ()
    assert {shared.name: shared.yours for shared in found.shared_eras} == {"1990s": 0.5, "1980s": 0.375, "1960s": 0.125}
    for entry in (*found.shared_genres, *found.shared_artists, *found.shared_eras):
        assert entry.yours == entry.theirs


def test_a_genre_an_artist_and_a_decade_of_one_name_are_three_things() -> None:
    assert explain(tastes(), "ann", ["dan"]) == [Explanation((), (), (), (New("jazz", 0.5),))]


def test_a_user_without_tastes_shares_nothing() -> None:
    assert explain(tastes(), "ann", ["unknown"]) == [Explanation((), (), (), ())]
    (found,) = explain(tastes(), "unknown", ["cat"])
    assert found == Explanation((), (), (), (New("Prince", 0.75), New("Queen", 0.25)))


def test_no_others() -> None:
    assert explain(tastes(), "ann", []) == []


def test_as_plain_lists_and_numbers() -> None:
    (found,) = explain(tastes(), "ann", ["cat"])
    assert found.as_dict() == {
        "shared_genres": [{"name": "soul", "yours": 0.25, "theirs": 1.0}],
        "shared_artists": [{"name": "Prince", "yours": 0.25, "theirs": 0.75}],
        "shared_eras": [],
        "new_to_you": [{"name": "Queen", "theirs": 0.25}],
    }
