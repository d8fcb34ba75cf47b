"""The features of candidates: about sixty numbers that mean the same in every catalogue."""

from __future__ import annotations

import numpy as np

from spotify_dag.tracks.candidates import NAMES, Candidates, FirstStage
from spotify_dag.tracks.methods.content import Normal
from spotify_dag.tracks.track_arrays import Request

OTHERS = (
    "seeds_met", "same_artist_share", "same_artist_late", "same_album", "artist_popularity", "artist_share",
    "popularity_log", "popularity_rank", "popularity_gap", "text", "text_late", "title_text", "audio", "year",
    "title_match", "genre_share", "methods",
)  # fmt: skip
FEATURES = (*(f"{name}{kind}" for name in NAMES for kind in ("", "_share", "_rank")), *OTHERS)
"""All features, in the order of the columns of `features`."""


def features(stage: FirstStage, request: Request, candidates: Candidates) -> np.ndarray:
    """Return the features of candidates, ``[candidates, len(FEATURES)]`` float32."""
    parts = [_of_methods(candidates.scores)]
    parts.append(_others(stage, request, candidates))
    return np.concatenate(parts, axis=1)


def _of_methods(scores: np.ndarray) -> np.ndarray:
    count = len(scores)
    top = scores.max(axis=0, initial=0)
    share = np.sqrt(scores / np.where(top > 0, top, 1))
    order = np.argsort(-scores, axis=0, kind="stable")
    rank = np.empty_like(scores)
    np.put_along_axis(rank, order, np.arange(count, dtype=np.float32)[:, None], axis=0)
    rank = np.where(scores > 0, -np.log1p(rank), -np.log1p(count))
    return np.stack([np.log1p(scores), share, rank.astype(np.float32)], axis=2).reshape(count, -1)


def _others(stage: FirstStage, request: Request, found: Candidates) -> np.ndarray:
    rows, seeds, incidence = found.tracks, found.seeds, stage.incidence
    tracks = incidence.tracks
    artist = tracks.artist[rows]
    values: dict[str, np.ndarray] = dict(found.extra)
    popularity = stage.popularity
    artists = np.log1p(incidence.artist_count)
    values["artist_popularity"] = artists[artist]
    values["artist_share"] = popularity[rows] - artists[artist]
    values["popularity_log"] = popularity[rows]
    values["popularity_rank"] = popularity[rows] / max(float(popularity.max(initial=0)), 1e-9)
    values["methods"] = (found.scores > 0).sum(axis=1)
    if len(seeds):
        own = np.bincount(seeds.artist[seeds.artist >= 0], minlength=len(artists))
        values["same_artist_share"] = np.sqrt(own[artist] / len(seeds))
        late = np.bincount(seeds.artist[-3:][seeds.artist[-3:] >= 0], minlength=len(artists))
        values["same_artist_late"] = np.sqrt(late[artist] / 3)
        text = tracks.text[rows]
        values["text"], values["text_late"] = text @ seeds.name(), text @ seeds.late_name()
        weight = np.ones(len(seeds))
        values["audio"] = Normal.of(seeds.audio, weight).likelihood(stage.content.audio[rows])
        values["year"] = Normal.of(seeds.year, weight).likelihood(stage.content.year[rows])
        if len(request.seeds):
            values["popularity_gap"] = -np.abs(popularity[rows] - popularity[request.seeds].mean())
            albums = tracks.album[request.seeds]
            of_album = tracks.album[rows]
            values["same_album"] = np.sqrt(
                np.bincount(albums[albums >= 0], minlength=int(tracks.album.max(initial=0)) + 2)[of_album]
                * (of_album >= 0)
                / len(seeds)
            )
    if request.title is not None:
        values["title_text"] = tracks.text[rows] @ request.title
        values["title_match"] = np.maximum(values["title_text"] - 0.35, 0) ** 2
    table = np.zeros((len(rows), len(OTHERS)), np.float32)
    for column, name in enumerate(OTHERS):
        if name in values:
            table[:, column] = values[name]
    return table
