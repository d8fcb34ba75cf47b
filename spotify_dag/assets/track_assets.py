"""Tracks: how they sound, the catalogue of all of them, their vectors, their index, and what continues playlists."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from spotify_dag.assets.reporting import OWNERS, bar_chart, table_schema
from spotify_dag.features.audio import RANGES, believable
from spotify_dag.features.embeddings import TextVectors
from spotify_dag.memory import return_freed_memory
from spotify_dag.progress import Progress
from spotify_dag.project import Project
from spotify_dag.schemas import AUDIO_FEATURES, RAW_PLAYLISTS, TRACK_CATALOGUE, USERS, Table
from spotify_dag.sources.base import HasAudioFeatures
from spotify_dag.staleness.changed_tracks import among, catalogue_inputs, genres_of_artists, made_from, touched_tracks
from spotify_dag.staleness.stale_buckets import index_difference, stale_audio, stale_continuation
from spotify_dag.stores.lake import Lake
from spotify_dag.stores.text_encoder import encode_missing, encoded, load_vectors, unknown_texts
from spotify_dag.tracks.catalogue_rows import catalogue, distinct_tracks, track_identity
from spotify_dag.tracks.continuation import Continuation, feature_weights
from spotify_dag.tracks.corpus import (
    distinct_texts,
    genre_names,
    playlist_table,
    playlists_of,
    text_vectors,
    tracks_of,
)
from spotify_dag.tracks.moods import PHRASES
from spotify_dag.training_data.policy import may_be_trained_on

if TYPE_CHECKING:
    import polars as pl

LARGE = 100_000
"""From so many tracks on, it takes seconds to write the catalogue and to check it: the encoder is loaded meanwhile."""
INDEX_ROWS = 200_000
"""Tracks whose vectors are in memory at once while they are indexed; a killed run loses at most these."""
FEW_TEXTS = 500
"""So many strings are sooner encoded again than looked for among the vectors of a million."""


def track_assets() -> list[Any]:
    """Return the assets of this stage. They are not partitioned: a track belongs to many users."""
    tables = {"deltalake", "polars"}
    return [
        _asset(compute_audio_features, "audio_features", tables, ["known_users"], AUDIO_FEATURES.doc, AUDIO_FEATURES),
        _asset(
            compute_track_catalogue,
            "track_catalogue",
            tables,
            ["raw_playlists", "artist_genres", "audio_features"],
            TRACK_CATALOGUE.doc,
            TRACK_CATALOGUE,
        ),
        _asset(
            compute_track_vectors,
            "track_vectors",
            {"pytorch"},
            ["track_catalogue"],
            "The titles and artists of tracks to be indexed, encoded. Vectors are kept in the table text_vectors.",
        ),
        _asset(
            compute_track_index,
            "track_index",
            {"lancedb"},
            ["track_catalogue", "track_vectors"],
            "Every track, found by its trigrams, its words and its meaning, filtered by genre, year and sound.",
        ),
        _asset(
            compute_track_factors,
            "track_factors",
            {"numpy"},
            ["track_catalogue", "track_index", "raw_playlists"],
            "Factors of co-occurrence in playlists, and what every signal that continues a playlist counts.",
        ),
    ]


def compute_audio_features(project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
    """Read the audio features of sources that are new or changed."""
    import polars as pl

    sources = {source.name: source for source in project.inbox.sources()}
    changed = stale_audio(project)
    for name, version in changed.items():
        rows = AUDIO_FEATURES.empty()
        source = sources.get(name)
        if version is not None and isinstance(source, HasAudioFeatures):
            rows = source.audio_features().with_columns(*map(believable, RANGES))
            rows = rows.with_columns(pl.lit(name).alias("source"), pl.lit(version).alias("source_version"))
        project.lake.overwrite(AUDIO_FEATURES, [rows], part=name)
    stored = project.lake.scan(AUDIO_FEATURES)
    shares = stored.select(pl.col(name).is_not_null().mean().fill_null(0) for name in RANGES).collect()
    return dg.MaterializeResult(
        metadata={
            "tracks": stored.select("track_id").unique().select(pl.len()).collect().item(),
            "sources_read": ", ".join(changed),
            "share_known": bar_chart(shares.columns, shares.row(0)),
        }
    )


def compute_track_catalogue(project: dg.ResourceParam[Project]) -> dg.MaterializeResult:
    """Bring the catalogue up to date: only tracks that new or changed users touch are looked at."""
    import polars as pl

    lake = project.lake
    inputs, begun = catalogue_inputs(project), datetime.now(UTC)  # before the rows are read: others come meanwhile
    card, before = project.track_catalogue_card(), lake.scan(TRACK_CATALOGUE)
    last = before.select(pl.col("catalogue_number").max().fill_null(-1)).collect().item()
    first_free = max(last + 1, card.get("first_free_number", 0))
    origin = made_from(card, inputs)
    if first_free > LARGE and origin != inputs:
        project.encoder.load_ahead()  # for the names of new tracks
    touched = touched_tracks(lake, origin, inputs)
    rows, new = _write_touched(lake, touched, first_free)
    counts = lake.scan(TRACK_CATALOGUE).select(pl.len(), pl.col("catalogue_number").max().fill_null(-1)).collect()
    total, last = counts.row(0)
    project.set_track_catalogue_card(
        {"made_from": inputs, "first_free_number": max(first_free, last + 1), "made_at": begun.isoformat()}
    )
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": total,
            "looked_at": rows,
            "new_or_changed": new.height,
        }
    )


def _write_touched(lake: Lake, touched: "pl.Series | None", first_free: int) -> "tuple[int, pl.DataFrame]":
    """Make the rows of touched tracks anew, and write those that differ.

    Returns
    -------
    The number of rows made, and those that are new or changed.
    """
    import polars as pl

    before, items = lake.scan(TRACK_CATALOGUE), lake.scan(RAW_PLAYLISTS)
    stored = before.filter(among(pl.col("track_id"), touched)).collect()
    items_of_touched = items.filter(among(track_identity(), touched))
    seen = distinct_tracks(items_of_touched, lake.scan(USERS)).collect(engine="streaming")
    audio = _audio(lake, among(pl.col("track_id"), touched))
    rows = TRACK_CATALOGUE.conform(catalogue(seen, stored, genres_of_artists(lake).collect(), audio, first_free))
    same = ["track_id", "content_hash"]
    new = rows.join(stored, on=same, how="anti")
    if stored.join(rows, on=same, how="anti").height:
        others = before.filter(~among(pl.col("track_id"), touched)).collect()
        lake.overwrite(TRACK_CATALOGUE, [others, rows])
    elif new.height:
        # Only additions: the files that are there stay as they are.
        lake.append(TRACK_CATALOGUE, new)
    return rows.height, new


def compute_track_vectors(
    project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Encode the titles and artists of tracks to be indexed that have no vector yet."""
    lake, encoder = project.lake, project.encoder
    texts = distinct_texts(index_difference(project)[0])
    new = unknown_texts(lake, encoder, texts)
    with progress.task("Encoding titles", new.height) as advance:
        encode_missing(lake, encoder, new, advance)
    return dg.MaterializeResult(
        metadata={
            "strings_needed": texts.height,
            "strings_encoded_in_this_run": new.height,
        }
    )


