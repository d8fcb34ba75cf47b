"""The catalogue: identity of tracks, songs and their recordings."""

from __future__ import annotations

import polars as pl
import pytest

from spotify_dag.schemas import RAW_PLAYLISTS, TRACK_CATALOGUE
from spotify_dag.tracks.catalogue_rows import catalogue, distinct_tracks, folded, song_title

NO_GENRES = pl.DataFrame(schema={"artist_key": pl.String, "genres": pl.List(pl.String)})
NO_AUDIO = pl.DataFrame(schema={"track_id": pl.String, "energy": pl.Float32})


def items(*rows: tuple[str | None, str | None, str]) -> pl.LazyFrame:
    tracks = pl.DataFrame(rows, schema=["track_id", "track_name", "artist_name"], orient="row")
    return pl.concat([RAW_PLAYLISTS.empty(), tracks], how="diagonal_relaxed").lazy()


def made(seen: pl.LazyFrame, known: pl.DataFrame | None = None, audio: pl.DataFrame = NO_AUDIO) -> pl.DataFrame:
    known = TRACK_CATALOGUE.empty() if known is None else known
    return TRACK_CATALOGUE.conform(catalogue(distinct_tracks(seen).collect(), known, NO_GENRES, audio, known.height))


@pytest.mark.parametrize(
    ("title", "song"),
    [
        ("Jump - 2015 Remaster", "Jump"),
        ("Jump - Remastered Version", "Jump"),
        ("Mi Gente (feat. Beyoncé)", "Mi Gente"),
        ("Hello [Live at the Royal Albert Hall]", "Hello"),
        ("Perfect - Acoustic", "Perfect"),
        ("Bohemian Rhapsody - 2011 Mix", "Bohemian Rhapsody"),
        ("Cross Me - M-22 Remix", "Cross Me - M-22 Remix"),
        ("Live and Let Die", "Live and Let Die"),
        ("Live", "Live"),
        ("(Live)", "(Live)"),
        ("Stay (with Justin Bieber)", "Stay"),
        ("With or Without You", "With or Without You"),
    ],
)
def test_recordings_share_the_title_of_the_song(title: str, song: str) -> None:
    assert pl.select(song_title(pl.lit(title))).item() == song


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Beyoncé  —  Déjà Vu!", "beyonce deja vu"), ("Don't", "dont"), ("???", "???"), ("夜に駆ける", "夜に駆ける"),
        ("🔥 Fire 🔥", "fire"), ("🔥", "🔥"), ("", ""), ("AC/DC", "ac dc"),
    ],
)  # fmt: skip
def test_folding(text: str, plain: str) -> None:
    assert pl.select(folded(pl.lit(text))).item() == plain


def test_tracks_are_told_apart_by_id_and_recordings_are_grouped() -> None:
    table = made(
        items(
            ("a", "Jump", "Van Halen"), ("b", "Jump - 2015 Remaster", "Van Halen"), ("c", "Jump", "Kris Kross"),
            ("a", "Jump", "Van Halen"), (None, "Jump", "Van Halen"), ("d", None, "Van Halen"),
        )
    )  # fmt: skip
    assert table.select("track_id", "catalogue_number", "song_key", "playlists").sort("track_id").rows() == [
        ("a", 0, "vanhalen|jump", 2),
        ("b", 1, "vanhalen|jump", 1),
        ("c", 2, "kriskross|jump", 1),
        ("local:van halen:jump", 3, "vanhalen|jump", 1),
    ]


REAL = "4uLU6hMCjMI75M1A2tKUQC"


@pytest.mark.parametrize(
    ("source", "track_id", "listeners", "shown"),
    [
        ("export", REAL, ["private"], True),  # Spotify has it
        ("export", None, ["private"], False),
        ("export", None, ["anna", "ben"], False),
        ("export", None, ["anna", "ben", "private", "private-2"], False),
        ("export", None, ["anna", "ben", "cleo"], True),
        ("export", "my-own-id", ["anna", "anna"], False),
        ("export", "local:me:mine", ["anna"], False),
        ("export", "my-own-id", ["anna", "ben", "cleo"], True),
        ("mpd", "1", ["private"], True),  # ids of a data set are a catalogue's
        ("mpd", None, ["anna"], False),
        ("export", None, ["nobody knows", "anna", "ben"], False),
    ],
)
def test_what_may_be_somebody_s_own_text_is_no_track_for_everybody(
    source: str, track_id: str | None, listeners: list[str], shown: bool
) -> None:
    people = pl.LazyFrame(
        {
            "user_id": ["anna", "ben", "cleo", "private", "private-2"],
            "opted_in": [True, True, True, False, False],
        }
    )
    rows = items(*[(track_id, "My Title", "Me")] * len(listeners)).with_columns(
        pl.Series("user_id", listeners), pl.lit(source).alias("source")
    )
    found = distinct_tracks(rows, people).collect()
    assert found.height == int(shown)
    assert distinct_tracks(rows).collect()["playlists"].to_list() == [len(listeners)]


def test_the_name_of_a_track_is_what_a_catalogue_calls_it_not_what_one_user_writes() -> None:
    people = pl.LazyFrame({"user_id": ["anna", "ben"], "opted_in": [True, True]})
    rows = items((REAL, "AAA my own words", "Rick Astley"), (REAL, "Never Gonna Give You Up", "Rick Astley"))
    rows = rows.with_columns(pl.Series("user_id", ["anna", "ben"]), pl.Series("source", ["export", "mpd"]))
    assert distinct_tracks(rows, people).collect()["track_name"].to_list() == ["Never Gonna Give You Up"]


def test_numbers_stay_and_only_what_changed_gets_another_hash() -> None:
    first = made(items(("b", "B", "X"), ("c", "C", "X")))
    second = made(items(("a", "A", "Y"), ("b", "B", "X"), ("c", "C", "X"), ("c", "C", "X")), first)
    assert dict(second.select("track_id", "catalogue_number").iter_rows()) == {"b": 0, "c": 1, "a": 2}
    hashes = first.join(second, on="track_id", suffix="_now").sort("track_id")
    assert hashes.select(pl.col("content_hash") == pl.col("content_hash_now")).to_series().to_list() == [True, False]
    heard = made(items(("b", "B", "X"), ("c", "C", "X")), first, pl.DataFrame({"track_id": ["b"], "energy": [0.5]}))
    assert heard.join(first, on=["track_id", "content_hash"], how="anti")["track_id"].to_list() == ["b"]


def test_the_order_of_rows_does_not_matter() -> None:
    rows = [("a", "A", "Y"), ("a", "A!", "Y"), ("b", "B", "X"), (None, "Ä", "Ö")]
    assert made(items(*rows)).equals(made(items(*reversed(rows))))


def test_no_items_make_an_empty_catalogue() -> None:
    assert made(items()).is_empty()
