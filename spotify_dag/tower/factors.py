"""Collaborative factors: vectors of artists, and of genres, learned from who listens to what.

Text says what a thing is called; factors say who likes it. They are those of implicit-feedback alternating least
squares (iALS: Hu, Koren and Volinsky 2008; Rendle et al. 2022), and a user is folded in by the same least squares that
trains users, so a new user is placed as if they had always been there. A name that nobody in training listened to
gets a vector predicted from its text, so that it is never a zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.als import als_solver, one_blas_thread

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

RIDGE = 10.0
"""Strength of the prior of the regression from text to factors, in numbers of names."""
ITERATIONS = 15
ENTRIES_OF_ONE_THREAD = 2_000_000
"""Below, threads would mostly wait for each other."""
PREDICTED_CONFIDENCE = 0.1
"""How much a name counts whose vector is predicted from its text, against 1 for one that was learned."""


@dataclass(frozen=True)
class Vocabulary:
    """Names that tastes speak of, and what their text says."""

    names: Sequence[str]
    """Unique."""
    content: np.ndarray
    """``[names, width]`` float32 text vectors."""


@dataclass(frozen=True)
class Loadings:
    """What a set of factors knows of each name of one vocabulary."""

    vectors: np.ndarray
    """``[names, dim]`` float32, learned or predicted from the text."""
    popularity: np.ndarray
    """``[names]`` float32: log of the share of training users who listen to it; 0 users count as half a one."""
    known: np.ndarray
    """``[names]`` bool: whether training users listened to it."""
    confidence: np.ndarray
    """``[names]`` float32: how much the name counts; about 1 for one of typical rarity."""


@dataclass(frozen=True)
class FactorSettings:
    """How factors are learned; `alpha` and `ridge` as in Hu et al."""

    dim: int = 64
    alpha: float = 40.0
    ridge: float = 0.1
    power: float = 1.0
    """A name counts with its share of a user's listening, relative to an equal share, to this power."""
    idf_power: float = 0.5
    """And with its inverse document frequency, relative to the mean one, to this power: rare names say more."""


