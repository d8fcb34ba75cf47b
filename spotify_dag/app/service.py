"""The answers of the app, for the API and for the pages."""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from spotify_dag.app.account_playlists import AccountPlaylists
from spotify_dag.app.background_jobs import Job, Jobs, Lane
from spotify_dag.app.guard import Rate
from spotify_dag.app.guest_blends import GuestBlends
from spotify_dag.app.heavy_work import HeavyWork
from spotify_dag.app.identity import Identity, Session, Signer
from spotify_dag.app.match_answers import match_answer, top_tracks
from spotify_dag.app.newcomers import Newcomer, Newcomers, hand_in, hand_in_login, handed_in
from spotify_dag.app.pictures import Pictures
from spotify_dag.app.problems import AppError
from spotify_dag.app.published_version import Serving
from spotify_dag.app.search_together import SearchTogether
from spotify_dag.app.snapshot import Snapshot
from spotify_dag.app.telemetry import Telemetry
from spotify_dag.app.track_questions import Tracks
from spotify_dag.app.workspace import Workspace
from spotify_dag.errors import SpotifyDagError
from spotify_dag.lifecycle.change_preferences import change_preferences
from spotify_dag.matching.matcher import Match, UnknownUserError
from spotify_dag.schemas import ARTIST_GENRES, USERS, buckets_of
from spotify_dag.sources.listenbrainz import one_listener
from spotify_dag.sources.listenbrainz.names import names_profile, parse_name, user_id_of
from spotify_dag.sources.spotify import drop_user
from spotify_dag.sources.spotify.names import parse_user
from spotify_dag.sources.spotify.one import one_user
from spotify_dag.stores.preferences import Preference

if TYPE_CHECKING:
    from spotify_dag.project import Project

REFINED = 50
"""Of so many matches the order is found anew where somebody moves the sliders."""
TOP_TRACKS = 3
MOST_FILES = 20
"""Files named one by one in an answer."""


@dataclass(frozen=True)
class Wish:
    """What a newcomer asks for."""

    k: int = 10
    min_shared: int = 0
    consent: bool = False
    """Whether to keep them, and to show them to others."""
    top_artist_count: int | None = None
    playlists_count: int | None = None


