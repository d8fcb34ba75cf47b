"""Ingestion: whatever the buckets, every row of every source ends up kept or rejected, once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from spotify_dag.schemas import INGESTS, RAW_PLAYLISTS, REJECTS, USERS, user_buckets
from spotify_dag.sources.base import Batch, Source, no_rejects
from spotify_dag.sources.export.kept import ExportSource, kept_frame
from spotify_dag.sources.handed_in import GivenRequests, UserRequest, request_rows, requests_in
from spotify_dag.sources.ingestion import Ingestion, source_version, source_versions
from spotify_dag.sources.lastfm import PLAYS_360K, LastfmSource
from spotify_dag.sources.mpd import MpdSource
from spotify_dag.sources.synthetic import SyntheticSource

N_BUCKETS = 8
ALL = tuple(range(N_BUCKETS))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Ingested:
    raw: pl.DataFrame
    users: pl.DataFrame
    rejects: pl.DataFrame
    ingests: pl.DataFrame

    def sorted(self) -> Ingested:
        keys = ["user_bucket", "source"]
        return Ingested(
            self.raw.sort(*keys, "user_id", "playlist_position", "position"),
            self.users.sort(*keys, "user_id"),
            self.rejects.sort(*keys, "file", "row", "field", "user_id", "value", "reason"),
            self.ingests.sort(keys),
        )


def ingest(*sources: Source, buckets: Sequence[int] = ALL, profiles_count: int | None = None) -> Ingested:
    """Read sources in one pass."""
    ingestion = Ingestion(sources, buckets=buckets, n_buckets=N_BUCKETS, profiles_count=profiles_count, now=NOW)
    raw = pl.concat([RAW_PLAYLISTS.empty(), *ingestion.records()])
    found = Ingested(raw, ingestion.users(), ingestion.rejects(), ingestion.ingests())
    for frame, table in zip(
        (found.raw, found.users, found.rejects, found.ingests), (RAW_PLAYLISTS, USERS, REJECTS, INGESTS), strict=True
    ):
        assert frame.schema == table.polars_schema()
    return found


def track(position: int, artist: Any = "Air", **fields: Any) -> dict[str, Any]:
    return {"pos": position, "artist_name": artist, "track_uri": f"spotify:track:T{position}", **fields}


def playlist(pid: int, *tracks: Any) -> dict[str, Any]:
    return {"pid": pid, "name": f"list {pid}", "tracks": list(tracks)}


def slices(folder: Path, *contents: Sequence[Any]) -> MpdSource:
    """Write slices of the Million Playlist Dataset, one batch each; a user is a playlist there."""
    folder.mkdir(exist_ok=True)
    for number, playlists in enumerate(contents):
        file = folder / f"mpd.slice.{number * 1_000}-{number * 1_000 + 999}.json"
        file.write_text(json.dumps({"playlists": list(playlists)}))
    return MpdSource(folder)


def plays(folder: Path, lines: Sequence[str]) -> LastfmSource:
    """Write a table of Last.fm-360K; users are runs of lines."""
    folder.mkdir(exist_ok=True)
    (folder / PLAYS_360K).write_text("\n".join(lines) + "\n")
    return LastfmSource(folder)


@pytest.fixture
def mixed(tmp_path: Path) -> list[Source]:
    """Three sources with 60 users and bad rows of many kinds."""
    mpd = slices(
        tmp_path / "mpd",
        [playlist(pid, track(0), track(1, ""), track(2, release_year=99_999)) for pid in range(20)],
        [playlist(20, track(0, ""), track(1, "")), "no playlist", playlist(21), playlist(22, *map(track, range(9)))],
    )
    lastfm = plays(
        tmp_path / "lastfm",
        [
            line
            for user in range(7)
            for line in (
                f"{user:040x}\tm\tAir\t5",
                f"{user:040x}\tm\tBjörk\tmany",
                "no line at all",
                f"\tm\tNobody's\t{user}",
                f"{user:040x}\tm\tCan\t{user}",
            )
        ],
    )
    return [mpd, lastfm, SyntheticSource(users=30, playlists=2, tracks=4)]


class TestBuckets:
    @pytest.mark.medium
    def test_they_partition_what_one_pass_over_all_finds(self, mixed: list[Source]) -> None:
        whole = ingest(*mixed).sorted()
        parts = [ingest(*mixed, buckets=buckets) for buckets in ([0], [1, 5], [2, 3, 4], [6], [7])]
        for name in ("raw", "users", "rejects", "ingests"):
            union = pl.concat(getattr(part, name) for part in parts)
            merged = Ingested(**{**vars(whole), name: union}).sorted()
            assert_frame_equal(getattr(merged, name), getattr(whole, name))
        assert whole.users.height == 23 + 7 + 30
        assert whole.users["user_id"].is_unique().all()

    def test_rows_carry_the_bucket_of_their_user_and_where_they_came_from(self, mixed: list[Source]) -> None:
        found = ingest(*mixed)
        for frame in (found.raw, found.users):
            assert frame["user_bucket"].to_list() == user_buckets(frame["user_id"].to_list(), N_BUCKETS)
            assert set(frame["fetched_at"]) == {NOW}
        assert dict(found.users.group_by("source").len().iter_rows()) == {"mpd": 23, "lastfm": 7, "synthetic": 30}
        assert found.raw.group_by("source").len().sort("source").rows() == [
            ("lastfm", 7 + 6),  # nobody plays 0 times
            ("mpd", 20 * 2 + 9),
            ("synthetic", found.users.filter(source="synthetic")["rows_kept"].sum()),
        ]

    def test_other_buckets_are_left_out(self, mixed: list[Source]) -> None:
        found = ingest(*mixed, buckets=[3])
        for frame in (found.raw, found.users, found.rejects, found.ingests):
            assert set(frame["user_bucket"]) <= {3}
        assert 0 < found.users.height < 60

    def test_of_no_sources_there_are_no_rows(self) -> None:
        found = ingest()
        assert [frame.height for frame in (found.raw, found.users, found.rejects, found.ingests)] == [0] * 4


class TestCounts:
    def test_what_was_read_is_kept_or_rejected(self, mixed: list[Source]) -> None:
        found = ingest(*mixed)
        totals = {
            source: (read, kept, rejected, users)
            for source, read, kept, rejected, users in found.ingests.group_by("source")
            .agg(pl.col("rows_read", "rows_kept", "rows_rejected", "users").sum())
            .iter_rows()
        }
        items = found.users.filter(source="synthetic")["rows_kept"].sum()
        assert totals == {
            # 20 x (2 kept, 1 bad) and 1 x (2 bad) and 1 x 9, and the one that is no playlist.
            "mpd": (72, 49, 23, 23),
            # 7 x 3 of a user, the many and the 0 plays are bad, 7 that are no line, 7 of nobody.
            "lastfm": (35, 13, 22, 7),
            "synthetic": (items, items, 0, 30),
        }
        for row in found.ingests.iter_rows(named=True):
            assert row["rows_read"] == row["rows_kept"] + row["rows_rejected"]

    def test_they_are_those_of_the_rows(self, mixed: list[Source]) -> None:
        found = ingest(*mixed)
        key = ["user_bucket", "source"]
        expected = found.ingests.select(key)
        for name, counted in (
            ("rows_kept", found.raw.group_by(key).agg(pl.len().cast(pl.Int64).alias("rows_kept"))),
            ("users", found.users.group_by(key).agg(pl.len().cast(pl.Int32).alias("users"))),
        ):
            expected = expected.join(counted, on=key, how="left").with_columns(pl.col(name).fill_null(0))
        assert_frame_equal(found.ingests.select(*key, "rows_kept", "users"), expected, check_row_order=False)
        per_user = found.raw.group_by("user_id").agg(pl.len().cast(pl.Int32).alias("rows_kept"))
        assert_frame_equal(
            found.users.filter(pl.col("rows_kept") > 0).select("user_id", "rows_kept"), per_user, check_row_order=False
        )

    def test_there_is_a_row_per_bucket_and_source_zeros_included(self, tmp_path: Path) -> None:
        empty = slices(tmp_path / "mpd", [])
        one = plays(tmp_path / "lastfm", [f"{1:040x}\tm\tAir\t5"])
        (bucket,) = user_buckets([f"lastfm-{1:040x}"], N_BUCKETS)
        found = ingest(empty, one, buckets=[7, bucket, 0])
        counts = found.ingests.select(
            "user_bucket", "source", "rows_read", "rows_kept", "rows_rejected", "users"
        ).rows()
        assert sorted(counts) == sorted(
            [(number, "mpd", 0, 0, 0, 0) for number in {7, bucket, 0}]
            + [(number, "lastfm", *([number == bucket] * 2), 0, number == bucket) for number in {7, bucket, 0}]
        )
        assert set(found.ingests["fetched_at"]) == {NOW}

    def test_a_value_left_out_does_not_make_its_row_a_rejected_one(self, tmp_path: Path) -> None:
        found = ingest(slices(tmp_path, [playlist(1, track(0, release_year=99_999, popularity=101))]))
        assert found.rejects["dropped"].to_list() == [False, False]
        (row,) = found.ingests.filter(pl.col("users") > 0).iter_rows(named=True)
        assert (row["rows_read"], row["rows_kept"], row["rows_rejected"]) == (1, 1, 0)

    def test_a_row_with_two_faults_is_one_row(self, tmp_path: Path) -> None:
        found = ingest(plays(tmp_path, [f"{1:040x}\tm\tAir\t5", f"{1:040x}\tm\t\t-5"]))
        assert found.rejects["reason"].to_list() == ["no artist name", "not a positive number of plays"]
        (row,) = found.ingests.filter(pl.col("users") > 0).iter_rows(named=True)
        assert (row["rows_read"], row["rows_kept"], row["rows_rejected"]) == (2, 1, 1)


class TestUsersAndRejects:
    def test_a_user_with_only_bad_rows_is_a_user_with_none(self, tmp_path: Path) -> None:
        found = ingest(slices(tmp_path, [playlist(1, track(0)), playlist(2, track(0, "")), playlist(3)]))
        rows = found.users.select("user_id", "rows_kept").sort("user_id").rows()
        assert rows == [("mpd-1", 1), ("mpd-2", 0), ("mpd-3", 0)]
        assert found.users.filter(rows_kept=0)["content_hash"].to_list() == [0, 0]
        assert found.raw["user_id"].to_list() == ["mpd-1"]

    def test_rejects_are_filed_under_one_bucket_each(self, mixed: list[Source]) -> None:
        found = ingest(*mixed)
        owners = found.rejects.select(pl.coalesce("user_id", "file"))["user_id"].to_list()
        assert found.rejects["user_bucket"].to_list() == user_buckets(owners, N_BUCKETS)
        # The one that is no playlist, 7 lines that are none, 7 rows of nobody; one of these has a second fault.
        assert found.rejects["user_id"].null_count() == 1 + 7 + 7 + 1
        assert found.rejects.group_by("reason").len().sort("len", "reason").rows()[-2:] == [
            (f"not a year from 1900 to {datetime.now(UTC).year + 1}", 20),
            ("no artist name", 22),
        ]
        for source in ("mpd", "lastfm"):
            nobodys = found.rejects.filter(pl.col("user_id").is_null(), source=source)
            assert nobodys["user_bucket"].n_unique() == nobodys["file"].n_unique()

    def test_rejects_tell_source_file_row_and_value(self, tmp_path: Path) -> None:
        (row,) = ingest(slices(tmp_path, [playlist(1, track(0), track(1, "x" * 999))])).rejects.iter_rows(named=True)
        assert row == {
            "user_bucket": user_buckets(["mpd-1"], N_BUCKETS)[0],
            "source": "mpd",
            "fetched_at": NOW,
            "file": "mpd.slice.0-999.json",
            "row": 1,
            "user_id": "mpd-1",
            "field": "artist_name",
            "value": "x" * 80,
            "reason": "longer than 500 characters",
            "dropped": True,
        }


class TestContentHash:
    def hashes(self, source: Source) -> dict[str, int]:
        return dict(ingest(source).users.select("user_id", "content_hash").iter_rows())

    def test_it_does_not_depend_on_the_order_of_rows(self, tmp_path: Path) -> None:
        @dataclass(frozen=True)
        class Shuffled(MpdSource):
            """The same rows in another order."""

            def batches(self) -> Iterator[Batch]:
                for batch in super().batches():
                    yield replace(batch, records=batch.records.sample(fraction=1, shuffle=True, seed=1))

        users = [playlist(pid, *(track(number, f"Artist {number}") for number in range(50))) for pid in range(5)]
        straight = self.hashes(slices(tmp_path / "a", users))
        assert len(set(straight.values())) == 5
        assert self.hashes(Shuffled(tmp_path / "a")) == straight
        assert self.hashes(slices(tmp_path / "b", users[:1:-1], users[1::-1])) == straight

    @pytest.mark.process
    def test_it_does_not_depend_on_buckets_time_or_process(self, tmp_path: Path) -> None:
        source = slices(tmp_path, [playlist(pid, track(0), track(1, "Björk 🎵")) for pid in range(9)])
        hashes = self.hashes(source)
        for bucket in ALL:
            part = ingest(source, buckets=[bucket]).users
            assert dict(part.select("user_id", "content_hash").iter_rows()).items() <= hashes.items()
        code = f"""
