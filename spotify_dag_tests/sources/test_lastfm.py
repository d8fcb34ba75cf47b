"""HetRec-2011 and Last.fm-360K: every good row is read, every bad one is named."""

from __future__ import annotations

import gzip
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_dag.sources import lastfm
from spotify_dag.sources.base import RECORD_COLUMNS, REJECT_COLUMNS, Batch, SourceError
from spotify_dag.sources.lastfm import PLAYS_1K, PLAYS_360K, LastfmSource

ARTISTS = [
    "id\tname\turl\tpictureURL",
    "51\tDuran Duran\tu\tp",
    '52\t"Weird Al" Yankovic\tu\tp',
    "53\tSigur Rós 🎵\tu\tp",
]
PLAYS = ["userID\tartistID\tweight", "2\t51\t13883", "2\t52\t11690", "3\t53\t7"]


def hetrec(
    folder: Path,
    plays: Sequence[str | bytes] = PLAYS,
    artists: Sequence[str | bytes] = ARTISTS,
    *,
    newline: bytes = b"\n",
) -> Path:
    write(folder / "user_artists.dat", plays, newline)
    write(folder / "artists.dat", artists, newline)
    return folder


def write(file: Path, lines: Sequence[str | bytes], newline: bytes = b"\n") -> Path:
    encoded = [line if isinstance(line, bytes) else line.encode() for line in lines]
    file.write_bytes(b"".join(line + newline for line in encoded))
    return file


def read(path: Path) -> Batch:
    """Return all batches of the source as one."""
    import polars as pl

    batches = list(LastfmSource(path).batches())
    for batch in batches:
        assert batch.records.columns == RECORD_COLUMNS
        assert batch.rejects.columns == REJECT_COLUMNS
    users = [user for batch in batches for user in batch.rows_read["user_id"]]
    assert len(users) == len(set(users)), "a user in two batches"
    return Batch(
        pl.concat(batch.records for batch in batches),
        pl.concat(batch.rejects for batch in batches),
        pl.concat(batch.rows_read for batch in batches),
    )


def items(batch: Batch) -> list[tuple]:
    return batch.records.select("user_id", "position", "artist_id", "artist_name", "plays").rows()


def refused(batch: Batch) -> list[tuple]:
    return batch.rejects.select("row", "field", "value", "reason").rows()