@dataclass(frozen=True)
class Factors:
    """Vectors of the names that training users listened to, and how to predict those of others."""

    names: Sequence[str]
    """Unique."""
    vectors: np.ndarray
    """``[names, dim]`` float32."""
    gram: np.ndarray
    """``[dim, dim]`` float32: what the names nobody chose say of a user."""
    users: np.ndarray
    """``[names]`` float32: how many training users listen to each."""
    n_users: int
    typical_idf: float
    """Mean inverse document frequency over all that training users listen to."""
    from_text: np.ndarray
    """``[width, dim]`` float32: text vector to factor, by ridge regression."""
    settings: FactorSettings

    @classmethod
    def fit(cls, shares: csr_matrix, vocabulary: Vocabulary, settings: FactorSettings, *, seed: int = 0) -> Factors:
        """Learn factors.

        Parameters
        ----------
        shares
            ``[users, names]``: what share of each training user's listening goes to each name.
        vocabulary
            The names of the columns.
        settings
            How to learn.
        seed
            Of the start; the same matrix and seed give the same factors.
        """
        users = np.bincount(shares.indices, minlength=shares.shape[1]).astype(np.float32)
        seen = np.flatnonzero(users).tolist()
        vectors = np.zeros((len(seen), settings.dim), np.float32)
        typical = 1.0
        if len(seen):
            idf = _idf(users[seen], shares.shape[0])
            # Where everybody listens to everything, no name is rarer than another.
            typical = float(np.average(idf, weights=users[seen])) or 1.0
            model = _als(settings, seed, threads=0 if shares.nnz > ENTRIES_OF_ONE_THREAD else 1)
            with one_blas_thread():
                model.fit(
                    _confidence(shares[:, seen], settings.power, (idf / typical) ** settings.idf_power),
                    show_progress=False,
                )
            vectors = np.asarray(model.item_factors)
        content = vocabulary.content[seen]
        # A vector learned from many users is worth more than one learned from a single one.
        trust = np.sqrt(users[seen])[:, None]
        gram = (content * trust).T @ (content * trust) + RIDGE * np.eye(content.shape[1], dtype=np.float32)
        from_text = np.linalg.solve(gram, (content * trust).T @ (vectors * trust)).astype(np.float32)
        return cls(
            [vocabulary.names[number] for number in seen], vectors, vectors.T @ vectors, users[seen],
            shares.shape[0], typical, from_text, settings,
        )  # fmt: skip

    def over(self, vocabulary: Vocabulary, *, by_name: bool = True) -> Loadings:
        """Return what is known of each name of a vocabulary, in its order; without ``by_name`` only by its text."""
        rows = {name: row for row, name in enumerate(self.names)} if by_name else {}
        row = np.array([rows.get(name, -1) for name in vocabulary.names], np.int64)
        in_training = row >= 0
        vectors = vocabulary.content @ self.from_text
        vectors[in_training] = self.vectors[row[in_training]]
        users = np.zeros(len(row), np.float32)
        users[in_training] = self.users[row[in_training]]
        popularity = np.log((users + 0.5) / (self.n_users + 0.5)).astype(np.float32)
        rarity = (_idf(users, self.n_users) / self.typical_idf) ** self.settings.idf_power
        return Loadings(vectors, popularity, in_training, rarity * np.where(in_training, 1, PREDICTED_CONFIDENCE))

    def fold_in(self, shares: csr_matrix, loadings: Loadings) -> np.ndarray:
        """Return the vectors of users, ``[users, dim]`` float32 of unit length; zero for a user without any name."""
        model = _als(self.settings, 0)
        model.item_factors = np.ascontiguousarray(loadings.vectors)
        # The names a user did not choose are those of training, whatever vocabulary the user comes with: one user
        # alone gets the vector that the same user gets among others.
        model._YtY = self.gram
        confidence = _confidence(shares, self.settings.power, loadings.confidence)
        with one_blas_thread():
            folded = model.recalculate_user(np.arange(shares.shape[0]), confidence)
        return unit(folded * (np.diff(shares.indptr) > 0)[:, None])

    def aligned(self, other: Factors) -> Factors:
        """Return these factors rotated to lie as near as can be to ``other`` (orthogonal Procrustes).

        The axes of two fits are not the same. What is learned about one is only worth something for the other when
        both are turned to agree on the names they share.
        """
        rows = {name: row for row, name in enumerate(other.names)}
        shared = [(row, rows[name]) for row, name in enumerate(self.names) if name in rows]
        mine, theirs = np.array(shared, np.int64).reshape(-1, 2).T
        left, _, right = np.linalg.svd(self.vectors[mine].T.astype(np.float64) @ other.vectors[theirs])
        turn = (left @ right).astype(np.float32)
        return Factors(
            self.names, self.vectors @ turn, turn.T @ self.gram @ turn, self.users, self.n_users, self.typical_idf,
            self.from_text @ turn, self.settings,
        )  # fmt: skip


