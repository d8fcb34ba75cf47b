"""Tables of tracks with their playlists and audio features, as CSV or Parquet.

TidyTuesday's ``spotify_songs``, Pichl's "Spotify Playlists", and tables of tracks alone, which tell how tracks sound.
Where a table names users, each has the playlists of their own. Else every playlist is a user of its own, as in the
Million Playlist Dataset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_dag.features.audio import RANGES, believable
from spotify_dag.sources.artists import joined_by, split_artists
from spotify_dag.sources.base import (
    REJECT_COLUMNS,
    Batch,
    SourceError,
    clean,
    excerpt,
    files_version,
    no_rejects,
    rejects_of,
)
from spotify_dag.sources.dialects import DIALECTS, fields_of, normalised
from spotify_dag.sources.packed import opened
from spotify_dag.sources.tables import heading_text, open_tracks

if TYPE_CHECKING:
    import polars as pl

GENRES = ("playlist genre", "playlist subgenre", "track genre", "genre")
"""Columns of genres, as `dialects.normalised` writes them."""
GENRE_SHARE = 0.25
"""Share of an artist's rows from which on the genre of their playlists is the artist's: one stray list is none."""
MISSING = ("NA", "NaN", "nan", "")
"""How R, pandas and others write that there is no value."""
BATCH_ROWS = 1_000_000
"""Rows after which a batch ends, with the user that they are in."""
RECORDS_OF = {
    "track_uri": "track_id", "track_name": "track_name", "album_name": "album_name", "released": "release_year",
    "popularity": "popularity", "explicit": "explicit", "playlist_name": "playlist_name", "playlist_id": "playlist_id",
    "user": "user",
}  # fmt: skip
"""Fields of tables, and the columns of records that they become."""


@dataclass(frozen=True)
class SpotifySongsSource:
    """The rows of one table.

    Raises
    ------
    SourceError
        If there is no such file, it cannot be read, or names no titles and artists, or neither playlists nor audio
        features.
    """

    path: Path
    name = "spotify-songs"

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise SourceError(f"There is no file '{self.path}'. Give a .csv or .parquet table of tracks.")
        headings = self._columns()
        fields = fields_of(DIALECTS[-1], headings) if self._is_parquet else self._fields()
        lacking = [
            columns
            for names, columns in (
                (("track_name",), "track_name or name"),
                (("artist_names",), "track_artist, artist_name or artist"),
                (("playlist_id", "playlist_name"), "playlist_id or playlist_name, or audio features"),
            )
            if not any(name in fields for name in names)
        ]
        if lacking and not (len(lacking) == 1 and "audio" in lacking[0] and self._extra(headings)):
            raise SourceError(
                f"'{self.path}' has the columns {heading_text(headings)}. It also needs: {'; '.join(lacking)}."
            )

    def version(self) -> str:
        """Return a fingerprint of the table by name, size and time of change."""
        return files_version([self.path])

    def n_batches(self) -> None:
        """Return None: only reading tells."""

    def batches(self) -> Iterator[Batch]:
        """Yield all playlists, those of a user together; none from a table of tracks alone."""
        import polars as pl

        rows = self._rows
        if "playlist_id" not in rows.columns:
            return
        users = rows.group_by("user_id", maintain_order=True).len().with_columns(pl.col("len").cum_sum() // BATCH_ROWS)
        rows = rows.join(users.rename({"len": "batch"}), on="user_id", nulls_equal=True, maintain_order="left")
        audio, damaged = self._audio_rejects(), self._damaged
        for part in rows.partition_by("batch", maintain_order=True):
            unique = ("user_id", "playlist_id", "identity", "track_id")
            batch = clean(part, file=self.path.name, unique=unique)
            rejects = pl.concat([damaged, batch.rejects, audio.filter(pl.col("row").is_in(part["row"].implode()))])
            yield Batch(batch.records, rejects.sort("row"), batch.rows_read)
            damaged = no_rejects()

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

    @property
    def _rows(self) -> pl.DataFrame:
        """The table with the names of records, every value as text, and ``row``: the line of the file."""
        return self._read[0]

    @property
    def _damaged(self) -> pl.DataFrame:
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        import polars as pl

        table, damaged = self._parquet() if self._is_parquet else self._csv()
        text = [name for name, dtype in table.schema.items() if dtype == pl.String]
        missing = pl.col(text).str.strip_chars()
        rows = table.with_columns(pl.when(~missing.is_in(MISSING)).then(missing).name.keep()).with_columns(
            pl.col("artists").list.eval(pl.element().filter(~pl.element().is_in(MISSING)))
        )
        rows = rows.rename({name: column for name, column in RECORDS_OF.items() if name in rows.columns})
        rows = rows.with_columns(
            # The last part of spotify:track:… and of https://open.spotify.com/track/…?si=…
            pl.col(name).str.extract(r"([^:/?]+)(?:\?.*)?$")
            for name in ("track_id", "artist_id")
            if name in rows.columns
        )
        absent = [pl.lit(None, pl.String).alias("track_id")] if "track_id" not in rows.columns else []
        rows = rows.with_columns(absent).with_columns(
            pl.coalesce(
                "track_id", pl.format("{}|{}", pl.col("artists").list.first(), pl.col("track_name")).str.to_lowercase()
            ).alias("identity"),
            pl.col("artists").list.first().alias("artist_name"),
        )
        return (self._with_playlists(rows), damaged)

    def _with_playlists(self, rows: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        listed = [name for name in ("playlist_id", "playlist_name") if name in rows.columns]
        if not listed:
            return rows
        rows = rows.with_columns(pl.coalesce(listed).alias("playlist_id"))
        owner = pl.col("user" if "user" in rows.columns else "playlist_id")
        place = pl.int_range(pl.len())
        return (
            rows.with_columns(
                pl.when(owner.is_not_null()).then(pl.format("spotify-songs-{}", owner)).alias("user_id"),
                place.over(owner, "playlist_id").alias("position"),
            )
            .with_columns(place.min().over("user_id", "playlist_id").alias("first"))
            .with_columns((pl.col("first").rank("dense").over("user_id") - 1).alias("playlist_position"))
            .drop("first")
        )

    @property
    def _is_parquet(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def _columns(self) -> list[str]:
        import polars as pl

        if self._is_parquet:
            try:
                return pl.scan_parquet(self.path).collect_schema().names()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise self._unreadable(error) from error
        with opened(self.path) as stream:
            table = open_tracks(stream)
            headings = table if isinstance(table, list) else table.heading
        if not headings:
            raise SourceError(f"'{self.path}' cannot be read as a table: it is empty. Give a .csv or .parquet file.")
        return headings

    def _fields(self) -> Sequence[str]:
        with opened(self.path) as stream:
            table = open_tracks(stream)
            return list(fields_of(DIALECTS[-1], table)) if isinstance(table, list) else list(table.places)

    def _extra(self, headings: Sequence[str]) -> dict[str, int]:
        """Return where genres and audio features are."""
        columns = {normalised(name): name for name in (*GENRES, *RANGES)}
        return {columns[name]: at for at, heading in enumerate(headings) if (name := normalised(heading)) in columns}

    def _csv(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        import polars as pl

        with opened(self.path) as stream:
            table = open_tracks(stream)
            if isinstance(table, list):
                raise SourceError(f"'{self.path}' has the columns {heading_text(table)}: no table of tracks.")
            frames, faults = [], []
            for frame, damaged in table.chunks(self._extra(table.heading)):
                frames.append(frame)
                faults += damaged
        return pl.concat(frames), rejects_of(faults, file=self.path.name)

    def _parquet(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        import polars as pl

        dialect = DIALECTS[-1]
        try:
            table = pl.read_parquet(self.path)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._unreadable(error) from error
        places = {**fields_of(dialect, table.columns), **self._extra(table.columns)}
        names = {name: table.columns[at] for name, at in places.items()}
        artists = table[names.pop("artist_names")]
        if artists.dtype.base_type() not in (pl.List, pl.Array):
            cells = artists.cast(pl.String, strict=False).to_list()
            joined = joined_by([cell or "" for cell in cells], dialect.joined, normalised(artists.name))
            artists = pl.Series([split_artists(cell, joined) if cell else [] for cell in cells])
        ids = [pl.col(names.pop("artist_uris")).cast(pl.String, strict=False)] if "artist_uris" in names else []
        rows = table.select(
            *(pl.col(column).cast(pl.String, strict=False).alias(name) for name, column in names.items()),
            *(column.alias("artist_id") for column in ids),
            artists.cast(pl.List(pl.String)).alias("artists"),
            pl.int_range(2, pl.len() + 2, dtype=pl.Int64).alias("row"),
        )
        return rows, no_rejects()

    def _audio_rejects(self) -> pl.DataFrame:
        import polars as pl

        rows = self._rows
        return pl.concat(
            [
                no_rejects(),
                *(
                rows.filter(pl.col(name).is_not_null() & believable(name).is_null())
                .select(
                    pl.lit(self.path.name).alias("file"), "row", "user_id", pl.lit(name).alias("field"),
                    excerpt(pl.col(name)).alias("value"),
                    pl.lit(f"not a number from {low:g} to {high:g}").alias("reason"), pl.lit(False).alias("dropped"),
                )
                .select(REJECT_COLUMNS)
                for name, (low, high) in RANGES.items()
                if name in rows.columns
                ),
            ]
        )  # fmt: skip

    def _unreadable(self, error: Exception) -> SourceError:
        reason = str(error).partition("\n")[0]
        return SourceError(f"'{self.path}' cannot be read as a table: {reason}. Give a .csv or .parquet file.")
