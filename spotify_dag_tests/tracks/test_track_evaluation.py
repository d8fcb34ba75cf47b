"""The evaluation itself: queries, hold-out, and that a ranking nobody could make is not made."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from spotify_dag.ranking_metrics import ranking
from spotify_dag.tracks.track_arrays import Playlists
from spotify_dag.tracks.track_evaluation import (
    MEASURES,
    OURS,
    SCENARIOS,
    evaluate_search,
    known_item_queries,
    lead,
    requests,
    split_playlists,
    summary,
    typo,
)

TRACKS = pl.DataFrame(
    {
        "track_name": ["Hello", "Halo", "Jump"],
        "artist_name": ["Adele", "Beyoncé", "Van Halen"],
        "song_key": ["adele|hello", "beyonce|halo", "vanhalen|jump"],
        "artist_key": ["adele", "beyonce", "vanhalen"],
    }
)


def test_a_typo_is_one_edit() -> None:
    rng = random.Random(1)
    seen = {typo("hello", rng) for _ in range(300)}
    assert all(abs(len(text) - 5) <= 1 for text in seen)
    assert {"ello", "hlelo"} <= seen


def test_queries_are_the_same_for_the_same_seed_and_for_every_kind_of_the_same_tracks() -> None:
    queries = known_item_queries(TRACKS, 50, seed=4)
    assert queries == known_item_queries(TRACKS, 50, seed=4)
    assert all(len(pairs) == 50 for pairs in queries.values())
    assert [song for _, song in queries["title"]] == [song for _, song in queries["title, artist, 2 typos"]]
    assert sorted(queries["words in another order"][0][0].split()) == sorted(queries["title, artist"][0][0].split())


def test_search_is_measured_by_the_place_of_the_wanted() -> None:
    queries = {"title": [("hello", "adele|hello"), ("halo", "beyonce|halo")], "artist": [("adele", "adele")]}
    report = evaluate_search(queries, lambda text: ["x|x", "adele|hello"] if text == "hello" else ["adele|x"])
    assert {name: report["title"][name] for name in ("hit@1", "hit@10", "mrr")} == {
        "hit@1": 0,
        "hit@10": 0.5,
        "mrr": 0.25,
    }
    assert report["artist"]["hit@1"] == 1


@pytest.fixture
def playlists() -> Playlists:
    lengths = [2, 6, 30, 60]
    ends = np.cumsum([0, *lengths])
    return Playlists(
        ends, np.arange(ends[-1], dtype=np.int32), np.array([0, -1, 0, 0]), np.eye(4, dtype=np.float32)[:1],
        np.array(["road trip"], object), np.zeros((1, 13), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize(("scenario", "size"), SCENARIOS.items())
def test_what_is_given_and_what_is_wanted_is_the_playlist(playlists: Playlists, scenario: str, size: int) -> None:
    found = list(requests(playlists, size, 10_000))
    assert len(found) == {0: 4, 1: 4, 5: 3, 10: 2, 25: 2, -25: 2}[size]
    for request, wanted in found:
        own = np.concatenate([request.seeds, wanted])
        assert len(request.seeds) == abs(size)
        assert sorted(own) == list(range(own.min(), own.max() + 1))
        if size >= 0:
            assert (own == np.sort(own)).all(), scenario


def test_hold_out_is_a_fifth_and_not_learned_from() -> None:
    split = split_playlists(471)
    assert len(split.test) == 94
    assert not set(split.test) & set(split.train)
    assert len(split.train) == 377


def test_equal_scores_are_not_ranked_in_the_order_of_the_catalogue() -> None:
    jitter = np.random.default_rng(0).random(1_000) * 1e-6
    ranked = ranking(np.zeros(1_000), np.array([5]), jitter)
    assert len(ranked) == 500
    assert 5 not in ranked
    assert abs(ranked.mean() - 500) < 60
    assert list(ranking(np.array([0.1, 3.0, 2.0]), np.array([1]), jitter[:3])) == [2, 0]


def test_tracks_that_only_test_playlists_have_are_wanted_and_no_seeds(playlists: Playlists) -> None:
    found = dict(enumerate(requests(playlists, 5, 12)))
    assert [request.seeds.tolist() for request, _ in found.values()] == [[2, 3, 4, 5, 6], [8, 9, 10, 11], []]
    assert [len(wanted) for _, wanted in found.values()] == [1, 25, 55]
    assert found[0][0].title_text == ""
    assert found[1][0].title_text == "road trip"


def test_lead_is_over_the_best_baseline() -> None:
    report = {"one": {name: {"ndcg": np.full(4, value)} for name, value in {OURS: 0.3, "a": 0.2, "b": 0.1}.items()}}
    assert lead(report, "ndcg") == {"one": {"ratio": pytest.approx(1.5), "error": pytest.approx(0), "best": "a"}}


def test_standard_errors_are_those_of_the_mean() -> None:
    values = np.random.default_rng(3).random(400)
    report = {"one": {OURS: dict.fromkeys(MEASURES, values)}}
    figures = summary(report)["one"][OURS]
    assert figures["ndcg"] == pytest.approx(values.mean())
    assert figures["ndcg_error"] == pytest.approx(values.std() / 20, rel=0.1)
    assert figures["playlists"] == 400
