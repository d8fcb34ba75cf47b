"""Lists leave in every form, keep to the schema of the form, and come back equal."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest

from spotify_dag.playlists_out.forms import FORMS, FormError, FormName, form_of, written
from spotify_dag.playlists_out.track_list import ListedTrack, TrackList, named
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.spreadsheet_cells import as_named, harmless

HERE = Path(__file__).parent
TITLE = "Road, trip 🎸 & “more”"
WITH_YEAR = ("csv", "jspf", "xspf")
PARTS = (
    "Ebb", "Años", "🎸🔥", "👨‍👩‍👧‍👦", "𝄞", "שלום", "مرحبا, عالم", "\u200fيمين", "日本語", '"quoted"', "a; b",
    "=1+1", "+44", "-M-", "@home", "' '", "'=x", "＝１", "AT&T", "<b>", "]]>", "&amp;", "&lt;", "\\", "C:\\new", "100%",
    "·", " · ", "- ", " - ", "1. x", "#EXTINF:1,A - B", "#EXTM3U", "—", "|", "a\tb", "x\ny", "x\r\ny", "\u2028", "http://x/?a=1&b=2",
    "spotify:local:a", '{"pid": 1}', '"creator"', "Tyler, The Creator", "null", "1999", "of, \\",
)  # fmt: skip
"""What names are made of: signs that mean something in one of the forms."""


def make_list(count: int, seed: int = 5) -> TrackList:
    chance = random.Random(seed)

    def name() -> str:
        return named(" ".join(chance.choices(PARTS, k=chance.randint(1, 3)))) or "x"

    def track_id() -> str | None:
        spotify = "".join(chance.choices("0123456789abcXYZ", k=22))
        return chance.choice([None, spotify, f"0f0e1d2c-aaaa-4bbb-8ccc-{chance.randrange(10**12):012d}"])

    def track() -> ListedTrack:
        # A table's cell of artists has one space between words.
        artists = tuple(" ".join(name().split()) for _ in range(chance.choice([1, 1, 2, 3])))
        title = chance.choice([name(), name(), name(), "undefined"])
        popularity = chance.choice([None, 50.0, 0.0])
        why = chance.choice(["", "same artist & <more>"])
        year = chance.choice([None, 1999])
        return ListedTrack(title, artists, chance.choice([None, name()]), year, track_id(), popularity, why)

    return TrackList(TITLE, [track() for _ in range(count)])


def read_back(path: Path) -> pl.DataFrame:
    reading = Reading(path, "anna")
    rows = pl.concat(list(reading.frames())).filter(pl.col("reason").is_null())
    assert not reading.rejected
    assert not reading.skipped
    return rows.sort("position")


@pytest.mark.parametrize("form", get_args(FormName))
def test_ten_thousand_tracks_come_back_equal(form: FormName, tmp_path: Path) -> None:
    tracks = make_list(10_000)
    path = tmp_path / f"{TITLE}{FORMS[form].endings[0]}"
    path.write_bytes(written(tracks, form))
    rows = read_back(path)
    assert set(rows["playlist_name"]) == {TITLE}
    assert rows["position"].to_list() == list(range(10_000))
    assert rows["artists"].to_list() == [list(track.artists) for track in tracks.tracks]
    here = rows.select("track_name", "album_name", "track_id", "release_year").rows()
    years = [track.year if form in WITH_YEAR else None for track in tracks.tracks]
    assert here == [
        (track.title, track.album, track.track_id, year) for track, year in zip(tracks.tracks, years, strict=True)
    ]
    if form == "csv":
        assert rows["popularity"].to_list() == [track.popularity for track in tracks.tracks]


def test_xspf_keeps_to_its_schema() -> None:
    from lxml import etree

    schema = etree.RelaxNG(etree.parse(HERE / "xspf.rng"))
    content = written(make_list(300), "xspf")
    schema.assertValid(etree.fromstring(content))
    assert not schema.validate(etree.fromstring(content.replace(b"</title>", b"</title><title>Again</title>", 1)))


def test_jspf_keeps_to_its_schema() -> None:
    from jsonschema import Draft202012Validator

    schema = Draft202012Validator(json.loads((HERE / "jspf.schema.json").read_text()))
    content = json.loads(written(make_list(300), "jspf"))
    schema.validate(content)
    content["playlist"]["track"][0]["identifier"] = "not a list"
    assert not schema.is_valid(content)


def test_listenbrainz_gets_its_fields_where_all_tracks_are_of_musicbrainz() -> None:
    recording = "0f0e1d2c-aaaa-4bbb-8ccc-000000000001"
    of_musicbrainz = ListedTrack("Ebb", ("Lune", "Åsa"), track_id=recording)
    playlist = json.loads(written(TrackList("A", [of_musicbrainz]), "jspf"))["playlist"]
    assert playlist["extension"] == {"https://musicbrainz.org/doc/jspf#playlist": {"public": False}}
    assert playlist["track"][0]["identifier"] == [f"https://musicbrainz.org/recording/{recording}"]
    more = playlist["track"][0]["extension"]["https://musicbrainz.org/doc/jspf#track"]["additional_metadata"]
    assert more == {"artists": [{"artist_credit_name": "Lune"}, {"artist_credit_name": "Åsa"}]}
    mixed = json.loads(written(TrackList("A", [of_musicbrainz, ListedTrack("B", ("C",))]), "jspf"))["playlist"]
    assert "extension" not in mixed


def test_no_cell_acts_in_a_spreadsheet() -> None:
    content = written(make_list(2_000), "csv").decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))]
    # A spreadsheet that parts at semicolons finds none outside of quotes, so it begins no cell in a name.
    apart = [cell for row in csv.reader(io.StringIO(content), delimiter=";") for cell in row]
    assert not [cell for cell in apart if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=1", "'=1"),
        ("'=1", "''=1"),
        ("'tis", "'tis"),
        ("undefined", "'undefined"),
        ("Undefined", "Undefined"),
        ("", ""),
    ],
)
def test_a_harmless_cell_stands_for_its_name(name: str, cell: str) -> None:
    assert harmless(name) == cell
    assert as_named(cell) == name


def answer(**changed: Any) -> dict[str, Any]:
    plain = {"track_id": "local:a:b", "track_name": "B", "artist_name": "A", "album_name": None, "release_year": 1990}
    return plain | {"popularity": None, "why": ["fits", "same artist"]} | changed


def test_answers_become_lists() -> None:
    listed = TrackList.of_answers(
        " \n", [answer(), answer(track_name=None), answer(track_id="x" * 22, track_name="C\nD")]
    )
    assert listed.title == "Playlist"
    local, of_spotify = listed.tracks
    assert (local.track_id, local.why, local.link) == (
        None,
        "fits; same artist",
        "https://open.spotify.com/search/A%20B",
    )
    assert (of_spotify.title, of_spotify.link) == ("C D", f"https://open.spotify.com/track/{'x' * 22}")


@pytest.mark.parametrize(
    ("name", "form"), [("a.CSV", "csv"), ("a.m3u", "m3u"), ("a.b.jspf", "jspf"), ("a.txt", "text")]
)
def test_an_ending_says_the_form(name: str, form: str) -> None:
    assert form_of(Path(name)) == form


def test_another_ending_is_refused() -> None:
    with pytest.raises(FormError, match=r"'a.mp3' does not end like a playlist. Give --format, .*\.csv, \.jspf"):
        form_of(Path("a.mp3"))


def test_files_on_a_disk_are_read_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.m3u"
    path.write_text("#EXTM3U\n#EXTINF:201,Lune Claire - Ebb - Live\nC:\\Music\\ebb.mp3\nother.mp3\n")
    reading = Reading(path, "anna")
    rows = pl.concat(list(reading.frames()))
    here = rows.filter(pl.col("reason").is_null()).select("artist_name", "track_name", "track_id").rows()
    assert here == [("Lune Claire", "Ebb - Live", None)]
    assert reading.rejected == {"a file without a title and an artist": 1}
