"""What every source yields, and the one place where a bad row is told from a good one."""

from __future__ import annotations

import hashlib
import os
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from spotify_dag.errors import SpotifyDagError
from spotify_dag.schemas import RAW_PLAYLISTS, REJECTS
from spotify_dag.sources.artists import PLACEHOLDER_IDS, PLACEHOLDERS
from spotify_dag.sources.encoding import REPLACEMENT, mended_names

if TYPE_CHECKING:
    import polars as pl

MAX_NAME = 500
"""Longest name kept, in characters: longer ones are never names."""
FIRST_YEAR = 1900
"""Earliest believable release year; sound was sold before, but no catalogue dates it."""

FLAGS = dict.fromkeys(("true", "1", "wahr", "vrai", "verdadero", "vero", "waar", "sant", "истина", "prawda"), True) | (
    dict.fromkeys(("false", "0", "falsch", "faux", "falso", "onwaar", "falskt", "ложь", "fałsz"), False)
)
"""How programs and spreadsheets of several countries write yes and no."""

_ADDED_LATER = {"user_bucket", "source", "fetched_at"}
RECORD_COLUMNS = [name for name in RAW_PLAYLISTS.column_names if name not in _ADDED_LATER]
REJECT_COLUMNS = [name for name in REJECTS.column_names if name not in _ADDED_LATER]


class SourceError(SpotifyDagError):
    """A source that cannot be read at all. The message names the file, what was found and the remedy."""


class ResumeLaterError(SpotifyDagError):
    """A source that cannot be read to its end now. What it yielded is good; the rest is to be had after ``at``."""

    def __init__(self, at: float, reason: str) -> None:
        super().__init__(f"{reason} Resume after {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC.")
        self.at = at
        """Seconds since 1970."""
        self.reason = reason


@dataclass(frozen=True)
class Batch:
    """Some users of a source, each with all of their rows."""

    records: pl.DataFrame
    """Good rows: `RECORD_COLUMNS`."""
    rejects: pl.DataFrame
    """Bad rows and values: `REJECT_COLUMNS`."""
    rows_read: pl.DataFrame
    """``user_id, rows_read``: what was read per user, good or bad; a user with no good row is here too."""
    marked: str | None = None
    """What its rows are marked with as their source; None for the name of the source they are read from."""
    gone: Mapping[str, float] = field(default_factory=dict)
    """Since when (seconds since 1970) the source does not know users that it yields as they were last."""
    months: pl.DataFrame | None = None
    """``user_id, month, kind, name, count`` (`listening_months`), where the source tells when."""
    mended: int = 0
    """Names that somebody decoded wrongly before, and that were mended."""
    asked: pl.DataFrame | None = None
    """``user_id, opted_in, handed_in`` of users who were handed in one by one."""


NAMES = ("playlist_name", "track_name", "album_name")
"""Columns of names that may be missing."""
NOBODY = "no artist of its own: a placeholder such as Various Artists"
COUNTED = "rows"
"""Field of a reject that stands for many rows, all left out for one reason; their number is its value."""


class Fault(NamedTuple):
    """One reject, but for its file."""

    row: int | None
    user_id: str | None
    field: str
    value: str | None
    reason: str
    dropped: bool = True


class Source(Protocol):
    """Where listening comes from. Opening one checks that it can be read, and raises `SourceError` if not."""

    name: str

    def version(self) -> str:
        """Return a fingerprint of what would be read, found without reading it."""

    def batches(self) -> Iterator[Batch]:
        """Yield batches; bounded memory, never raises for one bad row.

        May raise `ResumeLaterError` in place of what cannot be had now: what was yielded before is kept, and the source
        is read again.
        """

    def n_batches(self) -> int | None:
        """Return how many batches there will be, for a progress bar; None where only reading tells."""

    def artist_genres(self) -> pl.DataFrame | None:
        """Return ``artist_id, artist_name, genres`` where the source knows genres."""


