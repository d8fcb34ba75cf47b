"""Read an artist-genre table handed in by the operator: Parquet, CSV or JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spotify_dag.sources.base import SourceError

if TYPE_CHECKING:
    import polars as pl

NAMES = ("artist_name", "name", "artist", "name_key")
IDS = ("spotify_id", "artist_id", "artist_uri", "id", "uri")
GENRES = ("genres", "genre", "artist_genres")


def read_artist_genres(path: Path) -> pl.DataFrame:
    """Return ``artist_id, artist_name, genres`` (list, null or empty where unknown), most popular artists first.

    The name may be in a column ``artist_name, name, artist`` or ``name_key``, the Spotify id or URI in ``spotify_id,
    artist_id, artist_uri, id`` or ``uri`` (one of name and id is enough), the genres in ``genres`` or ``genre``: a
    list, or text such as ``["indie rock", "shoegaze"]`` or ``indie rock; shoegaze``.

    Raises
    ------
    SourceError
        If the file is missing, cannot be parsed, or lacks these columns.
    """
    import polars as pl

    if not path.is_file():
        raise SourceError(f"Artist-genre table {path} does not exist. Give a .parquet, .csv or .json file.")
    readers = {
        ".parquet": pl.read_parquet,
        ".csv": lambda file: pl.read_csv(file, infer_schema=False),
        ".tsv": lambda file: pl.read_csv(file, infer_schema=False, separator="\t"),
        ".json": pl.read_json,
        ".jsonl": pl.read_ndjson,
        ".ndjson": pl.read_ndjson,
    }
    if path.suffix.lower() not in readers:
        raise SourceError(f"Artist-genre table {path} is not one of {', '.join(readers)}.")
    try:
        table = readers[path.suffix.lower()](path)
    except (pl.exceptions.PolarsError, OSError, RuntimeError, ValueError) as error:
        found = str(error).partition("\n")[0]
        raise SourceError(
            f"Artist-genre table {path} cannot be read as {path.suffix}: {found}. "
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
    return table.select(
        # The last part of spotify:artist:… and of https://open.spotify.com/artist/…?si=…
        (pl.col(artist_id).cast(pl.String).str.extract(r"([^:/?]+)(?:\?.*)?$") if artist_id else missing).alias(
            "artist_id"
        ),
        (pl.col(name).cast(pl.String) if name else missing).alias("artist_name"),
        _genre_list(table[genres]).alias("genres"),
    )


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
        plain = text.str.strip_chars("[] ").str.replace_all(r"[|,]", ";").str.split(";")
        listed = pl.when(text.str.contains(r"""^\s*\[\s*["']""")).then(quoted).otherwise(plain)
    return (
        listed.list.eval(pl.element().str.strip_chars().str.to_lowercase())
        .list.eval(pl.element().filter(pl.element().str.len_chars().is_between(1, 100)))
        .list.unique(maintain_order=True)
    )
