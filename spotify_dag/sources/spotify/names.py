"""Who is meant: a user by id, URI or profile URL, and lists of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from spotify_dag.errors import SpotifyDagError
from spotify_dag.sources.base import SourceError

if TYPE_CHECKING:
    import polars as pl

EXAMPLE = "https://open.spotify.com/user/1234567890, spotify:user:1234567890 or 1234567890"
# What an id may hold: today's are base62, but names chosen in the first years hold nearly anything that is no
# separator of a URL. An "@" would be somebody's e-mail address.
_ID = re.compile(r"(?!\.+$)[^\s/\\?&:@%\"'<>,;|\x00-\x1f\x7f]{1,128}")
_COLUMNS = (
    "user_id", "userid", "user", "spotify_id", "spotify_user_id", "id", "username", "user_uri", "uri", "user_url",
    "profile_url", "url", "profile", "profile_id",
)  # fmt: skip
_LOOK_AT = 100
"""Rows that decide which column of a table holds the users."""


class UserNameError(SpotifyDagError):
    """That names no user. The message shows what would."""


def parse_user(text: str) -> str:
    """Return the id of the user that a profile URL, a URI or an id names.

    Raises
    ------
    UserNameError
        If ``text`` is anything else; what it may be is shown by example.
    """
    name = text.strip()
    if parts := re.fullmatch(r"(?i:spotify:user:)([^:]+)", name):
        name = unquote(parts[1])
    elif re.match(r"(?i)(?:https?://)?(?:spotify\.link|spotify\.app\.link)/", name):
        raise UserNameError(
            f"{name[:80]!r} is a short link, which does not say whose it is: open it in a browser and copy the address "
            f"it leads to, like {EXAMPLE.split(',', maxsplit=1)[0]}."
        )
    elif parts := re.match(r"(?i)(?:https?://)?(?=(?:open|play|www)\.spotify\.com/)", name):
        path = urlsplit("https://" + name[parts.end() :]).path
        profile = re.fullmatch(r"/(?:intl-[A-Za-z-]+/)?user/([^/]+)/?", path)
        name = unquote(profile[1]) if profile else ""
    # Lone halves of surrogate pairs match the pattern, and nothing can send or store them.
    if not _ID.fullmatch(name) or not name.isprintable():
        raise UserNameError(f"{text.strip()[:80]!r} names no Spotify user. Give one like {EXAMPLE}.")
    return name


def is_user(text: str) -> bool:
    """Return whether ``text`` names a user."""
    try:
        parse_user(text)
    except UserNameError:
        return False
    return True


def read_names(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the row number and the text of every name in a list of users; nothing is checked.

    Parameters
    ----------
    file
        Text with one name a line (blank lines and lines that begin with ``#`` do not count), ``.csv`` or ``.parquet``.
        Of a table, the column is taken that is named like one of users, else the only or first one that holds names.

    Raises
    ------
    SourceError
        If it cannot be read, or no column holds names of users.
    """
    import polars as pl

    try:
        if file.suffix.lower() == ".parquet":
            yield from _of_table(pl.scan_parquet(file), file, first_row=0)
        elif file.suffix.lower() == ".csv":
            header = _has_header(file)
            table = pl.scan_csv(
                file, has_header=header, infer_schema=False, truncate_ragged_lines=True, encoding="utf8-lossy"
            )
            yield from _of_table(table, file, first_row=1 + header)
        else:
            with file.open(encoding="utf-8-sig", errors="replace") as lines:
                for number, line in enumerate(lines, 1):
                    if (name := line.strip()) and not name.startswith("#"):
                        yield number, name
    except (OSError, pl.exceptions.PolarsError) as error:
        raise SourceError(f"Cannot read the users in '{file}': {error}. Give text, CSV or Parquet.") from error


def read_data_set(name: str) -> list[str]:
    """Return the names in the training split of a Hugging Face data set.

    Raises
    ------
    SourceError
        If the optional package ``datasets`` is missing, or there is no such data set.
    """
    import polars as pl

    try:
        from datasets import load_dataset
    except ImportError as error:
        raise SourceError(
            f"There is no file '{name}', and to read a Hugging Face data set of that name the package datasets is "
            "missing: pip install datasets"
        ) from error
    try:
        table = pl.DataFrame(list(load_dataset(name, split="train", streaming=True)), infer_schema_length=None)
    except Exception as error:  # whatever the package raises: network, name, format
        raise SourceError(f"Hugging Face data set '{name}' cannot be read: {type(error).__name__}: {error}") from error
    return [text for _, text in _of_table(table.lazy(), Path(name), first_row=0)]


def _of_table(table: pl.LazyFrame, file: Path, *, first_row: int) -> Iterator[tuple[int, str]]:
    import polars as pl

    column = _column(table.head(_LOOK_AT).collect(), file)
    texts = table.select(pl.col(column).cast(pl.String, strict=False)).collect().to_series()
    for row, text in enumerate(texts, first_row):
        if text is not None and text.strip():
            yield row, text


def _column(head: pl.DataFrame, file: Path) -> str:
    import polars as pl

    by_name = {name.strip().lower().replace(" ", "_"): name for name in reversed(head.columns)}
    for name in _COLUMNS:
        if name in by_name:
            return by_name[name]
    for name in head.columns:
        values = head[name].cast(pl.String, strict=False).drop_nulls()
        if len(values) and all(map(is_user, values)):
            return name
    raise SourceError(
        f"No column of '{file}' holds Spotify users; it has {', '.join(head.columns[:10]) or 'none'}. "
        f"Name one user_id, with values like {EXAMPLE}."
    )


def _has_header(file: Path) -> bool:
    """Return whether the first line of a CSV file says what the columns are, and is not a user already."""
    with file.open(encoding="utf-8-sig", errors="replace") as lines:
        cells = [cell.strip().strip('"') for cell in lines.readline(10_000).split(",")]
    # A name with a digit, or a link, is a user; a heading is a word.
    return not any(is_user(cell) and re.search(r"\d|^spotify:|open\.spotify\.com", cell) for cell in cells)