@runtime_checkable
class HasAudioFeatures(Protocol):
    """A source that knows how tracks sound."""

    def audio_features(self) -> pl.DataFrame:
        """Return ``track_id`` and the columns of `features.audio.RANGES`, one row per track, null where unknown."""


REFRESH_SHARES = 7
"""Parts of a refresh period in which users are looked at again, bucket by bucket: a day each, where it is a week."""


@runtime_checkable
class RefreshedSource(Source, Protocol):
    """A source of users who change there. They are looked at again from time to time."""

    def refreshed_since(self, bucket: int) -> float:
        """Return the time (seconds since 1970) before which what is known of a bucket's users does not count."""


def last_turn(now: float, bucket: int, made_with: int, period: float) -> float:
    """Return when it was a bucket's turn to be looked at again: once in every period, the same moment in each.

    The buckets are spread over `REFRESH_SHARES` moments of the period. Nothing is remembered that could be lost: a
    turn that was missed is one that the data is older than. A bucket that is split keeps its turn.

    Parameters
    ----------
    now, period
        In seconds; ``now`` since 1970.
    bucket
        Of any number of buckets that is a multiple of ``made_with``.
    made_with
        The number of buckets when the data root was made.
    """
    phase = bucket % made_with * REFRESH_SHARES // made_with * period / REFRESH_SHARES
    return (now - phase) // period * period + phase


