"""Last.fm play counts: HetRec-2011 and Last.fm-360K, tables of (user, artist, plays), and Last.fm-1K, of single plays.

A listener has no playlists there: the library is read as one playlist-like list, in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_dag.sources.base import Batch, SourceError, clean, excerpt, files_version
from spotify_dag.sources.delimited import SEPARATORS, cells_of, lines_of
from spotify_dag.sources.dialects import DIALECTS, fields_of
from spotify_dag.sources.encoding import Decoder
from spotify_dag.sources.packed import ARCHIVES, folders_near, opened

if TYPE_CHECKING:
    import polars as pl

PLAYS_HETREC, ARTISTS_HETREC = "user_artists.dat", "artists.dat"
FRIENDS_HETREC = "user_friends.dat"
HETREC_COLUMNS = {PLAYS_HETREC: ("userID", "artistID", "weight"), ARTISTS_HETREC: ("id", "name")}
PLAYS_360K = "usersha1-artmbid-artname-plays.tsv"
COLUMNS_360K = ("user", "artist_id", "artist_name", "plays")
PLAYS_1K = "userid-timestamp-artid-artname-traid-traname.tsv"
COLUMNS_1K = ("user", "played_at", "artist_id", "artist_name", "track_mbid", "track_name")
REMEDY = (
    f"Give the unpacked folder of HetRec-2011 ({PLAYS_HETREC}, {ARTISTS_HETREC}), of Last.fm-360K ({PLAYS_360K}) or of "
    f"Last.fm-1K ({PLAYS_1K})."
)

_HEADED = DIALECTS[-1]
BATCH_BYTES = 1 << 25
"""Read of Last.fm-360K at a time: some 350,000 of its 17.5 million rows."""
HEAD_BYTES = 1 << 20
"""Looked at when a source is opened."""
TAIL_LINES = 100
"""A user met in the last lines of a block may go on in the next. More than one line: a bad one may come last."""
MAX_STRAY_SHARE = 0.01
"""Share of rows away from the others of their user, above which a table is not sorted at all."""


@dataclass(frozen=True)
class LastfmSource:
    """The listeners of HetRec-2011 (a folder), Last.fm-360K or Last.fm-1K (a folder, or the table of plays itself).

    The folder may be one or two above its files, and these packed with gzip.

    Raises
    ------
    SourceError
        If there is no such path, or no table of a known layout at it.
    """

    path: Path
    name = "lastfm"

    def __post_init__(self) -> None:
        plays, *artists = self._files()
        if artists:
            for file in (plays, *artists):
                _header(file, _first_block(file))
        else:
            _require_plays(plays, _first_block(plays))

    def version(self) -> str:
        """Return a fingerprint of the tables by name, size and time of change."""
        return files_version(self._files())

    def n_batches(self) -> int:
        """Return the number of batches; but for HetRec-2011 an estimate by file size."""
        plays, *artists = self._files()
        return 1 if artists else 2 + plays.stat().st_size // BATCH_BYTES

    def batches(self) -> Iterator[Batch]:
        """Yield HetRec-2011 as one batch, the others in batches of whole users.

        Raises
        ------
        SourceError
            If a table cannot be read any more, or one of the others is not sorted by user.
        """
        plays, *artists = self._files()
        if artists:
            yield _hetrec_batch(plays, *artists)
        else:
            yield from _batches_of_plays(plays)

    def artist_genres(self) -> None:
        """Return None: listeners' tags are not genres."""

    def friends(self) -> pl.DataFrame:
        """Return each pair of friends once, ``user_id, friend_id``; only HetRec-2011 has any."""
        import polars as pl

        file = self._files()[0].parent / FRIENDS_HETREC
        if not file.is_file():
            return pl.DataFrame(schema={"user_id": pl.String, "friend_id": pl.String})
        pairs = pl.read_csv(file, separator="\t", schema_overrides={"userID": pl.Int64, "friendID": pl.Int64})
        return pairs.filter(pl.col("userID") < pl.col("friendID")).select(
            pl.format("lastfm-{}", "userID").alias("user_id"), pl.format("lastfm-{}", "friendID").alias("friend_id")
        )

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        if not self.path.is_dir():
            raise SourceError(f"There is no file or folder '{self.path}'. {REMEDY}")
        tables = [files for folder in folders_near(self.path) for files in _tables_in(folder)]
        # What lies in the folder itself is meant, whatever lies below it.
        tables = [files for files in tables if files[0].parent == self.path] or tables
        if len(tables) > 1:
            folders = " and ".join(str(files[0]) for files in tables[:3])
            raise SourceError(f"'{self.path}' holds {len(tables)} data sets of Last.fm: {folders}. {REMEDY}")
        if tables:
            return tables[0]
        entries = ", ".join(sorted(entry.name for entry in self.path.glob("*"))[:5]) or "nothing"
        packed = next((entry for entry in sorted(self.path.iterdir()) if entry.suffix.lower() in ARCHIVES), None)
        if packed is not None:
            raise SourceError(f"'{packed}' is an archive. Unpack it, and give the folder. {REMEDY}")
        raise SourceError(f"'{self.path}' does not hold the tables of Last.fm; it holds {entries}. {REMEDY}")


