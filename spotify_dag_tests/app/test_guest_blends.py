"""Blends that people join by a link: what they bring counts, and nothing of it is left."""

from __future__ import annotations

import csv
import gc
import io
import threading
import time
import weakref
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from samples.app_world import PRIVATE, user_id
from spotify_dag.app import blend_rooms
from spotify_dag.app.background_jobs import WORKERS
from spotify_dag.app.blend_rooms import BlendRooms, plain_name
from spotify_dag.app.identity import TOKEN_HEADER
from spotify_dag.app.problems import AppError
from spotify_dag.schemas import RAW_PLAYLISTS
from spotify_dag.tracks.listeners import Listening
from spotify_dag_tests.app.conftest import Served, exportify
from spotify_dag_tests.waiting import until

WISH = {"tracks": 12}
MARK = "Mark of a guest 7f3a"
"""A title that is nowhere but in the file of a guest."""


def items_of(served: Served, user: str) -> pl.DataFrame:
    """Return the titled playlist items of a user."""
    return served.project.lake.scan(RAW_PLAYLISTS).filter(pl.col("user_id") == user).sort("position").collect()


def file_of(served: Served, user: str) -> bytes:
    """Return what a user listens to as a file, as Exportify writes it, and a song that nobody knows."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["Track URI", "Track Name", "Album Name", "Artist Name(s)"])
    names = items_of(served, user).select("track_id", "track_name", "album_name", "artist_name")
    rows.writerows((f"spotify:track:{track}", *others) for track, *others in names.iter_rows())
    rows.writerow([f"spotify:track:{'x' * 22}", MARK, MARK, MARK])
    return text.getvalue().encode()


def memory_of(frame: pl.DataFrame) -> bytes:
    """Return all memory that a frame holds on to, names that are in none of its rows included."""
    columns = frame.to_arrow(compat_level=pl.CompatLevel.newest()).columns
    buffers = (buffer for column in columns for chunk in column.chunks for buffer in chunk.buffers())
    return b"".join(buffer.to_pybytes() for buffer in buffers if buffer is not None)


class Room:
    """A blend over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        answer = client.post("/api/v1/blends")
        assert answer.status_code == 201, answer.text
        self.opened = answer.json()
        self.path = f"/api/v1/blends/{self.opened['code']}"

    def file(self, content: bytes, name: str = "", file: str = "mine.csv") -> httpx.Response:
        return self.client.post(f"{self.path}/files", data={"name": name}, files={"file": (file, content)})

    def user(self, user: str, **headers: str) -> httpx.Response:
        return self.client.post(f"{self.path}/users", json={"user_id": user}, headers=headers)

    def ask(self, **wish: Any) -> httpx.Response:
        return self.client.post(f"{self.path}/list", json={**WISH, **wish})

    def people(self) -> list[tuple[str, str]]:
        return [(person["name"], person["kind"]) for person in self.client.get(self.path).json()["people"]]

    def end(self) -> httpx.Response:
        return self.client.delete(self.path, headers={"X-Blend-Key": self.opened["key"]})


@contextmanager
def opened(served: Served) -> Iterator[Room]:
    """Open a blend, and end it."""
    room = Room(served.client)
    try:
        yield room
    finally:
        room.end()


@pytest.fixture
def room(with_tracks: Served) -> Iterator[Room]:
    with opened(with_tracks) as opened_room:
        yield opened_room


