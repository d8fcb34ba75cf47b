"""Evaluate search and continuation on the files of a source: what ``spotify-dag evaluate tracks`` runs."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_dag.features.audio import RANGES
from spotify_dag.features.embeddings import TextVectors
from spotify_dag.features.genres import match_genres
from spotify_dag.progress import Progress
from spotify_dag.settings import Settings
from spotify_dag.sources import open_source
from spotify_dag.sources.artist_genres import read_artist_genres
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.spotify_songs import SpotifySongsSource
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import Encoder, encoded
from spotify_dag.tracks.catalogue_rows import distinct_tracks, with_song_keys
from spotify_dag.tracks.continuation import Continuation
from spotify_dag.tracks.continuation_baselines import TUNED, Baseline, fixed, tuned
from spotify_dag.tracks.corpus import (
    distinct_texts,
    genre_names,
    playlist_table,
    playlists_of,
    text_vectors,
    tracks_of,
)
from spotify_dag.tracks.moods import PHRASES
from spotify_dag.tracks.ranker_learning import asked_while_learning
from spotify_dag.tracks.track_arrays import Playlists, Tracks
from spotify_dag.tracks.track_evaluation import (
    AT_50,
    FEWEST_ITEMS,
    SCENARIOS,
    TEST_PLAYLISTS,
    evaluate_continuation,
    evaluate_halves,
    evaluate_search,
    known_item_queries,
    lead,
    split_playlists,
    summary,
)
from spotify_dag.tracks.track_index import TrackIndex

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from spotify_dag.sources.base import Source

FEWEST_PLAYLISTS = 50


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate.

    Raises
    ------
    SourceError
        By its methods, if nothing can be read at a path, or there are too few playlists to set some aside.
    """

    settings: Settings
    lake: Lake
    encoder: Encoder
    progress: Progress
    seed: int = 0
    artist_genres: Path | None = None
    """A table of artists and their genres, beside what the source says."""

    def search(self, path: Path, queries: int) -> dict[str, Any]:
        """Return figures of search among the tracks of ``path``, ``queries`` of each kind."""
        source = open_files(path, self.settings)
        tracks = _tracks(_items(source))
        vectors = text_vectors(tracks, self._encoded(distinct_texts(tracks)))
        return _search(self.encoder, tracks, _audio(source), vectors, queries, self.seed, self.progress)

    def continuation(
        self, path: Path, test_path: Path | None = None, playlists: int = TEST_PLAYLISTS
    ) -> dict[str, Any]:
        """Return figures of continuation on playlists that nothing was learned from.

        The catalogue is made of the playlists that are learned from, and of nothing else: a track that only a test
        playlist has cannot be recommended, and counts as missed. Otherwise every method that prefers unlisted tracks,
        as of an artist who is new, would find the test playlists by that.

        Parameters
        ----------
        path
            What to learn from; without ``test_path`` a fifth of its playlists is set aside.
        test_path
            Other playlists to ask for.
        playlists
            How many are asked for at most, drawn at random.
        """
        learned = self._learned(path, test_path, playlists)
        scenarios = learned.continued(self.seed, self.progress)
        return learned.about() | {
            "scenarios": summary(scenarios, self.seed),
            "lead": {measure: lead(scenarios, measure, self.seed) for measure in ("r_precision", "ndcg")},
        }

    def listeners(self, path: Path, test_path: Path | None = None, playlists: int = TEST_PLAYLISTS) -> dict[str, Any]:
        """Return figures of tracks for single users: half of what they have is withheld, and nothing was learned from.

        Every playlist is taken for a user. There are no titles. Parameters are those of `continuation`.
        """
        learned = self._learned(path, test_path, playlists)
        with self.progress.task("Suggesting tracks", len(learned.asked)) as advance:
            halves = evaluate_halves(learned.model, learned.baselines, learned.asked, seed=self.seed, progress=advance)
        report = {f"half of {FEWEST_ITEMS} tracks and more": halves}
        return learned.about() | {"scenarios": summary(report, self.seed), "lead": lead(report, AT_50, self.seed)}

    def _learned(self, path: Path, test_path: Path | None, playlists: int) -> _Learned:
        import polars as pl

        source = open_files(path, self.settings)
        train, test = self._train_and_test(source, path, test_path, playlists)
        tracks, everything = _tracks(train), _tracks(pl.concat([train, test]))
        # Tracks that nobody can find come after those of the catalogue.
        everything = pl.concat([tracks, everything.join(tracks, on="track_id", how="anti").select(tracks.columns)])
        lists = playlist_table(train.lazy(), tracks)
        asked = playlist_table(test.lazy(), everything)
        arrays, learned = self._arrays(source, train, tracks, lists)
        titles = pl.concat(
            [asked.select(pl.col("playlist_name").alias("text")).drop_nulls(), pl.DataFrame({"text": PHRASES})]
        )
        asked_playlists = playlists_of(asked, self._encoded(titles))
        with self.progress.task("Learning to continue", asked_while_learning(len(lists))) as advance:
            model = Continuation.learn(arrays, learned, seed=self.seed, progress=advance)
        with self.progress.task("Tuning the baselines", sum(map(len, TUNED.values()))) as advance:
            baselines, settings = tuned(arrays, learned, seed=self.seed, progress=advance)
        artists = tracks.select("artist_key", pl.Series("artist", arrays.artist)).unique("artist_key")
        artist = everything.join(artists, on="artist_key", how="left", maintain_order="left")["artist"].fill_null(-1)
        baselines = fixed(model.stage) | baselines
        return _Learned(model, baselines, settings, asked_playlists, artist.to_numpy(), lists.height)

    def _train_and_test(
        self, source: Source, path: Path, test_path: Path | None, playlists: int
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the items to learn from, and those of the playlists to ask for: see `continuation`.

        Raises
        ------
        SourceError
            If there are too few playlists to learn from.
        """
        items = _items(source)
        chosen = _ids(items)
        if chosen.height < FEWEST_PLAYLISTS:
            raise SourceError(f"'{path}' has {chosen.height} playlists; {FEWEST_PLAYLISTS} are needed.")
        if test_path is None:
            split = split_playlists(chosen.height, self.seed, playlists)
            train, test = (
                items.join(chosen[rows], on=chosen.columns, how="semi") for rows in (split.train, split.test)
            )
            return train, test
        others = _items(open_files(test_path, self.settings))
        ids = _ids(others)
        asked = ids.sample(min(playlists, ids.height), seed=self.seed)
        return items, others.join(asked, on=asked.columns, how="semi")

    def _encoded(self, texts: pl.DataFrame) -> TextVectors:
        texts = texts.unique("text").sort("text")
        with self.progress.task("Encoding strings", texts.height) as advance:
            return encoded(self.lake, self.encoder, texts, advance)

    def _arrays(
        self, source: Source, items: pl.DataFrame, tracks: pl.DataFrame, lists: pl.DataFrame
    ) -> tuple[Tracks, Playlists]:
        """Return the catalogue and the playlists to learn from. Genres, too, are those that these playlists tell."""
        import polars as pl

        tables: list[tuple[str | None, pl.DataFrame]] = []
        if self.artist_genres is not None:
            tables.append((None, read_artist_genres(self.artist_genres)))
        if (of_source := _genres(source, items)) is not None:
            tables.append(("source", of_source))
        catalogue = match_genres(tracks, tables)
        titles = lists.select(pl.col("playlist_name").alias("text")).drop_nulls()
        known = self._encoded(
            pl.concat([distinct_texts(tracks), titles, genre_names(catalogue), pl.DataFrame({"text": PHRASES})])
        )
        arrays = tracks_of(catalogue, _audio(source), text_vectors(tracks, known), known)
        return arrays, playlists_of(lists, known)


@dataclass(frozen=True)
class _Learned:
    """What was learned from some playlists, and the playlists to ask for."""

    model: Continuation
    baselines: dict[str, Baseline]
    settings: dict[str, str]
    asked: Playlists
    artist: np.ndarray
    learned_from: int

    def about(self) -> dict[str, Any]:
        catalogue = len(self.model.stage.tracks)
        return {
            "catalogue": catalogue,
            "learned_from": self.learned_from,
            "asked_for": len(self.asked),
            "wanted_tracks_in_catalogue": float((self.asked.indices < catalogue).mean()),
            "settings": self.settings,
        }

    def continued(self, seed: int, progress: Progress) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        with progress.task("Continuing playlists", len(SCENARIOS) * len(self.asked)) as advance:
            return evaluate_continuation(
                self.model, self.baselines, self.asked, self.artist, seed=seed, progress=advance
            )


def describe(path: Path, settings: Settings) -> dict[str, Any]:
    """Return what there is at a path: ``path, source, tracks, songs, playlists``."""
    source = open_files(path, settings)
    items = _items(source)
    tracks = _tracks(items)
    return {
        "path": str(path),
        "source": source.name,
        "tracks": tracks.height,
        "songs": tracks["song_key"].n_unique(),
        "playlists": items.select("user_id", "playlist_id").n_unique(),
    }


def _ids(items: pl.DataFrame) -> pl.DataFrame:
    """Return the playlists of items (``user_id, playlist_id``), each once, in one order."""
    return items.select("user_id", "playlist_id").unique().sort("user_id", "playlist_id")


def _items(source: Source) -> pl.DataFrame:
    import polars as pl

    return pl.concat([batch.records for batch in source.batches()])


def _tracks(items: pl.DataFrame) -> pl.DataFrame:
    return with_song_keys(distinct_tracks(items.lazy()).collect()).sort("track_id")


def open_files(path: Path, settings: Settings) -> Source:
    """Return the source of files of tracks: a table, or slices of the Million Playlist Dataset."""
    name = "spotify-songs" if path.suffix.lower() in (".csv", ".parquet") else "mpd"
    return open_source(name, {"path": str(path)}, settings)


def _audio(source: Source) -> pl.DataFrame:
    import polars as pl

    if isinstance(source, SpotifySongsSource):
        return source.audio_features()
    return pl.DataFrame(schema={"track_id": pl.String, **dict.fromkeys(RANGES, pl.Float32)})


def _genres(source: Source, seen: pl.DataFrame) -> pl.DataFrame | None:
    if isinstance(source, SpotifySongsSource):
        return source.artist_genres(seen.select("playlist_id").unique())
    return source.artist_genres()


def _search(
    encoder: Encoder, tracks: pl.DataFrame, audio: pl.DataFrame, vectors: np.ndarray, count: int, seed: int,
    progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    import polars as pl

    queries = known_item_queries(tracks, count, seed)
    with tempfile.TemporaryDirectory() as folder:
        index = TrackIndex(Path(folder))
        rows = tracks.join(audio, on="track_id", how="left", maintain_order="left").with_columns(
            pl.lit(0, pl.Int64).alias("content_hash"),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("catalogue_number"),
            pl.lit(None, pl.List(pl.String)).alias("genres"),
        )
        index.write(rows, vectors)
        index.optimise()
        songs = dict(tracks.select("track_id", "song_key").iter_rows())

        with progress.task("Searching", sum(map(len, queries.values()))) as advance:

            def search(text: str) -> list[str]:
                advance(1)
                return [songs[song.track["track_id"]] for song in index.search(text, 10, encoder.encode)]

            return evaluate_search(queries, search)
