"""Where uploads are while they are read: a folder of this process, and none of those of processes that were killed."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import IO

from spotify_dag.app.problems import AppError
from spotify_dag.locks import locked

MOST_UPLOADS = 100
"""Files of one person."""
MOST_NAME = 100
"""Characters of the name of a file that are looked at."""


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
        self._held = ExitStack()

    def open(self) -> None:
        """Make the folder of this process, and delete those whose processes are gone."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        # Alone, as a folder whose lock is not held yet would be taken for an abandoned one.
        with locked(self.root / ".lock"):
            self._own = Path(tempfile.mkdtemp(dir=self.root, prefix="work-"))
            self._held.enter_context(locked(self._own / ".lock"))
            for folder in self.root.glob("work-*"):
                if folder != self._own and _abandoned(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def folder(self) -> Path:
        """Return a new folder in that of this process."""
        if self._own is None:
            self.open()
        return Path(tempfile.mkdtemp(dir=self._own))

    def copied(self, files: Sequence[tuple[str, IO[bytes]]]) -> tuple[Path, list[Path]]:
        """Copy files that somebody exported; return the folder, which the caller deletes, and where they are in it.

        Raises
        ------
        AppError
            If there are more than `MOST_UPLOADS`.
        """
        if len(files) > MOST_UPLOADS:
            raise AppError(422, f"At most {MOST_UPLOADS} files can be sent at once, not {len(files):,}. Send one zip.")
        folder = self.folder()
        try:
            paths = [folder / str(place) / file_name(name) for place, (name, _) in enumerate(files)]
            for path, (_, content) in zip(paths, files, strict=True):
                path.parent.mkdir()  # One folder each: two may have one name.
                with path.open("wb") as file:
                    shutil.copyfileobj(content, file)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return folder, paths

    def close(self) -> None:
        """Delete the folder of this process."""
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)
        self._held.close()


def file_name(name: str) -> str:
    """Return the name of a file as it is safe to use here; its ending and its title are kept."""
    plain = "".join(sign for sign in PurePosixPath(name.replace("\\", "/")).name if sign.isprintable())
    title, dot, ending = plain.rpartition(".")
    short = f"{title[:MOST_NAME]}{dot}{ending[:10]}".encode(errors="replace")[: 2 * MOST_NAME].decode(errors="ignore")
    # A playlist may be called "...", and its file "....csv".
    return re.sub(r"^\.(?=[^.]+\.)", "", short) if short.strip(".") else "upload"


def _abandoned(folder: Path) -> bool:
    """Return whether nobody holds the lock of a folder; a killed process lets go of it."""
    try:
        with locked(folder / ".lock", wait=False) as free:
            return free
    except OSError:
        return True
