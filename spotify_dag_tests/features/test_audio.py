"""Audio features on fixed scales."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from spotify_dag.features.audio import RANGES, SCALED, believable, scaled


def row(**features: float | None) -> dict[str, float]:
    return dict(zip(SCALED, scaled(pl.DataFrame({name: [value] for name, value in features.items()}))[0], strict=True))


def test_scales() -> None:
    found = row(energy=0.3, loudness=-60.0, tempo=30.0, duration_ms=36_000_000.0, mode=1.0)
    assert found["energy"] == pytest.approx(0.3)
    assert found["loudness"] == 0
    assert found["tempo"] == pytest.approx(0, abs=1e-6)
    assert found["duration"] == pytest.approx(1)
    assert found["mode"] == 1


def test_twice_as_fast_is_the_same_step_anywhere() -> None:
    tempo = [row(tempo=value)["tempo"] for value in (60.0, 120.0, 240.0)]
    assert tempo[1] - tempo[0] == pytest.approx(tempo[2] - tempo[1], abs=1e-6)


def test_the_key_is_a_circle_of_fifths() -> None:
    places = np.array([[row(key=float(key))[axis] for axis in ("key_x", "key_y")] for key in range(12)])
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert np.allclose(np.linalg.norm(places, axis=1), 0.5)
    for key in range(12):
        assert set(np.argsort(distance[key])[1:3]) == {(key + 7) % 12, (key + 5) % 12}


def test_missing_stays_missing() -> None:
    found = row(energy=None, key=None, tempo=None)
    assert all(np.isnan(value) for value in found.values())


def test_other_tracks_do_not_change_a_track() -> None:
    alone = scaled(pl.DataFrame({"tempo": [100.0]}))
    assert np.array_equal(scaled(pl.DataFrame({"tempo": [100.0, 180.0]}))[:1], alone, equal_nan=True)


@pytest.mark.parametrize("name", RANGES)
def test_what_cannot_be_is_missing(name: str) -> None:
    low, high = RANGES[name]
    frame = pl.DataFrame({name: [str(low), str(high), str(low - 1), str(2 * abs(high) + 1), "loud", None]})
    assert frame.select(believable(name)).to_series().is_null().to_list() == [False, False, True, True, True, True]
