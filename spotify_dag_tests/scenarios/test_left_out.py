"""What a user leaves out counts at once in the app, and in the next run in the graph: with the very same vector."""

from __future__ import annotations

import dagster as dg
import numpy as np
import polars as pl
import pytest

from spotify_dag.app.snapshot import Snapshot
from spotify_dag.definitions import build_definitions
from spotify_dag.lifecycle.change_preferences import change_preferences
from spotify_dag.lifecycle.find_mentions import find_mentions
from spotify_dag.lifecycle.forget import forget
from spotify_dag.orchestration.bring_up_to_date import bring_up_to_date
from spotify_dag.project import Project
from spotify_dag.schemas import RAW_PLAYLISTS, USER_EMBEDDINGS, USER_TASTES
from spotify_dag.staleness.stale_buckets import stale_features, stale_index
from spotify_dag.stores.preferences import Preference
from spotify_dag.stores.rows_in_memory import RowsInMemory
from spotify_dag_tests.app.conftest import Served, serving
from spotify_dag_tests.waiting import until

pytestmark = pytest.mark.slow

USER, OTHER = "synthetic-000005", "synthetic-000011"


def run(project: Project, instance: dg.DagsterInstance) -> list[str]:
    definitions = build_definitions(settings=project.settings)
    return [stage.stage for stage in bring_up_to_date(project, definitions, instance)]


def favourite(project: Project, user: str, kind: str = "artist") -> str:
    tastes = project.lake.scan(USER_TASTES).filter(user_id=user, kind=kind).sort("weight", "name", descending=True)
    return str(tastes.collect()["name"][0])


def embeddings(project: Project) -> pl.DataFrame:
    return project.lake.scan(USER_EMBEDDINGS).sort("user_id").collect()


def vectors(snapshot: Snapshot) -> dict[str, np.ndarray]:
    assert isinstance(snapshot.index, RowsInMemory)
    users = snapshot.index.columns["user_id"]
    return {user: snapshot.person(user, shown=False).vector for user in users}


def matches_of(served: Served, user: str, other: str) -> list[tuple[str, float]]:
    """Return the nearest users and their scores, as ``other`` has them."""
    found = served.client.get(f"/api/v1/users/{user}/matches", params={"k": 39}).json()["matches"]
    return [(match["user_id"], match["score"]) for match in found if other in (match["user_id"], "all")]


def test_app_and_graph_agree(project: Project, instance: dg.DagsterInstance) -> None:
    before, artist = embeddings(project), favourite(project, USER)
    with serving(project) as served:
        token = {"X-User-Token": served.service.identity.file_token(USER)}
        path = f"/api/v1/users/{USER}/preferences"
        untouched = vectors(served.service.serving.snapshot())
        own = matches_of(served, USER, "all"), matches_of(served, OTHER, USER)
        assert served.client.post(path, json={"add": []}).status_code == 401
        wish = {"kind": "artist", "name": artist.upper()}
        answer = served.client.post(path, json={"add": [wish]}, headers=token).json()
        assert answer["preferences"] == [wish]
        assert 0 < answer["items_left_out"] < answer["items"]

        # At once, on both sides.
        at_once = vectors(served.service.serving.snapshot())
        assert own[0] != matches_of(served, USER, "all")
        assert own[1] != matches_of(served, OTHER, USER)
        assert {user for user in untouched if not np.array_equal(untouched[user], at_once[user])} == {USER}
        compared = served.client.get("/api/v1/compare", params={"a": OTHER, "b": USER, "limit": 1_000}).json()
        assert artist not in {entry["name"] for name in ("shared_artists", "new_to_you") for entry in compared[name]}

        # In the next run, for this user alone, and equally.
        bucket = before.filter(user_id=USER)["user_bucket"].to_list()
        assert stale_features(project) == bucket
        nearest = served.client.get(f"/api/v1/users/{USER}/matches", params={"k": 39}).json()
        assert run(project, instance) == ["features", "index"]
        after = embeddings(project)
        changed = after.join(before, on=["user_id", "content_hash", "artist_embedding"], how="anti", nulls_equal=True)
        assert changed["user_id"].to_list() == [USER]
        tastes = project.lake.scan(USER_TASTES).filter(user_id=USER, kind="artist").collect()
        assert artist not in tastes["name"]
        until(lambda: not served.service.serving.snapshot().revised)
        indexed = vectors(served.service.serving.snapshot())
        assert float(indexed[USER] @ at_once[USER]) > 1 - 1e-6
        assert np.abs(indexed[USER] - at_once[USER]).max() < 1e-6
        assert all(np.array_equal(indexed[user], untouched[user]) for user in untouched if user != USER)
        again = served.client.get(f"/api/v1/users/{USER}/matches", params={"k": 39}).json()
        assert [match["user_id"] for match in again["matches"]] == [match["user_id"] for match in nearest["matches"]]
        assert again["tracks"] == nearest["tracks"] == answer["items"] - answer["items_left_out"]

        # Undone, all is as it was: at once, and with the next run.
        served.client.post(path, json={"remove": [wish]}, headers=token).raise_for_status()
        assert float(vectors(served.service.serving.snapshot())[USER] @ untouched[USER]) > 1 - 1e-6
        assert run(project, instance) == ["features", "index"]
        assert embeddings(project).equals(before)
        assert run(project, instance) == []


def test_everything_left_out_and_nothing(project: Project, instance: dg.DagsterInstance) -> None:
    lists = project.lake.scan(RAW_PLAYLISTS).filter(user_id=USER).select("playlist_name", "playlist_id").unique()
    titles = [Preference("playlist", name or id_) for name, id_ in lists.collect().iter_rows()]
    answer = change_preferences(project, USER, titles)
    assert answer["items_left_out"] == answer["items"]
    with serving(project) as served:
        found = served.client.get(f"/api/v1/users/{USER}/matches")
        assert (found.status_code, "left out" in found.json()["detail"]) == (404, True)
        assert USER not in [name for name, _ in matches_of(served, OTHER, "all")]
        assert run(project, instance) == ["features", "index"]
        until(lambda: not served.service.serving.snapshot().people([USER]))
    row = embeddings(project).filter(user_id=USER).row(0, named=True)
    assert (row["tracks"], row["unembedded_reason"]) == (0, "no usable playlist item")
    change_preferences(project, USER, remove=titles)
    assert run(project, instance) == ["features", "index"]
    assert stale_index(project, project.user_index(str(project.published()))) == []
    assert len(project.user_index(str(project.published())).vectors([USER])) == 1


def test_forgotten_with_the_user(project: Project, instance: dg.DagsterInstance) -> None:
    change_preferences(project, USER, [Preference("artist", favourite(project, USER))])
    run(project, instance)
    places = {name.split("/")[-2] for name in find_mentions(project, USER).counts if name.endswith(".json")}
    assert places >= {"preferences", ".preferences"}
    done = forget(project, USER)
    assert done.deleted["preferences"] == 2
    assert find_mentions(project, USER).total == 0
    assert project.preferences.of(USER) == []
