"""The files that were handed in: one file, a folder, or a zip as downloaded. Nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from spotify_dag.sources.base import SourceError

MAX_FILES = 20_000
"""More playlists than anybody has: Spotify stops at 10,000."""
MAX_BYTES = 8 << 30
"""Unpacked. The whole history of a heavy listener of fifteen years is about 0.3 GiB."""
MAX_RATIO = 200
"""Unpacked to packed size. Listening histories reach about 30, what deflate can do at most is 1,032."""
SMALL_BYTES = 1 << 20
"""A file this small does no harm whatever its ratio."""
ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True)
class Member:
    """One file of what was handed in."""

    path: PurePosixPath
    open: Callable[[], IO[bytes]]
    """Opens it for reading."""

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.name


@contextmanager
def members(path: Path) -> Iterator[list[Member]]:
    """Give the files of a file, folder or zip, in natural order of their names ("2" before "10").

    Raises
    ------
    SourceError
        If there is nothing at the path, it cannot be opened, or it holds what nobody hands in in good faith: links,
        paths that lead out of it, archives in archives, more than `MAX_FILES` files, more than `MAX_BYTES` bytes, or
        files packed tighter than `MAX_RATIO`.
    """
    if not path.exists():
        raise SourceError(
            f"There is no file or folder '{path}'. Give a file, a folder or a zip that somebody exported."
        )
    if not (path.is_dir() or path.is_file()):
        raise SourceError(f"'{path}' is no plain file. Give a file, a folder or a zip that somebody exported.")
    try:
        if path.is_dir():
            yield _in_order(path, _folder(path))
        elif path.suffix.lower() == ".zip" or _begins_as_zip(path):
            with _archive(path) as archive:
                yield _in_order(path, _zipped(path, archive))
        else:
            yield [Member(PurePosixPath(path.name), _opener(path))]
    except OSError as error:
        raise SourceError(f"Cannot read '{path}': {error.strerror}. Check the disk and the permissions.") from error


def _opener(file: Path) -> Callable[[], IO[bytes]]:
    return lambda: file.open("rb")


def _begins_as_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise SourceError(f"'{path}' is no readable zip archive: {error}. Download it again.") from error


def _in_order(path: Path, found: Iterator[Member]) -> list[Member]:
    listed: list[Member] = []
    for member in found:
        if member.name.lower().endswith(".zip"):
            raise _refusal(path, str(member.path), "an archive in what was handed in; hand it in on its own")
        if not any(part.startswith(".") or part == "__MACOSX" for part in member.path.parts):
            listed.append(member)
        if len(listed) > MAX_FILES:
            raise SourceError(f"'{path}' holds more than {MAX_FILES:,} files. Hand in one person's export only.")
    return sorted(listed, key=lambda member: [_natural(part) for part in member.path.parts])


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(re.split("([0-9]{1,18})", name))]


def _folder(folder: Path) -> Iterator[Member]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            place = Path(parent, name)
            if place.is_symlink():
                raise _refusal(folder, str(place.relative_to(folder)), "a link; put the file itself there")
        for name in files:
            place = Path(parent, name)
            if place.is_file():
                yield Member(PurePosixPath(place.relative_to(folder).as_posix()), _opener(place))


def _zipped(path: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        if why := _unsafe(entry):
            raise _refusal(path, entry.filename, why)
    if (unpacked := sum(entry.file_size for entry in entries)) > MAX_BYTES:
        raise SourceError(f"'{path}' unpacks to {unpacked / 2**30:,.1f} GiB; at most {MAX_BYTES >> 30} GiB are read.")
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        raise SourceError(f"'{path}' holds files that overlap, as no honest zip does. Download it again.")
    for entry in entries:
        yield Member(PurePosixPath(entry.filename), partial(archive.open, entry))


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    """Return why a member of a zip is not to be trusted, or None."""
    # orig_filename: zipfile itself cuts names at a NUL.
    name = PurePosixPath(entry.orig_filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or re.match("[A-Za-z]:", entry.orig_filename):
        return "a path that leads out of the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link"
    if entry.flag_bits & 1:
        return "encrypted; unpack it and hand in the folder"
    if entry.file_size > max(SMALL_BYTES, MAX_RATIO * entry.compress_size):
        return f"packed more than {MAX_RATIO}-fold, as an archive that is made to fill disks"
    return None


def _refusal(path: Path, name: str, why: str) -> SourceError:
    return SourceError(f"'{path}' is refused: it holds {name[:80]!r}, {why}.")