class TestHetRec:
    def test_the_published_tables_are_read_completely(self, hetrec_path: Path) -> None:
        source = LastfmSource(hetrec_path)
        (batch,) = source.batches()
        # Of five placeholders such as "[unknown]" and "Ismeretlen előadó", 33 rows.
        assert batch.records.height == 92_801
        assert batch.rejects.filter(file="user_artists.dat").height == 33
        assert batch.rows_read.height == batch.records["user_id"].n_unique() == 1_892
        assert batch.rows_read["rows_read"].sum() == 92_834
        assert batch.records["artist_id"].n_unique() == 17_632 - 5
        assert items(batch)[:2] == [
            ("lastfm-2", 0, "lastfm-artist-51", "Duran Duran", 13_883),
            ("lastfm-2", 1, "lastfm-artist-52", "Morcheeba", 11_690),
        ]
        assert batch.records["position"].max() == 49
        assert source.n_batches() == 1
        assert source.artist_genres() is None

    def test_a_library_is_one_playlist(self, tmp_path: Path) -> None:
        row = read(hetrec(tmp_path)).records.row(0, named=True)
        known = {name: value for name, value in row.items() if value is not None}
        assert known == {
            "user_id": "lastfm-2",
            "playlist_id": "library",
            "playlist_position": 0,
            "position": 0,
            "artist_id": "lastfm-artist-51",
            "artist_name": "Duran Duran",
            "artists": ["Duran Duran"],
            "plays": 13_883,
        }

    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_names_are_read_as_they_stand(self, tmp_path: Path, newline: bytes) -> None:
        batch = read(hetrec(tmp_path, newline=newline))
        assert batch.records["artist_name"].to_list() == ["Duran Duran", '"Weird Al" Yankovic', "Sigur Rós 🎵"]
        assert refused(batch) == []

    def test_columns_are_found_by_name(self, tmp_path: Path) -> None:
        plays = ["\ufeffweight\tnote\tuserID\tnote\tartistID", "5\tx\t2\ty\t51"]
        assert items(read(hetrec(tmp_path, plays))) == [("lastfm-2", 0, "lastfm-artist-51", "Duran Duran", 5)]

    def test_bad_lines_are_named_by_their_number(self, tmp_path: Path) -> None:
        bad = [
            "",
            "2\t52",
            "2\t52\t1\t1",
            "2,52,1",
            "2\t99\t4",
            "2\t52\t-4",
            "2\t52\t",
            "2\t52\t1.5",
            "\t52\t4",
            "3\t\t4",
        ]
        batch = read(hetrec(tmp_path, [*PLAYS[:2], *bad, *PLAYS[2:]]))
        assert [(user, name, plays) for user, _, _, name, plays in items(batch)] == [
            ("lastfm-2", "Duran Duran", 13_883),
            ("lastfm-2", '"Weird Al" Yankovic', 11_690),
            ("lastfm-3", "Sigur Rós 🎵", 7),
        ]
        assert sorted(refused(batch)) == [
            (4, "line", "2\ufffd52", "2 columns instead of 3"),
            (5, "line", "2\ufffd52\ufffd1\ufffd1", "4 columns instead of 3"),
            (6, "line", "2,52,1", "1 columns instead of 3"),
            (7, "artist_id", "99", "artist 99 is not in artists.dat"),
            (8, "plays", "-4", "not a positive number of plays"),
            (9, "plays", "", "not a whole number"),
            (10, "plays", "1.5", "not a whole number"),
            (11, "user_id", None, "no user"),
            (12, "artist_id", None, "no artist id"),
        ]
        assert batch.rejects["file"].unique().to_list() == ["user_artists.dat"]
        assert batch.rejects["dropped"].all()
        # Lines 3 to 6 are no rows, line 11 is nobody's.
        assert dict(batch.rows_read.rows()) == {"lastfm-2": 6, "lastfm-3": 2}

    def test_a_user_with_only_bad_rows_is_listed(self, tmp_path: Path) -> None:
        batch = read(hetrec(tmp_path, [*PLAYS, "4\t99\t1"]))
        assert batch.rows_read.rows()[-1] == ("lastfm-4", 1)
        assert "lastfm-4" not in batch.records["user_id"]

    def test_of_a_repeated_row_the_first_good_one_is_kept(self, tmp_path: Path) -> None:
        batch = read(hetrec(tmp_path, [PLAYS[0], "2\t51\t-1", "2\t51\t8", "2\t51\t9"]))
        assert items(batch) == [("lastfm-2", 1, "lastfm-artist-51", "Duran Duran", 8)]
        assert refused(batch) == [
            (2, "plays", "-1", "not a positive number of plays"),
            (4, "artist_name", "Duran Duran", "the same as an earlier row"),
        ]

    def test_artists_of_one_name_are_not_repeats(self, tmp_path: Path) -> None:
        batch = read(hetrec(tmp_path, [*PLAYS, "2\t54\t5"], [*ARTISTS, "54\tDuran Duran\tu\tp"]))
        assert batch.records.height == 4

    def test_bad_artists_are_refused_and_so_are_their_rows(self, tmp_path: Path) -> None:
        artists = [
            *ARTISTS,
            "54\t\tu\tp",
            "54\tAir\tu\tp",
            "54\tAir again\tu\tp",
            "55\t" + "x" * 10_000 + "\tu\tp",
            "56",
            "\tNameless\tu\tp",
        ]
        batch = read(hetrec(tmp_path, [*PLAYS, "2\t54\t5", "2\t55\t5", "2\t56\t5"], artists))
        assert batch.records.height == 4
        assert batch.records.filter(artist_id="lastfm-artist-54")["artist_name"].to_list() == ["Air"]
        of_artists = batch.rejects.filter(file="artists.dat")
        assert of_artists["user_id"].null_count() == 5
        assert sorted(zip(of_artists["row"], of_artists["reason"], strict=True)) == [
            (5, "no artist name"),
            (7, "the same as an earlier row"),
            (8, "longer than 500 characters"),
            (9, "1 columns instead of 4"),
            (10, "no artist id"),
        ]
        assert batch.rejects.filter(file="user_artists.dat")["reason"].to_list() == [
            "longer than 500 characters",
            "artist 56 is not in artists.dat",
        ]

    def test_wrong_encoding_and_control_characters_cost_no_row(self, tmp_path: Path) -> None:
        artists: list[str | bytes] = [
            ARTISTS[0],
            b"51\tMot\xf6rhead\tu\tp",
            b"52\tA\x00B\x1b\tu\tp",
            "53\tC\u2028D\x85E\rF\tu\tp",
        ]
        batch = read(hetrec(tmp_path, artists=artists))
        assert batch.records["artist_name"].to_list() == ["Motörhead", "A B", "C D E F"]
        assert refused(batch) == []

    def test_control_characters_make_no_second_user(self, tmp_path: Path) -> None:
        batch = read(hetrec(tmp_path, [*PLAYS, b"\x002\t53\t1", b"\x00\t53\t1"]))
        assert batch.rows_read.rows() == [("lastfm-2", 3), ("lastfm-3", 1)]
        assert refused(batch) == [(6, "user_id", None, "no user")]

    def test_the_version_changes_with_the_files(self, tmp_path: Path) -> None:
        source = LastfmSource(hetrec(tmp_path))
        before = source.version()
        assert LastfmSource(tmp_path).version() == before
        write(tmp_path / "user_artists.dat", [*PLAYS, "3\t51\t1"])
        assert source.version() != before


