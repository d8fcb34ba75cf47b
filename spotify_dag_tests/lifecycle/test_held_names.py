"""Names that nobody has are found as by reading everybody's listening, and each file is read once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.genres import artist_key
from spotify_dag.lifecycle import held_names
from spotify_dag.lifecycle.held_names import HeldNames
from spotify_dag.schemas import RAW_PLAYLISTS, USER_TASTES
from spotify_dag.stores.bucket_state import FOLDER
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.corpus import title_words
from spotify_dag_tests.staleness.users_of_buckets import READ_AT

ARTISTS = ["Björk", "The Smiths", "Zqartist", "smiths"]
TITLES = ["Blue Moon", "blue moon (live)", "Zqtitel", None]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake", 4)


def write(lake: Lake, bucket: int, rng: np.random.Generator) -> None:
    """Write drawn listening and tastes of a bucket."""

    def drawn(values: list[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    items = [
        {"user_bucket": bucket, "user_id": f"user-{bucket}", "source": "synthetic", "fetched_at": READ_AT,
         "playlist_id": "p", "playlist_position": 0, "position": number, "artist_name": drawn(ARTISTS),
         "track_name": drawn(TITLES), "track_id": drawn(["t1", "t2", None]), "album_name": drawn(["One", "Two", None]),
         "playlist_name": drawn(["Mine", "Zqlist", None])}
        for number in range(int(rng.integers(4)))
    ]  # fmt: skip
    tastes = [
        {"user_bucket": bucket, "user_id": f"user-{bucket}", "kind": drawn(["artist", "genre"]), "name": drawn(ARTISTS),
         "weight": 1.0, "size_weight": 1.0}
    ]  # fmt: skip
    listened = pl.DataFrame(items, schema_overrides=RAW_PLAYLISTS.polars_schema())
    lake.replace(RAW_PLAYLISTS, [bucket], [RAW_PLAYLISTS.conform(listened)] if items else [])
    lake.replace(USER_TASTES, [bucket], [USER_TASTES.conform(pl.DataFrame(tastes))])


def held(lake: Lake) -> Iterator[tuple[str, list[str], set[tuple[Any, ...]]]]:
    """Yield each kind, its columns and the values that somebody has, by reading all."""
    items, tastes = lake.scan(RAW_PLAYLISTS).collect(), lake.scan(USER_TASTES).collect()
    tracks = items.filter(pl.col("track_name").is_not_null()).with_columns(track_identity())
    artists = pl.concat([items["artist_name"], tastes.filter(kind="artist")["name"].rename("artist_name")])
    yield "artist", ["artist_key"], set(artists.to_frame().select(artist_key(pl.col("artist_name"))).rows())
    words = items.select(title_words(pl.col("track_name")).explode())["track_name"]
    texts = [*items["artist_name"], *items["playlist_name"], *words, *tastes["name"]]
    yield "text", ["text"], {(text,) for text in texts if text is not None}
    yield "track", ["track_id"], set(tracks.select("track_id").rows())
    for name in held_names.OF_TRACKS:
        yield name, ["track_id", name], set(tracks.select("track_id", name).rows())


@pytest.mark.parametrize("seed", range(4))
def test_unheld_names_are_those_of_no_row(lake: Lake, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked: dict[str, set[tuple[Any, ...]]] = {}
    for bucket in (0, 1, 2, 3, 1, 0):
        write(lake, bucket, rng)
        for kind, columns, values in held(lake):
            asked[kind] = asked.get(kind, {(*(["nothing"] * len(columns)),)}) | values
            rows = pl.DataFrame(sorted(asked[kind], key=str), schema=dict.fromkeys(columns, pl.String), orient="row")
            left = HeldNames(lake).unheld(kind, rows, columns)
            assert set(left.rows()) == asked[kind] - values
            assert left.columns == columns


def test_a_file_is_read_once_and_what_is_known_of_files_that_are_gone_is_deleted(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, read = np.random.default_rng(1), []
    names = held_names._names
    monkeypatch.setattr(held_names, "_names", lambda table, rows: read.append(table.name) or names(table, rows))
    for bucket in range(4):
        write(lake, bucket, rng)
    HeldNames(lake).bring_up()
    HeldNames(lake).bring_up()
    files = sum(len(lake.file_uris(table)) for table in (RAW_PLAYLISTS, USER_TASTES))
    assert len(read) == files
    before = set((lake.root / FOLDER).glob("names-*/*.parquet"))
    lake.expunge(USER_TASTES, 2, pl.lit(value=True))
    HeldNames(lake).bring_up()
    after = set((lake.root / FOLDER).glob("names-*/*.parquet"))
    assert (len(before - after), len(after - before)) == (1, 0)
    assert len(read) == files
