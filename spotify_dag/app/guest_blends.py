"""Blends with guests: people who are here only as files join by a link, for one blend."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from spotify_dag.app.background_jobs import Job, follow, follow_async
from spotify_dag.app.blend_rooms import MOST_HELD, BlendRooms, RoomPerson
from spotify_dag.app.newcomers import handed_in
from spotify_dag.app.problems import AppError
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.tracks.blend_answers import BlendWish
from spotify_dag.tracks.listeners import Listening

if TYPE_CHECKING:
    from spotify_dag.app.service import Service
    from spotify_dag.app.snapshot import Snapshot


@dataclass(frozen=True)
class Joining:
    """A guest whose files are being read."""

    job: Job
    """Tells how far it is, and not who came in: a job is kept for a while after its end."""
    _answers: list[dict[str, Any]]

    def end(self) -> dict[str, Any]:
        """Wait until the guest is in; return ``name, key, items, known``.

        Raises
        ------
        AppError
            If the files cannot be used, or nobody can join any more.
        """
        try:
            return self._ended(*list(follow(self.job))[-1])
        finally:
            self.job.stopped = True

    async def end_async(self) -> dict[str, Any]:
        """Do what `end` does, without a thread that waits."""
        try:
            return self._ended(*[event async for event in follow_async(self.job)][-1])
        finally:
            # A guest that nobody waits for any more does not come in.
            self.job.stopped = True

    def _ended(self, name: str, data: dict[str, Any]) -> dict[str, Any]:
        if name == "problem":
            raise AppError(data["status"], data["detail"])
        return self._answers[0]


class GuestBlends:
    """Answers about blends that people join by a link.

    Parameters
    ----------
    service
        The app that they are part of.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self.rooms = BlendRooms()

    def open(self, client: str) -> dict[str, Any]:
        """Open a blend; return ``code, link, key, expires_at``.

        Raises
        ------
        AppError
            If there are no tracks here, or as of `BlendRooms.open`.
        """
        self._service.tracks.must_be_there()
        room = self.rooms.open(client)
        return {
            "code": room.code,
            "link": f"/?blend={room.code}",
            "key": room.key,
            "expires_at": room.expires_at.isoformat(timespec="seconds"),
        }

    def told(self, code: str) -> dict[str, Any]:
        """Return who is in a blend, and until when it is open; of what they listen to, nothing."""
        people = self._people(code, self._service.serving.snapshot())
        return {
            "people": [{"name": it.name, "kind": "user" if it.listening is None else "file"} for it in people],
            "expires_at": self.rooms.expires_at(code).isoformat(timespec="seconds"),
        }

    def join_by_files(self, code: str, files: Sequence[tuple[str, IO[bytes]]], name: str, *, client: str) -> Joining:
        """Begin to read the files of a guest; they are copied first, and may be closed then.

        Parameters
        ----------
        code
            Of the blend.
        files
            As of `Service.add_files`.
        name
            What the guest wants to be called; may be empty.
        client
            The address that asks.

        Raises
        ------
        AppError
            If there is no such blend any more, nobody can join, or too many files are read already.
        """
        service = self._service
        self.rooms.check_place(code)
        service.serving.snapshot()  # Who could not be answered sends nothing that is read.
        folder, paths = service.workspace.copied(files)
        answers: list[dict[str, Any]] = []

        def work(job: Job) -> dict[str, Any]:
            try:
                job.begin()
                answers.append(self._join(job, code, folder, paths, name))
                return {}
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        seconds = service.project.settings.app_newcomer_seconds
        try:
            return Joining(service.jobs.start(work, lane="files", client=client, seconds=seconds), answers)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def join_as_user(self, code: str, user_id: str, proven: Iterable[str] = ()) -> dict[str, Any]:
        """Let in a user that this client may be told of; return ``name, key, items, known``.

        Raises
        ------
        UnknownUserError
            If the user is not known, or not shown to this client.
        AppError
            As of `BlendRooms.join_user`.
        """
        self.rooms.check_place(code)
        person = self._service.serving.snapshot().person(user_id, shown=user_id not in proven)
        known = self._service.tracks.known_of(user_id)
        joined = self.rooms.join_user(code, user_id, proven=user_id in proven)
        return {"name": joined.name, "key": joined.key, "items": person.tracks, "known": known}

    def listed(self, code: str, wish: BlendWish) -> dict[str, Any]:
        """Return one list for all who are in a blend. Users who are not shown any more are left out.

        Raises
        ------
        AppError
            If there is no such blend any more.
        ListenerError
            As of `Blends.blended`.
        """
        people = self._people(code, self._service.serving.snapshot())
        users = [person.name for person in people if person.listening is None]
        guests = [(person.name, person.listening) for person in people if person.listening is not None]
        return self._service.tracks.blend_of(users, wish, guests)

    def _join(self, job: Job, code: str, folder: Path, paths: Sequence[Path], name: str) -> dict[str, Any]:
        """Read the files of a guest, and let them in with what the catalogue knows of it."""
        import polars as pl

        service = self._service
        snapshot = service.serving.snapshot()
        job.progress("reading")
        names = partial(service.newcomers.artist_names, snapshot)
        with handed_in(paths, "guest", folder, job.check, names) as (source, reading):
            job.progress("read", items=reading.kept.total(), files=len(reading.files))
            rows = pl.concat(source.as_handed_in()).lazy()
            listening = Listening.of_items(rows.filter(pl.col("reason").is_null()))
        held = service.tracks.known(listening, MOST_HELD)
        if held.artists.is_empty():
            raise AppError(422, "Nothing in the file is among the tracks here, so no list can be made by it.")
        job.check()
        joined = self.rooms.join(code, name, held, service.is_shown)
        return {"name": joined.name, "key": joined.key, "items": reading.kept.total(), "known": held.tracks.height}

    def _people(self, code: str, snapshot: Snapshot) -> list[RoomPerson]:
        """Return who is in a blend, without users who were forgotten or hidden since."""
        return [it for it in self.rooms.people(code) if it.listening is not None or _may_be_told(snapshot, it)]


def _may_be_told(snapshot: Snapshot, user: RoomPerson) -> bool:
    try:
        snapshot.person(user.name, shown=not user.proven)
    except UnknownUserError:
        return False
    return True