ALICE, BOB = "a" * 40, "b" * 40
ROWS_360K = [f"{ALICE}\tmbid-1\tAir\t5", f"{ALICE}\t\tBjörk\t4", f"{BOB}\tmbid-1\tAir\t1"]


class Test360K:
    @pytest.mark.parametrize("as_folder", [True, False])
    def test_file_and_folder_are_read_alike(self, tmp_path: Path, as_folder: bool) -> None:
        file = write(tmp_path / PLAYS_360K, ROWS_360K)
        assert items(read(tmp_path if as_folder else file)) == [
            (f"lastfm-{ALICE}", 0, "mbid-1", "Air", 5),
            (f"lastfm-{ALICE}", 1, None, "Björk", 4),
            (f"lastfm-{BOB}", 0, "mbid-1", "Air", 1),
        ]

    def test_bad_lines_are_named_by_their_number(self, tmp_path: Path) -> None:
        bad = ["", f"{ALICE}\tAir\t5", f"{ALICE}\tm\tA\tB\t5", f"{ALICE}\tm\t\t5", f"{ALICE}\tm\tM\tmany", "\tm\tM\t5"]
        again = [ROWS_360K[0], f"{ALICE}\t\tBjork\t4", f"{ALICE}\tm\t{'x' * 10_000}\t1"]
        batch = read(write(tmp_path / PLAYS_360K, [*bad, *ROWS_360K[:2], *again, ROWS_360K[2]]))
        assert batch.records["artist_name"].to_list() == ["Air", "Björk", "Bjork", "Air"]
        assert sorted((row, field, reason) for row, field, _, reason in refused(batch)) == [
            (2, "line", "3 columns instead of 4"),
            (3, "line", "5 columns instead of 4"),
            (4, "artist_name", "no artist name"),
            (5, "plays", "not a whole number"),
            (6, "user_id", "no user"),
            (9, "artist_name", "the same as an earlier row"),
            (11, "artist_name", "longer than 500 characters"),
        ]
        assert max(len(value) for value in batch.rejects["value"].drop_nulls()) == 80

    @pytest.mark.medium
    def test_batches_end_between_users(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lastfm, "BATCH_BYTES", 20_000)
        sizes = [random.Random(n).randint(1, 90) for n in range(100)]
        lines = [
            f"{user:040x}\tm{rank}\tArtist {rank}\t{rank + 1}" for user, n in enumerate(sizes) for rank in range(n)
        ]
        lines[1000:1000] = [f"{'f' * 40}\tm\tAir\t5", "garbage"]
        path = write(tmp_path / PLAYS_360K, lines)
        source = LastfmSource(path)
        assert abs(sum(1 for _ in source.batches()) - source.n_batches()) <= 1
        assert source.n_batches() > 10
        batch = read(path)
        of_user = dict(batch.rows_read.rows())
        assert [of_user[f"lastfm-{user:040x}"] for user in range(100)] == sizes
        assert batch.records.height == sum(sizes) + 1
        assert batch.records.select("user_id", "position").n_unique() == batch.records.height
        assert refused(batch) == [(1002, "line", "garbage", "1 columns instead of 4")]

    def test_a_stray_row_of_an_earlier_user_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lastfm, "BATCH_BYTES", 20_000)
        lines = [f"{user:040x}\tm{rank}\tArtist {rank}\t1" for user in range(100) for rank in range(20)]
        batch = read(write(tmp_path / PLAYS_360K, [*lines, f"{3:040x}\tm99\tLate\t1"]))
        assert batch.records.height == 2_000
        assert batch.rejects.select("row", "user_id", "field").rows() == [(2_001, f"lastfm-{3:040x}", "user_id")]

    def test_a_table_in_no_order_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lastfm, "BATCH_BYTES", 20_000)
        lines = [f"{user:040x}\tm{rank}\tArtist {rank}\t1" for rank in range(20) for user in range(200)]
        source = LastfmSource(write(tmp_path / PLAYS_360K, lines))
        with pytest.raises(SourceError, match=r"not sorted by user: line \d+ .* Sort it"):
            list(source.batches())


