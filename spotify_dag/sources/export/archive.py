"""What one person handed in: files, folders, zips as downloaded, zips in folders. Nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from spotify_dag.sources.base import SourceError
from spotify_dag.sources.packed import GZIP, ZIP

MAX_FILES = 20_000
"""More playlists than anybody has: Spotify stops at 10,000."""
MAX_BYTES = 8 << 30
"""Unpacked. The whole history of a heavy listener of fifteen years is about 0.3 GiB."""
MAX_RATIO = 200
"""Unpacked to packed size. Listening histories reach about 30, what deflate can do at most is 1,032."""
SMALL_BYTES = 1 << 20
"""A file this small does no harm whatever its ratio."""
HIDDEN = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files of systems. So are those with a name that begins with ``._``."""
COPY = re.compile(
    r"(?:(?:copy of|kopie von|copie de|copia de|copia di|kopia av|kopie van|kopia|копия) )?(.*?)"
    r"(?: ?\((\d{1,3})\)| [-–] (?:copy|kopie|copie|copia|kopia|копия)(?: \(\d+\))?| copy(?: \d+)?)?(\.[^.]*)?",
    re.IGNORECASE,
)
"""How browsers and file managers call a second copy of a file."""
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
"""What reading a member of an archive raises where the archive is damaged, or packed in a way that Python lacks."""


@dataclass(frozen=True)
class Member:
    """One file of what was handed in."""

    path: PurePosixPath
    open: Callable[[], IO[bytes]]
    """Opens it for reading."""
    size: int = 0
    crc: int | None = None
    """Its CRC-32 where that is known without reading it."""
    place: str = ""
    """What it lies in: the path that was handed in, with an archive."""

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.name

    @property
    def copy(self) -> tuple[str, str]:
        """Its name without what marks a copy, and that mark."""
        parts = COPY.fullmatch(self.name)
        base = f"{parts[1]}{parts[3] or ''}" if parts and parts[1] else self.name
        return (base, self.name) if base != self.name else (base, "")

    @property
    def download(self) -> tuple[str, str, str]:
        """Which download it is of: files of one lie together, and are no copies of each other."""
        return self.place, str(self.path.parent), self.copy[1]

    def checksum(self) -> int:
        """Return its CRC-32."""
        if self.crc is not None:
            return self.crc
        crc = 0
        with self.open() as stream:
            while block := stream.read(1 << 20):
                crc = zlib.crc32(block, crc)
        return crc


@dataclass
class HandedIn:
    """What was found in what was handed in."""

    members: list[Member] = field(default_factory=list)
    """The files, in natural order of their names ("2" before "10")."""
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Files that are not opened, and why."""


@contextmanager
def handed_in(*paths: Path) -> Iterator[HandedIn]:
    """Give the files of some files, folders and zips of one person.

    Of a folder, what cannot be read is left out with a reason: links, and zips that are damaged or not to be trusted.

    Raises
    ------
    SourceError
        If there is nothing at a path, it cannot be opened, or it holds what nobody hands in in good faith: a zip with
        links, paths that lead out of it, archives in archives or files packed tighter than `MAX_RATIO`; more than
        `MAX_FILES` files or `MAX_BYTES` bytes in all.
    """
    files = HandedIn()
    with ExitStack() as stack:
        for path in paths:
            try:
                _add(files, path, stack)
            except OSError as error:
                raise SourceError(
                    f"Cannot read '{path}': {error.strerror}. Check the disk and the permissions."
                ) from error
        if (size := sum(member.size for member in files.members)) > MAX_BYTES:
            raise SourceError(
                f"'{paths[0]}' unpacks to {size / 2**30:,.1f} GiB; at most {MAX_BYTES >> 30} GiB are read."
            )
        files.members.sort(key=_order)
        yield files


def _add(files: HandedIn, path: Path, stack: ExitStack) -> None:
    if not path.exists():
        raise SourceError(
            f"There is no file or folder '{path}'. Give a file, a folder or a zip that somebody exported."
        )
    if path.is_dir():
        for member in _folder(path, files):
            _add_member(files, member, path)
            if files.members and files.members[-1] is member and _begins(member.open, ZIP):
                files.members.pop()
                _add_inner(files, path, member, stack)
    elif path.is_file():
        if path.suffix.lower() == ".zip" or _begins(lambda: path.open("rb"), ZIP):
            archive = stack.enter_context(_archive(path, path))
            if (what := _document(archive)) is not None:
                files.unread.append((path.name, what))
                return
            for member in _zipped(path, path.stat().st_size, archive, str(path)):
                _add_member(files, member, path)
        else:
            place = str(path.parent)
            _add_member(files, _plain(path, PurePosixPath(_nfc(path.name)), place), path)
    else:
        raise SourceError(f"'{path}' is no plain file. Give a file, a folder or a zip that somebody exported.")


def _add_inner(files: HandedIn, folder: Path, member: Member, stack: ExitStack) -> None:
    """Add the files of a zip that lies in a folder; where it is refused, it is not read, and the others are."""
    path = folder / str(member.path)
    try:
        archive = stack.enter_context(_archive(path, path))
        if (what := _document(archive)) is not None:
            files.unread.append((str(member.path), what))
            return
        for inner in list(_zipped(path, member.size, archive, str(path))):
            _add_member(files, inner, folder)
    except SourceError as error:
        files.unread.append((str(member.path), str(error)))


def _add_member(files: HandedIn, member: Member, path: Path) -> None:
    *folders, name = member.path.parts or ("",)
    hidden = name.startswith("._") or name in HIDDEN or any(
        part == "__MACOSX" or (part.startswith(".") and part.strip(".")) for part in folders
    )  # fmt: skip
    if hidden:
        return
    files.members.append(member)
    if len(files.members) + len(files.unread) > MAX_FILES:
        raise SourceError(f"'{path}' holds more than {MAX_FILES:,} files. Hand in one person's export only.")


def _order(member: Member) -> tuple[object, ...]:
    def natural(name: str) -> list[tuple[int, str]]:
        parts = re.split("([0-9]{1,18})", name)
        return [(int(part), "") if place % 2 else (0, part) for place, part in enumerate(parts)]

    folder = [natural(part) for part in member.path.parts[:-1]]
    return len(folder) > 0, [natural(member.place)], folder, member.copy[1] != "", natural(member.name)


def _plain(file: Path, name: PurePosixPath, place: str) -> Member:
    size = file.stat().st_size
    return Member(name, partial(_unpacked, lambda: file.open("rb"), size), size, None, place)


def _unpacked(opener: Callable[[], IO[bytes]], size: int) -> IO[bytes]:
    """Open a file, unpacking gzip within the bounds of archives."""
    stream = opener()
    head = stream.read(len(GZIP))
    stream.seek(0)
    if head != GZIP:
        return stream
    return cast("IO[bytes]", io.BufferedReader(_Bounded(stream, max(SMALL_BYTES, MAX_RATIO * size))))


class _Bounded(gzip.GzipFile):
    """Gzip that ends with an error where it unpacks to more than anybody's listening would."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        super().__init__(fileobj=stream)
        self._left = most

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        block = super().read(size if size and size > 0 else io.DEFAULT_BUFFER_SIZE)
        self._left -= len(block)
        if self._left < 0:
            raise OSError(f"packed more than {MAX_RATIO}-fold")
        return block


