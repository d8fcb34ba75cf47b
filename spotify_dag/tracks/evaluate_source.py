"""Evaluate search and continuation on the files of a source: what ``spotify-dag evaluate tracks`` runs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.features.audio import RANGES
from spotify_dag.features.genres import match_genres
from spotify_dag.progress import Progress
from spotify_dag.settings import Settings
from spotify_dag.sources import open_source
from spotify_dag.sources.base import SourceError
from spotify_dag.sources.spotify_songs import SpotifySongsSource
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import Encoder, encoded
from spotify_dag.tracks.catalogue_rows import distinct_tracks, with_song_keys
from spotify_dag.tracks.continuation import Continuation
from spotify_dag.tracks.corpus import (
    distinct_texts,
    genre_names,
    playlist_table,
    playlists_of,
    text_vectors,
    tracks_of,
)
from spotify_dag.tracks.moods import PHRASES, mood_pull
from spotify_dag.tracks.signal_weights import learn_factors, learn_weights
from spotify_dag.tracks.track_evaluation import (
    SCENARIOS,
    evaluate_continuation,
    evaluate_search,
    known_item_queries,
    lead,
    split_playlists,
)
from spotify_dag.tracks.track_index import TrackIndex

if TYPE_CHECKING:
    import polars as pl

    from spotify_dag.sources.base import Source

FEWEST_PLAYLISTS = 50


def evaluate_tracks(
    path: Path,
    *,
    settings: Settings,
    lake: Lake,
    encoder: Encoder,
    queries: int,
    seed: int,
    progress: Progress,
    search: bool,
    continuation: bool,
) -> dict[str, Any]:
    """Return figures of search and continuation on the playlists of ``path``.

    Raises
    ------
    SourceError
        If nothing can be read there, or there are too few playlists to set some aside.
    """
    import polars as pl

    source = _open(path, settings)
    items = pl.concat([batch.records for batch in source.batches()])
    tracks = with_song_keys(distinct_tracks(items.lazy()).collect()).sort("track_id")
    table = playlist_table(items.lazy(), tracks)
    if table.height < FEWEST_PLAYLISTS:
        raise SourceError(
            f"'{path}' has {table.height} playlists of two tracks or more; {FEWEST_PLAYLISTS} are needed."
        )
    titles = table["playlist_name"].drop_nulls().unique().sort()
    texts = pl.concat(
        [distinct_texts(tracks), pl.DataFrame({"text": titles}), pl.DataFrame({"text": PHRASES})]
    ).unique()
    with progress.task("Encoding strings", texts.height) as advance:
        known = encoded(lake, encoder, texts, advance)
    vectors = text_vectors(tracks, known)
    report: dict[str, Any] = {
        "path": str(path),
        "source": source.name,
        "tracks": tracks.height,
        "songs": tracks["song_key"].n_unique(),
        "playlists": table.height,
        "seed": seed,
    }
    audio = _audio(source)
    if search:
        report["search"] = _search(encoder, tracks, audio, vectors, queries, seed, progress)
    if continuation:
        split = split_playlists(table.height, seed)
        # Whatever is made of playlists is made of the others: their tracks' popularity, their artists' genres.
        kept = table[split.train].select("user_id", "playlist_id")
        seen = items.join(kept, on=["user_id", "playlist_id"], how="semi")
        genres = _genres(source, seen)
        catalogue = tracks.with_columns(pl.lit(None, pl.List(pl.String)).alias("genres"))
        if genres is not None:
            catalogue = match_genres(tracks, [("source", genres)])
        playlists = playlists_of(table, known)
        arrays = tracks_of(catalogue, audio, vectors, encoded(lake, encoder, genre_names(catalogue)))
        moods = mood_pull(playlists.title_vectors, known.rows(pl.Series(PHRASES)))
        train = playlists.take(split.train)
        with progress.task("Learning to continue"):
            weights = learn_weights(arrays, train, moods, seed=seed)
            model = Continuation(arrays, train, weights=weights)
            model.factors = learn_factors(model.by_playlist, seed)
        with progress.task("Continuing playlists", len(SCENARIOS) * len(split.test)) as advance:
            found = evaluate_continuation(model, playlists, split.test, moods, seed=seed, progress=advance)
        warm = np.isin(np.concatenate([playlists[int(number)] for number in split.test]), train.indices).mean()
        report["continuation"] = found
        report["tracks_in_other_playlists"] = float(warm)
        report["lead"] = {metric: lead(found, metric) for metric in ("r_precision", "r_precision_with_artists", "ndcg")}
        report["weights"] = weights.tolist()
    return report


def _open(path: Path, settings: Settings) -> Source:
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
                return [songs[found.track["track_id"]] for found in index.search(text, 10, encoder.encode)]

            return evaluate_search(queries, search)
