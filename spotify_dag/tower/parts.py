"""Listening to the parts a tower takes: reduced embeddings, folded-in factors, and statistics.

Everything here that is fitted (centres, axes, factors, popularities) is fitted on the training users alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spotify_dag.schemas import EMBEDDINGS
from spotify_dag.tower.factors import Factors, FactorSettings, LatentAxes, Loadings, project, unit
from spotify_dag.tower.inputs import STATISTICS, Catalogue, Listening

PARTS = (*EMBEDDINGS, "artist_factors", "genre_factors")
N_STATISTICS = len(STATISTICS) + 3
"""The statistics of a listening, then mean and spread of the popularity of its artists among training users, and the
share of artists that no training user listens to."""
FOLDS = 5
LATENT_AXES = 256


@dataclass(frozen=True)
class TowerInputs:
    """Users as a tower takes them; what is unknown is zero and masked."""

    parts: tuple[np.ndarray, ...]
    """One ``[users, dim]`` float32 array per part, in the order of `PARTS`: rows of unit length, or zero."""
    known: np.ndarray
    """``[users, parts]`` float32: 1 where the part is known."""
    statistics: np.ndarray
    """``[users, 2 * N_STATISTICS]`` float32: standardised values, then whether each is known."""
    factors: np.ndarray
    """``[users, dim]`` float32: folded-in artist factors, of the length that is the share of known artists.

    A predicted vector is good enough to learn from, and too poor to be compared with as it is.
    """
    axes: np.ndarray
    """``[users, axes]`` float32: where users lie by the latent axes; rows of unit length, or zero."""

    def __len__(self) -> int:
        return len(self.known)

    def take(self, rows: np.ndarray) -> TowerInputs:
        """Return some users."""
        return TowerInputs(
            tuple(part[rows] for part in self.parts), self.known[rows], self.statistics[rows],
            self.factors[rows], self.axes[rows],
        )  # fmt: skip


@dataclass(frozen=True)
class PartMap:
    """How listening becomes the parts of a tower."""

    artists: Factors
    genres: Factors
    latent: LatentAxes
    centres: tuple[np.ndarray, ...]
    """``[dim]`` per part."""
    axes: tuple[np.ndarray, ...]
    """``[dim, reduced]`` per part: its principal axes. Means of text vectors lie in few of their 384 dimensions. Zero
    for a part that no training user has: nothing was learned of it, so it is unknown of everybody."""
    middle: np.ndarray
    """``[N_STATISTICS]``: mean of each statistic."""
    spread: np.ndarray
    """``[N_STATISTICS]``: standard deviation of each statistic; 0 where training users do not differ, or where fewer
    than two have it. Then it is unknown of everybody: weights were never fitted to it."""

    @classmethod
    def fit(
        cls, training: Listening, catalogue: Catalogue, *, factors: FactorSettings, axes: int, seed: int
    ) -> tuple[PartMap, CrossFit]:
        """Fit on training users.

        Parameters
        ----------
        training
            The whole listening of the training users.
        catalogue
            The artists and genres it speaks of.
        factors
            How factors of artists and genres are learned.
        axes
            At most this many principal axes are kept of each embedding.
        seed
            Of the factors and of the folds.

        Returns
        -------
        The map, and the same map fitted without each fold of the training users, to train on.
        """
        artists, genres = _factors(training, catalogue, factors, seed)
        everybody = np.arange(len(training))
        folds = [np.sort(fold) for fold in np.array_split(np.random.default_rng(seed).permutation(everybody), FOLDS)]
        fold_factors = []
        for fold in folds:
            others = _factors(training.take(np.setdiff1d(everybody, fold)), catalogue, factors, seed)
            fold_factors.append((others[0].aligned(artists), others[1].aligned(genres)))

        latent = LatentAxes.fit(training.artists, catalogue.artists, LATENT_AXES, seed=seed)
        blank = cls(
            artists, genres, latent, (), (), np.zeros(N_STATISTICS, np.float32), np.ones(N_STATISTICS, np.float32)
        )
        cross = CrossFit(folds, [replace(blank, artists=pair[0], genres=pair[1]) for pair in fold_factors])
        parts, known, statistics = cross.over(catalogue).raw(training)
        centres, axes_by_part = [], []
        for number, part in enumerate(parts):
            here = part[known[:, number]]
            # Factors stand around zero by themselves; text vectors are so alike that only what differs says anything.
            centred = len(here) > 0 and number < len(EMBEDDINGS)
            centre = here.mean(axis=0) if centred else np.zeros(part.shape[1], np.float32)
            centres.append(centre.astype(np.float32))
            axes_by_part.append(_principal_axes(here - centre, axes))
        counted = np.isfinite(statistics).sum(axis=0) > 1
        values = np.where(np.isfinite(statistics), statistics, 0)
        count = np.maximum(np.isfinite(statistics).sum(axis=0), 1)
        middle = values.sum(axis=0) / count
        spread = np.sqrt((np.where(np.isfinite(statistics), statistics - middle, 0) ** 2).sum(axis=0) / count)
        spread = np.where(counted & (spread > 1e-6), spread, 0)
        fitted = {
            "centres": tuple(centres), "axes": tuple(axes_by_part), "middle": middle.astype(np.float32),
            "spread": spread.astype(np.float32),
        }  # fmt: skip
        return replace(blank, **fitted), CrossFit(folds, [replace(part_map, **fitted) for part_map in cross.maps])

    def over(self, catalogue: Catalogue, *, artists_by_name: bool = True) -> BoundMap:
        """Return this map for listening to what ``catalogue`` holds.

        Without ``artists_by_name`` every artist is treated as one that no training user listens to.
        """
        artists = self.artists.over(catalogue.artists, by_name=artists_by_name)
        latent = self.latent.over(catalogue.artists, by_name=artists_by_name)
        return BoundMap(self, artists, self.genres.over(catalogue.genres), latent)


@dataclass(frozen=True)
class BoundMap:
    """A map with what it knows of the names of one catalogue."""

    fitted: PartMap
    artists: Loadings
    genres: Loadings
    latent: np.ndarray

    def __call__(self, listening: Listening) -> TowerInputs:
        """Return users as a tower takes them."""
        parts, known, statistics = self.raw(listening)
        total = np.asarray(listening.artists.sum(axis=1)).ravel()
        seen = np.asarray(listening.artists @ self.artists.known.astype(np.float32)).ravel()
        factors = parts[PARTS.index("artist_factors")] * (seen / np.where(total > 0, total, 1))[:, None]
        axes = project(listening.artists, self.latent)
        return _scaled(self.fitted, parts, known, statistics, factors.astype(np.float32), axes)

    def raw(self, listening: Listening) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Return parts and statistics before scaling, and which parts are known."""
        folded = [
            self.fitted.artists.fold_in(listening.artists, self.artists),
            self.fitted.genres.fold_in(listening.genres, self.genres),
        ]
        known = np.column_stack([listening.known, *(part.any(axis=1) for part in folded)])
        return [*listening.embeddings, *folded], known, np.hstack([listening.statistics, self._mainstream(listening)])

    def _mainstream(self, listening: Listening) -> np.ndarray:
        """Return mean and spread of the popularity of each user's artists, and the share of unknown ones."""
        shares = listening.artists
        popularity = self.artists.popularity
        total = np.asarray(shares.sum(axis=1)).ravel()
        safe = np.where(total > 0, total, np.nan)
        mean = (shares @ popularity) / safe
        spread = np.sqrt(np.maximum((shares @ popularity**2) / safe - mean**2, 0))
        unseen = (shares @ (~self.artists.known).astype(np.float32)) / safe
        return np.column_stack([mean, spread, unseen]).astype(np.float32)