class Service:
    """The parts of the running app.

    Parameters
    ----------
    project
        The data root.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.newcomers = Newcomers(project)
        self.serving = Serving(project, self.newcomers.revised, self.use)
        self.newcomer_rate = Rate(project.settings.app_newcomers_per_minute)
        self.tracks = Tracks(project)
        self.jobs = Jobs()
        self.guest_blends = GuestBlends(self)
        self.search_together = SearchTogether()
        self.heavy = HeavyWork(at_once=4, waiting=40)
        self.drawing = HeavyWork(at_once=1, waiting=20)
        self.account_playlists = AccountPlaylists(project.settings)
        self.pictures = Pictures()
        self.identity = Identity(project.settings, Signer(project.settings.local_data / "app" / "key"))
        self.telemetry = Telemetry(self.serving)
        self.workspace = Workspace(project.settings.local_data / "app")

    def use(self, project: Project) -> None:
        """Answer from the data root as it is divided now; what is being answered goes on from the tables before."""
        self.project = self.newcomers.project = project
        self.tracks.use(project)

    def start(self) -> None:
        """Read what is published, and load what newcomers need, both beside."""
        self.workspace.open()
        self.serving.start()
        threading.Thread(target=self._warm, name="warm", daemon=True).start()

    def stop(self) -> None:
        """End what runs, and leave nothing behind."""
        self.jobs.stop()
        self.guest_blends.rooms.clear()
        self.serving.stop()
        self.search_together.stop()
        self.workspace.close()

    def matches(self, user_id: str, k: int, min_shared: int, proven: Iterable[str] = ()) -> dict[str, Any]:
        """Return who is most like a user of the index.

        Raises
        ------
        UnknownUserError
            If there is no such user, or they are not shown to this client.
        """
        snapshot = self.serving.snapshot()
        person = snapshot.person(user_id, shown=user_id not in proven)
        return match_answer(snapshot, user_id, person, snapshot.matches(person, k, min_shared=min_shared))

    async def matches_together(self, user_id: str, k: int, proven: Iterable[str] = ()) -> dict[str, Any]:
        """Return what `matches` does, looking for all who ask at the same time at once."""
        snapshot = self.serving.snapshot()
        person, near = await self.search_together.matches_of(snapshot, (user_id, user_id not in proven), k)
        return match_answer(snapshot, user_id, person, snapshot.explained(person, near))

    def listeners(self, beginning: str, k: int) -> dict[str, Any]:
        """Return ``listeners`` who are shown and whose ids begin with a text; for no text, examples."""
        return {"listeners": self.serving.snapshot().listeners(beginning.strip(), k)}

    def compare(self, first: str, second: str, limit: int | None, proven: Iterable[str] = ()) -> dict[str, Any]:
        """Return what two users have in common, and what each has that the other has not.

        Raises
        ------
        UnknownUserError
            If one of them is not known, or not shown to this client.
        """
        snapshot = self.serving.snapshot()
        asking, other = (snapshot.person(user, shown=user not in proven) for user in (first, second))
        match, mirrored = snapshot.compare(asking, other, limit)
        answer = match.as_dict() | {"user_id": first, "other_id": second, "model_version": snapshot.model_version}
        return answer | {"new_to_other": mirrored.as_dict()["new_to_you"]}

    def picture(self, first: str, second: str, proven: Iterable[str] = ()) -> bytes:
        """Return what two users have in common as PNG; drawn once for as long as the answer is the same.

        Raises
        ------
        UnknownUserError
            If one of them is not known, or not shown to this client.
        """
        return self.pictures.of(self.compare(first, second, 6, proven))

    def add_profile(self, profile: str, wish: Wish, *, login: Session | None, client: str) -> Job:
        """Begin to answer a user of Spotify or ListenBrainz, by id, URI or profile URL; it is read, never fetched.

        Parameters
        ----------
        profile
            The user that is asked for.
        wish
            What is asked for.
        login
            The session of the client, if it has logged in.
        client
            The address of the client.

        Raises
        ------
        UserNameError, ListenBrainzNameError
            If it names no user.
        AppError
            If somebody else agrees to be shown in the user's place.
        """
        if names_profile(profile):
            return self._add_listenbrainz(parse_name(profile), wish, client)
        user_id = parse_user(profile)
        own = login if login is not None and login.user_id == user_id and login.token else None
        if wish.consent and own is None:
            raise AppError(
                403, "Only the user themselves can agree to be kept and shown: log in with Spotify first, at /login."
            )
        self._refuse_to_keep(wish)
        lane: Lane = "known" if own is None and self.is_shown(user_id) and not _refines(wish) else "spotify"
        return self._begin(lambda job: self._profile(job, user_id, wish, own), lane, client)

    def _add_listenbrainz(self, name: str, wish: Wish, client: str) -> Job:
        if wish.consent:
            raise AppError(
                403, "Only the user themselves can agree to be kept and shown: hand in the export of your listens "
                "that ListenBrainz gives you, at https://listenbrainz.org/settings/export.",
            )  # fmt: skip
        user_id = user_id_of(name)
        lane: Lane = "known" if self.is_shown(user_id) and not _refines(wish) else "spotify"
        return self._begin(lambda job: self._listenbrainz(job, name, user_id, wish), lane, client)

    def add_files(
        self, files: Sequence[tuple[str, IO[bytes]]], wish: Wish, *, client: str, user_id: str | None = None
    ) -> Job:
        """Begin to answer somebody by files they exported; they are copied first, and may be closed then.

        Parameters
        ----------
        files
            The name of each file, as it was called where it comes from, and the file.
        wish
            What is asked for.
        client
            The address that asks.
        user_id
            Who handed in files before and hands in better ones; None for somebody new.

        Raises
        ------
        AppError
            If there are too many files, too many wait, or this app keeps nobody.
        NoModelError
            If there is nothing to answer from yet.
        """
        self._refuse_to_keep(wish)
        self.serving.snapshot()  # Who could not be answered sends nothing that is read.
        folder, paths = self.workspace.copied(files)
        try:
            user = user_id or new_user_id()
            return self._begin(lambda job: self._files(job, paths, folder, user, wish), "files", client)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _refuse_to_keep(self, wish: Wish) -> None:
        if wish.consent and not self.project.settings.app_keeps:
            raise AppError(403, "This app keeps nobody. Ask without consent: nothing is then kept after the answer.")

    def with_top_tracks(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return matches with the tracks that each of them has most often: read from the lake, and so not at once."""
        users = [match["user_id"] for match in answer["matches"]]
        project = self.project
        tracks = top_tracks(project.preferences.counted_of(project.lake, users), TOP_TRACKS)
        return answer | {
            "matches": [match | {"top_tracks": tracks.get(match["user_id"], [])} for match in answer["matches"]]
        }

    def change_preferences(
        self, user_id: str, add: Sequence[Preference] = (), remove: Sequence[Preference] = ()
    ) -> dict[str, Any]:
        """Change what a user leaves out and says of tracks, and answer by it from now on.

        Raises
        ------
        UnknownUserError, PreferenceError
            As of `lifecycle.change_preferences`.
        AppError
            If this app keeps nobody.
        """
        self._refuse_to_keep(Wish(consent=True))
        answer = change_preferences(self.project, user_id, add, remove)
        self.serving.revise()
        self.pictures.clear()
        return answer

    def forget(self, user_id: str) -> dict[str, int]:
        """Delete everything there is of a user, here and everywhere; return what was deleted, per place.

        Raises
        ------
        UnknownUserError
            If there is no such user.
        """
        from spotify_dag.lifecycle.forget import forget

        drop_user(self.project.settings, user_id)
        try:
            done = forget(self.project, user_id)
        except SpotifyDagError as error:
            raise UnknownUserError(str(error)) from None
        self.serving.hide(user_id)
        self.guest_blends.rooms.forget(user_id)
        self.newcomers.drop_model()
        self.pictures.clear()
        return done.deleted

    def _warm(self) -> None:
        while self.serving.current is None:
            if self.serving.ended.wait(0.1):
                return
        try:
            self.newcomers.warm(self.serving.current)
        finally:
            keep_what_is_loaded()

    def _begin(self, answer: Callable[[Job], dict[str, Any]], lane: Lane, client: str) -> Job:
        begun = time.perf_counter()

        def work(job: Job) -> dict[str, Any]:
            try:
                job.begin()
                return answer(job)
            finally:
                self.telemetry.newcomer_seconds.observe(time.perf_counter() - begun)

        return self.jobs.start(work, lane=lane, client=client, seconds=self.project.settings.app_newcomer_seconds)

    def is_shown(self, user_id: str) -> bool:
        """Return whether a user is known here, and others may be told of them."""
        snapshot = self.serving.current
        return snapshot is not None and snapshot.is_shown(user_id)

    def _profile(self, job: Job, user_id: str, wish: Wish, login: Session | None) -> dict[str, Any]:
        snapshot = self.serving.snapshot()
        if login is None and self.is_shown(user_id) and not _refines(wish):
            return _of_shown_user(job, snapshot, user_id, wish)
        if not self.project.settings.spotify_client_id:
            raise AppError(
                404, f"'{user_id[:80]}' is not known here, and this app is not connected to Spotify. Hand in a file."
            )
        job.progress("reading", user_id=user_id)
        folder = self.workspace.folder()
        try:
            token = login.token if login is not None else None
            with one_user(self.project.settings, user_id, token, folder=folder) as source:
                newcomer = self._embed(job, snapshot, user_id, source)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        answer = self._newcomer(job, snapshot, newcomer, wish)
        if wish.consent and login is not None and login.token:
            job.check()
            if not self.identity.lives(login):
                raise AppError(401, "You have logged out meanwhile, so nothing was kept. Log in again, at /login.")
            hand_in_login(self.project, user_id, login.token)
            answer |= {"kept": True, "stored": {"login": 1}}
        return answer

    def _listenbrainz(self, job: Job, name: str, user_id: str, wish: Wish) -> dict[str, Any]:
        snapshot = self.serving.snapshot()
        if self.is_shown(user_id) and not _refines(wish):
            return _of_shown_user(job, snapshot, user_id, wish)
        if user_id in self.project.tombstones:
            raise UnknownUserError(f"ListenBrainz does not know the listens of '{name}'.")
        job.progress("reading", user_id=user_id)
        folder = self.workspace.folder()
        try:
            with one_listener(self.project.settings, name, folder=folder) as source:
                newcomer = self._embed(job, snapshot, user_id, source)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return self._newcomer(job, snapshot, newcomer, wish)

    def _files(self, job: Job, paths: list[Path], folder: Path, user_id: str, wish: Wish) -> dict[str, Any]:
        try:
            snapshot = self.serving.snapshot()
            job.progress("reading")
            names = partial(self.newcomers.artist_names, snapshot)
            with handed_in(paths, user_id, folder, job.check, names) as (source, reading):
                job.progress("read", items=reading.kept.total(), files=len(reading.files))
                newcomer = self._embed(job, snapshot, user_id, source)
                answer = self._newcomer(job, snapshot, newcomer, wish)
                if wish.consent:
                    job.check()
                    hand_in(self.project, user_id, source, opted_in=True)
                    answer |= {"kept": True, "stored": {"items": reading.kept.total()}}
                    answer["token"] = self.identity.file_token(user_id)
                answer["left_out"] = dict((reading.skipped_rows() + reading.rejected).most_common(10))
                answer["reading"] = reading.report(most=MOST_FILES)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return answer

    def _embed(self, job: Job, snapshot: Snapshot, user_id: str, source: Any) -> Newcomer:
        job.progress("embedding")
        return self.newcomers.embed(snapshot, user_id, source, job.check)

    def _newcomer(self, job: Job, snapshot: Snapshot, newcomer: Newcomer, wish: Wish) -> dict[str, Any]:
        job.progress("searching", items=newcomer.person.tracks, playlists=newcomer.playlists)
        if _refines(wish):
            matches = self._refined(job, snapshot, newcomer, wish)
        else:
            matches = snapshot.matches(newcomer.person, wish.k, min_shared=wish.min_shared)
        answer = match_answer(snapshot, newcomer.user_id, newcomer.person, matches)
        answer |= {"playlists": newcomer.playlists, "known_genres": round(newcomer.known_genres, 3)}
        # The code that keeps something also says so.
        return answer | {"kept": False, "stored": {}}

    def _refined(self, job: Job, snapshot: Snapshot, newcomer: Newcomer, wish: Wish) -> list[Match]:
        """Return matches in the order that other settings give, applied to both sides alike."""
        import polars as pl

        near = snapshot.matches(newcomer.person, max(REFINED, wish.k), min_shared=wish.min_shared)
        users = [match.user_id for match in near]
        project = self.project
        lake, settings = project.lake, project.settings
        buckets = buckets_of(users, lake.n_buckets)
        chosen = pl.col("user_id").is_in(users)
        everybody = pl.concat([newcomer.users, lake.scan(USERS, buckets).filter(chosen).collect()], how="diagonal")
        raw = pl.concat([newcomer.raw, project.preferences.counted_of(lake, users).collect()])
        genres = pl.concat([newcomer.artist_genres, lake.scan(ARTIST_GENRES, buckets).collect()])
        vectors = self.newcomers.vectors(
            snapshot, everybody.unique("user_id", keep="first", maintain_order=True), raw,
            genres.unique(["user_bucket", "artist_key"], keep="first", maintain_order=True),
            top_artist_count=wish.top_artist_count or settings.top_artist_count,
            playlists_count=wish.playlists_count or settings.playlists_count or 1_000_000, check=job.check,
        )  # fmt: skip
        place = {user: number for number, user in enumerate(everybody["user_id"].to_list())}
        # Users who were forgotten meanwhile have no listening any more.
        here = [match for match in near if match.user_id in place]
        scores = vectors[[place[match.user_id] for match in here]] @ vectors[0] if here else np.zeros(0)
        again = snapshot.rescored(here, scores)
        return sorted(again, key=lambda match: (-match.score, match.user_id))[: wish.k]


def keep_what_is_loaded() -> None:
    """Take what was loaded so far out of the search for garbage, which nearly all of it will never be."""
    gc.collect()
    gc.freeze()


def new_user_id() -> str:
    """Return the id of somebody who hands in a file: nobody can guess it, or take another's place."""
    import secrets

    return f"export-{secrets.token_hex(8)}"


def _refines(wish: Wish) -> bool:
    return wish.top_artist_count is not None or wish.playlists_count is not None


def _of_shown_user(job: Job, snapshot: Snapshot, user_id: str, wish: Wish) -> dict[str, Any]:
    """Return the answer for a user that others may see: from memory, without reading anything."""
    job.progress("searching", user_id=user_id)
    person = snapshot.person(user_id)
    return match_answer(snapshot, user_id, person, snapshot.matches(person, wish.k, min_shared=wish.min_shared))
