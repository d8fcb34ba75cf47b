"""The dual form of the linear autoencoder against its definition, with an inverse per track."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.features.audio import SCALED
from spotify_dag.tracks.incidence import Incidence, evenly
from spotify_dag.tracks.methods.autoencoder import BESIDE, POPULAR, Autoencoder
from spotify_dag.tracks.track_arrays import Playlists, Tracks

PLAYLISTS, TRACKS, ARTISTS = 17, 40, 9


@pytest.fixture(scope="module")
def incidence() -> Incidence:
    rng = np.random.default_rng(3)
    nothing = np.full(TRACKS, np.nan, np.float32)
    tracks = Tracks(
        artist=np.concatenate([np.arange(ARTISTS), rng.integers(0, ARTISTS, TRACKS - ARTISTS)]),
        album=np.full(TRACKS, -1),
        song=np.arange(TRACKS),
        audio=np.full((TRACKS, len(SCALED)), np.nan, np.float32),
        year=nothing,
        popularity=nothing,
        genres=csr_matrix((TRACKS, 1), dtype=np.float32),
        genre_text=np.zeros((1, 2), np.float32),
        text=np.zeros((TRACKS, 2), np.float32),
    )
    # The last tracks stand in no playlist.
    rows = [rng.permutation(TRACKS - 3)[: rng.integers(2, 12)] for _ in range(PLAYLISTS)]
    playlists = Playlists(
        indptr=np.cumsum([0, *map(len, rows)]).astype(np.int64),
        indices=np.concatenate(rows).astype(np.int32),
        title=np.full(PLAYLISTS, -1, np.int32),
        title_vectors=np.zeros((0, 2), np.float32),
        titles=np.empty(0, object),
        moods=np.zeros((0, len(SCALED)), np.float32),
    )
    return Incidence(tracks, playlists)


def by_definition(incidence: Incidence, seeds: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return ``x (X'X + L)^-1 X'X`` over tracks and artists, in the primal form."""

    def row(held: np.ndarray) -> np.ndarray:
        tracks, artists = np.zeros(TRACKS), np.zeros(ARTISTS)
        tracks[held] = 1
        np.add.at(artists, incidence.tracks.artist[held], 1)
        return np.concatenate([tracks, BESIDE * np.log1p(artists)])

    table = np.stack([row(incidence.playlists[playlist]) for playlist in chosen])
    listed = (table != 0).any(axis=0)
    ridge = (table[:, listed] ** 2).sum(axis=0) ** POPULAR

    def scaled(rows: np.ndarray) -> np.ndarray:
        return rows / np.sqrt((rows**2 / ridge).sum(axis=-1, keepdims=True))

    rows, request = scaled(table[:, listed]), scaled(row(seeds)[listed])
    gram = rows.T @ rows
    scores = np.zeros(TRACKS + ARTISTS)
    scores[listed] = request @ np.linalg.solve(gram + np.diag(ridge), gram)
    return scores


@pytest.mark.parametrize("most", [PLAYLISTS, 6])
def test_the_dual_form_is_the_regression(incidence: Incidence, most: int) -> None:
    chosen = evenly(np.arange(PLAYLISTS), most)
    model = Autoencoder(incidence, most=most)
    for seeds in (incidence.playlists[0][:2], incidence.playlists[12][:5]):
        said = model(seeds, incidence.tracks.artist[seeds])
        expected = np.maximum(by_definition(incidence, seeds, chosen), 0)
        assert (expected > 0.01).sum() > 10
        np.testing.assert_allclose(np.concatenate([said["autoencoder"], said["artists"]]), expected, atol=2e-5)
    assert model.inverse.shape == (most, most)


def test_an_inverse_that_was_kept_says_the_same(incidence: Incidence) -> None:
    learned = Autoencoder(incidence)
    kept = Autoencoder(incidence, learned.inverse.copy())
    seeds = incidence.playlists[4][:3]
    for name, scores in learned(seeds, incidence.tracks.artist[seeds]).items():
        np.testing.assert_array_equal(kept(seeds, incidence.tracks.artist[seeds])[name], scores)


def test_nothing_is_said_of_what_no_playlist_has(incidence: Incidence) -> None:
    model = Autoencoder(incidence)
    assert model(np.array([TRACKS - 1]), np.array([-1])) == {}
    seeds = incidence.playlists[0][:3]
    assert not model(seeds, incidence.tracks.artist[seeds])["autoencoder"][TRACKS - 3 :].any()
