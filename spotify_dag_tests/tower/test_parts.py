"""Listening to parts: fitted on training users only, and for those without themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.factors import Factors, FactorSettings, Vocabulary
from spotify_dag.tower.inputs import STATISTICS, Catalogue, Listening
from spotify_dag.tower.parts import FOLDS, LATENT_AXES, N_STATISTICS, PARTS, CrossFit, PartMap
from spotify_dag.tower.views import Halved

SETTINGS = FactorSettings(dim=8)
ARTISTS = PARTS.index("artist_factors")


@pytest.fixture(scope="module")
def fitted(halved: Halved) -> tuple[PartMap, CrossFit]:
    return PartMap.fit(halved.whole, halved.catalogue, factors=SETTINGS, axes=10, seed=0)


def with_artists(listening: Listening, artists: csr_matrix) -> Listening:
    return dataclasses.replace(listening, artists=csr_matrix(artists))


class TestPartMap:
    def test_parts_are_reduced_unit_vectors(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        inputs = fitted[0].over(halved.catalogue)(halved.whole)
        assert [part.shape for part in inputs.parts] == [(150, 10)] * 4 + [(150, 8)] * 2
        assert {part.dtype for part in inputs.parts} == {np.dtype(np.float32)}
        assert inputs.known.all()
        for part in inputs.parts:
            assert np.linalg.norm(part, axis=1) == pytest.approx(np.ones(150), abs=1e-5)

    def test_axes_are_the_principal_ones_about_the_centre(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        for number in range(len(EMBEDDINGS)):
            part = halved.whole.embeddings[number].astype(np.float64)
            centre, axes = fitted[0].centres[number], fitted[0].axes[number]
            assert centre == pytest.approx(part.mean(axis=0), abs=1e-6)
            assert axes.T @ axes == pytest.approx(np.eye(10), abs=1e-5)
            variances = np.linalg.svd(part - part.mean(axis=0), compute_uv=False) ** 2
            assert (((part - centre) @ axes) ** 2).sum(axis=0) == pytest.approx(variances[:10], rel=1e-3)

    def test_factors_are_those_of_all_training_users(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        expected = Factors.fit(halved.whole.artists, halved.catalogue.artists, SETTINGS, seed=0)
        assert fitted[0].artists.vectors == pytest.approx(expected.vectors, abs=1e-5)
        inputs = fitted[0].over(halved.catalogue)(halved.whole)
        folded = expected.fold_in(halved.whole.artists, expected.over(halved.catalogue.artists))
        assert inputs.parts[ARTISTS] == pytest.approx(folded, abs=1e-5)

    def test_what_nobody_or_everybody_alike_had_in_training_is_unknown(self, halved: Halved) -> None:
        def without(listening: Listening) -> Listening:
            known, statistics = listening.known.copy(), listening.statistics.copy()
            known[:, 1], statistics[:, 0], statistics[:, 1] = False, np.nan, 7.0
            embeddings = tuple(part * known[:, [number]] for number, part in enumerate(listening.embeddings))
            return dataclasses.replace(listening, known=known, statistics=statistics, embeddings=embeddings)

        trained, _ = PartMap.fit(without(halved.whole), halved.catalogue, factors=SETTINGS, axes=10, seed=0)
        bound = trained.over(halved.catalogue)
        with_them, without_them = bound(halved.whole), bound(without(halved.whole))
        assert np.isfinite(halved.whole.statistics[:, :2]).any()
        assert halved.whole.known[:, 1].any()
        assert (with_them.statistics == without_them.statistics).all()
        assert (with_them.statistics[:, [0, 1, N_STATISTICS, N_STATISTICS + 1]] == 0).all()
        assert not with_them.known[:, 1].any()
        assert all((one == other).all() for one, other in zip(with_them.parts, without_them.parts, strict=True))

    def test_what_is_unknown_is_zero_and_masked(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        two = halved.whole.take(np.array([0, 1]))
        known = two.known.copy()
        known[0, 0] = False
        artists, genres = two.artists.toarray(), two.genres.toarray()
        artists[1], genres[0] = 0, 0
        statistics = two.statistics.copy()
        statistics[0, 0] = np.nan
        less = dataclasses.replace(
            two, known=known, artists=csr_matrix(artists), genres=csr_matrix(genres), statistics=statistics
        )
        inputs = fitted[0].over(halved.catalogue)(less)
        assert inputs.known.tolist() == [[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 1]]
        assert [bool(part[0].any()) for part in inputs.parts] == [False, True, True, True, True, False]
        assert not inputs.parts[ARTISTS][1].any()
        assert not inputs.axes[1].any()
        assert not inputs.factors[1].any()
        # Mean popularity of the first; then mean, spread and share of unseen artists of the second.
        assert inputs.statistics[:, N_STATISTICS:].tolist() == [[0, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
        assert inputs.statistics[0, 0] == 0
        assert inputs.statistics[1, 2:N_STATISTICS].tolist() == [0, 0, 0]
        assert np.isfinite(inputs.statistics).all()

    def test_users_alone_and_in_any_order_are_the_same(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        bound = fitted[0].over(halved.catalogue)
        together, rows = bound(halved.whole), np.array([140, 3, 77])
        some = bound(halved.whole.take(rows))
        for one, all_ in zip(some.parts, together.parts, strict=True):
            assert one == pytest.approx(all_[rows], abs=1e-5)
        assert some.statistics == pytest.approx(together.statistics[rows], abs=1e-5)
        assert some.axes == pytest.approx(together.axes[rows], abs=1e-5)
        assert some.factors == pytest.approx(together.factors[rows], abs=1e-5)

    def test_nobody_and_few(self, halved: Halved) -> None:
        fitted, cross = PartMap.fit(
            halved.whole.take(np.arange(2)), halved.catalogue, factors=SETTINGS, axes=10, seed=0
        )
        bound = fitted.over(halved.catalogue)
        assert len(bound(halved.whole.take(np.arange(0)))) == 0
        for part in (
            *bound(halved.whole).parts,
            *cross.over(halved.catalogue)(halved.whole.take(np.arange(2))).parts,
        ):
            assert np.isfinite(part).all()


class TestStatistics:
    def test_they_are_standardised_on_the_training_users(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        statistics = fitted[1].over(halved.catalogue)(halved.whole).statistics
        assert statistics.shape == (150, 2 * N_STATISTICS)
        assert statistics[:, :N_STATISTICS].mean(axis=0) == pytest.approx(np.zeros(N_STATISTICS), abs=1e-4)
        assert statistics[:, :N_STATISTICS].std(axis=0) == pytest.approx(np.ones(N_STATISTICS), abs=1e-3)
        assert (statistics[:, N_STATISTICS:] == 1).all()

    def test_popularity_by_hand(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        bound = fitted[0].over(halved.catalogue)
        _, _, raw = bound.raw(halved.whole)
        for user in (0, 100):
            share = halved.whole.artists[user].toarray()[0].astype(np.float64)
            share /= share.sum()
            popularity = bound.artists.popularity.astype(np.float64)
            mean = share @ popularity
            spread = np.sqrt(share @ (popularity - mean) ** 2)
            assert raw[user, len(STATISTICS) :] == pytest.approx([mean, spread, 0], abs=1e-3)
        assert np.array_equal(raw[:, : len(STATISTICS)], halved.whole.statistics)

    def test_the_share_of_artists_nobody_in_training_listens_to(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        text_only = fitted[0].over(halved.catalogue, artists_by_name=False)
        assert text_only.raw(halved.whole)[2][:, -1] == pytest.approx(np.ones(150))


class TestCrossFit:
    def test_every_user_is_in_one_fold(self, fitted: tuple[PartMap, CrossFit]) -> None:
        folds = fitted[1].folds
        assert len(folds) == FOLDS
        assert sorted(np.concatenate(folds).tolist()) == list(range(150))

    @pytest.mark.medium
    def test_what_a_user_listens_to_does_not_change_the_map_for_that_user(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        _, cross = fitted
        fold = cross.folds[2]
        # The users of one fold now listen to other artists altogether.
        artists = halved.whole.artists.toarray()
        artists[fold] = np.roll(artists[fold], 40, axis=1)
        other = with_artists(halved.whole, csr_matrix(artists))
        again = PartMap.fit(other, halved.catalogue, factors=SETTINGS, axes=10, seed=0)
        assert np.array_equal(again[1].folds[2], fold)
        before, after = (one.maps[2].artists.over(halved.catalogue.artists) for one in (cross, again[1]))
        assert before.popularity == pytest.approx(after.popularity, rel=1e-6)
        # Turned to lie near to the factors of all users, which did change: angles tell whether they are the same.
        assert before.vectors @ before.vectors.T == pytest.approx(after.vectors @ after.vectors.T, abs=1e-3)
        elsewhere = [one.maps[0].artists.over(halved.catalogue.artists).popularity for one in (cross, again[1])]
        assert not np.allclose(elsewhere[0], elsewhere[1], rtol=1e-3)

    def test_an_artist_only_one_user_has_is_unseen_to_that_user(self, halved: Halved) -> None:
        names = [*halved.catalogue.artists.names, "somebody's own"]
        content = np.vstack([halved.catalogue.artists.content, halved.catalogue.artists.content[:1]])
        catalogue = Catalogue(Vocabulary(names, content), halved.catalogue.genres)
        artists = np.hstack([halved.whole.artists.toarray(), np.zeros((150, 1), np.float32)])
        artists[7] = 0
        artists[7, -1] = 1
        training = with_artists(halved.whole, csr_matrix(artists))
        fitted, cross = PartMap.fit(training, catalogue, factors=SETTINGS, axes=10, seed=0)
        assert fitted.over(catalogue).raw(training)[2][7, -1] == 0
        assert cross.over(catalogue).raw(training)[2][7, -1] == 1

    def test_rows_are_those_of_the_users(self, fitted: tuple[PartMap, CrossFit], halved: Halved) -> None:
        crossed = fitted[1].over(halved.catalogue)(halved.whole)
        plain = fitted[0].over(halved.catalogue)(halved.whole)
        for number in range(len(EMBEDDINGS)):
            assert crossed.parts[number] == pytest.approx(plain.parts[number], abs=1e-5)
        # Fitted on others, and turned back, the factors of a user still lie near.
        likeness = crossed.parts[ARTISTS] @ plain.parts[ARTISTS].T
        assert np.diag(likeness).mean() > likeness.mean() + 0.3
        assert crossed.axes.shape == (150, 0)


class TestBesideTheNetwork:
    def test_factors_count_with_the_share_of_artists_seen_in_training(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        artists = halved.whole.artists[:2].toarray()
        known = halved.catalogue.artists
        more = Vocabulary([*known.names, "new"], np.vstack([known.content, known.content[:1]]))
        catalogue = Catalogue(more, halved.catalogue.genres)
        artists = np.hstack([artists, [[0], [3 * artists[1].sum()]]]).astype(np.float32)
        inputs = fitted[0].over(catalogue)(with_artists(halved.whole.take(np.array([0, 1])), csr_matrix(artists)))
        assert np.linalg.norm(inputs.factors, axis=1) == pytest.approx([1, 0.25], abs=1e-5)
        assert np.linalg.norm(inputs.axes, axis=1) == pytest.approx([1, 1], abs=1e-5)

    def test_all_axes_together_tell_who_has_the_same_artists(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        bound = fitted[0].over(halved.catalogue)
        first, second = halved.halves[0]
        by_axes = bound(first).axes @ bound(second).axes.T
        shared = (first.artists > 0).astype(float) @ (second.artists > 0).astype(float).T
        assert by_axes.shape == (150, 150)
        assert bound(first).axes.shape[1] == LATENT_AXES
        assert np.corrcoef(by_axes.ravel(), shared.toarray().ravel())[0, 1] > 0.6

    def test_of_artists_nobody_in_training_listens_to_they_say_nothing(
        self, fitted: tuple[PartMap, CrossFit], halved: Halved
    ) -> None:
        unseen = fitted[0].over(halved.catalogue, artists_by_name=False)(halved.whole)
        assert not unseen.axes.any()
        assert not unseen.factors.any()
