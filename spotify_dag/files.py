"""Files that several processes share: atomic writes, and what of them is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from spotify_dag.errors import SpotifyDagError

T = TypeVar("T")


def write_atomically(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file in one step: readers, also after a crash, see the old content or the new, never a part.

    A ``private`` file can be read by its owner alone, whatever its rights were before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{uuid4().hex}.tmp"
    try:
        # os.open sets the rights when the file is made: others cannot read a private file for even a moment.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename, error.filename2 = str(path), None  # the name of the temporary file says nothing to anybody
        raise


class DamagedFileError(SpotifyDagError):
    """A file that this program wrote is damaged. The message names the file and the remedy."""


def file_version(path: Path) -> tuple[int, ...]:
    """Return what differs once a file is replaced; nothing where there is none. To hold what was read until then."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def paths_below(folder: Path) -> Iterator[Path]:
    """Yield every file and folder below a folder; what is deleted meanwhile is passed over.

    `Path.rglob` ends with an error where another process deletes a folder that it is about to look into.
    """
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def read_own_json(path: Path, kind: type[T], remedy: str) -> T | None:
    """Return the content of a JSON file that this program wrote, or None if there is no file.

    Parameters
    ----------
    path
        The file.
    kind
        Its type, for pydantic: ``dict[str, Any]``, a TypedDict, a dataclass.
    remedy
        What to do if it is damaged: the last sentence of the message.

    Raises
    ------
    DamagedFileError
        If it is not JSON, or has another type.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DamagedFileError(f"{path} is damaged: {place + ': ' if place else ''}{first['msg']}. {remedy}") from error
