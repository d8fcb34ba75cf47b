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


def test_users_of_pichls_playlists_have_playlists_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "spotify_dataset.csv"
    rows = [
        ("u1", "Mill, The Grinder", "Vidrio", "Road"), ("u1", "Air", "Run", "Night, late"),
        ("u2", "Air", "Run", "Road"), ("u1", "Air", "Kelly", "Road"), ("u2", "Various Artists", "Intro", "Road"),
        ("u2", "", "Nameless", "Road"),
    ]  # fmt: skip
    heading = '"user_id", "artistname", "trackname", "playlistname"'
    path.write_text("\n".join([heading, *(",".join(f'"{cell}"' for cell in row) for row in rows)]) + "\n")
    (batch,) = SpotifySongsSource(path).batches()
    found = batch.records.select("user_id", "playlist_name", "position", "artists", "track_name")
    assert found.sort("user_id", "playlist_name", "position").rows() == [
        ("spotify-songs-u1", "Night, late", 0, ["Air"], "Run"),
        ("spotify-songs-u1", "Road", 0, ["Mill, The Grinder"], "Vidrio"),
        ("spotify-songs-u1", "Road", 1, ["Air"], "Kelly"),
        ("spotify-songs-u2", "Road", 0, ["Air"], "Run"),
    ]
    assert batch.rejects["reason"].to_list() == [
        "no artist of its own: a placeholder such as Various Artists", "no artist name",
    ]  # fmt: skip
    assert SpotifySongsSource(path).audio_features().is_empty()


@pytest.mark.parametrize(
    ("heading", "artists"),
    [
        ("id,name,popularity,duration_ms,explicit,artists,id_artists,release_date,danceability,energy,key,tempo",
         "\"['Air', 'Beth Hirsch']\""),
        (",track_id,artists,album_name,track_name,popularity,duration_ms,explicit,danceability,energy,key,tempo,track_genre",
         "Air;Beth Hirsch"),
    ],
)  # fmt: skip
def test_tables_of_tracks_alone_tell_how_tracks_sound(tmp_path: Path, heading: str, artists: str) -> None:
    """Two tables that people download from Kaggle: nobody's playlists, but audio features."""
    values = {
        "": "0", "id": "t1", "track_id": "t1", "name": "All I Need", "track_name": "All I Need", "artists": artists,
        "danceability": "0.5", "energy": "0.25", "key": "11", "tempo": "120.5", "explicit": "0", "popularity": "61",
        "release_date": "1998-01-16", "duration_ms": "200000", "track_genre": "Trip Hop",
    }  # fmt: skip
    path = tmp_path / "tracks.csv"
    path.write_text(f"{heading}\n{','.join(values.get(name, 'x') for name in heading.split(','))}\n")
    source = SpotifySongsSource(path)
    assert list(source.batches()) == []
    (row,) = source.audio_features().to_dicts()
    assert {name: value for name, value in row.items() if value is not None} == {
        "track_id": "t1", "danceability": 0.5, "energy": 0.25, "key": 11.0, "tempo": 120.5,
        "duration_ms": 200_000.0,
    }  # fmt: skip
    genres = source.artist_genres()
    assert genres is None or genres.select("artist_name", "genres").rows() == [("Air", ["trip hop"])]


def test_a_table_without_audio_features_and_without_ids(tmp_path: Path) -> None:
    path = tmp_path / "songs.csv"
    path.write_text("track_name,artist,playlist_name\nRun,Air,Road\nKelly,Air,Road\nRun,Air,Road\nRun,Air,Night\n")
    (batch,) = SpotifySongsSource(path).batches()
    assert batch.records.select("user_id", "track_name").rows() == [
        ("spotify-songs-Road", "Run"), ("spotify-songs-Road", "Kelly"), ("spotify-songs-Night", "Run")
    ]  # fmt: skip
    assert batch.rejects.select("row", "reason").rows() == [(4, "the same as an earlier row")]
    assert SpotifySongsSource(path).audio_features().is_empty()


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
