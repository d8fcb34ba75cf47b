"""The API keeps to its own description, whatever is sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from samples.api_requests import contract
from spotify_dag_tests.app.conftest import Served

pytestmark = [pytest.mark.process, pytest.mark.slow]


def test_no_request_is_answered_wrongly(with_tracks: Served, tmp_path: Path) -> None:
    found = contract(with_tracks.url, 2, tmp_path)
    with_tracks.service.guest_blends.rooms.clear()  # It opened as many as one client may have.
    assert found["failures"] == 0, found["said"]
    assert found["cases"] - found["cases_of_pages"] >= 300
    assert found["cases_of_pages"] >= 100
