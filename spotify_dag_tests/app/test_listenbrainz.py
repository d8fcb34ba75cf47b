"""The box of the app takes profiles of ListenBrainz: read for one answer, and nothing of it is kept."""

from __future__ import annotations

import pytest

from spotify_dag.app.match_answers import profile_url
from spotify_dag_tests.app.conftest import Served

pytestmark = pytest.mark.medium


def test_a_profile_is_read_and_answered(served: Served) -> None:
    profile = "https://listenbrainz.org/user/Synthetic-000035/"
    how, found, stages = served.follow(served.client.post("/api/v1/users", data={"profile": profile}))
    assert (how, found["user_id"]) == ("result", "listenbrainz-synthetic-000035")
    assert len(found["matches"]) == 10
    assert stages == ["reading", "embedding", "searching"]
    data = served.project.settings.data
    assert not list((data / "app").rglob("*.sqlite"))
    content = b"".join(file.read_bytes() for file in (data / "listenbrainz").iterdir())
    assert b"000035" not in content


def test_somebody_unknown_is_one_clear_line(served: Served) -> None:
    how, found, _ = served.follow(served.client.post("/api/v1/users", data={"profile": "listenbrainz:nobody"}))
    assert (how, found["status"]) == ("problem", 404)
    assert "Cannot find user: nobody" in found["detail"]


def test_a_name_that_is_none_is_refused(served: Served) -> None:
    answer = served.client.post("/api/v1/users", data={"profile": "https://listenbrainz.org/statistics/"})
    assert answer.status_code == 422
    assert "names no user of ListenBrainz" in answer.json()["detail"]


def test_consent_needs_the_users_own_export(served: Served) -> None:
    answer = served.client.post("/api/v1/users", data={"profile": "listenbrainz:synthetic-000001", "consent": "true"})
    assert answer.status_code == 403
    assert "listenbrainz.org/settings/export" in answer.json()["detail"]


def test_profiles_are_linked_at_their_service() -> None:
    assert profile_url("listenbrainz-a%20b", "listenbrainz") == "https://listenbrainz.org/user/a%20b"
    assert profile_url("lastfm-api-rj", "lastfm-api") == "https://www.last.fm/user/rj"
    assert profile_url("anna", "spotify") == "https://open.spotify.com/user/anna"
    assert profile_url("synthetic-000001", "synthetic") is None