def _tables_in(folder: Path) -> Iterator[list[Path]]:
    """Yield the tables of every data set in a folder; those that are there packed and unpacked once."""
    for layout in ([PLAYS_HETREC, ARTISTS_HETREC], [PLAYS_360K], [PLAYS_1K]):
        for packed in ("", ".gz"):
            files = [folder / f"{name}{packed}" for name in layout]
            if all(file.is_file() for file in files):
                yield files
                break


def _hetrec_batch(plays_file: Path, artists_file: Path) -> Batch:
    import polars as pl

    plays, ragged_plays = _hetrec_table(plays_file)
    artists, bad_artists, reasons = _hetrec_artists(artists_file)
    rows = _library(plays.rename({"userID": "user", "weight": "plays"})).join(
        artists, on="artistID", how="left", maintain_order="left"
    )
    unknown = rows.filter(pl.col("artist_id").is_null())
    artist = excerpt(pl.col("artistID")).replace("", None)
    missing_reason = pl.format(f"artist {{}} is not in {artists_file.name}", artist).fill_null("no artist id")
    reason = pl.col("artistID").replace_strict(reasons, default=None, return_dtype=pl.String)
    reason = pl.coalesce(reason, missing_reason)
    missing = _refuse(unknown, plays_file, "artist_id", artist, reason)
    batch = _clean(rows.filter(pl.col("artist_id").is_not_null()), plays_file)
    read = rows.drop_nulls("user_id").group_by("user_id", maintain_order=True).agg(pl.len().alias("rows_read"))
    return Batch(batch.records, pl.concat([bad_artists, ragged_plays, missing, batch.rejects]), read)


