"""What a tower has to beat, each fitted on the training users of a fold and nothing else.

Libraries do what there are libraries for: scikit-learn TF-IDF and truncated SVD, implicit ALS. The two systems named
"seed" are those this project grew out of, as their code describes them and with their labels put right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.evaluation import Encoders, Fit, Sample, Training
from spotify_dag.tower.factors import Factors, FactorSettings, unit
from spotify_dag.tower.mix import NETWORK_ALONE

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from spotify_dag.tower.inputs import Catalogue
    from spotify_dag.tower.tower_model import UserModel
    from spotify_dag.tower.training import TrainingSettings

SVD_DIM = 64
EASE_RIDGE = 200.0
EASE_ARTISTS = 5_000
"""EASE inverts a matrix of artists times artists: the most popular ones, each with at least two users."""
PAIRS = 20_000


def baselines() -> dict[str, Fit]:
    """Return every baseline by name."""
    return {
        "popularity": _popularity,
        "raw-count cosine": lambda _: Encoders.both(lambda sample: _unit_sparse(sample.counts)),
        "TF-IDF cosine": _tf_idf,
        "genre text mean": _text_mean("genre_embedding"),
        "artist-name text mean": _text_mean("artist_embedding"),
        "seed three towers": tower(seed_preset()),
        "seed three towers (labels fixed)": tower(replace(seed_preset(), loss="cosine")),
        "seed two towers": partial(_pair_towers, fixed=False),
        "seed two towers (labels fixed)": partial(_pair_towers, fixed=True),
        "truncated SVD": _svd,
        "iALS": _ials,
        "EASE": _ease,
    }


def fitted_in_one_pass() -> dict[str, Fit]:
    """Return the baselines without a training loop of their own: the ones a challenger is held against every week."""
    return {name: fit for name, fit in baselines().items() if not name.startswith("seed ")}


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


def seed_preset() -> TrainingSettings:
    """Return how the first seed system trained: every label +1, against random users, on three text embeddings."""
    from spotify_dag.tower.training import TrainingSettings

    return TrainingSettings(
        loss="cosine_random", epochs=100, batches=10**6, batch=32, learning_rate=1e-4, weight_decay=0.0,
        part_dropout=0.0, dropout=0.2, mixes=(NETWORK_ALONE,), components=0,
        parts=("genre_embedding", "artist_embedding", "playlist_embedding"),
    )  # fmt: skip


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
    artists = training.users.whole.artists
    listeners = np.bincount(artists.indices, minlength=artists.shape[1])
    kept = np.argsort(-listeners, kind="stable")[:EASE_ARTISTS]
    kept = np.sort(kept[listeners[kept] >= 2])

    def chosen(shares: csr_matrix) -> csr_matrix:
        return (shares[:, kept] > 0).astype(np.float32)

    gram = (chosen(artists).T @ chosen(artists)).toarray()
    gram[np.diag_indices(len(kept))] += EASE_RIDGE
    inverse = np.linalg.inv(gram)
    weights = inverse / -np.diag(inverse)
    weights[np.diag_indices(len(kept))] = 0
    return Encoders.both(lambda sample: unit(np.asarray(chosen(sample.listening.artists) @ weights)))


def _pair_towers(training: Training, *, fixed: bool) -> Encoders:
    """Train the seed's user and candidate towers on pairs of users that are labelled alike or not.

    As described: users whose concatenated embeddings have a cosine above .8 are alike (``similarity_threshold``), one
    random user per such pair is not (``negative_ratio`` 1), binary cross-entropy on the cosine of both towers, Adam at
    .001, batch 32, 10 epochs, the last fifth held out. Fixed: the two halves of one user are alike, other users are
    not. At most `PAIRS` pairs are drawn: there are as many as users squared.
    """
    import torch
    from torch import nn

    users, rng = training.users, np.random.default_rng(training.seed)

    def concatenated(embeddings: tuple[np.ndarray, ...]) -> np.ndarray:
        return unit(np.hstack(embeddings))

    whole = concatenated(users.whole.embeddings)
    if fixed:
        sides = [tuple(concatenated(half.embeddings) for half in pair) for pair in users.halves]
        first, second = (np.concatenate([pair[side] for pair in sides])[:PAIRS] for side in (0, 1))
    else:
        drawn = rng.integers(0, len(whole), (2, 20 * PAIRS))
        drawn = drawn[:, drawn[0] != drawn[1]]
        alike = np.concatenate([(whole[a] * whole[b]).sum(axis=1) > 0.8 for a, b in _in_parts(drawn)])
        positive = drawn[:, alike][:, :PAIRS]
        first, second = whole[positive[0]], whole[positive[1]]
    wrong = whole[rng.integers(0, len(whole), len(first))]
    order = rng.permutation(2 * len(first))
    asked = np.concatenate([first, first])[order]
    shown = np.concatenate([second, wrong])[order]
    label = np.repeat(np.array([1, 0], np.float32), len(first))[order]
    kept = int(len(order) * 0.8)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        towers = [
            nn.Sequential(
                nn.Linear(whole.shape[1], 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 128), nn.ReLU(),
                nn.Linear(128, 128),
            )
            for _ in range(2)
        ]  # fmt: skip
        optimiser = torch.optim.Adam([weight for one in towers for weight in one.parameters()], lr=1e-3)
        tensors = [torch.from_numpy(np.ascontiguousarray(side[:kept])) for side in (asked, shown, label)]
        for _ in range(10):
            for rows in torch.randperm(kept).split(32):
                cosine = nn.functional.cosine_similarity(towers[0](tensors[0][rows]), towers[1](tensors[1][rows]))
                loss = nn.functional.binary_cross_entropy(cosine.clamp(1e-7, 1 - 1e-7), tensors[2][rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

    def encoder(one: nn.Module) -> Callable[[Sample], np.ndarray]:
        one.eval()

        def encode(sample: Sample) -> np.ndarray:
            with torch.inference_mode():
                return unit(one(torch.from_numpy(concatenated(sample.listening.embeddings))).numpy())

        return encode

    return Encoders(encoder(towers[0]), encoder(towers[1]))


def _in_parts(pairs: np.ndarray) -> list[np.ndarray]:
    return np.array_split(pairs, max(1, pairs.shape[1] // 20_000), axis=1)


def _log_tf_idf(training: Training) -> Callable[[csr_matrix], Any]:
    from sklearn.feature_extraction.text import TfidfTransformer

    fitted = TfidfTransformer(sublinear_tf=True).fit(training.counts)
    return fitted.transform


def _unit_sparse(matrix: csr_matrix) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(matrix)
