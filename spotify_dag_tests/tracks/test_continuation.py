"""Continuation of playlists whose truth is planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.features.audio import SCALED
from spotify_dag.ranking_metrics import ndcg
from spotify_dag.tracks.continuation import BRACKETS, Continuation, Recommendation
from spotify_dag.tracks.continuation_baselines import BASELINES, item_knn
from spotify_dag.tracks.signal_weights import learn_factors, learn_weights
from spotify_dag.tracks.signals import SIGNALS
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, Unseen

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
    )
    return tracks, playlists


@pytest.fixture(scope="module")
def model(world: tuple[Tracks, Playlists]) -> Continuation:
    tracks, playlists = world
    found = Continuation(tracks, playlists, weights=learn_weights(tracks, playlists))
    found.factors = learn_factors(found.by_playlist)
    return found


def blocks(recommended: list[Recommendation]) -> set[int]:
    return {one.track // BLOCK for one in recommended}


@pytest.mark.parametrize("seeds", [[31], [31, 35, 58], list(range(30, 50))])
def test_the_planted_block_comes_back_and_no_seed_does(model: Continuation, seeds: list[int]) -> None:
    found = model.recommend(Request(np.array(seeds)), 10)
    assert blocks(found) == {1}
    assert not {one.track for one in found} & set(seeds)
    assert all(one.reasons for one in found)


def test_a_title_alone_will_do(model: Continuation, world: tuple[Tracks, Playlists]) -> None:
    assert blocks(model.recommend(Request(np.array([], np.int64), world[1].title_vectors[2]), 10)) == {2}


def test_tracks_never_seen_count_by_their_content(model: Continuation) -> None:
    audio = np.full((1, len(SCALED)), np.nan, np.float32)
    audio[0, :BLOCKS] = (0.5, 0.5, 0.5, 1.5)
    unseen = Unseen(np.array([-1]), audio, np.array([np.nan], np.float32), np.eye(DIM, dtype=np.float32)[3:4])
    assert blocks(model.recommend(Request(np.array([], np.int64), unseen=unseen), 10)) == {3}


def test_no_weight_is_negative_and_useless_signals_may_count_nothing(model: Continuation) -> None:
    assert model.weights.shape == (len(BRACKETS), len(SIGNALS))
    assert (model.weights >= 0).all()


def test_learning_twice_is_the_same(world: tuple[Tracks, Playlists]) -> None:
    assert learn_weights(*world, seed=3) == pytest.approx(learn_weights(*world, seed=3), abs=1e-5)


def test_a_track_nobody_listed_gains_nothing_by_that(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    fresh = Continuation(tracks, playlists, weights=learn_weights(tracks, playlists))
    without = np.setdiff1d(playlists.indices, [0])
    listed = fresh.signals(Request(without[:3]))
    # Track 0 stands in playlists; the same track in none has no larger signal of any kind that playlists give.
    rows = [row[row != 0] for row in (playlists[number] for number in range(len(playlists)))]
    bare = Playlists(
        np.cumsum([0, *map(len, rows)]).astype(np.int64), np.concatenate(rows), playlists.title, playlists.title_vectors
    )
    company = [SIGNALS.index(name) for name in ("playlists_track", "playlists_walk", "title_track", "popularity")]
    unlisted = Continuation(tracks, bare).signals(Request(without[:3]))
    assert (unlisted[0, company] == 0).all()
    assert (listed[0, company] > 0).any()


def test_of_a_song_one_recording_is_recommended_and_none_of_a_seed(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    pairs = replace(tracks, song=np.arange(len(tracks)) // 2)
    found = Continuation(pairs, playlists).recommend(Request(np.array([30, 40])), 20)
    songs = [pairs.song[one.track] for one in found]
    assert len(set(songs)) == len(songs)
    assert not {15, 20} & set(songs)


def test_knobs_turn(world: tuple[Tracks, Playlists]) -> None:
    tracks, playlists = world
    known = replace(tracks, popularity=np.linspace(0, 1, len(tracks), dtype=np.float32))
    model = Continuation(known, playlists)
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


def test_a_very_long_playlist_takes_bounded_time(model: Continuation) -> None:
    seeds = np.tile(np.arange(60), 2_000)
    assert blocks(model.recommend(Request(seeds), 10)) <= {2, 3}


@pytest.mark.parametrize("name", sorted(set(BASELINES) - {"popularity", "seed system"}))
def test_baselines_find_the_block_too(model: Continuation, name: str) -> None:
    score = BASELINES[name](model)(Request(np.array([31, 35]), None)).copy()
    score[[31, 35]] = -np.inf
    assert set(np.argsort(-score)[:10] // BLOCK) == {1}


def test_item_knn_is_the_shrunk_cosine(model: Continuation) -> None:
    score = item_knn(model, shrinkage=7.0, neighbours=1_000)(Request(np.array([31])))
    ours = model.by_playlist.toarray()
    both = ours[:, 31] @ ours
    expected = both / (np.sqrt(ours[:, 31].sum() * ours.sum(axis=0)) + 7)
    expected[31] = 0
    assert np.allclose(score, expected, atol=1e-6)


def test_item_knn_is_one_of_the_signals(model: Continuation) -> None:
    seeds = np.array([31, 35, 58, 2])
    expected = item_knn(model)(Request(seeds))
    found = model.from_neighbours(seeds)
    others = np.setdiff1d(np.arange(len(found)), seeds)
    assert np.allclose(found[others], expected[others], rtol=1e-4, atol=1e-6)


def test_of_item_knn_the_nearest_neighbours_count(model: Continuation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spotify_dag.tracks.signals.NEIGHBOURS", 3)
    assert 3 <= (model.from_neighbours(np.array([31])) > 0).sum() < BLOCK - 1


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
    )
    train = playlists.take(np.arange(200))
    model = Continuation(tracks, train, weights=learn_weights(tracks, train))
    model.factors = learn_factors(model.by_playlist)
    anchor = item_knn(model)
    ours: list[float] = []
    theirs: list[float] = []
    for own in rows[200:]:
        request = Request(own[:5])
        for found, score in ((ours, model.score), (theirs, anchor)):
            scores = score(request).astype(np.float64).copy()
            scores[own[:5]] = -np.inf
            found.append(ndcg(np.argsort(-scores, kind="stable"), own[5:]))
    assert np.mean(theirs) > 0.3
    assert np.mean(ours) > 0.99 * np.mean(theirs)
