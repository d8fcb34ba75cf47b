"""Somebody new, answered at once: listening to user vector by the very functions that the graph uses.

What is known already comes from the lake, as the graph left it: the genres of the artists of the user's bucket and the
vectors of strings. Only what nobody mentioned before is matched and encoded here.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.app.snapshot import Person, Snapshot
from spotify_dag.errors import SpotifyDagError
from spotify_dag.features.embeddings import TextVectors, user_embeddings
from spotify_dag.features.genres import artist_key, bucket_artists, genre_coverage, match_genres
from spotify_dag.features.left_out import counted_items
from spotify_dag.features.tastes import user_tastes
from spotify_dag.inbox.user_requests import UserRequests
from spotify_dag.lifecycle.forget import let_in_again
from spotify_dag.matching.matcher import UnknownUserError
from spotify_dag.matching.taste import Taste
from spotify_dag.schemas import ARTIST_GENRES, RAW_PLAYLISTS, TEXT_VECTORS, USERS, buckets_of, user_buckets
from spotify_dag.sources.base import Source, SourceError
from spotify_dag.sources.export.kept import ExportSource
from spotify_dag.sources.export.reading import Reading
from spotify_dag.sources.handed_in import GivenRequests
from spotify_dag.sources.ingestion import Ingestion
from spotify_dag.sources.spotify import add_user
from spotify_dag.sources.spotify.tokens import Logins
from spotify_dag.staleness.stale_buckets import feature_version
from spotify_dag.stores.index_search import as_kept
from spotify_dag.stores.model_registry import NoModelError
from spotify_dag.stores.text_encoder import load_vectors
from spotify_dag.tower.factors import unit
from spotify_dag.tower.inputs import catalogue, listening

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.project import Project
    from spotify_dag.tower.tower_model import UserModel

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Newcomer:
    """Somebody new, and all that was made of what they listen to."""

    user_id: str
    person: Person
    users: pl.DataFrame
    """The row of `schemas.USERS`."""
    raw: pl.DataFrame
    """Rows of `schemas.RAW_PLAYLISTS`."""
    artist_genres: pl.DataFrame
    """Rows of `schemas.ARTIST_GENRES`, those of the user's artists."""
    tastes: pl.DataFrame
    """Rows of `schemas.USER_TASTES`."""
    playlists: int
    known_genres: float
    """Share of items whose artist has a genre, 0 to 1."""


