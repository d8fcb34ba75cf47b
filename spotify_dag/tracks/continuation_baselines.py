"""What a continuation has to beat. Each baseline scores every track for a request: `Baseline`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from spotify_dag.features.audio import SCALED
from spotify_dag.ranking_metrics import ndcg, r_precision, ranking
from spotify_dag.tracks.candidates import FirstStage
from spotify_dag.tracks.incidence import Incidence
from spotify_dag.tracks.methods.ials import NOTHING, learn_ials
from spotify_dag.tracks.methods.item_knn import ItemKnn
from spotify_dag.tracks.methods.playlist_knn import PlaylistKnn
from spotify_dag.tracks.track_arrays import Playlists, Request, Tracks, request_of

Baseline = Callable[[Request], np.ndarray]
"""Takes a request, returns ``[tracks]``: larger is better."""
Learn = Callable[[Incidence], Baseline]
TUNING_PLAYLISTS, TUNING_SHARE, TUNING_SIZES = 200, 0.2, (1, 5, 10, 25)


def item_knn(shrinkage: float, neighbours: int) -> Learn:
    """Return shrunk cosines of co-occurrence with the seeds, summed over each seed's nearest tracks."""

    def learn(incidence: Incidence) -> Baseline:
        model = ItemKnn(incidence, shrinkage, neighbours)
        return lambda request: model(request.seeds)["item_knn"]

    return learn


def playlist_knn(neighbours: int) -> Learn:
    """Return the tracks of the nearest playlists by cosine of tracks weighted by rarity."""

    def learn(incidence: Incidence) -> Baseline:
        model = PlaylistKnn(incidence, neighbours)
        return lambda request: model(request.seeds)

    return learn


def ials(factors: int, confidence: float) -> Learn:
    """Return implicit alternating least squares; a request is folded in as a new playlist."""

    def learn(incidence: Incidence) -> Baseline:
        model = learn_ials(incidence.by_playlist, factors=factors, confidence=confidence)
        nothing = np.zeros(len(incidence.tracks), np.float32)
        return lambda request: model(request.seeds, NOTHING, NOTHING).get("ials", nothing)

    return learn


TUNED: dict[str, dict[str, Learn]] = {
    "item-kNN": {
        f"shrinkage {shrinkage:g}, {neighbours} neighbours": item_knn(shrinkage, neighbours)
        for shrinkage in (5.0, 20.0, 80.0)
        for neighbours in (200, 1_000)
    },
    "playlist-kNN": {f"{neighbours} neighbours": playlist_knn(neighbours) for neighbours in (50, 100, 200, 500)},
    "iALS": {
        f"{factors} factors, alpha {confidence:g}": ials(factors, confidence)
        for factors, confidence in ((64, 10.0), (96, 3.0), (96, 10.0), (96, 30.0), (160, 10.0))
    },
}
"""The settings that each tuned baseline is chosen from."""


def tuned(
    tracks: Tracks, playlists: Playlists, *, seed: int = 0, progress: Callable[[int], None] = lambda _: None
) -> tuple[dict[str, Baseline], dict[str, str]]:
    """Return the baselines of `TUNED` at their best settings, learned from all playlists, and these settings.

    They are chosen by the mean of R-precision and NDCG on a fifth of the playlists, from models of the others.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(playlists))
    held = int(len(order) * TUNING_SHARE)
    rest = Incidence(tracks, playlists.take(np.sort(order[held:])))
    requests = list(_tuning_requests(playlists, order[:held][:TUNING_PLAYLISTS], rng))
    everything = Incidence(tracks, playlists)
    best, settings = {}, {}
    for name, choices in TUNED.items():
        settings[name] = _best(choices, rest, requests, progress)
        best[name] = choices[settings[name]](everything)
    return best, settings


def _tuning_requests(
    playlists: Playlists, chosen: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[Request, np.ndarray]]:
    for place, playlist in enumerate(chosen.tolist()):
        size = TUNING_SIZES[place % len(TUNING_SIZES)]
        if len(playlists[playlist]) > size:
            yield request_of(playlists, playlist, size, rng if rng.random() < 0.5 else None)


def _best(
    choices: Mapping[str, Learn], incidence: Incidence, requests: Sequence[tuple[Request, np.ndarray]],
    progress: Callable[[int], None],
) -> str:  # fmt: skip
    jitter = np.random.default_rng(0).random(len(incidence.tracks)) * 1e-6
    worth = {}
    for name, learn in choices.items():
        score = learn(incidence)
        ranked = [(ranking(score(request), request.seeds, jitter), withheld) for request, withheld in requests]
        worth[name] = float(np.mean([r_precision(*pair) + ndcg(*pair) for pair in ranked])) if ranked else 0.0
        progress(1)
    return max(worth, key=worth.__getitem__)


def fixed(stage: FirstStage) -> dict[str, Baseline]:
    """Return the baselines without settings, over what a first stage knows."""
    return {
        "popularity": lambda _: stage.popularity,
        "title-kNN": lambda request: stage.title_knn.by_letters(request.title_text) + 1e-6 * stage.popularity,
        "text only": _text_only(stage.tracks),
        "audio only": _audio_only(stage),
        "seed system": seed_system(stage.tracks),
    }


def seed_system(tracks: Tracks) -> Baseline:
    """Return the method of the system this one succeeds, as described.

    Nearest neighbours, by Euclidean distance, of the mean of the seeds' features: audio features scaled to 0 … 1, the
    artist's popularity from 0 to 100 as it is, and the number of the row in the table.
    """
    shown = np.nan_to_num(tracks.popularity) * 100
    artists = np.bincount(tracks.artist, weights=shown) / np.maximum(np.bincount(tracks.artist), 1)
    table = np.column_stack([np.nan_to_num(tracks.audio), artists[tracks.artist], np.arange(len(tracks))])

    def score(request: Request) -> np.ndarray:
        if not len(request.seeds):
            return np.zeros(len(tracks), np.float32)
        return -np.square(table - table[request.seeds].mean(axis=0)).sum(axis=1)

    return score


def _audio_only(stage: FirstStage) -> Baseline:
    """Return the cosine with the mean of the seeds' audio features, standardised; missing features are average."""
    table = np.nan_to_num(stage.content.audio)
    table /= np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-9)

    def score(request: Request) -> np.ndarray:
        return table @ (table[request.seeds].mean(axis=0) if len(request.seeds) else np.zeros(len(SCALED), np.float32))

    return score


def _text_only(tracks: Tracks) -> Baseline:
    """Return the cosine of title and artist with the sum of the seeds' and of the playlist's title."""

    def score(request: Request) -> np.ndarray:
        query = tracks.text[request.seeds].sum(axis=0)
        return tracks.text @ (query if request.title is None else query + request.title)

    return score
