"""The feature loop of the seed system beside ours, on the same 200 synthetic users: users per second.

The seed system (github.com/Minifixio/ID2223-project, notebook 1) takes users one by one. This loop does the same work:

* per playlist (the first 5 of a user), the genres of every track's artist go into one list, repeats kept, and that
  list is encoded in one ``encode`` call; the playlist's vector is the mean;
* per user, the genres of all playlists, every one encoded already, are encoded once more in one call; the genre
  embedding is the mean;
* per user, the 5 most frequent artist names are encoded in one call; the artist embedding is the mean;
* the playlist embedding is the sum of the playlist vectors times the playlist sizes divided by their Euclidean norm;
  the release year is the mean year; mean popularity and explicit ratio are taken per playlist;
* nothing is cached or shared between calls, playlists or users; ``encode`` runs with the library's defaults (float32,
  batches of 32, its own sorting by length), progress bar off.

Not in its time: reading playlists and artists (there, calls to the Web API; here, lists made beforehand), loading the
encoder, writing to the feature store. Different from the seed: the weights are all-MiniLM-L6-v2, which is installed
here and has the shape of its paraphrase-MiniLM-L6-v2 (6 layers, 384 numbers), and its prints are left out.

Ours is timed twice over. In memory, like with like: records to user embeddings by the pure functions, encoder loaded,
nothing written; cold encodes every distinct string, warm has their vectors. And as ``spotify-dag run`` does it: the
stage ``features`` in a new process, from the lake to the lake with Dagster, imports and loading the encoder; warm finds
the vectors of all strings in the lake. The 100,000 users of the other bench, where it has run, are quoted last.

Other work on the machine only ever slows a loop, so each side also has its undisturbed speed: the seed loop that of its
fastest tenth of users, counted in genre strings, and ours in memory the fastest of 5 runs. Ratios are against the seed
loop's undisturbed speed; on a quiet machine it differs little from that of the whole loop.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import hundred_thousand_users
from bench.measure import Cost, console, in_fresh_process, print_others, print_table, read_results, run
from bench.pipeline import register_world, run_stages

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from sentence_transformers import SentenceTransformer

    from spotify_dag.features.embeddings import TextVectors

NAME = "seed_loop"
USERS, QUICK_USERS = 200, 20
PLAYLISTS, TRACKS = 5, 50
BUDGET_SECONDS = 600.0
"""The seed loop stops after the user that passes this; its users per second then come from the users it did."""
SEED_PLAYLISTS, SEED_ARTISTS = 5, 5
"""The seed system's ``playlists_count`` and ``top_artist_count``."""
REPEATS = 5
AIM = 500.0


def measure(quick: bool) -> dict[str, Any]:
    """Measure, print and return the figures."""
    users = QUICK_USERS if quick else USERS
    seed, seed_cost = in_fresh_process(time_seed_loop, users)
    memory, memory_cost = in_fresh_process(time_in_memory, users)
    lake, lake_costs = time_in_lake(users)
    memory["genre_embedding_cosine_with_seed"] = _median_cosine(seed.pop("genres"), memory.pop("genres"))
    costs = {"seed loop": seed_cost, "in memory": memory_cost, **lake_costs}
    at_scale = read_results(hundred_thousand_users.NAME)
    undisturbed = seed["undisturbed_users_per_second"]
    speeds = {
        "seed loop": seed["users_per_second"],
        "seed loop, undisturbed": undisturbed,
        "ours, in memory, cold": users / memory["cold_seconds"],
        "ours, in memory, warm": users / memory["warm_seconds"],
        "ours, stage in a new process, cold": users / lake["cold_seconds"],
        "ours, stage in a new process, warm": users / lake["warm_seconds"],
    }
    if at_scale:
        from_nothing = at_scale["to_user_embeddings"]
        features = next(stage for stage in from_nothing["stages"] if stage["stage"] == "features")
        count = at_scale["users_embedded"]
        speeds[f"ours, {count:,} users, stage in a new process, cold"] = count / features["seconds"]
        speeds[f"ours, {count:,} users, from nothing"] = from_nothing["users_per_second"]
    results = {
        "users": users,
        "seed": seed,
        "ours_in_memory": memory,
        "ours_stage": lake,
        "users_per_second": speeds,
        "times_the_seed_loop": {name: speed / undisturbed for name, speed in speeds.items()},
        "aim": AIM,
        "others_share": {name: cost.others_share for name, cost in costs.items()},
    }
    show(results)
    print_others(costs)
    return results


