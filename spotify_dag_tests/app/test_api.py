"""What the API answers, from a real server on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from samples.app_world import PRIVATE, WORLD, publish_model, user_id
from spotify_dag.app.newcomers import handed_in
from spotify_dag.schemas import RAW_PLAYLISTS, USERS, user_buckets
from spotify_dag.sources.synthetic import SyntheticSource
from spotify_dag_tests.app.conftest import Served, exportify
from spotify_dag_tests.waiting import until

Start = Callable[..., Any]
ARTISTS = ["Usher", "Prince", "Beyoncé", "Frank Ocean"] * 10


class TestAnswers:
    def test_matches_say_how_alike_and_why(self, served: Served) -> None:
        found = served.client.get(f"/api/v1/users/{user_id(7)}/matches", params={"k": 5}).json()
        assert found["model_version"] == served.project.published()
        assert found["tracks"] > 0
        assert [match["user_id"] for match in found["matches"]] != sorted({user_id(7), PRIVATE})
        assert len(found["matches"]) == 5
        scores = [match["score"] for match in found["matches"]]
        assert scores == sorted(scores, reverse=True)
        first = found["matches"][0]
        assert {"percent", "confidence", "shared_genres", "shared_artists", "shared_eras", "new_to_you"} <= first.keys()
        assert first["profile"] is None  # nobody here comes from Spotify itself

    def test_compare_is_the_same_from_both_sides(self, served: Served) -> None:
        one = served.client.get("/api/v1/compare", params={"a": user_id(7), "b": user_id(8)}).json()
        other = served.client.get("/api/v1/compare", params={"a": user_id(8), "b": user_id(7)}).json()
        assert one["score"] == pytest.approx(other["score"], abs=1e-6)
        assert one["new_to_other"] == other["new_to_you"]
        picture = served.client.get("/api/v1/compare.png", params={"a": user_id(7), "b": user_id(8)})
        assert picture.content.startswith(b"\x89PNG")
        assert picture.headers["content-type"] == "image/png"

    @pytest.mark.parametrize(
        ("path", "status", "said"),
        [
            ("/api/v1/users/nobody/matches", 404, "nobody"),
            (f"/api/v1/users/{PRIVATE}/matches", 404, PRIVATE),
            (f"/api/v1/compare?a={PRIVATE}&b={user_id(1)}", 404, PRIVATE),
            (f"/api/v1/users/{user_id(1)}/matches?k=0", 422, "k is '0'"),
            (f"/api/v1/users/{user_id(1)}/matches?k=1000", 422, "k is '1000'"),
            ("/api/v1/jobs/none", 404, "no such job"),
            ("/api/v1/search?q=a", 404, "no tracks here"),
            ("/api/v1/nothing", 404, "nothing here"),
        ],
    )
    def test_what_is_wrong_is_said_as_a_problem(self, served: Served, path: str, status: int, said: str) -> None:
        answer = served.client.get(path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
        assert said in answer.json()["detail"]

    def test_another_method_is_told_which_there_are(self, served: Served) -> None:
        answer = served.client.put(f"/api/v1/users/{user_id(1)}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")

    def test_health_and_metrics(self, served: Served) -> None:
        for prefix in ("", "/api/v1"):
            assert served.client.get(f"{prefix}/healthz").json() == {"status": "alive"}
            ready = served.client.get(f"{prefix}/readyz").json()
            assert ready == {"status": "ready", "model_version": served.project.published(), "users": 29}
        served.client.get(f"/api/v1/users/{user_id(1)}/matches")
        text = served.client.get("/metrics").text
        assert 'spotify_dag_requests_total{method="GET",route="/api/v1/users/{user_id}/matches",status="200"}' in text
        assert "spotify_dag_users 29.0" in text
        assert user_id(1) not in text

    def test_the_description_of_the_api_is_a_page_that_loads_nothing(self, served: Served) -> None:
        page = served.client.get("/api/v1/docs").text
        assert "GET /api/v1/users/{user_id}/matches" in page
        assert "<script" not in page
        assert "https://" not in page

    def test_with_nothing_published_it_says_so_and_is_not_ready(self, fresh: Start) -> None:
        with fresh(wait=False) as served:
            pass
        (served.project.vectors / "published.json").unlink()
        from spotify_dag_tests.app.conftest import serving

        with serving(served.project, wait=False) as again:
            until(lambda: "no model yet" in again.client.get("/readyz").json()["detail"])
            answer = again.client.get(f"/api/v1/users/{user_id(1)}/matches")
            assert answer.status_code == 503
            assert again.client.get("/healthz").status_code == 200


class TestNewUsers:
    def test_a_file_is_answered_and_not_kept(self, served: Served) -> None:
        def kept() -> set[str]:
            files = (path for path in served.project.settings.data.rglob("*") if path.is_file())
            # The key that signs tokens is made on first use, and locks have nothing in them.
            return {
                str(path) for path in files if path.stat().st_size and "spotify" not in str(path) and path.name != "key"
            }

        before = kept()
        files = {"file": ("my list.csv", exportify(ARTISTS))}
        name, found, stages = served.follow(served.client.post("/api/v1/users", files=files))
        assert name == "result"
        assert stages == ["reading", "read", "embedding", "searching"]
        assert found["tracks"] == len(ARTISTS)
        assert found["playlists"] == 1
        assert not found["kept"]
        assert "token" not in found
        assert found["matches"][0]["shared_artists"]
        assert served.service.with_top_tracks(found)["matches"][0]["top_tracks"][0].keys() == {"title", "artist"}
        assert kept() == before

    def test_with_consent_it_waits_in_the_inbox_and_the_token_opens_it(self, served: Served) -> None:
        file = {"file": ("list.csv", exportify(ARTISTS))}
        answer = served.client.post("/api/v1/users", files=file, data={"consent": "true"})
        _, found, _ = served.follow(answer)
        (request,) = [one for one in served.project.inbox.requests.waiting() if one.user_id == found["user_id"]]
        assert request.opted_in
        header = {"X-User-Token": found["token"]}
        stored = served.client.get(f"/api/v1/users/{found['user_id']}", headers=header).json()
        assert stored["waits_in_inbox"]
        assert stored["source"] == "export"
        # A better file of the same person takes the place of the first.
        better = {"file": ("list.csv", exportify([*ARTISTS, "Rihanna"]))}
        _, again, _ = served.follow(
            served.client.post("/api/v1/users", files=better, data={"consent": "true"}, headers=header)
        )
        assert again["user_id"] == found["user_id"]
        assert again["tracks"] == found["tracks"] + 1
        assert sum(one.user_id == found["user_id"] for one in served.project.inbox.requests.waiting()) == 1

    def test_what_is_stored_of_somebody_is_counted(self, served: Served) -> None:
        proof = {"X-User-Token": served.service.identity.file_token(user_id(7))}
        stored = served.client.get(f"/api/v1/users/{user_id(7)}", headers=proof).json()
        rows = served.client.get(f"/api/v1/users/{user_id(7)}/data", headers=proof).json()["raw_playlists"]
        assert stored["tracks"] == len({row["track_id"] for row in rows}) > 1
        assert stored["artists"] == len({row["artist_name"].lower() for row in rows}) > 1
        assert sum(playlist["items"] for playlist in stored["playlists"]) == len(rows)

    def test_a_profile_that_is_known_is_answered_from_memory(self, served: Served) -> None:
        url = f"https://open.spotify.com/user/{user_id(7)}?si=abc"
        _, found, stages = served.follow(served.client.post("/api/v1/users", data={"profile": url, "k": "3"}))
        assert stages == ["searching"]
        direct = served.client.get(f"/api/v1/users/{user_id(7)}/matches", params={"k": 3}).json()
        assert [match["score"] for match in found["matches"]] == [match["score"] for match in direct["matches"]]

    def test_a_profile_that_is_new_is_read_from_spotify_and_not_kept(self, served: Served) -> None:
        _, found, stages = served.follow(served.client.post("/api/v1/users", data={"profile": user_id(35)}))
        assert stages == ["reading", "embedding", "searching"]
        assert found["tracks"] > 5
        assert len(found["matches"]) == 10
        text = b"".join(path.read_bytes() for path in served.project.settings.data.rglob("*") if path.is_file())
        assert user_id(35).encode() not in text

    @pytest.mark.parametrize(
        ("sent", "status", "said"),
        [
            ({"profile": "https://evil.example/user/x"}, 422, "names no Spotify user"),
            ({"profile": "synthetic-999999"}, 404, "synthetic-999999"),
            ({"profile": user_id(7), "consent": "true"}, 403, "log in with Spotify"),
            ({}, 422, "either profile, or file"),
        ],
    )
    def test_what_cannot_be_is_said(self, served: Served, sent: dict[str, str], status: int, said: str) -> None:
        answer = served.client.post("/api/v1/users", data=sent)
        if answer.status_code == 202:
            name, problem, _ = served.follow(answer)
            assert (name, problem["status"]) == ("problem", status)
        else:
            problem = answer.json()
            assert answer.status_code == status
        assert said in problem["detail"]

    def test_a_file_without_listening_is_a_problem_that_names_it(self, served: Served) -> None:
        files = {"file": ("notes.csv", b"a,b\n1,2\n")}
        name, problem, _ = served.follow(served.client.post("/api/v1/users", files=files))
        assert (name, problem["status"]) == ("problem", 422)
        assert "'notes.csv'" in problem["detail"]
        assert str(served.project.settings.data) not in problem["detail"]

    def test_one_item_is_enough_and_it_says_how_sure_it_is(self, served: Served) -> None:
        files = {"file": ("one.csv", exportify(["Prince"]))}
        _, found, _ = served.follow(served.client.post("/api/v1/users", files=files))
        assert found["tracks"] == 1
        assert found["matches"]
        assert max(match["confidence"] for match in found["matches"]) < 0.3

    def test_the_sliders_apply_to_both_sides(self, served: Served) -> None:
        """With one artist and one playlist counted, matches are as if everybody had no more."""
        service = served.service
        snapshot = service.serving.snapshot()
        data = {"profile": user_id(35), "top_artist_count": "1", "playlists_count": "1", "k": "5"}
        _, found, _ = served.follow(served.client.post("/api/v1/users", data=data))
        plain = served.follow(served.client.post("/api/v1/users", data={"profile": user_id(35), "k": "5"}))[1]
        assert [m["user_id"] for m in found["matches"]] != [m["user_id"] for m in plain["matches"]] or [
            m["score"] for m in found["matches"]
        ] != [m["score"] for m in plain["matches"]]
        # The same, the long way round: every user of the lake embedded with these settings.
        lake = served.project.lake
        users, raw = lake.scan(USERS).collect(), lake.scan(RAW_PLAYLISTS).collect()
        genres = service.newcomers.artist_genres
        per_bucket = [genres(snapshot, part, None) for part in raw.partition_by("user_bucket")]
        vectors = service.newcomers.vectors(
            snapshot, users, raw, pl.concat(per_bucket), top_artist_count=1, playlists_count=1
        )
        place = {user: row for row, user in enumerate(users["user_id"].to_list())}
        best = found["matches"][0]["user_id"]
        others = [match["user_id"] for match in found["matches"][1:]]
        near = vectors @ vectors[place[best]]
        assert near[place[best]] == pytest.approx(1, abs=1e-5)
        assert all(abs(near[place[other]]) <= 1.0001 for other in others)


class TestPreferences:
    PATH = f"/api/v1/users/{user_id(12)}/preferences"

    def proof(self, served: Served, number: int = 12) -> dict[str, str]:
        return {"X-User-Token": served.service.identity.file_token(user_id(number))}

    def test_what_is_said_is_a_part_of_my_data_until_it_is_undone(self, served: Served) -> None:
        said = [{"kind": "genre", "name": "Sleep"}, {"kind": "more-like", "name": "spotify:track:abc"}]
        kept = [said[0], {"kind": "more-like", "name": "abc"}]
        client, proof = served.client, self.proof(served)
        answer = client.post(self.PATH, json={"add": said}, headers=proof).json()
        assert answer["preferences"] == kept
        for path in (self.PATH, f"/api/v1/users/{user_id(12)}", f"/api/v1/users/{user_id(12)}/data"):
            assert client.get(path, headers=proof).json()["preferences"] == kept
        assert client.post(self.PATH, json={"remove": said}, headers=proof).json()["preferences"] == []

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_only_the_user_themselves_may_see_or_change_it(self, served: Served, method: str) -> None:
        for headers in ({}, {"X-User-Token": "no"}, self.proof(served, 13)):
            body: dict[str, Any] | None = {} if method == "POST" else None
            answer = served.client.request(method, self.PATH, headers=headers, json=body)
            assert (answer.status_code, "Only the user themselves" in answer.json()["detail"]) == (401, True)

    @pytest.mark.parametrize(
        ("body", "said"),
        [
            ({"add": [{"kind": "era", "name": "80s"}]}, "add.0.kind is 'era'"),
            ({"add": [{"kind": "artist", "name": "x" * 501}]}, "at most 500 characters"),
            ({"add": [{"kind": "artist", "name": "a\u0000b"}]}, "control characters"),
            ({"remove": [{"kind": "artist", "name": "Raffi"}]}, "There is no artist 'Raffi' to undo"),
            ({"add": [{"kind": "artist", "name": f"a{n}"} for n in range(501)]}, "at most 500 items"),
            ({"more": []}, "more"),
        ],
    )
    def test_what_cannot_be_said_is_a_problem_that_names_it(
        self, served: Served, body: dict[str, Any], said: str
    ) -> None:
        answer = served.client.post(self.PATH, json=body, headers=self.proof(served))
        assert answer.status_code == 422
        assert said in answer.json()["detail"]
        assert served.project.preferences.of(user_id(12)) == []


class TestSameAsTheGraph:
    def test_somebody_as_new_as_can_be_gets_the_vector_they_have_in_the_index(self, served: Served) -> None:
        service = served.service
        snapshot = service.serving.snapshot()
        for number in (0, 7, 12):
            newcomer = service.newcomers.embed(snapshot, user_id(number), OneOf(user_id(number)))
            indexed = snapshot.person(user_id(number))
            assert np.abs(newcomer.person.vector - indexed.vector).max() < 1e-5
            assert newcomer.person.tracks == indexed.tracks
            for kind, weights in indexed.taste.weights.items():
                assert newcomer.person.taste.weights[kind] == pytest.approx(weights, abs=1e-6)

    def test_a_file_is_the_same_through_the_door_of_the_app_and_of_the_inbox(
        self, served: Served, tmp_path: Any
    ) -> None:
        path = tmp_path / "list.csv"
        path.write_bytes(exportify(ARTISTS))
        with handed_in(path, "export-a", tmp_path) as (source, reading):
            (batch,) = source.batches()
        assert reading.kept.total() == batch.records.height == len(ARTISTS)
        assert user_buckets(["export-a"], 2)[0] in (0, 1)


class OneOf:
    """One user of the generated world, as a source of its own."""

    name = "synthetic"

    def __init__(self, user: str) -> None:
        self.user = user

    def version(self) -> str:
        return ""

    def n_batches(self) -> int:
        return 1

    def artist_genres(self) -> None:
        return None

    def batches(self) -> Any:
        from dataclasses import replace

        mine = pl.col("user_id") == self.user
        for batch in SyntheticSource(**WORLD).batches():
            if (found := batch.records.filter(mine)).height:
                yield replace(
                    batch, records=found, rejects=batch.rejects.clear(), rows_read=batch.rows_read.filter(mine)
                )


class TestModelSwitch:
    @pytest.mark.slow
    def test_a_switch_under_load_fails_nobody_and_mixes_nothing(self, fresh: Start) -> None:
        with fresh() as served:
            first = served.project.published()
            answers: list[tuple[int, str, float]] = []
            done = threading.Event()

            def ask() -> None:
                import httpx

                with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
                    while not done.is_set():
                        answer = client.get(f"/api/v1/users/{user_id(7)}/matches", params={"k": 1})
                        found = answer.json()
                        answers.append((answer.status_code, found["model_version"], found["matches"][0]["score"]))

            asking = [threading.Thread(target=ask) for _ in range(3)]
            for one in asking:
                one.start()
            second = publish_model(served.project, 1)
            # Until all of them have heard of it: on a busy machine that is long after the switch.
            until(lambda: [version for _, version, _ in answers[-10:]] == [second] * 10)
            done.set()
            for one in asking:
                one.join()
        assert {status for status, _, _ in answers} == {200}
        assert {version for _, version, _ in answers} == {first, second}
        # One version, one score: no answer was made of two.
        assert len({(version, score) for _, version, score in answers}) == 2