def _begins(opener: Callable[[], IO[bytes]], magic: bytes) -> bool:
    try:
        with opener() as stream:
            return stream.read(len(magic)) == magic
    except UNREADABLE:
        return False


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _archive(path: Path, shown: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error) as error:
        raise SourceError(f"'{shown}' is no readable zip archive: {error}. Download it again.") from error


def _document(archive: zipfile.ZipFile) -> str | None:
    names = set(archive.namelist())
    if names & {"xl/workbook.xml", "Index/Document.iwa"} or {"mimetype", "content.xml"} <= names:
        return "an Excel workbook. Save it as CSV (UTF-8) and give that."
    return "a document, no archive of listening" if "[Content_Types].xml" in names else None


def _folder(folder: Path, handed: HandedIn) -> Iterator[Member]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            place = Path(parent, name)
            if place.is_symlink():
                handed.unread.append((str(place.relative_to(folder)), "a link; put the file itself there"))
        for name in files:
            place = Path(parent, name)
            if place.is_file() and not place.is_symlink():
                try:
                    yield _plain(place, PurePosixPath(_nfc(place.relative_to(folder).as_posix())), str(folder))
                except OSError as error:
                    handed.unread.append((str(place.relative_to(folder)), f"cannot be read: {error.strerror}"))


def _zipped(path: Path, size: int, archive: zipfile.ZipFile, place: str) -> Iterator[Member]:
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    for entry in entries:
        if why := _unsafe(entry):
            raise _refusal(path, _name(entry), why)
    if (unpacked := sum(entry.file_size for entry in entries)) > MAX_BYTES:
        raise SourceError(f"'{path}' unpacks to {unpacked / 2**30:,.1f} GiB; at most {MAX_BYTES >> 30} GiB are read.")
    if sum(entry.compress_size for entry in entries) > size:
        raise SourceError(f"'{path}' holds files that overlap, as no honest zip does. Download it again.")
    for entry in entries:
        name = _name(entry)
        if name.lower().endswith(".zip"):
            raise _refusal(path, name, "an archive in what was handed in; hand it in on its own")
        opener = partial(_unpacked, partial(archive.open, entry), entry.file_size)
        yield Member(PurePosixPath(name), cast("Callable[[], IO[bytes]]", opener), entry.file_size, entry.CRC, place)


def _name(entry: zipfile.ZipInfo) -> str:
    """Return the name of a member: UTF-8 where its bytes are that, whatever the archive says; else as zip has it."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode()
    return _nfc(name).replace("\\", "/")


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
