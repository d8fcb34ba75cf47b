"""What a tower has to beat, each fitted on the training users of a fold and nothing else.

Libraries do what there are libraries for: scikit-learn TF-IDF and truncated SVD, implicit ALS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.evaluation import Encoders, Fit, Sample, Training
from spotify_dag.tower.factors import Factors, FactorSettings, unit

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_dag.tower.hyperparameters import TrainingSettings
    from spotify_dag.tower.inputs import Catalogue
    from spotify_dag.tower.tower_model import UserModel

SVD_DIM = 64
EASE_RIDGE = 200.0
EASE_ARTISTS = 5_000
"""EASE inverts a matrix of artists times artists: the most popular ones, each with at least two users."""


def baselines() -> dict[str, Fit]:
    """Return the baselines by name. Each is fitted in one pass, so a challenger is held against them every week."""
    return {
        "popularity": _popularity,
        "raw-count cosine": lambda _: Encoders.both(lambda sample: _unit_sparse(sample.counts)),
        "TF-IDF cosine": _tf_idf,
        "genre text mean": _text_mean("genre_embedding"),
        "artist-name text mean": _text_mean("artist_embedding"),
        "truncated SVD": _svd,
        "iALS": _ials,
        "EASE": _ease,
    }


def tower(settings: TrainingSettings) -> Fit:
    """Return the tower of some settings as a model to evaluate."""

    def fit(training: Training) -> Encoders:
        from spotify_dag.tower.training import train_tower

        model = train_tower(training.users, replace(settings, seed=training.seed)).model
        return encoders(model, training.users.catalogue)

    return fit


def encoders(model: UserModel, catalogue: Catalogue) -> Encoders:
    """Return a trained model as a representation to evaluate on users whose artists ``catalogue`` holds."""
    return Encoders.both(
        lambda sample: model.encode(sample.listening, catalogue),
        lambda sample: model.encode(sample.listening, catalogue, artists_by_name=False),
    )


def _popularity(training: Training) -> Encoders:
    """Show everybody the users who listen to what most people listen to."""
    artists = training.users.whole.artists
    listeners = np.bincount(artists.indices, minlength=artists.shape[1]).astype(np.float32)
    return Encoders(
        lambda sample: np.ones((len(sample.listening), 1), np.float32),
        lambda sample: np.asarray(sample.listening.artists @ listeners).reshape(-1, 1),
    )


def _tf_idf(training: Training) -> Encoders:
    transform = _log_tf_idf(training)
    return Encoders.both(lambda sample: transform(sample.counts))


def _text_mean(name: str) -> Fit:
    number = EMBEDDINGS.index(name)

    def encode(sample: Sample) -> np.ndarray:
        return unit(sample.listening.embeddings[number])

    return lambda _: Encoders.both(encode, encode)


def _svd(training: Training) -> Encoders:
    from sklearn.decomposition import TruncatedSVD

    transform = _log_tf_idf(training)
    matrix = transform(training.counts)
    svd = TruncatedSVD(min(SVD_DIM, min(matrix.shape) - 1), n_iter=7, random_state=training.seed).fit(matrix)
    return Encoders.both(lambda sample: unit(svd.transform(transform(sample.counts))))


def _ials(training: Training) -> Encoders:
    catalogue = training.users.catalogue
    factors = Factors.fit(
        training.users.whole.artists, catalogue.artists, FactorSettings(idf_power=0.0), seed=training.seed
    )
    loadings = factors.over(catalogue.artists)
    # Only what was learned: predicting the vectors of unseen artists from text is this project's addition.
    learned = replace(loadings, vectors=loadings.vectors * loadings.known[:, None])
    return Encoders.both(lambda sample: factors.fold_in(sample.listening.artists, learned))


def _ease(training: Training) -> Encoders:
    """Score all artists for each user (Steck 2019), and compare users by their scores."""
    from scipy.linalg import inv

    artists = training.users.whole.artists
    listeners = np.bincount(artists.indices, minlength=artists.shape[1])
    most_heard = np.argsort(-listeners, kind="stable")[:EASE_ARTISTS]
    most_heard = np.sort(most_heard[listeners[most_heard] >= 2])

    def chosen(shares: csr_matrix) -> csr_matrix:
        return (shares[:, most_heard] > 0).astype(np.float32)

    gram = (chosen(artists).T @ chosen(artists)).toarray()
    gram[np.diag_indices(len(most_heard))] += EASE_RIDGE
    weights = inv(gram, overwrite_a=True, check_finite=False, assume_a="pos")
    weights /= -np.diag(weights).copy()
    weights[np.diag_indices(len(most_heard))] = 0
    return Encoders.both(lambda sample: unit(np.asarray(chosen(sample.listening.artists) @ weights)))


def _log_tf_idf(training: Training) -> Callable[[csr_matrix], Any]:
    from sklearn.feature_extraction.text import TfidfTransformer

    fitted = TfidfTransformer(sublinear_tf=True).fit(training.counts)
    return fitted.transform


def _unit_sparse(matrix: csr_matrix) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(matrix)
