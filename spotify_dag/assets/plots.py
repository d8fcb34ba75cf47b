"""Pictures shown as asset metadata, where people would rather look than read."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np

from spotify_dag.tower.factors import with_fixed_signs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from spotify_dag.tower.score import ScoreScale

MAP_USERS = 5_000
MAP_GENRES = 9


def training_curve(history: Sequence[dict[str, float]]) -> bytes:
    """Draw loss and validation MRR over the epochs, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3), layout="constrained")
    loss, mrr = figure.subplots(1, 2)
    epochs = [entry["epoch"] + 1 for entry in history]
    loss.plot(epochs, [entry["loss"] for entry in history], color="#b3261e")
    loss.set(title="InfoNCE loss", xlabel="epoch")
    for name, colour in (("mrr", "#1db954"), ("hit@10", "#2f6fde")):
        mrr.plot(epochs, [entry[name] for entry in history], label=name, color=colour)
    mrr.set(title="Own other half found (validation users)", xlabel="epoch", ylim=(0, 1))
    mrr.legend(frameon=False)
    return _png(figure)


def taste_map(vectors: np.ndarray, genres: Sequence[str | None], seed: int = 0) -> bytes:
    """Draw users on the plane of the two principal components of their vectors, coloured by dominant genre, as PNG.

    Parameters
    ----------
    vectors
        ``[users, dim]`` user vectors; a sample of `MAP_USERS` is drawn of more.
    genres
        The dominant genre of each user, or None.
    """
    from matplotlib.figure import Figure

    rows = np.arange(len(vectors))
    if len(rows) > MAP_USERS:
        rows = np.random.default_rng(seed).choice(rows, MAP_USERS, replace=False)
    centred = vectors[rows] - vectors[rows].mean(axis=0)
    _, _, components = np.linalg.svd(centred, full_matrices=False)
    x, y = (centred @ with_fixed_signs(components[:2].T)).T
    named = np.array([genre or "unknown" for genre in genres])[rows]
    values, counts = np.unique(named, return_counts=True)
    common = values[np.argsort(-counts)][:MAP_GENRES]

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    others = ~np.isin(named, common)
    axes.scatter(x[others], y[others], s=6, color="#c8c8c8", label="other")
    for number, genre in enumerate(common):
        chosen = named == genre
        axes.scatter(x[chosen], y[chosen], s=8, color=f"C{number}", label=genre)
    axes.set(title=f"Taste map: {len(rows):,} users by dominant genre", xticks=[], yticks=[])
    axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    return _png(figure)


def picture(name: str, png: bytes) -> dg.MarkdownMetadataValue:
    """Return a picture as asset metadata."""
    return dg.MetadataValue.md(f"![{name.replace('_', ' ')}](data:image/png;base64,{base64.b64encode(png).decode()})")


def metric_bars(rows: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Draw the main measures of each model side by side, as PNG; the first model is the one that is judged."""
    from matplotlib.figure import Figure

    measures = {"mrr": "MRR", "hit@10": "hit@10", "neighbour_ndcg@20": "neighbour NDCG@20"}
    figure = Figure(figsize=(9, 0.6 + 0.3 * len(rows)), layout="constrained")
    names = list(rows)[::-1]
    for axes, (key, title) in zip(figure.subplots(1, len(measures), sharey=True), measures.items(), strict=True):
        values = [rows[name][key] for name in names]
        axes.barh(names, values, color=["#1db954" if name == "tower" else "#b8b8b8" for name in names])
        for place, value in enumerate(values):
            axes.text(value, place, f" {value:.2f}", va="center", fontsize=8)
        axes.set(title=title, xlim=(0, 1.15 * max(*values, 1e-6)))
        axes.spines[["top", "right"]].set_visible(False)
    return _png(figure)


def score_calibration(scale: ScoreScale, first: np.ndarray, second: np.ndarray) -> bytes:
    """Draw what a cosine means, as PNG: random pairs of users against the two halves of one user.

    Parameters
    ----------
    scale
        The scale of the model.
    first, second
        ``[users, dim]`` unit vectors of the halves of users.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    spread, curve = figure.subplots(1, 2)
    bins = np.linspace(-0.5, 1, 61)
    random = (first * np.roll(second, 1, axis=0)).sum(axis=1)
    spread.hist(random, bins, density=True, alpha=0.7, color="#b8b8b8", label="random pairs")
    spread.hist((first * second).sum(axis=1), bins, density=True, alpha=0.7, color="#1db954", label="one user's halves")
    spread.set(title="Cosine of user vectors", xlabel="cosine", yticks=[])
    spread.legend(frameon=False)
    curve.plot(bins, scale.percent(bins), color="#2f6fde")
    curve.set(title="Score shown", xlabel="cosine", ylabel="% of random pairs less alike", ylim=(0, 102))
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