def compute_track_index(
    project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Write new and changed tracks to the index, and take out those that are gone."""
    import polars as pl

    index = project.track_index
    changed, gone = index_difference(project)
    audio = _audio(project.lake, pl.col("track_id").is_in(changed["track_id"].implode()))
    with progress.task("Indexing tracks", changed.height) as advance:
        for rows in changed.iter_slices(INDEX_ROWS):
            vectors = _vectors_of(project, distinct_texts(rows))
            heard = rows.join(audio, on="track_id", how="left", maintain_order="left")
            index.write(heard, text_vectors(rows, vectors))
            advance(rows.height)
    index.remove(gone["track_id"].to_list())
    if changed.height or gone.height:
        index.optimise()
    return dg.MaterializeResult(metadata={"written": changed.height, "taken_out": gone.height})


def compute_track_factors(
    project: dg.ResourceParam[Project], progress: dg.ResourceParam[Progress]
) -> dg.MaterializeResult:
    """Learn to continue playlists, if the model that is there is too old."""
    reason = stale_continuation(project)
    if reason is None:
        return dg.MaterializeResult(metadata={"learned": False})
    return_freed_memory()
    frame = project.lake.scan(TRACK_CATALOGUE).sort("catalogue_number").collect()
    with progress.task("Learning to continue playlists") as advance:
        model, users = learn_continuation(project, frame, advance)
    card = {
        "encoder": project.encoder.digest,
        "catalogue": frame.height,
        "items": int(frame["playlists"].cast(int).sum()),
        "train_on_spotify": project.settings.train_on_spotify,
        "train_on_lastfm": project.settings.train_on_lastfm,
    }
    project.track_model.save(model, frame.select("track_id", "artist_key", "catalogue_number"), users, card)
    weights = feature_weights(model)
    return dg.MaterializeResult(
        metadata={
            "learned": True,
            "reason": reason,
            "playlists": len(model.stage.playlists),
            "mean_weights": bar_chart(list(weights), list(weights.values())),
        }
    )


def learn_continuation(
    project: Project, frame: "pl.DataFrame", progress: Callable[[int], None] = lambda _: None
) -> "tuple[Continuation, pl.DataFrame]":
    """Return the continuation model of a catalogue, and the users (``user_id``) whose playlists it was made from.

    ``frame`` has rows of `schemas.TRACK_CATALOGUE`, in the order of the model.

    It is learned from playlists that may be trained on; other tracks are known by their artist, sound and name.
    """
    import polars as pl

    lake, encoder, seed = project.lake, project.encoder, project.settings.seed
    table = playlist_table(lake.scan(RAW_PLAYLISTS).filter(may_be_trained_on(project)), frame)
    titles = pl.concat(
        [
            table.select(pl.col("playlist_name").alias("text")).drop_nulls(),
            genre_names(frame),
            pl.DataFrame({"text": PHRASES}),
        ]
    )
    title_vectors = encoded(lake, encoder, titles.unique())
    tracks = tracks_of(
        frame, _audio(lake, pl.lit(value=True)), project.track_index.vectors(frame["track_id"]), title_vectors
    )
    playlists = playlists_of(table, title_vectors)
    model = Continuation.learn(tracks, playlists, seed=seed, progress=progress)
    return model, table.select("user_id").unique().sort("user_id")


def _asset(
    compute: Callable[..., dg.MaterializeResult],
    name: str,
    kinds: set[str],
    deps: list[str],
    description: str,
    table: Table | None = None,
) -> Any:
    decorate = dg.asset(
        name=name,
        group_name="tracks",
        kinds=kinds,
        owners=OWNERS,
        code_version="1",
        deps=deps,
        description=description,
        metadata={"dagster/column_schema": table_schema(table)} if table else None,
    )
    return decorate(compute)


def _vectors_of(project: Project, texts: "pl.DataFrame") -> TextVectors:
    if texts.height <= FEW_TEXTS and project.encoder.is_loaded:
        return TextVectors(texts, project.encoder.encode(texts["text"].to_list()))
    return load_vectors(project.lake, project.encoder, texts)


def _audio(lake: Lake, chosen: "pl.Expr") -> "pl.DataFrame":
    """Return the audio features of every chosen track that has any: those of the first source by name that knows it."""
    features = (
        lake.scan(AUDIO_FEATURES).filter(chosen).sort("source").unique("track_id", keep="first", maintain_order=True)
    )
    return features.select("track_id", *RANGES).collect()