@pytest.mark.medium
class TestWhoJoins:
    def test_guests_count_as_users_with_the_same_listening(self, with_tracks: Served, room: Room) -> None:
        guests = {"ana": user_id(5), "ben": user_id(6)}
        for name, user in guests.items():
            joined = room.file(file_of(with_tracks, user), name)
            titled = items_of(with_tracks, user)
            assert joined.status_code == 201, joined.text
            assert {key: joined.json()[key] for key in ("name", "items", "known")} == {
                "name": name, "items": titled.height + 1, "known": titled["track_id"].n_unique(),
            }  # fmt: skip
        other = room.user(user_id(7)).json()
        assert (other["name"], other["items"]) == (user_id(7), items_of(with_tracks, user_id(7)).height)
        assert room.people() == [("ana", "file"), ("ben", "file"), (user_id(7), "user")]
        made = room.ask().json()
        assert [person["user_id"] for person in made["people"]] == ["ana", "ben", user_id(7)]
        told = {reason["user_id"] for track in made["tracks"] for reason in track["for"]}
        assert told == {"ana", "ben", user_id(7)}
        # The same three as users of the data root are given the same list.
        as_users = with_tracks.client.post("/api/v1/blend", json={"users": [*guests.values(), user_id(7)], **WISH})
        names = {user: name for name, user in guests.items()}
        expected = as_users.json()
        assert [track["track_id"] for track in made["tracks"]] == [track["track_id"] for track in expected["tracks"]]
        assert [track["known_by"] for track in made["tracks"]] == [
            [names.get(user, user) for user in track["known_by"]] for track in expected["tracks"]
        ]
        assert made["least"] == expected["least"]

    def test_the_order_of_joining_does_not_matter(self, with_tracks: Served) -> None:
        lists = []
        for order in (("ana", "ben", None), (None, "ben", "ana")):
            with opened(with_tracks) as room:
                for name in order:
                    answer = (
                        room.user(user_id(7))
                        if name is None
                        else room.file(file_of(with_tracks, user_id({"ana": 5, "ben": 6}[name])), name)
                    )
                    assert answer.status_code == 201
                lists.append(room.ask().json())
        assert lists[0] == lists[1]

    def test_a_veto_holds_and_the_list_leaves_as_a_file(self, with_tracks: Served, room: Room) -> None:
        room.file(file_of(with_tracks, user_id(5)))
        room.user(user_id(7))
        artist = room.ask().json()["tracks"][0]["artist_name"]
        made = room.ask(without_artists=[artist]).json()["tracks"]
        assert len(made) == WISH["tracks"]
        assert artist not in {track["artist_name"] for track in made}
        as_csv = room.client.post(f"{room.path}/list", params={"format": "csv"}, json=WISH)
        assert len(as_csv.text.splitlines()) == WISH["tracks"] + 1

    def test_who_leaves_is_gone(self, with_tracks: Served, room: Room) -> None:
        key = room.file(file_of(with_tracks, user_id(5)), "ana").json()["key"]
        room.user(user_id(7))
        room.user(user_id(8))
        (held,) = [person for person in _rooms(with_tracks).people(room.opened["code"]) if person.name == "ana"]
        gone = weakref.ref(held.listening or held)
        del held
        assert room.client.delete(f"{room.path}/people/{key}").json() == {"name": "ana"}
        assert room.client.delete(f"{room.path}/people/{key}").status_code == 404
        assert room.people() == [(user_id(7), "user"), (user_id(8), "user")]
        assert {person["user_id"] for person in room.ask().json()["people"]} == {user_id(7), user_id(8)}
        until(lambda: gc.collect() >= 0 and gone() is None)

    def test_names_are_plain_and_nobody_elses(self, with_tracks: Served, room: Room) -> None:
        content = file_of(with_tracks, user_id(5))
        asked = ["", "Ana", " ana\u202e\n ", "", user_id(6), "x" * 100]
        names = [room.file(content, name).json()["name"] for name in asked]
        assert names == ["Guest 1", "Ana", "ana 2", "Guest 2", f"{user_id(6)} 2", "x" * 40]
        assert room.user(user_id(6)).json()["name"] == user_id(6)
        assert room.user(user_id(6)).status_code == 409

    def test_who_is_not_shown_joins_by_proof_alone(self, with_tracks: Served, room: Room) -> None:
        # Called like somebody who is not shown: as free as any other name, so that nobody learns who is here.
        assert room.file(file_of(with_tracks, user_id(5)), PRIVATE).json()["name"] == PRIVATE
        private, nobody = room.user(PRIVATE), room.user("nobody")
        assert (private.status_code, nobody.status_code) == (404, 404)
        assert private.json()["detail"] == nobody.json()["detail"].replace("nobody", PRIVATE)
        token = with_tracks.service.identity.file_token(PRIVATE)
        assert room.user(PRIVATE, **{TOKEN_HEADER: token}).json()["name"] == PRIVATE
        assert room.people() == [(f"{PRIVATE} 2", "file"), (PRIVATE, "user")]
        assert [person["user_id"] for person in room.ask().json()["people"]] == [PRIVATE, f"{PRIVATE} 2"]

    def test_users_hidden_or_forgotten_since_are_left_out(self, with_tracks: Served, room: Room) -> None:
        for number in (7, 8, 9):
            room.user(user_id(number))
        snapshot = with_tracks.service.serving.snapshot()
        snapshot.hide(user_id(8))
        try:
            assert [name for name, _ in room.people()] == [user_id(7), user_id(9)]
            assert len(room.ask().json()["people"]) == 2
        finally:
            snapshot.hidden.clear()
        _rooms(with_tracks).forget(user_id(9))
        assert [name for name, _ in room.people()] == [user_id(7), user_id(8)]