class Newcomers:
    """Embeds somebody new as the published model would.

    Parameters
    ----------
    project
        The data root.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self._lock = Lock()
        self._model: tuple[str, UserModel] | None = None
        self._texts: tuple[int, TextVectors] | None = None
        self._tables: tuple[Snapshot, list[tuple[str | None, pl.DataFrame]]] | None = None

    def warm(self, snapshot: Snapshot) -> None:
        """Load what the first newcomer would have to wait for."""
        self.model(snapshot)
        self._text_vectors()
        self._genre_tables(snapshot)
        self.project.encoder.encode(["warm"])

    def embed(
        self, snapshot: Snapshot, user_id: str, source: Source, check: Callable[[], None] = lambda: None
    ) -> Newcomer:
        """Return somebody as they are once the graph has taken them in.

        ``check`` is called on the way, and raises what ends the work.

        Raises
        ------
        UnknownUserError
            If nothing of what they listen to can be used.
        ResumeLaterError, SourceError
            If the source cannot be read, or not now.
        """
        import polars as pl

        if snapshot.feature_version != feature_version(self.project):
            raise NoModelError(
                "The settings of this installation changed since its model was made, so nobody new can be placed. "
                "Bring it up to date with: spotify-dag run"
            )
        users, raw = self._read(user_id, source, check)
        genres = self.artist_genres(snapshot, raw, source.artist_genres())
        said = self.project.preferences
        left_out = said.left_out(buckets_of([user_id], said.n_buckets)).filter(pl.col("user_id") == user_id)
        raw = counted_items(raw.lazy(), genres.lazy(), left_out).collect()
        check()
        embedded, tastes, texts = self._embedded(users, raw, genres, check=check)
        row = embedded.row(0, named=True)
        if row["unembedded_reason"]:
            raise UnknownUserError(
                f"Nothing to go by: {row['unembedded_reason']}. A public playlist with some music, or a file, will do."
            )
        (vector,) = unit(as_kept(self._encoded(snapshot, embedded, tastes, genres, texts)))
        person = Person(vector, Taste.of_rows(tastes), row["tracks"], user_id)
        share = genre_coverage(genres.lazy()) or 0.0
        return Newcomer(user_id, person, users, raw, genres, tastes, row["playlists"], share)

    def artist_genres(self, snapshot: Snapshot, raw: pl.DataFrame, own: pl.DataFrame | None) -> pl.DataFrame:
        """Return the rows of `schemas.ARTIST_GENRES` for the artists of ``raw``, all of one bucket.

        As the graph has them for that bucket, else by the tables of genres: first ``own``, those of the source itself.
        """
        import polars as pl

        artists = bucket_artists(raw.lazy())
        bucket = raw["user_bucket"].unique().to_list()
        stored = (
            self.project.lake.scan(ARTIST_GENRES, bucket)
            .filter(pl.col("genres").is_not_null())
            .join(artists.lazy().select("artist_key"), on="artist_key", how="semi")
            .collect()
        )
        counts = artists.select("artist_key", "rows")
        stored = ARTIST_GENRES.conform(stored.drop("rows").join(counts, on="artist_key"))
        new = artists.join(stored, on="artist_key", how="anti")
        tables = [(label, _of_artists(table, new)) for label, table in self._genre_tables(snapshot)]
        if own is not None:
            tables.insert(0, ("source", own))
        return pl.concat([stored, ARTIST_GENRES.conform(match_genres(new, tables))])

    def artist_names(self, snapshot: Snapshot) -> list[str]:
        """Return the names in the project's tables of genres."""
        return [name for _, table in self._genre_tables(snapshot) for name in table["artist_name"].drop_nulls()]

    def text_vectors(self, tastes: pl.DataFrame, check: Callable[[], None] = lambda: None) -> TextVectors:
        """Return the vectors of the strings that tastes speak of; those never seen are encoded, and not kept."""
        import polars as pl

        names = tastes.filter(pl.col("kind").is_in(["genre", "artist"])).select(pl.col("name").alias("text")).unique()
        stored = self._text_vectors()
        rows = stored.texts.with_row_index("row").join(names, on="text", how="semi").sort("text")
        new = names.join(rows, on="text", how="anti").sort("text")
        texts, vectors = rows.select("text"), stored.vectors[rows["row"].to_numpy()]
        if new.height:
            texts = pl.concat([texts, new])
            encoded = self.project.encoder.encode(new["text"].to_list(), lambda _: check())
            vectors = np.concatenate([vectors, encoded])
        return TextVectors(texts, vectors)

    def model(self, snapshot: Snapshot) -> UserModel:
        """Return the model of a snapshot."""
        with self._lock:
            if self._model is None or self._model[0] != snapshot.model_version:
                self._model = (snapshot.model_version, self.project.registry.load(snapshot.model_version))
            return self._model[1]

    def drop_model(self) -> None:
        """Read the model again for the next newcomer: somebody was taken out of it."""
        with self._lock:
            self._model = None

    def vectors(
        self, snapshot: Snapshot, users: pl.DataFrame, raw: pl.DataFrame, genres: pl.DataFrame, *,
        top_artist_count: int, playlists_count: int | None, check: Callable[[], None] = lambda: None,
    ) -> np.ndarray:  # fmt: skip
        """Return the vectors that users would have with other settings, ``[users, dim]``: for the sliders of the page.

        Parameters
        ----------
        users, raw, genres
            Their rows of `schemas.USERS`, `schemas.RAW_PLAYLISTS` (those that count) and `schemas.ARTIST_GENRES`.
        top_artist_count, playlists_count
            In place of the settings.
        check
            Called on the way, and raises what ends the work.
        """
        embedded, tastes, texts = self._embedded(
            users, raw, genres, top_artist_count=top_artist_count, playlists_count=playlists_count, check=check
        )
        return self._encoded(snapshot, embedded, tastes, genres, texts)

    def revised(self, snapshot: Snapshot) -> dict[str, Person | None]:
        """Return the users of a snapshot who changed what they leave out since they were indexed, by id.

        They are as the next run makes them: by the same functions, from the same tables. With other settings than those
        of the snapshot nobody is revised: the next run makes everybody anew.
        """
        import polars as pl

        project = self.project
        if snapshot.feature_version != feature_version(project):
            return {}
        indexed = snapshot.people(sorted(project.preferences.digests()))
        said = sorted(indexed)
        if not said:
            return {}
        buckets = buckets_of(said, project.lake.n_buckets)
        hashed = project.preferences.hashed(project.lake.scan(USERS, buckets), buckets)
        # Nothing can be made anew of users whose listening was dropped.
        users = hashed.filter(pl.col("user_id").is_in(said) & pl.col("dropped_at").is_null()).sort("user_id").collect()
        revised, again = {}, []
        for user, content_hash in users.select("user_id", "content_hash").iter_rows():
            before = snapshot.revised.get(user)
            is_stale = indexed[user].content_hash != content_hash
            if is_stale and before is not None and before.content_hash == content_hash:
                revised[user] = before
            again.append(is_stale and user not in revised)
        changed = users.filter(pl.Series(again, dtype=pl.Boolean))
        return revised | (self._made_again(project, snapshot, changed, indexed) if changed.height else {})

    def _made_again(
        self, project: Project, snapshot: Snapshot, users: pl.DataFrame, indexed: Mapping[str, Person]
    ) -> dict[str, Person | None]:
        """Return users as they are with what they leave out now; None where nothing is left."""
        import polars as pl

        lake, names = project.lake, users["user_id"].to_list()
        raw = project.preferences.counted_of(lake, names).collect()
        heard = raw.select("user_bucket", artist_key(pl.col("artist_name")).alias("artist_key")).lazy()
        stored = lake.scan(ARTIST_GENRES, buckets_of(names, lake.n_buckets))
        genres = stored.join(heard, on=["user_bucket", "artist_key"], how="semi").collect()
        embedded, tastes, texts = self._embedded(users, raw, genres)
        left = embedded.filter(pl.col("unembedded_reason").is_null())
        vectors = unit(as_kept(self._encoded(snapshot, left, tastes, genres, texts))) if left.height else ()
        rows_of = {str(user): rows for (user,), rows in tastes.partition_by("user_id", as_dict=True).items()}
        revised: dict[str, Person | None] = dict.fromkeys(names)
        rows = left.select("user_id", "content_hash", "tracks").iter_rows()
        for (user, made_from, tracks), vector in zip(rows, vectors, strict=True):
            taste = Taste.of_rows(rows_of.get(user, tastes.clear()))
            revised[user] = replace(indexed[user], vector=vector, taste=taste, tracks=tracks, content_hash=made_from)
        return revised

    def _embedded(
        self, users: pl.DataFrame, raw: pl.DataFrame, genres: pl.DataFrame, *, top_artist_count: int | None = None,
        playlists_count: int | None = None, check: Callable[[], None] = lambda: None,
    ) -> tuple[pl.DataFrame, pl.DataFrame, TextVectors]:  # fmt: skip
        """Return rows of `schemas.USER_EMBEDDINGS` and of `schemas.USER_TASTES`, and the vectors of their strings."""
        settings = self.project.settings
        counts = playlists_count or settings.playlists_count
        tastes = user_tastes(raw.lazy(), genres, playlists_count=counts)
        check()
        texts = self.text_vectors(tastes, check)
        embedded = user_embeddings(
            users, raw.lazy(), tastes, texts,
            top_artist_count=top_artist_count or settings.top_artist_count, playlists_count=counts,
        )  # fmt: skip
        return embedded, tastes, texts

    def _encoded(
        self, snapshot: Snapshot, embedded: pl.DataFrame, tastes: pl.DataFrame, genres: pl.DataFrame, texts: TextVectors
    ) -> np.ndarray:
        """Return the vectors of users by the model of a snapshot, ``[users, dim]``."""
        names = catalogue(genres, texts)
        return self.model(snapshot).encode(listening(embedded, tastes, names), names)

    def _read(self, user_id: str, source: Source, check: Callable[[], None]) -> tuple[pl.DataFrame, pl.DataFrame]:
        import polars as pl

        lake = self.project.lake
        buckets = user_buckets([user_id], lake.n_buckets)
        ingestion = Ingestion(
            [source], buckets=buckets, n_buckets=lake.n_buckets, profiles_count=None, now=datetime.now(UTC)
        )
        raw = pl.concat([RAW_PLAYLISTS.empty(), *_checked(ingestion.records(), check)])
        for error in ingestion.interrupted.values():
            raise error
        return ingestion.users(), raw

    def _text_vectors(self) -> TextVectors:
        import polars as pl
        from deltalake import DeltaTable

        lake, encoder = self.project.lake, self.project.encoder
        with self._lock:
            version = DeltaTable(lake.uri(TEXT_VECTORS)).version() if lake.exists(TEXT_VECTORS) else -1
            if self._texts is None or self._texts[0] != version:
                mine = lake.scan(TEXT_VECTORS).filter(pl.col("encoder") == encoder.digest).select("text").collect()
                self._texts = (version, load_vectors(lake, encoder, mine))
            return self._texts[1]

    def _genre_tables(self, snapshot: Snapshot) -> list[tuple[str | None, pl.DataFrame]]:
        """Return the project's tables of genres with the names by which artists are found in them."""
        import polars as pl

        with self._lock:
            if self._tables is None or self._tables[0] is not snapshot:
                try:
                    tables = self.project.genre_tables()
                except SpotifyDagError as error:
                    # What the graph matched already is still there.
                    log.warning("New artists get no genres: %s", error)
                    tables = []
                names = (artist_key(pl.col("artist_name")).alias("key"), _lower().alias("lower"))
                self._tables = (snapshot, [(label, table.with_columns(names)) for label, table in tables])
            return self._tables[1]


