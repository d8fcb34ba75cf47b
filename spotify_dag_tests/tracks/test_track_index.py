"""The track index: a real LanceDB table with words that are easily mistaken for one another."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.audio import RANGES
from spotify_dag.locks import locked
from spotify_dag.tracks.catalogue_rows import with_song_keys
from spotify_dag.tracks.text_search import Filters
from spotify_dag.tracks.track_index import TrackIndex

DIM = 8
TRACKS = [
    # id, title, artist, album, year, popularity, explicit, genres, energy
    ("a", "Hello", "Adele", "25", 2015, 80.0, False, ["pop", "soul"], 0.4),
    ("b", "Hello", "Lionel Richie", "Can't Slow Down", 1983, 70.0, False, ["soul"], 0.3),
    ("c", "Halo", "Beyoncé", "I Am…", 2008, 90.0, False, ["pop"], 0.7),
    ("d", "Jump", "Van Halen", "1984", 1984, 60.0, False, ["rock"], 0.9),
    ("e", "Jump - 2015 Remaster", "Van Halen", "1984", 1984, 75.0, False, ["rock"], 0.9),
    ("f", "夜に駆ける", "YOASOBI", "THE BOOK", 2021, 65.0, True, ["j-pop"], 0.8),
    ("g", "???", "MF DOOM", None, None, None, True, None, None),
    ("h", "Running Up That Hill", "Kate Bush", "Hounds of Love", 1985, 85.0, False, ["art pop"], 0.5),
]
MEANINGS = {"water from the sky": np.eye(DIM)[3]}


def encode(texts: list[str]) -> np.ndarray:
    """Vectors with a known meaning: track number n lies on axis n."""
    return np.stack([MEANINGS.get(text, np.full(DIM, DIM**-0.5)) for text in texts]).astype(np.float32)


def rows(tracks: list[tuple[Any, ...]]) -> pl.DataFrame:
    names = ["track_id", "track_name", "artist_name", "album_name", "release_year", "popularity", "explicit", "genres"]
    schema = [*names, "energy"]
    frame = pl.DataFrame(tracks, schema=schema, orient="row").with_columns(
        *(pl.lit(None, pl.Float32).alias(name) for name in RANGES if name != "energy"),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("catalogue_number"),
        pl.lit(7, pl.Int64).alias("content_hash"),
        pl.lit(1, pl.Int32).alias("playlists"),
    )
    return with_song_keys(frame)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> TrackIndex:
    found = TrackIndex(tmp_path_factory.mktemp("index"))
    found.write(rows(TRACKS), np.eye(DIM, dtype=np.float32))
    found.optimise()
    return found


def ids(index: TrackIndex, text: str, k: int = 10, **filters: Any) -> list[str]:
    return [found.track["track_id"] for found in index.search(text, k, encode, Filters(**filters))]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Hello", "a"), ("hello lionel richie", "b"), ("richie lionel HELLO", "b"), ("helo adele", "a"),
        ("beyonce halo", "c"), ("Beyoncé", "c"), ("hlao", "c"), ("夜に駆ける", "f"), ("yoasobi 🔥", "f"),
        ("???", "g"), ("kate bush runing", "h"), ("hounds of love", "h"), ("running up", "h"),
    ],
)  # fmt: skip
def test_the_wanted_track_comes_first(index: TrackIndex, text: str, first: str) -> None:
    assert ids(index, text)[0] == first


def test_popularity_breaks_ties(index: TrackIndex) -> None:
    assert ids(index, "hello")[:2] == ["a", "b"]


def test_recordings_of_a_song_are_one_answer(index: TrackIndex) -> None:
    answers = index.search("jump van halen", 10, encode)
    assert [found.track["track_id"] for found in answers].count("d") == 1
    assert "e" not in [found.track["track_id"] for found in answers]
    assert answers[0].recordings == 2


def test_a_text_without_such_letters_is_searched_by_meaning(index: TrackIndex) -> None:
    assert ids(index, "water from the sky")[0] == "d"


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_finds_what_is_popular(index: TrackIndex, text: str) -> None:
    assert ids(index, text, 3) == ["c", "h", "a"]


@pytest.mark.parametrize(
    "text", ["!", "%%% ***", "'); drop table", "\x00", "\ud800", "🔥", "x" * 100_000, "a b " * 9_000]
)
def test_any_text_gets_an_answer(index: TrackIndex, text: str) -> None:
    assert len(ids(index, text)) > 0


def test_filters(index: TrackIndex) -> None:
    assert ids(index, "hello", genre="pop") == ["a", *ids(index, "hello", genre="pop")[1:]]
    assert "b" not in ids(index, "hello", genre="pop")
    assert set(ids(index, "", years=(1983, 1985))) == {"b", "e", "h"}
    assert ids(index, "", explicit=True) == ["f", "g"]
    assert set(ids(index, "", audio={"energy": (0.75, 1.0)})) == {"e", "f"}
    assert ids(index, "hello", genre="o'clock") == []
    assert ids(index, "water from the sky", years=(1983, 1983)) == ["b"]


def test_rows_are_replaced_removed_and_found_before_they_are_optimised(tmp_path: Path) -> None:
    index = TrackIndex(tmp_path)
    assert index.search("hello", 3, encode) == []
    assert index.column("track_id").is_empty()
    index.write(rows(TRACKS[:2]), np.eye(DIM, dtype=np.float32)[:2])
    index.optimise()
    index.write(rows(TRACKS[2:3]), np.eye(DIM, dtype=np.float32)[2:3])
    changed = rows(TRACKS[:1]).with_columns(
        pl.lit("Hallo").alias("track_name"), pl.lit(8, pl.Int64).alias("content_hash")
    )
    index.write(with_song_keys(changed.drop("artist_key", "song_key")), np.eye(DIM, dtype=np.float32)[:1])
    assert sorted(index.column("track_id")["track_id"]) == ["a", "b", "c"]
    assert sorted(index.column("content_hash")["content_hash"]) == [7, 7, 8]
    assert ids(index, "hallo")[0] == "a"
    assert ids(index, "halo beyonce")[0] == "c"
    index.remove(["a", "nobody's"])
    assert "a" not in ids(index, "hallo")
    vectors = index.vectors(pl.Series(["c", "nobody", "b"]))
    assert np.array_equal(vectors, np.eye(DIM)[[2, 7, 1]] * np.array([[1], [0], [1]]))


def test_what_was_read_before_is_never_shown_again_once_it_changed(tmp_path: Path) -> None:
    reader, writer = TrackIndex(tmp_path), TrackIndex(tmp_path)
    writer.write(rows(TRACKS), np.eye(DIM, dtype=np.float32))
    writer.optimise()
    assert reader.search("hello adele", 1, encode)[0].track["popularity"] == 80
    louder = [(*TRACKS[0][:5], 81.0, *TRACKS[0][6:])]
    writer.write(rows(louder), np.eye(DIM, dtype=np.float32)[:1])
    assert reader.search("hello adele", 1, encode)[0].track["popularity"] == 81
    writer.table.optimize()
    assert reader.search("hello adele", 1, encode)[0].track["popularity"] == 81
    # A table made anew gives the same row ids to other tracks.
    writer.drop()
    writer.write(rows(TRACKS[::-1]), np.eye(DIM, dtype=np.float32)[::-1])
    writer.optimise()
    assert [ids(reader, text, 1) for text in ("hello adele", "jump van halen")] == [["a"], ["d"]]


def test_an_index_that_another_process_is_making_is_not_dropped(tmp_path: Path) -> None:
    made = TrackIndex(tmp_path / "made")
    made.write(rows(TRACKS), np.eye(DIM, dtype=np.float32))
    index, folder = TrackIndex(tmp_path), tmp_path / "tracks.lance"
    with ThreadPoolExecutor(1) as pool:
        with locked(tmp_path / ".locks" / "tracks"):
            folder.mkdir()  # begun, without its first version
            dropped = pool.submit(index.drop_damaged)
            with suppress(TimeoutError):
                dropped.result(1)
            shutil.copytree(tmp_path / "made" / "tracks.lance", folder, dirs_exist_ok=True)
        assert dropped.result() == []
    assert index.table.count_rows() == len(TRACKS)
    shutil.rmtree(folder / "_versions")
    assert index.drop_damaged() == [f"{folder} has no manifest"]
    assert not folder.exists()


def test_it_does_not_matter_how_many_cards_are_kept(index: TrackIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ("Hello", "kate bush runing", "jump", "beyonce halo")
    expected = [ids(index, text) for text in texts]
    monkeypatch.setattr("spotify_dag.tracks.track_index.CARDS_KEPT", 3)
    few = TrackIndex(index.root)
    assert [ids(few, text) for text in texts for _ in range(2)] == [answer for answer in expected for _ in range(2)]
