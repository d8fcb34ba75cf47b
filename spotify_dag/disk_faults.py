"""What a disk refuses: no room, read-only, no rights, broken. Said in one line, whichever library met it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from spotify_dag.errors import SpotifyDagError

ROOM = "Make room, for example with spotify-dag tidy, and run the command again. What was there is whole"
RIGHTS = "Give the user who runs this the right to write there, or choose another folder with --data"
WRITABLE = "Make it writable (mount -o remount,rw), or choose another folder with --data"
FOLDER = "A file stands where a folder is needed: move it away, or choose another folder with --data"
DEFECT = "The disk may be failing: look at the system's log, and copy the data root to another one"
REMEDIES = {
    errno.ENOSPC: ROOM,
    errno.EDQUOT: ROOM,
    errno.EFBIG: ROOM,
    errno.EROFS: WRITABLE,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.ENOTDIR: FOLDER,
    errno.EEXIST: FOLDER,
    errno.EIO: DEFECT,
}
"""By number of the operating system's error."""
IN_OTHER_WORDS = {
    **{os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)},
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
"""How libraries say it that give no number, SQLite above all."""
_PATH = re.compile(r"(?:file://)?(/[^\s'\":,()]+)")


class DiskError(SpotifyDagError):
    """The disk refused something. The message says what, where and the remedy."""


def disk_error(error: BaseException, root: object) -> DiskError | None:
    """Return what an error, or what caused it, says of the disk; None where it says nothing of it.

    Parameters
    ----------
    error
        Of any library: every one has its own class, and all of them repeat what the operating system says.
    root
        Where it was, if the error does not say.
    """
    for cause in _causes(error):
        number = _number(cause)
        if number is not None:
            return DiskError(f"{os.strerror(number)}: {_where(cause) or root}. {REMEDIES[number]}")
    return None


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return error.errno
    said = str(error)
    for number in REMEDIES:
        if f"os error {number})" in said:
            return number
    return next((number for words, number in IN_OTHER_WORDS.items() if words in said), None)


def _where(error: BaseException) -> str | None:
    if isinstance(error, OSError) and error.filename is not None:
        return str(error.filename)
    path = _PATH.search(str(error))
    return path[1] if path else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # what is raised again in another thread may be its own cause
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