def time_seed_loop(users: int) -> dict[str, Any]:
    """Time the seed system's loop on a world of users, within the budget; ``genres`` are its genre embeddings."""
    import numpy as np
    from sentence_transformers import SentenceTransformer

    from spotify_dag.stores.text_encoder import Encoder

    listening = list(seed_listening(users).items())
    model = SentenceTransformer(str(Encoder().folder), local_files_only=True)
    model.encode(["warm up"] * 64, show_progress_bar=False)
    rows: dict[str, dict[str, np.ndarray]] = {}
    seconds = []
    for user, playlists in listening:
        begun = time.monotonic()
        rows[user] = seed_features(playlists, model)
        seconds.append(time.monotonic() - begun)
        if sum(seconds) > BUDGET_SECONDS:
            break
    # Every genre is encoded twice: with its playlist and with its user.
    strings = [2 * sum(len(track["genres"]) for playlist in lists for track in playlist) for _, lists in listening]
    strings = strings[: len(rows)]
    fastest = np.quantile(np.array(strings) / seconds, 0.9)
    return {
        "users_done": len(rows),
        "extrapolated": len(rows) < users,
        "seconds": sum(seconds),
        "users_per_second": len(rows) / sum(seconds),
        "undisturbed_users_per_second": fastest / np.mean(strings),
        "undisturbed_strings_per_second": fastest,
        "genre_strings_encoded": sum(strings),
        "dtype": str(next(model.parameters()).dtype),
        "genres": {user: row["genre_embedding"].tolist() for user, row in rows.items()},
    }


def seed_listening(users: int) -> dict[str, list[list[dict[str, Any]]]]:
    """Return user -> playlists -> tracks, as the Web API's answers would hold them: plain lists and dictionaries."""
    import polars as pl

    raw, genres = world(users)
    known = raw.join(genres.select("artist_id", "genres"), on="artist_id", how="left")
    fields = ("artist_name", "genres", "release_year", "popularity", "explicit")
    playlists = (
        known.sort("user_id", "playlist_position", "position")
        .group_by("user_id", "playlist_position", maintain_order=True)
        .agg(pl.struct(fields).alias("tracks"))
    )
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for user, _, tracks in playlists.iter_rows():
        found.setdefault(user, []).append([{**track, "genres": track["genres"] or []} for track in tracks])
    return found


def seed_features(playlists: list[list[dict[str, Any]]], model: SentenceTransformer) -> dict[str, np.ndarray]:
    """Return one user's features as the seed system makes them."""
    import numpy as np

    taken = playlists[:SEED_PLAYLISTS]
    dim = model.get_embedding_dimension() or 0

    def mean_vector(strings: list[str]) -> np.ndarray:
        return model.encode(strings, show_progress_bar=False).mean(axis=0) if strings else np.zeros(dim)

    per_playlist = [[genre for track in playlist for genre in track["genres"]] for playlist in taken]
    playlist_vectors = np.stack([mean_vector(genres) for genres in per_playlist])
    sizes = np.array([len(playlist) for playlist in taken], dtype=float)
    artists = Counter(track["artist_name"] for playlist in taken for track in playlist)
    years = [track["release_year"] for playlist in taken for track in playlist]
    statistics = [
        (np.mean([track["popularity"] for track in playlist]), np.mean([track["explicit"] for track in playlist]))
        for playlist in taken
    ]
    return {
        "genre_embedding": mean_vector([genre for genres in per_playlist for genre in genres]),
        "artist_embedding": mean_vector([name for name, _ in artists.most_common(SEED_ARTISTS)]),
        "playlist_embedding": sizes / np.linalg.norm(sizes) @ playlist_vectors,
        "release_year_embedding": np.array([np.mean(years)]),
        "playlist_statistics": np.array(statistics),
    }


def time_in_memory(users: int) -> dict[str, Any]:
    """Time the pure functions on the same users, cold and warm: the fastest of `REPEATS` runs, in seconds."""
    import polars as pl

    from spotify_dag.stores.text_encoder import Encoder

    raw, genres = world(users)
    encoder = Encoder()
    encoder.encode(["warm up"] * 64)
    frame, vectors = embed_in_memory(raw, genres, encoder.encode)
    known = vectors.vectors
    cold = [_timed(lambda: embed_in_memory(raw, genres, encoder.encode)) for _ in range(REPEATS)]
    warm = [_timed(lambda: embed_in_memory(raw, genres, lambda _texts: known)) for _ in range(REPEATS)]
    return {
        "cold_seconds": min(cold),
        "warm_seconds": min(warm),
        "rows": raw.height,
        "strings_encoded": len(known),
        "genres": dict(frame.select("user_id", pl.col("genre_embedding")).iter_rows()),
    }


