"""Files that several processes share, in a folder or in object storage: written whole, and told apart by version."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, overload
from uuid import uuid4

from spotify_dag.errors import SpotifyDagError
from spotify_dag.root import ObjectPath, Root

T = TypeVar("T")


def write_atomically(path: Root, content: bytes, *, private: bool = False) -> None:
    """Write a file in one step: readers, also after a crash, see the old content or the new, never a part.

    A ``private`` file can be read by its owner alone, whatever its rights were before; in object storage, by all who
    have its keys.
    """
    if isinstance(path, ObjectPath):
        path.write(content)
        return
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


def create(path: Root, content: bytes, *, private: bool = False) -> bool:
    """Write a file where there is none, in one step; return whether there was none. Of several at once, one does."""
    if isinstance(path, ObjectPath):
        return path.create(content)
    made = path.parent / f".{uuid4().hex}.tmp"
    write_atomically(made, content, private=private)
    try:
        os.link(made, path)
    except FileExistsError:
        return False
    finally:
        made.unlink()
    return True


def move(file: Root, path: Root) -> None:
    """Have a file stand in another place of its file system, or be an object, in one step; then it is gone here."""
    if isinstance(path, Path) and isinstance(file, Path):
        file.replace(path)
        return
    if isinstance(path, ObjectPath) and isinstance(file, Path):
        path.write(file)  # in parts: what a person hands in may be large
    else:
        write_atomically(path, file.read_bytes())
    file.unlink()


def delete_folder(folder: Root) -> None:
    """Delete a folder and all below it; nothing if there is none."""
    if isinstance(folder, ObjectPath):
        folder.delete()
        return
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


class DamagedFileError(SpotifyDagError):
    """A file that this program wrote is damaged. The message names the file and the remedy."""


def file_version(path: Root) -> tuple[object, ...]:
    """Return what differs once a file is replaced; nothing where there is none. To hold what was read until then."""
    if isinstance(path, ObjectPath):
        return path.version()
    try:
        status = path.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size


def folder_version(folder: Root) -> tuple[object, ...]:
    """Return what differs once something is put right into a folder; nothing where there is none."""
    if isinstance(folder, ObjectPath):
        times = [path.stat().st_mtime for path in folder.objects()]
        return (max(times), len(times)) if times else ()
    try:
        return (folder.stat().st_mtime_ns,)
    except FileNotFoundError:
        return ()


def names_in(folder: Root) -> list[str]:
    """Return the names of all that is right in a folder; none if there is none."""
    if isinstance(folder, ObjectPath):
        return [path.name for path in folder.iterdir()]
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


def names_beginning(folder: Root, *starts: str) -> list[str]:
    """Return the names of all that is right in a folder and begins with any of these.

    In object storage nothing else is listed.
    """
    if isinstance(folder, ObjectPath):
        return [path.name for start in starts for path in folder.beginning(start)]
    return [name for name in names_in(folder) if name.startswith(starts)]


@overload
def paths_below(folder: Path) -> Iterator[Path]: ...
@overload
def paths_below(folder: Root) -> Iterator[Root]: ...
def paths_below(folder: Root) -> Iterator[Root]:
    """Yield every file and folder below a folder; what is deleted meanwhile is passed over.

    `Path.rglob` ends with an error where another process deletes a folder that it is about to look into.
    """
    if isinstance(folder, ObjectPath):
        yield from folder.walk()
        return
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))


def read_own_json(path: Root, kind: type[T], remedy: str) -> T | None:
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
