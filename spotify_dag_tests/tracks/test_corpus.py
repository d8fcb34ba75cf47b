"""Strings that stand for tracks."""

from __future__ import annotations

import polars as pl

from spotify_dag.tracks.corpus import distinct_texts


def test_the_same_words_come_of_many_titles_every_time() -> None:
    # So many that polars divides the work, and one title without a letter.
    titles = [f"Song number {number}" for number in range(100_000)] + ["? ? ?"]
    tracks = pl.DataFrame({"track_name": titles * 2, "artist_name": "The Artist"})
    expected = {"song", "number", "???", "The Artist", *map(str, range(100_000))}
    for _ in range(5):
        assert set(distinct_texts(tracks)["text"]) == expected
