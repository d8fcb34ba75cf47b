"""Dumps give the same rows as the API, are read in bounded steps, and are gone on with after a kill."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from samples.listen_dumps import dump_path, write_dump, write_spark_dump
from spotify_dag.settings import Settings
from spotify_dag.simulator.faults_and_limits import Faults
from spotify_dag.simulator.listening import SPAN, START, Listening
from spotify_dag.simulator.world import World
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.listenbrainz import dump
from spotify_dag.sources.listenbrainz.dump import ListenBrainzDump, drop_dumped_user
from spotify_dag.tombstones import Tombstones
from spotify_dag_tests.sources.listenbrainz.installation import Installation, expected_plays, read, user_id

pytestmark = pytest.mark.medium

USERS = 6


@pytest.fixture(scope="module")
def listening() -> Listening:
    world = World(users=USERS, seed=0, playlists=2, tracks=15)
    return Listening(world, 400, no_artist=0.01, unknown_artist=0.01)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr(dump, "BLOCKS_SAVED", 2)
    monkeypatch.setattr(dump, "PART_BYTES", 1 << 13)


def source(path: Path, data: Path, **settings: object) -> ListenBrainzDump:
    return ListenBrainzDump(path, Settings.model_validate({"data": data, "n_buckets": 8, **settings}))


def compared(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("playlist_id") == "listens").drop("fetched_at", "source").sort("user_id", "position")


def test_the_same_rows_come_from_a_dump_and_from_the_api(
    install: Callable[..., Installation], tmp_path: Path, small_blocks: None
) -> None:
    here = install(users=USERS, listens=400, faults=Faults(no_artist=0.01, unknown_artist=0.01))
    users = [user for user in range(USERS) if not here.listening.feedback(user, 1)]
    here.lines = [here.listening.world.user_id(user) for user in users]
    write_dump(dump_path(tmp_path), here.listening, users)
    from_dump, from_api = read(source(dump_path(tmp_path), tmp_path / "data")), here.read()
    assert compared(from_dump.raw).equals(compared(from_api.raw))
    assert from_dump.raw["source"].unique().to_list() == ["listenbrainz-dump"]
    told = ["user_id", "reason", "value", "dropped"]
    assert sorted(from_dump.rejects.select(told).rows()) == sorted(from_api.rejects.select(told).rows())


def test_a_dump_is_divided_into_parts_and_read_once(listening: Listening, tmp_path: Path, small_blocks: None) -> None:
    write_dump(dump_path(tmp_path), listening, range(USERS))
    here = source(dump_path(tmp_path), tmp_path / "data")
    found = read(here)
    assert all(found.plays(number) | {} == plays_of(listening, number) for number in range(USERS))
    (folder,) = (path for path in (tmp_path / "data" / "listenbrainz-dump").iterdir() if path.is_dir())
    assert len(list(folder.glob("*.counts"))) > 2
    dump_path(tmp_path).chmod(0)  # root reads it all the same, so look at the base
    before = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert read(here).raw.drop("fetched_at").equals(found.raw.drop("fetched_at"))
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def plays_of(listening: Listening, number: int) -> dict[tuple[str, str | None], int]:
    """Return the plays of a user: a dump does not say what they hate."""
    world = listening.world
    plays: dict[tuple[str, str | None], int] = {}
    for track, count in zip(*listening.counts(number), strict=True):
        key = world.artists.names[world.tracks.artist[track]], world.tracks.names[track]
        plays[key] = plays.get(key, 0) + int(count)
    return plays


@pytest.fixture(scope="module")
def undisturbed(listening: Listening, tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What a dump holds, read at one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_dump(dump_path(folder), listening, range(USERS))
    return compared(read(source(dump_path(folder), folder / "data")).raw)


@pytest.mark.slow
@pytest.mark.xdist_group("killed-readers")
@pytest.mark.parametrize("kill_at", range(1, 14, 3))
def test_a_killed_reader_is_gone_on_with(
    listening: Listening, undisturbed: pl.DataFrame, tmp_path: Path, small_blocks: None,
    monkeypatch: pytest.MonkeyPatch, kill_at: int,
) -> None:  # fmt: skip
    write_dump(dump_path(tmp_path), listening, range(USERS))
    here, writes = source(dump_path(tmp_path), tmp_path / "data"), 0
    write = dump.write_atomically

    def killed(path: Path, content: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            raise KeyboardInterrupt
        write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(dump, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            read(here)
    (state,) = [*(tmp_path / "data" / "listenbrainz-dump").glob("*/base.json")] or [None]
    offset = json.loads(state.read_bytes())["offset"] if state else 0
    assert (offset > 0) == (kill_at > 1)
    assert compared(read(here).raw).equals(undisturbed)


def test_incremental_dumps_are_added_and_a_new_full_one_begins_anew(listening: Listening, tmp_path: Path) -> None:
    middle = START + SPAN // 2
    folder, data = tmp_path / "dumps", tmp_path / "data"
    folder.mkdir()
    write_dump(dump_path(folder, 5), listening, range(USERS), until=middle)
    write_dump(dump_path(folder, 4, "incremental"), listening, range(USERS))  # before the full one
    here = source(folder, data, listenbrainz_least_listens=1)
    half, version = read(here), here.version()
    write_dump(dump_path(folder, 6, "incremental"), listening, range(USERS), since=middle)
    assert here.version() != version
    whole = read(here)
    assert all(whole.plays(number) == plays_of(listening, number) for number in range(USERS))
    assert half.raw["plays"].sum() < whole.raw["plays"].sum()
    # The next full dump lacks a user, who has deleted their account.
    write_dump(dump_path(folder, 7), listening, range(USERS - 1))
    assert set(read(here).users["user_id"]) == {user_id(number) for number in range(USERS - 1)}
    assert len([path for path in (data / "listenbrainz-dump").iterdir() if path.is_dir()]) == 1


def test_users_are_chosen_by_activity(listening: Listening, tmp_path: Path) -> None:
    write_dump(dump_path(tmp_path), listening, range(USERS))
    sizes = {user_id(number): len(listening.listens(number).at) for number in range(USERS)}
    least = sorted(sizes.values())[2]
    found = read(source(dump_path(tmp_path), tmp_path / "a", listenbrainz_least_listens=least))
    assert set(found.users["user_id"]) == {user for user, size in sizes.items() if size >= least}
    found = read(source(dump_path(tmp_path), tmp_path / "b", profiles_count=2), profiles_count=2)
    assert set(found.users["user_id"]) == set(sorted(sizes, key=lambda user: -sizes[user])[:2])


def test_the_variant_for_spark(listening: Listening, tmp_path: Path) -> None:
    path = tmp_path / "listenbrainz-spark-dump-1-20260101-000003-full.tar"
    write_spark_dump(path, listening, range(USERS))
    found = read(source(path, tmp_path / "data"))
    for number in range(USERS):
        rows = found.raw.filter(pl.col("user_id") == f"listenbrainz-#{number}")
        counted = rows.group_by("artist_name", "track_name").agg(pl.col("plays").sum())
        assert {(artist, title): plays for artist, title, plays in counted.iter_rows()} == plays_of(listening, number)


def test_damaged_lines_are_counted_and_the_others_read(listening: Listening, tmp_path: Path) -> None:
    extra = [b"no json", b'{"user_name": 7}', b'{"user_name": "x", "track_metadata": "text"}', b"\xff\xfe", b"[]", b""]
    write_dump(dump_path(tmp_path), listening, range(USERS), extra=extra)
    found = read(source(dump_path(tmp_path), tmp_path / "data"))
    assert all(found.plays(number) == plays_of(listening, number) for number in range(USERS))
    (told,) = found.rejects.filter(pl.col("reason") == "not readable as JSON")["value"]
    assert told == "2"


def test_a_line_without_an_end_loses_nothing_but_itself(
    listening: Listening, tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "LONGEST_LINE", 1 << 14)
    write_dump(dump_path(tmp_path), listening, range(USERS), extra=[b'{"user_name": "' + b"x" * (1 << 19), b"no json"])
    found = read(source(dump_path(tmp_path), tmp_path / "data"))
    assert all(found.plays(number) == plays_of(listening, number) for number in range(USERS))
    (told,) = found.rejects.filter(pl.col("reason") == "not readable as JSON")["value"]
    assert told == "2"  # of the long line what came last


def test_blocks_end_where_lines_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dump, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(dump, "LONGEST_LINE", 2000)
    lines = [json.dumps({"user_name": f"user-{number}"}).encode() for number in range(500)]
    lines[250] = b'"' + b"x" * 10_000
    content = b"\n".join(lines)
    blocks = list(dump._lines_of(io.BytesIO(content), 7))
    assert blocks[-1].end == 7 + len(content)
    bounds = [0, *(block.end - 7 for block in blocks)]
    assert bounds == sorted(bounds)
    for block, start, end in zip(blocks, bounds, bounds[1:], strict=False):
        expected = {line for line in lines if line in content[start:end].split(b"\n") and line != lines[250]}
        counts, _ = block.count()
        assert {json.dumps({"user_name": name}).encode() for name in counts["user_name"].drop_nulls()} == expected
    assert sum(block.count()[0].drop_nulls("user_name").height for block in blocks) == 499


def test_a_dump_that_is_cut_short_says_so_and_keeps_what_was_read(
    listening: Listening, tmp_path: Path, small_blocks: None
) -> None:
    path = dump_path(tmp_path)
    write_dump(path, listening, range(USERS))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read to its end: it is cut short"):
        read(source(path, tmp_path / "data"))
    (state,) = (tmp_path / "data" / "listenbrainz-dump").glob("*/base.json")
    assert json.loads(state.read_bytes())["offset"] > 0


def test_forgotten_users_leave_the_base_and_never_enter_it(listening: Listening, tmp_path: Path) -> None:
    write_dump(dump_path(tmp_path), listening, range(USERS))
    here = source(dump_path(tmp_path), tmp_path / "data")
    read(here)
    assert drop_dumped_user(tmp_path / "data", user_id(3)) > 0
    assert drop_dumped_user(tmp_path / "data", user_id(3)) == 0
    assert user_id(3) not in set(read(here).users["user_id"])
    other = source(dump_path(tmp_path), tmp_path / "other")
    Tombstones(tmp_path / "other").add(user_id(2))
    assert user_id(2) not in set(read(other).users["user_id"])
    assert drop_dumped_user(tmp_path / "other", user_id(2)) == 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tar.zst", b"not zstd at all", "is no zstd file"),
        (None, b"", "is no dump of ListenBrainz"),
        ("listenbrainz-listens-dump-2-20260101-000003-incremental.tar.zst", b"", "no full one"),
    ],
)
def test_what_is_no_dump_is_refused(tmp_path: Path, name: str | None, content: bytes, message: str) -> None:
    path = tmp_path / "dumps"
    path.mkdir()
    if name:
        (path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        source(path / name if name == "x.tar.zst" else path, tmp_path / "data")


def test_expected_plays_leave_out_what_is_hated(listening: Listening) -> None:
    hater = next((user for user in range(USERS) if listening.feedback(user, -1)), None)
    if hater is not None:
        assert len(expected_plays(listening, hater)) < len(plays_of(listening, hater))
