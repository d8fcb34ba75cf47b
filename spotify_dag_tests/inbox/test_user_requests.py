"""Requests: one per user, taken in once, rejected with a reason, and never half done."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from spotify_dag.inbox.registered_sources import Inbox
from spotify_dag.inbox.user_requests import REQUEST, UserRequests
from spotify_dag.settings import Settings
from spotify_dag.sources.base import Batch, SourceError, no_rejects
from spotify_dag.sources.export.kept import BATCH_USERS, kept_frame
from spotify_dag.sources.handed_in import RequestSource
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag_tests.waiting import until

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox")


@pytest.fixture
def requests(inbox: Inbox) -> UserRequests:
    return inbox.requests


def listening(user: str, *titles: str) -> pl.DataFrame:
    """Return records of one playlist."""
    return kept_frame(
        pl.DataFrame({"track_name": titles}).with_columns(
            user_id=pl.lit(user),
            playlist_id=pl.lit("playlist-0"),
            playlist_position=pl.lit(4),
            position=pl.int_range(pl.len()),
            artist_name=pl.lit("Air"),
        ),
        no_rejects(),
    )


def hand_in(requests: UserRequests, name: str, *titles: str, opted_in: bool = True) -> None:
    user = f"export-{name}"
    requests.hand_in("export", user, [listening(user, *titles)], opted_in=opted_in)


def everything(inbox: Inbox) -> Batch:
    (source,) = inbox.sources()
    batches = list(source.batches())
    assert len(batches) == source.n_batches()
    return Batch(*(pl.concat(getattr(it, name) for it in batches) for name in ("records", "rejects", "rows_read")))


def files(requests: UserRequests, folder: str) -> list[str]:
    return sorted(file.name for file in (requests.root / folder).glob("*"))


def put(requests: UserRequests, name: str, content: bytes | dict[str, Any]) -> Path:
    """Put a request there by hand."""
    file = Path(requests.root) / "new" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


class TestHandIn:
    def test_a_user_is_taken_in_by_the_next_sweep(self, inbox: Inbox, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One", "Two")
        assert inbox.sources() == []
        assert requests.sweep().taken_in == 1
        assert requests.sweep().taken_in == 0
        assert files(requests, "new") == []
        found = everything(inbox)
        assert found.records["track_name"].to_list() == ["One", "Two"]
        assert found.records["playlist_position"].to_list() == [0, 0]
        assert found.rows_read.rows() == [("export-anna", 2)]

    def test_the_same_again_changes_nothing(self, inbox: Inbox, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        hand_in(requests, "anna", "One")
        assert len(files(requests, "new")) == len(files(requests, "content")) == 1
        requests.sweep()
        before, content, version = requests.all(), files(requests, "content"), inbox.sources()[0].version()
        hand_in(requests, "anna", "One")
        requests.sweep()
        assert (requests.all(), files(requests, "content")) == (before, content)
        assert inbox.sources()[0].version() == version

    def test_other_listening_replaces_it_and_the_old_file_goes(self, inbox: Inbox, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        requests.sweep()
        version, before = inbox.sources()[0].version(), files(requests, "content")
        hand_in(requests, "anna", "Two")
        hand_in(requests, "anna", "Three")
        requests.sweep()
        assert everything(inbox).records["track_name"].to_list() == ["Three"]
        assert len(files(requests, "content")) == 1
        assert files(requests, "content") != before
        assert inbox.sources()[0].version() != version

    def test_whether_others_may_be_told_is_part_of_it(self, inbox: Inbox, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        requests.sweep()
        version = inbox.sources()[0].version()
        hand_in(requests, "anna", "One", opted_in=False)
        requests.sweep()
        assert [request.opted_in for request in requests.all()] == [False]
        assert inbox.sources()[0].version() != version

    @pytest.mark.medium
    def test_users_are_read_in_order_and_batches(self, inbox: Inbox, requests: UserRequests) -> None:
        names = [f"user{number:03d}" for number in range(BATCH_USERS + 5)]
        for name in reversed(names):
            hand_in(requests, name, "One")
        assert requests.sweep().taken_in == len(names)
        source = inbox.sources()[0]
        assert source.n_batches() == 2
        assert everything(inbox).records["user_id"].to_list() == [f"export-{name}" for name in names]
        assert isinstance(source, RequestSource)
        some = source.only(source.requests.rows([0], 1)[3:5])
        assert [user for batch in some.batches() for user in batch.rows_read["user_id"]] == [
            "export-user003",
            "export-user004",
        ]

    def test_what_cannot_be_read_leaves_everything_as_it_was(self, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")

        def broken() -> Iterator[pl.DataFrame]:
            yield listening("export-anna", "Two")
            raise SourceError("no more")

        before = {name: files(requests, name) for name in ("new", "content")}
        with pytest.raises(SourceError, match="no more"):
            requests.hand_in("export", "export-anna", broken(), opted_in=True)
        assert {name: files(requests, name) for name in ("new", "content")} == before

    def test_listening_that_is_gone_or_damaged_is_a_reject(self, inbox: Inbox, requests: UserRequests) -> None:
        for name in ("anna", "ben", "carl"):
            hand_in(requests, name, "One")
        requests.sweep()
        of_user = {request.user_id: requests.content / request.content for request in requests.all()}
        of_user["export-anna"].unlink()
        of_user["export-ben"].write_bytes(b"PAR1 nothing PAR1")
        found = everything(inbox)
        assert found.records["user_id"].to_list() == ["export-carl"]
        assert found.rows_read.rows() == [("export-anna", 1), ("export-ben", 1), ("export-carl", 1)]
        assert found.rejects.select("user_id", "reason").rows() == [
            ("export-anna", "what was handed in is gone: add it again"),
            ("export-ben", "what was handed in is damaged: add it again"),
        ]

    def test_all_of_a_source_can_be_removed(self, inbox: Inbox, requests: UserRequests) -> None:
        inbox.register_source("synthetic", {"users": 30})
        hand_in(requests, "anna", "One")
        requests.sweep()
        hand_in(requests, "ben", "One")
        with pytest.raises(SourceError, match="Registered: export, synthetic"):
            inbox.remove_source("mpd")
        inbox.remove_source("export")
        assert inbox.sources() == [SyntheticSource(users=30)]
        assert files(requests, "content") == files(requests, "new") == []
        with pytest.raises(SourceError, match=r"Source 'export' is not registered\. Registered: synthetic"):
            inbox.remove_source("export")


class TestRejected:
    @pytest.fixture
    def good(self, requests: UserRequests) -> dict[str, Any]:
        """A request that is good but for what a test changes."""
        hand_in(requests, "anna", "One")
        (file,) = (requests.root / "new").iterdir()
        return json.loads(file.read_text())

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"source": "lastfm"}, "source: Input should be 'export'"),
            ({"user_id": "synthetic-000001"}, "it begins with 'export-'"),
            ({"user_id": "export-a b"}, "user_id: String should match"),
            ({"user_id": "export-\u0000"}, "user_id: String should match"),
            ({"user_id": "export-" + "x" * 500}, "user_id: String should have at most 500"),
            ({"user_id": 7}, "user_id: Input should be a valid string"),
            ({"content": "../../secret.parquet"}, "content: String should match"),
            ({"content": "0" * 16 + "-" + "0" * 16 + ".parquet"}, "names listening that is not there"),
            ({"opted_in": "yes"}, "opted_in: Input should be a valid boolean"),
            ({"opted_in": None}, "opted_in: Input should be a valid boolean"),
            ({"requested_at": "soon"}, "requested_at: Input should be a valid datetime"),
            ({"note": "x"}, "note: Unexpected keyword argument"),
        ],
    )
    def test_a_bad_request_is_moved_aside_with_the_reason(
        self, requests: UserRequests, good: dict[str, Any], change: dict[str, Any], reason: str
    ) -> None:
        file = put(requests, "by-hand.json", good | change)
        content = file.read_bytes()
        swept = requests.sweep()
        assert swept.taken_in == 1
        assert reason in swept.rejected[0]
        assert files(requests, "rejected") == ["by-hand.json", "by-hand.json.reason.txt"]
        assert (requests.root / "rejected" / "by-hand.json").read_bytes() == content
        assert (requests.root / "rejected" / "by-hand.json.reason.txt").read_text() == swept.rejected[0] + "\n"
        assert [request.user_id for request in requests.all()] == ["export-anna"]
        assert not requests.sweep().rejected

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 60_000, b" " * 70_000, b"1e999"]
    )
    def test_what_is_no_json_object(self, requests: UserRequests, content: bytes) -> None:
        put(requests, "x", content)
        (reason,) = requests.sweep().rejected
        assert reason.startswith("Request 'x' is n")
        assert "\n" not in reason
        assert files(requests, "rejected") == ["x", "x.reason.txt"]

    def test_links_and_folders(self, requests: UserRequests, tmp_path: Path) -> None:
        (requests.root / "new" / "folder").mkdir(parents=True)
        (requests.root / "new" / "link.json").symlink_to("/etc/passwd")
        assert len(requests.sweep().rejected) == 2
        assert files(requests, "new") == []

    def test_a_missing_field(self, requests: UserRequests, good: dict[str, Any]) -> None:
        put(requests, "x.json", {key: value for key, value in good.items() if key != "opted_in"})
        assert requests.sweep().rejected == ["Request 'x.json' is not valid: opted_in: Field required."]


def _hand_in_many(root: Path, worker: int) -> None:
    requests = UserRequests(root)
    for number in range(8):
        hand_in(requests, f"w{worker}-{number}", "One")
        hand_in(requests, "shared", f"by {worker} {number}")
        if number % 3 == worker:
            requests.sweep()


def _sweep_forever(root: Path) -> None:
    number = 0
    while True:
        hand_in(UserRequests(root), f"k{number % 5}", f"{number}")
        UserRequests(root).sweep()
        number += 1


class TestTogetherAndKilled:
    @pytest.mark.process
    def test_processes_that_hand_in_and_sweep_at_once_lose_nobody(self, inbox: Inbox, requests: UserRequests) -> None:
        workers = [SPAWN.Process(target=_hand_in_many, args=(requests.root, number)) for number in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        assert not requests.sweep().rejected
        users = {f"export-w{worker}-{number}" for worker in range(3) for number in range(8)} | {"export-shared"}
        assert {request.user_id for request in requests.all()} == users
        assert everything(inbox).rejects.is_empty()
        assert len(files(requests, "content")) == len(users)
        assert not (requests.root / "rejected").exists()

    @pytest.mark.process
    @pytest.mark.slow
    def test_killed_at_any_moment_the_next_sweep_goes_on(self, inbox: Inbox, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        requests.sweep()
        for seconds in (0.0, 0.011, 0.023, 0.037):
            worker = SPAWN.Process(target=_sweep_forever, args=(requests.root,))
            worker.start()
            known = len(requests.all())
            until(lambda known=known: len(requests.all()) != known or known >= 6)  # type: ignore[misc]
            time.sleep(1 + seconds)
            os.kill(worker.pid or 0, signal.SIGKILL)
            worker.join()
            assert not requests.sweep().rejected
            found = everything(inbox)
            assert found.rejects.is_empty()
            assert found.records.height == len(requests.all()) > 1
            named = {request.content for request in requests.all()}
            assert {name for name in files(requests, "content") if not name.startswith(".")} >= named

    def test_what_killed_writers_leave_goes_after_a_day(self, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        hand_in(requests, "ben", "One")
        requests.sweep()
        hand_in(requests, "ben", "Two")  # waits, and so does what it replaces
        named = files(requests, "content")
        for name in (".x.tmp", ".old.tmp", f"{'0' * 16}-{'1' * 16}.parquet"):
            (requests.content / name).write_bytes(b"x")
        os.utime(requests.content / ".old.tmp", (0, time.time() - 25 * 3600))
        assert requests.drop_unnamed() == 2
        assert files(requests, "content") == [".x.tmp", *named]
        assert len(named) == 3
        assert requests.drop_unnamed() == 0

    def test_killed_before_requests_are_deleted_they_are_taken_in_again(self, requests: UserRequests) -> None:
        hand_in(requests, "anna", "One")
        requests.sweep()
        (before,) = files(requests, "content")
        replaced = (requests.content / before).read_bytes()
        hand_in(requests, "anna", "Two")
        hand_in(requests, "ben", "One")
        waiting = {file: file.read_bytes() for file in Path(requests.root, "new").iterdir()}
        requests.sweep()
        taken_in, content = requests.all(), files(requests, "content")
        for file, request in waiting.items():
            file.write_bytes(request)
        (requests.content / before).write_bytes(replaced)
        assert requests.sweep().taken_in == 2
        assert requests.all() == taken_in
        assert files(requests, "content") == sorted([before, *content])
        assert requests.drop_unnamed() == 1
        assert files(requests, "content") == content


class TestListeningGoes:
    def test_what_another_request_names_stays_until_it_is_looked_at(self, requests: UserRequests) -> None:
        """A request by hand brings back the listening that the one before it replaces."""
        hand_in(requests, "anna", "One")
        requests.sweep()
        (taken_in,) = requests.all()
        hand_in(requests, "anna", "Two")
        again = REQUEST.dump_json(replace(taken_in, requested_at=datetime.now(UTC)))
        put(requests, "late.json", again)
        assert requests.sweep().taken_in == 2
        assert not requests.sweep().rejected
        assert [request.content for request in requests.all()] == files(requests, "content") == [taken_in.content]

    def test_a_request_by_hand_that_names_what_is_of_others_costs_them_nothing(self, requests: UserRequests) -> None:
        for name in ("anna", "ben"):
            hand_in(requests, name, "One")
        requests.sweep()
        anna, ben = requests.all()
        put(requests, "by-hand.json", REQUEST.dump_json(replace(ben, content=anna.content)))
        requests.sweep()
        assert files(requests, "content") == [anna.content]
        assert requests.remove_user("export-ben") == 1
        assert files(requests, "content") == [anna.content]
        assert requests.remove_user("export-anna") == 2
        assert files(requests, "content") == []

    def test_all_of_a_user_goes_and_nothing_of_others(self, requests: UserRequests) -> None:
        for name in ("anna", "anna-2"):
            hand_in(requests, name, "One")
        requests.sweep()
        anna, other = requests.all()
        key, left = anna.content[:16], anna.content[:16] + "-" + "1" * 16 + ".parquet"
        for name in (left, f".{key}-abc.tmp"):
            (requests.content / name).write_bytes(b"x")
        put(requests, "damaged.json", b'{"user_id": "export-anna"')
        put(requests, "other.json", b'{"user_id": "export-anna-2"')
        assert requests.remove_user("export-anna") == 5
        assert files(requests, "content") == [other.content]
        assert files(requests, "new") == ["other.json"]
        assert not requests.has("export-anna")
        assert requests.handed_in("export-anna-2") == other

    def test_a_request_of_a_forgotten_user_goes_with_its_listening(self, tmp_path: Path) -> None:
        requests = Inbox(tmp_path / "inbox", Settings(data=tmp_path)).requests
        hand_in(requests, "anna", "One")
        assert requests.tombstones is not None
        requests.tombstones.add("export-anna")
        (reason,) = requests.sweep().rejected
        assert "was forgotten" in reason
        assert files(requests, "content") == files(requests, "new") == requests.all() == []
