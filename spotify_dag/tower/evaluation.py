"""How good are matches? Inductive user retrieval, and the measures around it. `docs/evaluation.md` says why.

Users are split into folds; everything fitted sees the other folds only. The listening of each user is halved: half A of
the test users asks, half B of all users answers, and a user's own half must come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_dag.errors import SpotifyDagError
from spotify_dag.ranking_metrics import retrieval
from spotify_dag.tower.inputs import Catalogue, Listening
from spotify_dag.tower.metrics import TOP, Answers, answers, area_under_curve, hubness
from spotify_dag.tower.views import By, Halved, UserData, first_items, halves

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

COLD_ITEMS = 10
RANDOM_PAIRS = 4
"""Random pairs drawn per pair of friends."""


HOLD_OUT = 10
"""One user in this many is never trained on in the graph, but measured on."""
LEAST_HELD_OUT = 20


class EvaluationError(SpotifyDagError):
    """The data cannot be evaluated. The message says what is missing."""


def held_out(user_ids: Sequence[str]) -> np.ndarray:
    """Return who is kept for evaluation, ``[users]`` bool: nobody where there would be fewer than `LEAST_HELD_OUT`.

    Told by a hash of the id, it is the same users week by week: no champion was ever trained on them.
    """
    chosen = np.array([blake2b(user.encode(), digest_size=8, person=b"held out").digest()[0] for user in user_ids])
    held = chosen % HOLD_OUT == 0
    return held if held.sum() >= LEAST_HELD_OUT else np.zeros(len(held), bool)


@dataclass(frozen=True)
class Sample:
    """A part of the listening of users."""

    listening: Listening
    counts: csr_matrix
    """``[users, catalogue.artists]`` float32: play counts, or numbers of playlist items."""

    def take(self, rows: np.ndarray) -> Sample:
        """Return some users."""
        return Sample(self.listening.take(rows), self.counts[rows])


Vectors = Any
"""``[users, dim]`` dense or sparse rows; the likeness of two users is the inner product of their rows."""
Encode = Callable[[Sample], Vectors]


@dataclass(frozen=True)
class Encoders:
    """A fitted representation: how users who ask, and users who are found, become vectors."""

    query: Encode
    gallery: Encode
    text_only: Encode | None = None
    """How users become vectors whose artists were all unseen in training, where that is possible at all."""

    @classmethod
    def both(cls, encode: Encode, text_only: Encode | None = None) -> Encoders:
        """Return encoders that do not tell the two sides apart."""
        return cls(encode, encode, text_only)


@dataclass(frozen=True)
class Training:
    """What a representation is fitted on."""

    users: Halved
    counts: csr_matrix
    """``[users, catalogue.artists]``: counts of their whole listening."""
    seed: int


Fit = Callable[[Training], Encoders]


@dataclass(frozen=True)
class Dataset:
    """Users, split and halved by one seed; rows are the same users everywhere."""

    training: Halved
    """With the halvings that representations may be trained on: none of them is the one of ``first, second``."""
    first: Sample
    second: Sample
    whole: Sample
    cold: Sample
    """At most `COLD_ITEMS` items of one playlist of the first half."""
    friends: np.ndarray
    """``[pairs, 2]`` row numbers; empty where the data has no friends."""
    seed: int

    @property
    def catalogue(self) -> Catalogue:
        """The artists and genres of all users."""
        return self.training.catalogue

    @property
    def usable(self) -> np.ndarray:
        """Row numbers of the users who have something in both halves."""
        return np.flatnonzero((self.first.listening.tracks > 0) & (self.second.listening.tracks > 0))

    def fit_on(self, rows: np.ndarray) -> Training:
        """Return the rows as training data."""
        return Training(self.training.take(rows), self.whole.counts[rows], self.seed)


def dataset(
    users: UserData,
    *,
    halvings: Sequence[By],
    friends: np.ndarray,
    seed: int,
    progress: Callable[[float], None] = lambda _: None,
) -> Dataset:
    """Halve users for evaluation.

    Parameters
    ----------
    users
        Their rows, as the lake has them.
    halvings
        How representations may halve them in training.
    friends
        ``[pairs, 2]`` row numbers of ``users.users``.
    seed
        Of all halvings.
    progress
        Hears of each halving that is done.
    """
    # Other seeds than those of training, which are multiples of 1,000 and what follows them.
    test_seed = 500 + seed * 1_000
    training = users.halved(halvings, seed=seed, progress=progress)
    counted = users.counted()
    first, second = halves(counted, by="playlist", seed=test_seed)

    def sample(rows: Any) -> Sample:
        return Sample(users.listening(rows, training.catalogue), users.counts(rows, training.catalogue))

    whole = Sample(training.whole, users.counts(counted, training.catalogue))
    return Dataset(
        training, sample(first), sample(second), whole, sample(first_items(first, COLD_ITEMS, seed=test_seed)),
        friends, seed,
    )  # fmt: skip


def evaluate(
    datasets: Sequence[Dataset],
    models: Mapping[str, Fit],
    *,
    folds: int,
    progress: Callable[[str, int, int], None] = lambda _model, _seed, _fold: None,
) -> list[dict[str, Any]]:
    """Return one row per model: means over folds and seeds, standard deviations under ``std``, groups under ``by``.

    Parameters
    ----------
    datasets
        The same users by different seeds.
    models
        What to compare, by name.
    folds
        Number of folds of the users.
    progress
        Hears what was measured: model, seed and fold.

    Raises
    ------
    EvaluationError
        If there are not enough users.
    """
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in models}
    for data_set in datasets:
        if len(data_set.usable) < 2 * folds:
            raise EvaluationError(
                f"{len(data_set.usable)} users have listening that can be split in two; {folds} folds need {2 * folds}."
            )
        parts = np.array_split(np.random.default_rng(data_set.seed).permutation(data_set.usable), folds)
        for number, test in enumerate(parts):
            training = data_set.fit_on(np.setdiff1d(np.arange(len(data_set.training)), test))
            for name, fit in models.items():
                begun = time.perf_counter()
                encoders = fit(training)
                seconds = time.perf_counter() - begun
                rows[name].append({**measure(data_set, encoders, np.sort(test)), "fit_seconds": seconds})
                progress(name, data_set.seed, number)
    return [_row(name, runs) for name, runs in rows.items()]


def measure(data_set: Dataset, encoders: Encoders, test: np.ndarray) -> dict[str, Any]:
    """Return all measures of a fitted representation on test users, with those of groups of users under ``by``.

    Groups are quartiles of activity (number of items); ``cold``: the same users asking with at most `COLD_ITEMS` items
    of one playlist; and ``text_only``: everybody known by text alone, as if all their artists were new.
    """
    gallery = data_set.usable
    place = np.full(len(data_set.training), -1)
    place[gallery] = np.arange(len(gallery))
    own = place[test]
    second = data_set.second.take(gallery)
    whole = data_set.whole.take(gallery)
    shown = encoders.gallery(second)
    everyone = encoders.gallery(whole), encoders.query(whole)
    popularity = _popularity(data_set, gallery, test)

    def asked(sample: Sample, encode: Encode, shown: Vectors) -> Answers:
        queries = encode(sample.take(test))
        return answers(
            lambda rows: _inner(queries[rows], shown), own, sample.listening.artists[test],
            data_set.second.listening.artists[test], whole.listening.artists,
        )  # fmt: skip

    friends = _friend_pairs(data_set, place, test)

    def summary(answers: Answers, among: np.ndarray, everyone: tuple[Vectors, Vectors]) -> dict[str, float]:
        chosen = np.flatnonzero(among)
        occurrences = np.bincount(answers.nearest[chosen].ravel(), minlength=len(gallery))
        return {
            **retrieval(answers.rank[chosen]),
            "friend_auc": _friend_auc(everyone, friends, np.isin(friends[0], own[chosen])),
            f"neighbour_ndcg@{TOP}": _mean(answers.ndcg[chosen]),
            f"neighbour_recall@{TOP}": _mean(answers.recall[chosen]),
            "hubness": hubness(occurrences),
            "coverage": float((occurrences > 0).mean()),
            "popularity_correlation": _rank_correlation(occurrences, popularity),
        }

    answered = asked(data_set.first, encoders.query, shown)
    everybody = np.ones(len(test), bool)
    tracks = data_set.whole.listening.tracks[test]
    quartile = np.searchsorted(np.quantile(tracks, [0.25, 0.5, 0.75]), tracks)
    by = {
        f"activity_q{number + 1}": summary(answered, quartile == number, everyone)
        for number in range(4)
        if (quartile == number).any()
    }
    by["cold"] = summary(asked(data_set.cold, encoders.query, shown), everybody, everyone)
    if encoders.text_only is not None:
        by_text = asked(data_set.first, encoders.text_only, encoders.text_only(second))
        by["text_only"] = summary(by_text, everybody, (encoders.text_only(whole),) * 2)
    return {**summary(answered, everybody, everyone), "by": by}


def _friend_pairs(data_set: Dataset, place: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return gallery rows of pairs with a test user first, and whether each pair is of friends."""
    both = np.concatenate([data_set.friends, data_set.friends[:, ::-1]]).reshape(-1, 2)
    pairs = place[both[np.isin(both[:, 0], test) & (place[both] >= 0).all(axis=1)]]
    rng = np.random.default_rng(data_set.seed)
    first = rng.choice(place[test], RANDOM_PAIRS * len(pairs))
    other = rng.integers(0, (place >= 0).sum(), len(first))
    random = np.column_stack([first, other])[first != other]
    friendly = np.repeat([True, False], [len(pairs), len(random)])
    joined = np.concatenate([pairs, random])
    return joined[:, 0], joined[:, 1], friendly


