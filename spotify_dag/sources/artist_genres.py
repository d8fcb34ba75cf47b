"""Read an artist-genre table handed in by the operator: Parquet, CSV or JSON."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_dag.sources.artists import PLACEHOLDER_IDS, PLACEHOLDERS
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.delimited import open_table
from spotify_dag.sources.dialects import normalised
from spotify_dag.sources.encoding import REPLACEMENT, Decoder, mended_names
from spotify_dag.sources.packed import opened

if TYPE_CHECKING:
    import polars as pl

NAMES = ("artist_name", "name", "artist", "artists", "name_key")
IDS = ("spotify_id", "artist_id", "artist_uri", "id", "uri")
GENRES = ("genres", "genre", "artist_genres")
MOST_WIDE = 0.1
"""Share of rows with too many cells, from which on a table is refused: its commas are not quoted."""

log = logging.getLogger(__name__)


def read_artist_genres(path: Path) -> pl.DataFrame:
    """Return ``artist_id, artist_name, genres`` (list, null or empty where unknown), most popular artists first.

    The name may be in a column ``artist_name, name, artist, artists`` or ``name_key``, the Spotify id or URI in
    ``spotify_id, artist_id, artist_uri, id`` or ``uri`` (one of name and id is enough), the genres in ``genres`` or
    ``genre``: a list, or text such as ``["indie rock", "shoegaze"]``, ``c("indie rock")`` or ``indie rock; shoegaze``.

    Raises
    ------
    SourceError
        If the file is missing, cannot be parsed, or lacks these columns.
    """
    import polars as pl

    if not path.is_file():
        raise SourceError(f"Artist-genre table {path} does not exist. Give a .parquet, .csv or .json file.")
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".parquet": pl.read_parquet,
        ".csv": _delimited,
        ".tsv": _delimited,
        ".txt": _delimited,
        ".json": lambda file: pl.read_json(_text(file)),
        ".jsonl": lambda file: pl.read_ndjson(_text(file)),
        ".ndjson": lambda file: pl.read_ndjson(_text(file)),
    }
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    if suffix not in readers:
        raise SourceError(f"Artist-genre table {path} is not one of {', '.join(readers)}.")
    try:
        table = readers[suffix](path)
    except (pl.exceptions.PolarsError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise SourceError(
            f"Artist-genre table {path} cannot be read as {suffix}: {reason}. "
            f"Give a UTF-8 table with a column of artists and one of genres, as {', '.join(readers)}."
        ) from error

    name, artist_id, genres = (_first(table, names) for names in (NAMES, IDS, GENRES))
    if genres is None or (name is None and artist_id is None):
        raise SourceError(
            f"Artist-genre table {path} has the columns {', '.join(table.columns)}. It needs one of "
            f"{', '.join(GENRES)}, and one of {', '.join(NAMES)} or {', '.join(IDS)}."
        )
    if "popularity" in table.columns:
        # Of several artists with one name, the best known is the likeliest to be meant.
        table = table.sort(pl.col("popularity").cast(pl.Float64, strict=False), descending=True, nulls_last=True)
    missing = pl.lit(None, pl.String)
    named = pl.col("artist_name")
    artists = table.select(
        # The last part of spotify:artist:… and of https://open.spotify.com/artist/…?si=…
        (pl.col(artist_id).cast(pl.String).str.extract(r"([^:/?]+)(?:\?.*)?$") if artist_id else missing).alias(
            "artist_id"
        ),
        (pl.col(name).cast(pl.String) if name else missing).alias("artist_name"),
        _genre_list(table[genres]).alias("genres"),
    )
    artists = artists.with_columns(named.replace(mended_names(artists["artist_name"])))
    nobody = named.str.to_lowercase().str.strip_chars().is_in(list(PLACEHOLDERS)) | named.str.contains(REPLACEMENT)
    nobody |= pl.col("artist_id").is_in(list(PLACEHOLDER_IDS))
    return artists.filter(~nobody.fill_null(False))


def _text(path: Path) -> bytes:
    with opened(path) as stream:
        return "".join(Decoder(stream).blocks()).encode(errors="replace")


def _delimited(path: Path) -> pl.DataFrame:
    """Return the columns of a delimited table that are understood, by their names here."""
    import polars as pl

    names = {normalised(name): name for name in (*NAMES, *IDS, *GENRES, "popularity")}

    def recognise(cells: Sequence[str]) -> dict[str, int] | None:
        places = {names[name]: at for at, cell in reversed([*enumerate(cells)]) if (name := normalised(cell)) in names}
        return places if set(places) & set(GENRES) and set(places) & {*NAMES, *IDS} else None

    with opened(path) as stream:
        table = open_table(Decoder(stream).blocks(), recognise)
        if table.recognised is None:
            return pl.DataFrame(
                schema=dict.fromkeys([cell for cell in dict.fromkeys(table.heading) if cell], pl.String)
            )
        columns: dict[str, list[str | None]] = {name: [] for name in table.recognised}
        wide: list[str] = []
        n_rows = 0
        for part in table.parts:
            n_rows += len(part.lines)
            for line, cells in zip(part.lines, part.cells, strict=True):
                if any(cell.strip() for cell in cells[len(table.heading) :]):
                    wide.append(f"line {line} has {len(cells)} cells instead of {len(table.heading)}")
                    continue
                for name, at in table.recognised.items():
                    columns[name].append(cells[at] if at < len(cells) else None)
        if len(wide) > MOST_WIDE * n_rows:
            raise ValueError(f"{len(wide):,} of {n_rows:,} rows have too many cells: {wide[0]}")
        if wide:
            log.warning("Artist-genre table %s: %s rows are left out. The first: %s", path, len(wide), wide[0])
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _first(table: pl.DataFrame, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in table.columns), None)


def _genre_list(column: pl.Series) -> pl.Expr:
    """Return genres as a list of lower-case strings, from a list or from text."""
    import polars as pl

    if column.dtype.base_type() in (pl.List, pl.Array):
        listed = pl.col(column.name).cast(pl.List(pl.String))
    else:
        text = pl.col(column.name).cast(pl.String)
        # A printed list quotes its items with either quote; plain text separates them by ; | or a comma.
        quoted = text.str.extract_all(r'"[^"]*"|\'[^\']*\'').list.eval(pl.element().str.slice(1).str.head(-1))
        plain = (
            text.str.replace(r"^\s*character\(0\)\s*$|^\s*NA\s*$", "")
            .str.strip_chars("[] ")
            .str.replace_all(r"[|,]", ";")
            .str.split(";")
        )
        listed = pl.when(text.str.contains(r"""^\s*(?:\[|c?\()\s*["']""")).then(quoted).otherwise(plain)
    return (
        listed.list.eval(pl.element().str.strip_chars().str.to_lowercase())
        .list.eval(pl.element().filter(pl.element().str.len_chars().is_between(1, 100)))
        .list.unique(maintain_order=True)
    )