def _hetrec_artists(file: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Return the good artists (``artistID, artist_id, artists``), the rejects, and why ids are not good."""
    import polars as pl

    artists, ragged = _hetrec_table(file)
    nobody = pl.lit(None, pl.String).alias("user_id")
    no_id = artists.filter(pl.col("id") == "").with_columns(nobody)
    no_ids = _refuse(no_id, file, "artist_id", pl.col("id"), pl.lit("no artist id"))
    # An artist is good if a row of somebody's library with that artist would be.
    checked = clean(
        artists.filter(pl.col("id") != "").select("row", user_id=pl.lit("nobody"), artist_id="id", artist_name="name"),
        file=file.name,
        unique=["artist_id"],
    )
    good = checked.records.select(
        pl.col("artist_id").alias("artistID"),
        pl.format("lastfm-artist-{}", "artist_id").alias("artist_id"),
        "artists",
    ).drop_nulls("artistID")
    refused = checked.rejects.filter("dropped").join(artists.select("row", "id"), on="row")
    reasons = dict(refused.filter(~pl.col("id").is_in(good["artistID"].implode())).select("id", "reason").iter_rows())
    return good, pl.concat([ragged, no_ids, checked.rejects.with_columns(nobody)]), reasons


def _hetrec_table(file: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the columns of `HETREC_COLUMNS` and ``row`` of a table with a header, and the rejected lines."""
    lines = _first_block(file, -1)
    separator, names = _header(file, lines)
    rows, ragged = _split(lines[1:], names, file, separator)
    return rows.select("row", *HETREC_COLUMNS[_bare(file)]), ragged


def _bare(file: Path) -> str:
    return file.name.removesuffix(".gz")


def _header(file: Path, lines: pl.DataFrame) -> tuple[str, list[str]]:
    """Return the separator and the column names in line 1, numbers in place of those not needed: they may repeat."""
    first, needed = lines["line"][0], HETREC_COLUMNS[_bare(file)]
    headers = {sign: [name.strip().strip('"') for name in first.split(sign)] for sign in ("\t", *SEPARATORS)}
    separator = next((sign for sign, names in headers.items() if set(needed) <= set(names)), "\t")
    header = headers[separator]
    if lacking := [name for name in needed if header.count(name) != 1]:
        raise SourceError(
            f"Line 1 of '{file}' does not name the column(s) {', '.join(lacking)} once each; it is "
            f"{first[:80]!r}. Columns are separated by tabs. {REMEDY}"
        )
    return separator, [name if name in needed else str(number) for number, name in enumerate(header)]


def _batches_of_plays(file: Path) -> Iterator[Batch]:
    """Yield the users of a table without a header that is sorted by them: of counts (360K) or of plays (1K)."""
    import polars as pl

    seen = pl.Series(dtype=pl.UInt64)  # Hashes: the strings would keep the buffers of their batch alive.
    n_rows = n_strays = 0
    separator, columns = _layout(_first_block(file)) or ("\t", COLUMNS_360K)
    for lines in _whole_users(_blocks(file, BATCH_BYTES), separator):
        rows, ragged = _split(lines, columns, file, separator)
        read = (
            _library(rows)
            .drop_nulls("user_id")
            .group_by("user_id", maintain_order=True)
            .agg(pl.len().alias("rows_read"))
        )
        rows = _library(_counted(rows) if columns is COLUMNS_1K else rows)
        returns = pl.col("user_id").is_not_null() & pl.col("user_id").hash().is_in(seen.implode())
        strays = rows.filter(returns)
        n_rows, n_strays = n_rows + rows.height, n_strays + strays.height
        if n_strays > MAX_STRAY_SHARE * n_rows:
            raise SourceError(
                f"'{file}' is not sorted by user: line {strays['row'][0]} has user {strays['user'][0][:80]!r}; the "
                "user's other rows are far above it. Sort it by its first column, e.g. with: sort -s -t $'\\t' -k 1,1"
            )
        reason = pl.lit("far from the other rows of its user: sort the table by user to keep it")
        apart = _refuse(strays, file, "user_id", excerpt(pl.col("user")), reason)
        batch = _clean(rows.filter(~returns), file)
        read = read.join(batch.rows_read, on="user_id", how="semi", maintain_order="left")
        seen = pl.concat([seen, batch.rows_read["user_id"].hash()])
        yield Batch(batch.records, pl.concat([ragged, apart, batch.rejects]), read)


def _counted(plays: pl.DataFrame) -> pl.DataFrame:
    """Return single plays as one row per user, artist and title, in the order of the first play."""
    import polars as pl

    track = ["user", "artist_id", "artist_name", "track_name"]
    return plays.group_by(track, maintain_order=True).agg(pl.col("row").first(), pl.len().alias("plays"))


def _require_plays(file: Path, lines: pl.DataFrame) -> None:
    if _layout(lines) is None:
        raise SourceError(
            f"'{file}' does not begin with lines of user, artist MBID, artist name and plays separated by tabs; line 1 "
            f"is {lines['line'][0][:80]!r}. {REMEDY}"
        )


def _layout(lines: pl.DataFrame) -> tuple[str, tuple[str, ...]] | None:
    """Return the separator and the columns of a table without a header; None where it is neither of the two."""
    import polars as pl

    for separator in ("\t", *SEPARATORS):
        for columns, telling in ((COLUMNS_360K, "plays"), (COLUMNS_1K, "played_at")):
            rows, _ = _split(lines.head(1_000), columns, Path(), separator)
            counts = pl.col(telling).cast(pl.Int64, strict=False).is_not_null()
            good = counts if telling == "plays" else pl.col(telling).str.contains(r"^\d{4}-\d\d-\d\dT")
            if rows.filter(good).height:
                return separator, columns
    return None


def _whole_users(blocks: Iterable[pl.DataFrame], separator: str) -> Iterator[pl.DataFrame]:
    """Cut the lines anew, so that a user of neighbouring lines is never in two frames."""
    import polars as pl

    user = pl.col("line").str.extract(rf"^([^{separator}]*)")
    held: list[pl.DataFrame] = []
    for block in blocks:
        lines = pl.concat([*held, block])
        unfinished = lines.tail(TAIL_LINES).select(user.unique()).to_series()
        goes_on = lines.select(user.is_in(unfinished.implode())).to_series()
        held = [lines.filter(goes_on)]
        yield lines.filter(~goes_on)
    yield from held


def _blocks(file: Path, size: int) -> Iterator[pl.DataFrame]:
    """Yield ``row, line`` of about ``size`` characters at a time, all at once for -1; row is the line number from 1."""
    n_lines = 0
    held = ""
    with opened(file) as stream:
        for text in Decoder(stream).blocks():
            held += text
            while 0 < size <= len(held) and (end := held.find("\n", size - 1) + 1):
                yield (lines := _lines(held[:end], n_lines))
                n_lines, held = n_lines + lines.height, held[end:]
    if held:
        yield _lines(held, n_lines)


def _lines(text: str, before: int) -> pl.DataFrame:
    import polars as pl

    # polars parts at LF and CR LF; other ends of lines are rare enough to be made those first.
    text = text.replace("\r\n", "\n")
    text = "".join(lines_of([text])) if "\n" not in text and "\r" in text else text
    lines = pl.read_lines(text.encode(errors="replace"), row_index_name="row", row_index_offset=before + 1)
    return lines.with_columns(pl.col("row").cast(pl.Int64))


def _first_block(file: Path, size: int = HEAD_BYTES) -> pl.DataFrame:
    lines = next(_blocks(file, size), None)
    if lines is None:
        raise SourceError(f"'{file}' is empty. {REMEDY}")
    return lines


def _split(lines: pl.DataFrame, names: Sequence[str], file: Path, separator: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split lines into columns ``names`` and ``row``; lines of another number of columns are rejects."""
    import polars as pl

    lines = lines.filter(pl.col("line").str.strip_chars() != "")
    if separator == "\t":
        # The published tables quote nothing.
        lines = lines.with_columns(n=pl.col("line").str.count_matches("\t", literal=True) + 1)
        whole = pl.col("n") == len(names)
        fields = pl.col("line").str.split_exact("\t", len(names) - 1).struct.rename_fields(names)
        rows = lines.filter(whole).select("row", fields.struct.unnest().str.strip_chars())
    else:
        parsed = [cells_of(line, separator) for line in lines["line"]]
        lines = lines.with_columns(pl.Series("n", [len(cells) for cells in parsed], pl.UInt32))
        whole = pl.col("n") == len(names)
        good = [cells for cells in parsed if len(cells) == len(names)]
        columns = {name: [cells[place] for cells in good] for place, name in enumerate(names)}
        cells = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String)).select(pl.all().str.strip_chars())
        rows = lines.filter(whole).select("row").hstack(cells)
    if rows.height and len(fields_of(_HEADED, rows.drop("row").row(0))) >= len(names) // 2:
        rows = rows[1:]  # Somebody gave it headings.
    reason = pl.format(f"{{}} columns instead of {len(names)}", "n")
    ragged = lines.filter(~whole).with_columns(user_id=pl.lit(None, pl.String))
    return rows, _refuse(ragged, file, "line", excerpt(pl.col("line")), reason)


def _library(rows: pl.DataFrame) -> pl.DataFrame:
    """Add what makes the rows (``row, user, …``) of a user the items of one playlist."""
    import polars as pl

    user = pl.col("user").str.replace_all(r"\p{Cc}+", " ").str.strip_chars().replace("", None)
    return rows.with_columns(
        pl.format("lastfm-{}", user).alias("user_id"),
        pl.lit("library").alias("playlist_id"),
        pl.lit(0).alias("playlist_position"),
    ).with_columns(pl.int_range(pl.len()).over("user_id").alias("position"))


def _clean(rows: pl.DataFrame, file: Path) -> Batch:
    # Name and id: Last.fm-360K has artists without an MBID.
    unique = ["user_id", "artist_id", "artist_name"]
    return clean(rows, file=file.name, unique=[*unique, "track_name"] if "track_name" in rows.columns else unique)


def _refuse(rows: pl.DataFrame, file: Path, field: str, value: pl.Expr, reason: pl.Expr) -> pl.DataFrame:
    """Return rejects of whole rows (``row, user_id, …``)."""
    import polars as pl

    return rows.select(
        pl.lit(file.name).alias("file"),
        "row",
        "user_id",
        pl.lit(field).alias("field"),
        value.alias("value"),
        reason.alias("reason"),
        pl.lit(True).alias("dropped"),
    )
