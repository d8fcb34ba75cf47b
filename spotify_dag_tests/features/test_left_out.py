"""What counts of a user's items, against rows picked by hand."""

from __future__ import annotations

import polars as pl
import pytest

from spotify_dag.features.left_out import counted_items

# user, bucket, playlist, title, artist, and a number by which a row is named below
ROWS = [
    ("ann", 0, "p1", "Kids' songs", "Raffi", 0),
    ("ann", 0, "p1", "Kids' songs", "Queen", 1),
    ("ann", 0, "p2", "Sleep", "Beyoncé", 2),
    ("ann", 0, "p3", None, "Queen", 3),
    ("bob", 1, "p1", "Kids' songs", "Raffi", 4),
    ("bob", 1, "p2", "Work", "The Queen", 5),
    ("cem", 0, "p1", "Sleep", "Queen", 6),
]
RAW = pl.DataFrame(
    ROWS, schema=["user_id", "user_bucket", "playlist_id", "playlist_name", "artist_name", "row"], orient="row"
)
GENRES = pl.DataFrame(
    [
        (0, "raffi", ["Children's Music", "folk"]), (0, "queen", ["rock"]), (0, "beyonce", None),
        (1, "raffi", ["folk"]), (1, "queen", ["rock"]),
    ],
    schema=["user_bucket", "artist_key", "genres"], orient="row",
)  # fmt: skip


@pytest.mark.parametrize(
    ("left_out", "gone"),
    [
        ([], []),
        ([("ann", "artist", "queen")], [1, 3]),
        ([("bob", "artist", "queen")], [5]),
        ([("ann", "artist", "beyonce"), ("cem", "artist", "queen")], [2, 6]),
        ([("ann", "genre", "children's music")], [0]),
        ([("bob", "genre", "children's music")], []),  # in the bucket of bob, nobody says so of Raffi
        ([("ann", "genre", "rock"), ("ann", "genre", "folk")], [0, 1, 3]),
        ([("ann", "playlist", "kids' songs")], [0, 1]),
        ([("ann", "playlist", "p3"), ("cem", "playlist", "sleep")], [3, 6]),
        ([("dee", "artist", "queen")], []),
    ],
)
def test_rows_that_count(left_out: list[tuple[str, str, str]], gone: list[int]) -> None:
    wishes = pl.DataFrame(left_out, schema=dict.fromkeys(("user_id", "kind", "key"), pl.String), orient="row")
    counted = counted_items(RAW.lazy(), GENRES.lazy(), wishes).collect()
    assert counted.columns == RAW.columns
    assert counted.sort("row").equals(RAW.filter(~pl.col("row").is_in(gone)))