@pytest.mark.parametrize("separator", [",", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.medium
def test_other_separators_and_encodings(tmp_path: Path, separator: str, encoding: str) -> None:
    saved = lambda lines: "\r\n".join(line.replace("\t", separator) for line in lines).encode(encoding)  # noqa: E731
    plays = [line for line in PLAYS if "Sigur" not in line]
    artists = ["id\tname\turl\tpictureURL", "51\tMötley Crüe\tu\tp", "52\tBjörk\tu\tp"]
    for name, lines in (("user_artists.dat", plays), ("artists.dat", artists)):
        (tmp_path / name).write_bytes(saved(lines))
    batch = read(tmp_path)
    assert batch.records["artist_name"].to_list() == ["Mötley Crüe", "Björk"]
    folder = tmp_path / "360K"
    folder.mkdir()
    (folder / PLAYS_360K).write_bytes(saved([f"{'a' * 40}\tm\tBjörk\t5", f"{'a' * 40}\tn\tMötley Crüe\t3"]))
    assert read(folder).records["artist_name"].to_list() == ["Björk", "Mötley Crüe"]


def test_last_fm_1k_counts_the_plays_of_each_track(tmp_path: Path) -> None:
    rows = [("user_1", "2009-05-04T23:08:57Z", "m", "Air", "t", "Run")] * 3
    rows += [
        ("user_1", "2009-05-04T13:54:10Z", "m", "Can", "", "Vitamin C"),
        ("user_2", "2009-05-04T13:54:10Z", "89ad4ac3-39f7-470e-963a-56509c546377", "V", "", "x"),
    ]
    below = tmp_path / "lastfm-dataset-1K"
    below.mkdir()
    with gzip.open(below / f"{PLAYS_1K}.gz", "wt") as stream:
        stream.writelines("\t".join(row) + "\n" for row in rows)
    batch = read(tmp_path)
    found = batch.records.select("user_id", "artist_name", "track_name", "plays").rows()
    assert found == [("lastfm-user_1", "Air", "Run", 3), ("lastfm-user_1", "Can", "Vitamin C", 1)]
    assert batch.rejects["reason"].to_list() == ["no artist of its own: a placeholder such as Various Artists"]
    assert dict(batch.rows_read.iter_rows()) == {"lastfm-user_1": 4, "lastfm-user_2": 1}


class TestOneFolderTooHigh:
    """The archive had a folder in it, or the folder above was given."""

    @pytest.mark.parametrize("inside", ["hetrec2011-lastfm-2k", "data/hetrec2011-lastfm-2k"])
    def test_hetrec(self, tmp_path: Path, inside: str) -> None:
        (tmp_path / inside).mkdir(parents=True)
        hetrec(tmp_path / inside)
        assert items(read(tmp_path)) == items(read(tmp_path / inside))

    @pytest.mark.parametrize("packed", [False, True])
    def test_360k(self, tmp_path: Path, packed: bool) -> None:
        below = tmp_path / "lastfm-dataset-360K"
        below.mkdir()
        content = f"{'a' * 40}\tm\tAir\t5\n".encode()
        (below / (PLAYS_360K + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
        assert read(tmp_path).records["artist_name"].to_list() == ["Air"]

    def test_two_data_sets_are_never_one(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        hetrec(tmp_path / "a")
        write(tmp_path / "b" / PLAYS_360K, [f"{'a' * 40}\tm\tAir\t5"])
        with pytest.raises(SourceError, match=r"holds 2 data sets of Last\.fm: .*user_artists\.dat and .*usersha1-"):
            LastfmSource(tmp_path)
        hetrec(tmp_path)  # What lies in the folder itself is meant.
        assert len(items(read(tmp_path))) == 3

    def test_an_archive_is_to_be_unpacked(self, tmp_path: Path) -> None:
        (tmp_path / "hetrec2011-lastfm-2k.zip").write_bytes(b"PK\x03\x04")
        with pytest.raises(SourceError, match=r"lastfm-2k\.zip' is an archive\. Unpack it, and give the folder\."):
            LastfmSource(tmp_path)


class TestUnreadable:
    """What can be known when a source is opened is said then, in one line that names the file and the remedy."""

    def complaint(self, path: Path) -> str:
        with pytest.raises(SourceError) as error:
            LastfmSource(path)
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
        assert "Give the unpacked folder" in str(error.value)
        return str(error.value)

    def test_missing_path(self, tmp_path: Path) -> None:
        assert "There is no file or folder" in self.complaint(tmp_path / "nowhere")

    def test_empty_folder(self, tmp_path: Path) -> None:
        assert "it holds nothing" in self.complaint(tmp_path)

    def test_folder_of_other_files(self, tmp_path: Path) -> None:
        write(tmp_path / "plays.tsv", ROWS_360K)
        assert "it holds plays.tsv" in self.complaint(tmp_path)

    def test_half_of_hetrec(self, tmp_path: Path) -> None:
        write(tmp_path / "user_artists.dat", PLAYS)
        assert "it holds user_artists.dat" in self.complaint(tmp_path)

    @pytest.mark.parametrize("header", ["userID\tartistID", "userID\tartistID\tweights", "a\tb\tc", ""])
    def test_header_without_a_column(self, tmp_path: Path, header: str) -> None:
        complaint = self.complaint(hetrec(tmp_path, [header, *PLAYS[1:]]))
        assert "does not name the column(s)" in complaint
        assert "weight" in complaint

    def test_artists_without_a_column(self, tmp_path: Path) -> None:
        complaint = self.complaint(hetrec(tmp_path, artists=["id\ttitle", "51\tDuran Duran"]))
        assert "artists.dat' does not name the column(s) name once each" in complaint

    @pytest.mark.medium
    def test_binary(self, tmp_path: Path) -> None:
        noise = random.Random(0).randbytes(200_000)
        (tmp_path / PLAYS_360K).write_bytes(b"\x1f\x8b" + noise)
        assert "separated by tabs" in self.complaint(tmp_path)
        hetrec(tmp_path)
        (tmp_path / "user_artists.dat").write_bytes(noise)
        assert "user_artists.dat" in self.complaint(tmp_path)

    def test_empty_file(self, tmp_path: Path) -> None:
        assert "is empty" in self.complaint(write(tmp_path / PLAYS_360K, []))
        below = tmp_path / "hetrec"
        below.mkdir()
        assert "is empty" in self.complaint(hetrec(below, artists=[]))

    def test_the_plays_of_hetrec_alone(self, tmp_path: Path) -> None:
        hetrec(tmp_path)
        assert "line 1 is 'userID\\tartistID\\tweight'" in self.complaint(tmp_path / "user_artists.dat")

    def test_a_file_lost_after_opening(self, tmp_path: Path) -> None:
        source = LastfmSource(write(tmp_path / PLAYS_360K, ROWS_360K))
        batches = source.batches()
        (tmp_path / PLAYS_360K).unlink()
        with pytest.raises(SourceError, match=PLAYS_360K):
            next(batches)


NOISE = st.one_of(
    st.binary(max_size=60).map(lambda line: line.replace(b"\n", b" ").replace(b"\t", b" ")),
    st.text(st.characters(exclude_characters="\n\t", codec="utf-8"), max_size=30).map(
        lambda line: line.encode() + b"\t\t"
    ),
    st.sampled_from(
        [
            b"",
            b"\r",
            b"\t" * 9,
            b'"',
            b"x\t1\t2\t3\t4",
            b"\xff\xfe",
            b"2\t51,3\t",
            b"{}",
            b"\x00\x00",
            b"2\t51\t-1",
            b"2\t9\t5",
            b"\tm\tA\t5",
        ]
    ),
)


@pytest.mark.medium
class TestFuzz:
    @settings(max_examples=40, deadline=None)
    @given(bad=st.lists(st.tuples(st.integers(1, 40), NOISE), max_size=30))
    def test_bad_lines_among_the_rows_of_hetrec_cost_none(
        self, tmp_path_factory: pytest.TempPathFactory, bad: list[tuple[int, Any]]
    ) -> None:
        good = [f"{2 + n // 7}\t{51 + n % 3}\t{n + 1}" for n in range(40) if n % 7 < 3]
        batch = read(hetrec(tmp_path_factory.mktemp("h"), mixed([PLAYS[0], *good], bad), mixed(ARTISTS, bad)))
        found = [(user, artist, plays) for user, _, artist, _, plays in items(batch)]
        assert Counter(found) >= Counter(
            (f"lastfm-{user}", f"lastfm-artist-{artist}", int(plays))
            for user, artist, plays in (line.split("\t") for line in good)
        )

    @settings(max_examples=40, deadline=None)
    @given(
        bad=st.lists(st.tuples(st.integers(0, 900), NOISE), max_size=60),
        block=st.integers(8_000, 30_000),
    )
    def test_bad_lines_among_the_rows_of_360k_cost_none(
        self, tmp_path_factory: pytest.TempPathFactory, bad: list[tuple[int, Any]], block: int
    ) -> None:
        good = [f"{n // 9:040x}\tm{n}\tArtist {n}\t{n + 1}" for n in range(900)]
        file = write(tmp_path_factory.mktemp("k") / PLAYS_360K, mixed(good, bad))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(lastfm, "BATCH_BYTES", block)
            found = read(file).records.select("user_id", "artist_id", "artist_name", "plays").rows()
        assert Counter(found) == Counter((f"lastfm-{n // 9:040x}", f"m{n}", f"Artist {n}", n + 1) for n in range(900))

    @settings(max_examples=40, deadline=None)
    @given(
        cuts=st.lists(
            st.tuples(st.integers(0, 400), st.integers(0, 20), st.binary(max_size=20)), min_size=1, max_size=4
        )
    )
    def test_whatever_happens_to_the_bytes_only_source_errors_are_raised(
        self, tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, int, bytes]]
    ) -> None:
        folder = hetrec(tmp_path_factory.mktemp("b"))
        write(folder / PLAYS_360K, ROWS_360K)
        for file in folder.iterdir():
            content = file.read_bytes()
            for start, length, inserted in cuts:
                content = content[:start] + inserted + content[start + length :]
            file.write_bytes(content)
        for path in (folder, folder / PLAYS_360K):
            try:
                read(path)
            except SourceError:
                continue


def mixed(lines: Sequence[str], bad: Sequence[tuple[int, bytes]]) -> list[str | bytes]:
    """Return the lines with bad ones put before the given places."""
    result: list[str | bytes] = list(lines)
    for place, line in bad:
        result.insert(min(place, len(result)), line)
    return result