@dataclass(frozen=True)
class CrossFit:
    """Maps for training users, each fitted without the users it is for.

    Factors know the very users they were fitted on: whatever two of a user's artists have in common, their vectors
    share it. Trained on that, a tower would trust factors more than it can with anybody new.
    """

    folds: Sequence[np.ndarray]
    """Row numbers of the training users of each fold."""
    maps: Sequence[PartMap]

    def over(self, catalogue: Catalogue) -> BoundCrossFit:
        """Return these maps for listening to what ``catalogue`` holds."""
        return BoundCrossFit(self.folds, [part_map.over(catalogue) for part_map in self.maps])


@dataclass(frozen=True)
class BoundCrossFit:
    """Maps for training users, with what they know of the names of one catalogue."""

    folds: Sequence[np.ndarray]
    maps: Sequence[BoundMap]

    def __call__(self, training: Listening) -> TowerInputs:
        """Return the training users (or parts of their listening, in the same order) as a tower takes them.

        Without what is only joined to the learned vectors, never trained on.
        """
        nothing = np.zeros((len(training), 0), np.float32)
        return _scaled(self.maps[0].fitted, *self.raw(training), nothing, nothing)

    def raw(self, training: Listening) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """As `BoundMap.raw`."""
        pieces = [part_map.raw(training.take(fold)) for fold, part_map in zip(self.folds, self.maps, strict=True)]
        back = np.argsort(np.concatenate(self.folds))
        parts = [np.concatenate([piece[0][number] for piece in pieces])[back] for number in range(len(PARTS))]
        known, statistics = (np.concatenate([piece[side] for piece in pieces])[back] for side in (1, 2))
        return parts, known, statistics


def _factors(training: Listening, catalogue: Catalogue, settings: FactorSettings, seed: int) -> tuple[Factors, Factors]:
    return (
        Factors.fit(training.artists, catalogue.artists, settings, seed=seed),
        # The square root keeps one large share from deciding everything.
        Factors.fit(training.genres, catalogue.genres, replace(settings, power=0.5), seed=seed),
    )


def _principal_axes(centred: np.ndarray, dim: int) -> np.ndarray:
    """Return the ``dim`` principal axes of ``[users, width]`` as ``[width, dim]``; all axes of narrow ones."""
    width = centred.shape[1]
    if not len(centred):
        return np.zeros((width, min(width, dim)), np.float32)
    if width <= dim:
        return np.eye(width, dtype=np.float32)
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return vectors[:, ::-1][:, :dim].astype(np.float32)


def _scaled(
    fitted: PartMap,
    parts: Sequence[np.ndarray],
    known: np.ndarray,
    statistics: np.ndarray,
    factors: np.ndarray,
    axes: np.ndarray,
) -> TowerInputs:
    known = known & [axes_of_part.any() for axes_of_part in fitted.axes]
    scaled = tuple(
        unit((part - centre) @ axes_of_part) * known[:, number : number + 1]
        for number, (part, centre, axes_of_part) in enumerate(zip(parts, fitted.centres, fitted.axes, strict=True))
    )
    measured = np.isfinite(statistics) & (fitted.spread > 0)
    values = np.where(measured, (statistics - fitted.middle) / np.where(fitted.spread > 0, fitted.spread, 1), 0)
    return TowerInputs(
        tuple(part.astype(np.float32) for part in scaled),
        known.astype(np.float32),
        np.hstack([values, measured]).astype(np.float32),
        factors,
        axes,
    )