def files_version(files: Sequence[Path]) -> str:
    """Return a fingerprint of files by name, size and time of change."""
    digest = hashlib.sha256()
    for file in sorted(files):
        stat = file.stat()
        digest.update(os.fsencode(file.resolve()) + f"|{stat.st_size}|{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def clean(rows: pl.DataFrame, *, file: str, unique: Sequence[str] = (), now: datetime | None = None) -> Batch:
    """Split rows as read into good records and rejects.

    A row without a user or an artist, with a name nobody could have, or with an impossible number of plays is left
    out; of other bad values (a year, a popularity, a title) only the value is. Control characters are taken out of
    names, names that were decoded wrongly once are mended. Placeholders ("Various Artists") and damaged names are no
    artists: the others of the row stay. Everything left out is a reject with its row number and reason.

    Parameters
    ----------
    rows
        Any of `RECORD_COLUMNS` (numbers may be strings, a year a date), and ``row``: the line or item number in
        ``file``; unique where ``unique`` is given. ``artists`` goes before ``artist_name``, which is its first. A
        ``month`` stays with the records.
    file
        Name of the file, for the rejects.
    unique
        Columns that may not repeat; later rows with the same values are rejects.
    now
        Today, for the latest believable year.
    """
    import polars as pl

    latest_year = (now or datetime.now(UTC)).year + 1
    tidy = _tidied(rows, latest_year)
    tidy, verdicts = _judged(tidy, _verdicts(latest_year))
    if unique:
        again = ~pl.struct(*unique).is_first_distinct()
        # Only good rows compete: a bad row must not push out the good one that follows it.
        repeats = tidy.filter(~pl.col("dropped_")).filter(again).get_column("row")
        if repeats.len():
            verdicts.append((unique[-1], pl.col("row").is_in(repeats.implode()), "the same as an earlier row", True))
            tidy = tidy.with_columns(pl.col("dropped_") | pl.col("row").is_in(repeats.implode()))
    bad_values: dict[str, pl.Expr] = {}
    for name, condition, _, drops in verdicts:
        if not drops and name != "artist_name":  # Damaged artists are out of the list already.
            bad_values[name] = bad_values.get(name, pl.lit(False)) | condition
    spoiled = [pl.when(~bad).then(pl.col(name)).alias(name) for name, bad in bad_values.items()]
    good = tidy.filter(~pl.col("dropped_"))
    month = [name for name in ("month",) if name in rows.columns]
    records = good.with_columns(spoiled).select([*RECORD_COLUMNS, *month])
    read = (
        tidy.filter(pl.col("user_id").is_not_null() & ~_too_long("user_id"))
        .group_by("user_id", maintain_order=True)
        .agg(pl.len().alias("rows_read"))
    )
    return Batch(records, _rejects(tidy, verdicts, file), read, mended=int(good["mended"].sum()))


Verdict = tuple[str, "pl.Expr", str, bool]
"""A field, the condition under which its value is bad, the reason, and whether the whole row is left out."""


def _tidied(rows: pl.DataFrame, latest_year: int) -> pl.DataFrame:
    """Return all of `RECORD_COLUMNS`, typed and with tidy names, beside the values as read (``read_…``)."""
    import polars as pl

    schema = RAW_PLAYLISTS.polars_schema()
    text = [name for name in RECORD_COLUMNS if schema[name] == pl.String]
    absent = [pl.lit(None, pl.String).alias(name) for name in RECORD_COLUMNS if name not in (*rows.columns, "artists")]
    rows = rows.with_columns(absent)
    if "artists" not in rows.columns:
        rows = rows.with_columns(pl.concat_list(pl.col("artist_name").cast(pl.String)).alias("artists"))
    read_artist = pl.col("artists").list.join("; ", ignore_nulls=True).replace("", None).alias("read_artist_name")
    simple = [name for name in RECORD_COLUMNS if name not in ("artists", "artist_name")]
    as_read = rows.select(pl.col(simple).cast(pl.String).name.prefix("read_"), read_artist)

    tidy = rows.with_columns(
        _tidy(pl.col(text).cast(pl.String)),
        pl.col("artists").list.eval(_tidy(pl.element())).list.drop_nulls(),
        *(_as(schema[name], name, latest_year) for name in simple if name not in text),
    ).hstack(as_read)  # fmt: skip
    return _with_own_artists(_with_mended_names(tidy))


def _with_mended_names(tidy: pl.DataFrame) -> pl.DataFrame:
    """Mend names that were decoded wrongly once; ``mended`` counts those of each row."""
    import polars as pl

    mended = {name: mended_names(tidy[name]) for name in NAMES}
    artists = mended_names(tidy["artists"].explode())
    count = pl.lit(0, pl.UInt32)
    changed = []
    for name, names in mended.items():
        if names:
            count += pl.col(name).is_in(list(names)).fill_null(False).cast(pl.UInt32)
            changed.append(pl.col(name).replace(names))
    if artists:
        count += pl.col("artists").list.eval(pl.element().is_in(list(artists)).cast(pl.UInt32)).list.sum().fill_null(0)
        changed.append(pl.col("artists").list.eval(pl.element().replace(artists)))
    return tidy.with_columns(count.alias("mended"), *changed)


def _judged(tidy: pl.DataFrame, verdicts: list[Verdict]) -> tuple[pl.DataFrame, list[Verdict]]:
    """Ask every condition once, and mark the rows to leave out in a column ``dropped_``.

    Returns
    -------
    The rows with the answers, and the verdicts that apply to any row, each with its answers as condition.
    """
    import polars as pl

    marks = tidy.select(
        condition.fill_null(False).alias(f"verdict_{number}") for number, (_, condition, _, _) in enumerate(verdicts)
    )
    present = marks.select(pl.all().any()).row(0) if marks.height else [False] * len(verdicts)
    tidy = tidy.hstack(marks)
    verdicts = [
        (field, pl.col(f"verdict_{number}"), reason, drops)
        for number, (field, _, reason, drops) in enumerate(verdicts)
        if present[number]
    ]
    dropped = [condition for _, condition, _, drops in verdicts if drops]
    return tidy.with_columns((pl.any_horizontal(dropped) if dropped else pl.lit(False)).alias("dropped_")), verdicts


def _verdicts(latest_year: int) -> list[Verdict]:
    """Return the field, the condition and the reason of every fault, and whether it costs the row."""
    import polars as pl

    damaged, nobody = "damaged: it holds a replacement character", pl.col("artist_name").is_null()
    too_long = f"longer than {MAX_NAME} characters"
    unread_year = _unreadable("release_year") & ~pl.col("read_release_year").str.starts_with("0000")
    return [
        ("user_id", pl.col("user_id").is_null(), "no user", True),
        ("user_id", _too_long("user_id"), too_long, True),
        ("artist_name", nobody & pl.col("n_artists").eq(0), "no artist name", True),
        ("artist_name", nobody & pl.col("placeholder"), NOBODY, True),
        ("artist_name", nobody & pl.col("n_artists").gt(0) & ~pl.col("placeholder"), damaged, True),
        ("artist_name", ~nobody & pl.col("damaged"), damaged, False),
        ("artist_name", _too_long("artist_name"), too_long, True),
        ("plays", pl.col("plays").is_null() & pl.col("read_plays").is_not_null(), "not a whole number", True),
        ("plays", pl.col("plays") <= 0, "not a positive number of plays", True),
        *((name, _too_long(name), too_long, False) for name in (*NAMES, "track_id", "artist_id")),
        *((name, pl.col(name).str.contains(REPLACEMENT, literal=True), damaged, False) for name in NAMES),
        (
            "release_year",
            unread_year | ~pl.col("release_year").is_between(FIRST_YEAR, latest_year),
            f"not a year from {FIRST_YEAR} to {latest_year}",
            False,
        ),
        (
            "popularity",
            _unreadable("popularity") | ~pl.col("popularity").is_between(0, 100),
            "not a number from 0 to 100",
            False,
        ),
        ("explicit", _unreadable("explicit"), "not true or false", False),
    ]


def _rejects(rows: pl.DataFrame, verdicts: Sequence[tuple[str, pl.Expr, str, bool]], file: str) -> pl.DataFrame:
    """Return the rejects of rows, sorted by row."""
    import polars as pl

    rejects = [
        rows.filter(condition).select(
            pl.lit(file).alias("file"),
            pl.col("row").cast(pl.Int64),
            pl.when(~_too_long("user_id")).then("user_id").alias("user_id"),
            pl.lit(name).alias("field"),
            excerpt(pl.col(f"read_{name}")).alias("value"),
            pl.lit(reason).alias("reason"),
            pl.lit(drops).alias("dropped"),
        )
        for name, condition, reason, drops in verdicts
    ]
    return pl.concat([no_rejects(), *rejects]).sort("row", maintain_order=True) if rejects else no_rejects()


@cache
def no_rejects() -> pl.DataFrame:
    """Return an empty frame of rejects."""
    return REJECTS.empty().select(REJECT_COLUMNS)


def rejects_of(faults: Sequence[Fault], *, file: str) -> pl.DataFrame:
    """Return faults found in a file as rejects."""
    import polars as pl

    if not faults:
        return no_rejects()
    columns = {name: dtype for name, dtype in no_rejects().schema.items() if name != "file"}
    rejects = pl.DataFrame(faults, schema=columns, orient="row")
    return rejects.with_columns(excerpt(pl.col("value")), pl.lit(file).alias("file")).select(REJECT_COLUMNS)


def texts(values: Sequence[Any]) -> pl.Series:
    """Return values of a JSON file as strings, for `clean` to judge."""
    import polars as pl

    strings: Sequence[str | None] = values
    kinds = set(map(type, values))
    if kinds <= {int, type(None)}:
        with suppress(OverflowError):  # A number of more than 64 bits.
            return pl.Series(values, dtype=pl.Int64).cast(pl.String)
    if not kinds <= {str, type(None)}:
        strings = [value if value is None or isinstance(value, str) else _number(value) for value in values]
    try:
        return pl.Series(strings, dtype=pl.String)
    except UnicodeEncodeError:  # JSON can escape one half of a surrogate pair, which UTF-8 cannot hold.
        return pl.Series([text and text.encode(errors="replace").decode() for text in strings], dtype=pl.String)


def excerpt(value: pl.Expr) -> pl.Expr:
    """Return the first 80 characters of a value, control characters replaced by a visible sign."""
    return value.str.head(80).str.replace_all(r"\p{Cc}", "\ufffd")


def _number(value: Any) -> str:
    """Return what is not text as text; 1999.0 becomes 1999, as a year is whole."""
    if type(value) is int and value.bit_length() < 64:  # Most of them; reprlib is slow, and bounds the others.
        return str(value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else reprlib.repr(value)


def _tidy(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"[\p{Cc}\p{Zl}\p{Zp}]+", " ").str.strip_chars().replace("", None)


def _with_own_artists(rows: pl.DataFrame) -> pl.DataFrame:
    """Take placeholders and damaged names out of ``artists``; ``artist_name`` becomes the first of those left.

    Adds ``n_artists``, how many there were, and whether any was a ``placeholder`` or ``damaged``.
    """
    import polars as pl

    element = pl.element()
    nobody = element.str.to_lowercase().str.replace_all(r"\s+", " ").is_in(list(PLACEHOLDERS))
    damaged = element.str.contains(REPLACEMENT, literal=True)
    odd = nobody | damaged
    first = pl.col("artists").list.first()
    by_id = pl.col("artist_id").is_in(list(PLACEHOLDER_IDS)).fill_null(False)
    own = pl.when(by_id).then(pl.col("artists").list.slice(1)).otherwise("artists")
    rows = rows.with_columns(
        pl.col("artists").list.len().alias("n_artists"),
        (pl.col("artists").list.eval(nobody).list.any() | by_id).fill_null(False).alias("placeholder"),
        pl.col("artists").list.eval(damaged).list.any().fill_null(False).alias("damaged"),
        first.alias("first"),
        own.list.eval(element.filter(~odd)).alias("artists"),
    )
    rows = rows.with_columns(pl.col("artists").list.first().alias("artist_name"))
    return rows.with_columns(
        pl.when(pl.col("artist_name") == pl.col("first")).then("artist_id").alias("artist_id")
    ).drop("first")


def year_of(text: pl.Expr, latest: int) -> pl.Expr:
    """Return the year of dates as text, as a number as text: by four digits wherever they stand, else by the last two.

    Two digits (``25/06/13``, ``Nov-87``) are of this century up to the year ``latest``, else of the last one. What is
    no date is given back; ``0000``, which says that nobody knows, becomes null.
    """
    import polars as pl

    four = text.str.extract(r"^(?:[^\[({]*[^\d\[({])?(\d{4})(?:\D|$)")
    two = text.str.extract(r"^\s*(?:\d{1,2}[-/. ]\d{1,2}|\p{L}{3,10}\.?)[-/. ]+'?(\d{2})\s*$")
    century = pl.when(two.cast(pl.Int32, strict=False) <= latest % 100).then(pl.lit("20")).otherwise(pl.lit("19"))
    return pl.coalesce(four, century + two, text).replace("0000", None)


def _as(dtype: pl.DataType, name: str, latest_year: int) -> pl.Expr:
    """Return a column as ``dtype``, null where a value cannot be read as that."""
    import polars as pl

    if name == "release_year":
        return year_of(pl.col(name).cast(pl.String), latest_year).cast(dtype, strict=False).alias(name)
    if dtype != pl.Boolean:
        return pl.col(name).cast(dtype, strict=False)
    text = pl.col(name).cast(pl.String).str.to_lowercase()
    return text.replace_strict(FLAGS, default=None, return_dtype=pl.Boolean)


def _too_long(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).str.len_chars() > MAX_NAME


def _unreadable(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).is_null() & pl.col(f"read_{name}").is_not_null()