import json
from datetime import UTC, datetime
from pathlib import Path
from spotify_dag.sources.handed_in import GivenRequests, UserRequest, request_rows, requests_in
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.mpd import MpdSource

ingestion = Ingestion(
    [MpdSource(Path({str(tmp_path)!r}))], buckets=range(8), n_buckets=8, profiles_count=None, now=datetime.now(UTC)
)
list(ingestion.records())
print(json.dumps(dict(ingestion.users().select("user_id", "content_hash").iter_rows())))
"""
        printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert json.loads(printed) == hashes

    @pytest.mark.parametrize(
        "changed",
        [
            [track(0), track(1, "Björk")],
            [track(0), track(1), track(2)],
            [track(0)],
            [track(0), track(1, track_uri="spotify:track:T9")],
            [track(0), track(1, release_year=1999)],
            [track(0), track(1, explicit=False)],
            [track(0), track(1), track(1)],
            [],
        ],
    )
    def test_it_changes_with_the_content_of_that_user_only(self, tmp_path: Path, changed: list[Any]) -> None:
        before = self.hashes(slices(tmp_path / "a", [playlist(1, track(0), track(1)), playlist(2, track(0))]))
        after = self.hashes(slices(tmp_path / "b", [playlist(1, *changed), playlist(2, track(0))]))
        assert after["mpd-1"] != before["mpd-1"]
        assert after["mpd-2"] == before["mpd-2"]

    def test_a_row_that_is_left_out_does_not_change_it(self, tmp_path: Path) -> None:
        before = self.hashes(slices(tmp_path / "a", [playlist(1, track(0))]))
        assert self.hashes(slices(tmp_path / "b", [playlist(1, track(0), track(1, ""))])) == before


class TestProfilesCount:
    @pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 100])
    @pytest.mark.medium
    def test_the_first_users_of_each_source_are_taken(self, tmp_path: Path, count: int) -> None:
        """Batches hold 3, 0, 2 and 2 users. The second user has no good row."""
        bad, none = playlist(2, track(0, "")), playlist(3)
        mpd = slices(
            tmp_path / "mpd",
            [playlist(1, track(0)), bad, none],
            ["no playlist"],
            [playlist(4, track(0)), playlist(5, track(0))],
            [playlist(6, track(0), track(1, "")), playlist(7, track(0))],
        )
        world = SyntheticSource(users=30, playlists=1, tracks=2)
        found = ingest(mpd, world, profiles_count=count)
        assert set(found.users["user_id"]) == {f"mpd-{number + 1}" for number in range(min(count, 7))} | {
            f"synthetic-{number:06d}" for number in range(min(count, 30))
        }
        assert set(found.raw.filter(source="mpd")["user_id"]) == {
            f"mpd-{number}" for number in (1, 4, 5, 6, 7) if number <= count
        }
        counted = found.ingests.filter(source="mpd").select(pl.col("rows_read", "rows_kept", "rows_rejected").sum())
        kept = sum(number <= count for number in (1, 4, 5, 6, 7))
        rejected = sum(number <= count for number in (2, 6))
        assert counted.row(0) == (kept + rejected, kept, rejected)

    @pytest.mark.medium
    def test_the_same_users_whatever_the_buckets(self, mixed: list[Source]) -> None:
        whole = ingest(*mixed, profiles_count=5)
        parts = [ingest(*mixed, buckets=[bucket], profiles_count=5) for bucket in ALL]
        union = pl.concat(part.users for part in parts)
        assert_frame_equal(union, whole.users, check_row_order=False)
        assert whole.users.height == 15

    def test_no_more_batches_are_read_than_are_needed(self, tmp_path: Path) -> None:
        mpd = slices(tmp_path, *([playlist(number, track(0))] for number in range(6)))
        read: list[int] = []
        ingestion = Ingestion([mpd], buckets=ALL, n_buckets=N_BUCKETS, profiles_count=2, now=NOW)
        assert sum(frame.height for frame in ingestion.records(read.append)) == 2
        assert read == [1, 1]


class TestVersion:
    def test_it_is_that_of_the_source_and_of_the_number_of_users(self, mixed: list[Source]) -> None:
        found = ingest(*mixed)
        assert dict(found.ingests.select("source", "source_version").iter_rows()) == {
            source.name: source.version() for source in mixed
        }
        versions = {source_version(mixed[0], count) for count in (None, 1, 2)}
        assert len(versions) == 3
        few = ingest(*mixed, profiles_count=2).ingests
        assert set(few.filter(source="mpd")["source_version"]) == {source_version(mixed[0], 2)}

    def test_it_is_taken_before_anything_is_read(self, tmp_path: Path) -> None:
        """A file that changes while it is read is then seen to have changed, and read again."""
        mpd = slices(tmp_path, [playlist(1, track(0))], [playlist(2, track(0))])
        before = mpd.version()
        ingestion = Ingestion([mpd], buckets=ALL, n_buckets=N_BUCKETS, profiles_count=None, now=NOW)
        records = ingestion.records()
        next(records)
        slices(tmp_path, [playlist(1, track(0), track(1))], [playlist(2, track(0))])
        list(records)
        assert set(ingestion.ingests()["source_version"]) == {before}
        assert mpd.version() != before


class TestRequests:
    """Users who were handed in one by one, each with a file of their own."""

    @pytest.fixture
    def handed_in(self, tmp_path: Path) -> ExportSource:
        """Nine users with one to nine items; every third is private."""
        requests = []
        for number in range(9):
            user, content = f"export-{number}", f"{number:016x}-{0:016x}.parquet"
            items = pl.DataFrame({"position": range(number + 1)}).with_columns(
                user_id=pl.lit(user),
                playlist_id=pl.lit("liked"),
                playlist_position=pl.lit(1),
                artist_name=pl.lit("Air"),
            )
            kept_frame(items, no_rejects()).write_parquet(tmp_path / content)
            requests.append(UserRequest("export", user, content, opted_in=number % 3 > 0, requested_at=NOW))
        return ExportSource(GivenRequests.of(requests), tmp_path)

    def buckets_of(self, source: ExportSource) -> dict[str, int]:
        users = source.requests.rows([0], 1)["user_id"].to_list()
        return dict(zip(users, user_buckets(users, N_BUCKETS), strict=True))

    def test_each_bucket_has_a_version_of_its_own(self, handed_in: ExportSource) -> None:
        versions = source_versions(handed_in, n_buckets=N_BUCKETS, profiles_count=None)
        assert set(versions) == set(self.buckets_of(handed_in).values())
        assert len(set(versions.values())) == len(versions)
        requests = requests_in(handed_in.requests.rows([0], 1))
        fewer = handed_in.only(request_rows(requests[:-1]))
        after = source_versions(fewer, n_buckets=N_BUCKETS, profiles_count=None)
        changed = {bucket for bucket, version in versions.items() if after.get(bucket) != version}
        assert changed == {self.buckets_of(handed_in)["export-8"]}
        told = replace(requests[4], opted_in=not requests[4].opted_in)
        other = handed_in.only(request_rows([*requests[:4], told, *requests[5:]]))
        after = source_versions(other, n_buckets=N_BUCKETS, profiles_count=None)
        changed = {bucket for bucket, version in versions.items() if after[bucket] != version}
        assert changed == {self.buckets_of(handed_in)["export-4"]}

    def test_buckets_read_their_own_users_only(self, handed_in: ExportSource) -> None:
        whole = ingest(handed_in)
        assert whole.users.select("user_id", "rows_kept", "opted_in").sort("user_id").rows() == [
            (f"export-{number}", number + 1, number % 3 > 0) for number in range(9)
        ]
        buckets = self.buckets_of(handed_in)
        for bucket in ALL:
            ingestion = Ingestion([handed_in], buckets=[bucket], n_buckets=N_BUCKETS, profiles_count=None, now=NOW)
            (source,) = ingestion.sources
            assert isinstance(source, ExportSource)
            mine = [user for user, number in buckets.items() if number == bucket]
            assert source.requests.rows([0], 1)["user_id"].to_list() == mine
            assert sum(frame.height for frame in ingestion.records()) == sum(int(user[-1]) + 1 for user in mine)
            assert ingestion.ingests().height == (1 if mine else 0)
            assert ingestion.users()["user_id"].to_list() == mine

    def test_of_the_first_users_only(self, handed_in: ExportSource) -> None:
        found = ingest(handed_in, profiles_count=2)
        assert sorted(found.users["user_id"]) == ["export-0", "export-1"]
        parts = [ingest(handed_in, buckets=[bucket], profiles_count=2) for bucket in ALL]
        assert_frame_equal(pl.concat(part.users for part in parts), found.users, check_row_order=False)
        assert sorted(pl.concat(part.ingests for part in parts).rows()) == sorted(found.ingests.rows())

    def test_others_are_all_opted_in(self, mixed: list[Source]) -> None:
        assert ingest(*mixed).users["opted_in"].all()
