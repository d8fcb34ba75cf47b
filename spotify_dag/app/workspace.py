"""Where uploads are while they are read: a folder of this process, and none of those of processes that were killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from spotify_dag.files import locked


class Workspace:
    """A folder that lives as long as the process does: the next process sweeps up after one that was killed.

    Parameters
    ----------
    root
        Of the folders of all processes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._own: Path | None = None
        self._held: IO[str] | None = None

    def open(self) -> None:
        """Make the folder of this process, and delete those whose processes are gone."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        # Alone, as a folder whose lock is not held yet would be taken for an abandoned one.
        with locked(self.root / ".lock"):
            self._own = Path(tempfile.mkdtemp(dir=self.root, prefix="work-"))
            self._held = (self._own / ".lock").open("w")
            fcntl.flock(self._held, fcntl.LOCK_EX)
            for folder in self.root.glob("work-*"):
                if folder != self._own and _abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def folder(self) -> Path:
        """Return a new folder in that of this process."""
        if self._own is None:
            self.open()
        return Path(tempfile.mkdtemp(dir=self._own))

    def close(self) -> None:
        """Delete the folder of this process."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
        if self._held is not None:
            self._held.close()


def _abandoned(folder: Path) -> bool:
    """Return whether nobody holds the lock of a folder; a killed process lets go of it."""
    try:
        with (folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