@pytest.mark.medium
class TestWhatIsLeft:
    def test_after_its_end_there_is_nothing(self, with_tracks: Served) -> None:
        rooms, room = _rooms(with_tracks), Room(with_tracks.client)
        assert room.file(file_of(with_tracks, user_id(5))).status_code == 201
        left = datetime.fromisoformat(room.opened["expires_at"]) - datetime.now(UTC)
        assert left.total_seconds() == pytest.approx(blend_rooms.OPEN_SECONDS, abs=60)
        (person,) = rooms.people(room.opened["code"])
        gone = weakref.ref(person.listening or person)
        del person
        with rooms._changed:  # Its time passes.
            rooms._rooms[room.opened["code"]].ends = time.monotonic() + 0.2
            rooms._changed.notify()
        until(lambda: not rooms._rooms and rooms._sweeper is None)  # by itself: nobody asks
        until(lambda: gc.collect() >= 0 and gone() is None)
        answers = [room.client.get(room.path), room.ask(), room.user(user_id(7)), room.file(b"a"), room.end()]
        assert [answer.status_code for answer in answers] == [404] * 5
        assert all(answer.json()["detail"].startswith("That blend is over") for answer in answers)

    def test_no_file_is_on_disk(self, with_tracks: Served, room: Room) -> None:
        root = with_tracks.project.settings.local_data
        before = {path: path.stat().st_mtime_ns for path in _files(root)}
        assert room.file(file_of(with_tracks, user_id(5)), MARK).status_code == 201
        room.user(user_id(7))
        room.ask()
        changed = [path for path in _files(root) if before.get(path) != path.stat().st_mtime_ns]
        assert [path for path in changed if MARK.encode() in path.read_bytes()] == []
        assert [path for path in changed if "work-" in str(path)] == []
        # Nor in memory, as the catalogue does not know it.
        (guest, _) = _rooms(with_tracks).people(room.opened["code"])
        assert guest.listening is not None
        held = memory_of(guest.listening.tracks) + memory_of(guest.listening.artists)
        assert guest.listening.tracks["track_id"][0].encode() in held
        assert [it for it in (MARK.lower(), "x" * 22) if it.encode() in held] == []

    def test_only_who_opened_a_blend_ends_it(self, room: Room) -> None:
        assert room.client.delete(room.path).status_code == 422
        assert room.client.delete(room.path, headers={"X-Blend-Key": room.opened["code"]}).status_code == 403
        assert room.end().json() == {"people": 0}
        assert room.client.get(room.path).status_code == 404


@pytest.mark.medium
class TestBadFiles:
    @pytest.mark.parametrize(
        ("content", "file"),
        [(b"", "a.csv"), (b"PK\x03\x04broken", "a.zip"), (bytes(range(256)) * 20, "x.bin"), (b"[[[[", "a.json")],
    )
    def test_what_cannot_be_read_is_refused(self, room: Room, content: bytes, file: str) -> None:
        answer = room.file(content, file=file)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert room.people() == []

    def test_what_is_not_in_the_catalogue_is_refused(self, room: Room) -> None:
        answer = room.file(exportify([MARK]))
        assert answer.status_code == 422
        assert "Nothing in the file is among the tracks here" in answer.json()["detail"]

    def test_what_is_too_large_is_refused(self, with_tracks: Served, room: Room) -> None:
        assert room.file(b" " * 4_000_000).status_code == 413
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("mine.csv", file_of(with_tracks, user_id(5)))
        assert room.file(packed.getvalue(), file="my.zip").status_code == 201

    def test_who_gives_up_does_not_come_in(self, with_tracks: Served, room: Room) -> None:
        service, file = with_tracks.service, ("a.csv", io.BytesIO(file_of(with_tracks, user_id(5))))
        go_on = threading.Event()
        for _ in range(WORKERS["files"]):
            service.jobs.start(lambda _: {"waited": go_on.wait(60)}, lane="files", client="others", seconds=60)
        joining = service.guest_blends.join_by_files(room.opened["code"], [file], "", client="test")
        joining.job.stopped = True
        go_on.set()
        with pytest.raises(AppError, match="being ended"):
            joining.end()
        assert room.people() == []