def _friend_auc(
    everyone: tuple[Vectors, Vectors], pairs: tuple[np.ndarray, np.ndarray, np.ndarray], among: np.ndarray
) -> float:
    gallery, query = everyone
    first, second, friendly = (side[among] for side in pairs)
    if not len(first):
        return float("nan")
    likeness = _row_inner(query[first], gallery[second])
    return area_under_curve(likeness[friendly], likeness[~friendly])


def _popularity(data_set: Dataset, gallery: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the mean log popularity, among users not tested, of each gallery user's artists."""
    others = np.setdiff1d(np.arange(len(data_set.training)), test)
    artists = data_set.whole.listening.artists
    listeners = np.log1p(np.bincount(artists[others].indices, minlength=artists.shape[1]))
    total = np.asarray(artists[gallery].sum(axis=1)).ravel()
    return np.asarray(artists[gallery] @ listeners).ravel() / np.where(total > 0, total, 1)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    from scipy.stats import spearmanr

    if first.std() == 0 or second.std() == 0:
        return 0.0
    return float(spearmanr(first, second).statistic)


def _inner(first: Vectors, second: Vectors) -> np.ndarray:
    cosines = first @ second.T
    return np.asarray(cosines.todense() if hasattr(cosines, "todense") else cosines, np.float32)


def _row_inner(first: Vectors, second: Vectors) -> np.ndarray:
    if hasattr(first, "multiply"):
        return np.asarray(first.multiply(second).sum(axis=1)).ravel()
    return np.asarray((first * second).sum(axis=1))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _row(name: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return means and standard deviations of runs."""
    groups = runs[0]["by"]
    mean = dict(_over(runs, np.nanmean))
    return {
        "model": name,
        **mean,
        "std": dict(_over(runs, np.nanstd)),
        "by": {group: dict(_over([run["by"].get(group, {}) for run in runs], np.nanmean)) for group in groups},
    }


def _over(runs: Sequence[Mapping[str, Any]], how: Callable[[Sequence[float]], Any]) -> Iterator[tuple[str, float]]:
    for name in runs[0]:
        if name == "by":
            continue
        values = [run[name] for run in runs if name in run]
        yield name, float(how(values)) if np.isfinite(values).any() else float("nan")
