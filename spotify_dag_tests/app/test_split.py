"""An app that runs while buckets are split: the same answers before, meanwhile and after, and it follows by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from samples.app_world import PRIVATE, user_id
from spotify_dag.lifecycle.housekeeping import tidy
from spotify_dag.lifecycle.rebucket import rebucket
from spotify_dag.project import Project
from spotify_dag.settings import Settings
from spotify_dag.stores.preferences import Preference
from spotify_dag.stores.user_index import KEEP_VERSIONS
from spotify_dag_tests.waiting import until

Start = Callable[..., Any]
USERS = [user_id(number) for number in range(12) if user_id(number) != PRIVATE]


def answers(client: Any) -> list[Any]:
    asked = [client.get(f"/api/v1/users/{user}/matches", params={"k": 10}) for user in USERS]
    asked.append(client.get("/api/v1/compare", params={"a": USERS[0], "b": USERS[1]}))
    asked.append(client.get("/api/v1/map"))
    assert {answer.status_code for answer in asked} == {200}
    return [answer.json() for answer in asked]


@pytest.mark.medium
def test_it_follows_a_split_and_answers_the_same(fresh: Start, caplog: pytest.LogCaptureFixture) -> None:
    with fresh(n_buckets=None) as served:
        service, data = served.service, served.project.settings.data
        said = service.project.preferences
        said.change(USERS[2], [Preference("artist", "Air")])
        service.serving.revise()
        told, stop = answers(served.client), threading.Event()
        wrong: list[Any] = []

        def ask() -> None:
            while not stop.is_set():
                wrong.extend(found for found in (answers(served.client),) if found != told)

        asking = threading.Thread(target=ask)
        asking.start()
        rebucket(Project.open(Settings(data=data)), 8)
        until(lambda: service.project.lake.n_buckets == 8)
        until(lambda: service.serving.current is not None and service.serving._read_at == service.serving._stamp())
        stop.set()
        asking.join()
        assert wrong == [], "another answer meanwhile"
        assert "The 2 user buckets were split into 8: from now on they are read so." in caplog.text
        tidy(service.project, KEEP_VERSIONS * 0)
        assert answers(served.client) == told
        assert service.tracks._listeners.lake.n_buckets == service.newcomers.project.lake.n_buckets == 8
        assert service.project.preferences.of(USERS[2]) == said.of(USERS[2]) != []
        assert service.forget(USERS[3])
        assert served.client.get(f"/api/v1/users/{USERS[3]}/matches").status_code == 404
