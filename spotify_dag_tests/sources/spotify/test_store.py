"""What is remembered between runs and shared by processes: limits, counts, and what was fetched."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spotify_dag.sources.spotify.spotify_errors import QuotaExhaustedError, RateLimitedError
from spotify_dag.sources.spotify.store import DAY, Content, Database, Ledger, ListedPlaylist, Mirror, MirroredUser
from spotify_dag_tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spotify" / "state.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    database = Database(path)
    yield database
    database.close()


def test_the_file_is_its_owners_alone(database: Database, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestLimits:
    @pytest.mark.medium
    def test_one_is_remembered_and_passes(self, database: Database, path: Path) -> None:
        end = time.time() + 3
        Ledger(database, 100).limit(end, "Slow down.", quota=False)
        other = Ledger(Database(path), 100)
        for ask in (lambda: other.admit("/artists"), other.check):
            with pytest.raises(RateLimitedError, match=r"^Slow down\. Resume after 20.* UTC\.$") as error:
                ask()
            assert error.value.at == end
            assert not isinstance(error.value, QuotaExhaustedError)
        assert other.spent() == {}
        time.sleep(max(0.0, end - time.time()))
        other.admit("/artists")
        assert other.spent() == {"/artists": 1}

    def test_the_later_one_stays(self, database: Database) -> None:
        ledger, now = Ledger(database, 100), time.time()
        ledger.limit(now + DAY, "The quota is spent.", quota=True)
        ledger.limit(now + 2, "Slow down.", quota=False)
        with pytest.raises(QuotaExhaustedError, match=r"The quota is spent") as error:
            ledger.check()
        assert error.value.at == now + DAY


class TestBudget:
    def test_it_is_for_any_24_hours(self, database: Database) -> None:
        ledger = Ledger(database, 3)
        now = time.time()
        with database.changing() as connection:
            connection.executemany(
                "insert into requests values (?, ?, ?)",
                [(int((now - age) // 600), endpoint, 1) for age, endpoint in ((25 * 3600, "/me"), (23 * 3600, "/me"))],
            )
        ledger.admit("/artists")
        ledger.admit("/me")
        assert ledger.spent() == {"/me": 2, "/artists": 1}
        with pytest.raises(QuotaExhaustedError, match=r"budget of 3 .*SPOTIFY_DAG_SPOTIFY_DAILY_BUDGET") as error:
            ledger.admit("/me")
        # The request of 23 hours ago is the first to be a day old.
        assert 0 <= error.value.at - now <= 3600 + 600
        assert sum(ledger.spent().values()) == 3

    @pytest.mark.process
    def test_processes_share_it(self, database: Database, path: Path) -> None:
        spawn = multiprocessing.get_context("spawn")
        counts = spawn.SimpleQueue()
        workers = [spawn.Process(target=_spend, args=(path, 500, counts)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert sum(counts.get() for _ in workers) == 500
        assert Ledger(database, 500).spent() == {"/me": 500}


def _spend(path: Path, budget: int, counts: multiprocessing.SimpleQueue[int]) -> None:
    ledger, count = Ledger(Database(path), budget), 0
    try:
        while True:
            ledger.admit("/me")
            count += 1
    except QuotaExhaustedError:
        counts.put(count)


class TestMirror:
    CONTENT = Content([[0, "t", "Song", None, "a1", "Air", "1998", "61", "False"]], [[1, "item", None, "null", True]])

    def test_users_and_playlists_come_back_as_they_were_put(self, database: Database) -> None:
        mirror = Mirror(database)
        user = MirroredUser("me", [ListedPlaylist("p1", "Mine 🎵", None), ListedPlaylist("p2", None, "gone")], None)
        mirror.put_playlist("p1", "s1", self.CONTENT, ["a1"])
        mirror.put_user(user, 50)
        assert mirror.users(["you", "me"]) == [user]
        assert mirror.contents(["p1", "p2"]) == {"p1": self.CONTENT}
        assert mirror.snapshots(["p1", "p2"]) == {"p1": "s1"}
        assert mirror.due(["me", "you"], 50) == {"you"}
        assert mirror.due(["me", "you"], 51) == {"me", "you"}

    def test_artists_are_wanted_by_frequency_and_then_by_age(self, database: Database) -> None:
        mirror = Mirror(database)
        mirror.put_playlist("p1", "s1", self.CONTENT, ["a1", "a2", "a2"])
        assert mirror.artists_due(time.time()) == ["a2", "a1"]
        mirror.put_artists([("a1", "Air", ["electronica"]), ("a2", "Ben", [])])
        assert mirror.artists_due(time.time() - 60) == []
        assert sorted(mirror.artists_due(time.time() + 60)) == ["a1", "a2"]
        assert mirror.artist_genres() == [("a1", "Air", ["electronica"])]

    def test_whoever_is_off_the_list_leaves_with_what_was_only_theirs(self, database: Database) -> None:
        mirror = Mirror(database)
        for user, playlists in (("me", ["p1", "p2"]), ("you", ["p2", "p3"])):
            for playlist in playlists:
                mirror.put_playlist(playlist, "s", self.CONTENT, [])
            mirror.put_user(MirroredUser(user, [ListedPlaylist(name, None, None) for name in playlists], None), 1)
        mirror.keep_only(["you", "nobody"])
        assert [user.user_id for user in mirror.users(["me", "you"])] == ["you"]
        assert sorted(mirror.contents(["p1", "p2", "p3"])) == ["p2", "p3"]

    def test_thousands_at_once(self, database: Database) -> None:
        mirror, names = Mirror(database), [f"u{number}" for number in range(1_700)]
        for name in names[:3]:
            mirror.put_user(MirroredUser(name, [], None), 1)
        assert [user.user_id for user in mirror.users(names)] == names[:3]
        assert len(mirror.due(names, 0)) == 1_697


@pytest.mark.process
def test_a_killed_process_leaves_whole_playlists_only(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writer = spawn.Process(target=_write_for_ever, args=(path,))
    writer.start()
    database = Database(path)
    until(lambda: Mirror(database).counts()["playlists"] >= 50)
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    mirror = Mirror(database)
    kept = mirror.counts()["playlists"]
    assert kept >= 50
    contents = mirror.contents([str(number) for number in range(kept)])
    assert sorted(map(int, contents)) == list(range(kept))
    assert {len(content.rows) for content in contents.values()} == {200}
    mirror.put_user(MirroredUser("me", [], None), 1)  # and the lock went with it


def _write_for_ever(path: Path) -> None:
    mirror = Mirror(Database(path))
    number = 0
    while True:
        mirror.put_playlist(str(number), "s", Content([[n, *"abcdefgh"] for n in range(200)], []), ["a1"])
        number += 1
