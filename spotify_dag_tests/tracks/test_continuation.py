"""Continuation of playlists whose truth is planted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.features.audio import SCALED
from spotify_dag.ranking_metrics import ndcg
from spotify_dag.tracks.candidate_features import FEATURES, features
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.continuation import Continuation, Recommendation
from spotify_dag.tracks.continuation_baselines import fixed, item_knn, tuned
from spotify_dag.tracks.continuation_model import TrackModel
from spotify_dag.tracks.incidence import Incidence
from spotify_dag.tracks.ranker import BRACKETS, Ranker
from spotify_dag.tracks.ranker_learning import FEWEST_PLAYLISTS, held_out_parts, learn_ranker, samples_of
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, Unseen

pytestmark = pytest.mark.xdist_group("continuation")  # a model that takes seconds to learn

BLOCKS, BLOCK, DIM = 4, 30, 8
"""Tracks of one block stand in the same playlists, and every third of them is by the same artist."""


@pytest.fixture(scope="module")
def world() -> tuple[Tracks, Playlists]:
    rng = np.random.default_rng(0)
    count = BLOCKS * BLOCK
    block = np.repeat(np.arange(BLOCKS), BLOCK)
    audio = rng.normal(0.5, 0.1, (count, len(SCALED))).astype(np.float32)
    audio[:, :BLOCKS] += np.eye(BLOCKS)[block]
    text = np.eye(DIM, dtype=np.float32)[block]
    tracks = Tracks(
        artist=np.arange(count) // 3,
        album=np.full(count, -1),
        song=np.arange(count),
        audio=audio,
        year=np.full(count, np.nan, np.float32),
        popularity=np.full(count, np.nan, np.float32),
        genres=csr_matrix((count, 1), dtype=np.float32),
        genre_text=np.zeros((1, DIM), np.float32),
        text=text,
    )
    rows = [rng.permutation(np.flatnonzero(block == number % BLOCKS))[:12] for number in range(80)]
    playlists = Playlists(
        indptr=np.arange(0, 81 * 12, 12, dtype=np.int64),
        indices=np.concatenate(rows).astype(np.int32),
        title=np.array([number % BLOCKS for number in range(80)], np.int32),
        title_vectors=np.eye(DIM, dtype=np.float32)[:BLOCKS],
        titles=np.array(["rock", "jazz", "folk", "techno"], object),
        moods=np.zeros((BLOCKS, len(SCALED)), np.float32),
    )
    return tracks, playlists


@pytest.fixture(scope="module")
def model(world: tuple[Tracks, Playlists]) -> Continuation:
    return Continuation.learn(*world, threads=1)


def blocks(recommended: list[Recommendation]) -> set[int]:
    return {one.track // BLOCK for one in recommended}


def test_features_of_some_candidates_are_those_of_all(world: tuple[Tracks, Playlists], model: Continuation) -> None:
    """Learning computes them for the rows it keeps, serving for all: ranks count every candidate either way."""
    _, playlists = world
    request = Request(np.array([31, 35]), playlists.title_vectors[1], title_text="jazz")
    candidates = model.stage.candidates(request)
    rows = np.arange(1, len(candidates.tracks), 3)
    whole = features(model.stage, request, candidates)
    np.testing.assert_allclose(features(model.stage, request, candidates, rows), whole[rows], atol=1e-5)


@pytest.mark.parametrize("seeds", [[31], [31, 35, 58], list(range(30, 50))])
def test_the_planted_block_comes_back_and_no_seed_does(model: Continuation, seeds: list[int]) -> None:
    found = model.recommend(Request(np.array(seeds)), 10)
    assert blocks(found) == {1}
    assert not {one.track for one in found} & set(seeds)
    assert all(one.reasons for one in found)


@pytest.mark.parametrize("text", ["", "folk"])
def test_a_title_alone_will_do(model: Continuation, world: tuple[Tracks, Playlists], text: str) -> None:
    title = world[1].title_vectors[2]
    assert blocks(model.recommend(Request(np.array([], np.int64), title, title_text=text), 10)) == {2}


def test_tracks_never_seen_count_by_their_content(model: Continuation) -> None:
    audio = np.full((1, len(SCALED)), np.nan, np.float32)
    audio[0, :BLOCKS] = (0.5, 0.5, 0.5, 1.5)
    unseen = Unseen(np.array([-1]), audio, np.array([np.nan], np.float32), np.eye(DIM, dtype=np.float32)[3:4])
    assert blocks(model.recommend(Request(np.array([], np.int64), unseen=unseen), 10)) == {3}


@pytest.mark.medium
def test_learning_with_more_threads_is_the_same(world: tuple[Tracks, Playlists], model: Continuation) -> None:
    again = learn_ranker(*world, threads=3)
    assert again.weights is not None
    assert again.weights.shape == (len(BRACKETS), len(FEATURES))
    assert again.weights == pytest.approx(model.ranker.weights, abs=1e-5)


def test_what_is_learned_from_is_what_is_served(world: tuple[Tracks, Playlists], tmp_path: Path) -> None:
    tracks, playlists = world
    stage = FirstStage.learn(tracks, playlists.take(np.arange(60)), threads=1)
    learned = samples_of(stage, playlists, 70, seed=1)
    assert {sample.seeds for sample in learned} == {0, 1, 5, 10}
    # With a weight of 1 each, what a feature adds to the score is the feature itself.
    ones = Continuation(stage, Ranker(np.ones((len(BRACKETS), len(FEATURES)), np.float32)))
    ids = pl.DataFrame({"track_id": [], "artist_key": [], "catalogue_number": []})
    models = TrackModel(tmp_path)
    models.save(ones, ids, pl.DataFrame({"user_id": ["a"]}), {})
    served = models.load().model
    for sample in learned:
        ranked = served.ranked(sample.request)
        places = {track: place for place, track in enumerate(ranked.tracks.tolist())}
        rows = ranked.contributions[[places[track] for track in sample.tracks.tolist()]]
        assert len(rows) > 10
        assert np.allclose(rows, sample.features, rtol=1e-4, atol=1e-5)


def test_every_file_of_a_model_that_is_cut_short_is_named(model: Continuation, tmp_path: Path) -> None:
    count = len(model.stage.tracks)
    ids = pl.DataFrame({name: [str(row) for row in range(count)] for name in ("track_id", "artist_key")})
    models = TrackModel(tmp_path)
    models.save(model, ids, pl.DataFrame({"user_id": ["a"]}), {})
    assert models.damaged() is None
    files = [file for file in tmp_path.rglob("*") if file.suffix in (".npy", ".parquet")]
    assert len(files) > 20
    for file in files:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2])
        assert file.name in (models.damaged() or "")
        file.write_bytes(content)
    assert models.damaged() is None


def test_nothing_is_learned_from_tracks_that_only_held_out_playlists_have(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    rest = playlists.take(np.arange(4, 8))  # a playlist of each block: most tracks stand in none
    stage = FirstStage.learn(tracks, rest, threads=1)
    for sample in samples_of(stage, playlists, 70, seed=1):
        assert np.isin(sample.tracks, rest.indices).all()


def test_every_playlist_is_held_out_once_where_they_are_few() -> None:
    parts = held_out_parts(100, np.random.default_rng(0))
    assert sorted(np.concatenate(parts)) == list(range(100))
    assert [len(part) for part in held_out_parts(5_000, np.random.default_rng(0))] == [500]


def test_with_too_few_playlists_ranks_are_fused(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    few = Continuation.learn(tracks, playlists.take(np.arange(FEWEST_PLAYLISTS - 1)), threads=1)
    assert few.ranker.weights is None
    found = few.recommend(Request(np.array([31, 35, 58])), 10)
    assert blocks(found) == {1}
    assert all(one.reasons for one in found)
    # Formula by hand: the sum of 1 / (60 + rank) over the methods that name a track, ranks from 1 on.
    candidates = few.stage.candidates(Request(np.array([31, 35, 58])), at_least=500)
    expected = np.zeros(len(candidates.tracks))
    for scores in candidates.scores.T:
        for place, row in enumerate(np.argsort(-scores, kind="stable")):
            expected[row] += (scores[row] > 0) / (61 + place)
    ranked = few.ranked(Request(np.array([31, 35, 58])))
    order = np.argsort(ranked.tracks)
    assert np.allclose(ranked.scores[order], expected, atol=1e-6)


def test_of_a_song_one_recording_is_recommended_and_none_of_a_seed(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    pairs = replace(tracks, song=np.arange(len(tracks)) // 2)
    found = Continuation(FirstStage.learn(pairs, playlists, threads=1), Ranker()).recommend(
        Request(np.array([30, 40])), 20
    )
    songs = [pairs.song[one.track] for one in found]
    assert len(set(songs)) == len(songs)
    assert not {15, 20} & set(songs)


def test_knobs_turn(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    known = replace(tracks, popularity=np.linspace(0, 1, len(tracks), dtype=np.float32))
    model = Continuation(FirstStage.learn(known, playlists, threads=1), Ranker())
    request = Request(np.array([31]))

    def mean_popularity(knob: float) -> float:
        return float(np.mean([known.popularity[one.track] for one in model.recommend(request, 5, popularity=knob)]))

    def artists(knob: float) -> int:
        return len({known.artist[one.track] for one in model.recommend(request, 9, diversity=knob)})

    assert mean_popularity(-1) < mean_popularity(1)
    assert artists(1) > artists(0)


def test_an_empty_request_gets_what_is_known(model: Continuation) -> None:
    assert len(model.recommend(Request(np.array([], np.int64)), 5)) == 5


def test_more_is_asked_for_than_there_is(model: Continuation) -> None:
    assert len(model.recommend(Request(np.array([3])), 1_000)) == BLOCKS * BLOCK - 1


def test_a_playlist_of_everything_has_no_continuation(model: Continuation) -> None:
    assert model.recommend(Request(np.arange(BLOCKS * BLOCK)), 10) == []


def test_a_very_long_playlist_takes_bounded_time(model: Continuation) -> None:
    seeds = np.tile(np.arange(60), 2_000)
    assert blocks(model.recommend(Request(seeds), 10)) <= {2, 3}


def test_baselines_find_the_block_too(model: Continuation, world: tuple[Tracks, Playlists]) -> None:
    chosen, settings = tuned(*world)
    assert set(settings) == {"item-kNN", "playlist-kNN", "iALS"}
    for name, score in (fixed(model.stage) | chosen).items():
        if name not in {"popularity", "seed system", "title-kNN"}:
            scores = score(Request(np.array([31, 35]))).copy()
            scores[[31, 35]] = -np.inf
            assert set(np.argsort(-scores)[:10] // BLOCK) == {1}, name


def test_item_knn_is_the_shrunk_cosine(world: tuple[Tracks, Playlists]) -> None:
    incidence = Incidence(*world)
    score = item_knn(shrinkage=7.0, neighbours=1_000)(incidence)(Request(np.array([31, 40])))
    listed = incidence.by_playlist.toarray()
    expected = np.zeros(BLOCKS * BLOCK)
    for seed in (31, 40):
        together = listed[:, seed] @ listed
        expected += together / (np.sqrt(listed[:, seed].sum() * listed.sum(axis=0)) + 7)
    others = np.setdiff1d(np.arange(len(expected)), [31, 40])
    assert np.allclose(score[others], expected[others], atol=1e-6)


def test_of_item_knn_the_nearest_neighbours_count(world: tuple[Tracks, Playlists]) -> None:
    score = item_knn(shrinkage=7.0, neighbours=3)(Incidence(*world))(Request(np.array([31])))
    assert 3 <= (score > 0).sum() < BLOCK - 1


@pytest.mark.medium
@pytest.mark.slow
def test_without_sound_names_and_years_it_does_not_fall_behind_item_knn() -> None:
    rng = np.random.default_rng(5)
    count, lists = 400, 260
    # Lists are stretches of a ring of tracks with gaps: only company tells what is near.
    starts = rng.integers(0, count, lists)
    rows = [(start + np.sort(rng.permutation(30)[:14])) % count for start in starts]
    tracks = Tracks(
        artist=np.arange(count),
        album=np.full(count, -1),
        song=np.arange(count),
        audio=np.full((count, len(SCALED)), np.nan, np.float32),
        year=np.full(count, np.nan, np.float32),
        popularity=np.full(count, np.nan, np.float32),
        genres=csr_matrix((count, 1), dtype=np.float32),
        genre_text=np.zeros((1, DIM), np.float32),
        text=np.zeros((count, DIM), np.float32),
    )
    playlists = Playlists(
        np.arange(0, lists * 14 + 1, 14, dtype=np.int64),
        np.concatenate(rows).astype(np.int32),
        np.full(lists, -1, np.int32),
        np.zeros((0, DIM), np.float32),
        np.empty(0, object),
        np.zeros((0, len(SCALED)), np.float32),
    )
    train = playlists.take(np.arange(200))
    model = Continuation.learn(tracks, train, threads=1)
    anchor = item_knn(80.0, 200)(model.stage.incidence)
    ours, theirs = [], []
    for own in rows[200:]:
        request = Request(own[:5])
        scores = anchor(request).astype(np.float64)
        scores[own[:5]] = -np.inf
        theirs.append(ndcg(np.argsort(-scores, kind="stable"), own[5:]))
        ours.append(ndcg(model.ranked(request).tracks, own[5:]))
    assert np.mean(theirs) > 0.3
    assert np.mean(ours) > 0.99 * np.mean(theirs)
