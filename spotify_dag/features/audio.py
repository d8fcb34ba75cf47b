"""Audio features on fixed scales: a track's numbers never change because other tracks came.

Ranges are those of Spotify's documentation of audio features. A value that is missing or impossible is NaN. Code that
computes with it must mask it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

SHARES = (
    "danceability", "energy", "speechiness", "acousticness", "instrumentalness", "liveness", "valence",
)  # fmt: skip
"""Features from 0 to 1."""
LOUDNESS = (-60.0, 5.0)
"""Decibels relative to full scale. Spotify documents -60 to 0; masters louder than 0 exist."""
TEMPO = (30.0, 300.0)
"""Beats per minute. Spotify gives 0 where it found no beat."""
DURATION_MS = (1_000, 36_000_000)
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(SHARES, (0.0, 1.0)),
    "loudness": LOUDNESS,
    "tempo": TEMPO,
    "key": (0.0, 11.0),
    "mode": (0.0, 1.0),
    "duration_ms": DURATION_MS,
}
"""The least and the greatest value of every feature; values outside are treated as missing."""
SCALED = (*SHARES, "loudness", "tempo", "duration", "key_x", "key_y", "mode")
"""Columns of `scaled`."""
FIFTHS = 7
"""Semitones of a fifth: neighbours on the circle of fifths share all notes but one."""


def believable(name: str) -> pl.Expr:
    """Return a column of audio features as float32, null where the value is outside its range in `RANGES`."""
    import polars as pl

    value = pl.col(name).cast(pl.Float32, strict=False)
    return pl.when(value.is_between(*RANGES[name])).then(value).alias(name)


def scaled(features: pl.DataFrame) -> np.ndarray:
    """Return audio features on comparable scales, ``[tracks, 13]`` float32 (columns `SCALED`), NaN where missing.

    ==================  ============================================================================================
    shares              as they are, 0 to 1
    loudness            linear in dB over `LOUDNESS`, 0 to 1
    tempo, duration     logarithmic over their range, 0 to 1: doubling is the same step everywhere
    key_x, key_y        point on the circle of fifths with radius 0.5: no key is first or last
    mode                0 or 1
    ==================  ============================================================================================
    """
    columns = {
        name: features[name].to_numpy().astype(np.float32)
        if name in features.columns
        else np.full(features.height, np.nan)
        for name in RANGES
    }
    angle = 2 * np.pi * (columns["key"] * FIFTHS % 12) / 12
    table = [
        *(columns[name] for name in SHARES),
        (columns["loudness"] - LOUDNESS[0]) / (LOUDNESS[1] - LOUDNESS[0]),
        _on_log_scale(columns["tempo"], TEMPO),
        _on_log_scale(columns["duration_ms"], DURATION_MS),
        0.5 * np.cos(angle),
        0.5 * np.sin(angle),
        columns["mode"],
    ]
    return np.stack(table, axis=1).astype(np.float32)


def _on_log_scale(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    low, high = np.log(limits)
    return (np.log(values) - low) / (high - low)
