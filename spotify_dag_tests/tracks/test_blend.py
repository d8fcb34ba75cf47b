"""One list for several people, against every possible list of a small choice."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from spotify_dag.tracks.blend import AGAIN, Candidates, Limit, best_alone, blend, interleaved, satisfaction


def drawn(people: int, count: int, seed: int, artists: int | None = None) -> Candidates:
    rng = np.random.default_rng(seed)
    return Candidates(
        worth=rng.random((people, count)) ** 3,
        artist=rng.integers(0, artists, count) if artists else np.arange(count),
        known=rng.random(count) < 0.5,
        seconds=rng.integers(120, 400, count).astype(float),
    )


def test_satisfaction_counts_the_best_track_of_an_artist_first() -> None:
    tracks = Candidates(np.array([[0.1, 0.4, 0.2]]), np.array([0, 0, 1]), np.zeros(3, bool), np.full(3, 200.0))
    assert satisfaction(tracks, [0, 1, 2]) == pytest.approx([0.4 + AGAIN * 0.1 + 0.2])
    assert satisfaction(tracks, []) == pytest.approx([0.0])
    assert best_alone(tracks, 2) == pytest.approx([0.6])


@pytest.mark.parametrize("people", [2, 3])
def test_the_least_satisfied_is_served_nearly_as_well_as_any_list_could(people: int) -> None:
    reached = []
    for seed in range(12):
        tracks = drawn(people, 12, seed, artists=8)
        best = best_alone(tracks, 4)
        made = blend(tracks, Limit(4))
        assert made.satisfaction == pytest.approx(satisfaction(tracks, made.chosen) / best)
        every = max((satisfaction(tracks, chosen) / best).min() for chosen in combinations(range(12), 4))
        reached.append(made.satisfaction.min() / every)
    assert min(reached) > 0.8
    assert np.mean(reached) > 0.96


def test_one_person_alone_gets_their_best_list() -> None:
    tracks = drawn(1, 60, 0, artists=20)
    assert blend(tracks, Limit(10)).satisfaction == pytest.approx([1.0])


@pytest.mark.parametrize("people", [2, 5, 20])
def test_the_order_of_people_does_not_matter(people: int) -> None:
    tracks = drawn(people, 300, 1, artists=90)
    order = np.random.default_rng(0).permutation(people)
    turned = Candidates(tracks.worth[order], tracks.artist, tracks.known, tracks.seconds)
    assert set(blend(turned, Limit(20)).chosen) == set(blend(tracks, Limit(20)).chosen)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_known_tracks_is_kept_from_the_beginning(share: float) -> None:
    tracks = drawn(3, 200, 2)
    chosen = blend(tracks, Limit(20, known=share)).chosen
    assert len(set(chosen.tolist())) == 20
    for length in (10, 20):
        assert tracks.known[chosen[:length]].mean() == pytest.approx(share, abs=0.051)


def test_where_tracks_of_a_kind_run_out_others_fill_up() -> None:
    tracks = drawn(2, 30, 3)
    chosen = blend(tracks, Limit(25, known=1.0)).chosen
    assert len(chosen) == 25
    assert tracks.known[chosen].sum() == tracks.known.sum()


def test_a_list_is_no_longer_than_asked_for_and_nearly_as_long() -> None:
    tracks = drawn(3, 200, 4)
    total = tracks.seconds[blend(tracks, Limit(200, seconds=3_600)).chosen].sum()
    assert 3_600 - tracks.seconds.min() < total <= 3_600


def test_turns_are_taken() -> None:
    rankings = [np.array([1, 2, 3, 4]), np.array([2, 1, 9]), np.array([], np.int64)]
    assert interleaved(rankings, 10).tolist() == [1, 2, 3, 9, 4]
    assert interleaved(rankings, 3).tolist() == [1, 2, 3]
