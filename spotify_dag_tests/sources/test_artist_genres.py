"""The artist-genre table: whatever way people write lists of genres, the same lists are read."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spotify_dag.sources.artist_genres import GENRES, IDS, NAMES, read_artist_genres
from spotify_dag.sources.base import SourceError

ARTISTS: list[dict[str, Any]] = [
    {"name": "Björk", "spotify_id": "id1", "genres": ["art pop", "trip hop"]},
    {"name": "AC/DC", "spotify_id": "id2", "genres": ["rock"]},
    {"name": "O'Death", "spotify_id": "id3", "genres": []},
    {"name": "Nobody", "spotify_id": "id4", "genres": None},
]
READ = [(row["spotify_id"], row["name"], row["genres"]) for row in ARTISTS]


def rows(path: Path) -> list[tuple[str | None, str | None, list[str] | None]]:
    table = read_artist_genres(path)
    assert table.schema == {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)}
    return table.rows()


def genres_of(path: Path, text: str) -> list[str] | None:
    """Return how a cell of a CSV file is read."""
    pl.DataFrame({"name": ["A"], "genres": [text]}).write_csv(path)
    ((_, _, genres),) = rows(path)
    return genres


class TestFormats:
    def test_parquet_with_lists(self, tmp_path: Path) -> None:
        pl.DataFrame(ARTISTS).write_parquet(tmp_path / "a.parquet")
        assert rows(tmp_path / "a.parquet") == READ

    def test_parquet_with_arrays_and_categories(self, tmp_path: Path) -> None:
        table = pl.DataFrame({"name": ["A", "B"], "genres": [["Pop", "Rock"], ["Jazz", "Soul"]]})
        table.with_columns(pl.col("genres").list.to_array(2), pl.col("name").cast(pl.Categorical)).write_parquet(
            tmp_path / "a.parquet"
        )
        assert rows(tmp_path / "a.parquet") == [(None, "A", ["pop", "rock"]), (None, "B", ["jazz", "soul"])]

    def test_json(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text(json.dumps(ARTISTS))
        assert rows(tmp_path / "a.json") == READ

    @pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".JSONL"])
    def test_json_lines(self, tmp_path: Path, suffix: str) -> None:
        file = tmp_path / f"a{suffix}"
        file.write_text("\n".join(json.dumps(artist) for artist in ARTISTS))
        assert rows(file) == READ

    @pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".CSV", ","), (".tsv", "\t")])
    @pytest.mark.parametrize("written", [lambda genres: json.dumps(genres, ensure_ascii=False), str, ";".join])
    def test_tables_of_text(self, tmp_path: Path, suffix: str, separator: str, written: Any) -> None:
        file = tmp_path / f"a{suffix}"
        pl.DataFrame(
            [{**row, "genres": None if row["genres"] is None else written(row["genres"])} for row in ARTISTS]
        ).write_csv(file, separator=separator, quote_style="necessary")
        # An empty cell and an empty list are the same there; both are "unknown" to a join.
        assert [(*key, genres or []) for *key, genres in rows(file)] == [(*key, genres or []) for *key, genres in READ]

    def test_a_byte_order_mark_and_windows_line_ends(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_bytes("\ufeffname,genres\r\nBjörk,pop\r\n".encode())
        assert rows(tmp_path / "a.csv") == [(None, "Björk", ["pop"])]

    def test_numbers_stay_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("name,id,genres\n311,007,rock\n1975,1e5,pop\n")
        assert rows(tmp_path / "a.csv") == [("007", "311", ["rock"]), ("1e5", "1975", ["pop"])]

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("name,genres\n")
        assert rows(tmp_path / "a.csv") == []


class TestGenres:
    @pytest.mark.parametrize(
        ("text", "genres"),
        [
            ('["indie rock", "shoegaze"]', ["indie rock", "shoegaze"]),
            ("['indie rock', 'shoegaze']", ["indie rock", "shoegaze"]),
            ("['pop', \"drum 'n' bass\"]", ["pop", "drum 'n' bass"]),
            ('["r&b", "rock-and-roll"]', ["r&b", "rock-and-roll"]),
            ("['indie pop' 'rock']", ["indie pop", "rock"]),
            (" [ 'pop' ] ", ["pop"]),
            ("[pop, indie rock]", ["pop", "indie rock"]),
            ("a; b", ["a", "b"]),
            ("a;b;", ["a", "b"]),
            ("a|b", ["a", "b"]),
            ("a, b", ["a", "b"]),
            ("children's music", ["children's music"]),
            ("pop", ["pop"]),
            ("[]", []),
            ("['']", []),
            (" ; ", []),
            ("Pop; POP ;pop", ["pop"]),
            ("x" * 101 + ";pop", ["pop"]),
            ("música mexicana;forró", ["música mexicana", "forró"]),
        ],
    )
    def test_ways_to_write_a_list(self, tmp_path: Path, text: str, genres: list[str]) -> None:
        assert genres_of(tmp_path / "a.csv", text) == genres

    def test_lists_are_tidied_too(self, tmp_path: Path) -> None:
        found = [[" Pop", "pop", "", None, "x" * 101, "Rock "]]
        pl.DataFrame({"name": ["A"], "genres": found}).write_parquet(tmp_path / "a.parquet")
        assert rows(tmp_path / "a.parquet") == [(None, "A", ["pop", "rock"])]

    def test_text_in_parquet_is_read_as_in_csv(self, tmp_path: Path) -> None:
        pl.DataFrame({"name": ["A", "B"], "genres": ["['a', 'b']", None]}).write_parquet(tmp_path / "a.parquet")
        assert rows(tmp_path / "a.parquet") == [(None, "A", ["a", "b"]), (None, "B", None)]


class TestColumns:
    @pytest.mark.parametrize("name", NAMES)
    def test_names(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "a.csv").write_text(f"note,{name},genres\nx,Björk,pop\n")
        assert rows(tmp_path / "a.csv") == [(None, "Björk", ["pop"])]

    @pytest.mark.parametrize("column", IDS)
    @pytest.mark.parametrize(
        "written",
        [
            "0oSGxfWSnnOXhD2fKuz2Gy",
            "spotify:artist:0oSGxfWSnnOXhD2fKuz2Gy",
            "https://open.spotify.com/artist/0oSGxfWSnnOXhD2fKuz2Gy",
            "https://open.spotify.com/artist/0oSGxfWSnnOXhD2fKuz2Gy?si=a:b/c",
        ],
    )
    def test_ids_uris_and_addresses(self, tmp_path: Path, column: str, written: str) -> None:
        (tmp_path / "a.csv").write_text(f"{column},genres\n{written},pop\n")
        assert rows(tmp_path / "a.csv") == [("0oSGxfWSnnOXhD2fKuz2Gy", None, ["pop"])]

    @pytest.mark.parametrize("column", GENRES)
    def test_genres(self, tmp_path: Path, column: str) -> None:
        (tmp_path / "a.csv").write_text(f"name,{column}\nBjörk,pop\n")
        assert rows(tmp_path / "a.csv") == [(None, "Björk", ["pop"])]

    def test_of_several_the_first_named_in_the_docs_counts(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("id,name,artist_name,spotify_id,genres,genre\n0,wrong,right,s1,pop,wrong\n")
        assert rows(tmp_path / "a.csv") == [("s1", "right", ["pop"])]

    def test_the_most_popular_come_first(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("name,genres,popularity\nA,a,7\nA,b,100\nA,c,\nA,d,9.5\nA,e,high\n")
        order = [genre for _, _, (genre,) in rows(tmp_path / "a.csv")]
        assert order[:3] == ["b", "d", "a"]
        assert set(order[3:]) == {"c", "e"}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_separators_encodings_and_lists_of_r(tmp_path: Path, separator: str, encoding: str) -> None:
    rows = [
        ("Artists", "Genres"),
        ("Motörhead", 'c("indie rock", "shoegaze")'),
        ("Various Artists", "pop"),
        ("Björk", "pop"),
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    (tmp_path / "a.csv").write_bytes(text.getvalue().encode(encoding))
    found = read_artist_genres(tmp_path / "a.csv").select("artist_name", "genres").rows()
    assert found == [("Motörhead", ["indie rock", "shoegaze"]), ("Björk", ["pop"])]


class TestUnreadable:
    """A complaint is one line, and names the file and the remedy."""

    def complaint(self, path: Path, remedy: str = ".parquet, .csv") -> str:
        with pytest.raises(SourceError) as refused:
            read_artist_genres(path)
        message = str(refused.value)
        assert str(path) in message
        assert remedy in message
        assert "\n" not in message
        return message

    def test_a_missing_file_and_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "folder.csv").mkdir()
        for name in ("none.csv", "folder.csv"):
            assert "does not exist" in self.complaint(tmp_path / name, "Give a .parquet, .csv or .json file")

    @pytest.mark.parametrize("name", ["a.xlsx", "a"])
    def test_a_wrong_suffix(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_text("name,genres\nA,pop\n")
        assert "is not one of .parquet, .csv, .tsv, .txt, .json" in self.complaint(tmp_path / name)

    @pytest.mark.parametrize("columns", ["name,tags", "genres", "genres,popularity", "x"])
    def test_columns_that_are_missing(self, tmp_path: Path, columns: str) -> None:
        (tmp_path / "a.csv").write_text(f"{columns}\n" + ",".join("x" for _ in columns.split(",")))
        message = self.complaint(tmp_path / "a.csv", "It needs one of genres, genre")
        assert f"has the columns {columns.replace(',', ', ')}." in message
        assert "one of artist_name, name, artist, artists, name_key or spotify_id" in message

    @pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".json", ".jsonl"])
    @pytest.mark.parametrize("content", [b"", random.Random(0).randbytes(20_000), b"PAR1" + b"\x00" * 100 + b"PAR1"])
    @pytest.mark.medium
    def test_nothing_and_garbage(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        (tmp_path / f"a{suffix}").write_bytes(content)
        self.complaint(tmp_path / f"a{suffix}", "")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.csv", b"name,genres\nA,pop,more\n"),
            ("a.json", b'[{"name": "A", "genres": ["pop"'),
            ("a.json", b"5"),
            ("a.jsonl", b'{"name": "A", "genres": ["pop"]}\n{"name": \n'),
        ],
    )
    def test_a_file_that_is_cut_or_not_what_it_is_called(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        message = self.complaint(tmp_path / name, "Give a UTF-8 table with a column of artists and one of genres")
        assert f"cannot be read as {Path(name).suffix}: " in message

    def test_a_parquet_file_that_is_cut(self, tmp_path: Path) -> None:
        file = tmp_path / "a.parquet"
        pl.DataFrame(ARTISTS).write_parquet(file)
        file.write_bytes(file.read_bytes()[:-40])
        self.complaint(file)
