"""Follow what is published: read it anew when it changes, beside the answers that go on from what was read before."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from spotify_dag.app.snapshot import Person, Snapshot
from spotify_dag.errors import SpotifyDagError
from spotify_dag.files import folder_version
from spotify_dag.root import Root
from spotify_dag.stores.model_registry import NoModelError
from spotify_dag.stores.user_index import POINTER, UserIndex

if TYPE_CHECKING:
    from spotify_dag.project import Project

LOOK_SECONDS = 1.0
"""How often it is looked whether something else is published."""
END_SECONDS = 0.5
"""How long what is being read may take to end when the app does."""
REST = 3
"""After reading, at least this many times as long passes before it is read again: a run changes many tables."""
log = logging.getLogger(__name__)


class Serving:
    """The snapshot that answers, followed by a thread of its own.

    Parameters
    ----------
    project
        The data root.
    revised
        Tells which users of a snapshot changed what they leave out since they were indexed, and how they are now.
    divided
        Called with the data root when its buckets were split: from now on it is to be read so.
    """

    def __init__(
        self, project: Project, revised: Callable[[Snapshot], Mapping[str, Person | None]],
        divided: Callable[[Project], None] = lambda _project: None,
    ) -> None:  # fmt: skip
        self.project = project
        self._revised = revised
        self._divided = divided
        self._revising = threading.Lock()
        self._revised_at: object = ()
        self.problem = "The app is still reading its users."
        self.current: Snapshot | None = None
        self._read_at: tuple[object, ...] = ()
        self._pointer = b""
        self._index_versions: Root | None = None
        self._hidden: set[str] = set()
        self.looked = threading.Event()
        """Set once it was looked for the first time, whether or not anything was there."""
        self.ended = threading.Event()
        self._now = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="serving", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._thread.start()

    def stop(self) -> None:
        """Follow no more."""
        self.ended.set()
        self._now.set()
        if self._thread.is_alive():
            self._thread.join(END_SECONDS)

    def hide(self, user_id: str) -> None:
        """Show a user who was forgotten to nobody from now on, and read anew what is there without them."""
        self._hidden.add(user_id)
        if self.current is not None:
            self.current.hide(user_id)
        self._now.set()

    def snapshot(self) -> Snapshot:
        """Return what is published; one request asks once.

        Raises
        ------
        NoModelError
            If there is nothing to answer from yet.
        """
        snapshot = self.current
        if snapshot is None:
            raise NoModelError(self.problem)
        return snapshot

    def refresh(self) -> None:
        """Read what is published if it is not what was read last."""
        try:
            self._follow_layout()
            stamp = self._stamp()
            if stamp == self._read_at:
                self.revise()
                return
            hidden = set(self._hidden)
            read = Snapshot.read(self.project, self.current)
            # A user that was forgotten while it was read may still be in it.
            for user in self._hidden - hidden:
                read.hide(user)
            self._hidden -= hidden
            self.revise(read)
            self._read_at = stamp
        except SpotifyDagError as error:
            self.problem = str(error)

    def _follow_layout(self) -> None:
        project = self.project.now()
        if project is not self.project:
            log.warning(
                "The %d user buckets were split into %d: from now on they are read so.",
                self.project.lake.n_buckets, project.lake.n_buckets,
            )  # fmt: skip
            self.project = project
            self._divided(project)

    def revise(self, read: Snapshot | None = None) -> None:
        """Answer with what users leave out now; ``read`` is a snapshot to answer from in place of the current one."""
        with self._revising:
            snapshot = read or self.current
            said = self.project.preferences.versions()
            if snapshot is None or (read is None and said == self._revised_at):
                return
            revised = self._revised(snapshot)
            self.current = current = snapshot.with_revised(revised) if revised or snapshot.revised else snapshot
            for user in tuple(self._hidden):  # who were hidden meanwhile, in what was answered from before
                current.hide(user)
            self._revised_at = said

    def _follow(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                self.refresh()
            except Exception:
                # A table that changes while it is read can fail in many ways; what was read before goes on answering.
                log.warning("What is published could not be read; it is tried again.", exc_info=True)
            self.looked.set()
            self._now.wait(max(LOOK_SECONDS, REST * (time.monotonic() - begun)))
            self._now.clear()
            if self.ended.is_set():
                return

    def _stamp(self) -> tuple[object, ...]:
        """Return what changes whenever an answer might; it is asked for every second."""
        vectors = self.project.vectors
        try:
            pointer = (vectors / POINTER).read_bytes()
        except FileNotFoundError:
            return (None,)
        if pointer != self._pointer:
            index_and_scale = UserIndex.published(vectors)
            self._index_versions = index_and_scale and vectors / f"{index_and_scale[0].name}.lance" / "_versions"
            self._pointer = pointer
        written = folder_version(self._index_versions) if self._index_versions else None
        return (pointer, written)
