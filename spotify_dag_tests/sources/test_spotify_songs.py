"""Tables of tracks with playlists and audio features."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from spotify_dag.settings import Settings
from spotify_dag.sources import open_source
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.spotify_songs import SpotifySongsSource

HEADER = "track_id,track_name,track_artist,track_popularity,track_album_release_date,playlist_name,playlist_id,playlist_genre,playlist_subgenre,energy,tempo,key"  # noqa: E501
ROWS = [
    "t1,Hello,Adele,80,2015-10-23,Sad,p1,pop,soul pop,0.4,120,3",
    "t2,NA,NA,0,2012,Sad,p1,pop,soul pop,0.5,100,1",
    "t1,Hello,Adele,80,2015-10-23,Sad,p1,pop,dance pop,0.4,120,3",
    "spotify:track:t3,Ünder,Бьорк,NA,1999,Élan,p2,rock,art rock,7,0,1",
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "songs.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    return path


def test_every_playlist_is_a_user_and_bad_rows_are_rejects(table: Path) -> None:
    (batch,) = SpotifySongsSource(table).batches()
    rows = batch.records.select("user_id", "playlist_id", "track_id", "release_year", "popularity").rows()
    assert rows == [("spotify-songs-p1", "p1", "t1", 2015, 80.0), ("spotify-songs-p2", "p2", "t3", 1999, None)]
    rejects = batch.rejects.select("row", "field", "value", "dropped").rows()
    assert rejects == [
        (3, "artist_name", None, True),
        (4, "track_id", "t1", True),
        (5, "energy", "7", False),
        (5, "tempo", "0", False),
    ]
    assert dict(batch.rows_read.iter_rows()) == {"spotify-songs-p1": 3, "spotify-songs-p2": 1}


def test_audio_features_keep_what_is_believable(table: Path) -> None:
    audio = SpotifySongsSource(table).audio_features()
    assert audio.select("track_id", "energy", "tempo", "key", "loudness").rows() == [
        ("t1", pytest.approx(0.4), 120.0, 3.0, None),
        ("t2", 0.5, 100.0, 1.0, None),
        ("t3", None, None, 1.0, None),
    ]


def test_genres_are_those_of_the_playlists_asked_for(table: Path) -> None:
    source = SpotifySongsSource(table)
    assert source.artist_genres().select("artist_name", "genres").rows() == [
        ("Adele", ["pop", "dance pop", "soul pop"]),
        ("Бьорк", ["art rock", "rock"]),
    ]
    only = source.artist_genres(pl.DataFrame({"playlist_id": ["p2"]}))
    assert only["artist_name"].to_list() == ["Бьорк"]


def test_parquet_is_read_the_same(table: Path, tmp_path: Path) -> None:
    typed = pl.read_csv(table, null_values="NA")
    typed.write_parquet(tmp_path / "songs.parquet")
    (from_csv,), (from_parquet,) = (SpotifySongsSource(path).batches() for path in (table, tmp_path / "songs.parquet"))
    assert from_parquet.records.equals(from_csv.records)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file"),
        (b"a,b\n1,2\n", "It also needs: track_name or name"),
        (b"", "cannot be read as a table"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "songs.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_source("spotify-songs", {"path": str(path)}, Settings(data=tmp_path))


@pytest.mark.medium
def test_the_real_table(test_data: Path) -> None:
    path = test_data / "spotify-songs" / "spotify_songs.csv"
    if not path.is_file():
        pytest.skip(f"no table at {path}")
    (batch,) = SpotifySongsSource(path).batches()
    assert batch.records.height == 32_237
    assert batch.records["track_id"].n_unique() == 28_343
    assert batch.records["user_id"].n_unique() == 471
    assert batch.rejects.group_by("reason").len().sort("len").rows() == [
        ("not a number from 30 to 300", 1),
        ("no artist name", 5),
        ("no artist of its own: a placeholder such as Various Artists", 9),
        ("the same as an earlier row", 582),
    ]