@contextmanager
def handed_in(
    paths: Path | Sequence[Path], user_id: str, folder: Path, check: Callable[[], None] = lambda: None,
    artist_names: Callable[[], Iterable[str]] = tuple,
) -> Iterator[tuple[ExportSource, Reading]]:  # fmt: skip
    """Give the source of one person's files, as it will be once they are in the inbox.

    Parameters
    ----------
    paths
        What was handed in.
    user_id
        Whose it is.
    folder
        Where what is read of it is kept meanwhile.
    check
        Called on the way, and raises what ends the work.
    artist_names
        As of `Reading`.

    Raises
    ------
    SourceError
        If what was handed in cannot be read.
    """
    reading = Reading(paths, user_id, artist_names=artist_names)
    frames = chain(reading.frames(), reading.months())
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        requests = UserRequests(Path(scratch))
        try:
            request = requests.hand_in("export", user_id, _checked(frames, check), opted_in=False)
        except SourceError as error:
            # People know their files by name, not by where they are here.
            message = str(error)
            for path in reading.paths:
                message = message.replace(f"{path.parent}/", "")
            raise SourceError(message) from None
        yield ExportSource(GivenRequests.of([request]), requests.content), reading


def hand_in(project: Project, user_id: str, source: ExportSource, *, opted_in: bool) -> None:
    """Put what `handed_in` gave into the inbox, for the graph to take in."""
    project.inbox.requests.hand_in("export", user_id, source.as_handed_in(), opted_in=opted_in)


def hand_in_login(project: Project, user_id: str, token: Mapping[str, Any]) -> None:
    """Let the graph read a user of Spotify who has logged in, from now on; they are who a tombstone waits for."""
    let_in_again(project, user_id)
    logins = Logins(project.settings)
    with logins.lock():
        logins.keep(user_id, dict(token), time.time())
        add_user(project.settings, user_id)
    if not any(source.name == "spotify" for source in project.inbox.sources()):
        project.inbox.register_source("spotify", {})


def _checked(frames: Iterator[pl.DataFrame], check: Callable[[], None]) -> Iterator[pl.DataFrame]:
    for frame in frames:
        check()
        yield frame


def _of_artists(table: pl.DataFrame, artists: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a table of genres that any of some artists could be found in."""
    import polars as pl

    return table.filter(
        pl.col("artist_id").is_in(artists["artist_id"].drop_nulls().implode())
        | pl.col("lower").is_in(artists.select(_lower()).to_series().implode())
        | pl.col("key").is_in(artists["artist_key"].implode())
    ).select("artist_id", "artist_name", "genres")


def _lower() -> pl.Expr:
    import polars as pl

    return pl.col("artist_name").str.strip_chars().str.to_lowercase()
