"""Which titles and names somebody listens to, without reading everybody's listening each time.

For every file of listening the distinct names in it are remembered as hashes. Files never change, so what is remembered
of one holds. It is deleted once its file is not of the table any more: a hash would tell whether somebody had a title.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_dag.features.genres import artist_key
from spotify_dag.files import write_atomically
from spotify_dag.root import Root, RootError, listed
from spotify_dag.schemas import RAW_PLAYLISTS, USER_TASTES, Table
from spotify_dag.stores.bucket_state import FOLDER, RULES
from spotify_dag.stores.lake import Lake
from spotify_dag.tracks.catalogue_rows import track_identity
from spotify_dag.tracks.corpus import title_words

if TYPE_CHECKING:
    import polars as pl

OF_TRACKS = ("track_name", "artist_name", "album_name")
"""Kinds of names that a track is known by: hashed together with its id."""
KINDS = ("artist", "track", "text", *OF_TRACKS)


@dataclass(frozen=True)
class HeldNames:
    """The names that users of a lake have."""

    lake: Lake

    def unheld(self, kind: str, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows whose values nobody has.

        Parameters
        ----------
        kind
            ``artist`` (a key as `features.genres.artist_key` makes it), ``track`` (an id), ``text`` (an artist, a list,
            a word of a title, a taste), or one of `OF_TRACKS`.
        rows
            What is asked about.
        columns
            The columns with the value; of `OF_TRACKS`, the id of the track and the name.
        """
        import polars as pl

        left = rows.with_columns(_hash(columns))
        for names in self._of_files():
            if left.is_empty():
                break
            left = left.join(names.filter(pl.col("kind") == KINDS.index(kind)), on="hashed", how="anti")
        return left.drop("hashed")

    def bring_up(self) -> None:
        """Remember the names of files that are new, and forget those of files that are gone."""
        for place, (table, file) in self._files().items():
            if not place.exists():
                with suppress(FileNotFoundError):  # a writer has just replaced the file: another one has its names
                    _remembered(place, _names_in(table, file))

    def _of_files(self) -> Iterator[pl.DataFrame]:
        """Yield ``kind, hashed`` of each file."""
        import polars as pl

        for place, (table, file) in self._files().items():
            try:
                yield pl.read_parquet(io.BytesIO(place.read_bytes()))
            except FileNotFoundError:
                yield _remembered(place, _names_in(table, file))

    def _files(self) -> dict[Root, tuple[Table, str]]:
        """Return, by where its names are remembered, each file of the tables; of others names are forgotten."""
        import polars as pl

        # Other versions of polars may hash otherwise.
        folder = self.lake.root / FOLDER / f"names-{RULES}-{pl.__version__}"
        files = {
            folder / f"{hashlib.sha256(file.encode()).hexdigest()[:32]}.parquet": (table, file)
            for table in (RAW_PLAYLISTS, USER_TASTES)
            for file in self.lake.file_uris(table)
        }
        for place in set(listed(folder, "*.parquet")).difference(files):
            place.unlink(missing_ok=True)
        return files


def _remembered(place: Root, names: pl.DataFrame) -> pl.DataFrame:
    content = io.BytesIO()
    names.write_parquet(content, compression="lz4")
    with suppress(OSError, RootError):
        write_atomically(place, content.getvalue())
    return names


def _names_in(table: Table, file: str) -> pl.DataFrame:
    import polars as pl

    return _names(table, pl.scan_parquet(file, hive_partitioning=False))


def _names(table: Table, rows: pl.LazyFrame) -> pl.DataFrame:
    import polars as pl

    if table is USER_TASTES:
        tastes = rows.select("kind", "name").unique().collect(engine="streaming")
        artists = tastes.filter(pl.col("kind") == "artist").select(artist_key(pl.col("name")))
        return pl.concat([_hashed("artist", artists), _hashed("text", tastes.select("name"))])
    items = rows.select(track_identity(), *OF_TRACKS, "playlist_name").unique().collect(engine="streaming")
    artists = items.select(pl.col("artist_name").unique())
    titles = items.select(pl.col("track_name").unique())
    tracks = items.filter(pl.col("track_name").is_not_null())
    return pl.concat(
        [
            _hashed("artist", artists.select(artist_key(pl.col("artist_name")))),
            _hashed("track", tracks.select("track_id")),
            _hashed("text", artists),
            _hashed("text", items.select("playlist_name")),
            _hashed("text", titles.select(title_words(pl.col("track_name")).explode())),
            *(_hashed(name, tracks.select("track_id", name)) for name in OF_TRACKS),
        ]
    )


def _hashed(kind: str, values: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    hashed = values.unique().select(_hash(values.columns)).unique()
    return hashed.select(pl.lit(KINDS.index(kind), pl.UInt8).alias("kind"), "hashed")


def _hash(columns: Sequence[str]) -> pl.Expr:
    """Return the hash of the values of some columns together, whatever the columns are called."""
    import polars as pl

    parts = [pl.col(name).cast(pl.String).alias(str(number)) for number, name in enumerate(columns)]
    return pl.struct(parts).hash().alias("hashed")