def embed_in_memory(
    raw: pl.DataFrame, genres: pl.DataFrame, encode: Callable[[list[str]], np.ndarray]
) -> tuple[pl.DataFrame, TextVectors]:
    """Take records to user embeddings with the functions the assets call; ``encode`` gets the distinct strings."""
    import polars as pl

    from spotify_dag.features.embeddings import TextVectors, user_embeddings
    from spotify_dag.features.genres import bucket_artists, match_genres
    from spotify_dag.features.tastes import user_tastes
    from spotify_dag.settings import Settings

    lazy = raw.lazy()
    tastes = user_tastes(lazy, match_genres(bucket_artists(lazy), [("source", genres)]))
    texts = tastes.filter(pl.col("kind").is_in(["genre", "artist"])).select(pl.col("name").alias("text")).unique()
    texts = texts.sort("text")
    vectors = TextVectors(texts, encode(texts["text"].to_list()))
    users = raw.select("user_bucket", "user_id", "source", content_hash=pl.lit(0, pl.Int64)).unique("user_id")
    return user_embeddings(users, lazy, tastes, vectors, top_artist_count=Settings().top_artist_count), vectors


def time_in_lake(users: int) -> tuple[dict[str, float], dict[str, Cost]]:
    """Time the stage ``features`` through Dagster and the lake in new processes, cold and warm, in seconds."""
    from spotify_dag.schemas import USER_EMBEDDINGS

    with tempfile.TemporaryDirectory(prefix="spotify-dag-bench-") as folder:
        root = Path(folder)
        in_fresh_process(register_world, root, users, PLAYLISTS, TRACKS)
        in_fresh_process(run_stages, root, "ingest")
        (cold,), cold_cost = in_fresh_process(run_stages, root, "features")
        # Without its result the stage has everything to do again; the vectors of the strings stay.
        shutil.rmtree(root / "lake" / USER_EMBEDDINGS.name)
        (warm,), warm_cost = in_fresh_process(run_stages, root, "features")
    seconds = {"cold_seconds": cold["seconds"], "warm_seconds": warm["seconds"]}
    return seconds, {"stage, cold": cold_cost, "stage, warm": warm_cost}


def world(users: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows of `schemas.RAW_PLAYLISTS` of a synthetic world, and its artists' genres."""
    from datetime import UTC, datetime

    import polars as pl

    from spotify_dag.layout import DEFAULT_BUCKETS
    from spotify_dag.sources.ingestion import Ingestion
    from spotify_dag.sources.synthetic import SyntheticSource

    source, buckets = SyntheticSource(users=users, playlists=PLAYLISTS, tracks=TRACKS), range(DEFAULT_BUCKETS)
    ingestion = Ingestion([source], buckets=buckets, n_buckets=len(buckets), profiles_count=None, now=datetime.now(UTC))
    return pl.concat(ingestion.records()), source.artist_genres()


def show(results: dict[str, Any]) -> None:
    """Print users per second and how many times the seed loop's that is."""
    seed, memory = results["seed"], results["ours_in_memory"]
    print_table(
        "Users per second",
        ("What", "Users per second", "Times the seed loop"),
        [
            (name, *(f"{value:,.2f}" if value < 10 else f"{value:,.0f}" for value in (speed, times)))
            for (name, speed), times in zip(
                results["users_per_second"].items(), results["times_the_seed_loop"].values(), strict=True
            )
        ],
    )
    done = f"{seed['users_done']} of {results['users']} users in {seed['seconds']:,.0f} s"
    console.print(
        f"Seed loop: {done}{', the rest extrapolated linearly' if seed['extrapolated'] else ''}; "
        f"{seed['genre_strings_encoded']:,} genre strings encoded, {seed['dtype']}. "
        f"Ours: {memory['strings_encoded']:,} distinct strings.\n"
        f"Genre embeddings of the two agree: median cosine {memory['genre_embedding_cosine_with_seed']:.4f}.\n"
        f"Aim: {results['aim']:.0f} times."
    )


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _median_cosine(theirs: dict[str, list[float]], ours: dict[str, list[float]]) -> float:
    import numpy as np

    left, right = (np.array([vectors[user] for user in theirs]) for vectors in (theirs, ours))
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(np.median((left * right).sum(axis=1) / norms))


if __name__ == "__main__":
    run(NAME, __doc__, measure)