@pytest.mark.medium
def test_guests_are_as_rare_as_newcomers_and_no_other_site_sends_them(fresh: Callable[..., Any]) -> None:
    with fresh(app_newcomers_per_minute=4) as served:
        path = "/api/v1/blends/none/files"
        sent = {"file": ("a.csv", b"a")}
        foreign = served.client.post(path, files=sent, headers={"Origin": "https://elsewhere.example"})
        assert [served.client.post(path, files=sent).status_code for _ in range(2)] == [404, 429]
        assert foreign.status_code == 403
        # There are no tracks in this data root.
        assert served.client.post("/api/v1/blends").status_code == 404


class TestRooms:
    """What one process holds."""

    LISTENING = Listening(pl.DataFrame({"track_id": ["a"], "weight": [1.0]}), pl.DataFrame())

    def join(self, rooms: BlendRooms, code: str, name: str = "") -> str:
        return rooms.join(code, name, self.LISTENING, lambda _: False).name

    def test_a_client_has_a_few_and_all_have_some(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blend_rooms, "MOST_ROOMS", 12)
        rooms = BlendRooms()
        opened_rooms = [rooms.open("a") for _ in range(blend_rooms.MOST_ROOMS_OF_A_CLIENT)]
        assert self.refused(lambda: rooms.open("a")) == 429
        for _ in range(2):
            rooms.open("b")
        assert self.refused(lambda: rooms.open("c")) == 503
        rooms.close(opened_rooms[0].code, opened_rooms[0].key)
        assert rooms.open("c").code not in {room.code for room in opened_rooms}
        rooms.clear()
        until(lambda: rooms._sweeper is None)

    def test_those_that_are_over_make_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blend_rooms, "MOST_ROOMS", 1)
        rooms = BlendRooms(seconds=0)
        first = rooms.open("a")
        assert self.refused(lambda: rooms.people(first.code)) == 404
        rooms.seconds = 60
        second = rooms.open("a")
        assert rooms.people(second.code) == []
        rooms.clear()

    def test_twenty_people_and_so_many_guests_in_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(blend_rooms, "MOST_GUESTS", 21)
        rooms = BlendRooms()
        first, second = rooms.open("a"), rooms.open("a")
        with ThreadPoolExecutor(8) as threads:
            names = list(threads.map(lambda _: self.join(rooms, first.code), range(20)))
        assert sorted(names) == sorted(f"Guest {number}" for number in range(1, 21))
        assert self.refused(lambda: self.join(rooms, first.code)) == 409
        assert self.refused(lambda: rooms.join_user(first.code, "u", proven=False)) == 409
        assert self.join(rooms, second.code, "Ana") == "Ana"
        assert self.refused(lambda: self.join(rooms, second.code)) == 503
        rooms.clear()

    @pytest.mark.parametrize(
        ("name", "plain"),
        [
            ("  Ana  ", "Ana"),
            ("a\u202eb\nc", "a b c"),
            ("\x00\u200b", ""),
            ("e\u0301", "é"),
            ("ab " * 30, "ab " * 13 + "a"),
        ],
    )
    def test_a_name_is_one_plain_line(self, name: str, plain: str) -> None:
        assert plain_name(name) == plain

    def refused(self, act: Callable[[], object]) -> int:
        with pytest.raises(AppError) as caught:
            act()
        return caught.value.status


def test_of_a_long_history_the_heaviest_is_held() -> None:
    class Model:
        """Knows every track and artist but the last."""

        def numbers(self, names: Sequence[str]) -> dict[str, int]:
            return {name: place for place, name in enumerate(names[:-1])}

        artists = numbers

    items = pl.DataFrame(
        {
            "track_id": [f"t{number}" for number in range(6)] + ["t5", None],
            "track_name": ["Title"] * 7 + [None],
            "artist_name": ["A", "B", "C", "D", "E", "F", "F", "B"],
            "plays": [5, 1, 7, 2, 9, None, 9, 3],
        },
        schema_overrides={"plays": pl.Int64},
    )
    listening = Listening.of_items(items)
    assert dict(listening.tracks.iter_rows()) == {"t0": 5, "t1": 1, "t2": 7, "t3": 2, "t4": 9, "t5": 10}
    assert dict(listening.artists.iter_rows()) == {"a": 5, "b": 4, "c": 7, "d": 2, "e": 9, "f": 10}
    held = listening.known(Model(), 3)  # type: ignore[arg-type]
    assert held.tracks["track_id"].to_list() == ["t4", "t2", "t0"]
    assert held.artists["artist_key"].to_list() == ["e", "c", "a"]


def _rooms(served: Served) -> BlendRooms:
    rooms: BlendRooms = served.service.guest_blends.rooms
    return rooms


def _files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]
