"""Tables of tracks with their playlists and audio features: TidyTuesday's ``spotify_songs``, as CSV or Parquet.

The playlists name no listener, so every playlist is a user of its own, as in the Million Playlist Dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_dag.features.audio import RANGES, believable
from spotify_dag.sources.base import REJECT_COLUMNS, Batch, SourceError, clean, excerpt, files_version

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {
    "track_id": ("track_id", "track_uri", "spotify_id"),
    "track_name": ("track_name", "name"),
    "artist_name": ("track_artist", "artist_name", "artist"),
    "artist_id": ("artist_id", "artist_uri"),
    "album_name": ("track_album_name", "album_name", "album"),
    "release_year": ("track_album_release_date", "release_date", "release_year", "year"),
    "popularity": ("track_popularity", "popularity"),
    "explicit": ("explicit",),
    "playlist_id": ("playlist_id", "playlist_name"),
    "playlist_name": ("playlist_name",),
}
"""Record columns and what tables call them, best first."""
REQUIRED = ("track_name", "artist_name", "playlist_id")
GENRES = ("playlist_genre", "playlist_subgenre")
GENRE_SHARE = 0.25
"""Share of an artist's rows from which on the genre of their playlists is the artist's: one stray list is none."""
MISSING = ["NA", ""]
"""How R and others write that there is no value."""


@dataclass(frozen=True)
class SpotifySongsSource:
    """The rows of one table.

    Raises
    ------
    SourceError
        If there is no such file, it cannot be read, or lacks a column of titles, artists or playlists.
    """

    path: Path
    name = "spotify-songs"

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise SourceError(f"There is no file '{self.path}'. Give a .csv or .parquet table of tracks.")
        found = self._scan().collect_schema().names()
        lacking = [column for column in REQUIRED if not set(COLUMNS[column]) & set(found)]
        if lacking:
            wanted = "; ".join(" or ".join(COLUMNS[column]) for column in lacking)
            raise SourceError(f"'{self.path}' has the columns {', '.join(found[:30])}. It also needs: {wanted}.")

    def version(self) -> str:
        """Return a fingerprint of the table by name, size and time of change."""
        return files_version([self.path])

    def n_batches(self) -> int:
        """Return 1: such tables are small."""
        return 1

    def batches(self) -> Iterator[Batch]:
        """Yield all playlists."""
        import polars as pl

        rows = self._rows
        batch = clean(rows, file=self.path.name, unique=("playlist_id", "track_id"))
        yield Batch(batch.records, pl.concat([batch.rejects, self._audio_rejects()]).sort("row"), batch.rows_read)

    def artist_genres(self, playlists: pl.DataFrame | None = None) -> pl.DataFrame | None:
        """Return ``artist_id, artist_name, genres``: those of at least a quarter of the artist's rows.

        Genres here are labels of playlists: with ``playlists`` (column ``playlist_id``), of these only.
        """
        import polars as pl

        named = [name for name in GENRES if name in self._rows.columns]
        if not named:
            return None
        rows = self._rows.filter(pl.col("artist_name").is_not_null())
        if playlists is not None:
            rows = rows.join(playlists, on="playlist_id", how="semi")
        genres = rows.unpivot(named, index=["artist_name", "row"], value_name="genre")
        of_artist = pl.col("row").n_unique().over("artist_name")
        return (
            genres.drop_nulls("genre")
            .with_columns(pl.col("genre").str.to_lowercase(), of_artist.alias("rows"))
            .group_by("artist_name", "genre", "rows")
            .agg(pl.len().alias("count"))
            .filter(pl.col("count") >= GENRE_SHARE * pl.col("rows"))
            .sort("artist_name", "count", "genre", descending=[False, True, False])
            .group_by("artist_name", maintain_order=True)
            .agg(pl.col("genre").alias("genres"))
            .select(pl.lit(None, pl.String).alias("artist_id"), "artist_name", "genres")
        )

    def audio_features(self) -> pl.DataFrame:
        """Return ``track_id`` and the columns of `features.audio.RANGES`, one row per track; null where unknown."""
        import polars as pl

        present = [name for name in RANGES if name in self._rows.columns]
        return (
            self._rows.filter(pl.col("track_id").is_not_null())
            .select("track_id", *(believable(name) for name in present))
            .unique("track_id", keep="first", maintain_order=True)
            .with_columns(pl.lit(None, pl.Float32).alias(name) for name in RANGES if name not in present)
            .select("track_id", *RANGES)
        )

    @cached_property
    def _rows(self) -> pl.DataFrame:
        """The table with the names of records, every value as text, and ``row``: the line of the file."""
        import polars as pl

        try:
            table = self._scan().with_columns(pl.all().cast(pl.String, strict=False)).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from error
        names = {column: next((name for name in COLUMNS[column] if name in table.columns), None) for column in COLUMNS}
        extra = [name for name in (*GENRES, *RANGES) if name in table.columns]
        rows = table.select(*(pl.col(name).alias(column) for column, name in names.items() if name), *extra)
        listed = pl.col("playlist_id")
        return rows.with_row_index("row", offset=2).with_columns(
            pl.col("row").cast(pl.Int64),
            # The last part of spotify:track:… and of https://open.spotify.com/track/…?si=…
            *(
                pl.col(name).str.extract(r"([^:/?]+)(?:\?.*)?$")
                for name in ("track_id", "artist_id")
                if name in rows.columns
            ),
            *(pl.col(name).str.head(4) for name in ("release_year",) if name in rows.columns),
            pl.when(listed.is_not_null()).then(pl.format("spotify-songs-{}", listed)).alias("user_id"),
            pl.lit(0).alias("playlist_position"),
            (pl.int_range(pl.len()).over("playlist_id")).alias("position"),
        )

    def _audio_rejects(self) -> pl.DataFrame:
        import polars as pl

        rows = self._rows
        return pl.concat(
            [
                rows.filter(pl.col(name).is_not_null() & believable(name).is_null())
                .select(
                    pl.lit(self.path.name).alias("file"), "row", "user_id", pl.lit(name).alias("field"),
                    excerpt(pl.col(name)).alias("value"),
                    pl.lit(f"not a number from {low:g} to {high:g}").alias("reason"), pl.lit(False).alias("dropped"),
                )
                .select(REJECT_COLUMNS)
                for name, (low, high) in RANGES.items()
                if name in rows.columns
            ]
        )  # fmt: skip

    def _scan(self) -> pl.LazyFrame:
        import polars as pl

        try:
            if self.path.suffix.lower() == ".parquet":
                table = pl.scan_parquet(self.path)
            else:
                table = pl.scan_csv(self.path, infer_schema=False, null_values=MISSING, encoding="utf8-lossy")
            table.collect_schema()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from error
        return table

    def _unreadable(self, error: Exception) -> SourceError:
        reason = str(error).partition("\n")[0]
        return SourceError(f"'{self.path}' cannot be read as a table: {reason}. Give a .csv or .parquet file.")