@dataclass(frozen=True)
class LatentAxes:
    """Principal axes of who listens to what (latent semantic analysis: Deerwester et al. 1990).

    Least squares ask what else a user would like; these say plainly which of the common directions a user lies in, and
    users near each other by them listen to what the other is missing. The first axes are broad directions of taste, the
    last ones nearly single artists: the mix says how far down it goes and how much the small ones count.
    """

    names: Sequence[str]
    """Unique."""
    vectors: np.ndarray
    """``[names, dim]`` float32, weighted by rarity; zero beyond the rank of the data."""
    strengths: np.ndarray
    """``[dim]`` float32: singular value of each axis over that of the first; 1 beyond the rank of the data."""

    @property
    def whole(self) -> bool:
        """Whether axes are as they come. Older models hold those of one mix, weighed, with strengths of 1."""
        return bool((self.strengths < 1).any())

    @classmethod
    def fit(cls, shares: csr_matrix, vocabulary: Vocabulary, dim: int, *, seed: int = 0) -> LatentAxes:
        """Find the axes of ``[users, names]`` shares by truncated, randomised SVD, weighted as `project` weighs them.

        Rarity counts to the power 1.5: on HetRec-2011, users near each other by 128 axes are found again by their other
        half with MRR .38 so, .31 with the plain idf, and their libraries are of as much use.
        """
        from scipy.sparse import diags_array
        from sklearn.preprocessing import normalize
        from sklearn.utils.extmath import randomized_svd

        users = np.bincount(shares.indices, minlength=shares.shape[1])
        seen = np.flatnonzero(users).tolist()
        rarity = _idf(users[seen], shares.shape[0]) ** 1.5
        matrix = normalize(shares[:, seen].sqrt() @ diags_array(rarity))
        vectors, strengths = np.zeros((len(seen), dim), np.float32), np.ones(dim, np.float32)
        if (rank := min(dim, *(size - 1 for size in matrix.shape))) > 0:
            _, values, axes = randomized_svd(matrix, rank, n_iter=5, random_state=seed)
            vectors[:, :rank] = axes.T
            strengths[:rank] = np.maximum(values / max(values[0], 1e-12), 1e-3)
        return cls([vocabulary.names[number] for number in seen], vectors * rarity[:, None], strengths)

    def over(self, vocabulary: Vocabulary, *, by_name: bool = True) -> np.ndarray:
        """Return ``[names, dim]`` float32 for a vocabulary; zero for names nobody in training listened to."""
        rows = {name: row for row, name in enumerate(self.names)} if by_name else {}
        row = np.array([rows.get(name, -1) for name in vocabulary.names], np.int64)
        vectors = np.zeros((len(row), self.vectors.shape[1]), np.float32)
        vectors[row >= 0] = self.vectors[row[row >= 0]]
        return vectors


def project(shares: csr_matrix, axes: np.ndarray) -> np.ndarray:
    """Return where users lie on axes ``[names, dim]``, ``[users, dim]`` of unit length; zero without a known name.

    A name counts with the square root of its share: one heavy favourite does not decide everything.
    """
    return unit(np.asarray(shares.sqrt() @ axes))


def unit(rows: np.ndarray) -> np.ndarray:
    """Return rows ``[n, dim]`` scaled to unit length, float32; zero rows stay zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(length > 0, length, 1)).astype(np.float32)


def with_fixed_signs(directions: np.ndarray) -> np.ndarray:
    """Return eigenvectors, the columns of ``[dim, n]``, with signs of their own: the largest entry is positive.

    Both signs are right, and rounding decides which one a solver gives. Of entries that are as large, the first counts.
    """
    size = np.abs(directions)
    first = (size >= (1 - 1e-6) * size.max(axis=0, initial=0)).argmax(axis=0)
    return directions * np.where(directions[first, np.arange(directions.shape[1])] < 0, -1, 1).astype(directions.dtype)


def _idf(users: np.ndarray, n_users: int) -> np.ndarray:
    return np.log((1 + n_users) / (1 + users)).astype(np.float32)


def _confidence(shares: csr_matrix, power: float, rarity: np.ndarray) -> csr_matrix:
    """Return how much each name of each user counts: about 1 for an equal share of something of typical rarity."""
    from scipy.sparse import csr_matrix

    count = np.diff(shares.indptr)
    relative = shares.data * np.repeat(count, count)
    values = relative.astype(np.float32) ** power * rarity[shares.indices].astype(np.float32)
    return csr_matrix((values, shares.indices, shares.indptr), shape=shares.shape)


def _als(settings: FactorSettings, seed: int, *, threads: int = 1) -> Any:
    return als_solver(
        dim=settings.dim, alpha=settings.alpha, ridge=settings.ridge, iterations=ITERATIONS, seed=seed, threads=threads
    )
