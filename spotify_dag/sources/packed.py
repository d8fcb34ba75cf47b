"""Files of data sets as they were downloaded: gzip is read as it is, of other packing one line says what to do."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from spotify_dag.sources.base import SourceError

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it and give the folder."),
    (b"Rar!\x1a\x07", "a rar archive", "Unpack it and give the folder."),
    (b"\xfd7zXZ\x00", "packed with xz", "Unpack it and give what is in it."),
    (b"BZh", "packed with bzip2", "Unpack it and give what is in it."),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", "Unpack it and give what is in it."),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook", "Save it as CSV (UTF-8) and give that."),
    (b"SQLite format 3\x00", "a database", "Export its tables as CSV and give those."),
    (b"%PDF", "a PDF", "Give the CSV or JSON files beside it."),
)
"""How files begin that cannot be read, what they are, and the remedy."""
ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar")
"""How the names of archives end; that of gzip is not among them, as it is read."""
WORKBOOK = ("an Excel workbook", "Save it as CSV (UTF-8) and give that.")
WORKBOOK_NAMES = (".xlsx", ".xlsm", ".ods", ".numbers")
"""Workbooks that are zip archives inside."""
HTML = ("a web page", "Export it as JSON or CSV instead.")


def why_unreadable(name: str, head: bytes) -> str | None:
    """Return what a file is that no reader reads, with the remedy; None where one may.

    Parameters
    ----------
    name, head
        Its name, and how it begins.
    """
    for start, what, remedy in KINDS:
        if head.startswith(start):
            return f"{what}. {remedy}"
    lower = name.lower()
    if lower.endswith(WORKBOOK_NAMES):
        return f"{WORKBOOK[0]}. {WORKBOOK[1]}"
    if lower.endswith((".html", ".htm")) or head[:200].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return f"{HTML[0]}. {HTML[1]}"
    return None


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file of a data set for reading, unpacking gzip.

    Raises
    ------
    SourceError
        If it is packed in another way, or cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
            stream.seek(0)
            packed = _inside(path) if head.startswith(GZIP) else None
            is_tar = (packed or head)[257:262] == b"ustar"
            if is_tar or (head.startswith(ZIP) and zipfile.is_zipfile(path)):
                raise SourceError(f"'{path}' is an archive. Unpack it, and give the folder.")
            if why := why_unreadable(path.name, head):
                raise SourceError(f"'{path}' is {why}")
            if packed is not None:
                with gzip.GzipFile(fileobj=stream) as unpacked:
                    yield cast("IO[bytes]", unpacked)
            else:
                yield stream
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"Cannot read '{path}': {reason}. Check the disk and the permissions.") from error


def _inside(path: Path) -> bytes | None:
    """Return how what is packed with gzip begins; None where it only looks packed."""
    try:
        with gzip.open(path) as unpacked:
            return unpacked.read(512)
    except (OSError, EOFError, zlib.error):
        return None


def folders_near(path: Path) -> Iterable[Path]:
    """Yield a folder and those in which its files may be instead: one was given too high, or the archive had one."""
    yield path
    below = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    yield from below
    for folder in below:
        yield from sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
