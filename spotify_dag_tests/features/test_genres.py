"""Artists meet their genres under whatever spelling; an artist nobody knows stays unknown."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from spotify_dag.features.genres import artist_key, bucket_artists, genre_coverage, match_genres


def key(*names: str | None) -> list[str | None]:
    return pl.DataFrame({"name": names}, {"name": pl.String}).select(artist_key(pl.col("name"))).to_series().to_list()


class TestArtistKey:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("Radiohead", "radiohead"),
            ("RADIOHEAD", "radiohead"),
            ("Beyoncé", "beyonce"),
            ("Beyonce\u0301", "beyonce"),
            ("Sigur Rós", "sigurros"),
            ("Mötley Crüe", "motleycrue"),
            ("MØ", "mø"),
            ("İlhan İrem", "ilhanirem"),
            ("The Beatles", "beatles"),
            ("  the   Beatles ", "beatles"),
            ("Beatles, The", "beatlesthe"),
            ("Theory of a Deadman", "theoryofadeadman"),
            ("The The", "the"),
            ("The", "the"),
            ("the the the", "thethe"),
            ("AC/DC", "acdc"),
            ("AC DC", "acdc"),
            ("Guns N' Roses", "gunsnroses"),
            ("Simon & Garfunkel", "simonandgarfunkel"),
            ("Simon and Garfunkel", "simonandgarfunkel"),
            ("Simon&Garfunkel", "simonandgarfunkel"),
            ("&", "and"),
            ("!!!", "!!!"),
            (" !!! ", "!!!"),
            ("+/-", "+/-"),
            ("…", "..."),
            ("+44", "44"),
            ("P!nk", "pnk"),
            ("2Pac", "2pac"),
            ("¡Forward, Russia!", "forwardrussia"),
            ("ＡＢＢＡ", "abba"),
            ("椎名林檎", "椎名林檎"),
            ("宇多田 ヒカル", "宇多田ヒカル"),
            ("Кино", "кино"),
            ("КИНО", "кино"),
            ("ВИА Гра", "виагра"),
            ("الفرقة", "الفرقة"),
            ("❤️", "❤"),
            ("I ❤️ You", "iyou"),
            ("", ""),
            ("   ", ""),
        ],
    )
    def test_cases(self, name: str, expected: str) -> None:
        assert key(name) == [expected]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("はな", "ばな"),
            ("ハハ", "パパ"),
            ("राम", "रमा"),
            ("किशोर", "कुशार"),
            ("!!!", "???"),
            ("방탄", "방탕"),
            ("❤️", "☀️"),
        ],
    )
    def test_names_that_differ_in_more_than_an_accent_stay_apart(self, first: str, second: str) -> None:
        assert key(first) != key(second)

    @pytest.mark.parametrize(
        ("first", "second"), [("방탄소년단", "방탄소년단"), ("ガール", "ガール"), ("राम", " राम! ")]
    )
    def test_composed_and_decomposed_spellings_meet(self, first: str, second: str) -> None:
        assert key(first) == key(second)

    def test_null_stays_null_and_rows_stay_in_place(self) -> None:
        assert key("The Cure", None, "Muse") == ["cure", None, "muse"]


def raw(*rows: tuple[int, str, str | None]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, {"user_bucket": pl.Int32, "artist_name": pl.String, "artist_id": pl.String}, orient="row")


def found(artists: pl.DataFrame) -> list[tuple]:
    columns = ["user_bucket", "artist_key", "artist_name", "artist_id", "rows"]
    return artists.select(columns).sort("user_bucket", "artist_key").rows()


class TestBucketArtists:
    def test_spellings_of_one_artist_are_one_row_under_the_most_frequent(self) -> None:
        rows = [(0, "the cure", "id")] * 2 + [(0, "The Cure", "id")] * 3 + [(0, "CURE", None)]
        assert found(bucket_artists(raw(*rows))) == [(0, "cure", "The Cure", "id", 6)]

    def test_a_spelling_is_counted_over_all_its_ids(self) -> None:
        rows = [(0, "Muse", "a")] * 2 + [(0, "Muse", None)] * 2 + [(0, "MUSE", "b")] * 3
        assert found(bucket_artists(raw(*rows))) == [(0, "muse", "Muse", "b", 7)]

    def test_an_id_is_counted_over_all_its_spellings(self) -> None:
        rows = [(0, "Muse", "a")] * 3 + [(0, "MUSE", "b")] * 2 + [(0, "muse", "b")] * 2
        assert found(bucket_artists(raw(*rows))) == [(0, "muse", "Muse", "b", 7)]

    def test_the_name_may_come_from_rows_without_id_and_the_id_from_others(self) -> None:
        rows = [(0, "Muse", None)] * 5 + [(0, "MUSE", "m")]
        assert found(bucket_artists(raw(*rows))) == [(0, "muse", "Muse", "m", 6)]

    def test_nobody_has_an_id(self) -> None:
        assert found(bucket_artists(raw((0, "Muse", None)))) == [(0, "muse", "Muse", None, 1)]

    def test_a_tie_goes_to_the_first_in_the_alphabet_in_any_order_of_rows(self) -> None:
        rows = [(0, "muse", "b"), (0, "MUSE", "a"), (0, "Muse", "c")]
        assert found(bucket_artists(raw(*rows))) == [(0, "muse", "MUSE", "a", 3)]
        assert found(bucket_artists(raw(*reversed(rows)))) == [(0, "muse", "MUSE", "a", 3)]

    def test_buckets_do_not_know_of_each_other(self) -> None:
        rows = [(0, "Muse", "a"), (1, "MUSE", "b"), (1, "MUSE", "b"), (1, "!!!", None)]
        assert found(bucket_artists(raw(*rows))) == [
            (0, "muse", "Muse", "a", 1),
            (1, "!!!", "!!!", None, 1),
            (1, "muse", "MUSE", "b", 2),
        ]

    def test_no_rows(self) -> None:
        assert found(bucket_artists(raw())) == []


def artists(*rows: tuple[str, str | None]) -> pl.DataFrame:
    """Return artists of ``(name, id)`` with their number, to see that it stays with them."""
    frame = pl.DataFrame(rows, {"artist_name": pl.String, "artist_id": pl.String}, orient="row")
    return frame.with_columns(artist_key(pl.col("artist_name")).alias("artist_key")).with_row_index("number")


def table(*rows: tuple[str | None, str | None, list[str] | None]) -> pl.DataFrame:
    """Return a genre table of ``(id, name, genres)``."""
    schema: dict[str, Any] = {"artist_id": pl.String, "artist_name": pl.String, "genres": pl.List(pl.String)}
    return pl.DataFrame(rows, schema, orient="row")


def matches(who: pl.DataFrame, *tables: tuple[str | None, pl.DataFrame]) -> list[tuple]:
    return match_genres(who, list(tables)).select("artist_name", "genres", "matched_by").rows()


class TestMatchGenres:
    def test_an_id_beats_a_name(self) -> None:
        known = table(("x", "Muse", ["wrong"]), ("m", "Somebody Else", ["rock", "prog"]))
        assert matches(artists(("Muse", "m")), (None, known)) == [("Muse", ["rock", "prog"], "id")]

    def test_the_name_as_written_beats_the_normalised_name(self) -> None:
        known = table((None, "Beyonce", ["wrong"]), (None, " BEYONCÉ ", ["pop"]))
        assert matches(artists(("beyoncé", None)), (None, known)) == [("beyoncé", ["pop"], "name")]

    def test_the_normalised_name_is_the_last_resort(self) -> None:
        known = table((None, "Simon and Garfunkel", ["folk"]))
        who = artists(("SIMON & GARFUNKEL", "unknown id"))
        assert matches(who, (None, known)) == [("SIMON & GARFUNKEL", ["folk"], "name")]

    def test_missing_stays_missing(self) -> None:
        known = table((None, "Muse", ["rock"]), ("c", None, ["folk"]), (None, None, ["nobody's"]))
        who = artists(("Nobody", None), ("Muse", None), ("Unknown", "c"))
        assert matches(who, (None, known)) == [
            ("Nobody", None, None),
            ("Muse", ["rock"], "name"),
            ("Unknown", ["folk"], "id"),
        ]

    def test_the_first_table_that_knows_an_artist_wins_even_by_name(self) -> None:
        first, second = table((None, "Muse", ["rock"])), table(("m", "Muse", ["prog"]), (None, "Cure", ["goth"]))
        who = artists(("Muse", "m"), ("The Cure", None))
        assert matches(who, (None, first), (None, second)) == [
            ("Muse", ["rock"], "name"),
            ("The Cure", ["goth"], "name"),
        ]
        assert matches(who, (None, second), (None, first))[0] == ("Muse", ["prog"], "id")

    def test_no_genres_in_the_first_table_is_not_knowing(self) -> None:
        first, second = table(("m", "Muse", []), ("m", "Muse", None)), table((None, "Muse", ["rock"]))
        assert matches(artists(("Muse", "m")), (None, first), (None, second)) == [("Muse", ["rock"], "name")]

    def test_a_label_is_what_matched_its_artists(self) -> None:
        labelled, plain = table(("m", "Muse", ["rock"])), table((None, "Cure", ["goth"]), ("m", "Muse", ["wrong"]))
        who = artists(("Cure", None), ("Muse", "m"), ("Nobody", None))
        assert matches(who, ("source", labelled), (None, plain)) == [
            ("Cure", ["goth"], "name"),
            ("Muse", ["rock"], "source"),
            ("Nobody", None, None),
        ]

    def test_of_two_rows_of_one_artist_the_first_counts_and_no_row_is_doubled(self) -> None:
        known = table(("m", "Muse", ["rock"]), ("m", "Muse", ["pop"]), (None, "muse", ["folk"]))
        assert matches(artists(("Muse", "m"), ("MUSE", None)), (None, known)) == [
            ("Muse", ["rock"], "id"),
            ("MUSE", ["rock"], "name"),
        ]

    def test_order_and_other_columns_stay(self) -> None:
        who = artists(*((f"Artist {number * 7 % 50}", None) for number in range(50)))
        known = table(*((None, f"artist {number}", [f"genre {number}"]) for number in range(0, 50, 2)))
        matched = match_genres(who, [(None, known)])
        assert matched.columns == [*who.columns, "genres", "matched_by"]
        assert matched.select(who.columns).equals(who)
        expected = [[f"genre {number * 7 % 50}"] if number * 7 % 50 % 2 == 0 else None for number in range(50)]
        assert matched["genres"].to_list() == expected

    def test_without_tables_nothing_is_known(self) -> None:
        matched = match_genres(artists(("Muse", "m")), [])
        assert matched.select("genres", "matched_by").rows() == [(None, None)]
        assert matched.schema["genres"] == pl.List(pl.String)


class TestGenreCoverage:
    @pytest.mark.parametrize(
        ("rows", "share"),
        [([(["rock"], 3), (None, 1)], 0.75), ([(["rock"], 3)], 1.0), ([(None, 5), (None, 2)], 0.0), ([], None)],
    )
    def test_it_is_the_share_of_rows_not_of_artists(
        self, rows: list[tuple[list[str] | None, int]], share: float | None
    ) -> None:
        frame = pl.LazyFrame(rows, {"genres": pl.List(pl.String), "rows": pl.Int32}, orient="row")
        assert genre_coverage(frame) == share
