"""Tables say one thing everywhere: buckets that never move, rows that conform or are refused."""

from __future__ import annotations

import polars as pl
import pytest
from polars.exceptions import InvalidOperationError

from spotify_dag.schemas import EMBEDDINGS, TABLES, USER_EMBEDDINGS, Column, Table, polars_dtype, user_buckets

PLAYS = Table(
    "plays",
    "A table of these tests.",
    key=("user_id",),
    columns=(
        Column("user_bucket", "int32", "Bucket"),
        Column("user_id", "str", "User"),
        Column("year", "int16", "Year", nullable=True),
        Column("genres", "list[str]", "Genres", nullable=True),
        Column("weight", "float32", "Weight"),
    ),
)


class TestUserBuckets:
    @pytest.mark.parametrize(
        ("user", "digest"),
        # printf '%s' USER | b2sum -l 64
        [
            ("synthetic-000000", 0xA17EB95A03153AE3),
            ("alice", 0x4DEAEC0CCE54DA89),
            ("Zoë", 0x789FB70695EF899A),
            ("", 0xE4A6A0577479B2B4),
        ],
    )
    def test_a_bucket_is_the_hash_of_the_user_modulo_the_number_of_buckets(self, user: str, digest: int) -> None:
        assert [user_buckets([user], n)[0] for n in (1, 64, 100, 4096)] == [digest % n for n in (1, 64, 100, 4096)]

    def test_known_users_stay_in_their_partitions(self) -> None:
        assert user_buckets(["synthetic-000000", "alice", "Zoë", "", "alice"], 64) == [35, 9, 26, 52, 9]

    def test_users_spread_evenly_over_64_buckets(self) -> None:
        buckets = user_buckets([f"synthetic-{number:06d}" for number in range(64_000)], 64)
        counts = [buckets.count(bucket) for bucket in range(64)]
        assert sum(counts) == 64_000
        # 1,000 each, with a standard deviation of 31: five of them to either side.
        assert min(counts) > 845
        assert max(counts) < 1_155
        # Chi-square with 63 degrees of freedom: above 110 once in 5,000 fair draws.
        assert sum((count - 1_000) ** 2 / 1_000 for count in counts) < 110

    def test_no_user_no_bucket(self) -> None:
        assert user_buckets([], 64) == []


class TestConform:
    def test_columns_come_in_table_order_cast_and_others_go(self) -> None:
        frame = pl.DataFrame(
            {
                "weight": [1, 2],
                "note": ["x", "y"],
                "genres": [["rock", "pop"], None],
                "year": ["1999", None],
                "user_id": ["ann", "bob"],
                "user_bucket": [3.0, 4.0],
            }
        )
        conformed = PLAYS.conform(frame)
        assert conformed.rows() == [(3, "ann", 1999, ["rock", "pop"], 1.0), (4, "bob", None, None, 2.0)]
        assert conformed.schema == {
            "user_bucket": pl.Int32,
            "user_id": pl.String,
            "year": pl.Int16,
            "genres": pl.List(pl.String),
            "weight": pl.Float32,
        }

    def test_a_nullable_column_that_is_missing_is_filled_with_null(self) -> None:
        frame = pl.DataFrame({"user_bucket": [1, 2], "user_id": ["ann", "bob"], "weight": [0.5, 0.25]})
        conformed = PLAYS.conform(frame)
        assert conformed.rows() == [(1, "ann", None, None, 0.5), (2, "bob", None, None, 0.25)]
        assert conformed.schema == PLAYS.polars_schema()

    def test_no_rows_stay_no_rows(self) -> None:
        frame = pl.DataFrame(schema={"user_bucket": pl.Int64, "user_id": pl.String, "weight": pl.Float64})
        assert PLAYS.conform(frame).equals(PLAYS.empty())

    def test_every_missing_required_column_is_named(self) -> None:
        with pytest.raises(
            ValueError, match=r"^Table 'plays' needs the column\(s\) user_bucket, weight, which"
        ) as told:
            PLAYS.conform(pl.DataFrame({"user_id": ["ann"], "genres": [["rock"]]}))
        assert "year" not in str(told.value)

    def test_a_null_in_a_required_column_is_refused(self) -> None:
        frame = pl.DataFrame(
            {"user_bucket": [1, 2], "user_id": ["ann", None], "weight": [None, 0.5], "year": [None, 1]}
        )
        with pytest.raises(ValueError, match=r"^Table 'plays' got null in user_id, weight, which"):
            PLAYS.conform(frame)

    @pytest.mark.parametrize("year", ["next year", 100_000])
    def test_a_value_that_does_not_fit_is_refused(self, year: str | int) -> None:
        frame = pl.DataFrame({"user_bucket": [1], "user_id": ["ann"], "weight": [0.5], "year": [year]})
        with pytest.raises(InvalidOperationError, match="conversion"):
            PLAYS.conform(frame)

    def test_a_conformed_frame_conforms(self) -> None:
        frame = pl.DataFrame({"user_bucket": [1], "user_id": ["ann"], "weight": [0.1]})
        once = PLAYS.conform(frame)
        assert PLAYS.conform(once).equals(once)


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("str", pl.String),
        ("bool", pl.Boolean),
        ("int64", pl.Int64),
        ("timestamp", pl.Datetime("us", "UTC")),
        ("list[float32]", pl.List(pl.Float32)),
        ("list[list[str]]", pl.List(pl.List(pl.String))),
    ],
)
def test_type_strings(text: str, dtype: pl.DataType) -> None:
    assert polars_dtype(text) == dtype


def test_an_unknown_type_string_is_refused() -> None:
    with pytest.raises(KeyError, match="float16"):
        polars_dtype("list[float16]")


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
class TestEveryTable:
    def test_is_described(self, table: Table) -> None:
        assert table.doc.endswith(".")
        assert [column.name for column in table.columns if not column.doc.strip()] == []

    def test_key_and_partition_are_columns_that_always_have_a_value(self, table: Table) -> None:
        required = {column.name for column in table.columns if not column.nullable}
        assert {*table.key, table.partition_by} <= required
        assert len(set(table.key)) == len(table.key)

    def test_column_names_are_unique(self, table: Table) -> None:
        assert len(set(table.column_names)) == len(table.column_names)

    def test_an_empty_frame_has_its_columns_and_no_rows(self, table: Table) -> None:
        empty = table.empty()
        assert (empty.height, empty.columns) == (0, table.column_names)
        assert empty.schema == table.polars_schema()


def test_table_names_are_unique() -> None:
    assert len({table.name for table in TABLES}) == len(TABLES)


def test_every_embedding_may_be_null() -> None:
    columns = {column.name: column for column in USER_EMBEDDINGS.columns}
    assert [(columns[name].dtype, columns[name].nullable) for name in EMBEDDINGS] == [("list[float32]", True)] * 4
