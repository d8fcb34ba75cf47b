"""The features of candidates: numbers that mean the same in every catalogue, and what they say in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spotify_dag.tracks.candidates import NAMES, Candidates, FirstStage
from spotify_dag.tracks.methods.content import EVERY, Normal
from spotify_dag.tracks.track_arrays import Request

WORDS = {
    "item_knn": "in playlists with your tracks", "item_knn_recent": "in playlists with your last tracks",
    "beside": "next to your tracks in playlists", "playlist_knn": "in playlists like yours",
    "ials": "in playlists like yours", "ials_all": "in playlists like yours",
    "ials_artist": "artist in playlists like yours", "autoencoder": "in playlists like yours",
    "autoencoder_artist": "artist in playlists like yours",
    "artist_lists": "in playlists with your artists",
    "artist_near": "artist in playlists with your artists", "same_artist": "an artist of yours",
    "same_artist_recent": "an artist of yours", "title_letters": "in playlists with such a title",
    "title_meaning": "in playlists with such a title", "title_artist": "artist in playlists with such a title",
    "names": "a title and artist of the same kind", "title_names": "title and artist fit what you wrote",
    "sound": "sounds like your tracks", "mood": "sounds as you described", "genre": "of the same genres",
    "popularity": "widely known",
}  # fmt: skip
"""What each method says, in words."""
OTHERS = {
    "seeds_met": WORDS["item_knn"], "artist_share": WORDS["same_artist"], "artist_late": WORDS["same_artist"],
    "same_album": "from an album of yours", "artist_popularity": WORDS["popularity"],
    "popularity_in_artist": WORDS["popularity"], "known_popularity": WORDS["popularity"],
    "popularity_like_seeds": "about as well known as your tracks", "text": WORDS["names"],
    "text_late": WORDS["names"], "title_text": WORDS["title_names"], "title_match": "title or artist is what you wrote",
    "audio": WORDS["sound"], "year": "from the same years", "methods": "named by several methods",
}  # fmt: skip
"""The features that are not a method's, and what they say."""
KINDS = ("", "_share", "_rank")
FEATURES = (*(f"{name}{kind}" for name in NAMES for kind in KINDS), *OTHERS)
"""All features, in the order of the columns of `features`."""
REASONS = (*(WORDS[name] for name in NAMES for _ in KINDS), *OTHERS.values())
"""What each feature says, in the same order."""
LATE = 3
"""Last seeds whose artists are looked at apart."""
MATCH_FLOOR = 0.35
"""Cosine from which on a playlist's title and a track's names speak of the same thing."""


def features(
    stage: FirstStage, request: Request, candidates: Candidates, rows: np.ndarray | slice = EVERY
) -> np.ndarray:
    """Return the features of candidates, ``[rows, len(FEATURES)]`` float32; 0 where one says nothing.

    Of every method there is the score (logarithm), the root of its share of the best candidate's, and minus the
    logarithm of its rank among all candidates, ``rows`` or not.
    """
    of_methods = _of_methods(candidates.scores)[rows]
    candidates = replace(
        candidates, tracks=candidates.tracks[rows], scores=candidates.scores[rows], seeds_met=candidates.seeds_met[rows]
    )
    values = _of_popularity(stage, request, candidates) | {"seeds_met": candidates.seeds_met}
    if len(candidates.seeds):
        values |= _of_seeds(stage, request, candidates)
    if request.title is not None:
        cosine = stage.tracks.text[candidates.tracks] @ request.title
        values |= {"title_text": cosine, "title_match": np.maximum(cosine - MATCH_FLOOR, 0) ** 2}
    others = np.zeros((len(candidates.tracks), len(OTHERS)), np.float32)
    for column, name in enumerate(OTHERS):
        if name in values:
            others[:, column] = values[name]
    return np.concatenate([of_methods, others], axis=1)


def _of_methods(scores: np.ndarray) -> np.ndarray:
    count = len(scores)
    top = scores.max(axis=0, initial=0)
    share = np.sqrt(scores / np.where(top > 0, top, 1))
    rank = np.empty_like(scores)
    order = np.argsort(-scores, axis=0, kind="stable")
    np.put_along_axis(rank, order, np.arange(count, dtype=np.float32)[:, None], axis=0)
    rank = -np.log1p(np.where(scores > 0, rank, count))
    return np.stack([np.log1p(scores), share, rank.astype(np.float32)], axis=2).reshape(count, len(KINDS) * len(NAMES))


def _of_popularity(stage: FirstStage, request: Request, candidates: Candidates) -> dict[str, np.ndarray]:
    rows, popularity = candidates.tracks, stage.popularity
    artists = np.log1p(stage.incidence.artist_count)[stage.tracks.artist[rows]]
    values = {
        "artist_popularity": artists,
        "popularity_in_artist": popularity[rows] - artists,
        "known_popularity": stage.known_popularity[rows],
        "methods": (candidates.scores > 0).sum(axis=1),
    }
    if len(request.seeds):
        values["popularity_like_seeds"] = -np.abs(popularity[rows] - popularity[request.seeds].mean())
    return values


def _of_seeds(stage: FirstStage, request: Request, candidates: Candidates) -> dict[str, np.ndarray]:
    rows, seeds, tracks = candidates.tracks, candidates.seeds, stage.tracks
    text = tracks.text[rows]
    values = {
        "artist_share": np.sqrt(_share_of(tracks.artist[rows], seeds.artist)),
        "artist_late": np.sqrt(_share_of(tracks.artist[rows], seeds.artist[-LATE:])),
        "text": text @ seeds.name(),
        "text_late": text @ seeds.late_name(),
        "year": Normal.of(seeds.year).likelihood(stage.content.year[rows]),
        "same_album": np.sqrt(_share_of(tracks.album[rows], tracks.album[request.seeds])),
    }
    if len(stage.content.heard):
        values["audio"] = Normal.of(seeds.audio).likelihood(stage.content.audio[rows])
    return values


def _share_of(numbers: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Return the share of ``among`` that each of ``numbers`` is; -1 is unknown, and equals nothing."""
    distinct, counts = np.unique(among[among >= 0], return_counts=True)
    if not len(distinct):
        return np.zeros(len(numbers))
    places = np.minimum(np.searchsorted(distinct, numbers), len(distinct) - 1)
    return np.where(distinct[places] == numbers, counts[places], 0) / len(among)
