"""A data root in object storage, on a real server: it holds what one in a folder holds, and forgets as well."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from multiprocessing.synchronize import Event
from pathlib import Path
from threading import Timer
from typing import Any
from uuid import uuid4

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from spotify_dag.app.snapshot import Snapshot
from spotify_dag.definitions import build_definitions
from spotify_dag.inbox.registered_sources import Inbox
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.locks import _CONNECTIONS, LockError, locked, locked_in_order
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.root import ObjectPath, Root, RootError
from spotify_dag.schemas import TABLES
from spotify_dag.settings import Settings
from spotify_dag.sources.handed_in import GivenRequests, RequestSource
from spotify_dag_tests.scenarios.servers import Ceph, Postgres

pytestmark = [pytest.mark.process, pytest.mark.slow]

USERS = int(os.environ.get("SPOTIFY_DAG_TEST_USERS", "60"))
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def bucket(ceph: Ceph, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectPath:
    for name, value in ceph.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SPOTIFY_DAG_LOCAL", str(tmp_path / "local"))
    monkeypatch.setenv("SPOTIFY_DAG_POSTGRES_URL", postgres.url)
    name = f"bucket-{uuid4().hex[:12]}"
    ceph.make_bucket(name)
    return ObjectPath(name, "root", postgres.url)


def made(root: Root, users: int) -> Project:
    project = Project.open(Settings(data=root, n_buckets=8))
    project.check_layout()
    project.inbox.register_source("synthetic", {"users": users, "playlists": 3, "tracks": 20})
    with dg.DagsterInstance.ephemeral() as instance:
        stages = list(bring_up_to_date(project, build_definitions(settings=project.settings), instance))
    assert [stage.stage for stage in stages] == ["ingest", "features", "tracks", "train", "index"]
    return project


def rows(project: Project) -> dict[str, pl.DataFrame]:
    tables = {table.name: project.lake.scan(table).collect() for table in TABLES if project.lake.exists(table)}
    return {
        name: frame.select(pl.exclude(pl.Datetime)).sort(pl.all().exclude(pl.List, pl.Array))
        for name, frame in tables.items()
    }


def matches(project: Project) -> dict[str, list[dict[str, Any]]]:
    users = sorted(rows(project)["users"]["user_id"])
    _, answers = project.matcher.recommend(users, 10)
    return {user: [match.as_dict() for match in answer] for user, answer in zip(users, answers, strict=True)}


def snapshot_matches(project: Project, user: str) -> list[dict[str, Any]]:
    snapshot = Snapshot.read(project)
    return [match.as_dict() for match in snapshot.matches(snapshot.person(user, shown=False), 10)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("users", [USERS])
def test_the_graph_makes_there_what_it_makes_in_a_folder(
    bucket: ObjectPath, users: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = made(bucket, users)
    monkeypatch.delenv("SPOTIFY_DAG_LOCAL")
    here = made(tmp_path / "folder", users)
    expected, tables = rows(here), rows(there)
    assert tables.keys() == expected.keys()
    for name, frame in expected.items():
        assert_frame_equal(tables[name], frame, check_exact=True)
    version = here.published()
    assert there.published() == version
    assert there.registry.card(version)["weights_sha256"] == here.registry.card(version)["weights_sha256"]
    assert matches(there) == matches(here)
    assert len(matches(there)) == users
    of_the_app = [[snapshot_matches(project, user) for user in matches(here)] for project in (there, here)]
    assert of_the_app[0] == of_the_app[1]
    assert list(there.index_copies.glob("*.lance"))
    assert not here.index_copies.exists()
    _stays_the_same(there)
    _forgets(there)


def _stays_the_same(project: Project) -> None:
    """Nothing is stale, before and after housekeeping."""
    before = rows(project)
    for _ in range(2):
        with dg.DagsterInstance.ephemeral() as instance:
            assert list(bring_up_to_date(project, build_definitions(settings=project.settings), instance)) == []
        assert tidy(project).busy == []
    for name, frame in rows(project).items():
        assert_frame_equal(frame, before[name], check_exact=True)


def _forgets(project: Project) -> None:
    user = "synthetic-000007"
    assert find_mentions(project, user).total > 0
    assert forget(project, user).total > 0
    mentions = find_mentions(project, user)
    assert (mentions.counts, mentions.unreadable) == ({}, [])
    assert mentions.files > 100
    assert user in project.tombstones


def test_what_is_read_and_written(bucket: ObjectPath) -> None:
    file = bucket / "a" / "b.json"
    assert (file.exists(), file.version(), list(bucket.walk())) == (False, (), [])
    with pytest.raises(FileNotFoundError, match=str(file)):
        file.read_bytes()
    file.write(b"first")
    first = file.version()
    file.write(b"other")
    assert file.read_bytes() == b"other"
    assert file.version() != first
    (bucket / "a" / "c" / "d.json").write(b"{}")
    (bucket / "ab").write(b"")
    assert {str(path.relative_to(bucket)) for path in bucket.walk()} == {"a", "a/b.json", "a/c", "a/c/d.json", "ab"}
    assert sorted(path.name for path in (bucket / "a").iterdir()) == ["b.json", "c"]
    assert [path.name for path in bucket.glob("*/*.json")] == ["b.json"]
    assert [path.name for path in bucket.glob("a/*/d.json")] == ["d.json"]
    assert ((bucket / "a").is_dir(), (bucket / "a").is_file()) == (True, False)
    assert (file.is_dir(), file.is_file(), file.stat().st_size) == (False, True, 5)
    listed = {path.name: path for path in (bucket / "a").iterdir()}
    assert listed["b.json"].version() == file.version()
    (bucket / "a").delete()
    assert [path.name for path in bucket.objects()] == ["ab"]


def test_users_who_are_handed_in_leave_and_take_all_that_is_theirs_along(bucket: ObjectPath) -> None:
    inbox = Inbox(bucket / "inbox", Settings(data=bucket))
    requests = inbox.requests

    def hand_in(name: str, title: str) -> None:
        rows = {"user_id": [f"export-{name}"], "artist_name": ["Air"], "track_name": [title]}
        requests.hand_in("export", f"export-{name}", [pl.DataFrame(rows)], opted_in=True)

    for name, title in (("anna", "One"), ("anna", "Two"), ("ben", "One")):
        hand_in(name, title)
    assert (requests.sweep().taken_in, requests.sweep().taken_in) == (2, 0)
    anna, ben = requests.all()
    (source,) = inbox.sources()
    assert isinstance(source, RequestSource)
    for n_buckets in (5, 64):
        given = GivenRequests.of([anna, ben])
        assert source.requests.versions(range(n_buckets), n_buckets) == given.versions(range(n_buckets), n_buckets)
    hand_in("anna", "Three")
    requests.sweep()
    assert {path.name for path in requests.content.iterdir()} == {it.content for it in requests.all()}
    (requests.content / f"{anna.content[:16]}-{'1' * 16}.parquet").write(b"")  # as a killed process leaves it
    (requests.content / f"{anna.content[:15]}-{'1' * 16}.parquet").write(b"")
    assert [path.name for path in requests.content.beginning(ben.content[:16])] == [ben.content]
    assert requests.remove_user("export-anna") == 3
    assert requests.all() == [ben]
    assert requests.drop_unnamed() == 1
    assert [path.name for path in requests.content.iterdir()] == [ben.content]
    table = requests.taken_in.where(pl.lit(True))
    for file in requests.taken_in.files():
        file.unlink()
    buffer = BytesIO()
    table.write_parquet(buffer)
    (requests.root / "users.parquet").write(buffer.getvalue())
    assert requests.all() == [ben]
    requests.sweep()
    assert (requests.taken_in.is_undivided(), requests.all()) == (False, [ben])


def test_of_many_who_create_an_object_one_does(bucket: ObjectPath) -> None:
    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            place = bucket / f"key-{turn}"
            created = list(pool.map(lambda number, place=place: place.create(str(number).encode()), range(8)))
            assert sum(created) == 1
            assert place.read_bytes() == str(created.index(True)).encode()


def test_without_locks_it_is_read_and_not_written_to(bucket: ObjectPath, monkeypatch: pytest.MonkeyPatch) -> None:
    (bucket / "layout.json").write(b'{"n_buckets": 8}')
    monkeypatch.delenv("SPOTIFY_DAG_POSTGRES_URL")
    project = Project.open(Settings(data=bucket))
    assert project.lake.n_buckets == 8
    assert project.lake.snapshot() == {}
    for write in (
        lambda: project.inbox.register_source("synthetic", {}),
        lambda: project.tombstones.add("anna"),
        lambda: project.lake.buckets_locked([1]).__enter__(),
    ):
        with pytest.raises(RootError, match="SPOTIFY_DAG_POSTGRES_URL"):
            write()
    assert [path.name for path in bucket.objects()] == ["layout.json"]


def is_free(lock: ObjectPath, *, shared: bool = False) -> bool:
    with locked(lock, wait=False, shared=shared) as got:
        return got


def test_locks(bucket: ObjectPath) -> None:
    lock, told = bucket / ".locks" / "a", []
    with locked(lock):
        assert not is_free(lock)
        assert not is_free(lock, shared=True)
        assert is_free(bucket / ".locks" / "b")
        with locked(lock, seconds=0.2, waiting=lambda: told.append("waits")) as got:
            assert not got
    with locked(lock, shared=True), locked(lock, shared=True, wait=False) as both:
        assert both
        assert not is_free(lock)
    with locked_in_order([bucket / name for name in "abc"]):
        assert not any(is_free(bucket / name) for name in "abc")
    assert all(is_free(bucket / name) for name in "abc")
    assert is_free(lock)
    assert told == ["waits"]


def hold(lock: ObjectPath, got: Event) -> None:
    with locked(lock):
        got.set()
        time.sleep(600)


def test_a_killed_holder_lets_go_and_an_interrupted_waiter_gives_up(bucket: ObjectPath) -> None:
    lock, got = bucket / "lock", SPAWN.Event()
    holder = SPAWN.Process(target=hold, args=(lock, got))
    holder.start()
    assert got.wait(60)
    interrupt = Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), locked(lock, waiting=interrupt.start):
        raise AssertionError("it was got")
    assert not is_free(lock)
    holder.kill()
    with locked(lock, seconds=10) as free:
        assert free


def test_a_forked_child_does_not_let_go(bucket: ObjectPath) -> None:
    lock = bucket / "lock"
    with locked(lock):
        child = os.fork()
        if child == 0:
            for connection in list(_CONNECTIONS):  # as one does that ends by itself
                connection.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert not is_free(lock)


def crash(postgres: Postgres) -> None:
    postgres.stop("immediate")
    postgres.start()


def test_who_lost_a_lock_is_told_and_the_next_gets_it(bucket: ObjectPath, postgres: Postgres) -> None:
    lock = bucket / "lock"
    with pytest.raises(LockError, match="do it again"), locked(lock):
        crash(postgres)
    assert is_free(lock)
    postgres.stop("immediate")
    with pytest.raises(LockError, match="refused"), locked(lock):
        raise AssertionError("it was got")
    postgres.start()
    assert is_free(lock)
